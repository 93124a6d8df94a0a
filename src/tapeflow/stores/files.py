"""Result tables as files, all of them or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from tapeflow.domain.errors import OutputError
from tapeflow.stores.table import Table

FORMATS = ("ndjson", "parquet")


def write_all(tables: Iterable[tuple[str, Table]], out: Path, format: str) -> dict[str, int]:
    """Write ``out/<channel>.<format>`` for each table and give the rows of each; raises `OutputError`.

    The files are made beside ``out``'s content under other names and moved into place when all are whole, so a
    failure leaves what was there as it was.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=out))
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror}; choose another --out") from error
    try:
        counts = {}
        for channel, table in tables:
            _write(table, staging / f"{channel}.{format}", format)
            counts[channel] = len(table)
        for file in sorted(staging.iterdir()):
            file.replace(out / file.name)
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror}; nothing there was changed") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return counts


def _write(table: Table, path: Path, format: str) -> None:
    if format == "parquet":
        # Dictionaries pay for the few distinct texts; on numbers they cost time and save nothing.
        texts = [name for name, kind in table.channel.fields if kind == "text"]
        pq.write_table(table.to_arrow(), path, compression="zstd", use_dictionary=texts)
    else:
        with path.open("wb", buffering=1 << 20) as file:
            for line in table.json_lines():
                file.write(line)
                file.write(b"\n")
    with path.open("rb") as file:
        os.fsync(file.fileno())
