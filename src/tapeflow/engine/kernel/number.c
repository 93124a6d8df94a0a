#include "kernel.h"

#include <math.h>
#include <stdlib.h>

static int bit_length(u128 value) {
    u64 hi = (u64)(value >> 64);
    if (hi) return 128 - __builtin_clzll(hi);
    u64 lo = (u64)value;
    return lo ? 64 - __builtin_clzll(lo) : 0;
}

double nearest(u128 value, u64 power) {
    if (value < ((u128)1 << 53) && power < (1ULL << 53))
        return (double)(u64)value / (double)power; /* both exact, so IEEE division rounds once */
    if (!value) return 0.0;
    /* Bring the quotient to at least 55 bits, so that one rounding to 53 sees a guard bit and a sticky one. */
    int shift = 56 + bit_length(power) - bit_length(value);
    if (shift < 0) shift = 0;
    u128 scaled = value << shift; /* at most 57 + 63 bits, or the value itself */
    u128 quotient = scaled / power;
    bool sticky = scaled % power != 0;
    int excess = bit_length(quotient) - 53;
    u128 kept = quotient >> excess;
    u128 rest = quotient & (((u128)1 << excess) - 1);
    u128 half = (u128)1 << (excess - 1);
    if (rest > half || (rest == half && (sticky || (kept & 1)))) kept++;
    return ldexp((double)(u64)kept, excess - shift);
}

bool grow(void **at, i64 n, i64 *cap, size_t size) {
    if (n < *cap) return true;
    i64 more = *cap ? *cap * 2 : 8;
    void *moved = realloc(*at, (size_t)more * size);
    if (!moved) return false;
    *at = moved;
    *cap = more;
    return true;
}
