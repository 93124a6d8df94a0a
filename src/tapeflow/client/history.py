"""Stored rows, fetched page by page as Arrow."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tapeflow.domain.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

ARROW = "application/vnd.apache.arrow.stream"
PAGE = 10_000


class History:
    """The rows of one request; fetched once, when they are asked for. Exact values are decimals, times are UTC."""

    def __init__(self, url: str, key: str | None, channel: str, params: dict[str, str]) -> None:
        self._url = f"{url}/v1/{channel.replace('_', '-')}"
        self._key = key
        self._params = params
        self._table: pa.Table | None = None
        #: Whether the venue's trades of the whole range are known; None before the rows were fetched.
        self.is_complete: bool | None = None

    def arrow(self) -> pa.Table:
        """The rows as an Arrow table; raises `InputError` with what the server says is wrong."""
        if self._table is None:
            self._table = self._fetch()
        return self._table

    def polars(self) -> pl.DataFrame:
        """The rows as a Polars frame; needs ``tapeflow[polars]``."""
        import polars as pl  # noqa: PLC0415 - an extra

        frame = pl.from_arrow(self.arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def pandas(self) -> pd.DataFrame:
        """The rows as a pandas frame; needs ``tapeflow[pandas]``."""
        return self.arrow().to_pandas()

    def rows(self) -> list[dict[str, Any]]:
        """The rows as dicts."""
        found: list[dict[str, Any]] = self.arrow().to_pylist()
        return found

    def _fetch(self) -> pa.Table:
        pages, params = [], dict(self._params)
        most = int(params["limit"]) if "limit" in params else None
        if most is None and "start" in params:
            params["limit"] = str(PAGE)
        complete = True
        while True:
            table, following, is_complete = self._page(params)
            pages.append(table)
            complete &= is_complete
            if following is None or most is not None:
                self.is_complete = complete
                return pa.concat_tables(pages)
            params["cursor"] = following

    def _page(self, params: dict[str, str]) -> tuple[pa.Table, str | None, bool]:
        headers = {"Accept": ARROW} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        request = urllib.request.Request(f"{self._url}?{urllib.parse.urlencode(params)}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                with pa.ipc.open_stream(answer.read()) as reader:
                    table = reader.read_all()
                return table, answer.headers.get("Tapeflow-Next"), answer.headers.get("Tapeflow-Complete") == "true"
        except urllib.error.HTTPError as error:
            with error:
                raise InputError(f"{self._url}: {_detail(error)}") from error
        except (OSError, http.client.HTTPException) as error:  # a `URLError` is one, an answer that breaks off too
            why = getattr(error, "reason", error)
            raise InputError(f"cannot reach {self._url}: {why}; is `tapeflow run` or `demo` running?") from error


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"
