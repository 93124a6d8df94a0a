"""Flink's REST API, as far as jobs need it."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any

import msgspec

from tapeflow.domain.errors import RunnerError

_ANSWER_S = 30.0
_TICK_S = 0.2
_LACKS = "it may lack slots, of which it needs as many as its parallelism: free some, or give [flink] less"
#: States in which a job does nothing any more.
ENDED = frozenset({"FAILED", "CANCELED", "FINISHED"})


class Job(msgspec.Struct, frozen=True):
    """A job as Flink lists it; times in microseconds."""

    id: str
    name: str
    state: str
    ts_start: int
    uptime_s: float
    fingerprint: str = ""
    error: str = ""


class Rest:
    """The job manager of ``host:port``; every method raises `RunnerError` where it does not answer or refuses."""

    def __init__(self, address: str) -> None:
        self.address = address.removeprefix("http://").rstrip("/")

    def get(self, path: str) -> Any:
        """An answer as JSON."""
        return self._ask("GET", path, None)

    def _ask(self, method: str, path: str, body: object) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"http://{self.address}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=_ANSWER_S) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise RunnerError(f"Flink at {self.address} refuses {method} {path}: {_reason(error)}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise RunnerError(
                f"Flink at {self.address} does not answer: {error}; start it, for example by "
                "`tapeflow stack up --services kafka,flink`, or give another --address"
            ) from error

    def jobs(self) -> list[Job]:
        """All jobs that it knows, the newest first."""
        found = self.get("/jobs/overview")["jobs"]
        return [self._job(one) for one in sorted(found, key=lambda one: -one["start-time"])]

    def _job(self, one: dict[str, Any]) -> Job:
        known = self.get(f"/jobs/{one['jid']}/config").get("execution-config", {}).get("user-config", {})
        error = "" if one["state"] in ("RUNNING", "CANCELED", "FINISHED") else self.error(one["jid"])
        start, uptime = one["start-time"] * 1000, max(0, one["duration"]) / 1000
        return Job(one["jid"], one["name"], one["state"], start, uptime, known.get("tapeflow.fingerprint", ""), error)

    def property(self, name: str) -> str:
        """A property that the cluster was started with; empty if it was not given."""
        rows = {row["key"]: row["value"] for row in self.get("/jobmanager/config")}
        return str(rows.get(name, ""))

    def error(self, job: str) -> str:
        """The root of what a job failed of last, on one line; empty if it did not."""
        history = self.get(f"/jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", [])
        if not history:
            return ""
        return _root(history[0]["stacktrace"])

    def running(self, name: str) -> Job | None:
        """The job of a name that has not ended."""
        return next((job for job in self.jobs() if job.name == name and job.state not in ENDED), None)

    def find(self, text: str) -> Job:
        """The job of an id, the beginning of one, or a name; a running one first."""
        jobs = self.jobs()
        found = [job for job in jobs if job.id.startswith(text) or job.name == text]
        living = [job for job in found if job.state not in ENDED]
        if not found or len(living) > 1:
            names = ", ".join(f"{job.id} ({job.name}, {job.state})" for job in living or jobs) or "none"
            raise RunnerError(f"{'several jobs' if living else 'no job'} {text!r} at {self.address}; there are {names}")
        return (living or found)[0]

    def stop(self, job: str, directory: str | None, patience_s: float) -> str:
        """Stop a job with a savepoint: all that it has read is in its results. Where the savepoint is."""
        advice = f"`tapeflow stop --cancel {job}` ends it without one, and a submit goes on from its newest checkpoint"
        if why := self.waits_for(job, patience_s):
            raise RunnerError(f"{why}. Before it does it makes no savepoint: {advice}")
        body: dict[str, object] = {"drain": False}
        if directory:
            body["targetDirectory"] = directory
        trigger = self._ask("POST", f"/jobs/{job}/stop", body)["request-id"]
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            answer = self.get(f"/jobs/{job}/savepoints/{trigger}")
            if answer["status"]["id"] == "COMPLETED":
                operation = answer["operation"]
                if "location" in operation:
                    self.wait(job, ENDED, patience_s)
                    return str(operation["location"])
                cause = operation.get("failure-cause", {}).get("stack-trace", "")
                raise RunnerError(
                    f"job {job} could not be stopped with a savepoint: {_root(cause) or answer}. {advice}"
                )
            time.sleep(_TICK_S)
        raise RunnerError(f"job {job} has not made its savepoint within {patience_s:.0f} s; it goes on. {advice}")

    def wait_for_tasks(self, job: str, patience_s: float) -> None:
        """Wait until every task of a running job runs: before that it makes no checkpoint and no savepoint."""
        if why := self.waits_for(job, patience_s):
            raise RunnerError(why)

    def waits_for(self, job: str, patience_s: float) -> str:
        """Why not every task of a job runs after so long; empty as soon as they do. `RunnerError` if it has ended."""
        until = time.monotonic() + patience_s
        while True:
            found = self.get(f"/jobs/{job}")
            waiting = [vertex["name"] for vertex in found.get("vertices", []) if vertex["status"] != "RUNNING"]
            if found["state"] in ENDED:
                raise RunnerError(f"job {job} is {found['state']}: {self.error(job)}")
            if found["state"] == "RUNNING" and not waiting:
                return ""
            if time.monotonic() > until:
                error = self.error(job)
                lacks = f"{_LACKS}: {error}" if not error or "NoResourceAvailable" in error else error
                parts = f"{len(waiting)} of its parts do not run after {patience_s:.0f} s"
                return f"job {job} is {found['state']}, {parts}: {lacks.rstrip(': ')}"
            time.sleep(_TICK_S)

    def checkpoint(self, job: str) -> str:
        """Where the newest state is that a job has made or begun with; empty if there is none."""
        latest = self.get(f"/jobs/{job}/checkpoints").get("latest") or {}
        return str((latest.get("completed") or latest.get("restored") or {}).get("external_path") or "")

    def cancel(self, job: str) -> None:
        """End a job without a savepoint."""
        self._ask("PATCH", f"/jobs/{job}?mode=cancel", None)

    def wait(self, job: str, states: frozenset[str] | set[str], patience_s: float) -> str:
        """Wait until a job is in one of these states; which."""
        until = time.monotonic() + patience_s
        while (state := str(self.get(f"/jobs/{job}")["state"])) not in states:
            if time.monotonic() > until:
                raise RunnerError(
                    f"job {job} is {state} after {patience_s:.0f} s, expected {' or '.join(sorted(states))}"
                )
            time.sleep(_TICK_S)
        return state


def _root(trace: str) -> str:
    """The last cause of a stack trace, else its first line."""
    lines = [line for line in trace.splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by: ")]
    return (causes[-1] if causes else next(iter(lines), "")).removeprefix("Caused by: ").strip()


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        lines = [line for text in json.loads(error.read())["errors"] for line in text.splitlines()]
    except (ValueError, KeyError, OSError):
        return f"{error.code} {error.reason}"
    if any(line.startswith("Caused by: ") for line in lines):
        return _root("\n".join(lines))
    return lines[-1] if lines else str(error.code)
