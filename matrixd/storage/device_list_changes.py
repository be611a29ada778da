"""When the devices, or keys, of users changed: the places of the device_lists stream."""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.storage.rows import DeviceListRow
from matrixd.storage.transaction import Transaction

_COUNTER = "device_lists"


@dataclass(frozen=True, slots=True)
class ListPosition:
    """Where a user's list stands: the position of its newest change, and of the one before (0: none)."""

    pos: int
    prev_pos: int


@dataclass(frozen=True, slots=True)
class ChangedDevice:
    """A device of a local user of whose change nobody was told yet; `exists` is False when it was deleted."""

    user_nid: int
    user_id: str
    device_id: str
    exists: bool
    display_name: str | None


def position(tx: Transaction, user_nid: int) -> ListPosition:
    """Where a user's list stands: of a local user, `pos` is the `stream_id` for other servers."""
    row = tx.one("SELECT pos, prev_pos FROM device_list_changes WHERE user_nid = ?", (user_nid,))
    return ListPosition(0, 0) if row is None else ListPosition(*row)


def change(tx: Transaction, user_nid: int, user_id: str) -> ListPosition:
    """Give a change of a user's list its place, and announce it."""
    before = position(tx, user_nid)
    pos = tx.next_id(_COUNTER)
    tx.execute(
        "INSERT INTO device_list_changes (user_nid, pos, prev_pos) VALUES (?, ?, ?)"
        " ON CONFLICT (user_nid) DO UPDATE SET pos = excluded.pos, prev_pos = excluded.prev_pos",
        (user_nid, pos, before.pos),
    )
    tx.announce(DeviceListRow(pos, user_nid, user_id))
    return ListPosition(pos, before.pos)


def untold(tx: Transaction, limit: int) -> list[ChangedDevice]:
    """Devices of local users that changed, and of which nobody was told yet."""
    rows = tx.all(
        "SELECT c.user_nid, u.user_id, c.device_id, d.device_nid, d.display_name FROM changed_devices c"
        " JOIN users u ON u.user_nid = c.user_nid"
        " LEFT JOIN devices d ON d.user_nid = c.user_nid AND d.device_id = c.device_id"
        " ORDER BY c.user_nid, c.device_id LIMIT ?",
        (limit,),
    )
    return [
        ChangedDevice(nid, user_id, device, number is not None, name) for nid, user_id, device, number, name in rows
    ]


def told(tx: Transaction, devices: Sequence[ChangedDevice]) -> None:
    """Strike devices from those of which nobody was told."""
    for device in devices:
        tx.execute(
            "DELETE FROM changed_devices WHERE user_nid = ? AND device_id = ?", (device.user_nid, device.device_id)
        )


def forget(tx: Transaction, user_nids: Sequence[int]) -> None:
    """Forget users of other servers."""
    condition, parameter = tx.among("user_nid", list(user_nids))
    tx.execute(f"DELETE FROM device_list_changes WHERE {condition}", (parameter,))
