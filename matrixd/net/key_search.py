"""The search for keys of other servers: whom to ask, in which order, how many at once, and when not to ask again.

What several ask for at the same moment is fetched once. Few servers are asked themselves, and notaries for what is
missing then; of many, as a join brings them, the notaries are asked first, a hundred servers in one request. Who could
not tell is left alone for a while, so that the events of a dead server do not ask again and again.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults

from matrixd.core.errors import SignatureInvalid
from matrixd.net.errors import RemoteError
from matrixd.net.key_sources import KeyClient, Notary, Told, ask_notary, ask_server
from matrixd.storage.server_keys import StoredKeys
from matrixd.util.background import in_background
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget

logger = logging.getLogger(__name__)

#: In place of a key ID: all keys of the server, as it publishes them now, good until then.
ALL_KEYS = ""

#: With more servers than these in one batch the notaries are asked first.
FEW = 20
#: Servers in one request to a notary, and such requests at once.
CHUNK = 100
_NOTARY_CONCURRENCY = 4
#: A notary that failed is left out for so long.
_NOTARY_PAUSE_MS = 60_000

#: A server that was asked in vain is asked again after this; each time that it does not answer, after twice the time.
_FIRST_PAUSE_MS = 10_000
_LAST_PAUSE_MS = 60 * 60 * 1000

#: A key that is good for so long need not be asked for, though an event says to be from a later time.
_HOUR_MS = 60 * 60 * 1000

_ATTEMPT_BYTES = 250
_MAX_ATTEMPTS_BYTES = 8 * 1024 * 1024
_NAMED = 10


class Purpose(enum.Enum):
    """What keys are needed for. Each has its own places among the fetches, so that none has to wait for another."""

    #: Events; a join brings those of thousands of servers.
    EVENTS = "events"
    #: A request that came from the server just now, so it should answer.
    REQUEST = "request"
    #: Another server asked us for them. It waits for no further notary, which may be itself.
    NOTARY = "notary"


@dataclass(frozen=True, slots=True)
class _Places:
    #: Servers that are asked at once.
    concurrent: int
    #: Servers that are asked or wait; further ones are not searched for.
    waiting: int
    #: After so many seconds no further one of a batch is asked.
    patience_s: float


_PLACES = {
    Purpose.EVENTS: _Places(50, 20_000, 60.0),
    Purpose.REQUEST: _Places(50, 500, 10.0),
    Purpose.NOTARY: _Places(10, 500, 5.0),
}


@dataclass(slots=True)
class _Flight:
    """The search for keys of one server."""

    known: StoredKeys
    wanted: dict[str, int] = field(default_factory=dict)
    waiting: list[Deferred[StoredKeys]] = field(default_factory=list)
    #: The server itself was asked, and did not tell its keys.
    has_failed: bool = False

    def want(self, key_ids: Mapping[str, int]) -> Deferred[StoredKeys]:
        """Search for these too; fires with what is known at the end."""
        for key_id, ts in key_ids.items():
            self.wanted[key_id] = max(ts, self.wanted.get(key_id, 0))
        end: Deferred[StoredKeys] = Deferred()
        self.waiting.append(end)
        return end


@dataclass(frozen=True, slots=True)
class _Attempt:
    asked_ts: int
    #: How often in a row the server did not tell its keys.
    failures: int


@dataclass(slots=True)
class _Lane:
    """The searches for one purpose."""

    places: _Places
    permits: DeferredSemaphore
    #: What will be fetched together.
    gathered: list[str] = field(default_factory=list)
    count: int = 0


class KeySearch:
    """Asks for keys.

    `learn(before, told)` is told of each answer about a server whose keys are searched, and returns what is known then.
    `call_later` is a reactor's `callLater`.
    """

    def __init__(
        self,
        client: KeyClient,
        notaries: Sequence[Notary],
        learn: Callable[[StoredKeys, Told], StoredKeys],
        clock: Clock,
        budget: CacheBudget,
        call_later: Callable[..., Any],
    ) -> None:
        self._client = client
        self._notaries = notaries
        self._learn = learn
        self._clock = clock
        self._call_later = call_later
        self._attempts = budget.cache("server_key_attempts", str, _Attempt, _MAX_ATTEMPTS_BYTES)
        self._flights: dict[str, _Flight] = {}
        self._lanes = {
            purpose: _Lane(places, DeferredSemaphore(places.concurrent)) for purpose, places in _PLACES.items()
        }
        self._notary_permits = DeferredSemaphore(_NOTARY_CONCURRENCY)
        self._notary_pauses: dict[str, int] = {}

    def search(
        self, known: StoredKeys, key_ids: Mapping[str, int], purpose: Purpose
    ) -> Deferred[StoredKeys] | None:
        """Search for keys (ID -> ms at which it must be good) of the server of which `known` is known.

        Fires with what is known at the end. None if there is nothing to search, or it is not searched at the moment.
        """
        flight = self._flights.get(known.server_name)
        if flight is not None:
            return flight.want(key_ids)
        now = self._clock.now_ms()
        lane = self._lanes[purpose]
        if suffices(known, key_ids, now) or not self._may_ask(known.server_name, purpose, now):
            return None
        if lane.count >= lane.places.waiting:
            return None
        flight = self._flights[known.server_name] = _Flight(known)
        lane.count += 1
        lane.gathered.append(known.server_name)
        if len(lane.gathered) == 1:
            self._call_later(0, self._start, lane, purpose)
        return flight.want(key_ids)

    def _may_ask(self, server_name: str, purpose: Purpose, now: int) -> bool:
        attempt = self._attempts.get(server_name)
        if attempt is None:
            return True
        # A server that sends requests is there: it only must not make us ask it all the time.
        failures = 0 if purpose is Purpose.REQUEST else min(attempt.failures, 20)
        return now >= attempt.asked_ts + min(_FIRST_PAUSE_MS << failures, _LAST_PAUSE_MS)

    def _start(self, lane: _Lane, purpose: Purpose) -> None:
        batch, lane.gathered = lane.gathered, []
        in_background("fetching keys", self._fetch(batch, lane, purpose))

    async def _fetch(self, batch: Sequence[str], lane: _Lane, purpose: Purpose) -> None:
        deadline = self._clock.monotonic() + lane.places.patience_s

        async def ask_servers(names: Sequence[str]) -> None:
            is_alive = purpose is Purpose.REQUEST
            await _all(lane.permits.run(_started, self._ask_server, name, is_alive, deadline) for name in names)

        rounds: list[Callable[[Sequence[str]], Awaitable[None]]] = [ask_servers]
        if purpose is not Purpose.NOTARY:
            rounds.insert(0 if len(batch) > FEW else 1, self._ask_notaries)
        try:
            for ask in rounds:
                await ask(self._searched(batch))
        finally:
            missing = self._searched(batch)
            for server_name in missing:
                self._end(server_name)
            lane.count -= len(batch)
            if missing:
                dots = ", …" if len(missing) > _NAMED else ""
                names = ", ".join(missing[:_NAMED])
                logger.info("keys of %d servers could not be had: %s%s", len(missing), names, dots)

    def _searched(self, server_names: Iterable[str]) -> list[str]:
        return [server_name for server_name in server_names if server_name in self._flights]

    async def _ask_server(self, server_name: str, is_alive: bool, deadline: float) -> None:
        flight = self._flights.get(server_name)
        if flight is None:
            return
        flight.has_failed = True
        if self._clock.monotonic() > deadline:
            return
        try:
            told = await ask_server(self._client, server_name, self._clock.now_ms(), ignore_backoff=is_alive)
        except (RemoteError, SignatureInvalid) as error:
            logger.debug("no keys from %s: %s", server_name, error)
            return
        flight.has_failed = False
        self._tell(told)

    async def _ask_notaries(self, server_names: Sequence[str]) -> None:
        for notary in self._notaries:
            left = self._searched(server_names)
            chunks = [left[at : at + CHUNK] for at in range(0, len(left), CHUNK)]
            await _all(self._notary_permits.run(_started, self._ask_notary, notary, chunk) for chunk in chunks)

    async def _ask_notary(self, notary: Notary, server_names: Sequence[str]) -> None:
        now = self._clock.now_ms()
        # Of what must be good at a later time a notary cannot know more than now.
        wanted = {
            server_name: {
                key_id: min(ts, now) for key_id, ts in self._flights[server_name].wanted.items() if key_id != ALL_KEYS
            }
            for server_name in self._searched(server_names)
        }
        if not wanted or self._notary_pauses.get(notary.server_name, 0) > now:
            return
        try:
            told, wrong = await ask_notary(self._client, notary, wanted, now)
        except RemoteError as error:
            self._notary_pauses[notary.server_name] = now + _NOTARY_PAUSE_MS
            logger.warning("the notary %s gave no keys: %s", notary.server_name, error)
            return
        for each in told:
            self._tell(each)
        if wrong:
            logger.warning("the notary %s gave %d wrong keys: %s", notary.server_name, len(wrong), wrong[0])

    def _tell(self, told: Told) -> None:
        flight = self._flights.get(told.keys.server_name)
        if flight is not None:
            flight.known = self._learn(flight.known, told)
            if suffices(flight.known, flight.wanted, self._clock.now_ms()):
                self._end(told.keys.server_name)

    def _end(self, server_name: str) -> None:
        """The search for a server's keys is over."""
        flight = self._flights.pop(server_name)
        now = self._clock.now_ms()
        if suffices(flight.known, flight.wanted, now):
            self._attempts.remove(server_name)
        else:
            before = self._attempts.get(server_name)
            failures = (before.failures if before else 0) + 1 if flight.has_failed else 0
            self._attempts.put(server_name, _Attempt(now, failures), _ATTEMPT_BYTES)
        for end in flight.waiting:
            end.callback(flight.known)


def suffices(known: StoredKeys, key_ids: Mapping[str, int], now: int) -> bool:
    """Whether asking for the keys (ID -> ms at which it must be good) would be of no use."""
    for key_id, ts in key_ids.items():
        if key_id == ALL_KEYS:
            # "Intermediate notary servers should cache a response for half of its lifetime."
            fresh_until_ts = (known.received_ts + known.valid_until_ts) // 2
            if known.valid_until_ts < ts or fresh_until_ts < now:
                return False
            continue
        key = known.keys.get(key_id)
        if key is None:
            return False
        if key.valid_until_ts is not None and key.valid_until_ts < min(ts, now + _HOUR_MS):
            return False
    return True


async def _all(deferreds: Iterable[Deferred[None]]) -> None:
    await gatherResults(list(deferreds), consumeErrors=True)


def _started(function: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> Deferred[None]:
    return Deferred.fromCoroutine(function(*arguments))
