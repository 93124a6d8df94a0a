"""``tapeflow tape``: look at a tape, check it, and turn it into files and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option, Typer

if TYPE_CHECKING:
    from tapeflow.tape.records import Damage

tape = Typer(
    name="tape",
    help=(
        "The tape: the durable record of every message, in both directions.\n\n"
        "Example: tapeflow tape import recorded.ndjson.gz --out my-tape, then tapeflow tape ls my-tape"
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Folder = Annotated[Path, Argument(help="The folder of the tape.", metavar="DIR")]
Json = Annotated[bool, Option("--json", help="One JSON object instead of text.")]
Files = Annotated[
    list[Path],
    Argument(help="Recorded messages, .cryptofeed files or public dumps; gz, zst and zip too.", metavar="FILE"),
]
OutFile = Annotated[Path, Option("--out", help="The file to write; .gz and .zst are packed.", metavar="FILE")]
OutTape = Annotated[Path, Option("--out", help="The tape to append to; made if it is not there.", metavar="DIR")]
Start = Annotated[
    str | None, Option("--start", help="Received at this time or later; microseconds or RFC 3339.", metavar="TIME")
]
End = Annotated[str | None, Option("--end", help="Received before this time.", metavar="TIME")]


@tape.command("ls")
def ls(folder: Folder, json: Json = False) -> None:
    """List the segments of a tape: positions, times, records by kind, bytes, and how well they are packed.

    Works on a tape that is being written too.

    Example: tapeflow tape ls my-tape
    """
    import msgspec

    from tapeflow.tape.verify import contents

    found = contents(folder)
    if json:
        rows = [{**msgspec.structs.asdict(one), "ratio": round(one.ratio, 2)} for one in found]
        sys.stdout.write(msgspec.json.encode({"segments": rows}).decode() + "\n")
        return
    from rich.table import Table

    from tapeflow.cli.console import console

    table = Table(box=None, pad_edge=False)
    table.add_column("positions")
    table.add_column("received (UTC)")
    table.add_column("records")
    for name in ("bytes", "ratio"):
        table.add_column(name, justify="right")
    for one in found:
        positions = f"{one.first}..{one.next - 1}" if one.records else f"{one.first} (empty)"
        kinds = ", ".join(f"{count} {kind}" for kind, count in one.kinds.items())
        table.add_row(positions, _span(one.ts_first, one.ts_last), kinds, f"{one.bytes:,}", f"{one.ratio:.1f}x")
    console(sys.stdout).print(table)


@tape.command("verify")
def verify(folder: Folder, json: Json = False) -> None:
    """Read every block of a tape and name every damage: segment, byte, positions and times lost. 1 if there is any.

    Changes nothing, and works on a tape that is being written too.

    Example: tapeflow tape verify my-tape
    """
    import msgspec

    from tapeflow.cli.progress import bar
    from tapeflow.tape.verify import verify as run

    with bar("verify") as progress:
        found = run(folder, progress)
    if json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        sys.stdout.writelines(_damage_text(one) + "\n" for one in found.damage)
        state = "whole" if found.is_whole else f"{len(found.damage)} damaged places"
        used = ", in use" if found.is_written else ""
        sys.stdout.write(
            f"{state}: {found.records} records at positions {found.first}..{found.next - 1} "
            f"in {found.segments} segments, {found.bytes:,} bytes{used}\n"
        )
    if not found.is_whole:
        raise Exit(1)


@tape.command("export")
def export(folder: Folder, out: OutFile, start: Start = None, end: End = None) -> None:
    """Write the frames of a tape as lines `<receive time in microseconds> <frame>`, which replay reads.

    Answers to requests are lines too, with their request. The last line of standard output is one JSON object.

    Example: tapeflow tape export my-tape --out day.ndjson.zst --start 2026-01-02T00:00:00Z --end 2026-01-03T00:00:00Z
    """
    import msgspec

    from tapeflow.app.tape import export_tape
    from tapeflow.cli.progress import bar
    from tapeflow.domain.time import parse_time

    with bar("export") as progress:
        done = export_tape(
            folder,
            out,
            start=None if start is None else parse_time(start),
            end=None if end is None else parse_time(end),
            progress=progress,
        )
    for one in done.damage:
        sys.stderr.write(f"tapeflow: {_damage_text(one)}\n")
    sys.stdout.write(msgspec.json.encode(done).decode() + "\n")


@tape.command("import")
def import_(files: Files, out: OutTape) -> None:
    """Append recorded files, merged by receive time, to a tape; answers keep their request.

    The last line of standard output is one JSON object: frames, answers and the positions that they have.

    Example: tapeflow tape import spot.ndjson.gz depth.cryptofeed --out my-tape
    """
    import msgspec

    from tapeflow.app.tape import import_files
    from tapeflow.cli.progress import bar

    with bar("import") as progress:
        done = import_files(files, out, progress)
    for path, damage in done.damaged.items():
        sys.stderr.write(f"tapeflow: {path}: {damage}; what came before is on the tape\n")
    sys.stdout.write(msgspec.json.encode(done).decode() + "\n")


def _damage_text(one: Damage) -> str:
    lost = "no record lost"
    if one.first is not None:
        upto = "on" if one.last is None else f"to {one.last}"
        lost = f"lost are positions {one.first} {upto}, received {_span(one.ts_first, one.ts_last)}"
    return f"{one.segment}, byte {one.offset}, {one.size} bytes: {one.what}; {lost}"


def _span(start: int | None, end: int | None) -> str:
    from tapeflow.domain.time import time_text

    first, last = ("?" if ts is None else time_text(ts) for ts in (start, end))
    return "at times unknown" if first == last == "?" else f"{first} to {last}"
