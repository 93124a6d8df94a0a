"""The symbols of the simulated venue: real names first, then made-up ones; what makes one market unlike another."""

from __future__ import annotations

import msgspec

from tapeflow.domain.time import HOUR, MILLISECOND, MINUTE, SECOND
from tapeflow.sim import mix

#: Digits after the point of every price and size on the wire.
SCALE = 8

#: A group is eight takers' orders with twelve fills that make ten aggregates.
GROUP_ORDERS, GROUP_TRADES, GROUP_AGGREGATES = 8, 12, 10


class Spec(msgspec.Struct, frozen=True):
    """One market. Prices count ticks, sizes steps; a tick is ``10**-tick_digits``, a step ``10**-step_digits``."""

    symbol: str
    base: str
    quote: str
    tick_digits: int
    step_digits: int
    #: About the middle of all prices there will ever be, in ticks.
    price: int
    #: The usual move in five minutes, in millionths of the price.
    volatility: int
    #: Distance of two levels of the book, in ticks.
    gap: int
    #: Usual size of a level and of a taker's order, in steps.
    level_size: int
    order_size: int
    #: Trades a second on average.
    rate: float
    #: A block is generated at a time; the book changes at the beginning of each slot.
    block_us: int
    slot_us: int
    #: Ids differ between symbols, so that a mix-up shows.
    update_id: int


#: Symbol, price, digits of tick and step, volatility; in order of activity.
_KNOWN = (
    ("BTC", 87_500.0, 2, 5, 700),
    ("ETH", 2_970.0, 2, 4, 1000),
    ("SOL", 125.0, 2, 3, 1300),
    ("BNB", 860.0, 2, 3, 900),
    ("XRP", 1.9, 4, 1, 1300),
    ("DOGE", 0.128, 5, 0, 1600),
    ("ADA", 0.37, 4, 1, 1500),
    ("TRX", 0.28, 4, 1, 600),
    ("LINK", 12.5, 2, 2, 1500),
    ("AVAX", 12.3, 2, 2, 1600),
    ("SUI", 1.45, 4, 1, 1900),
    ("LTC", 77.0, 2, 3, 1200),
    ("BCH", 590.0, 1, 3, 1200),
    ("DOT", 1.8, 3, 2, 1600),
    ("PEPE", 0.0000041, 8, 0, 2200),
    ("SHIB", 0.0000072, 8, 0, 1700),
    ("NEAR", 1.5, 3, 1, 1800),
    ("UNI", 5.8, 3, 2, 1700),
    ("AAVE", 150.0, 2, 3, 1600),
    ("ETC", 12.0, 2, 2, 1400),
    ("HBAR", 0.11, 5, 0, 1700),
    ("XLM", 0.21, 4, 0, 1500),
    ("TON", 1.6, 3, 2, 1400),
    ("APT", 1.7, 3, 2, 1800),
    ("ARB", 0.19, 4, 1, 1900),
    ("FIL", 1.3, 3, 2, 1700),
    ("ATOM", 2.0, 3, 2, 1500),
    ("OP", 0.27, 4, 2, 1900),
    ("INJ", 4.6, 3, 2, 1900),
    ("WIF", 0.33, 4, 2, 2600),
)
_PARTS = ("ZO", "KA", "MI", "VE", "LU", "RA", "TE", "NI", "QU", "SO", "BRI", "DEX", "GA", "HYP", "OR", "PLU")


def specs(seed: int, rate: float, count: int) -> list[Spec]:
    """The ``count`` markets of a venue with ``rate`` trades a second in all, the busiest first."""
    shares = [1.0 / (rank + 1) for rank in range(count)]
    total = 0.0
    for share in shares:
        total += share
    return [spec(seed, rank, rate * share / total) for rank, share in enumerate(shares)]


def spec(seed: int, rank: int, rate: float) -> Spec:
    """The market of this rank with so many trades a second."""
    base, price, tick_digits, step_digits, volatility = _KNOWN[rank] if rank < len(_KNOWN) else _made_up(seed, rank)
    step = price / 10**step_digits
    return Spec(
        symbol=f"{base}USDT",
        base=base,
        quote="USDT",
        tick_digits=tick_digits,
        step_digits=step_digits,
        price=max(100, round(price * 10**tick_digits)),
        volatility=volatility,
        gap=max(1, round(price * 10**tick_digits / 60_000)),
        level_size=max(40, round(15_000 / step)),
        order_size=max(4, round(900 / step)),
        rate=rate,
        block_us=_block_us(rate),
        slot_us=_slot_us(rate),
        update_id=(rank + 1) * 1_000_000_000,
    )


def _made_up(seed: int, rank: int) -> tuple[str, float, int, int, int]:
    """A name that its rank alone determines, so that the list can grow; the rest by chance."""
    parts, at = len(_PARTS), rank - len(_KNOWN)
    name = _PARTS[at % parts] + _PARTS[(at // parts + 3 * at + 5) % parts]
    if at >= parts * parts:
        name += str(at // (parts * parts))
    bits = mix.draw(mix.key(seed, "spec"), rank)
    place = bits % 6
    price = (1_000 + (bits >> 8) % 9_000) / 10 ** (place + 1)
    tick_digits = place + 2
    return name, price, tick_digits, max(0, 4 - place), 900 + (bits >> 32) % 1_800


def _block_us(rate: float) -> int:
    """Some thousand trades in a block, so that each is made in milliseconds and none for nothing."""
    if rate > 200:
        return MINUTE
    if rate > 20:
        return 5 * MINUTE
    return 15 * MINUTE if rate > 2 else HOUR


def _slot_us(rate: float) -> int:
    if rate > 20:
        return 25 * MILLISECOND
    if rate > 4:
        return 100 * MILLISECOND
    return SECOND if rate > 0.3 else 5 * SECOND
