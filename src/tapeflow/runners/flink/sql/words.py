"""Exact totals in words: columns of 64 bits, which Flink adds many times as fast as decimals of 38 digits.

A price or a size is a mantissa, so many of its last decimals. It is split at the decimal point, and a product of two
at a word more. No word of a candle is beyond 64 bits before 10^8 trades of the greatest price and size are in it.
"""

from __future__ import annotations

from tapeflow.domain.number import decimal_text
from tapeflow.runners.flink.sql.values import digits, long, number, trimmed

#: What is above and below this are two words.
_WORD = 10**9

#: A total of quote volume with more digits is null in a row, as in `domain.candle`.
_LIMIT_DIGITS = 38

#: A mean is null from so many trades on, where one of its words might be beyond 64 bits.
_MOST_TRADES = 900_000_000


def mantissa(field: str, scale: int) -> str:
    """The number in a text; 0 where there is none, and less than 0 beyond 64 bits."""
    decimal = f"TRY_CAST(`{field}` AS DECIMAL(19, {scale}))"
    return f"COALESCE(CAST({decimal} * CAST({10**scale} AS DECIMAL({scale + 1}, 0)) AS BIGINT), CAST(0 AS BIGINT))"


def of_trade(scale: int) -> dict[str, str]:
    """The words of a trade, by the names of the totals they are added to: of its size, of this if it was bought, and of
    its quote volume those above and below `_WORD` and the two halves of its decimals."""
    unit, word = long(10**scale), long(_WORD)
    price, cents = f"(`price` / {unit})", f"MOD(`price`, {unit})"
    size, parts = f"(`size` / {unit})", f"MOD(`size`, {unit})"
    # The notional of a trade is bounded, else the first product might be beyond 64 bits.
    whole = f"({price} * {size} + {price} * {parts} / {unit} + {cents} * {size} / {unit})"
    decimals = f"MOD({price} * {parts}, {unit}) + MOD({cents} * {size}, {unit}) + {cents} * {parts} / {unit}"
    return {
        "volume": size,
        "volume_parts": parts,
        "bought": f"CASE WHEN `buys` THEN {size} ELSE 0 END",
        "bought_parts": f"CASE WHEN `buys` THEN {parts} ELSE 0 END",
        "quote_words": f"{whole} / {word}",
        "quote": f"MOD({whole}, {word})",
        "quote_parts": decimals,
        "quote_last": f"MOD({cents} * {parts}, {unit})",
    }


def volume(scale: int) -> str:
    """The total of sizes as text."""
    return number("`volume`", "`volume_parts`", scale)


def bought(scale: int) -> str:
    """The total of sizes that were bought as text."""
    return number("`bought`", "`bought_parts`", scale)


def quote(scale: int) -> str:
    """The total of quote volume as text, where it `fits`."""
    unit = 10**scale
    parts, whole, above = _carried(unit)
    below = f"MOD({whole}, {_WORD})"
    text = (
        f"CASE WHEN {above} = 0 THEN CAST({below} AS STRING) ELSE CAST({above} AS STRING) || {digits(below, _WORD)} END"
    )
    decimals = f"{digits(f'MOD({parts}, {unit})', unit)} || {digits(f'MOD(`quote_last`, {unit})', unit)}"
    return trimmed(f"{text} || '.' || {decimals}")


def fits(scale: int) -> str:
    """Whether quote volume has no more digits than a total may have."""
    *_, above = _carried(10**scale)
    return f"{above} < {10 ** (_LIMIT_DIGITS - 2 * scale) // _WORD}"


def _carried(unit: int) -> tuple[str, str, str]:
    """The words of quote volume but for the last, each with what the one below has too much."""
    parts = f"(`quote_parts` + `quote_last` / {unit})"
    whole = f"(`quote` + {parts} / {unit})"
    return parts, whole, f"(`quote_words` + {whole} / {_WORD})"


def of_price() -> dict[str, str]:
    """The words that a trade, or an aggregate of many, adds to the totals of a mean."""
    above, below = f"`price` / {_WORD}", f"MOD(`price`, {_WORD})"
    return {"price_words": f"{above} * `trades`", "price_rest": f"{below} * `trades`"}


def mean(scale: int) -> str:
    """The mean of prices, as a float."""
    total = f"CAST(`price_words` AS DECIMAL(19, 0)) * CAST({_WORD} AS DECIMAL(10, 0)) + `price_rest`"
    # A product has a digit more than its factors have together; beyond 38 it would lose decimals.
    one = f"CAST({decimal_text(1, scale)} AS DECIMAL({scale + 1}, {scale}))"
    paid = f"CAST({total} AS DECIMAL({36 - scale}, 0)) * {one}"
    return f"CASE WHEN `trades` < {_MOST_TRADES} THEN CAST({paid} AS DOUBLE) / CAST(`trades` AS DOUBLE) END"
