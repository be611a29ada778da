"""Reads whole device lists from other servers, when updates were missed.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
"""

import random
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta, Struct
from twisted.internet.defer import Deferred, gatherResults

from matrixd.core.identifiers import domain_of, is_device_id
from matrixd.net.errors import RemoteError
from matrixd.services.receiving.device_keys import device
from matrixd.services.receiving.device_lists import MAX_DEVICES
from matrixd.services.receiving.edu_content import MAX_INTEGER
from matrixd.services.receiving.signing_keys import checked_signing_keys
from matrixd.storage import device_list_changes, remote_devices
from matrixd.storage.database import Database
from matrixd.storage.remote_devices import RemoteDevice, RemoteList
from matrixd.storage.transaction import Transaction
from matrixd.util.background import in_background
from matrixd.util.clock import Clock
from matrixd.util.timer import Alarm, Timer

#: Lists that are read at the same time.
CONCURRENCY = 4
#: Lists that are taken from the database together.
_BATCH = 20
#: After a failure: how long until the next attempt, which doubles with each, and at most.
FIRST_DELAY_MS = 60_000
MAX_DELAY_MS = 6 * 60 * 60 * 1000
#: How long changes are waited for that come together, in seconds.
_COALESCE_S = 1.0


class RemoteUsers(Protocol):
    """Asks other servers for what they know of their users."""

    async def devices(self, destination: str, user_id: str) -> Mapping[str, Any]:
        """The answer to `GET /user/devices`. Raises `RemoteError`."""


class _Device(Struct):
    device_id: str
    device_display_name: str | None = None
    keys: dict[str, Any] | None = None


class _Answer(Struct):
    user_id: str
    stream_id: Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
    devices: list[_Device]
    master_key: dict[str, Any] | None = None
    self_signing_key: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    stream_id: int
    devices: Sequence[RemoteDevice]
    signing_keys: Mapping[str, Any]


class DeviceListResync:
    """Reads stale lists, a few at a time, and again after a failure, later and later.

    `jitter()`: between 0 and 1, so that lists that failed together are not tried together.
    """

    def __init__(
        self,
        database: Database,
        remote_users: RemoteUsers,
        clock: Clock,
        timer: Timer,
        jitter: Callable[[], float] = random.random,
        background: Callable[[str, Coroutine[Any, Any, object]], object] = in_background,
    ) -> None:
        self._database = database
        self._remote_users = remote_users
        self._clock = clock
        self._timer = timer
        self._jitter = jitter
        self._background = background
        self._alarm = Alarm(timer, self._ring)
        self._is_running = False

    def soon(self) -> None:
        """A list became stale."""
        self._alarm.set(self._timer.seconds() + _COALESCE_S)

    async def begin(self) -> None:
        """Go on, soon, with what was stale when the server ended."""
        self.soon()

    async def stop(self) -> None:
        """Begin nothing more."""
        self._alarm.stop()

    def _ring(self) -> None:
        self._background("reading the device lists of users of other servers", self.run())

    async def run(self) -> None:
        """Read what is to be read now, and see when the next is due."""
        if self._is_running:
            self.soon()
            return
        self._is_running = True
        try:
            while due := await self._database.read(remote_devices.due, self._clock.now_ms(), _BATCH):
                waiting = iter(due)
                reading = [Deferred.fromCoroutine(self._read_each(waiting)) for _ in range(CONCURRENCY)]
                await gatherResults(reading, consumeErrors=True)
            next_ms = await self._database.read(remote_devices.next_due)
        finally:
            self._is_running = False
        if next_ms is not None:
            self._alarm.set(self._timer.seconds() + max(_COALESCE_S, (next_ms - self._clock.now_ms()) / 1000))

    async def _read_each(self, waiting: Iterator[tuple[RemoteList, str]]) -> None:
        for known, user_id in waiting:
            await self._read(known, user_id)

    async def _read(self, known: RemoteList, user_id: str) -> None:
        try:
            answer = await self._remote_users.devices(domain_of(user_id), user_id)
            snapshot = _snapshot(user_id, answer)
        except (RemoteError, ValueError) as error:
            next_try_ms = self._clock.now_ms() + self._delay_ms(known.tries)
            await self._database.write(remote_devices.failed, known.user_nid, next_try_ms, str(error)[:500])
            return
        await self._database.write(_store, known, user_id, snapshot, self._clock.now_ms())

    def _delay_ms(self, tries: int) -> int:
        delay = min(FIRST_DELAY_MS << min(tries, 16), MAX_DELAY_MS)
        return round(delay * (0.75 + 0.5 * self._jitter()))


def _snapshot(user_id: str, answer: Mapping[str, Any]) -> _Snapshot:
    """What the answer says, of devices that are as they should be. Raises ValueError, with what is wrong."""
    try:
        form = msgspec.convert(answer, _Answer)
    except msgspec.ValidationError as error:
        raise ValueError(f"the answer is not as specified: {error}") from None
    if form.user_id != user_id:
        raise ValueError("the answer is of another user")
    kept = {found.device_id: found for found in form.devices[:MAX_DEVICES] if is_device_id(found.device_id)}
    devices = [_device(user_id, form.stream_id, found) for found in kept.values()]
    keys = {"master_key": form.master_key, "self_signing_key": form.self_signing_key}
    return _Snapshot(form.stream_id, devices, checked_signing_keys(user_id, keys))


def _device(user_id: str, stream_id: int, found: _Device) -> RemoteDevice:
    try:
        content = device(user_id, found.device_id, found.device_display_name, found.keys)
    except ValueError:
        # Wrong keys of one device must not keep the others from anybody: nobody can use these in any case.
        content = device(user_id, found.device_id, found.device_display_name, None)
    return RemoteDevice(found.device_id, stream_id, content)


def _store(tx: Transaction, asked: RemoteList, user_id: str, snapshot: _Snapshot, now_ms: int) -> None:
    known = remote_devices.find(tx, asked.user_nid)
    if known is None:
        # They share no room any more.
        return
    before = _contents(tx, asked.user_nid)
    remote_devices.replace(tx, asked.user_nid, snapshot.stream_id, snapshot.devices, now_ms)
    if known.stream_id != asked.stream_id and known.stream_id > snapshot.stream_id:
        # An update came meanwhile that the answer does not have: once more.
        remote_devices.mark_stale(tx, asked.user_nid, now_ms)
    if snapshot.signing_keys:
        remote_devices.put_signing_keys(tx, asked.user_nid, snapshot.signing_keys)
    if _contents(tx, asked.user_nid) != before:
        device_list_changes.change(tx, asked.user_nid, user_id)


def _contents(tx: Transaction, user_nid: int) -> tuple[dict[str, Any], dict[str, Any]]:
    devices = remote_devices.of_user(tx, user_nid)
    return {name: one.content for name, one in devices.items()}, remote_devices.signing_keys(tx, user_nid)
