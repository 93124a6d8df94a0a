"""The documentation cannot rot: examples run, what the source has is named, links lead somewhere."""

from __future__ import annotations

import doctest
import gzip
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.main import get_command

import tapeflow
from tapeflow import indicators, settings
from tapeflow.app.replay import Summary
from tapeflow.app.run import Folder
from tapeflow.cli.main import app
from tapeflow.engine.presence import ENDED
from tapeflow.stores.channels import CHANNELS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
SOURCE = sorted((ROOT / "src" / "tapeflow").rglob("*.py"))
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))
    if not path.name.startswith(".")
)
RUN = ["README.md", "docs/tutorial.md", "docs/how-to.md", "docs/explanation.md"]

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
#: Lines of shell blocks that set up a clone or its environment.
SET_UP = ("git clone", "cd ", "python3 dev.py", ". .venv", "pip install")

#: Runs the blocks of a page in one process: files are saved, shell lines run, Python goes on where it was.
RUNNER = """
import json, pathlib, subprocess, sys
for number, (language, file, text) in enumerate(json.loads(pathlib.Path(sys.argv[1]).read_text("utf-8"))):
    if file:
        pathlib.Path(file).write_text(text, "utf-8")
    elif language == "sh":
        done = subprocess.run(["sh", "-e", "-c", text], capture_output=True, encoding="utf-8")
        if done.returncode:
            sys.exit(f"{text}ended with {done.returncode}\\n{done.stdout}{done.stderr}")
    else:
        exec(compile(text, f"block {number}", "exec"), globals())
"""


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(language, file to save it as, text) of what is run or saved, without lines that set up."""
    found = []
    for head, body in FENCE.findall(text(page)):
        language, _, file = head.partition(" ")
        if language == "sh":
            body = "".join(line for line in body.splitlines(keepends=True) if not line.startswith(SET_UP))
        if file or language in ("python", "sh"):
            found.append((language, file, body))
    return found


def prepare(folder: Path) -> dict[str, str]:
    """A folder with `tapeflow` on PATH; the environment to use it with."""
    shim = folder / "bin" / "tapeflow"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tapeflow "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    path = os.pathsep.join((str(shim.parent), os.environ.get("PATH", os.defpath)))
    python = os.pathsep.join((str(ROOT / "src"), os.environ.get("PYTHONPATH", "")))
    return os.environ | {"PATH": path, "PYTHONPATH": python.rstrip(os.pathsep), "PYTHONUTF8": "1", "NO_COLOR": "1"}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the blocks are for a POSIX shell")
@pytest.mark.parametrize("page", RUN)
def test_every_block_runs(page: str, tmp_path: Path) -> None:
    env = prepare(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    for name in ("a.gz", "b.gz"):  # the README's names for any two files
        line = '{"e":"trade","E":1700000000000,"s":"X","t":1,"p":"1","q":"1","T":1700000000000,"m":true,"M":true}\n'
        (work / name).write_bytes(gzip.compress(line.encode()))
    listed = blocks(page)
    assert listed
    (tmp_path / "blocks.json").write_bytes(msgspec.json.encode(listed))
    (tmp_path / "runner.py").write_text(RUNNER, encoding="utf-8")
    command = [sys.executable, "-W", "error", str(tmp_path / "runner.py"), str(tmp_path / "blocks.json")]
    done = subprocess.run(command, cwd=work, env=env, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_what_explain_prints_is_in_the_tutorial() -> None:
    flow_file = next(body for _, file, body in blocks("docs/tutorial.md") if file == "flow.toml")
    made = msgspec.toml.decode(flow_file, type=settings.FlowSettings).flow()
    assert made.explain() in text("docs/tutorial.md")


def test_the_generated_pages_are_what_the_source_says() -> None:
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1"}
    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def is_named(word: str, page: str) -> bool:
    """True if a page has the word as code, alone or at the head of a signature."""
    return re.search(rf"`{re.escape(word)}[`(]", text(page)) is not None


def section(page: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {title}"
    return found[1]


def test_every_command_and_option_is_documented() -> None:
    command = get_command(app)
    listed = {"": command, **command.commands}  # type: ignore[attr-defined]
    for name, each in listed.items():
        shown = section("docs/reference/commands.md", f"tapeflow {name}".strip())
        words = [word for parameter in each.params for word in _words(parameter)]
        assert not [word for word in words if word not in shown], name
        assert name == "" or f"\n  {name} " in section("docs/reference/commands.md", "tapeflow")


def test_every_command_of_a_group_and_its_options_are_documented() -> None:
    groups = {name: each for name, each in get_command(app).commands.items() if hasattr(each, "commands")}  # type: ignore[attr-defined]
    assert "tape" in groups
    for group, command in groups.items():
        for name, each in command.commands.items():
            shown = section("docs/reference/commands.md", f"tapeflow {group} {name}")
            assert not [word for parameter in each.params for word in _words(parameter) if word not in shown], name


def _words(parameter: Any) -> list[str]:
    """An option as it is typed, an argument as the usage shows it."""
    if parameter.param_type_name == "option":
        return [*parameter.opts, *parameter.secondary_opts]
    return [(parameter.metavar or parameter.name.upper()).strip("[].")]


@pytest.mark.parametrize("name", CHANNELS)
def test_every_channel_and_field_is_documented(name: str) -> None:
    shown = section("docs/reference/channels.md", name)
    assert not [field for field, kind in CHANNELS[name].fields if f"| `{field}` | {kind} | " not in shown]


def test_every_key_of_a_flow_file_and_a_run_file_is_documented() -> None:
    of_a_flow = {
        "Keys": settings.FlowSettings,
        "[candles]": settings.CandlesSettings,
        "[[moving_average]]": settings.MovingAverageSettings,
        "[book]": settings.BookSettings,
    }
    of_a_run = {
        "Keys": settings.RunSettings,
        "[endpoints]": settings.EndpointSettings,
        "[feed]": settings.FeedFileSettings,
        "[tape]": settings.TapeSettings,
        "[store]": settings.StoreSettings,
        "[api]": settings.ApiSettings,
        "[alerts]": settings.AlertSettings,
        "[log]": settings.LogSettings,
        "[bus]": settings.BusSettings,
        "[postgres]": settings.PostgresSettings,
        "[flink]": settings.FlinkSettings,
    }
    structs = {
        value
        for value in vars(settings).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == settings.__name__
    }
    assert structs == {*of_a_flow.values(), *of_a_run.values()}
    for page, sections in (("flow-file", of_a_flow), ("run-file", of_a_run)):
        for title, struct in sections.items():
            shown = section(f"docs/reference/{page}.md", title)
            assert not [key for key in struct.__struct_fields__ if f"| `{key}` | " not in shown]


def test_the_example_of_a_run_file_can_be_used(tmp_path: Path) -> None:
    found = re.search(r"^```toml\n(.*?)^```$", text("docs/reference/run-file.md"), re.MULTILINE | re.DOTALL)
    assert found
    (tmp_path / "run.toml").write_text(found[1], encoding="utf-8")
    made = settings.load_run(tmp_path / "run.toml")
    assert (made.symbols, made.data) == (("BTCUSDT", "ETHUSDT"), str(tmp_path.resolve() / "data"))


def test_every_place_in_a_data_folder_is_documented() -> None:
    folder = Folder("")
    names = {path.name for path in vars(folder).values() if path != folder.root}
    shown = text("docs/reference/store.md")
    assert not [name for name in names if f"| `{name}` | " not in shown and f"| `{name}/` | " not in shown]


def test_every_test_that_shows_a_fault_survived_is_there() -> None:
    rows = [line for line in text("docs/reference/faults.md").splitlines() if line.startswith("| ")][1:]
    cluster = text("docs/cluster.md").partition("## Faults")[2]
    rows += [line for line in cluster.splitlines() if line.startswith("| ")][1:]
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert not [name for name in named if f"def {name}(" not in tests]


def test_every_indicator_is_documented() -> None:
    for kind in indicators.names():
        made = indicators.create(kind)
        shown = section("docs/reference/indicators.md", kind)
        assert not [word for word in (made.name, *made.fields) if f"`{word}`" not in shown]


def test_every_public_name_is_documented() -> None:
    assert not [name for name in tapeflow.__all__ if not is_named(name, "docs/reference/python.md")]


def test_every_key_of_the_summary_is_documented() -> None:
    shown = section("docs/reference/commands.md", "The last line of `tapeflow replay`")
    assert not [key for key in Summary.__struct_fields__ if f"| `{key}` | " not in shown]


def reasons(pattern: str) -> set[str]:
    return {word for path in SOURCE for word in re.findall(pattern, path.read_text(encoding="utf-8"))}


def table_of(part: str) -> set[str]:
    return set(re.findall(r"^\| `([a-z_]+)` \|", part, re.MULTILINE))


def test_every_reason_of_quarantine_is_documented() -> None:
    found = reasons(r'(?:Unreadable|Quarantine)\(\s*"([a-z_]+)"')
    assert len(found) > 10
    assert table_of(text("docs/reference/quarantine.md")) == found


def test_every_reason_in_coverage_is_documented() -> None:
    found = reasons(r'[gG]ap\(.*"([a-z_]+)"\)') | reasons(r'"reason": "([a-z_]+)"')
    found |= reasons(r'_give_up\(gap, "([a-z_]+)"\)')
    found |= set(ENDED)
    assert all(re.search(f'"{reason}"', (ROOT / "src/tapeflow/engine/presence.py").read_text()) for reason in ENDED)
    found -= {"reconnect"}  # why a question is asked; it is in no row
    assert {"missing_ids", "missing_updates", "late", "not_at_venue", "venue_unreachable"} <= found
    assert table_of(section("docs/reference/coverage.md", "Reasons")) == found
    assert table_of(section("docs/reference/coverage.md", "Rows")) - {"state"} == reasons(r'"state": "([a-z]+)"')


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    for link in LINK.findall(FENCE.sub("", text(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page}: {link}"


@pytest.mark.parametrize("page", PAGES)
def test_no_page_holds_a_path_of_a_machine(page: str) -> None:
    found = re.search(r"(?<![\w.])/(?:home|root|work|Users|tmp|opt|var|mnt|srv)/[\w.]+|\b[A-Z]:\\\w", text(page))
    assert found is None, f"{page}: {found and found[0]}"
    assert str(ROOT) not in text(page)


#: What runs inside Flink's Python cannot be imported by ours.
NOT_HERE = ("__main__", "._kernel", ".flink.job", ".flink.process")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(tapeflow.__path__, "tapeflow.")
    if not module.name.endswith(NOT_HERE)
)


@pytest.mark.parametrize("name", ["tapeflow", *MODULES])
def test_examples_of_the_source_run(name: str) -> None:
    assert not doctest.testmod(importlib.import_module(name)).failed


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    examples = [t for name in MODULES for t in finder.find(importlib.import_module(name)) if t.examples]
    assert len(examples) >= 10
