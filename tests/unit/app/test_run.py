"""A run that goes on whatever becomes of its folder."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from feeding import until
from tapeflow.app.run import Run
from tapeflow.settings import RunSettings
from tapeflow.stores.states import States
from tapeflow.tape.records import Kind
from tapeflow.tape.writer import TapeWriter


class Dropping:
    """A pipeline that is told what to drop."""

    def __init__(self) -> None:
        self.asked: list[dict[str, int]] = []

    def retain(self, older_than: dict[str, int]) -> None:
        self.asked.append(older_than)


def test_replaced_rows_are_dropped_whatever_the_settings_keep(tmp_path: Path) -> None:
    async def work() -> None:
        run = Run(RunSettings(symbols=("BTCUSDT",), data=str(tmp_path)), [].append)
        run.states = States(run.folder.states)
        run.folder.tape.mkdir(exist_ok=True)
        run.pipeline = pipeline = Dropping()  # type: ignore[assignment]
        run._drop_old()
        assert pipeline.asked == [{}]

    asyncio.run(work())


def test_what_cannot_be_tidied_up_ends_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        said: list[str] = []
        run = Run(RunSettings(symbols=("BTCUSDT",), data=str(tmp_path)), said.append)
        run.folder.tape.mkdir()
        run.states = States(run.folder.states)
        run.folder.states.rmdir()
        run.pipeline = Dropping()  # type: ignore[assignment]
        keeping = asyncio.create_task(run._keep())
        await until(lambda: said or keeping.done())
        assert "cannot tidy up" in said[0]
        assert not keeping.done()
        keeping.cancel()

    asyncio.run(work())


def test_a_damaged_segment_is_told_of_once_and_not_packed_in_vain(tmp_path: Path) -> None:
    async def work() -> None:
        said: list[str] = []
        run = Run(RunSettings(symbols=("BTCUSDT",), data=str(tmp_path)), said.append)
        with TapeWriter(run.folder.tape, segment_bytes=2000) as writer:
            for number in range(20):
                writer.append(Kind.FRAME, "c", random.randbytes(300), at=number, mono=number)
                writer.commit()
        first = min(run.folder.tape.glob("tape-*.tape"))
        content = bytearray(first.read_bytes())
        content[-50] ^= 255
        first.write_bytes(content)
        run._pack()
        assert [first.name in text and "damaged at byte" in text for text in said] == [True]
        run._pack()
        assert len(said) == 1
        assert first.read_bytes() == content

    asyncio.run(work())
