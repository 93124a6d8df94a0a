/* Trades to candles and sliding means, exact and free of order. The rules are engine/windows.py.
 *
 * On-time trades of one base window gather in a pending candle and reach the tracks together: merge is
 * associative, so this changes no result. A trade that comes after its base window closed goes to every track at
 * once, and each closed window it touches gives a revised row there and then, whatever the batches are. */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

/* ---- candles ------------------------------------------------------------------------------------------- */

static inline i64 floor_to(i64 ts, i64 size, i64 origin) {
    i64 past = (ts - origin) % size;
    return ts - (past < 0 ? past + size : past);
}

static inline bool before(const Tick *a, const Tick *b) {
    if (a->ts != b->ts) return a->ts < b->ts;
    if (a->id != b->id) return a->id < b->id;
    return a->price < b->price;
}

static const u128 TOTAL_LIMIT = ((u128)10000000000000000000ULL) * 10000000000000000000ULL; /* 10^38: DECIMAL(38) */

/* Adds to a sum held in two words. Sums of 64-bit values need 2^64 of them before they could wrap. */
static inline void add(u64 *lo, u64 *hi, u128 more) {
    u128 total = wide(*lo, *hi) + more;
    *lo = (u64)total;
    *hi = (u64)(total >> 64);
}

/* The same for products; true if the sum went beyond 38 digits. */
static inline bool add_checked(u64 *lo, u64 *hi, u128 more) {
    u128 before = wide(*lo, *hi);
    add(lo, hi, more);
    u128 total = wide(*lo, *hi);
    return total < before || total >= TOTAL_LIMIT;
}

static void candle_merge(Candle *into, const Candle *from) {
    if (!from->count) {
        return;
    }
    if (!into->count) {
        i64 start = into->start, late = into->late;
        *into = *from;
        into->start = start;
        into->late = late + from->late;
        return;
    }
    into->count += from->count;
    into->late += from->late;
    into->flags |= from->flags;
    if (from->high > into->high) into->high = from->high;
    if (from->low < into->low) into->low = from->low;
    add(&into->volume_lo, &into->volume_hi, wide(from->volume_lo, from->volume_hi));
    add(&into->taker_lo, &into->taker_hi, wide(from->taker_lo, from->taker_hi));
    if (add_checked(&into->quote_lo, &into->quote_hi, wide(from->quote_lo, from->quote_hi)))
        into->flags |= CANDLE_OVERFLOW;
    if (before(&from->open, &into->open)) into->open = from->open;
    if (before(&into->close, &from->close)) into->close = from->close;
    if (before(&from->coarse_open, &into->coarse_open)) into->coarse_open = from->coarse_open;
    if (before(&into->coarse_close, &from->coarse_close)) into->coarse_close = from->coarse_close;
}

static inline void candle_add(Candle *into, const Trade *trade, i64 late, bool fine) {
    i64 price = trade->price;
    Tick tick = {trade->ts_event, trade->first_id, price};
    u128 quote = (u128)price * (u64)trade->size;
    i64 count = trade->last_id - trade->first_id + 1;
    if (!into->count) {
        into->high = into->low = price;
        into->open = into->close = tick;
    } else {
        if (price > into->high) into->high = price;
        if (price < into->low) into->low = price;
        if (!before(&tick, &into->close)) into->close = tick;
        else if (before(&tick, &into->open)) into->open = tick;
    }
    if (fine) {
        Tick coarse = {trade->ts_event / 1000, trade->first_id, price};
        if (!into->count) into->coarse_open = into->coarse_close = coarse;
        else if (!before(&coarse, &into->coarse_close)) into->coarse_close = coarse;
        else if (before(&coarse, &into->coarse_open)) into->coarse_open = coarse;
    }
    into->count += count;
    into->late += late;
    if (trade->coarse) into->flags |= CANDLE_COARSE;
    add(&into->volume_lo, &into->volume_hi, (u64)trade->size);
    if (!trade->side) add(&into->taker_lo, &into->taker_hi, (u64)trade->size);
    if (add_checked(&into->quote_lo, &into->quote_hi, quote)) into->flags |= CANDLE_OVERFLOW;
}

/* The candle that starts at `start`, made if it is not there; NULL without memory. */
static Candle *candle_at(CandleTrack *track, i64 start) {
    i64 at = track->n;
    if (at && track->at[at - 1].start >= start) {
        i64 low = 0, high = at;
        while (low < high) {
            i64 middle = (low + high) / 2;
            if (track->at[middle].start < start) low = middle + 1;
            else high = middle;
        }
        at = low;
        if (track->at[at].start == start) return &track->at[at];
    }
    if (!grow((void **)&track->at, track->n, &track->cap, sizeof(Candle))) return NULL;
    memmove(track->at + at + 1, track->at + at, (size_t)(track->n - at) * sizeof(Candle));
    track->n++;
    if (at < track->closed) track->closed++;
    track->at[at] = (Candle){.start = start};
    return &track->at[at];
}

static int candle_row(Windows *windows, int32_t symbol, int fold, const Candle *candle, i64 ts_watermark, bool closed) {
    if (!grow((void **)&windows->candle_rows, windows->n_candle_rows, &windows->cap_candle_rows, sizeof(CandleRow)))
        return NO_MEMORY;
    bool exact = !(candle->flags & CANDLE_OVERFLOW);
    bool coarse = (candle->flags & CANDLE_COARSE) && windows->keys[symbol]->fine;
    u128 volume = wide(candle->volume_lo, candle->volume_hi), quote = wide(candle->quote_lo, candle->quote_hi);
    windows->candle_rows[windows->n_candle_rows++] = (CandleRow){
        .symbol = symbol,
        .fold = fold,
        .ts_start = candle->start,
        .ts_end = candle->start + windows->candle[fold].size,
        .open = (coarse ? &candle->coarse_open : &candle->open)->price,
        .high = candle->high,
        .low = candle->low,
        .close = (coarse ? &candle->coarse_close : &candle->close)->price,
        .volume_lo = candle->volume_lo,
        .volume_hi = candle->volume_hi,
        .quote_lo = candle->quote_lo,
        .quote_hi = candle->quote_hi,
        .taker_lo = candle->taker_lo,
        .taker_hi = candle->taker_hi,
        .count = candle->count,
        .revision = candle->late,
        .ts_watermark = ts_watermark,
        .closed = closed,
        .vwap = exact ? nearest(quote, (u64)SCALE_POWER * SCALE_POWER) / nearest(volume, SCALE_POWER) : 0.0,
        .exact = exact,
    };
    return OK;
}

/* ---- sliding means -------------------------------------------------------------------------------------- */

static i64 pane_place(const MeanTrack *track, i64 number) {
    i64 low = 0, high = track->n;
    if (high && track->at[high - 1].number < number) return high;
    while (low < high) {
        i64 middle = (low + high) / 2;
        if (track->at[middle].number < number) low = middle + 1;
        else high = middle;
    }
    return low;
}

static Pane *pane_at(MeanTrack *track, i64 number) {
    if (track->n && track->at[track->n - 1].number == number) return &track->at[track->n - 1];
    i64 at = pane_place(track, number);
    if (at < track->n && track->at[at].number == number) return &track->at[at];
    if (!grow((void **)&track->at, track->n, &track->cap, sizeof(Pane))) return NULL;
    memmove(track->at + at + 1, track->at + at, (size_t)(track->n - at) * sizeof(Pane));
    track->n++;
    track->start = NONE_TIME;
    track->at[at] = (Pane){.number = number};
    return &track->at[at];
}

/* The row of the window that ends at `end`, if it holds a trade. */
static int mean_row(Windows *windows, int32_t symbol, int fold, const MeanTrack *track, i64 end, i64 ts_watermark,
                    bool closed) {
    const Window *window = &windows->mean[fold];
    i64 last = (end - window->origin) / window->pane - 1; /* the pane that ends with the window */
    i64 first = last + 1 - window->size / window->pane;
    u64 lo = 0, hi = 0;
    i64 count = 0, late = 0;
    for (i64 i = pane_place(track, first); i < track->n && track->at[i].number <= last; i++) {
        const Pane *pane = &track->at[i];
        add(&lo, &hi, wide(pane->sum_lo, pane->sum_hi));
        count += pane->count;
        if (pane->number == last) late = pane->late;
    }
    if (!count) return OK;
    if (!grow((void **)&windows->mean_rows, windows->n_mean_rows, &windows->cap_mean_rows, sizeof(MeanRow)))
        return NO_MEMORY;
    windows->mean_rows[windows->n_mean_rows++] = (MeanRow){
        .symbol = symbol,
        .fold = fold,
        .ts_start = end - window->size,
        .ts_end = end,
        .count = count,
        .revision = late,
        .ts_watermark = ts_watermark,
        .closed = closed,
        .mean = nearest(wide(lo, hi), SCALE_POWER) / (double)count,
    };
    return OK;
}

/* End of the first window that can hold a trade of the first pane numbered `number` or later and ends after `ts`. */
static i64 next_window(const Window *window, const MeanTrack *track, i64 after) {
    i64 at = pane_place(track, (after + window->slide - window->size - window->origin) / window->pane);
    while (at < track->n && !track->at[at].count) at++;
    if (at == track->n) return INT64_MAX;
    i64 start = track->at[at].number * window->pane + window->origin;
    i64 end = floor_to(start, window->slide, window->origin) + window->slide;
    return end > after ? end : after + window->slide;
}

static int means_close(Windows *windows, int32_t symbol, int fold, Key *key, i64 ts_watermark) {
    MeanTrack *track = &key->means[fold];
    const Window *window = &windows->mean[fold];
    while (track->next_end <= ts_watermark) {
        if (mean_row(windows, symbol, fold, track, track->next_end, ts_watermark, true) < 0) return NO_MEMORY;
        track->next_end = next_window(window, track, track->next_end);
    }
    return OK;
}

/* The pane that holds `ts`, and the end of the first window that does; NULL without memory. */
static Pane *pane_of(MeanTrack *track, const Window *window, i64 ts, i64 *end) {
    if (track->start != NONE_TIME && (u64)ts - (u64)track->start < (u64)window->pane) { /* nearly always the last one */
        *end = track->end;
        return &track->at[track->n - 1];
    }
    i64 start = floor_to(ts, window->pane, window->origin);
    Pane *pane = pane_at(track, (start - window->origin) / window->pane);
    *end = floor_to(ts, window->slide, window->origin) + window->slide;
    if (pane == &track->at[track->n - 1]) {
        track->start = start;
        track->end = *end;
    }
    return pane;
}

static int mean_add(Windows *windows, const Trade *trade, int fold, Key *key) {
    MeanTrack *track = &key->means[fold];
    const Window *window = &windows->mean[fold];
    i64 end;
    Pane *pane = pane_of(track, window, trade->ts_event, &end);
    if (!pane) return NO_MEMORY;
    i64 count = trade->last_id - trade->first_id + 1;
    add(&pane->sum_lo, &pane->sum_hi, (u128)(u64)trade->price * (u64)count);
    pane->count += count;
    for (; end <= key->ts_watermark && end - window->size <= trade->ts_event; end += window->slide) {
        pane = pane_at(track, (end - window->origin) / window->pane - 1);
        if (!pane) return NO_MEMORY;
        pane->late++;
        if (mean_row(windows, trade->symbol, fold, track, end, key->ts_watermark, true) < 0) return NO_MEMORY;
    }
    if (end - window->size <= trade->ts_event && end < track->next_end) track->next_end = end;
    return OK;
}

/* ---- keys ----------------------------------------------------------------------------------------------- */

void windows_plan(Windows *windows) {
    for (int i = 0; i < windows->n_candle; i++) {
        const Window *whole = &windows->candle[i];
        windows->root[i] = i;
        for (int j = 0; j < windows->n_candle; j++) {
            const Window *part = &windows->candle[j], *root = &windows->candle[windows->root[i]];
            if (part->size < root->size && whole->size % part->size == 0 && (whole->origin - part->origin) % part->size == 0)
                windows->root[i] = j;
        }
    }
}

static void key_free(Windows *windows, Key *key) {
    if (!key) return;
    for (int i = 0; i < windows->n_candle; i++) free(key->candles[i].at);
    for (int i = 0; i < windows->n_mean; i++) free(key->means[i].at);
    free(key);
}

void windows_free(Windows *windows) {
    for (int32_t i = 0; i < windows->n_keys; i++) key_free(windows, windows->keys[i]);
    free(windows->keys);
    free(windows->candle_rows);
    free(windows->mean_rows);
}

void windows_forget(Windows *windows, int32_t symbol) {
    if (symbol >= windows->n_keys) return;
    key_free(windows, windows->keys[symbol]);
    windows->keys[symbol] = NULL;
}

static bool make_room(Windows *windows, int32_t symbol) {
    if (symbol < windows->n_keys) return true;
    int32_t n = windows->n_keys ? windows->n_keys : 16;
    while (n <= symbol) n *= 2;
    Key **keys = realloc(windows->keys, (size_t)n * sizeof(Key *));
    if (!keys) return false;
    memset(keys + windows->n_keys, 0, (size_t)(n - windows->n_keys) * sizeof(Key *));
    windows->keys = keys;
    windows->n_keys = n;
    return true;
}

Key *windows_key(Windows *windows, int32_t symbol) {
    if (!make_room(windows, symbol)) return NULL;
    if (windows->keys[symbol]) return windows->keys[symbol];
    size_t means = (size_t)windows->n_mean * sizeof(MeanTrack), candles = (size_t)windows->n_candle * sizeof(CandleTrack);
    char *memory = calloc(1, sizeof(Key) + means + candles + (size_t)windows->n_candle * sizeof(Candle));
    if (!memory) return NULL;
    Key *key = (Key *)memory;
    key->ts_watermark = NONE_TIME;
    key->next_close = INT64_MAX;
    key->hold = windows->keep_holes ? INT64_MIN / 2 : INT64_MAX; /* far in the past; a window's size can be taken off it */
    key->means = (MeanTrack *)(memory + sizeof(Key));
    key->pending = (Candle *)(memory + sizeof(Key) + means);
    key->candles = (CandleTrack *)(key->pending + windows->n_candle);
    for (int i = 0; i < windows->n_mean; i++) key->means[i].next_end = INT64_MAX, key->means[i].start = NONE_TIME;
    return windows->keys[symbol] = key;
}

static void both_orders(Candle *candle) {
    candle->coarse_open = (Tick){candle->open.ts / 1000, candle->open.id, candle->open.price};
    candle->coarse_close = (Tick){candle->close.ts / 1000, candle->close.id, candle->close.price};
}

/* While all times are whole milliseconds the two orders are one, and only the first is kept. */
static void keep_both_orders(const Windows *windows, Key *key) {
    if (key->fine) return;
    key->fine = 1;
    for (int i = 0; i < windows->n_candle; i++) {
        both_orders(&key->pending[i]);
        for (i64 at = 0; at < key->candles[i].n; at++) both_orders(&key->candles[i].at[at]);
    }
}

static int flush(Windows *windows, Key *key, int root) {
    Candle *pending = &key->pending[root];
    if (!pending->count) return OK;
    for (int i = 0; i < windows->n_candle; i++) { /* the longer ones may have been named first */
        if (windows->root[i] != root) continue;
        const Window *window = &windows->candle[i];
        Candle *candle = candle_at(&key->candles[i], floor_to(pending->start, window->size, window->origin));
        if (!candle) return NO_MEMORY;
        candle_merge(candle, pending);
    }
    *pending = (Candle){0};
    return OK;
}

static int flush_all(Windows *windows, Key *key) {
    for (int i = 0; i < windows->n_candle; i++)
        if (windows->root[i] == i && flush(windows, key, i) < 0) return NO_MEMORY;
    return OK;
}

static i64 next_close(const Windows *windows, const Key *key) {
    i64 next = INT64_MAX;
    for (int i = 0; i < windows->n_candle; i++) {
        const CandleTrack *track = &key->candles[i];
        if (track->closed < track->n) {
            i64 end = track->at[track->closed].start + windows->candle[i].size;
            if (end < next) next = end;
        }
        if (windows->root[i] == i && key->pending[i].count) {
            i64 end = key->pending[i].start + windows->candle[i].size;
            if (end < next) next = end;
        }
    }
    for (int i = 0; i < windows->n_mean; i++)
        if (key->means[i].next_end < next) next = key->means[i].next_end;
    return next;
}

/* Drops what no trade within the horizon can reach any more, when it is at least half of what is kept. */
static void prune(Windows *windows, Key *key) {
    i64 reach = key->ts_watermark - windows->horizon_us;
    if (key->hold < reach) reach = key->hold;
    for (int i = 0; i < windows->n_candle; i++) {
        CandleTrack *track = &key->candles[i];
        i64 half = track->n / 2, size = windows->candle[i].size;
        if (track->n < 64 || half >= track->closed || track->at[half].start + size > reach) continue;
        i64 gone = half;
        while (gone < track->closed && track->at[gone].start + size <= reach) gone++;
        memmove(track->at, track->at + gone, (size_t)(track->n - gone) * sizeof(Candle));
        track->n -= gone;
        track->closed -= gone;
    }
    for (int i = 0; i < windows->n_mean; i++) {
        MeanTrack *track = &key->means[i];
        const Window *window = &windows->mean[i];
        if (track->n < 64) continue;
        i64 oldest = (reach - window->size - window->origin) / window->pane - 1, gone = track->n / 2;
        if (track->at[gone].number >= oldest) continue;
        while (gone < track->n && track->at[gone].number < oldest) gone++;
        memmove(track->at, track->at + gone, (size_t)(track->n - gone) * sizeof(Pane));
        track->n -= gone;
    }
}

static int close_until(Windows *windows, int32_t symbol, Key *key, i64 ts_watermark) {
    key->ts_watermark = ts_watermark;
    if (ts_watermark < key->next_close) return OK;
    if (flush_all(windows, key) < 0) return NO_MEMORY;
    for (int i = 0; i < windows->n_candle; i++) {
        CandleTrack *track = &key->candles[i];
        while (track->closed < track->n && track->at[track->closed].start + windows->candle[i].size <= ts_watermark) {
            if (candle_row(windows, symbol, i, &track->at[track->closed], ts_watermark, true) < 0) return NO_MEMORY;
            track->closed++;
        }
    }
    for (int i = 0; i < windows->n_mean; i++)
        if (means_close(windows, symbol, i, key, ts_watermark) < 0) return NO_MEMORY;
    prune(windows, key);
    key->next_close = next_close(windows, key);
    return OK;
}

/* A trade whose base window has closed: into every interval at once, with a revised row from each closed one. */
static int add_late(Windows *windows, const Trade *trade, int root, Key *key) {
    if (flush(windows, key, root) < 0) return NO_MEMORY;
    for (int i = 0; i < windows->n_candle; i++) {
        if (windows->root[i] != root) continue;
        const Window *window = &windows->candle[i];
        i64 start = floor_to(trade->ts_event, window->size, window->origin);
        bool closed = start + window->size <= key->ts_watermark;
        CandleTrack *track = &key->candles[i];
        i64 known = track->n;
        Candle *candle = candle_at(track, start);
        if (!candle) return NO_MEMORY;
        if (closed && track->n > known && candle - track->at == track->closed) track->closed++;
        candle_add(candle, trade, closed, key->fine);
        if (!closed && start + window->size < key->next_close) key->next_close = start + window->size;
        if (closed && candle_row(windows, trade->symbol, i, candle, key->ts_watermark, true) < 0) return NO_MEMORY;
    }
    return OK;
}

static int add_to_root(Windows *windows, const Trade *trade, int root, Key *key) {
    const Window *window = &windows->candle[root];
    Candle *pending = &key->pending[root];
    i64 ts = trade->ts_event;
    if (pending->count && ts >= pending->start && ts < pending->start + window->size) {
        candle_add(pending, trade, 0, key->fine);
        return OK;
    }
    i64 start = floor_to(ts, window->size, window->origin);
    if (start + window->size <= key->ts_watermark) return add_late(windows, trade, root, key);
    if (flush(windows, key, root) < 0) return NO_MEMORY;
    pending->start = start;
    candle_add(pending, trade, 0, key->fine);
    if (start + window->size < key->next_close) key->next_close = start + window->size;
    return OK;
}

/* Asks for the memory of a symbol some trades ahead of its use. */
static inline void prefetch(const Windows *windows, int32_t symbol) {
    if (symbol >= windows->n_keys || !windows->keys[symbol]) return;
    const char *key = (const char *)windows->keys[symbol];
    for (int line = 0; line < 5; line++) __builtin_prefetch(key + 64 * line, 1);
}

static inline void prefetch_tails(const Windows *windows, int32_t symbol) {
    if (symbol >= windows->n_keys || !windows->keys[symbol]) return;
    const Key *key = windows->keys[symbol];
    if (windows->n_mean && key->means[0].n) __builtin_prefetch(&key->means[0].at[key->means[0].n - 1], 1);
    if (windows->n_candle && key->candles[0].n) __builtin_prefetch(&key->candles[0].at[key->candles[0].n - 1], 1);
}

int windows_add(Windows *windows, const Trade *trades, i64 n) {
    for (i64 i = 0; i < n; i++) {
        const Trade *trade = &trades[i];
        if (i + 12 < n) prefetch(windows, trades[i + 12].symbol);
        if (i + 6 < n) prefetch_tails(windows, trades[i + 6].symbol);
        Key *key = windows_key(windows, trade->symbol);
        if (!key) return NO_MEMORY;
        if (!trade->coarse) keep_both_orders(windows, key);
        if (trade->ts_watermark > key->ts_watermark &&
            close_until(windows, trade->symbol, key, trade->ts_watermark) < 0)
            return NO_MEMORY;
        for (int root = 0; root < windows->n_candle; root++)
            if (windows->root[root] == root && add_to_root(windows, trade, root, key) < 0) return NO_MEMORY;
        for (int fold = 0; fold < windows->n_mean; fold++) {
            if (mean_add(windows, trade, fold, key) < 0) return NO_MEMORY;
            if (key->means[fold].next_end < key->next_close) key->next_close = key->means[fold].next_end;
        }
    }
    return OK;
}

int windows_advance(Windows *windows, int32_t symbol, i64 ts_watermark) {
    Key *key = symbol < windows->n_keys ? windows->keys[symbol] : NULL;
    if (!key) return OK;
    return ts_watermark > key->ts_watermark ? close_until(windows, symbol, key, ts_watermark) : OK;
}

void windows_hold(Windows *windows, int32_t symbol, i64 ts) {
    Key *key = symbol < windows->n_keys ? windows->keys[symbol] : NULL;
    if (key) key->hold = ts;
}

int windows_settle(Windows *windows, int32_t symbol) {
    Key *key = symbol < windows->n_keys ? windows->keys[symbol] : NULL;
    if (!key) return OK;
    keep_both_orders(windows, key);
    return flush_all(windows, key);
}

int windows_forming(Windows *windows, int32_t symbol) {
    Key *key = symbol < windows->n_keys ? windows->keys[symbol] : NULL;
    if (!key) return OK;
    if (flush_all(windows, key) < 0) return NO_MEMORY;
    for (int i = 0; i < windows->n_candle; i++)
        for (i64 at = key->candles[i].closed; at < key->candles[i].n; at++)
            if (candle_row(windows, symbol, i, &key->candles[i].at[at], key->ts_watermark, false) < 0) return NO_MEMORY;
    for (int i = 0; i < windows->n_mean; i++) {
        const MeanTrack *track = &key->means[i];
        for (i64 end = track->next_end; end != INT64_MAX; end = next_window(&windows->mean[i], track, end))
            if (mean_row(windows, symbol, i, track, end, key->ts_watermark, false) < 0) return NO_MEMORY;
    }
    return OK;
}
