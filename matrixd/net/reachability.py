"""Which other servers answer, and when one that does not is asked again.

Kept in memory, and written by who sends to them (`changed`). A server that failed is left alone for a while: a few
short pauses first, since most that fail are being restarted, then ever longer ones. When the pause is over, one request
at a time tries it. A server that sends us an authenticated request is tried at once, by whoever needs something of it.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from matrixd.net.errors import FailureKind, RemoteError
from matrixd.storage.destinations import Reach
from matrixd.util.clock import Clock

_SECOND_MS = 1000
_MINUTE_MS = 60 * _SECOND_MS
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS

#: Pauses after the first failures in a row: a server that is restarted gets what it missed within seconds.
SHORT_PAUSES_MS = (1 * _SECOND_MS, 2 * _SECOND_MS, 5 * _SECOND_MS, 10 * _SECOND_MS, 30 * _SECOND_MS)
#: The pauses between tries of a server that contacts us again and again and does not answer us.
_CONTACT_PAUSES_MS = (*SHORT_PAUSES_MS, 1 * _MINUTE_MS, 5 * _MINUTE_MS)
#: A server that did not contact us for so long may be tried at once when it does.
_CONTACTS_FORGOTTEN_MS = 10 * _MINUTE_MS
#: How long a server that is gone for good is left alone.
RETIRED_MS = 14 * _DAY_MS
#: How long it must have said so.
_RETIRES_AFTER_MS = _HOUR_MS
#: Who answered in Matrix's form so lately is there, even if a path gives something else.
_LATELY_MS = 1 * _MINUTE_MS
#: Who contacted us so lately is there: to understand what it sent, more of it may be needed at once, and by several
#: requests, though none has told yet that it answers.
_ALIVE_MS = 10 * _SECOND_MS
#: A try of which nothing was heard for so long is over.
_PROBE_MS = 2 * _MINUTE_MS
#: How long another server may have us wait because it is overloaded.
_MAX_OVERLOADED_MS = 10 * _MINUTE_MS
#: Servers of which something is remembered; beyond it the one that was tried least recently is forgotten.
_MAX_RECORDS = 50_000
_MAX_ERROR_LENGTH = 300
#: Failures of this server.
_NOT_ITS_FAULT = (FailureKind.DENIED, FailureKind.BACKING_OFF, FailureKind.BUSY)


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long a server that fails is left alone, in milliseconds: options `federation.destination_*`."""

    min_ms: int
    multiplier: float
    max_ms: int

    def after(self, failures: int) -> float:
        """The pause after so many failures in a row, at least one."""
        if failures <= len(SHORT_PAUSES_MS):
            return min(SHORT_PAUSES_MS[failures - 1], self.max_ms)
        # Far beyond any limit; without it the power overflows after some hundred failures.
        steps = min(failures - len(SHORT_PAUSES_MS) - 1, 64)
        return float(min(self.min_ms * self.multiplier**steps, self.max_ms))


@dataclass(slots=True)
class _Record:
    reach: Reach
    #: When it answered last; `reach` is told of it when something else is to be told.
    answered_ts: int | None = None
    #: Until then a request is trying whether it answers again; 0 if none is.
    probing_until_ts: int = 0
    #: Tries in a row that were made because it contacted us, and failed.
    vain_contacts: int = 0
    contacted_ts: int = 0
    was_contacted: bool = False
    #: When it was tried last, whatever came of it.
    tried_ts: int = 0
    #: It answers, but does not take what is sent to it: that holds back the sending, and no other request.
    is_refusing: bool = False


class Reachability:
    """Knows which servers fail. `known` are those that failed when the last process ended."""

    def __init__(
        self,
        clock: Clock,
        pauses: Pauses,
        known: Iterable[Reach] = (),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._pauses = pauses
        self._chance = chance
        self._records = {reach.destination: _Record(reach) for reach in known}
        self._changed: set[str] = set()
        self._wake: list[Callable[[str], None]] = []

    def restore(self, known: Iterable[Reach]) -> None:
        """Take what was stored of servers of which nothing is known yet."""
        for reach in known:
            self._records.setdefault(reach.destination, _Record(reach))

    def on_wake(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with each server that may be tried earlier than was said before."""
        self._wake.append(callback)

    def check(self, destination: str) -> None:
        """To be asked before a request, whose outcome is to be told. Raises RemoteError(BACKING_OFF)."""
        record = self._records.get(destination)
        if record is None or not record.reach.failures:
            return
        now = self._clock.now_ms()
        if record.is_refusing:
            record.tried_ts = now
            return
        is_alive = now - record.contacted_ts < _ALIVE_MS and not record.vain_contacts
        wait_ms = max(record.reach.next_try_ts, 0 if is_alive else record.probing_until_ts) - now
        if wait_ms > 0:
            last = record.reach.error or "it did not answer"
            raise RemoteError(
                destination, FailureKind.BACKING_OFF, f"not asked again yet: {last}", retry_after_ms=wait_ms
            )
        record.probing_until_ts = now + _PROBE_MS
        record.tried_ts = now

    def next_try_ts(self, destination: str) -> int:
        """When something may be sent there, in milliseconds since the epoch; 0: nothing speaks against it."""
        record = self._records.get(destination)
        if record is None or not record.reach.failures:
            return 0
        return max(record.reach.next_try_ts, record.probing_until_ts)

    def failures(self, destination: str) -> int:
        """How often it failed in a row."""
        record = self._records.get(destination)
        return 0 if record is None else record.reach.failures

    def is_dead(self, destination: str) -> bool:
        """Whether it failed so often that one try more is not expected to succeed."""
        return is_dead(self.failures(destination))

    def was_contacted(self, destination: str) -> bool:
        """Whether the next try is made because it sent us something."""
        record = self._records.get(destination)
        return record is not None and record.was_contacted

    def succeeded(self, destination: str) -> None:
        """It has answered a request."""
        record = self._record(destination)
        if record.is_refusing:
            record.answered_ts = self._clock.now_ms()
        else:
            self._clear(record)

    def delivered(self, destination: str) -> None:
        """It has taken what was sent to it."""
        self._clear(self._record(destination))

    def failed(self, destination: str, error: RemoteError) -> None:
        """A request failed. What a working server answers, as 403 or 404 in Matrix's form, counts as success."""
        if error.kind in _NOT_ITS_FAULT or self._says_nothing(destination, error):
            return
        if _is_answer(error):
            self.succeeded(destination)
        else:
            self._fail(destination, error, is_refusing=False)

    def refused(self, destination: str, error: RemoteError) -> None:
        """It answered, but did not take what was sent to it. Whoever sends says so, after `failed` was called.

        Does nothing for an error that counted as a failure already.
        """
        if error.kind is FailureKind.DENIED or _is_answer(error) or self._says_nothing(destination, error):
            self._fail(destination, error, is_refusing=True)

    def _says_nothing(self, destination: str, error: RemoteError) -> bool:
        """Whether an answer that is not Matrix's says nothing of the whole server, since that answered others just now.

        It does not know the path, or a proxy before it does not.
        """
        if error.kind is not FailureKind.HTTP or error.errcode is not None or error.status not in (400, 403, 404, 405):
            return False
        record = self._records.get(destination)
        answered_ts = None if record is None else record.answered_ts
        return answered_ts is not None and self._clock.now_ms() - answered_ts < _LATELY_MS

    def contacted(self, destination: str) -> None:
        """An authenticated request came from there: try it soon. Costs one look-up for a server that answers."""
        record = self._records.get(destination)
        if record is None or not record.reach.failures:
            return
        now = self._clock.now_ms()
        if now - record.contacted_ts > _CONTACTS_FORGOTTEN_MS:
            record.vain_contacts = 0
        record.contacted_ts = now
        # Servers that reach us and cannot be reached are common: they are not tried each time that they send something.
        earliest = max(now, (record.reach.last_try_ts or 0) + _contact_pause(record.vain_contacts))
        if earliest < record.reach.next_try_ts:
            record.reach = replace(record.reach, next_try_ts=earliest, retired=False)
            record.was_contacted = True
            self._changed.add(destination)
            self._tell(destination)

    def changed(self) -> list[Reach]:
        """What is to be stored: what has changed since the last call."""
        changed, self._changed = self._changed, set()
        return [self._records[destination].reach for destination in sorted(changed) if destination in self._records]

    def not_stored(self, reaches: Iterable[Reach]) -> None:
        """What `changed` gave could not be stored: give it again the next time."""
        self._changed.update(reach.destination for reach in reaches)

    @property
    def failing(self) -> int:
        """How many servers failed last."""
        return sum(1 for record in self._records.values() if record.reach.failures)

    def _record(self, destination: str) -> _Record:
        record = self._records.pop(destination, None) or _Record(Reach(destination))
        # The order of the records is that of the last tries.
        self._records[destination] = record
        if len(self._records) > _MAX_RECORDS:
            forgotten = next(iter(self._records))
            del self._records[forgotten]
        return record

    def _clear(self, record: _Record) -> None:
        now = record.answered_ts = self._clock.now_ms()
        if not record.reach.failures:
            return
        record.reach = replace(
            record.reach, failures=0, since_ts=None, next_try_ts=0, last_try_ts=now, last_success_ts=now, retired=False
        )
        record.probing_until_ts = record.vain_contacts = 0
        record.was_contacted = record.is_refusing = False
        self._changed.add(record.reach.destination)
        self._tell(record.reach.destination)

    def _fail(self, destination: str, error: RemoteError, *, is_refusing: bool) -> None:
        now = self._clock.now_ms()
        record = self._record(destination)
        since_ts = record.reach.since_ts or now
        is_retired = record.reach.retired or (_is_gone(error) and now - since_ts >= _RETIRES_AFTER_MS)
        failures = record.reach.failures + 1
        if error.kind is FailureKind.OVERLOADED:
            failures = min(failures, len(SHORT_PAUSES_MS))
        next_try_ts = now + self._pause(failures, is_retired, error)
        record.probing_until_ts = 0
        record.is_refusing = is_refusing
        if record.was_contacted:
            record.vain_contacts += 1
            record.was_contacted = False
        if record.contacted_ts > record.tried_ts and failures > 1:
            # It came back while this try was under way.
            next_try_ts = min(next_try_ts, now + _contact_pause(record.vain_contacts))
            record.was_contacted = True
        record.reach = replace(
            record.reach,
            failures=failures,
            since_ts=since_ts,
            last_try_ts=now,
            next_try_ts=next_try_ts,
            error_kind=error.kind.value,
            error=_sentence(error),
            last_success_ts=record.answered_ts or record.reach.last_success_ts,
            retired=is_retired,
        )
        self._changed.add(destination)

    def _pause(self, failures: int, is_retired: bool, error: RemoteError) -> int:
        pause = RETIRED_MS if is_retired else self._pauses.after(failures)
        # Those who failed together, because the network did, are not to be tried together.
        pause *= 0.8 + 0.4 * self._chance()
        if error.retry_after_ms is not None:
            pause = max(pause, min(error.retry_after_ms, _MAX_OVERLOADED_MS))
        return int(pause)

    def _tell(self, destination: str) -> None:
        for callback in self._wake:
            callback(destination)


def is_dead(failures: int) -> bool:
    """Whether a server that failed so often in a row counts as dead."""
    return failures > len(SHORT_PAUSES_MS)


def _contact_pause(vain_contacts: int) -> int:
    return _CONTACT_PAUSES_MS[min(vain_contacts, len(_CONTACT_PAUSES_MS)) - 1] if vain_contacts else 0


def _is_answer(error: RemoteError) -> bool:
    """Whether it is what a working server answers to a request that it does not grant."""
    if error.kind is FailureKind.TOO_LARGE:
        return True
    is_answer = error.kind is FailureKind.HTTP and error.errcode is not None
    return is_answer and error.status not in (408, 410, 502, 503, 504)


def _is_gone(error: RemoteError) -> bool:
    """Whether something else than a Matrix server answers under the name."""
    return error.status == 410 or (error.status == 404 and error.errcode is None)


def _sentence(error: RemoteError) -> str:
    status = "" if error.status is None else f"{error.status} "
    errcode = "" if error.errcode is None else f"{error.errcode}: "
    return f"{status}{errcode}{error.error}"[:_MAX_ERROR_LENGTH]
