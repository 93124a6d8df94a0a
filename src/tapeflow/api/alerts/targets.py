"""Who is told: webhooks by a signed POST, and what Apprise knows where that is allowed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from tapeflow._version import version
from tapeflow.api.alerts.addresses import Gate, Refused, Resolver
from tapeflow.api.alerts.journal import Event
from tapeflow.api.alerts.rules import Apprise, Target, Webhook

#: The header with the signature.
SIGNATURE = "Tapeflow-Signature"
#: An attempt may take so long, in all and to connect.
ATTEMPT_S = 10.0
CONNECT_S = 5.0
#: Bytes of an answer that are read.
ANSWER = 1024
#: Attempts at once.
AT_ONCE = 32


class Undelivered(Exception):
    """A target was not told; the text says why, ``after_s`` when it wants to be asked again, if it said so."""

    def __init__(self, text: str, after_s: float = 0.0) -> None:
        super().__init__(text)
        self.after_s = after_s


def signature(secret: str, body: bytes, at: int) -> str:
    """What `SIGNATURE` says: the time, and the HMAC-SHA256 of ``time.body``.

    >>> signature("secret", b"{}", 1700000000)[:35]
    't=1700000000,v1=b8569b78799ff9e3cbf'
    """
    made = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={made}"


def check(target: Target, *, has_apprise: bool) -> None:
    """Raise `Undelivered` for a target that could never be told."""
    if isinstance(target, Apprise):
        if not has_apprise:
            raise Undelivered("Apprise is switched off: set `apprise = true` in [alerts] of the run's settings")
        _apprise(target)


class Teller:
    """Tells targets of events. Made, used and closed in one loop."""

    def __init__(self, *, allow_private: bool, has_apprise: bool) -> None:
        self._has_apprise = has_apprise
        self._gate = Gate(allow_private=allow_private)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=Resolver(self._gate), use_dns_cache=False, force_close=True, socket_factory=self._gate.open
            ),
            timeout=aiohttp.ClientTimeout(total=ATTEMPT_S, connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def tell(self, target: Target, event: Event) -> None:
        """Return when the target has taken it; raises `Undelivered`."""
        async with self._room:
            if isinstance(target, Webhook):
                await self._post(target, event)
            else:  # in a thread: its import alone takes a second
                await asyncio.to_thread(check, target, has_apprise=self._has_apprise)
                await _notify(target, event)

    async def _post(self, target: Webhook, event: Event) -> None:
        body = event.body()
        headers = {"Content-Type": "application/json", "User-Agent": f"tapeflow/{version()}"}
        if target.secret:
            headers[SIGNATURE] = signature(target.secret, body, int(time.time()))
        try:
            async with self._session.post(URL(target.url), data=body, headers=headers, allow_redirects=False) as answer:
                await answer.content.read(ANSWER)
                status, after = answer.status, answer.headers.get("Retry-After", "")
        except Refused as error:
            raise Undelivered(str(error)) from error
        except TimeoutError as error:
            raise Undelivered(f"no answer within {ATTEMPT_S:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            refused = _refused(error)
            raise Undelivered(str(refused) if refused else f"{type(error).__name__}: {error}"[:300]) from error
        if 300 <= status < 400:
            raise Undelivered(f"it answers {status}: redirects are not followed; give the address it leads to")
        if not 200 <= status < 300:
            raise Undelivered(f"it answers {status}", _seconds(after))


def _seconds(after: str) -> float:
    """What `Retry-After` asks for: a number of seconds, or a date (RFC 9110); 0 for anything else."""
    if after.isascii() and after.isdigit():
        return float(after[:9])
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _refused(error: BaseException | None) -> Refused | None:
    """The refusal behind an error of a connection."""
    seen = 0
    while error is not None and seen < 8:
        if isinstance(error, Refused):
            return error
        inner = getattr(error, "os_error", None)
        error, seen = (inner if isinstance(inner, Refused) else error.__cause__ or error.__context__), seen + 1
    return None


def _apprise(target: Apprise) -> object:
    try:
        import apprise  # noqa: PLC0415 - an extra that need not be there
    except ImportError:
        raise Undelivered("Apprise is not installed: pip install 'tapeflow[alerts]'") from None
    made = apprise.Apprise()
    if not made.add(target.url):
        raise Undelivered("Apprise does not know such a URL: see its list of services")
    return made


async def _notify(target: Apprise, event: Event) -> None:
    made = await asyncio.to_thread(_apprise, target)
    title = f"{'Test: ' if event.test else ''}{event.name or event.symbol}"
    try:
        async with asyncio.timeout(6 * ATTEMPT_S):
            done = await asyncio.to_thread(made.notify, body=f"{event.text}\n{event.id}", title=title)  # type: ignore[attr-defined]
    except TimeoutError as error:
        raise Undelivered(f"no answer within {6 * ATTEMPT_S:g} s") from error
    except Exception as error:
        raise Undelivered(f"Apprise failed: {type(error).__name__}") from error
    if not done:
        raise Undelivered("the service did not take it; Apprise's log says why")
