"""`tapeflow tape`: ls, verify, export, import as a user calls them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import zstandard
from typer.testing import CliRunner, Result

from recordings import recording
from tapeflow.app.tape import export_tape, import_files
from tapeflow.cli.tape import tape as commands
from tapeflow.domain.errors import InputError, OutputError, SettingsError, TapeError
from tapeflow.engine.columns import NONE_TIME
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.recorded import Recording, merge
from tapeflow.tape.records import Kind
from tapeflow.tape.segments import segments
from tapeflow.tape.writer import TapeWriter

T0 = 1_700_000_000_000_000


def call(*arguments: object) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with TapeWriter(tmp_path / "tape", segment_bytes=400) as writer:
        writer.append(Kind.CONNECT, "c1", b"", at=T0, mono=0, head="wss://x")
        writer.append(Kind.SEND, "c1", b'{"method":"SUBSCRIBE"}', at=T0, mono=0)
        for i in range(1, 41):
            writer.append(Kind.FRAME, "c1", b'{"i":%d}' % i, at=T0 + i * 1_000_000, mono=i)
            if i % 4 == 0:
                writer.append(
                    Kind.ANSWER, "c2", b"[%d]" % i, at=T0 + i * 1_000_000, mono=i, head="200 /api/v3/trades?symbol=X"
                )
                writer.commit()
        writer.append(Kind.ANSWER, "c2", b"no", at=T0 + 50_000_000, mono=9, head="418 /api/v3/trades?symbol=X")
    return tmp_path / "tape"


def test_ls(folder: Path) -> None:
    shown = call("ls", folder)
    assert shown.exit_code == 0
    first, last = shown.stdout.splitlines()[1], shown.stdout.splitlines()[-1]
    assert first.startswith("0..")
    assert "2023-11-14T22:13:20Z to 2023-11-14T22:13:2" in first
    assert "1 connect" in first
    assert "..52" in last
    found = json.loads(call("ls", folder, "--json").stdout)["segments"]
    assert len(found) == len(segments(folder)) > 2
    assert sum(one["records"] for one in found) == 53
    assert found[0]["kinds"] == {"frame": 4, "answer": 1, "send": 1, "connect": 1}
    assert found[0]["ratio"] > 0


def test_verify(folder: Path) -> None:
    shown = call("verify", folder)
    assert shown.exit_code == 0
    assert shown.stdout.startswith("whole: 53 records at positions 0..52 in ")
    path = segments(folder)[1]
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)
    shown = call("verify", folder)
    assert shown.exit_code == 1
    first, last = shown.stdout.splitlines()
    assert first.startswith(f"{path.name}, byte 0, ")
    assert "lost are positions " in first
    assert ", received 2023-11-14T22:13:" in first
    assert last.startswith("1 damaged places: ")
    report = json.loads(call("verify", folder, "--json").stdout)
    assert report["damage"][0]["segment"] == path.name
    assert report["records"] == 53 - (report["damage"][0]["last"] - report["damage"][0]["first"] + 1)


def test_verify_of_a_tape_in_use(folder: Path) -> None:
    with TapeWriter(folder):
        shown = call("verify", folder)
        assert shown.exit_code == 0
        assert shown.stdout.rstrip().endswith("in use")


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_export_and_import_again(folder: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out.ndjson{suffix}"
    shown = call("export", folder, "--out", out)
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout) == {"frames": 40, "answers": 10, "changed": 0, "damage": []}
    data = out.read_bytes()
    if suffix == ".gz":
        data = gzip.decompress(data)
    elif suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    lines = data.decode().splitlines()
    assert lines[0] == f'{T0 + 1_000_000} {{"i":1}}'
    assert lines[4] == "/api/v3/trades?symbol=X -> 1700000004.000000: [4]"
    again = tmp_path / "again"
    shown = call("import", out, "--out", again)
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout) == {"frames": 40, "answers": 10, "first": 0, "next": 50, "damaged": {}}
    assert told(again) == [one for one in told(folder) if one[0] in (1, 2) and not one[2].startswith("418")]


def told(folder: Path) -> list[tuple[int, int, str, bytes]]:
    with TapeReader(folder) as reader:
        rows = [block.record(i) for block in reader.blocks() for i in range(len(block))]
    return [(kind, ts, head, body) for kind, _, ts, _, head, body in rows]


def test_export_of_a_span(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    shown = call("export", folder, "--out", out, "--start", "2023-11-14T22:13:30Z", "--end", T0 + 13_000_000)
    assert shown.exit_code == 0
    assert [line.split()[0] for line in out.read_text().splitlines() if "->" not in line] == [
        str(T0 + i * 1_000_000) for i in (10, 11, 12)
    ]
    assert export_tape(folder, out, start=T0 + 10**15).frames == 0
    assert out.read_bytes() == b""


def test_an_export_that_fails_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="choose another --out"):
        export_tape(folder, tmp_path / "no" / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TapeError, match="holds no tape"):
        export_tape(tmp_path / "empty", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "tape"]


def test_a_frame_stays_a_line(tmp_path: Path) -> None:
    with TapeWriter(tmp_path / "tape") as writer:
        writer.append(Kind.FRAME, "c", b'{\r\n"a":1}', at=T0, mono=0)
    assert export_tape(tmp_path / "tape", tmp_path / "out").changed == 1
    assert (tmp_path / "out").read_bytes() == b'%d {  "a":1}\n' % T0


def test_import_merges_and_appends(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1700000001000000 {}\n1700000003000000 []\n")
    two.write_bytes(b'1700000002000000 {"b":1}\n')
    out = tmp_path / "tape"
    assert import_files([one, two], out).next == 3
    done = import_files([two], out)
    assert (done.first, done.next) == (3, 4)
    assert [body for _, _, _, body in told(out)] == [b"{}", b'{"b":1}', b"[]", b'{"b":1}']


def test_import_of_messages_without_times_and_of_dumps(tmp_path: Path) -> None:
    bare, dump = tmp_path / "bare", tmp_path / "BTCUSDT-trades-2025-01-01.csv"
    bare.write_bytes(b'{"a":1}\n')
    dump.write_bytes(b"1,100.0,1.0,100.0,1735689600000,True,True\n")
    import_files([bare], tmp_path / "a")
    assert told(tmp_path / "a") == [(1, NONE_TIME, "", b'{"a":1}')]
    import_files([dump], tmp_path / "b")
    assert told(tmp_path / "b")[0][:3] == (2, NONE_TIME, "200 dump:trades?symbol=BTCUSDT")


def test_what_cannot_be_imported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at least one file"):
        import_files([], tmp_path / "tape")
    with pytest.raises(InputError, match="give the path"):
        import_files([tmp_path / "none"], tmp_path / "tape")
    assert not (tmp_path / "tape").exists()
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(InputError, match="no message to import"):
        import_files([tmp_path / "empty"], tmp_path / "tape")


def test_a_recording_is_the_same_on_the_tape(tmp_path: Path) -> None:
    paths = [recording("spot_10symbols_20210405.cryptofeed"), recording("spot_4symbols_20211011.http.cryptofeed")]
    done = import_files(paths, tmp_path)
    recordings = [Recording(path) for path in paths]
    wanted = []
    for _, frames, start, stop in merge(recordings):
        for i in range(start, stop):
            request = frames.request(i)
            head = "" if request is None else f"200 {request}"
            wanted.append((1 if request is None else 2, frames.ts_recv(i), head, frames[i]))
    for one in recordings:
        one.close()
    assert told(tmp_path) == wanted
    assert done.answers > 0


@pytest.mark.parametrize("command", ["ls", "verify", "export", "import"])
def test_help_teaches_with_an_example(command: str) -> None:
    shown = call(command, "--help")
    assert shown.exit_code == 0
    assert f"Example: tapeflow tape {command} " in " ".join(shown.stdout.split())
