"""Compiles a job and submits it: run by the Python of the Flink environment, not by ours.

    python -m tapeflow.runners.flink.job REQUEST.json

prints `COMPILED`, reads a line with the state to go on from, which may be empty, and prints the id of the job as the
last line; without such a line nothing is submitted. `submit` makes the request and what must be on PYTHONPATH.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pyflink
from pyflink.common import Configuration, Row, Types
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import ChangelogMode, Schema, StreamTableEnvironment

from tapeflow.runners.flink.process import ROWS, StepFunction
from tapeflow.runners.flink.request import COMPILED, Request
from tapeflow.runners.flink.spec import Spec
from tapeflow.runners.flink.sql import program, results


def main(path: str) -> None:
    """Compile the request and, when told so, submit it."""
    request = msgspec.json.decode(Path(path).read_bytes(), type=Request)
    # Not by `get_execution_environment`, which would start a cluster of its own here, whatever the target.
    java = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    env = StreamExecutionEnvironment(java(_configuration(request)._j_configuration))  # noqa: SLF001 - there is no other way
    env.add_python_file(request.package)
    tables = StreamTableEnvironment.create(env)
    for statement in program.tables(request.spec):
        tables.execute_sql(statement)
    # Between two plans there is a stream: what is computed before it is computed once for all that read it.
    for name, query in program.read(request.spec).items():
        _stream(tables, name, query)
    for statement in program.views(request.spec):
        tables.execute_sql(statement)
    folds = request.spec.folds
    # Without what was there before, which would be put together as what is there now, and be thrown away.
    computed, derived = tables.from_path("computed"), Schema.new_builder().build()
    changes = tables.to_changelog_stream(computed, derived, ChangelogMode.upsert())
    tables.create_temporary_view("changes", tables.from_changelog_stream(changes))
    tables.create_temporary_view("results", tables.sql_query(results.CHANGES))
    wanted = tables.create_statement_set()
    for statement in program.inserts(request.spec):
        wanted.add_insert_sql(statement)
    if "indicators" in folds.channels:
        wanted.add_insert("indicators", tables.from_data_stream(_steps(tables, request.spec)))
    if request.plan:
        Path(request.plan).write_text(tables.from_path("computed").explain() + wanted.explain(), "utf-8")
    wanted.attach_as_datastream()
    sys.stdout.write(f"{COMPILED}\n")
    sys.stdout.flush()
    if not (told := sys.stdin.readline()):
        return
    if savepoint := told.strip():
        env.configure(_set({"execution.state-recovery.path": savepoint}))
    client = env.execute_async(request.spec.name)
    sys.stdout.write(f"{client.get_job_id()}\n")


def _stream(tables: StreamTableEnvironment, name: str, query: str) -> None:
    """A view over a stream of the query's rows, in the form that Flink's own operators give on: Python has no word for
    that, and any other would be made and read again for each row."""
    java = get_gateway().jvm
    table = tables.sql_query(query)._j_table  # noqa: SLF001
    of = java.java.lang.Class.forName("org.apache.flink.table.data.RowData")
    kind = table.getResolvedSchema().toPhysicalRowDataType().notNull().bridgedTo(of)
    within = tables._j_tenv  # noqa: SLF001
    within.createTemporaryView(name, within.toDataStream(table, kind))


def _configuration(request: Request) -> Configuration:
    host, _, port = request.address.rpartition(":")
    rows = {
        **program.settings(request.spec),
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": host,
        "rest.port": port,
        "pipeline.jars": ";".join((Path(request.connector).as_uri(), *_python_jars())),
        "python.execution-mode": request.python_mode,
        **request.more,
    }
    return _set(rows)


def _set(rows: Mapping[str, str]) -> Configuration:
    made = Configuration()
    for name, value in rows.items():
        made.set_string(name, value)
    return made


def _python_jars() -> list[str]:
    """What runs Python inside Flink: a part of the environment, not of every cluster."""
    return [path.as_uri() for path in Path(pyflink.__file__).parent.glob("opt/flink-python-*.jar")]


def _steps(tables: StreamTableEnvironment, spec: Spec) -> DataStream:
    """The rows of all indicators."""
    stream = tables.to_changelog_stream(tables.sql_query(results.step_rows(spec.folds)))
    function = StepFunction(spec.folds, spec.outage_us)
    keyed = stream.key_by(_key, key_type=Types.STRING())
    return keyed.process(function, output_type=ROWS).name("steps").uid("steps")


def _key(row: Row) -> str:
    return f"{row[0]}\x1f{row[1]}"


if __name__ == "__main__":
    main(sys.argv[1])
