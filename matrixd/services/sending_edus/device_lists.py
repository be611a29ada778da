"""`m.device_list_update`: which devices users of this server have.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from collections.abc import Callable, Coroutine
from typing import Any

from matrixd.queries.feed import Feed
from matrixd.services.comings import came_in
from matrixd.services.outbox import Outbox
from matrixd.storage import device_list_changes, devices, room_servers, shared_rooms
from matrixd.storage.database import Database
from matrixd.storage.device_list_changes import ChangedDevice, ListPosition
from matrixd.storage.rows import DeviceChanged, EventRow
from matrixd.storage.transaction import Transaction
from matrixd.util.background import in_background

#: Devices in one transaction, so that other writes need not wait long.
_BATCH = 100


class DeviceListsOut:
    """Tells the servers with which a user shares a room how the user's devices change.

    That a device changed is stored with the change. So nothing is lost when the server ends before others are told;
    `run` goes on with it. With `names`, other servers are told how the user calls a device.
    """

    def __init__(
        self,
        database: Database,
        feed: Feed,
        outbox: Outbox,
        names: bool,
        background: Callable[[str, Coroutine[Any, Any, object]], object] = in_background,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._names = names
        self._background = background
        self._is_running = False
        self._is_due = False
        feed.subscribe(DeviceChanged, self._on_change)
        feed.subscribe(EventRow, self._on_event)

    def _on_change(self, row: DeviceChanged) -> None:
        self._background("telling other servers of changed devices", self.run())

    def _on_event(self, row: EventRow) -> None:
        for member in came_in(row):
            if member.is_local:
                self._background(
                    f"telling other servers of the devices of {member.user_id}",
                    self._introduce(member.user_nid, member.user_id, row.room_nid),
                )

    async def run(self) -> None:
        """Tell of all changes of which nobody was told yet."""
        self._is_due = True
        if self._is_running:
            return
        self._is_running = True
        try:
            while self._is_due:
                self._is_due = False
                if await self._database.write(self._tell) == _BATCH:
                    self._is_due = True
        finally:
            self._is_running = False

    async def _introduce(self, user_nid: int, user_id: str, room_nid: int) -> None:
        await self._database.write(self._tell_new_servers, user_nid, user_id, room_nid)

    def _tell(self, tx: Transaction) -> int:
        changed = device_list_changes.untold(tx, _BATCH)
        servers: dict[int, set[str]] = {}
        for device in changed:
            if device.user_nid not in servers:
                servers[device.user_nid] = shared_rooms.servers_of(tx, device.user_nid)
            at = device_list_changes.change(tx, device.user_nid, device.user_id)
            self._send(tx, servers[device.user_nid], device, at)
        device_list_changes.told(tx, changed)
        return len(changed)

    def _tell_new_servers(self, tx: Transaction, user_nid: int, user_id: str, room_nid: int) -> None:
        """Tell the servers of a room that the user came into, and that had no room with the user before.

        They learn of one device, by an update that follows one which they do not have: so they ask for the whole list.
        """
        new = set(room_servers.of_room(tx, room_nid)) - shared_rooms.servers_of(tx, user_nid, except_room=room_nid)
        mine = devices.by_user(tx, user_nid) if new else []
        if not mine:
            return
        at = device_list_changes.position(tx, user_nid)
        if not at.pos:
            at = device_list_changes.change(tx, user_nid, user_id)
        newest = mine[-1]
        self._send(tx, new, ChangedDevice(user_nid, user_id, newest.device_id, True, newest.display_name), at)

    def _send(self, tx: Transaction, servers: set[str], device: ChangedDevice, at: ListPosition) -> None:
        if not servers:
            return
        content: dict[str, Any] = {
            "user_id": device.user_id,
            "device_id": device.device_id,
            "stream_id": at.pos,
            "prev_id": [at.prev_pos] if at.prev_pos else [],
        }
        if not device.exists:
            content["deleted"] = True
        elif self._names and device.display_name is not None:
            content["device_display_name"] = device.display_name
        self._outbox.store_edu(tx, servers, "m.device_list_update", content)

