#include <stdlib.h>
#include <string.h>

#include "kernel.h"

/* Canonical decimal text of a mantissa: at most 39 digits, a sign, a point. Returns where it begins before `end`. */
char *decimal_text(u128 value, bool negative, int scale, char *end) {
    char *p = end;
    int digits = 0;
    bool shown = false; /* zeros at the end of the fraction are not written */
    while (value || digits <= scale) {
        int digit;
        if (value >> 64) {
            digit = (int)(value % 10);
            value /= 10;
        } else {
            u64 low = (u64)value;
            digit = (int)(low % 10);
            value = low / 10;
        }
        if (digits == scale && shown) *--p = '.';
        if (digits >= scale || digit || shown) {
            *--p = (char)('0' + digit);
            shown = true;
        }
        digits++;
    }
    if (negative) *--p = '-';
    return p;
}

/* ---- rows of columns as JSON objects ------------------------------------------------------------------- */

static bool room(Text *text, i64 more) {
    if (text->n + more <= text->cap) return true;
    i64 cap = text->cap ? text->cap : 1 << 12;
    while (cap < text->n + more) cap *= 2;
    char *moved = realloc(text->at, (size_t)cap);
    if (!moved) return false;
    text->at = moved;
    text->cap = cap;
    return true;
}

static bool put(Text *text, const char *from, i64 n) {
    if (!room(text, n)) return false;
    memcpy(text->at + text->n, from, (size_t)n);
    text->n += n;
    return true;
}

static bool bit(const uint8_t *bits, i64 at) { return bits[at >> 3] >> (at & 7) & 1; }

static bool put_number(Text *text, i64 value) {
    char digits[24], *end = digits + sizeof digits;
    u64 size = value < 0 ? -(u64)value : (u64)value;
    char *p = end;
    do *--p = (char)('0' + size % 10);
    while (size /= 10);
    if (value < 0) *--p = '-';
    return put(text, p, end - p);
}

static bool put_decimal(Text *text, i128 value, int scale) {
    char digits[64], *end = digits + sizeof digits;
    *--end = '"';
    char *p = decimal_text(value < 0 ? -(u128)value : (u128)value, value < 0, scale, end);
    *--p = '"';
    return put(text, p, digits + sizeof digits - p);
}

/* What stands after the backslash of a character in a JSON text; 'u' for its number, 0 for itself. */
static char escaped(unsigned char c) {
    switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return c < 0x20 ? 'u' : 0;
    }
}

static bool put_text(Text *text, const char *from, i64 n) {
    static const char hex[] = "0123456789abcdef";
    if (!room(text, 6 * n + 2)) return false;
    char *p = text->at + text->n;
    *p++ = '"';
    for (i64 i = 0; i < n; i++) {
        unsigned char c = (unsigned char)from[i];
        char after = escaped(c);
        if (!after) {
            *p++ = (char)c;
            continue;
        }
        *p++ = '\\';
        *p++ = after;
        if (after == 'u') {
            *p++ = '0';
            *p++ = '0';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        }
    }
    *p++ = '"';
    text->n = p - text->at;
    return true;
}

/* Where a JSON value ends that begins here: at the comma or bracket after it. */
static const char *value_end(const char *p, const char *end) {
    int depth = 0;
    for (bool quoted = false; p < end; p++) {
        if (quoted) {
            if (*p == '\\') p++;
            else if (*p == '"') quoted = false;
        } else if (*p == '"') {
            quoted = true;
        } else if (*p == '[' || *p == '{') {
            depth++;
        } else if (*p == ']' || *p == '}') {
            if (!depth--) return p;
        } else if (*p == ',' && !depth) {
            return p;
        }
    }
    return NULL;
}

static bool put_made(Text *text, Column *column) {
    const char *end = column->heap + column->heap_size;
    const char *from = column->heap + column->read + 1; /* after the bracket, or the comma before */
    const char *to = from < end ? value_end(from, end) : NULL;
    if (!to) return false;
    column->read = to - column->heap;
    return put(text, from, to - from);
}

static bool put_bool(Text *text, bool value) { return value ? put(text, "true", 4) : put(text, "false", 5); }

static i64 word(const Column *column, i64 at) {
    i64 value;
    memcpy(&value, column->values + at * 8, 8);
    return value;
}

/* One of the names, whose ends stand before them. */
static bool put_name(Text *text, const Column *column, i64 at) {
    int32_t code, ends[2] = {0};
    memcpy(&code, column->values + at * 4, 4);
    if (code < 0 || code >= column->scale) return false;
    if (code) memcpy(ends, column->heap + (i64)(code - 1) * 4, 8);
    else memcpy(ends + 1, column->heap, 4);
    i64 first = (i64)column->scale * 4;
    if (ends[0] < 0 || ends[1] < ends[0] || first + ends[1] > column->heap_size) return false;
    return put(text, column->heap + first + ends[0], ends[1] - ends[0]);
}

static bool put_cell(Text *text, Column *column, i64 row) {
    i64 at = column->offset + row;
    if (column->kind == COLUMN_MADE) return put_made(text, column);
    if (column->valid && !bit(column->valid, at)) return put(text, "null", 4);
    switch (column->kind) {
    case COLUMN_BITS: return put_bool(text, bit(column->values, at));
    case COLUMN_BYTES: return put_bool(text, column->values[at]);
    case COLUMN_INTS: return put_number(text, word(column, at));
    case COLUMN_TIMES: return word(column, at) == NONE_TIME ? put(text, "null", 4) : put_number(text, word(column, at));
    case COLUMN_SHORT_DECIMALS: return put_decimal(text, word(column, at), column->scale);
    case COLUMN_NAMED: return put_name(text, column, at);
    case COLUMN_DECIMALS: {
        i128 value;
        memcpy(&value, column->values + at * 16, 16);
        return put_decimal(text, value, column->scale);
    }
    case COLUMN_TEXTS: {
        int32_t ends[2];
        memcpy(ends, column->values + at * 4, 8);
        if (ends[0] < 0 || ends[1] < ends[0] || ends[1] > column->heap_size) return false;
        return ends[1] == ends[0] ? put(text, "\"\"", 2) : put_text(text, column->heap + ends[0], ends[1] - ends[0]);
    }
    default: return false;
    }
}

/* Bytes of `values` that so many rows need. */
static i64 needed(const Column *column, i64 rows) {
    i64 n = column->offset + rows;
    switch (column->kind) {
    case COLUMN_BITS: return (n + 7) / 8;
    case COLUMN_BYTES: return n;
    case COLUMN_NAMED: return n * 4;
    case COLUMN_INTS:
    case COLUMN_TIMES:
    case COLUMN_SHORT_DECIMALS: return n * 8;
    case COLUMN_DECIMALS: return n * 16;
    case COLUMN_TEXTS: return (n + 1) * 4;
    default: return 0;
    }
}

bool column_holds(const Column *column, i64 rows) {
    if (column->offset < 0 || column->scale < 0) return false;
    if (column->kind == COLUMN_NAMED ? column->heap_size / 4 < column->scale : column->scale > 38) return false;
    if (column->valid && column->valid_size < (column->offset + rows + 7) / 8) return false;
    return column->values_size >= needed(column, rows);
}

bool json_rows(Text *text, Column *columns, i64 n, i64 rows, char between) {
    for (i64 row = 0; row < rows; row++) {
        if (row && !put(text, &between, 1)) return false;
        if (!put(text, "{", 1)) return false;
        for (i64 i = 0; i < n; i++) {
            if (!put(text, columns[i].head, columns[i].head_size) || !put_cell(text, &columns[i], row)) return false;
        }
        if (!put(text, "}", 1)) return false;
    }
    return true;
}
