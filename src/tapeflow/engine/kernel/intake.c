/* Frames in; unique trades, stamped with their symbol's watermark, out. The rules are engine/intake.py. */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

#define QUEUE 16

void intake_free(Intake *intake) {
    for (int32_t i = 0; i < intake->symbols.n; i++) {
        free(intake->progress[i].seen.at);
        book_free(&intake->markets[i].book);
        free(intake->markets[i].given_up);
    }
    symbols_free(&intake->symbols);
    free(intake->progress);
    free(intake->markets);
    free(intake->trades);
    free(intake->late);
    free(intake->quotes);
    free(intake->levels.at);
    free(intake->book_rows);
    free(intake->book_levels.at);
    free(intake->held);
    free(intake->held_bytes);
}

int32_t intake_symbol(Intake *intake, const char *text, int size, uint32_t hash) {
    int32_t known = intake->symbols.n;
    if (known >= intake->symbol_limit) return symbols_find(&intake->symbols, text, size, hash);
    i64 progress_cap = intake->progress_cap, markets_cap = intake->markets_cap;
    if (!grow((void **)&intake->progress, known, &progress_cap, sizeof(Progress)) ||
        !grow((void **)&intake->markets, known, &markets_cap, sizeof(Market)))
        return NO_MEMORY;
    intake->progress_cap = (int32_t)progress_cap;
    intake->markets_cap = (int32_t)markets_cap;
    int32_t symbol = symbols_of(&intake->symbols, text, size, hash);
    if (symbol == known) {
        intake->progress[symbol] = (Progress){.ts_max = NONE_TIME, .seen = NOTHING_SEEN};
        intake->markets[symbol] = (Market){.newest.symbol = symbol};
    }
    return symbol;
}

void intake_clock(Intake *intake, i64 ts_recv) {
    if (ts_recv > intake->clock) intake->clock = ts_recv;
}

void intake_touch(Intake *intake, int32_t symbol, i64 ts_event, i64 ts_recv) {
    Progress *progress = &intake->progress[symbol];
    if (ts_event > progress->ts_max) progress->ts_max = ts_event;
    if (ts_event > intake->newest) intake->newest = ts_event;
    if (ts_recv != NONE_TIME && (intake->skew == NONE_TIME || ts_recv - ts_event < intake->skew))
        intake->skew = ts_recv - ts_event;
}

#define DAY 86400000000LL

bool intake_is_future(const Intake *intake, i64 ts_event) {
    if (!intake->keep_holes || intake->clock == NONE_TIME) return false;
    return ts_event > (intake->newest > intake->clock ? intake->newest : intake->clock) + DAY;
}

i64 intake_watermark(const Intake *intake, int32_t symbol) {
    i64 ts = intake->progress[symbol].ts_max;
    if (intake->clock != NONE_TIME && intake->skew != NONE_TIME) {
        i64 delay = intake->skew > intake->delay_us ? intake->skew : intake->delay_us;
        if (intake->clock - delay > ts) ts = intake->clock - delay;
    }
    return ts == NONE_TIME ? ts : ts - intake->lateness_us;
}

void intake_restart(Intake *intake) {
    for (int32_t symbol = 0; symbol < (int32_t)intake->symbols.n; symbol++) {
        i64 ts = intake_watermark(intake, symbol);
        if (ts == NONE_TIME) continue;
        intake->progress[symbol].ts_max = ts + intake->lateness_us;
        if (ts + intake->lateness_us > intake->newest) intake->newest = ts + intake->lateness_us;
    }
    intake->clock = intake->skew = NONE_TIME;
}

static bool keep(Trade **trades, i64 *n, i64 *cap, const Trade *trade) {
    if (!grow((void **)trades, *n, cap, sizeof(Trade))) return false;
    (*trades)[(*n)++] = *trade;
    return true;
}

static bool is_given_up(const Market *market, i64 lo, i64 hi) {
    for (i64 i = 0; i < market->n_given_up; i++)
        if (market->given_up[i].lo <= lo && hi <= market->given_up[i].hi) return true;
    return false;
}

i64 intake_hold(Intake *intake, int32_t symbol) {
    Ranges *seen = &intake->progress[symbol].seen;
    if (!seen->n) return INT64_MAX;
    seen_settle(seen);
    i64 i = 0;
    while (i + 1 < seen->n && is_given_up(&intake->markets[symbol], seen->at[i].hi + 1, seen->at[i + 1].lo - 1)) i++;
    return seen->at[i].ts_hi - intake->lateness_us;
}

bool intake_give_up(Intake *intake, int32_t symbol, i64 lo, i64 hi) {
    Market *market = &intake->markets[symbol];
    if (is_given_up(market, lo, hi)) return true;
    if (!grow((void **)&market->given_up, market->n_given_up, &market->cap_given_up, sizeof(Range))) return false;
    market->given_up[market->n_given_up++] = (Range){.lo = lo, .hi = hi};
    return true;
}

Put intake_put(Intake *intake, Trade *trade) {
    Progress *progress = &intake->progress[trade->symbol];
    bool answer = trade->pad;
    trade->pad = 0;
    if (trade->aggregate && progress->source == SOURCE_TRADES && !answer) {
        intake->ignored_aggregates++;
        return PUT_IGNORED;
    }
    if (!trade->aggregate && progress->source == SOURCE_AGGREGATES && !answer) return PUT_SWITCH;
    i64 ts_watermark = intake_watermark(intake, trade->symbol), reach = ts_watermark;
    if (ts_watermark != NONE_TIME && trade->ts_event < (reach -= intake->horizon_us) && intake->keep_holes) {
        i64 hold = intake_hold(intake, trade->symbol); /* before this trade is one of those seen */
        if (hold < reach) reach = hold;
    }
    i64 runs = progress->seen.n;
    Verdict verdict =
        seen_add(&progress->seen, intake->range_limit, trade->first_id, trade->last_id, trade->ts_event);
    if (verdict == SEEN_NO_MEMORY) return PUT_NO_MEMORY;
    intake->holes += runs && progress->seen.n > runs;
    if (verdict == SEEN_OVERLAP) return PUT_OVERLAP;
    if (!answer) progress->source = trade->aggregate ? SOURCE_AGGREGATES : SOURCE_TRADES;
    if (verdict == SEEN_DUPLICATE) {
        intake->duplicates++;
        return PUT_DUPLICATE;
    }
    trade->ts_watermark = ts_watermark;
    intake_touch(intake, trade->symbol, trade->ts_event, trade->ts_recv);
    intake->events++;
    bool late = verdict == SEEN_FORGOTTEN ||
                (ts_watermark != NONE_TIME && trade->ts_event < reach);
    if (late)
        return keep(&intake->late, &intake->n_late, &intake->cap_late, trade) ? PUT_LATE : PUT_NO_MEMORY;
    return keep(&intake->trades, &intake->n_trades, &intake->cap_trades, trade) ? PUT_NEW : PUT_NO_MEMORY;
}

void intake_quote(Intake *intake, const Quote *quote) {
    Quote *newest = &intake->markets[quote->symbol].newest;
    if (quote->id >= newest->id) *newest = *quote;
}

/* One quote frame: 1 done, 0 for the twin, negative without memory. */
static int read_quote(Intake *intake, const Frame *frame, i64 ts_recv) {
    int32_t symbol = intake_symbol(intake, frame->symbol, frame->symbol_size, symbol_hash(frame->symbol, frame->symbol_size));
    if (symbol < 0) return symbol == TOO_MANY ? 0 : NO_MEMORY;
    intake->events++;
    Quote quote = {.symbol = symbol,
                   .id = frame->id,
                   .bid = frame->bid,
                   .bid_size = frame->bid_size,
                   .ask = frame->ask,
                   .ask_size = frame->ask_size,
                   .ts_event = NONE_TIME,
                   .ts_recv = ts_recv};
    intake_quote(intake, &quote);
    if (!intake->keep_quotes) return 1;
    if (!grow((void **)&intake->quotes, intake->n_quotes, &intake->cap_quotes, sizeof(Quote))) return NO_MEMORY;
    intake->quotes[intake->n_quotes++] = quote;
    return 1;
}

int intake_book_row(Intake *intake, int32_t symbol, i64 ts_event, i64 ts_recv) {
    if (!intake->depth) return OK;
    if (!grow((void **)&intake->book_rows, intake->n_book_rows, &intake->cap_book_rows, sizeof(BookRow)))
        return NO_MEMORY;
    BookRow row = {.symbol = symbol, .ts_event = ts_event, .ts_recv = ts_recv};
    if (!book_row(&intake->markets[symbol].book, intake->depth, &row, &intake->book_levels)) return NO_MEMORY;
    intake->book_rows[intake->n_book_rows++] = row;
    return OK;
}

/* The levels after the first n; there may be none at all, and then nowhere to point. */
static inline const Level *behind(const Level *levels, i64 n) { return n ? levels + n : levels; }

int intake_delta(Intake *intake, int32_t symbol, const Frame *frame, const Level *levels, i64 ts_recv) {
    Book *book = &intake->markets[symbol].book;
    if (!book->live || frame->first_id > book->id + 1) return 0;
    if (intake_is_future(intake, frame->ts_event)) return 0;
    if (frame->last_id <= book->id) return 1; /* contained already: no event, as for the codec's BookSync */
    intake->events++;
    intake_touch(intake, symbol, frame->ts_event, ts_recv);
    if (!book_apply(book, frame->last_id, levels, frame->bids, behind(levels, frame->bids), frame->asks)) return NO_MEMORY;
    book->ts_event = frame->ts_event;
    return intake_book_row(intake, symbol, frame->ts_event, ts_recv) < 0 ? NO_MEMORY : 1;
}

/* True if no price stands twice among n levels sorted either way; where they are not, the twin looks. */
static bool distinct(const Level *levels, i64 n) {
    bool up = true, down = true;
    for (i64 i = 1; i < n; i++) {
        up &= levels[i - 1].price < levels[i].price;
        down &= levels[i - 1].price > levels[i].price;
    }
    return up || down;
}

static bool room_for(Intake *intake, i64 size) {
    i64 cap = intake->cap_held_bytes ? intake->cap_held_bytes : 1 << 16;
    while (cap < intake->n_held_bytes + size) cap *= 2;
    if (cap == intake->cap_held_bytes) return true;
    char *moved = realloc(intake->held_bytes, (size_t)cap);
    if (!moved) return false;
    intake->held_bytes = moved;
    intake->cap_held_bytes = cap;
    return true;
}

/* Keeps a frame as it is: 1 done, 0 for the twin (which takes all that is held first), negative without memory. */
static int hold(Intake *intake, const char *raw, i64 size, i64 ts_recv) {
    if (intake->n_held == HELD_LIMIT || intake->n_held_bytes + size > HELD_BYTES) return 0;
    if (!grow((void **)&intake->held, intake->n_held, &intake->cap_held, sizeof(Held)) || !room_for(intake, size))
        return NO_MEMORY;
    memcpy(intake->held_bytes + intake->n_held_bytes, raw, (size_t)size);
    intake->held[intake->n_held++] = (Held){intake->n_held_bytes, size, ts_recv};
    intake->n_held_bytes += size;
    return 1;
}

static int read_delta(Intake *intake, const Frame *frame, const char *raw, i64 size, i64 ts_recv) {
    const Level *levels = intake->levels.at;
    if (!distinct(levels, frame->bids) || !distinct(behind(levels, frame->bids), frame->asks)) return 0;
    int32_t symbol = intake_symbol(intake, frame->symbol, frame->symbol_size, symbol_hash(frame->symbol, frame->symbol_size));
    if (symbol < 0) return symbol == TOO_MANY ? 0 : NO_MEMORY;
    const Market *market = &intake->markets[symbol];
    if (market->waits && !market->book.live) return hold(intake, raw, size, ts_recv);
    return intake_delta(intake, symbol, frame, levels, ts_recv);
}

/* Trades that were read and are still to be put. Looking up many symbols at once lets their memory come together:
 * with thousands of symbols each trade would else wait for its own. */
typedef struct {
    i64 from; /* the frame of the first one */
    int n;
    Frame frames[QUEUE];
    uint32_t hashes[QUEUE];
    int32_t symbols[QUEUE];
} Queue;

/* One trade: 1 done, 0 for the twin, negative without memory. */
static int put_trade(Intake *intake, const Frame *frame, int32_t symbol, i64 ts_recv) {
    i128 notional = (i128)frame->price * frame->size;
    if (symbol == TOO_MANY || notional > (i128)10000000000000000LL * 10000000000000000LL) return 0;
    if (symbol < 0) return NO_MEMORY;
    Trade trade = {.symbol = symbol,
                   .side = frame->sell,
                   .coarse = frame->coarse,
                   .aggregate = frame->kind == FRAME_AGGREGATE,
                   .id = frame->id,
                   .first_id = frame->first_id,
                   .last_id = frame->last_id,
                   .price = frame->price,
                   .size = frame->size,
                   .ts_event = frame->ts_event,
                   .ts_recv = ts_recv};
    intake_clock(intake, ts_recv);
    if (intake_is_future(intake, frame->ts_event)) return 0;
    switch (intake_put(intake, &trade)) {
    case PUT_NO_MEMORY: return NO_MEMORY;
    case PUT_OVERLAP:
    case PUT_SWITCH: return 0;
    default: return 1;
    }
}

/* Puts all that waits: 1 done, 0 if queue->from is for the twin, negative without memory. */
static int put_queue(Intake *intake, Queue *queue, const Line *lines) {
    const Symbols *symbols = &intake->symbols;
    if (symbols->slots)
        for (int i = 0; i < queue->n; i++) __builtin_prefetch(&symbols->slots[queue->hashes[i] & symbols->mask]);
    for (int i = 0; i < queue->n; i++) {
        const Frame *frame = &queue->frames[i];
        queue->symbols[i] = intake_symbol(intake, frame->symbol, frame->symbol_size, queue->hashes[i]);
        if (queue->symbols[i] >= 0) __builtin_prefetch(&intake->progress[queue->symbols[i]], 1);
    }
    for (int i = 0; i < queue->n; i++) {
        int done = put_trade(intake, &queue->frames[i], queue->symbols[i], lines[queue->from].ts_recv);
        if (done <= 0) return done;
        queue->from++;
    }
    queue->n = 0;
    return 1;
}

static int read_other(Intake *intake, const Frame *frame, const char *buffer, const Line *line) {
    intake_clock(intake, line->ts_recv);
    if (frame->kind == FRAME_QUOTE) return read_quote(intake, frame, line->ts_recv);
    return read_delta(intake, frame, buffer + line->start, line->end - line->start, line->ts_recv);
}

i64 intake_read(Intake *intake, const char *buffer, const Line *lines, i64 from, i64 to) {
    Queue queue = {.from = from};
    queue.n = 0;
    for (; from < to; from++) {
        const Line *line = &lines[from];
        Frame *frame = &queue.frames[queue.n];
        FrameKind kind = binance_read(buffer + line->start, buffer + line->end, frame, &intake->levels);
        frame->kind = kind;
        if (kind == FRAME_TRADE || kind == FRAME_AGGREGATE) {
            queue.hashes[queue.n++] = symbol_hash(frame->symbol, frame->symbol_size);
            if (queue.n < QUEUE) continue;
        }
        Frame other = *frame; /* its place in the queue may be taken */
        int done = put_queue(intake, &queue, lines);
        if (done < 0) return done;
        if (!done) return queue.from;
        if (kind != FRAME_TRADE && kind != FRAME_AGGREGATE) {
            done = kind == FRAME_OTHER ? 0 : read_other(intake, &other, buffer, line);
            if (done < 0) return done;
            if (!done) return from;
        }
        queue.from = from + 1;
    }
    int done = put_queue(intake, &queue, lines);
    return done > 0 ? to : done < 0 ? done : queue.from;
}
