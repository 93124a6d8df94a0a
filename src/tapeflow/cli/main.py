"""The ``tapeflow`` command: one module per command, imported when it is called."""

from __future__ import annotations

import sys

from typer import Exit, Option, Typer, echo
from typer.main import get_command

from tapeflow.cli import (
    alert,
    backfill,
    config,
    coverage,
    dead,
    demo,
    doctor,
    explain,
    jobs,
    key,
    query,
    recipe,
    replay,
    run,
    sample,
    show,
    simulate,
    stack,
    submit,
    symbols,
    tape,
)
from tapeflow.domain.errors import TapeflowError

app = Typer(
    name="tapeflow",
    help="Exact live market analytics: exchange feeds in; candles, averages, books and indicators out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.add_typer(symbols.symbols, name="symbols")
app.add_typer(alert.alert, name="alert")
app.command("coverage")(coverage.coverage)
app.command("query")(query.query)
app.command("backfill")(backfill.backfill)
app.command("repair")(backfill.repair)
app.command("simulate")(simulate.simulate)
app.command("replay")(replay.replay)
app.add_typer(tape.tape, name="tape")
app.add_typer(config.config, name="config")
app.add_typer(key.key, name="key")
app.add_typer(stack.stack, name="stack")
app.command("submit")(submit.submit)
app.command("jobs")(jobs.jobs)
app.command("stop")(jobs.stop)
app.add_typer(dead.dead, name="dead")
app.add_typer(recipe.recipe, name="recipe")
app.command("doctor")(doctor.doctor)
app.command("explain")(explain.explain)
app.command("sample")(sample.sample)
app.command("show")(show.show)


def _version(asked: bool) -> None:
    if asked:
        from tapeflow._version import version

        echo(f"tapeflow {version()}")
        raise Exit


@app.callback()
def _options(
    version: bool = Option(False, "--version", help="Print the version and stop.", callback=_version, is_eager=True),
) -> None:
    """Options of every command."""


def main() -> None:
    """Run the command line; 0 done, 1 failed, 2 wrong usage or configuration."""
    try:
        get_command(app)(prog_name="tapeflow")
    except TapeflowError as error:
        echo(f"tapeflow: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        echo("tapeflow: interrupted; nothing was written", err=True)
        sys.exit(130)
