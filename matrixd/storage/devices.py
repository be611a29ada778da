"""The devices of local users."""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.storage import rows
from matrixd.storage.transaction import Transaction

_COLUMNS = "d.device_nid, d.user_nid, d.device_id, d.display_name, d.created_ts, s.ts, s.ip, s.user_agent"
_TABLES = "devices d LEFT JOIN device_last_seen s ON s.device_nid = d.device_nid"
_SELECT = f"SELECT {_COLUMNS} FROM {_TABLES}"


@dataclass(frozen=True, slots=True)
class Device:
    """A device. Times are milliseconds since the epoch."""

    device_nid: int
    user_nid: int
    device_id: str
    display_name: str | None
    created_ts: int
    last_seen_ts: int | None
    last_seen_ip: str | None
    last_seen_user_agent: str | None


@dataclass(frozen=True, slots=True)
class Sighting:
    """When and from where a device was used. `ts`: milliseconds since the epoch."""

    device_nid: int
    ts: int
    ip: str
    user_agent: str


def by_user(tx: Transaction, user_nid: int) -> list[Device]:
    """All devices of a user, oldest first."""
    return [Device(*row) for row in tx.all(f"{_SELECT} WHERE d.user_nid = ? ORDER BY d.device_nid", (user_nid,))]


def by_id(tx: Transaction, user_nid: int, device_id: str) -> Device | None:
    """One device of a user."""
    row = tx.one(f"{_SELECT} WHERE d.user_nid = ? AND d.device_id = ?", (user_nid, device_id))
    return None if row is None else Device(*row)


def create(tx: Transaction, user_nid: int, device_id: str, display_name: str | None, created_ts: int) -> int:
    """Make a device; its number. The caller has seen that the user has none of this ID."""
    device_nid = tx.next_id("devices")
    tx.execute(
        "INSERT INTO devices (device_nid, user_nid, device_id, display_name, created_ts) VALUES (?, ?, ?, ?, ?)",
        (device_nid, user_nid, device_id, display_name, created_ts),
    )
    _note_change(tx, user_nid, [device_id])
    return device_nid


def rename(tx: Transaction, user_nid: int, device_id: str, display_name: str) -> bool:
    """Give a device another display name; whether it exists."""
    touched = tx.execute(
        "UPDATE devices SET display_name = ? WHERE user_nid = ? AND device_id = ?", (display_name, user_nid, device_id)
    )
    if touched > 0:
        _note_change(tx, user_nid, [device_id])
    return touched > 0


def delete(tx: Transaction, user_id: str, devices: Sequence[Device]) -> None:
    """Delete devices of one user, and announce it. Their tokens are the callers' to delete."""
    if not devices:
        return
    condition, parameter = tx.among("device_nid", [device.device_nid for device in devices])
    tx.execute(f"DELETE FROM devices WHERE {condition}", (parameter,))
    tx.execute(f"DELETE FROM device_last_seen WHERE {condition}", (parameter,))
    for device in devices:
        tx.announce(rows.DeviceDeleted(device.user_nid, user_id, device.device_nid, device.device_id))
    _note_change(tx, devices[0].user_nid, [device.device_id for device in devices])


def _note_change(tx: Transaction, user_nid: int, device_ids: Sequence[str]) -> None:
    """Note devices of which others are still to be told: services.device_list_updates does that."""
    tx.insert_many(
        "changed_devices",
        ("user_nid", "device_id"),
        [(user_nid, device_id) for device_id in device_ids],
        "ON CONFLICT (user_nid, device_id) DO NOTHING",
    )
    tx.announce(rows.DeviceChanged(user_nid))


def note_seen(tx: Transaction, sightings: Sequence[Sighting]) -> None:
    """Keep the newest use of each device."""
    tx.insert_many(
        "device_last_seen",
        ("device_nid", "ts", "ip", "user_agent"),
        [(seen.device_nid, seen.ts, seen.ip, seen.user_agent) for seen in sightings],
        "ON CONFLICT (device_nid) DO UPDATE SET ts = excluded.ts, ip = excluded.ip, user_agent = excluded.user_agent",
    )


def stale(tx: Transaction, before_ts: int, limit: int) -> list[tuple[str, Device]]:
    """User ID and device of devices that were neither made nor used since `before_ts`, at most `limit`."""
    found = tx.all(
        f"SELECT u.user_id, {_COLUMNS} FROM {_TABLES} JOIN users u ON u.user_nid = d.user_nid"
        " WHERE d.created_ts < ? AND (s.ts IS NULL OR s.ts < ?) ORDER BY d.device_nid LIMIT ?",
        (before_ts, before_ts, limit),
    )
    return [(user_id, Device(*row)) for user_id, *row in found]


def forget_addresses(tx: Transaction, before_ts: int) -> None:
    """Forget from where devices were used that were last used before `before_ts`."""
    tx.execute(
        "UPDATE device_last_seen SET ip = NULL, user_agent = NULL WHERE ts < ? AND ip IS NOT NULL", (before_ts,)
    )


def expire(tx: Transaction) -> None:
    """Forget the uses of devices that are gone: one may be noted just after the device was deleted."""
    tx.execute(
        "DELETE FROM device_last_seen WHERE NOT EXISTS"
        " (SELECT 1 FROM devices WHERE devices.device_nid = device_last_seen.device_nid)"
    )
