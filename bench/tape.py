"""The tape: ``python bench/tape.py [--quick]``; nothing is written into the repository.

Writing goes through the spool with its own policy (commit every 5 ms, fsync every second) until all is on the disk;
reading gives columns. Each stands beside the plain way in the same run: lines appended to a gzip file of level 1, and
read back from it line by line. On another machine the ratios stay, the figures do not.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from make_input import START_US, draw, names, zipf
from run import RECORDINGS, line, medians
from tapeflow.app.tape import import_files
from tapeflow.tape.blocks import Block
from tapeflow.tape.compact import compact
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.recorded import Recording, merge
from tapeflow.tape.records import Kind
from tapeflow.tape.segments import segments
from tapeflow.tape.spool import Spool
from tapeflow.tape.verify import contents, verify
from tapeflow.tape.writer import TapeWriter

SYMBOLS = 50
#: Frames that arrive together, as from a socket that had so many ready.
ARRIVAL = 50


def trades(n: int) -> list[bytes]:
    """Trades in the combined-stream envelope, 200 bytes each within a few."""
    of, labels = zipf(3, n, SYMBOLS), names(SYMBOLS)
    gaps, cents, sizes = draw(3, 1, n, 1400), draw(3, 2, n, 200), draw(3, 3, n, 10**6)
    ts, found = START_US, []
    columns = (column.tolist() for column in (of, gaps, cents, sizes))
    for i, (symbol, gap, cent, size) in enumerate(zip(*columns, strict=True)):
        ts += gap
        name = labels[symbol]
        found.append(
            b'{"stream":"%b@trade","data":{"e":"trade","E":%d,"s":"%b","t":%d,"p":"%d.%02d000000",'
            b'"q":"0.%06d00","b":%d,"a":%d,"T":%d,"m":%b,"M":true}}'
            % (
                name.lower().encode(),
                ts // 1000,
                name.encode(),
                4_000_000_000 + i,
                60_000 + symbol,
                cent % 100,
                size,
                30_000_000_000 + 7 * i,
                30_000_000_001 + 7 * i,
                ts // 1000,
                b"true" if cent & 1 else b"false",
            )
        )
    return found


def write_tape(folder: Path, frames: list[bytes], rate: float | None = None) -> float:
    """Seconds until all of it is committed and synced; as fast as it goes, or at so many frames a second."""
    with TapeWriter(folder) as writer:
        began = time.perf_counter()
        spool = Spool(writer)
        put, at = spool.put, START_US
        for start in range(0, len(frames), ARRIVAL):
            at += ARRIVAL * 3
            for frame in frames[start : start + ARRIVAL]:
                put(Kind.FRAME, "binance-1", frame, at=at, mono=at)
            while spool.is_full or (rate and time.perf_counter() - began < start / rate):
                time.sleep(0.0005)
        spool.stop()
        return time.perf_counter() - began


def put_time(folder: Path, frames: list[bytes]) -> float:
    """Seconds that only the putting takes, in arrivals with pauses, as an event loop sees it."""
    took = 0.0
    with TapeWriter(folder) as writer:
        spool = Spool(writer)
        for start in range(0, len(frames), ARRIVAL):
            some = frames[start : start + ARRIVAL]
            began = time.perf_counter()
            for frame in some:
                spool.put(Kind.FRAME, "binance-1", frame, at=START_US, mono=START_US)
            took += time.perf_counter() - began
            time.sleep(0.0005)
        spool.stop()
    return took


def write_gzip(path: Path, frames: list[bytes]) -> float:
    began = time.perf_counter()
    at = START_US
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as file:
        for frame in frames:
            at += 3
            file.write(b"%d %b\n" % (at, frame))
        file.flush()
        os.fsync(raw.fileno())
    return time.perf_counter() - began


def read_tape(folder: Path, n: int) -> float:
    began, seen, newest = time.perf_counter(), 0, 0
    with TapeReader(folder) as reader:
        for block in reader.blocks():
            seen += len(block)
            newest = int(block.lines["ts_recv"][-1])
    took = time.perf_counter() - began
    assert (seen, newest > START_US) == (n, True)
    return took


def read_gzip(path: Path, n: int) -> float:
    began, seen = time.perf_counter(), 0
    with gzip.open(path, "rb") as file:
        for text in file:
            ts, _, body = text.partition(b" ")
            seen += int(ts) > 0 and len(body) > 1
    assert seen == n
    return time.perf_counter() - began


def speed(n: int, repeats: int) -> None:
    frames = trades(n)
    size = sum(map(len, frames))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        turn = iter(range(1000))
        packed = root / "lines.gz"
        tapes: list[Path] = []

        def write() -> float:
            tapes.append(root / f"tape{next(turn)}")
            return write_tape(tapes[-1], frames)

        written = medians(repeats, {"gzip": lambda: write_gzip(packed, frames), "tape": write})
        read = medians(repeats, {"gzip": lambda: read_gzip(packed, n), "tape": lambda: read_tape(tapes[0], n)})
        print(f"{n:,} trades of {size / n:.0f} bytes")
        line("Write: gzip -1 lines, k frames/s", f"{n / written['gzip'] / 1e3:,.0f}", "1.00x", "")
        ratio = written["gzip"] / written["tape"]
        line("  tape, as fast as it goes", f"{n / written['tape'] / 1e3:,.0f}", f"{ratio:.2f}x", "goal 300 k/s")
        paced = write_tape(root / "paced", frames, 300_000)
        line("  frames arriving at 300 k/s", f"{n / paced / 1e3:,.0f}", "", "goal 300 k/s")
        few = frames[: n // 5]
        line("  put, us a frame", f"{put_time(root / 'puts', few) / len(few) * 1e6:.2f}", "", "goal about 1")
        line("Read: gzip lines in Python, M frames/s", f"{n / read['gzip'] / 1e6:.2f}", "1.00x", "")
        ratio = read["gzip"] / read["tape"]
        line("  tape, as columns", f"{n / read['tape'] / 1e6:.2f}", f"{ratio:.1f}x", "goal 3 M/s")
        theirs, ours = packed.stat().st_size / n, disk(tapes[0]) / n
        line("Bytes a frame: gzip -1", f"{theirs:.1f}", "1.00x", "")
        line("  tape", f"{ours:.1f}", f"{theirs / ours:.2f}x", "")
        began = time.perf_counter()
        seal(tapes[0])
        compact(tapes[0])
        took = time.perf_counter() - began
        ours = compacted(tapes[0])
        line(f"  compacted, in {took:.1f} s", f"{ours:.1f}", f"{theirs / ours:.2f}x", "")
        again = read_tape(tapes[0], n)
        line("Read: compacted, as columns, M frames/s", f"{n / again / 1e6:.2f}", f"{read['gzip'] / again:.1f}x", "")
        assert verify(tapes[0]).is_whole


def disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in segments(folder))


def seal(folder: Path) -> None:
    """Begin an empty segment: all before it may be compacted."""
    with TapeWriter(folder) as writer:
        writer._begin_segment()


def compacted(folder: Path) -> float:
    found = contents(folder)
    return sum(one.bytes for one in found) / sum(one.records for one in found)


def live(files: list[Path], folder: Path) -> int:
    """The recorded frames written in groups of 5 ms of their own receive time, as live; how many."""
    recordings = [Recording(path) for path in files]
    n, newest = 0, 0
    with TapeWriter(folder) as writer:
        for _, frames, start, stop in merge(recordings):
            for i in range(start, stop):
                ts = int(frames.lines[i]["ts_recv"])
                if ts // 5000 != newest:
                    writer.commit()
                newest = ts // 5000
                writer.append(Kind.FRAME, "binance-1", frames[i], at=ts, mono=ts)
                n += 1
    for recording in recordings:
        recording.close()
    return n


def size() -> None:
    files = sorted(path for path in RECORDINGS.glob("spot_*") if ".http." not in path.name)
    if not files:
        line("Bytes a frame, recorded", "skipped", "", f"{RECORDINGS} is not here; set TAPEFLOW_RECORDINGS")
        return
    print(f"Recorded data: {', '.join(path.name for path in files)}")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        n = live(files, root / "live")
        import_files(files, root / "import")
        raw = packed = 0
        for block in blocks_of(root / "import"):
            text = b"".join(b"%d %b\n" % (block.ts_recv[i], block.body(i)) for i in range(len(block)))
            raw += len(text)
            packed += len(gzip.compress(text, 1))
        line("Bytes a frame: as lines", f"{raw / n:.1f}", "", f"{n:,} frames")
        line("  gzip -1", f"{packed / n:.1f}", "1.00x", "")
        for what, folder in (("live, committed every 5 ms", "live"), ("imported in large blocks", "import")):
            bytes_ = disk(root / folder) / n
            line(f"  tape, {what}", f"{bytes_:.1f}", f"{packed / n / bytes_:.2f}x", "")
        seal(root / "live")
        compact(root / "live")
        line("  tape, compacted", f"{disk(root / 'live') / n:.1f}", f"{packed / disk(root / 'live'):.2f}x", "")


def blocks_of(folder: Path) -> Iterator[Block]:
    with TapeReader(folder) as reader:
        yield from reader.blocks()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small inputs, one repeat")
    args = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    line("", "", "ratio", "")
    speed(200_000 if args.quick else 1_500_000, 1 if args.quick else 3)
    size()


if __name__ == "__main__":
    main()
