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


def member_keys(tx: Transaction, room_nid: int, server_name: str) -> set[int]:
    """The numbers of the member keys, of a server's users, that the room's timeline ever held."""
    return _of_server(tx, server_name, "key_nid IN (SELECT key_nid FROM room_state WHERE room_nid = ?)", room_nid)


def member_keys_in_sets(tx: Transaction, state_nids: Collection[int], server_name: str) -> set[int]:
    """The same of what some state sets have in another way than the timeline."""
    if not state_nids:
        return set()
    condition, parameter = tx.among("state_nid", sorted(state_nids))
    entries = f"key_nid IN (SELECT key_nid FROM state_set_entries WHERE {condition})"
    return _of_server(tx, server_name, entries, parameter)


def _of_server(tx: Transaction, server_name: str, condition: str, parameter: object) -> set[int]:
    # No server name has a wildcard of LIKE in it; that LIKE may ignore case is undone below.
    rows = tx.all(
        f"SELECT key_nid, state_key FROM state_keys WHERE type = 'm.room.member' AND state_key LIKE ? AND {condition}",
        (f"@%:{server_name}", parameter),
    )
    return {key_nid for key_nid, user_id in rows if user_id.partition(":")[2] == server_name}
