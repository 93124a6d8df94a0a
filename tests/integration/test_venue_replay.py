"""A recording served again: the same events in the same spacing, moved to now, and REST that agrees with them."""

import pytest

from integration.venue_client import against, take
from tapeflow.app.sample import write_sample
from tapeflow.cli.simulate import simulate
from tapeflow.domain.errors import InputError
from tapeflow.domain.time import DAY, SECOND

pytestmark = pytest.mark.slow

SAMPLE_START = 1_767_225_600 * SECOND


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "sample.ndjson"
    write_sample(path, seed=7, seconds=40, symbols=("BTCUSDT", "ETHUSDT"))
    return path


def test_a_recording_moved_to_now(recording):
    async def test(venue, client):
        ws = await client.connect("/stream?streams=btcusdt@trade/btcusdt@kline_1m&timeUnit=MICROSECOND")
        rows = [row["data"] for row in await take(ws, 150)]
        trades = [row for row in rows if row["e"] == "trade"]
        assert abs(trades[-1]["T"] - venue.clock.now()) < 100 * SECOND
        assert all(row["k"]["t"] % (60 * SECOND) == 0 for row in rows if row["e"] == "kline")
        ids = sorted(row["t"] for row in trades)
        history = await client.rows("historicalTrades", symbol="BTCUSDT", fromId=ids[0], limit=1000)
        assert {row["t"]: row["p"] for row in trades}.items() <= {row["id"]: row["price"] for row in history}.items()
        truth = await client.rows("/control/truth/trades", symbol="BTCUSDT", start=0, end=venue.clock.now() + DAY)
        assert set(ids) <= {row["id"] for row in truth}
        bars = await client.rows("klines", symbol="BTCUSDT", interval="1m")
        assert sum(bar[8] for bar in bars) >= len(trades)
        info = await client.rows("exchangeInfo")
        assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]

    against(test, replay=recording, speed=8.0)


def test_a_recording_as_it_was(recording):
    async def test(venue, client):
        ws = await client.connect("/ws/btcusdt@depth@100ms/btcusdt@bookTicker")
        quotes, deltas = {}, []
        while len(deltas) < 60:
            for row in await take(ws, 20):
                if "e" in row:
                    deltas.append(row)
                else:
                    quotes[row["u"]] = row
        book = await client.rows("depth", symbol="BTCUSDT", limit=5000)
        assert SAMPLE_START <= deltas[0]["E"] * 1000 < SAMPLE_START + 60 * SECOND
        quote = quotes.get(book["lastUpdateId"])
        if quote is not None:
            assert (book["bids"][0], book["asks"][0]) == ([quote["b"], quote["B"]], [quote["a"], quote["A"]])
        assert book["lastUpdateId"] >= deltas[-1]["u"]
        assert float(book["bids"][0][0]) < float(book["asks"][0][0])

    against(test, replay=recording, shift=False, speed=8.0)


def test_a_dump(tmp_path):
    path = tmp_path / "BTCUSDT-trades-2025-01-01.csv"
    rows = [f"{1000 + n},9{n % 10}.5,0.25,23.4,{1_735_689_600_000_000 + n * 10_000},True,True" for n in range(300)]
    path.write_text("\n".join(rows) + "\n")

    async def test(venue, client):
        ws = await client.connect("/ws/btcusdt@trade")
        found = await take(ws, 50)
        assert [row["t"] for row in found] == list(range(found[0]["t"], found[0]["t"] + 50))
        assert (found[0]["q"], found[0]["m"]) == ("0.25", True)

    against(test, replay=path)


def test_a_file_of_something_else(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a message\n{}\n")
    with pytest.raises(InputError, match="expected recorded messages"):
        simulate("binance", replay=path)
    with pytest.raises(InputError):
        simulate("binance", replay=tmp_path / "missing")
