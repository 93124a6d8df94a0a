"""``tapeflow submit`` where the state of an earlier job may be kept where it cannot be seen from here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.cluster import fresh_prefix
from cluster.topics import candle
from servers import CACHE, Servers
from tapeflow.app.jobs import ensure_topics, flink_spec
from tapeflow.bus.client import Bus
from tapeflow.bus.publisher import Publisher, message
from tapeflow.domain.errors import RunnerError
from tapeflow.runners.flink.kept import CHECKPOINTS
from tapeflow.runners.flink.rest import Rest
from tapeflow.settings import load_run

pytestmark = pytest.mark.slow


def test_results_without_a_state_that_can_be_seen_are_not_begun_anew(servers: Servers, tmp_path: Path) -> None:
    """The folder is out of the way, as that of a cluster on another machine is; nothing else of it is used then."""
    bootstrap, address, prefix = servers.kafka(), servers.flink(), fresh_prefix()
    config = tmp_path / "run.toml"
    config.write_text(
        f'symbols = ["X"]\n[bus]\nbootstrap = "{bootstrap}"\nprefix = "{prefix}"\npartitions = 1\n'
        '[flow]\nname = "hidden"\n[flow.candles]\nintervals = ["1s"]\n'
    )
    settings = load_run(config)
    spec = flink_spec(settings)
    ensure_topics(settings, spec)
    producer = Publisher(Bus(bootstrap), f"{prefix}test")
    producer.open()
    producer.commit([(spec.topics["candles"], [message(b"binance:X", json.dumps(candle(0)).encode())])])
    assert Rest(address).running(spec.name) is None  # the job manager has loaded what it answers with
    with _out_of_the_way(Path(Rest(address).property(CHECKPOINTS).removeprefix("file://")).parent):
        done = _submit(config, address)
    assert done.returncode == RunnerError.exit_code, done.stderr
    assert "cannot be seen from here, but there are rows in its topics of results" in done.stderr
    assert "--from" in done.stderr
    assert "--anew" in done.stderr
    assert not done.stdout
    assert not [job for job in Rest(address).jobs() if job.name == spec.name], "nothing was submitted"


def _submit(config: Path, address: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tapeflow", "submit", str(config), "--address", address, "--cache", str(CACHE)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def _out_of_the_way(folder: Path) -> Iterator[None]:
    away = folder.rename(folder.with_name(f"{folder.name}-away"))
    try:
        yield
    finally:
        away.rename(folder)
