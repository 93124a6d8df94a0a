/* Ranges of ids seen; the rules are domain/seen.py. */
#include "kernel.h"

#include <string.h>

/* Number of ranges that begin at or before lo. */
static i64 place(const Ranges *ranges, i64 lo) {
    i64 low = 0, high = ranges->n;
    while (low < high) {
        i64 middle = (low + high) / 2;
        if (ranges->at[middle].lo <= lo) low = middle + 1;
        else high = middle;
    }
    return low;
}

Verdict seen_look(Ranges *ranges, i64 lo, i64 hi, i64 *at) {
    seen_settle(ranges);
    if (lo < ranges->floor) return SEEN_FORGOTTEN;
    i64 i = place(ranges, lo);
    *at = i;
    if (i && ranges->at[i - 1].hi >= lo) return ranges->at[i - 1].hi >= hi ? SEEN_DUPLICATE : SEEN_OVERLAP;
    if (i < ranges->n && ranges->at[i].lo <= hi) return SEEN_OVERLAP;
    return SEEN_NEW;
}

static void keep_end(Ranges *ranges) {
    ranges->hi = ranges->at[ranges->n - 1].hi;
    ranges->ts_hi = ranges->at[ranges->n - 1].ts_hi;
}

static Verdict insert(Ranges *ranges, i64 limit, i64 lo, i64 hi, i64 ts, i64 at) {
    Range new = {lo, hi, ts, ts};
    bool joins_next = at < ranges->n && ranges->at[at].lo - 1 == hi;
    bool joins_last = at && ranges->at[at - 1].hi == lo - 1;
    if (joins_next) {
        new.hi = ranges->at[at].hi;
        new.ts_hi = ranges->at[at].ts_hi;
    }
    if (joins_last) {
        ranges->at[at - 1].hi = new.hi;
        ranges->at[at - 1].ts_hi = new.ts_hi;
        if (joins_next) {
            memmove(ranges->at + at, ranges->at + at + 1, (size_t)(ranges->n - at - 1) * sizeof(Range));
            ranges->n--;
        }
        return SEEN_NEW;
    }
    if (joins_next) {
        ranges->at[at] = new;
        return SEEN_NEW;
    }
    if (!grow((void **)&ranges->at, ranges->n, &ranges->cap, sizeof(Range))) return SEEN_NO_MEMORY;
    memmove(ranges->at + at + 1, ranges->at + at, (size_t)(ranges->n - at) * sizeof(Range));
    ranges->at[at] = new;
    ranges->n++;
    if (ranges->n > limit) {
        ranges->floor = ranges->at[0].hi + 1;
        memmove(ranges->at, ranges->at + 1, (size_t)(ranges->n - 1) * sizeof(Range));
        ranges->n--;
    }
    return SEEN_NEW;
}

Verdict seen_add(Ranges *ranges, i64 limit, i64 lo, i64 hi, i64 ts) {
    if (ranges->hi == lo - 1) { /* the next id: nearly always */
        ranges->hi = hi;
        ranges->ts_hi = ts;
        return SEEN_NEW;
    }
    i64 at;
    Verdict verdict = seen_look(ranges, lo, hi, &at);
    if (verdict != SEEN_NEW) return verdict;
    verdict = insert(ranges, limit, lo, hi, ts, at);
    if (verdict == SEEN_NEW) keep_end(ranges);
    return verdict;
}
