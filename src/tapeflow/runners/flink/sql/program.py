"""A job as statements and settings."""

from __future__ import annotations

from collections.abc import Iterator

from tapeflow.runners.flink.spec import Spec
from tapeflow.runners.flink.sql.events import events, parsed, pushed
from tapeflow.runners.flink.sql.folds import candle_views, mean_view
from tapeflow.runners.flink.sql.results import candle_rows, mean_rows, results
from tapeflow.runners.flink.sql.tables import pushes, sink, source


def tables(spec: Spec) -> Iterator[str]:
    """The topics."""
    if spec.folds.reads_trades:
        yield source(spec)
    if spec.folds.push_means:
        yield pushes(spec)
    for channel in spec.folds.channels:
        yield sink(spec, channel)


def read(spec: Spec) -> dict[str, str]:
    """Queries by name whose rows are computed once for all that read them: what the texts of a message say."""
    return {"parsed": parsed(spec.folds)} if spec.folds.reads_trades else {}


def views(spec: Spec) -> Iterator[str]:
    """What is computed of `tables` and `read`."""
    folds = spec.folds
    if folds.reads_trades:
        yield events()
    if folds.push_means:
        yield pushed(folds)
    yield from candle_views(folds, spec.outage_us).values()
    kept = folds.horizon_us + spec.outage_us
    if folds.means:
        yield mean_view("means", folds.means, "events", kept)
    if folds.push_means:
        yield mean_view("push_means", folds.push_means, "pushed", kept)
    yield f"CREATE TEMPORARY VIEW `computed` AS {results(folds)}"


def inserts(spec: Spec) -> Iterator[str]:
    """What is written of `results`."""
    if spec.folds.intervals:
        yield f"INSERT INTO `candles` {candle_rows(spec.folds)}"
    if "moving_average" in spec.folds.channels:
        yield f"INSERT INTO `moving_average` {mean_rows()}"


def settings(spec: Spec) -> dict[str, str]:
    """Configuration of the table program."""
    exactly = spec.guarantee == "exactly_once"
    return {
        "table.exec.mini-batch.enabled": "true",
        "table.exec.mini-batch.allow-latency": f"{spec.latency_ms} ms",
        "table.exec.mini-batch.size": "20000",
        # A buffer that is not full waits so long at each of some four hops.
        "execution.buffer-timeout.interval": f"{max(1, min(100, spec.latency_ms // 10))} ms",
        "table.optimizer.agg-phase-strategy": "TWO_PHASE",
        "table.exec.sink.upsert-materialize": "NONE",
        "table.exec.sink.keyed-shuffle": "NONE",
        "table.exec.state.ttl": "0",
        "execution.checkpointing.interval": f"{spec.checkpoint_ms} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE" if exactly else "AT_LEAST_ONCE",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.tolerable-failed-checkpoints": "100",
        # Else each row is copied between any two operators of a chain: half of what the source's thread did.
        "pipeline.object-reuse": "true",
        "parallelism.default": str(spec.parallelism),
        "pipeline.name": spec.name,
        "pipeline.global-job-parameters": f"tapeflow.fingerprint:{spec.fingerprint}",
    }
