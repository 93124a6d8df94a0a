"""How SQL writes texts and numbers."""

from __future__ import annotations


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def long(value: int) -> str:
    """A number of 64 bits: what is left of a division has only as many bits as what it was divided by."""
    return f"CAST({value} AS BIGINT)"


def number(whole: str, parts: str, scale: int) -> str:
    """Two totals, above and below the decimal point, as canonical text."""
    unit = 10**scale
    return trimmed(f"CAST({whole} + {parts} / {unit} AS STRING) || '.' || {digits(f'MOD({parts}, {unit})', unit)}")


def digits(value: str, limit: int) -> str:
    """A number below a power of ten with the zeros before it."""
    return f"SUBSTRING(CAST({limit} + {value} AS STRING) FROM 2)"


def trimmed(text: str) -> str:
    """A text with a decimal point without needless zeros."""
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))"
