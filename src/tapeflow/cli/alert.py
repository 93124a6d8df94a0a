"""``tapeflow alert``: the rules of a run, made, seen, tried and removed while it runs; and what fired."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Typer

from tapeflow.cli.options import Data, Json, Key

alert = Typer(
    name="alert",
    help="Alerts of a run: be told when something happens, at least once; kept over restarts.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

File = Annotated[Path, Argument(help="A JSON file with the rule; - for standard input.", metavar="FILE")]
Id = Annotated[str, Argument(help="As `tapeflow alert ls` shows.", metavar="ID")]


@alert.command("ls")
def ls(data: Data = Path("data"), json: Json = False, key: Key = None) -> None:
    """List the rules: what each watches, how it is, whom it tells.

    Example: tapeflow alert ls --data data
    """
    from tapeflow.app.running import ask

    rows = ask(data, "GET", "/v1/alerts", key=key)["data"]
    if json:
        _lines(rows)
        return
    _table(
        ("id", "state", "about", "targets", "name"),
        [
            (row["id"], row["state"], row["about"], ", ".join(one["name"] for one in row["targets"]), row["name"])
            for row in rows
        ],
    )


@alert.command("add")
def add(file: File, data: Data = Path("data"), key: Key = None) -> None:
    """Keep a rule and print its identifier; docs/reference/alerts.md has every field.

    A file, and no options: addresses and secrets would else be in the shell's history.

    Example: tapeflow alert add rule.json --data data
    """
    import msgspec

    from tapeflow.app.running import ask
    from tapeflow.domain.errors import InputError

    try:
        draft = msgspec.json.decode(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; give a JSON file with the rule") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {error}; expected JSON") from error
    sys.stdout.write(ask(data, "POST", "/v1/alerts", draft, key)["id"] + "\n")


@alert.command("remove")
def remove(id: Id, data: Data = Path("data"), key: Key = None) -> None:
    """Remove a rule; what waits for its targets is dropped.

    Example: tapeflow alert remove 9f86d081aa
    """
    from urllib.parse import quote

    from tapeflow.app.running import ask

    ask(data, "DELETE", f"/v1/alerts/{quote(id, safe='')}", key=key)
    sys.stderr.write(f"removed {id}\n")


@alert.command("test")
def try_out(id: Id, data: Data = Path("data"), key: Key = None) -> None:
    """Tell the targets of a rule of something that did not happen, and say what became of it.

    Example: tapeflow alert test 9f86d081aa
    """
    from urllib.parse import quote

    from typer import Exit

    from tapeflow.app.running import ask

    rows = ask(data, "POST", f"/v1/alerts/{quote(id, safe='')}/test", {}, key)["data"]
    for row in rows:
        sys.stdout.write(f"{row['target']}: {row['error'] or 'delivered'} ({row['ms']} ms)\n")
    if not rows or any(not row["delivered"] for row in rows):
        raise Exit(1)


@alert.command("events")
def events(data: Data = Path("data"), json: Json = False, key: Key = None) -> None:
    """List what fired last, and what became of it at each target.

    Example: tapeflow alert events --data data --json
    """
    from tapeflow.app.running import ask

    rows = ask(data, "GET", "/v1/alerts/events?limit=1000", key=key)["data"]
    if json:
        _lines(rows)
        return
    _table(
        ("time (UTC)", "what", "targets"),
        [(_time(row["ts"]), row["text"], ", ".join(_delivery(one) for one in row["deliveries"])) for row in rows],
    )


def _delivery(one: dict[str, Any]) -> str:
    error = f" ({one['last_error']})" if one["last_error"] else ""
    return f"{one['target']}: {one['state']} after {one['attempts']}{error}"


def _lines(rows: list[dict[str, Any]]) -> None:
    import msgspec

    for row in rows:
        sys.stdout.write(msgspec.json.encode(row).decode() + "\n")


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from tapeflow.cli.console import console

    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    console(sys.stdout).print(table)


def _time(at: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at / 1e6, UTC):%Y-%m-%d %H:%M:%S}"
