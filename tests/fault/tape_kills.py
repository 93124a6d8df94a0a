"""Kill a process that writes a tape, again and again: ``python tests/fault/tape_kills.py [--kills N] [--seed S]``.

A child writes numbered records through the spool and reports each committed position on a pipe; it is killed with
SIGKILL at a random time. After each kill every reported position must be on the tape, right, in order and once.
All kills hit one tape, so each child also goes on after what the kill before it left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tapeflow.tape.compact import compact
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.segments import segments
from tapeflow.tape.spool import Spool
from tapeflow.tape.verify import verify
from tapeflow.tape.writer import TapeWriter

SEGMENT_BYTES = 2_000_000
#: Every so many records one is long and cannot be packed: a block of it takes long enough to be torn by a kill.
LONG_EVERY = 701


def body(number: int) -> bytes:
    if number % LONG_EVERY == 0:
        return random.Random(number).randbytes(300_000)
    return b'{"n":%d,"x":"%x"}' % (number, pow(number + 1, 7)) * (1 + number % 3)


def head(number: int) -> str:
    return f"200 /n?{number}" if number % 11 == 0 else ""


def child(folder: Path, pipe: int, seed: int, *, with_compaction: bool) -> None:
    """Write until killed."""
    chance = random.Random(seed)
    writer = TapeWriter(folder, segment_bytes=SEGMENT_BYTES)
    os.write(pipe, struct.pack("<q", writer.position))
    spool = Spool(
        writer,
        commit_ms=chance.choice((0.2, 1, 5)),
        sync_ms=50,
        on_commit=lambda position: os.write(pipe, struct.pack("<q", position)),
    )
    if with_compaction:
        threading.Thread(target=keep_compacting, args=(folder,), daemon=True).start()
    number = writer.position
    while True:
        for _ in range(chance.randrange(1, 200)):
            spool.put(1 + number % 2, f"c{number % 3}", body(number), at=number * 10, mono=number, head=head(number))
            number += 1
        if spool.is_full or chance.random() < 0.3:
            time.sleep(chance.random() / 500)


def keep_compacting(folder: Path) -> None:
    while True:
        compact(folder, level=3)
        time.sleep(0.005)


class Checker:
    """Reads on from where it stopped, so that a thousand kills do not read the tape a thousand times."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.position = 0

    def check(self, reported: int) -> None:
        """Everything up to what was reported is there, right, in order, once."""
        with TapeReader(self._folder, self.position) as reader:
            for block in reader.blocks():
                if block.first != self.position:
                    raise SystemExit(f"expected position {self.position}, got {block.first}")
                for i in range(len(block)):
                    n = block.first + i
                    wanted = (1 + n % 2, f"c{n % 3}", n * 10, n, head(n), body(n))
                    if block.record(i) != wanted:
                        raise SystemExit(f"record {n}: expected {wanted}, got {block.record(i)}")
                self.position = block.next
            if reader.damage:
                raise SystemExit(f"damage: {reader.damage}")
        if self.position < reported:
            raise SystemExit(f"position {reported} was reported as committed, the tape ends at {self.position}")


def kill_once(folder: Path, chance: random.Random, *, with_compaction: bool) -> int:
    """Let a child write for a while and kill it; the last position that it reported."""
    reading, writing = os.pipe()
    command = [sys.executable, __file__, "--child", str(folder), str(writing), str(chance.randrange(1 << 30))]
    process = subprocess.Popen([*command, "--compaction"] if with_compaction else command, pass_fds=(writing,))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        first = pipe.read(8)
        if len(first) < 8:
            raise SystemExit("the child did not begin")
        time.sleep(chance.random() ** 2 * 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        told = first + pipe.read()
    positions = struct.unpack(f"<{len(told) // 8}q", told[: len(told) // 8 * 8])
    if list(positions) != sorted(positions):
        raise SystemExit("positions were reported out of order")
    return int(positions[-1])


def run(kills: int, seed: int, *, with_compaction: bool) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checker = Checker(folder)
        unreported = torn = 0
        for _ in range(kills):
            reported = kill_once(folder, chance, with_compaction=with_compaction)
            checker.check(reported)
            with TapeReader(folder, checker.position) as reader:
                reader.read()
                torn += reader.torn() is not None
            unreported += checker.position - reported
        whole = Checker(folder)
        whole.check(checker.position)
        report = verify(folder)
        # The last kill may have left a torn end; there must be nothing else.
        if any(one.first != report.next for one in report.damage) or report.records != checker.position:
            raise SystemExit(f"verify: {report}")
        print(
            f"{kills} kills: {checker.position} records in {len(segments(folder))} segments, 0 lost, 0 doubled; "
            f"{unreported} were written but not yet reported, {torn} torn ends"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--compaction", action="store_true", help="compact all the while, in the process that is killed"
    )
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        folder, pipe, seed = args.child
        child(Path(folder), int(pipe), int(seed), with_compaction=args.compaction)
    else:
        run(args.kills, args.seed, with_compaction=args.compaction)


if __name__ == "__main__":
    main()
