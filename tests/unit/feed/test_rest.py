"""Questions to a REST API, against a real server: what is tried again, what is told, and all of it on the tape."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from feeding import Taped, serving
from tapeflow.domain.events import Fetch
from tapeflow.feed import rest as module
from tapeflow.feed.budget import HOLE, Budget
from tapeflow.feed.clock import Clock
from tapeflow.feed.rest import Rest
from tapeflow.tape.records import Kind
from tapeflow.venues.wire import wire

FETCH = Fetch("/api/v3/aggTrades", {"symbol": "BTCUSDT"}, "missing_ids", "BTCUSDT", weight=4)


class Asked:
    """A server with a list of answers, the last one again and again; what it was asked."""

    def __init__(self, *answers: Callable[[web.Request], Awaitable[web.StreamResponse]] | web.Response) -> None:
        self._answers = list(answers)
        self.requests: list[web.Request] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        found = self._answers[min(len(self.requests), len(self._answers)) - 1]
        if isinstance(found, web.Response):
            return web.Response(status=found.status, body=found.body, headers=found.headers)
        return await found(request)


def asking(folder: Path, server: Asked, test: Callable[[Rest, Taped], Awaitable[None]]) -> Taped:
    async def work() -> Taped:
        taped = Taped(folder)
        clock = Clock()
        async with serving(server) as address:
            rest = Rest(
                address, wire("binance"), Budget(6000, lambda: clock.now()[0] / 1e6), taped.recorder, taped.said.append
            )
            try:
                await test(rest, taped)
            finally:
                await rest.close()
        return taped

    return asyncio.run(work())


def status(code: int, body: str = "{}", **headers: str) -> web.Response:
    return web.Response(
        status=code, text=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def test_question_and_answer_are_on_the_tape_before_anybody_sees_them(tmp_path: Path) -> None:
    async def test(rest: Rest, taped: Taped) -> None:
        answer = await rest.ask(FETCH, HOLE)
        assert (answer.status, answer.body, answer.problem, answer.is_good) == (200, b"[]", "", True)
        assert taped.records(Kind.REQUEST) == [("GET /api/v3/aggTrades?symbol=BTCUSDT", b"")]
        assert taped.records(Kind.ANSWER) == [("200 /api/v3/aggTrades?symbol=BTCUSDT", b"[]")]
        assert answer.position == 1

    server = Asked(status(200, "[]"))
    asking(tmp_path, server, test).close()
    assert server.requests[0].headers["X-MBX-TIME-UNIT"] == "MICROSECOND"


def test_what_the_venue_counted_is_what_the_budget_has_used(tmp_path: Path) -> None:
    async def test(rest: Rest, taped: Taped) -> None:
        await rest.ask(FETCH, HOLE)
        assert rest.budget.used == 1234

    asking(tmp_path, Asked(status(200, "[]", X_MBX_USED_WEIGHT_1M="1234")), test).close()


def test_headers_of_any_length_end_nothing(tmp_path: Path) -> None:
    async def test(rest: Rest, taped: Taped) -> None:
        answer = await rest.ask(FETCH, HOLE, attempts=1)
        assert answer.status == 429
        assert rest.budget.refused == 1
        assert 0 < rest.budget.blocked_s <= 3 * 86_400

    long = status(429, "{}", Retry_After="9" * 5000, X_MBX_USED_WEIGHT_1M="9" * 5000)
    asking(tmp_path, Asked(long), test).close()


@pytest.mark.parametrize("code", [400, 404, 451, 501])
def test_what_cannot_get_better_is_asked_once(code: int, tmp_path: Path) -> None:
    async def test(rest: Rest, taped: Taped) -> None:
        answer = await rest.ask(FETCH, HOLE)
        assert (answer.status, answer.is_good) == (code, False)
        assert str(code) in answer.problem
        assert taped.records(Kind.ANSWER) == [(f"{code} /api/v3/aggTrades?symbol=BTCUSDT", b'{"code":-1121}')]

    server = Asked(status(code, '{"code":-1121}'))
    asking(tmp_path, server, test).close()
    assert len(server.requests) == 1


def test_a_region_that_is_refused_is_told_what_to_do(tmp_path: Path) -> None:
    async def test(rest: Rest, taped: Taped) -> None:
        answer = await rest.ask(FETCH, HOLE)
        assert "refuses your region" in answer.problem
        assert "[endpoints]" in answer.problem
        assert "data-api.binance.vision" in answer.problem

    asking(tmp_path, Asked(status(451)), test).close()


@pytest.mark.parametrize(("code", "body"), [(500, "oops"), (503, "{}"), (403, "<html>WAF</html>")])
def test_what_may_pass_is_asked_again(code: int, body: str, tmp_path: Path) -> None:
    async def test(rest: Rest, taped: Taped) -> None:
        answer = await rest.ask(FETCH, HOLE)
        assert answer.is_good
        heads = [head.split()[0] for head, _ in taped.records(Kind.ANSWER)]
        assert heads == [str(code), "200"]

    server = Asked(status(code, body), status(200, "[]"))
    asking(tmp_path, server, test).close()
    assert len(server.requests) == 2


def test_a_page_of_html_is_told_when_no_attempt_is_left(tmp_path: Path) -> None:
    async def test(rest: Rest, taped: Taped) -> None:
        answer = await rest.ask(FETCH, HOLE, attempts=2)
        assert (answer.status, answer.is_good) == (403, False)
        assert "<html>WAF</html>" in answer.problem

    server = Asked(status(403, "<html>WAF</html>"))
    asking(tmp_path, server, test).close()
    assert len(server.requests) == 2


@pytest.mark.parametrize("code", [429, 418])
def test_a_refusal_is_obeyed_and_told(code: int, tmp_path: Path) -> None:
    async def test(rest: Rest, taped: Taped) -> None:
        answer = await rest.ask(FETCH, HOLE, attempts=1)
        assert answer.status == code
        assert rest.budget.blocked_s == pytest.approx(77, abs=5)
        assert rest.budget.refused == 1
        assert f"answers {code}: nothing is asked for 77 s" in taped.said[0]

    asking(tmp_path, Asked(status(code, "{}", Retry_After="77")), test).close()


@pytest.mark.parametrize("wait", ["Wed, 21 Oct 2026 07:28:00 GMT", "", "-5", "²"])
def test_a_refusal_without_a_time_lasts_half_a_minute(wait: str, tmp_path: Path) -> None:
    async def test(rest: Rest, taped: Taped) -> None:
        await rest.ask(FETCH, HOLE, attempts=1)
        assert rest.budget.blocked_s == pytest.approx(30, abs=5)

    asking(tmp_path, Asked(status(429, "{}", Retry_After=wait)), test).close()


def test_after_the_refusal_the_question_is_asked_again(tmp_path: Path) -> None:
    async def test(rest: Rest, taped: Taped) -> None:
        assert (await rest.ask(FETCH, HOLE)).is_good

    server = Asked(status(429, "{}", Retry_After="1"), status(200, "[]"))
    asking(tmp_path, server, test).close()
    assert len(server.requests) == 2


def test_a_server_that_does_not_answer_is_a_failed_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)

    async def sleep(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1.0)
        return web.Response()

    async def test(rest: Rest, taped: Taped) -> None:
        answer = await rest.ask(FETCH, HOLE, attempts=1)
        assert (answer.status, answer.is_good) == (0, False)
        assert "Timeout" in answer.problem
        ((head, _),) = taped.records(Kind.ANSWER)
        assert head.startswith("0 /api/")

    asking(tmp_path, Asked(sleep), test).close()


def test_a_connection_cut_in_the_answer_is_a_failed_answer(tmp_path: Path) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"[1,2")
        assert request.transport is not None
        request.transport.abort()
        return response

    async def test(rest: Rest, taped: Taped) -> None:
        answer = await rest.ask(FETCH, HOLE, attempts=1)
        assert (answer.status, answer.is_good) == (0, False)
        assert [head[0] for head, _ in taped.records(Kind.ANSWER)] == ["0"]

    asking(tmp_path, Asked(cut), test).close()


def test_nobody_there_is_a_failed_answer_too(tmp_path: Path) -> None:
    async def work() -> None:
        taped = Taped(tmp_path)
        rest = Rest("http://127.0.0.1:1", wire("binance"), Budget(6000, lambda: 0.0), taped.recorder, taped.said.append)
        answer = await rest.ask(FETCH, HOLE, attempts=1)
        assert answer.status == 0
        assert "127.0.0.1:1" in answer.problem
        await rest.close()
        taped.close()

    asyncio.run(work())


def test_an_answer_beyond_all_measure_is_cut_and_no_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_LIMIT", 1000)

    async def test(rest: Rest, taped: Taped) -> None:
        answer = await rest.ask(FETCH, HOLE, attempts=1)
        assert not answer.is_good
        assert len(answer.body) <= 1000
        ((head, body),) = taped.records(Kind.ANSWER)
        assert (head[:2], len(body) <= 1000) == ("0 ", True)

    asking(tmp_path, Asked(status(200, "[" + "1," * 5000 + "1]")), test).close()


def test_answers_of_exactly_the_limit_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "[" + "1," * 499 + "1]"
    monkeypatch.setattr(module, "ANSWER_LIMIT", len(body))

    async def test(rest: Rest, taped: Taped) -> None:
        answer = await rest.ask(FETCH, HOLE, attempts=1)
        assert (answer.is_good, answer.body) == (True, body.encode())

    asking(tmp_path, Asked(status(200, body)), test).close()
