"""Compiles a job and submits it: run by the Python of the Flink environment, not by ours.

    python -m tapeflow.runners.flink.job REQUEST.json

prints the id of the job as the last line. `submit` makes the request and what must be on PYTHONPATH.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from pyflink.common import Configuration, Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from tapeflow.runners.flink import sql
from tapeflow.runners.flink.process import ROWS, StepFunction
from tapeflow.runners.flink.request import Request


def main(path: str) -> None:
    """Compile the request and submit it."""
    request = msgspec.json.decode(Path(path).read_bytes(), type=Request)
    env = StreamExecutionEnvironment.get_execution_environment(_configuration(request))
    env.add_python_file(request.package)
    tables = StreamTableEnvironment.create(env)
    for statement in sql.statements(request.spec):
        tables.execute_sql(statement)
    wanted = tables.create_statement_set()
    for statement in sql.inserts(request.spec):
        wanted.add_insert_sql(statement)
    if "indicators" in request.spec.folds.channels:
        _add_steps(tables, wanted, request)
    if request.explains:
        sys.stdout.write(wanted.explain())
        return
    wanted.attach_as_datastream()
    client = env.execute_async(request.spec.name)
    sys.stdout.write(f"{client.get_job_id()}\n")


def _configuration(request: Request) -> Configuration:
    host, _, port = request.address.rpartition(":")
    rows = {
        **sql.settings(request.spec),
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": host,
        "rest.port": port,
        "pipeline.jars": request.connector,
        "python.execution-mode": request.python_mode,
        **request.more,
    }
    if request.savepoint:
        rows["execution.state-recovery.path"] = request.savepoint
    made = Configuration()
    for name, value in rows.items():
        made.set_string(name, value)
    return made


def _add_steps(tables: StreamTableEnvironment, wanted: object, request: Request) -> None:
    folds = request.spec.folds
    closed = None
    for at, group in enumerate(sql.groups(folds.intervals)):
        if any(interval.steps for interval in group):
            stream = tables.to_changelog_stream(tables.sql_query(sql.closed_rows(folds, f"candles_{at}")))
            keyed = stream.key_by(_key, key_type=Types.STRING())
            closed = keyed if closed is None else closed.union(keyed)
    events = tables.to_changelog_stream(tables.sql_query(sql.step_events(folds))).key_by(_key, key_type=Types.STRING())
    function = StepFunction(folds, request.spec.outage_us)
    rows = closed.connect(events).process(function, output_type=ROWS).name("steps").uid("steps")
    wanted.add_insert("indicators", tables.from_data_stream(rows))


def _key(row: object) -> str:
    return f"{row[0]}\x1f{row[1]}"


if __name__ == "__main__":
    main(sys.argv[1])
