"""The hot job in numba, for the decision of docs/adr/0001-kernel-in-c.md: ``pip install numba``, bench only.

Frames of single trades from a byte buffer to closed rows: 1 s candles and the 3 s mean every 0.5 s. Ids are
deduplicated by ranges, sums are exact in two words. It does less than the C kernel (one form of frame, one order of
ticks, no revisions, no aggregates, rings instead of tracks): what it loses is not for want of trimming.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

SECOND, PANE = 1_000_000, 500_000
SYMBOLS, SLOTS, RANGES, CANDLES, PANES, ROWS = 16384, 65536, 32, 16, 64, 1 << 16

#: Of a symbol: how many ranges, newest time, next candle and pane to close, newest ones, when to look, the ranges.
N_RANGES, TS_MAX, NEXT_CANDLE, NEXT_PANE, LAST_CANDLE, LAST_PANE, NEXT_CLOSE, FIRST_RANGE = range(8)
KEY = FIRST_RANGE + 2 * RANGES
#: Of a candle; the sums are two words each.
NUMBER, COUNT, HIGH, LOW, VOLUME, QUOTE, TAKER, OPEN, CLOSE = 0, 1, 2, 3, 4, 6, 8, 10, 13
CANDLE = 16
PANE_FIELDS = 4

_M32 = np.uint64(0xFFFFFFFF)
_S32 = np.uint64(32)


def state() -> tuple[Any, ...]:
    """Numbers of symbols, keys, candles and panes by symbol, rows."""
    counters = np.zeros(4, np.int64)  # symbols, candle rows, mean rows, duplicates
    slots = np.full(SLOTS, -1, np.int64)
    names = np.zeros((SYMBOLS, 2), np.uint64)
    keys = np.zeros((SYMBOLS, KEY), np.int64)
    candles = np.full((SYMBOLS, CANDLES, CANDLE), -1, np.int64)
    panes = np.full((SYMBOLS, PANES, PANE_FIELDS), -1, np.int64)
    return counters, slots, names, keys, candles, panes, np.zeros((ROWS, 13), np.int64), np.zeros((ROWS, 5), np.int64)


@nb.njit(inline="always")
def expect(buffer, at, text):
    for i in range(len(text)):
        if buffer[at + i] != text[i]:
            return -1
    return at + len(text)


@nb.njit(inline="always")
def integer(buffer, at, end):
    value = 0
    while at < end and 48 <= buffer[at] <= 57:
        value = value * 10 + np.int64(buffer[at]) - 48
        at += 1
    return value, at


@nb.njit(inline="always")
def decimal(buffer, at, end):
    value, at = integer(buffer, at, end)
    digits = 0
    if buffer[at] == 46:
        at += 1
        while at < end and 48 <= buffer[at] <= 57:
            value = value * 10 + np.int64(buffer[at]) - 48
            digits += 1
            at += 1
    while digits < 8:
        value *= 10
        digits += 1
    return value, at if digits == 8 else -1


@nb.njit(inline="always")
def add_wide(into, at, lo, hi):
    old = np.uint64(into[at])
    new = old + lo
    into[at] = np.int64(new)
    into[at + 1] = np.int64(np.uint64(into[at + 1]) + hi + np.uint64(new < old))


@nb.njit(inline="always")
def multiply(a, b):
    a0, a1, b0, b1 = a & _M32, a >> _S32, b & _M32, b >> _S32
    low, one, two = a0 * b0, a0 * b1, a1 * b0
    middle = (low >> _S32) + (one & _M32) + (two & _M32)
    return (low & _M32) | (middle << _S32), a1 * b1 + (one >> _S32) + (two >> _S32) + (middle >> _S32)


@nb.njit(inline="always")
def float_of(lo, hi):
    return np.float64(np.uint64(hi)) * 18446744073709551616.0 + np.float64(np.uint64(lo))


@nb.njit(inline="always")
def symbol_of(buffer, at, end, counters, slots, names):
    one = np.uint64(0)
    two = np.uint64(0)
    size = 0
    while at < end and buffer[at] != 34:
        if size < 8:
            one = one << np.uint64(8) | np.uint64(buffer[at])
        else:
            two = two << np.uint64(8) | np.uint64(buffer[at])
        size += 1
        at += 1
    hashed = (one ^ two * np.uint64(0xBF58476D1CE4E5B9)) * np.uint64(0x94D049BB133111EB)
    slot = np.int64(hashed >> np.uint64(40)) & (SLOTS - 1)
    while slots[slot] >= 0:
        number = slots[slot]
        if names[number, 0] == one and names[number, 1] == two:
            return number, at
        slot = (slot + 1) & (SLOTS - 1)
    number = counters[0]
    counters[0] += 1
    slots[slot] = number
    names[number, 0], names[number, 1] = one, two
    return number, at


@nb.njit(inline="always")
def is_new(key, id):
    n = key[N_RANGES]
    last = FIRST_RANGE + 2 * n - 2
    if n and key[last + 1] + 1 == id:
        key[last + 1] = id
        return True
    return insert_id(key, id)


@nb.njit
def insert_id(key, id):
    n = key[N_RANGES]
    place = n
    while place and key[FIRST_RANGE + 2 * place - 2] > id:
        place -= 1
    at = FIRST_RANGE + 2 * place
    if place and key[at - 1] >= id:
        return False
    joins_last = place > 0 and key[at - 1] + 1 == id
    joins_next = place < n and key[at] == id + 1
    if joins_last and joins_next:
        key[at - 1] = key[at + 1]
        for i in range(at, FIRST_RANGE + 2 * n - 2):
            key[i] = key[i + 2]
        key[N_RANGES] -= 1
    elif joins_last:
        key[at - 1] = id
    elif joins_next:
        key[at] = id
    else:
        if n == RANGES:
            for i in range(FIRST_RANGE, FIRST_RANGE + 2 * n - 2):
                key[i] = key[i + 2]
            n -= 1
            at -= 2
        for i in range(FIRST_RANGE + 2 * n + 1, at + 1, -1):
            key[i] = key[i - 2]
        key[at] = key[at + 1] = id
        key[N_RANGES] = n + 1
    return True


@nb.njit
def close(number, key, candles, panes, until, counters, candle_rows, mean_rows):
    stop = min(until // SECOND, key[LAST_CANDLE] + 1)
    for n in range(key[NEXT_CANDLE], stop):
        candle = candles[number, n % CANDLES]
        if candle[NUMBER] == n:
            row = candle_rows[counters[1] % ROWS]
            row[0], row[1] = number, n * SECOND
            row[2], row[3], row[4], row[5] = candle[OPEN + 2], candle[HIGH], candle[LOW], candle[CLOSE + 2]
            row[6], row[7], row[8], row[9] = candle[VOLUME], candle[VOLUME + 1], candle[QUOTE], candle[QUOTE + 1]
            row[10], row[11] = candle[TAKER], candle[COUNT]
            quote, volume = float_of(candle[QUOTE], candle[QUOTE + 1]), float_of(candle[VOLUME], candle[VOLUME + 1])
            row[12] = np.int64(quote / volume * 1e-8 * 1e8)
            counters[1] += 1
    key[NEXT_CANDLE] = max(key[NEXT_CANDLE], stop)
    stop = min(until // PANE, key[LAST_PANE] + 6)
    for end in range(key[NEXT_PANE], stop + 1):
        total = 0.0
        count = 0
        for n in range(end - 6, end):
            pane = panes[number, n % PANES]
            if pane[0] == n:
                count += pane[1]
                total += float_of(pane[2], pane[3])
        if count:
            row = mean_rows[counters[2] % ROWS]
            row[0], row[1], row[2], row[3] = number, end * PANE, count, np.int64(total / count)
            counters[2] += 1
    key[NEXT_PANE] = max(key[NEXT_PANE], stop + 1)
    key[NEXT_CLOSE] = min((key[NEXT_CANDLE] + 1) * SECOND, key[NEXT_PANE] * PANE)


_E = np.frombuffer(b'{"e":"trade","E":', np.uint8)
_S = np.frombuffer(b',"s":"', np.uint8)
_T = np.frombuffer(b'","t":', np.uint8)
_P = np.frombuffer(b',"p":"', np.uint8)
_Q = np.frombuffer(b'","q":"', np.uint8)
_TIME = np.frombuffer(b'","T":', np.uint8)
_MAKER = np.frombuffer(b',"m":', np.uint8)


@nb.njit(cache=True)
def feed(buffer, lines, start, stop, lateness, state):
    """Take lines ``start..stop``; how many were no such trade."""
    counters, slots, names, keys, candles, panes, candle_rows, mean_rows = state
    refused = 0
    for i in range(start, stop):
        at, end = lines[i, 0], lines[i, 1]
        if end - at < 100:
            refused += 1
            continue
        at = expect(buffer, at, _E)
        if at < 0:
            refused += 1
            continue
        _, at = integer(buffer, at, end)
        at = expect(buffer, at, _S)
        number, at = symbol_of(buffer, at, end, counters, slots, names)
        at = expect(buffer, at, _T)
        id, at = integer(buffer, at, end)
        at = expect(buffer, at, _P)
        price, at = decimal(buffer, at, end)
        at = expect(buffer, at, _Q)
        size, at = decimal(buffer, at, end)
        at = expect(buffer, at, _TIME)
        ts, at = integer(buffer, at, end)
        at = expect(buffer, at, _MAKER)
        if at < 0 or price <= 0 or size <= 0:
            refused += 1
            continue
        sell = buffer[at] == 116
        if ts < 1_000_000_000_000_000:
            ts *= 1000
        key = keys[number]
        if not is_new(key, id):
            counters[3] += 1
            continue
        if key[TS_MAX] == 0:
            key[NEXT_CANDLE], key[NEXT_PANE] = ts // SECOND - 3, ts // PANE - 6
        elif key[TS_MAX] - lateness >= key[NEXT_CLOSE]:
            close(number, key, candles, panes, key[TS_MAX] - lateness, counters, candle_rows, mean_rows)
        key[TS_MAX] = max(key[TS_MAX], ts)

        n = ts // SECOND
        candle = candles[number, n % CANDLES]
        if n >= key[NEXT_CANDLE]:
            if candle[NUMBER] != n:
                candle[:] = 0
                candle[NUMBER] = n
                candle[HIGH] = candle[LOW] = price
                candle[OPEN], candle[OPEN + 1], candle[OPEN + 2] = ts, id, price
                candle[CLOSE], candle[CLOSE + 1], candle[CLOSE + 2] = ts, id, price
                key[LAST_CANDLE] = max(key[LAST_CANDLE], n)
            candle[COUNT] += 1
            candle[HIGH] = max(candle[HIGH], price)
            candle[LOW] = min(candle[LOW], price)
            if ts > candle[CLOSE] or (ts == candle[CLOSE] and id > candle[CLOSE + 1]):
                candle[CLOSE], candle[CLOSE + 1], candle[CLOSE + 2] = ts, id, price
            elif ts < candle[OPEN] or (ts == candle[OPEN] and id < candle[OPEN + 1]):
                candle[OPEN], candle[OPEN + 1], candle[OPEN + 2] = ts, id, price
            add_wide(candle, VOLUME, np.uint64(size), np.uint64(0))
            lo, hi = multiply(np.uint64(price), np.uint64(size))
            add_wide(candle, QUOTE, lo, hi)
            if not sell:
                add_wide(candle, TAKER, np.uint64(size), np.uint64(0))
        n = ts // PANE
        pane = panes[number, n % PANES]
        if pane[0] != n:
            pane[:] = 0
            pane[0] = n
            key[LAST_PANE] = max(key[LAST_PANE], n)
        pane[1] += 1
        add_wide(pane, 2, np.uint64(price), np.uint64(0))
    return refused
