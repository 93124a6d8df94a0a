"""Settings: what is wrong is named, all of it, with its place and the nearest key; what counts can be printed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from tapeflow.app.config import example, show, toml
from tapeflow.app.meanings import FLOW_KEYS, RUN_KEYS
from tapeflow.domain.errors import SettingsError
from tapeflow.settings import ApiSettings, LogSettings, RunSettings, load_flow, load_run


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_run(write(folder, text))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[feed]\nstream_per_connection = 3",
         "[feed] stream_per_connection: no such key; did you mean streams_per_connection?"),
        ("prot = 3", "prot: no such key; there are symbols, venue, data, endpoints"),
        ("port = 3", "port: no such key here; it belongs to [api]"),
        ("[api]\nsymbols = []", "[api] symbols: no such key here; it belongs to the head of the file"),
        ("[apl]\nport = 3", "apl: no such key; did you mean api?"),
        ("[api]\nport = 65536", "[api] port: Expected `int` <= 65535"),
        ("[api]\nport = '8600'", "[api] port: Expected `int`, got `str`"),
        ("[log]\nlevel = 'loud'", "[log] level: Invalid enum value 'loud'"),
        ("api = 3", "api: Expected `object`, got `int`"),
        ("[flow.candles]\ninterval = ['1s']", "[flow.candles] interval: no such key; did you mean intervals?"),
        ("[[flow.moving_average]]\nwindows = '1s'", "[flow.moving_average] windows: no such key; did you mean window?"),
        ("[tape]\nkeep = '7 days'", "[tape] keep: expected a span of time"),
        ("[store]\nkeep = { trades = '1' }", "[store] keep.trades: expected a span of time"),
        ("[store]\nchannels = ['candels']", "[store] no channel 'candels'; there are trades"),
        ("[store]\nchannels = ['trades']\nkeep = { quotes = '1d' }", "[store] keep: quotes is not kept at all"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    head, brace, rest = text.partition("[")
    assert told in refused(tmp_path, f'{head}symbols = ["X"]\n{brace}{rest}' if brace else f'symbols = ["X"]\n{text}')


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    told = refused(tmp_path, "venu = 'binance'\n[feed]\nhistory = -1\n[api]\nsqll = true\n")
    for one in ("symbols: must be given", "did you mean venue?", "[feed] history: ", "did you mean sql?"):
        assert one in told
    told = refused(tmp_path, "symbols = ['']\n[tape]\nkeep = 'x'\ncommit = 'y'\n[flow]\nlateness = 'z'\n")
    for one in ("symbols: expected names", "[tape] keep: ", "[tape] commit: ", "got 'z'"):
        assert one in told


def test_a_flow_file_is_told_of_its_own_keys(tmp_path: Path) -> None:
    path = tmp_path / "flow.toml"
    path.write_text("intervals = ['1s']\nkeep = '1d'\n")
    with pytest.raises(SettingsError) as caught:
        load_flow(path)
    assert "intervals: no such key here; it belongs to [candles]" in str(caught.value)
    assert "keep: no such key; there are name" in str(caught.value)


def test_the_defaults_let_nobody_in_but_this_machine() -> None:
    api = RunSettings(symbols=("X",)).api
    assert (api.enabled, api.host, api.port, api.is_public) == (True, "127.0.0.1", 8600, False)
    assert (api.allowed_hosts, api.allowed_origins) == ((), ())


def test_the_example_has_every_key_and_can_be_used(tmp_path: Path) -> None:
    text = example()
    path = write(tmp_path, text)
    assert load_run(path) == RunSettings(symbols=("BTCUSDT", "ETHUSDT"), data=str(tmp_path.resolve() / "data"))
    with_flow = write(tmp_path, text.partition("# [flow]")[0] + uncommented(text))
    made = load_run(with_flow).flow
    assert made is not None
    assert made.candles is not None
    for key in (*RUN_KEYS, *FLOW_KEYS):
        assert f"{key.rpartition('.')[2]} " in text.replace("]", " ").replace(".", " "), key


def uncommented(text: str) -> str:
    """The part of the example that shows a flow, as if somebody had taken the comment signs away."""
    _, sign, rest = text.partition("# [flow]")
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in (sign + rest).splitlines())


def test_what_is_shown_is_the_same_run(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'symbols = ["btcusdt"]\n[store]\nkeep = { trades = "1d", "quotes" = "2h" }\n[feed]\nconnection_age = "1h"\n'
        '[api]\nallowed_hosts = ["a\\"b.example"]\n[log]\nformat = "json"\n'
        '[flow]\nname = "mine"\n[[flow.moving_average]]\n[[flow.moving_average]]\nwindow = "5s"\n[flow.book]\n',
    )
    made = load_run(path)
    text = show(made)
    again = tmp_path / "again.toml"
    again.write_text(text)
    assert load_run(again) == made
    assert msgspec.convert(tomllib.loads(text)["log"], LogSettings) == LogSettings(format="json")


def test_a_password_in_an_address_is_not_shown(tmp_path: Path) -> None:
    made = load_run(write(tmp_path, 'symbols = ["X"]\n[endpoints]\nrest = "https://me:hunter2@host/"\n'))
    assert "hunter2" not in show(made)
    assert 'rest = "https://***@host/"' in show(made)


def test_values_are_written_as_toml_has_them() -> None:
    value = {"a": [1, 2.5, True, 'x"\n\u00e9'], "b": {}}
    assert tomllib.loads(f"v = {toml(value)}") == {"v": value}
    assert toml(ApiSettings().allowed_hosts) == "[]"


def test_a_topic_of_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('symbols = ["BTCUSDT"]\n[bus.topics]\nkline = "x"\n', "utf-8")
    with pytest.raises(SettingsError, match=r"\[bus.topics\] nothing is called 'kline'; there are trades, .*klines"):
        load_run(path)
