"""What goes to Flink: only modules that its Python can import; state of earlier jobs is found where it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tapeflow.domain.errors import RunnerError
from tapeflow.runners.flink.kept import Places
from tapeflow.runners.flink.rest import Rest
from tapeflow.runners.flink.submit import pack

#: What the Python of Flink has beside the standard library.
ALLOWED = {"msgspec", "numpy", "pyflink", "tapeflow", "typing_extensions"}


def test_what_goes_along_needs_nothing_that_flink_has_not(tmp_path: Path) -> None:
    pack(tmp_path / "tapeflow.zip")
    code = (
        "import sys; known = set(sys.modules)\n"
        "from tapeflow.runners.flink import line, request, spec, sql, stage\n"
        "from tapeflow.indicators import names, parse; parse('rsi_14'); assert len(names()) > 4\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - known})"
    )
    done = subprocess.run(
        (sys.executable, "-S", "-c", code),
        env={"PYTHONPATH": f"{tmp_path / 'tapeflow.zip'}:{Path(__import__('msgspec').__file__).parents[1]}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) - set(sys.stdlib_module_names) - ALLOWED == set()


def test_the_newest_whole_state_is_found(tmp_path: Path) -> None:
    for at, name in enumerate(("checkpoints/a/chk-7", "checkpoints/b/chk-2", "savepoints/savepoint-1")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "_metadata").touch()
        os.utime(tmp_path / name / "_metadata", (at, at))
    (tmp_path / "checkpoints/b/chk-9").mkdir()  # begun, never finished
    found = Places((tmp_path / "checkpoints").as_uri(), (tmp_path / "savepoints").as_uri())
    assert found.newest() == (tmp_path / "savepoints/savepoint-1").as_uri()
    assert Places((tmp_path / "checkpoints").as_uri(), "").newest() == (tmp_path / "checkpoints/b/chk-2").as_uri()
    assert Places("s3://bucket/checkpoints", "").newest() == ""


def test_a_folder_is_named_as_flink_names_it(tmp_path: Path) -> None:
    """In whose URIs nothing is escaped: what is would be taken as it stands."""
    folder = tmp_path / "my flow @é+(x)#1%20"
    (folder / "a/chk-1").mkdir(parents=True)
    (folder / "a/chk-1/_metadata").touch()
    for root in (f"file://{folder}", f"file:{folder}", str(folder)):
        found = Places(root, "")
        assert found.newest() == f"file://{folder}/a/chk-1"
        assert not found.is_hidden


def test_why_no_state_was_found_is_said(tmp_path: Path) -> None:
    def kept(root: str) -> Places:
        return Places(f"{root}/job/f00", "")

    assert "keeps no state on disk" in Places("", "").why_none()
    for root in ("s3://bucket/checkpoints", (tmp_path / "elsewhere/checkpoints").as_uri()):
        assert kept(root).is_hidden
        assert kept(root).why_none() == f"{root} cannot be seen from here"
    assert not kept((tmp_path / "not yet").as_uri()).is_hidden
    here = kept(tmp_path.as_uri())
    assert not here.is_hidden
    assert here.why_none() == f"there is none in {tmp_path.as_uri()}/job/f00"
    (tmp_path / "job/abc/chk-1").mkdir(parents=True)
    (tmp_path / "job/abc/chk-1/_metadata").touch()
    assert here.why_none().startswith(f"what is in {tmp_path}/job is of other windows")


def test_a_folder_that_this_user_may_not_enter_cannot_be_seen(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "state/checkpoints").mkdir(parents=True)
    closed.chmod(0)
    found = Places(f"{(closed / 'state/checkpoints').as_uri()}/job/f00", "")
    was = os.geteuid()
    try:
        if was == 0:
            os.seteuid(65534)  # root may enter every folder
        assert found.is_hidden
        assert found.newest() == ""
        assert "cannot be seen from here" in found.why_none()
    finally:
        os.seteuid(was)
        closed.chmod(0o700)


class _Flink(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, tuple[int, object]]] = {}

    def do_GET(self) -> None:
        found = self.answers.get(self.path, (404, {"errors": ["Not found.", "x\nCaused by: gone\n\tat y"]}))
        code, answer = found() if callable(found) else found
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PATCH = do_GET  # noqa: N815 - names that the base class calls

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def flink() -> Iterator[tuple[Rest, dict[str, tuple[int, object]]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Flink)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    _Flink.answers = {}
    yield Rest(f"127.0.0.1:{server.server_port}"), _Flink.answers
    server.shutdown()
    thread.join()
    server.server_close()


def job(id: str, name: str, state: str, start: int) -> dict[str, object]:
    return {"jid": id, "name": name, "state": state, "start-time": start, "duration": 1500}


def test_jobs_are_listed_with_what_they_failed_of(flink: tuple[Rest, dict[str, tuple[int, object]]]) -> None:
    rest, answers = flink
    answers["/jobs/overview"] = (200, {"jobs": [job("a1", "x", "FAILED", 1), job("b2", "y", "RUNNING", 2)]})
    config = {"execution-config": {"user-config": {"tapeflow.fingerprint": "f00"}}}
    answers["/jobs/a1/config"] = answers["/jobs/b2/config"] = (200, config)
    trace = "java.lang.X: outer\n\tat a\nCaused by: java.lang.Y: inner\n\tat b\n"
    answers["/jobs/a1/exceptions"] = (200, {"exceptionHistory": {"entries": [{"stacktrace": trace}]}})
    newest, oldest = rest.jobs()
    assert (newest.id, newest.state, newest.fingerprint, newest.uptime_s) == ("b2", "RUNNING", "f00", 1.5)
    assert oldest.error == "java.lang.Y: inner"
    assert rest.find("y").id == rest.find("b").id == "b2"
    assert rest.running("x") is None
    with pytest.raises(RunnerError, match=r"no job 'z'.*b2 \(y, RUNNING\)"):
        rest.find("z")


def test_a_refusal_is_said_by_its_cause(flink: tuple[Rest, dict[str, tuple[int, object]]]) -> None:
    with pytest.raises(RunnerError, match="refuses GET /jobs/overview: gone"):
        flink[0].jobs()


def test_a_server_that_is_not_there_is_said_with_what_to_do() -> None:
    with pytest.raises(RunnerError, match=r"does not answer.*stack up"):
        Rest("127.0.0.1:9").jobs()


def test_a_stop_waits_for_its_savepoint(flink: tuple[Rest, dict[str, tuple[int, object]]]) -> None:
    rest, answers = flink
    answers["/jobs/a1/stop"] = (202, {"request-id": "r"})
    states = iter(("RUNNING", "RUNNING", "FINISHED", "RUNNING"))
    answers["/jobs/a1"] = lambda: (200, {"state": next(states), "vertices": []})  # type: ignore[assignment]
    answers["/jobs/a1/savepoints/r"] = (
        200, {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/s"}},
    )  # fmt: skip
    assert rest.stop("a1", None, 1) == "file:/s"
    failed = {"failure-cause": {"stack-trace": "a\n\tat b\nCaused by: full\n\tat c\n\t... 5 more\n"}}
    answers["/jobs/a1/savepoints/r"] = (200, {"status": {"id": "COMPLETED"}, "operation": failed})
    with pytest.raises(RunnerError, match="full"):
        rest.stop("a1", None, 1)


def test_a_job_without_slots_is_said(flink: tuple[Rest, dict[str, tuple[int, object]]]) -> None:
    rest, answers = flink
    answers["/jobs/a1"] = (200, {"state": "RUNNING", "vertices": [{"name": "steps", "status": "SCHEDULED"}]})
    answers["/jobs/a1/exceptions"] = (200, {})
    with pytest.raises(RunnerError, match="1 of its parts do not run"):
        rest.wait_for_tasks("a1", 0.1)
    answers["/jobs/a1"] = (200, {"state": "FAILED", "vertices": []})
    with pytest.raises(RunnerError, match="is FAILED"):
        rest.wait_for_tasks("a1", 0.1)
