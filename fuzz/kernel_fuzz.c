/* The pure C kernel under a fuzzer: lines to frames to windows, twice, in batches of different sizes.
 *
 * The first four bytes choose the options, the rest is a recording. What is checked besides the sanitizers: the rows
 * do not depend on the batches; ids, windows and panes stay in order; a row's numbers are possible ones. */
#include "kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECOND = 1000000, HEADER = 4, SPLIT_LIMIT = 64, SYMBOL_LIMIT = 16 };

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

typedef struct {
    Intake intake;
    Windows windows;
} Run;

static const Window CANDLES[] = {
    {SECOND, SECOND, 0, SECOND},
    {5 * SECOND, 5 * SECOND, 0, 5 * SECOND},
    {7 * SECOND, 7 * SECOND, 0, 7 * SECOND},
    {60 * SECOND, 60 * SECOND, 0, 60 * SECOND},
    {604800LL * SECOND, 604800LL * SECOND, 345600LL * SECOND, 604800LL * SECOND},
};

static const Window MEANS[] = {
    {3 * SECOND, SECOND / 2, 0, SECOND / 2},
    {2 * SECOND, 3 * SECOND, 0, SECOND},
    {5 * SECOND / 2, 3 * SECOND / 2, 0, SECOND / 2},
    {10 * SECOND, 10 * SECOND, 0, 10 * SECOND},
};

static void start(Run *run, const uint8_t *options) {
    static const i64 horizons[] = {1, SECOND, 20LL * SECOND, 3600LL * SECOND};
    i64 horizon = horizons[options[1] & 3];
    *run = (Run){0};
    run->intake = (Intake){.lateness_us = (options[1] >> 2 & 3) * SECOND,
                           .horizon_us = horizon,
                           .delay_us = SECOND,
                           .range_limit = 1 + (options[2] & 7),
                           .keep_trades = options[0] & 1,
                           .keep_quotes = options[0] & 2,
                           .depth = options[0] & 16 ? 3 : 0,
                           .symbol_limit = SYMBOL_LIMIT,
                           .clock = NONE_TIME,
                           .skew = NONE_TIME};
    run->windows.horizon_us = horizon;
    run->windows.n_candle = options[0] & 4 ? 5 : 1;
    run->windows.n_mean = options[0] & 8 ? 4 : 1;
    memcpy(run->windows.candle, CANDLES, sizeof CANDLES);
    memcpy(run->windows.mean, MEANS, sizeof MEANS);
    windows_plan(&run->windows);
}

static void finish(Run *run) {
    intake_free(&run->intake);
    windows_free(&run->windows);
}

/* ---- what must hold ------------------------------------------------------------------------------------- */

static void check_ranges(const Ranges *ranges, i64 limit) {
    MUST(ranges->n <= limit);
    for (i64 i = 0; i < ranges->n; i++) {
        MUST(ranges->at[i].lo <= ranges->at[i].hi && ranges->at[i].lo >= ranges->floor);
        MUST(!i || ranges->at[i - 1].hi < ranges->at[i].lo - 1);
    }
}

static void check_book(const Book *book) {
    const Levels *sides[] = {&book->bids, &book->asks};
    for (int side = 0; side < 2; side++)
        for (i64 i = 0; i < sides[side]->n; i++) {
            MUST(sides[side]->at[i].size > 0);
            MUST(!i || sides[side]->at[i - 1].price < sides[side]->at[i].price);
        }
}

static void check_book_rows(const Intake *intake) {
    for (i64 i = 0; i < intake->n_book_rows; i++) {
        const BookRow *row = &intake->book_rows[i];
        MUST(row->n_bids <= intake->depth && row->n_asks <= intake->depth);
        MUST(row->first_level >= 0 && row->first_level + row->n_bids + row->n_asks <= intake->book_levels.n);
        const Level *bids = intake->book_levels.at + row->first_level, *asks = bids + row->n_bids;
        for (int32_t j = 1; j < row->n_bids; j++) MUST(bids[j - 1].price > bids[j].price);
        for (int32_t j = 1; j < row->n_asks; j++) MUST(asks[j - 1].price < asks[j].price);
    }
}

static void check_keys(const Windows *windows) {
    for (int32_t k = 0; k < windows->n_keys; k++) {
        const Key *key = windows->keys[k];
        if (!key) continue;
        for (int i = 0; i < windows->n_candle; i++) {
            const CandleTrack *track = &key->candles[i];
            MUST(track->closed <= track->n);
            for (i64 j = 1; j < track->n; j++) MUST(track->at[j - 1].start < track->at[j].start);
        }
        for (int i = 0; i < windows->n_mean; i++) {
            const MeanTrack *track = &key->means[i];
            for (i64 j = 1; j < track->n; j++) MUST(track->at[j - 1].number < track->at[j].number);
        }
    }
}

static void check_rows(const Windows *windows) {
    for (i64 i = 0; i < windows->n_candle_rows; i++) {
        const CandleRow *row = &windows->candle_rows[i];
        MUST(row->count > 0 && row->low > 0 && row->revision >= 0);
        MUST(row->low <= row->open && row->open <= row->high && row->low <= row->close && row->close <= row->high);
        MUST(row->ts_end - row->ts_start == windows->candle[row->fold].size);
        MUST(row->closed == (row->ts_end <= row->ts_watermark));
        MUST(wide(row->taker_lo, row->taker_hi) <= wide(row->volume_lo, row->volume_hi));
        MUST(!row->exact || (isfinite(row->vwap) && row->vwap > 0));
    }
    for (i64 i = 0; i < windows->n_mean_rows; i++) {
        const MeanRow *row = &windows->mean_rows[i];
        MUST(row->count > 0 && isfinite(row->mean) && row->mean > 0 && row->revision >= 0);
        MUST(row->ts_end - row->ts_start == windows->mean[row->fold].size);
        MUST(row->closed == (row->ts_end <= row->ts_watermark));
    }
}

/* ---- the way of the data --------------------------------------------------------------------------------- */

/* Single trades have come for a symbol fed by aggregates: what Engine._switch does, if that is why it stopped. */
static bool begin_anew(Run *run, int32_t symbol) {
    Progress *progress = &run->intake.progress[symbol];
    if (progress->source != SOURCE_AGGREGATES) return false;
    free(progress->seen.at);
    progress->seen = NOTHING_SEEN;
    progress->source = SOURCE_NONE;
    windows_forget(&run->windows, symbol);
    return true;
}

/* A delta came that does not follow on its book: as if its snapshot came just before it. */
static bool begin_book(Run *run, int32_t symbol, const Frame *frame) {
    Book *book = &run->intake.markets[symbol].book;
    if (frame->first_id < 1 || (book->live && frame->first_id <= book->id + 1)) return false;
    Level level = {frame->first_id, 1};
    book_clear(book);
    MUST(book_apply(book, frame->first_id - 1, &level, 1, &level, 1));
    book->live = true;
    return intake_book_row(&run->intake, symbol, frame->ts_event, NONE_TIME) == OK;
}

/* What the engine does with a frame at which the reader stopped; true if it shall be read again. */
static bool help(Run *run, const char *buffer, const Line *line) {
    Frame frame;
    FrameKind kind = binance_read(buffer + line->start, buffer + line->end, &frame, &run->intake.levels);
    if (kind == FRAME_OTHER) return false;
    int32_t symbol = intake_symbol(&run->intake, frame.symbol, frame.symbol_size, symbol_hash(frame.symbol, frame.symbol_size));
    MUST(symbol >= 0 || symbol == TOO_MANY);
    if (symbol < 0) return false;
    return kind == FRAME_TRADE ? begin_anew(run, symbol) : kind == FRAME_DELTA && begin_book(run, symbol, &frame);
}

static void fold(Run *run) {
    Intake *intake = &run->intake;
    if (intake->n_folded == intake->n_trades) return;
    MUST(windows_add(&run->windows, intake->trades + intake->n_folded, intake->n_trades - intake->n_folded) == OK);
    if (!intake->keep_trades) intake->n_trades = 0;
    intake->n_folded = intake->n_trades;
}

static void read_lines(Run *run, const char *buffer, const Line *lines, i64 from, i64 to) {
    i64 helped = -1;
    while (from < to) {
        from = intake_read(&run->intake, buffer, lines, from, to);
        MUST(from >= 0 && from <= to);
        if (from == to) return;
        fold(run); /* the engine flushes before it forgets a symbol */
        if (helped != from && help(run, buffer, &lines[from])) helped = from;
        else from++;
    }
}

static void feed(Run *run, const char *buffer, i64 size, i64 batch, i64 limit) {
    Line lines[SPLIT_LIMIT];
    i64 from = 0;
    while (from < size) {
        i64 next = from, n = split_lines(buffer, size, from, true, lines, limit, &next);
        MUST(n >= 0 && n <= limit && next > from && next <= size);
        for (i64 i = 0; i < n; i++) MUST(from <= lines[i].start && lines[i].start < lines[i].end && lines[i].end <= next);
        for (i64 at = 0; at < n; at += batch) {
            read_lines(run, buffer, lines, at, at + batch < n ? at + batch : n);
            fold(run);
        }
        from = next;
    }
}

static void end(Run *run) {
    for (int32_t i = 0; i < run->intake.symbols.n; i++) {
        MUST(windows_advance(&run->windows, i, intake_watermark(&run->intake, i)) == OK);
        MUST(windows_settle(&run->windows, i) == OK);
        seen_settle(&run->intake.progress[i].seen);
        check_ranges(&run->intake.progress[i].seen, run->intake.range_limit);
        check_book(&run->intake.markets[i].book);
    }
    for (int32_t i = 0; i < run->windows.n_keys; i++) MUST(windows_forming(&run->windows, i) == OK);
    check_keys(&run->windows);
    check_rows(&run->windows);
    check_book_rows(&run->intake);
}

static bool same(const void *a, i64 n_a, const void *b, i64 n_b, size_t size) {
    return n_a == n_b && (!n_a || memcmp(a, b, (size_t)n_a * size) == 0);
}

static void stream(const uint8_t *options, const char *buffer, i64 size) {
    Run whole, cut;
    start(&whole, options);
    start(&cut, options);
    feed(&whole, buffer, size, SPLIT_LIMIT, SPLIT_LIMIT);
    feed(&cut, buffer, size, 1 + (options[3] & 3), 1 + (options[3] >> 2));
    end(&whole);
    end(&cut);
    MUST(same(whole.windows.candle_rows, whole.windows.n_candle_rows, cut.windows.candle_rows,
              cut.windows.n_candle_rows, sizeof(CandleRow)));
    MUST(same(whole.windows.mean_rows, whole.windows.n_mean_rows, cut.windows.mean_rows, cut.windows.n_mean_rows,
              sizeof(MeanRow)));
    MUST(same(whole.intake.late, whole.intake.n_late, cut.intake.late, cut.intake.n_late, sizeof(Trade)));
    MUST(same(whole.intake.quotes, whole.intake.n_quotes, cut.intake.quotes, cut.intake.n_quotes, sizeof(Quote)));
    MUST(same(whole.intake.book_rows, whole.intake.n_book_rows, cut.intake.book_rows, cut.intake.n_book_rows,
              sizeof(BookRow)));
    MUST(same(whole.intake.book_levels.at, whole.intake.book_levels.n, cut.intake.book_levels.at,
              cut.intake.book_levels.n, sizeof(Level)));
    MUST(whole.intake.symbols.n <= SYMBOL_LIMIT && whole.intake.symbols.n == cut.intake.symbols.n);
    MUST(whole.intake.events == cut.intake.events && whole.intake.duplicates == cut.intake.duplicates);
    finish(&whole);
    finish(&cut);
}

/* ---- parts by themselves --------------------------------------------------------------------------------- */

static u64 word_at(const uint8_t *data) {
    u64 word;
    memcpy(&word, data, sizeof word);
    return word;
}

/* Ids are what a codec lets through: whole numbers from 0 to INT64_MAX. Near ones and far ones. */
static void ids(const uint8_t *data, size_t size, i64 limit) {
    Ranges ranges = NOTHING_SEEN;
    for (size_t at = 0; at + 2 <= size; at += 2) {
        i64 lo = data[at] & 63, more = data[at + 1] & 7;
        if (data[at] & 128 && at + 10 <= size) lo = (i64)(word_at(data + at + 2) >> 1);
        if (data[at] & 64) lo = INT64_MAX - (data[at] & 63);
        i64 hi = INT64_MAX - lo < more ? INT64_MAX : lo + more, place;
        Verdict before = seen_look(&ranges, lo, hi, &place), verdict = seen_add(&ranges, limit, lo, hi, lo);
        MUST(before == verdict);
        seen_settle(&ranges);
        check_ranges(&ranges, limit);
        if (verdict == SEEN_NEW) MUST(seen_look(&ranges, lo, hi, &place) != SEEN_NEW);
    }
    free(ranges.at);
}

static void numbers(const uint8_t *data, size_t size) {
    for (size_t at = 0; at + 24 <= size; at += 24) {
        u64 power = word_at(data + at) >> 1 >> (data[at + 23] & 63);
        u128 value = wide(word_at(data + at + 8), word_at(data + at + 16)) >> (data[at] & 127);
        if (!power) power = 1;
        double got = nearest(value, power);
        long double want = (long double)value / (long double)power;
        MUST(fabsl((long double)got - want) <= want * 0x1.1p-53L);
    }
}

/* Columns of every kind over the same bytes, which need not be what the kind says. */
static void texts(const uint8_t *data, size_t size, int scale) {
    Text text = {0};
    for (int kind = COLUMN_DECIMALS; kind <= COLUMN_MADE; kind++) {
        Column column = {.kind = kind, .head = ",\"a\":", .head_size = 5, .offset = (i64)size & 3, .scale = scale};
        column.values = column.valid = data;
        column.heap = (const char *)data;
        column.values_size = column.valid_size = column.heap_size = (i64)size;
        for (i64 rows = 1; rows <= 64; rows *= 8) {
            column.read = 0;
            if (column_holds(&column, rows)) json_rows(&text, &column, 1, rows, '\n');
        }
        MUST(text.n <= text.cap);
    }
    free(text.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEADER) return 0;
    stream(data, (const char *)data + HEADER, (i64)size - HEADER);
    ids(data + HEADER, size - HEADER, 1 + (data[2] & 7));
    numbers(data + HEADER, size - HEADER);
    texts(data + HEADER, size - HEADER, data[1] % 39);
    return 0;
}
