"""`/.well-known/matrix/server`: to which server a name delegates. Answers and failures are remembered.

https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names (step 3)
"""

import email.utils
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from matrixd import __version__
from matrixd.core import canonical_json
from matrixd.core.identifiers import is_server_name
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.failures import NETWORK_FAILURES, explain
from matrixd.net.http_connection import Answer, Connection, Request
from matrixd.net.route import Place, Route, bracketed
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

_MINUTE_S: Final = 60
_HOUR_S: Final = 60 * _MINUTE_S

#: "The recommended sensible default is 24 hours"; "a maximum cache time for responses: 48 hours is recommended".
DEFAULT_S, MAX_S = 24 * _HOUR_S, 48 * _HOUR_S
#: A file that may not be kept at all is not fetched for each connection, either.
MIN_S: Final = 5 * _MINUTE_S
#: "Errors are recommended to be cached for up to an hour", and longer from one failure to the next.
FIRST_FAILURE_S, MAX_FAILURE_S = 2 * _MINUTE_S, _HOUR_S
MAX_BYTES: Final = 50 * 1024
MAX_REDIRECTS: Final = 5
#: For all of it, redirects included.
TIMEOUT_S: Final = 15.0

_MAX_URL = 2000
_KEPT_BYTES = 500
_MAX_AGE = re.compile(r'(?:^|,)\s*max-age\s*=\s*"?([0-9]{1,10})"?\s*(?:,|$)', re.IGNORECASE)
_NOT_KEPT = re.compile(r"(?:^|,)\s*no-(?:store|cache)\s*(?:,|=|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WellKnown:
    """What a name says. server: the one that it delegates to; None if it does not, and then `problem` says why.

    urls: what was fetched, redirects included. kept_s: for how long it is remembered.
    """

    server: str | None
    problem: str | None
    urls: tuple[str, ...]
    kept_s: int
    is_definite: bool = True
    """Whether the name's owner said so, rather than that nothing could be learnt."""
    status: int | None = field(default=None, compare=False)
    """That of the last answer; None without one."""


@dataclass(frozen=True, slots=True)
class _Kept:
    said: WellKnown
    fetched: float
    expires: float
    failures: int


class WellKnowns:
    """Fetches and remembers. `connect` opens a connection to a place, with TLS."""

    def __init__(
        self, connect: Callable[[Route], Awaitable[Connection]], clock: Clock, timer: Any, budget: CacheBudget
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._timer = timer
        self._kept = budget.cache("well_known", str, _Kept)
        self._flights: SingleFlight[str, WellKnown] = SingleFlight()

    async def of(self, host: str) -> WellKnown:
        """What a host name says. Never raises RemoteError: whatever is wrong, discovery goes on without it."""
        name = host.lower()
        kept = self._kept.get(name)
        if kept is not None and self._clock.monotonic() < kept.expires:
            return kept.said
        return await self._flights.run(name, lambda: self._refresh(name))

    def doubt(self, host: str) -> None:
        """The server that a host delegates to can't be reached: its file is fetched again, if it is not quite new."""
        kept = self._kept.get(host.lower())
        now = self._clock.monotonic()
        if kept is not None and kept.said.server is not None and now - kept.fetched >= MIN_S:
            self._kept.put(host.lower(), replace(kept, expires=min(kept.expires, now)), _KEPT_BYTES)

    async def _refresh(self, host: str) -> WellKnown:
        kept = self._kept.get(host)
        said = await self._fetch(host)
        now = self._clock.monotonic()
        if said.server is not None:
            self._kept.put(host, _Kept(said, now, now + said.kept_s, 0), _KEPT_BYTES)
            return said
        failures = kept.failures if kept is not None else 0
        pause = min(FIRST_FAILURE_S * 2 ** min(failures, 10), MAX_FAILURE_S)
        # An outage of the web server does not move the homeserver.
        if kept is not None and kept.said.server is not None and not said.is_definite and now < kept.fetched + MAX_S:
            self._kept.put(host, _Kept(kept.said, kept.fetched, now + pause, failures + 1), _KEPT_BYTES)
            return kept.said
        self._kept.put(host, _Kept(said, now, now + max(pause, said.kept_s), failures + 1), _KEPT_BYTES)
        return said

    async def _fetch(self, host: str) -> WellKnown:
        urls: list[str] = []
        fetching = Deferred.fromCoroutine(self._follow(host, urls))
        try:
            return await fetching.addTimeout(TIMEOUT_S, self._timer)
        except RemoteError as error:
            return WellKnown(None, error.error, tuple(urls), 0, is_definite=False)
        except DeferredTimeout:
            return WellKnown(None, "no answer in time", tuple(urls), 0, is_definite=False)
        except NETWORK_FAILURES as error:
            kind, sentence = explain(error)
            return WellKnown(None, sentence, tuple(urls), 0, is_definite=kind is FailureKind.TOO_LARGE)

    async def _follow(self, host: str, urls: list[str]) -> WellKnown:
        url = _Url.parse(f"https://{bracketed(host)}/.well-known/matrix/server")
        while True:
            if url.text in urls:
                return WellKnown(None, "its redirects are a loop", tuple(urls), 0)
            if len(urls) > MAX_REDIRECTS:
                return WellKnown(None, f"it has more than {MAX_REDIRECTS} redirects", tuple(urls), 0)
            urls.append(url.text)
            answer = await self._get(url)
            location = answer.header(b"location")
            if answer.status not in (301, 302, 303, 307, 308) or location is None:
                return self._read(answer, tuple(urls))
            try:
                url = _Url.parse(location.strip(), url.text)
            except ValueError as error:
                return WellKnown(None, f"it redirects to what {error}", tuple(urls), 0)

    async def _get(self, url: "_Url") -> Answer:
        connection = await self._connect(Route(url.host, [Place(url.host, url.port)], url.host, url.netloc))
        head = (
            f"GET {url.target} HTTP/1.1\r\nHost: {url.netloc}\r\nUser-Agent: matrixd/{__version__}\r\n"
            "Accept: application/json\r\nConnection: close\r\n\r\n"
        )
        try:
            return await connection.ask(Request(b"GET", head.encode("ascii"), persistent=False), MAX_BYTES)
        finally:
            connection.abort_now()

    def _read(self, answer: Answer, urls: tuple[str, ...]) -> WellKnown:
        lifetime = lifetime_s(answer, self._clock.now_ms() / 1000)
        if answer.status != 200:
            kept = 0 if lifetime is None else min(lifetime, MAX_FAILURE_S)
            return WellKnown(
                None,
                f"the answer has status {answer.status}",
                urls,
                kept,
                is_definite=answer.status < 500,
                status=answer.status,
            )
        try:
            # "assume that the body is JSON regardless of type"
            content = canonical_json.decode(answer.body)
        except ValueError:
            return WellKnown(None, "the answer is not JSON", urls, 0, status=200)
        server = content.get("m.server") if isinstance(content, dict) else None
        if not is_server_name(server):
            return WellKnown(None, "the answer has no 'm.server' that is a server name", urls, 0, status=200)
        kept = DEFAULT_S if lifetime is None else min(max(lifetime, MIN_S), MAX_S)
        return WellKnown(str(server), None, urls, kept, status=200)


@dataclass(frozen=True, slots=True)
class _Url:
    """A URL that may be fetched. netloc: host and port as they stand in it. target: path and query."""

    text: str
    host: str
    port: int
    netloc: str
    target: str

    @staticmethod
    def parse(text: str, base: str = "") -> "_Url":
        """Reads a URL; a relative one is of `base`. Raises ValueError with what is wrong with it."""
        if len(text) > _MAX_URL or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("is no URL")
        try:
            text = urljoin(base, text)
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port or 443
        except ValueError:
            raise ValueError("is no URL") from None
        if parts.scheme != "https":
            raise ValueError("is not https")
        if not is_server_name(bracketed(host)) or "@" in parts.netloc:
            raise ValueError("is no URL with a host")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return _Url(text, host, port, parts.netloc, target)


def lifetime_s(answer: Answer, now_s: float) -> int | None:
    """For how long the answer may be kept by its `Cache-Control` and `Expires` (RFC 9111); None if it doesn't say."""
    control = ",".join(
        value.decode("latin-1") for value in answer.headers.getRawHeaders(b"cache-control") or ()
    )
    if _NOT_KEPT.search(control):
        return 0
    age = _MAX_AGE.search(control)
    if age is not None:
        return int(age[1])
    expires = answer.header(b"expires")
    if expires is None:
        return None
    until = _seconds(expires)
    # A date that can't be read, such as 0, has passed.
    return 0 if until is None else max(0, int(until - (_seconds(answer.header(b"date") or "") or now_s)))


def _seconds(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
