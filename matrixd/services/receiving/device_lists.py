"""`m.device_list_update` of other servers.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, Struct

from matrixd.core.identifiers import is_device_id
from matrixd.services.receiving.device_keys import device
from matrixd.services.receiving.edu_content import MAX_INTEGER, decoded, is_of
from matrixd.services.receiving.edus import Refuse
from matrixd.storage import device_list_changes, remote_devices, shared_rooms, users
from matrixd.storage.database import Database
from matrixd.storage.remote_devices import RemoteDevice, RemoteList
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

#: Devices of one user that are kept; of what a server says beyond that, clients learn only that there was a change.
MAX_DEVICES = 1_000

_StreamId = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]


class _Content(Struct):
    user_id: str
    device_id: str
    stream_id: _StreamId
    prev_id: Annotated[list[_StreamId], Meta(max_length=1_000)] = []
    deleted: bool = False
    device_display_name: str | None = None
    keys: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Update:
    user_id: str
    device_id: str
    stream_id: int
    prev_id: tuple[int, ...]
    #: The device as it is now; None: deleted.
    device: Mapping[str, Any] | None

    def follows(self, known: RemoteList) -> bool:
        """Whether nothing is missing between what is known and this."""
        return bool(self.prev_id) and max(self.prev_id) <= known.stream_id < self.stream_id


class DeviceListEdus:
    """Applies updates to what is kept of the devices of users who share a room with one of ours.

    A list that was never read as a whole, or of which an update was missed, is stale: `on_stale` is called, so that it
    is read from its user's server. Updates go on being applied meanwhile, as far as they go.
    """

    def __init__(self, database: Database, clock: Clock, on_stale: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._on_stale = on_stale

    async def receive(self, origin: str, contents: Sequence[Mapping[str, Any]], refuse: Refuse) -> None:
        """See `EduType`."""
        found = [_checked(origin, content, refuse) for content in contents]
        updates = [update for update in found if update is not None]
        if not updates:
            return
        is_stale = await self._database.write(_apply, updates, self._clock.now_ms())
        if is_stale:
            self._on_stale()


def _checked(origin: str, content: Mapping[str, Any], refuse: Refuse) -> _Update | None:
    form = decoded(content, _Content, refuse)
    if form is None:
        return None
    if not is_of(form.user_id, origin) or not is_device_id(form.device_id):
        refuse("'user_id' must be a user of the server, and 'device_id' a device ID")
        return None
    try:
        kept = None if form.deleted else device(form.user_id, form.device_id, form.device_display_name, form.keys)
    except ValueError as error:
        refuse(f"the keys of a device: {error}")
        return None
    return _Update(form.user_id, form.device_id, form.stream_id, tuple(form.prev_id), kept)


def _apply(tx: Transaction, updates: Sequence[_Update], now_ms: int) -> bool:
    """Apply updates in their order; whether a list is stale."""
    numbers = users.find_many(tx, {update.user_id for update in updates})
    shared = shared_rooms.remote_users(tx, numbers.values())
    any_stale = False
    for update in updates:
        user_nid = numbers.get(update.user_id)
        if user_nid in shared:
            any_stale |= _apply_one(tx, user_nid, update, now_ms)
    return any_stale


def _apply_one(tx: Transaction, user_nid: int, update: _Update, now_ms: int) -> bool:
    known = remote_devices.find(tx, user_nid)
    if known is not None and update.stream_id == known.stream_id:
        # It comes again.
        return known.is_stale
    if known is not None and not update.follows(known):
        remote_devices.mark_stale(tx, user_nid, now_ms)
    if known is None or update.stream_id > known.stream_id:
        # An earlier one, of a server that counts anew, may be older than what is here: the whole list will tell.
        remote_devices.set_position(tx, user_nid, update.stream_id, now_ms)
        _keep(tx, user_nid, update)
    device_list_changes.change(tx, user_nid, update.user_id)
    return known is None or known.is_stale or not update.follows(known)


def _keep(tx: Transaction, user_nid: int, update: _Update) -> None:
    if update.device is None:
        remote_devices.remove(tx, user_nid, update.device_id)
    elif remote_devices.count(tx, user_nid) < MAX_DEVICES:
        remote_devices.put(tx, user_nid, [RemoteDevice(update.device_id, update.stream_id, update.device)])
