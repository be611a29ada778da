"""Messages that wait for devices of local users.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matrixd.storage.rows import ToDeviceDeleted, ToDeviceRow
from matrixd.storage.transaction import Transaction

_COUNTER = "to_device"


@dataclass(frozen=True, slots=True)
class Message:
    """A message to one device. `origin`: the sender's server, '' for this one."""

    user_nid: int
    device_nid: int
    origin: str
    #: As a client gets it.
    json: str


@dataclass(frozen=True, slots=True)
class Load:
    """How much waits: messages, and the characters of their JSON."""

    messages: int = 0
    size: int = 0

    def with_one(self, size: int) -> "Load":
        """The load with one message more."""
        return Load(self.messages + 1, self.size + size)


def devices(tx: Transaction, user_ids: Collection[str]) -> dict[str, dict[str, tuple[int, int]]]:
    """The devices of local users: user ID -> device ID -> (user's number, device's number)."""
    if not user_ids:
        return {}
    condition, parameter = tx.among("u.user_id", list(user_ids))
    found: dict[str, dict[str, tuple[int, int]]] = {}
    rows = tx.all(
        "SELECT u.user_id, d.device_id, d.user_nid, d.device_nid FROM users u JOIN devices d ON d.user_nid = u.user_nid"
        f" WHERE {condition} ORDER BY d.device_nid",
        (parameter,),
    )
    for user_id, device_id, user_nid, device_nid in rows:
        found.setdefault(user_id, {})[device_id] = (user_nid, device_nid)
    return found


def loads(tx: Transaction, device_nids: Collection[int]) -> dict[tuple[int, str], Load]:
    """How much waits for some devices: (device, origin) -> load."""
    if not device_nids:
        return {}
    condition, parameter = tx.among("device_nid", list(device_nids))
    rows = tx.all(f"SELECT device_nid, origin, messages, size FROM to_device_load WHERE {condition}", (parameter,))
    return {(device_nid, origin): Load(messages, size) for device_nid, origin, messages, size in rows}


def insert(tx: Transaction, messages: Sequence[Message]) -> None:
    """Add messages in their order, and announce them."""
    if not messages:
        return
    first = tx.next_id(_COUNTER, len(messages))
    rows = [(m.device_nid, first + n, m.origin, m.json) for n, m in enumerate(messages)]
    tx.insert_many("to_device_inbox", ("device_nid", "pos", "origin", "json"), rows)
    added: dict[tuple[int, str], Load] = {}
    for n, message in enumerate(messages):
        key = message.device_nid, message.origin
        added[key] = added.get(key, Load()).with_one(len(message.json))
        tx.announce(ToDeviceRow(first + n, message.user_nid, message.device_nid))
    tx.insert_many(
        "to_device_load",
        ("device_nid", "origin", "messages", "size"),
        [(*key, load.messages, load.size) for key, load in added.items()],
        "ON CONFLICT (device_nid, origin) DO UPDATE SET messages = to_device_load.messages + excluded.messages,"
        " size = to_device_load.size + excluded.size",
    )


def waiting(tx: Transaction, device_nid: int, after: int, up_to: int, limit: int) -> list[tuple[int, str]]:
    """Position and JSON of the oldest messages in `after` < position <= `up_to`."""
    return [
        (row[0], row[1])
        for row in tx.all(
            "SELECT pos, json FROM to_device_inbox WHERE device_nid = ? AND pos > ? AND pos <= ? ORDER BY pos LIMIT ?",
            (device_nid, after, up_to, limit),
        )
    ]


def newest(tx: Transaction, device_nid: int) -> int:
    """The position of the newest message that waits for a device; 0: none does."""
    row = tx.one("SELECT max(pos) FROM to_device_inbox WHERE device_nid = ?", (device_nid,))
    return 0 if row is None or row[0] is None else int(row[0])


def delete_up_to(tx: Transaction, device_nid: int, pos: int) -> None:
    """Delete what a device has got, and announce that."""
    delivered = tx.all(
        "SELECT origin, count(*), sum(length(json)) FROM to_device_inbox WHERE device_nid = ? AND pos <= ?"
        " GROUP BY origin",
        (device_nid, pos),
    )
    for origin, messages, size in delivered:
        tx.execute(
            "UPDATE to_device_load SET messages = messages - ?, size = size - ? WHERE device_nid = ? AND origin = ?",
            (messages, int(size), device_nid, origin),
        )
    if delivered:
        tx.execute("DELETE FROM to_device_load WHERE device_nid = ? AND messages <= 0", (device_nid,))
        tx.execute("DELETE FROM to_device_inbox WHERE device_nid = ? AND pos <= ?", (device_nid, pos))
    tx.announce(ToDeviceDeleted(device_nid, pos))


def delete_of_devices(tx: Transaction, user_nid: int, device_nids: Sequence[int]) -> None:
    """Delete what waits for devices of a user that are no more."""
    condition, parameter = tx.among("device_nid", list(device_nids))
    tx.execute(f"DELETE FROM to_device_inbox WHERE {condition}", (parameter,))
    tx.execute(f"DELETE FROM to_device_load WHERE {condition}", (parameter,))


def note_received(tx: Transaction, origin: str, message_id: str, now_ms: int) -> bool:
    """Note that a message has come from another server; False if it had come before."""
    touched = tx.execute(
        "INSERT INTO to_device_received (origin, message_id, received_ts) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (origin, message_id, now_ms),
    )
    return touched > 0


def expire_received(tx: Transaction, before_ts: int) -> None:
    """Forget which messages came before a moment (milliseconds)."""
    tx.execute("DELETE FROM to_device_received WHERE received_ts < ?", (before_ts,))
