"""The book against a plain dictionary for each side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeflow.domain.book import OrderBook

levels = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), max_size=12).map(tuple)
changes = st.lists(st.tuples(levels, levels, st.booleans()), max_size=30)


def put(side, new):
    for price, size in new:
        side.pop(price, None)
        if size:
            side[price] = size


@given(changes, st.integers(0, 50))
def test_any_changes(changes, depth):
    book, bids, asks = OrderBook(), {}, {}
    for at, (new_bids, new_asks, anew) in enumerate(changes):
        if anew:
            bids, asks = {}, {}
            book.reset(at, new_bids, new_asks)
        else:
            book.apply(at, new_bids, new_asks)
        put(bids, new_bids)
        put(asks, new_asks)
        assert book.bids() == tuple(sorted(bids.items(), reverse=True))
        assert book.asks() == tuple(sorted(asks.items()))
        assert book.bids(depth) == book.bids()[:depth]
        assert book.asks(depth) == book.asks()[:depth]
        assert book.is_crossed == (bool(bids and asks) and max(bids) >= min(asks))
        assert (len(book), book.id) == (len(bids) + len(asks), at)


def test_an_empty_book():
    book = OrderBook()
    assert (book.bids(), book.asks(), len(book), book.is_crossed) == ((), (), 0, False)
    book.apply(1, ((5, 0),), ((5, 0),))
    assert len(book) == 0


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_depth(depth):
    book = OrderBook()
    book.reset(1, ((5, 1), (4, 1)), ((6, 1), (7, 1)))
    assert book.bids(depth) == ((5, 1), (4, 1))[:depth]
    assert book.asks(depth) == ((6, 1), (7, 1))[:depth]


def test_one_price_on_both_sides():
    book = OrderBook()
    book.apply(1, ((5, 1),), ((5, 2),))
    assert (book.bids(), book.asks(), book.is_crossed) == (((5, 1),), ((5, 2),), True)
    book.apply(2, ((5, 0),), ())
    assert (book.bids(), book.asks(), book.is_crossed) == ((), ((5, 2),), False)
