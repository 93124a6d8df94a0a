/* Lines of "[receive time] json", in place. */
#include "kernel.h"

#include <string.h>

static bool is_digit(char c) { return (unsigned char)(c - '0') < 10; }

/* Receive time in microseconds before the first brace: digits[.digits][:], then space. NONE_TIME if it is not one;
 * the unit follows from the number of digits of the whole part, as in tape/recorded.py: receive_time. */
static i64 receive_time(const char *p, const char *end, const char **rest) {
    const char *start = p;
    u64 whole = 0;
    while (p < end && is_digit(*p) && p - start < 19) whole = whole * 10 + (u64)(*p++ - '0');
    int digits = (int)(p - start);
    if (digits < 9 || digits > 19 || p == end || is_digit(*p)) return NONE_TIME;
    i64 micros = 0;
    if (*p == '.') {
        if (digits > 11) return NONE_TIME;
        int n = 0;
        p++;
        while (p < end && is_digit(*p)) {
            if (n < 6) micros = micros * 10 + (*p - '0');
            n++;
            p++;
        }
        if (!n || n > 12) return NONE_TIME;
        for (; n < 6; n++) micros *= 10;
    }
    if (p < end && *p == ':') p++;
    if (p == end || (*p != ' ' && *p != '\t')) return NONE_TIME;
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    *rest = p;
    if (digits >= 18) return (i64)(whole / 1000);
    if (digits >= 15) return (i64)whole;
    if (digits >= 12) return (i64)whole * 1000;
    return (i64)whole * 1000000 + micros;
}

i64 split_lines(const char *buffer, i64 size, i64 from, bool last, Line *lines, i64 limit, i64 *next) {
    i64 n = 0;
    while (n < limit && from < size) {
        const char *start = buffer + from;
        const char *stop = memchr(start, '\n', (size_t)(size - from));
        if (!stop) {
            if (!last) break;
            stop = buffer + size;
        }
        from = stop - buffer + 1;
        while (stop > start && (stop[-1] == '\r' || stop[-1] == ' ' || stop[-1] == '\t')) stop--;
        while (start < stop && (*start == ' ' || *start == '\t')) start++;
        if (start == stop) continue;
        const char *json = start;
        i64 ts_recv = is_digit(*start) ? receive_time(start, stop, &json) : NONE_TIME;
        lines[n++] = (Line){json - buffer, stop - buffer, ts_recv};
    }
    *next = from < size ? from : size;
    return n;
}
