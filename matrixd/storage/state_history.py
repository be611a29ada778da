"""What some places of a room's state have held along its timeline."""

from collections.abc import Collection
from dataclasses import dataclass

from matrixd.storage.stored_event import StoredEvent, select_with
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Held:
    """An event that held a place after the positions `valid_from` to `valid_to` - 1; `valid_to` None: it still does."""

    valid_from: int
    valid_to: int | None
    stored: StoredEvent

    def is_at(self, pos: int) -> bool:
        """Whether it held the place after a position."""
        return self.valid_from <= pos and (self.valid_to is None or self.valid_to > pos)


def of_keys(tx: Transaction, room_nid: int, key_nids: Collection[int]) -> dict[int, list[Held]]:
    """All that ever held some places, by the number of the key, oldest first."""
    if not key_nids:
        return {}
    condition, parameter = tx.among("s.key_nid", sorted(key_nids))
    rows = select_with(
        tx,
        "s.key_nid, s.valid_from, s.valid_to",
        "JOIN room_state s ON s.event_nid = e.event_nid",
        f"s.room_nid = ? AND {condition} ORDER BY s.valid_from",
        (room_nid, parameter),
    )
    found: dict[int, list[Held]] = {}
    for (key_nid, valid_from, valid_to), stored in rows:
        found.setdefault(key_nid, []).append(Held(valid_from, valid_to, stored))
    return found


def member_keys(tx: Transaction, room_nid: int, server_name: str) -> dict[int, str]:
    """The users of a server that the room's timeline ever had a membership of: number of the key -> user ID."""
    # No server name has a wildcard of LIKE in it; that LIKE may ignore case is undone below.
    rows = tx.all(
        "SELECT key_nid, state_key FROM state_keys WHERE type = 'm.room.member' AND state_key LIKE ?"
        " AND key_nid IN (SELECT key_nid FROM room_state WHERE room_nid = ?)",
        (f"@%:{server_name}", room_nid),
    )
    return {key_nid: user_id for key_nid, user_id in rows if user_id.partition(":")[2] == server_name}
