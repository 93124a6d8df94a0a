/* Binance spot frames of the forms that make up nearly all traffic, read by template.
 *
 * A frame is taken only if it is, to the letter, one that venues/binance/frames.py would read to the same event;
 * another order of keys, a space, an escape, a sign or an unusual number of digits is left to it. */
#include "kernel.h"

#include <string.h>

/* Trades that one aggregate can stand for; venues/binance/trades.py: AGGREGATE_LIMIT. */
#define AGGREGATE_LIMIT 1000000000000LL

static const i64 POWER[9] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

static inline bool is_digit(char c) { return (unsigned char)(c - '0') < 10; }

#define LITERAL(text)                                                                                                  \
    if (end - p < (ptrdiff_t)sizeof(text) - 1 || memcmp(p, text, sizeof(text) - 1) != 0) return FRAME_OTHER;           \
    p += sizeof(text) - 1

#define STARTS(text) (end - p >= (ptrdiff_t)sizeof(text) - 1 && memcmp(p, text, sizeof(text) - 1) == 0)

#define TAKE(call)                                                                                                     \
    if (!(p = (call))) return FRAME_OTHER

/* Eight digits at once: the value, or -1. */
static inline i64 eight_digits(const char *p) {
    u64 word;
    memcpy(&word, p, 8);
    u64 low = word - 0x3030303030303030ULL;
    if (((word & 0xF0F0F0F0F0F0F0F0ULL) ^ 0x3030303030303030ULL) || ((low + 0x0606060606060606ULL) & 0xF0F0F0F0F0F0F0F0ULL))
        return -1;
    low = low * 10 + (low >> 8);
    low = (((low & 0x000000FF000000FFULL) * 0x000F424000000064ULL) +
           (((low >> 16) & 0x000000FF000000FFULL) * 0x0000271000000001ULL)) >> 32;
    return (i64)(low & 0xFFFFFFFFULL);
}

static inline const char *integer(const char *p, const char *end, i64 *value) {
    const char *start = p;
    u64 number = 0;
    if (end - p >= 8) {
        i64 eight = eight_digits(p);
        if (eight >= 0) {
            number = (u64)eight;
            p += 8;
        }
    }
    while (p < end && is_digit(*p)) {
        if (p - start == 18) return NULL;
        number = number * 10 + (u64)(*p++ - '0');
    }
    if (p == start || (*start == '0' && p - start > 1)) return NULL;
    *value = (i64)number;
    return p;
}

static inline const char *decimal(const char *p, const char *end, i64 *value) {
    const char *start = p;
    i64 whole = 0, fraction = 0;
    while (p < end && is_digit(*p)) {
        if (p - start == 10) return NULL;
        whole = whole * 10 + (*p++ - '0');
    }
    if (p == start) return NULL;
    if (p < end && *p == '.') {
        p++;
        i64 eight = end - p >= 9 ? eight_digits(p) : -1;
        if (eight >= 0) {
            fraction = eight;
            p += 8;
        } else {
            const char *point = p;
            while (p < end && is_digit(*p)) {
                if (p - point == 8) return NULL;
                fraction = fraction * 10 + (*p++ - '0');
            }
            if (p == point) return NULL;
            fraction *= POWER[8 - (p - point)];
        }
        if (p < end && is_digit(*p)) return NULL;
    }
    *value = whole * SCALE_POWER + fraction;
    return p;
}

static inline const char *quoted(const char *p, const char *end, i64 *value) {
    if (p == end || *p != '"') return NULL;
    p = decimal(p + 1, end, value);
    return p && p < end && *p == '"' ? p + 1 : NULL;
}

static inline const char *text(const char *p, const char *end, const char **start, int *size) {
    *start = p;
    while (p < end && *p != '"') {
        if (*p < 0x20 || *p > 0x7e || *p == '\\') return NULL; /* char may be signed: bytes above 0x7f are out too */
        p++;
    }
    *size = (int)(p - *start);
    return p < end && *size > 0 && *size <= 64 ? p : NULL;
}

static inline const char *boolean(const char *p, const char *end, bool *value) {
    if (STARTS("true")) {
        *value = true;
        return p + 4;
    }
    if (STARTS("false")) {
        *value = false;
        return p + 5;
    }
    return NULL;
}

/* Microseconds of a venue's time; milliseconds are below 10^15. */
static inline bool moment(i64 value, i64 *ts, bool *coarse) {
    *coarse = value < 1000000000000000LL;
    if (*coarse && value > LATEST_US / 1000) return false;
    *ts = *coarse ? value * 1000 : value;
    return *ts <= LATEST_US;
}

static const char *levels_of(const char *p, const char *end, Levels *levels, i64 *n) {
    *n = 0;
    if (p == end || *p++ != '[') return NULL;
    if (p < end && *p == ']') return p + 1;
    for (;;) {
        Level level;
        if (p == end || *p != '[' || !(p = quoted(p + 1, end, &level.price)) || p == end || *p != ',') return NULL;
        if (!(p = quoted(p + 1, end, &level.size)) || p == end || *p != ']' || level.price == 0) return NULL;
        if (!grow((void **)&levels->at, levels->n, &levels->cap, sizeof(Level))) return NULL;
        levels->at[levels->n++] = level;
        ++*n;
        if (++p == end) return NULL;
        if (*p == ']') return p + 1;
        if (*p++ != ',') return NULL;
    }
}

static FrameKind trade_rest(const char *p, const char *end, const char *stop, Frame *frame) {
    bool buyer_is_maker, ignored;
    i64 sent, time;
    LITERAL(",\"E\":");
    TAKE(integer(p, end, &sent));
    LITERAL(",\"s\":\"");
    TAKE(text(p, end, &frame->symbol, &frame->symbol_size));
    if (frame->kind == FRAME_TRADE) {
        LITERAL("\",\"t\":");
    } else {
        LITERAL("\",\"a\":");
    }
    TAKE(integer(p, end, &frame->id));
    LITERAL(",\"p\":");
    TAKE(quoted(p, end, &frame->price));
    LITERAL(",\"q\":");
    TAKE(quoted(p, end, &frame->size));
    if (frame->kind == FRAME_AGGREGATE) {
        LITERAL(",\"f\":");
        TAKE(integer(p, end, &frame->first_id));
        LITERAL(",\"l\":");
        TAKE(integer(p, end, &frame->last_id));
        if (frame->last_id < frame->first_id || frame->last_id - frame->first_id >= AGGREGATE_LIMIT) return FRAME_OTHER;
    } else {
        frame->first_id = frame->last_id = frame->id;
        if (STARTS(",\"b\":")) { /* order ids, written until June 2024 */
            i64 order;
            LITERAL(",\"b\":");
            TAKE(integer(p, end, &order));
            LITERAL(",\"a\":");
            TAKE(integer(p, end, &order));
        }
    }
    LITERAL(",\"T\":");
    TAKE(integer(p, end, &time));
    LITERAL(",\"m\":");
    TAKE(boolean(p, end, &buyer_is_maker));
    LITERAL(",\"M\":");
    TAKE(boolean(p, end, &ignored));
    LITERAL("}");
    bool coarse;
    if (p != stop || !frame->price || !frame->size || !moment(sent, &frame->ts_sent, &coarse) ||
        !moment(time, &frame->ts_event, &frame->coarse))
        return FRAME_OTHER;
    frame->sell = buyer_is_maker;
    return frame->kind;
}

static FrameKind delta_rest(const char *p, const char *end, const char *stop, Frame *frame, Levels *levels) {
    i64 sent;
    LITERAL(",\"E\":");
    TAKE(integer(p, end, &sent));
    LITERAL(",\"s\":\"");
    TAKE(text(p, end, &frame->symbol, &frame->symbol_size));
    LITERAL("\",\"U\":");
    TAKE(integer(p, end, &frame->first_id));
    LITERAL(",\"u\":");
    TAKE(integer(p, end, &frame->last_id));
    LITERAL(",\"b\":");
    TAKE(levels_of(p, end, levels, &frame->bids));
    LITERAL(",\"a\":");
    TAKE(levels_of(p, end, levels, &frame->asks));
    LITERAL("}");
    if (p != stop || frame->last_id < frame->first_id || !moment(sent, &frame->ts_event, &frame->coarse))
        return FRAME_OTHER;
    return FRAME_DELTA;
}

static FrameKind quote_rest(const char *p, const char *end, const char *stop, Frame *frame) {
    TAKE(integer(p, end, &frame->id));
    LITERAL(",\"s\":\"");
    TAKE(text(p, end, &frame->symbol, &frame->symbol_size));
    LITERAL("\",\"b\":");
    TAKE(quoted(p, end, &frame->bid));
    LITERAL(",\"B\":");
    TAKE(quoted(p, end, &frame->bid_size));
    LITERAL(",\"a\":");
    TAKE(quoted(p, end, &frame->ask));
    LITERAL(",\"A\":");
    TAKE(quoted(p, end, &frame->ask_size));
    LITERAL("}");
    /* A side without a price is rare: the twin knows what it means. */
    return p == stop && frame->bid && frame->ask && frame->bid_size && frame->ask_size ? FRAME_QUOTE : FRAME_OTHER;
}

FrameKind binance_read(const char *p, const char *end, Frame *frame, Levels *levels) {
    const char *stop = end; /* where the payload must end */
    bool is_quote = true;
    if (STARTS("{\"stream\":\"")) {
        const char *name;
        int size;
        p += 11;
        TAKE(text(p, end, &name, &size));
        LITERAL("\",\"data\":");
        if (end[-1] != '}') return FRAME_OTHER;
        stop = end - 1;
        /* A quote has no type of its own: the codec goes by the name of its stream. */
        is_quote = size > 11 && memcmp(name + size - 11, "@bookTicker", 11) == 0;
    }
    levels->n = 0;
    if (STARTS("{\"e\":\"trade\"")) {
        frame->kind = FRAME_TRADE;
        return trade_rest(p + 12, end, stop, frame);
    }
    if (is_quote && STARTS("{\"u\":")) return quote_rest(p + 5, end, stop, frame);
    if (STARTS("{\"e\":\"depthUpdate\"")) return delta_rest(p + 18, end, stop, frame, levels);
    if (STARTS("{\"e\":\"aggTrade\"")) {
        frame->kind = FRAME_AGGREGATE;
        return trade_rest(p + 15, end, stop, frame);
    }
    return FRAME_OTHER;
}
