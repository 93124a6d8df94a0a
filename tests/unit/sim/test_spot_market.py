"""A market at any time: the same however it is asked, with ids without holes, prices that lie in the book."""

from itertools import pairwise

import numpy as np
import pytest

from tapeflow.domain.time import DAY, HOUR, MINUTE, SECOND
from tapeflow.sim import mix
from tapeflow.sim.calendar import ORIGIN, Calendar
from tapeflow.sim.chance import Chance
from tapeflow.sim.edition import Edition
from tapeflow.sim.spec import specs
from tapeflow.sim.spot import SpotMarket

NOW = 1_795_273_958_123_456
RANKS = (0, 5, 19)


def market(rank, rate=200.0, seed=7):
    return SpotMarket(specs(seed, rate, 20)[rank], seed)


def columns(pieces):
    rows = []
    for block, low, high in pieces:
        ids = range(block.trade_id + low, block.trade_id + high)
        rows += zip(
            ids,
            block.times[low:high].tolist(),
            block.prices[low:high].tolist(),
            block.sizes[low:high].tolist(),
            block.buys[low:high].tolist(),
            strict=True,
        )
    return rows


def test_draws_are_splitmix():
    chance, state = Chance(99), 99
    wanted = [chance.bits() for _ in range(5)]
    assert [mix.draw(state, at) for at in range(5)] == wanted
    assert mix.draws(state, np.arange(5)).tolist() == wanted
    assert mix.draws(state, np.array([-3])).tolist() == [mix.draw(state, -3)]


def test_symbols_are_unique_and_unlike():
    found = specs(7, 200.0, 600)
    assert len({one.symbol for one in found}) == 600
    assert [one.symbol for one in found[:20]] == [one.symbol for one in specs(7, 200.0, 20)]
    assert abs(sum(one.rate for one in found) - 200) < 1e-6
    assert found[0].rate > 100 * found[-1].rate
    assert all(one.tick_digits + one.step_digits <= 8 and one.price >= 100 for one in found)
    assert all(HOUR % one.block_us == 0 and one.block_us % one.slot_us == 0 for one in found)


@pytest.mark.parametrize("rank", RANKS)
def test_random_access_is_sequential_access(rank):
    one, other = market(rank), market(rank)
    start, end = NOW - 2 * HOUR - 17, NOW + 3
    whole = columns(one.trades(start, end))
    cuts = sorted({start, end, *(start + mix.draw(1, n) % (end - start) for n in range(40))})
    parts = [columns(other.trades(low, high)) for low, high in reversed(list(pairwise(cuts)))]
    assert whole == [row for part in reversed(parts) for row in part]
    assert all(start <= row[1] < end for row in whole)
    assert [row[1] for row in whole] == sorted(row[1] for row in whole)


@pytest.mark.parametrize("rank", RANKS)
def test_ids_are_consecutive_and_find_their_trades(rank):
    one = market(rank)
    rows = columns(one.trades(NOW - 3 * HOUR, NOW))
    assert [row[0] for row in rows] == list(range(rows[0][0], rows[-1][0] + 1))
    assert one.trade_at(NOW - 3 * HOUR) == rows[0][0]
    assert one.trade_at(NOW) == rows[-1][0] + 1
    assert columns(one.trades_of(rows[5][0], rows[-7][0])) == rows[5:-7]
    assert one.aggregate_at(NOW) - one.aggregate_at(NOW - 3 * HOUR) == pytest.approx(len(rows) * 10 / 12, abs=3)


def test_another_seed_is_another_market():
    assert columns(market(0, seed=7).trades(NOW, NOW + SECOND)) != columns(market(0, seed=8).trades(NOW, NOW + SECOND))


@pytest.mark.parametrize("rank", RANKS)
def test_a_candle_is_the_sum_of_its_trades(rank):
    one = market(rank)
    for start, end in ((NOW - HOUR - 7, NOW), (NOW - 5 * SECOND, NOW), (NOW // MINUTE * MINUTE - 90 * MINUTE, NOW)):
        rows, candle = columns(one.trades(start, end)), one.candle(start, end)
        if not rows:
            assert candle is None
            continue
        prices = [row[2] for row in rows]
        assert (candle.open, candle.high, candle.low, candle.close) == (
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
        )
        assert candle.volume == sum(row[3] for row in rows)
        assert candle.turnover == sum(row[2] * row[3] for row in rows)
        assert candle.buy_volume == sum(row[3] for row in rows if row[4])
        assert candle.buy_turnover == sum(row[2] * row[3] for row in rows if row[4])
        assert (candle.count, candle.first_id, candle.last_id) == (len(rows), rows[0][0], rows[-1][0])


@pytest.mark.parametrize("rank", RANKS)
def test_trades_lie_in_the_book_in_force(rank):
    one = market(rank)
    for _id, ts, price, size, buy in columns(one.trades(NOW - 4 * MINUTE, NOW))[:400]:
        bids, asks = one.book(one.slot_at(ts))
        assert price in list(asks if buy else bids)[:2]
        assert size > 0


@pytest.mark.parametrize("rank", RANKS)
def test_books_are_sorted_and_never_cross_and_their_best_is_the_quote(rank):
    one = market(rank)
    slot = one.slot_at(NOW)
    for quote in one.quotes(slot - 300, slot):
        bids, asks = one.book(quote.slot)
        assert list(bids) == sorted(bids, reverse=True)
        assert list(asks) == sorted(asks)
        assert next(iter(bids.items())) == (quote.bid, quote.bid_size)
        assert next(iter(asks.items())) == (quote.ask, quote.ask_size)
        assert 0 < quote.bid < quote.ask
        assert min(min(bids), *bids.values(), *asks.values()) > 0


def test_changes_turn_a_book_into_the_next():
    one = market(0)
    slot = one.slot_at(NOW)
    bids, asks = (dict(side) for side in one.book(slot))
    for at in range(slot + 1, slot + 200):
        changes = one.changes(at)
        for side, changed in ((bids, changes.bids), (asks, changes.asks)):
            side.update(changed)
            for price in [price for price, size in side.items() if not size]:
                del side[price]
        assert (bids, asks) == one.book(at)
        assert changes.bids
        assert changes.asks
        assert one.slot_of_update(one.update_id(at)) == at


def test_the_rate_is_what_was_asked_for():
    for one in specs(7, 200.0, 20)[::6]:
        calendar = Calendar(one, 7)
        weeks = 16 * 7 * DAY
        first, last = calendar.block_at(ORIGIN), calendar.block_at(ORIGIN + weeks)
        trades = 12 * (calendar.groups_before(last) - calendar.groups_before(first))
        assert trades / (weeks / SECOND) == pytest.approx(one.rate, rel=0.1)
        for group in (0, 1, 12_345, 999_999):
            block = calendar.block_of_group(group)
            assert calendar.groups_before(block) <= group < calendar.groups_before(block + 1)


def test_volatility_comes_in_clusters_and_goes_with_activity():
    together, after = [], []
    for seed in (7, 8, 9):
        one, end = market(0, seed=seed), NOW // MINUTE * MINUTE
        candles = [one.candle(at, at + MINUTE) for at in range(end - 12 * HOUR, end, MINUTE)]
        moves = np.array([abs(candle.close - candle.open) for candle in candles], float)
        counts = np.array([candle.count for candle in candles], float)
        after.append(np.corrcoef(moves[1:], moves[:-1])[0, 1])
        together.append(np.corrcoef(moves, counts)[0, 1])
        assert counts.max() > 4 * np.median(counts)
        closes = np.array([candle.close for candle in candles], float)
        assert 0.001 < closes.std() / closes.mean() < 0.1
    assert np.mean(after) > 0.08
    assert min(together) > 0.3


def test_prices_stay_within_bounds_for_years():
    for rank in RANKS:
        one = market(rank)
        prices = [one.quote(one.slot_at(ORIGIN + at * 30 * DAY)).bid for at in range(120)]
        assert min(prices) > one.spec.price / 4
        assert max(prices) < one.spec.price * 4


def edition(rank=5):
    one = market(rank)
    return Edition(one, NOW - DAY)


def ids_of(edition, start, end):
    return [
        run.block.trade_id + run.trade_shift + place
        for run in edition.trades(start, end)
        for place in range(run.low, run.high)
    ]


def test_what_was_never_issued_and_what_never_happened():
    one = edition()
    whole = ids_of(one, NOW - HOUR, NOW)
    half, quarter = NOW - HOUR // 2, NOW - HOUR // 4
    before = len(ids_of(one, NOW - HOUR, half))
    one.skip(half, 5)
    assert ids_of(one, NOW - HOUR, NOW) == whole[:before] + [id + 5 for id in whole[before:]]
    one.halt(quarter, quarter + MINUTE)
    gone = len(ids_of(edition(), quarter, quarter + MINUTE))
    found = ids_of(one, NOW - HOUR, NOW)
    assert found == whole[:before] + [id + 5 for id in whole[before : len(whole) - gone]]
    assert one.candle(NOW - HOUR, NOW).count == len(found)
    assert one.candle(quarter, quarter + MINUTE) is None
    assert not one.is_trading(quarter)
    assert one.next_trade(NOW) == found[-1] + 1
    by_id = [
        run.block.trade_id + run.trade_shift + place
        for run in one.trades_of(found[10], 10_000, NOW)
        for place in range(run.low, run.high)
    ]
    assert by_id == found[10:10_010]
    one.end(NOW - MINUTE)
    assert one.candle(NOW - MINUTE, NOW) is None
    assert one.last_price(NOW) == one.last_price(NOW - MINUTE)


def test_a_halt_can_end_early():
    one, other = edition(), edition()
    one.halt(NOW - 60 * SECOND, NOW + HOUR)
    other.halt(NOW - 60 * SECOND, NOW)
    one.resume(NOW)
    assert ids_of(one, NOW - HOUR, NOW + MINUTE) == ids_of(other, NOW - HOUR, NOW + MINUTE)
