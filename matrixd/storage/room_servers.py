"""The other servers that have joined members in a room."""

from collections.abc import Collection, Mapping

from matrixd.storage.transaction import Transaction


def change(tx: Transaction, changes: Mapping[tuple[int, str], int]) -> None:
    """Add to, or take from, the numbers of joined members: (room, server) -> difference."""
    moved = [(room_nid, server, by) for (room_nid, server), by in changes.items() if by]
    if not moved:
        return
    tx.insert_many(
        "room_servers",
        ("room_nid", "server_name", "members"),
        moved,
        "ON CONFLICT (room_nid, server_name) DO UPDATE SET members = room_servers.members + excluded.members",
    )
    rooms = {room_nid for room_nid, _, by in moved if by < 0}
    if rooms:
        condition, parameter = tx.among("room_nid", sorted(rooms))
        tx.execute(f"DELETE FROM room_servers WHERE {condition} AND members <= 0", (parameter,))


def of_room(tx: Transaction, room_nid: int) -> dict[str, int]:
    """The other servers in a room with the numbers of their joined members."""
    return dict(tx.all("SELECT server_name, members FROM room_servers WHERE room_nid = ?", (room_nid,)))


def of_rooms(tx: Transaction, room_nids: Collection[int]) -> dict[int, dict[str, int]]:
    """The same for several rooms, by room."""
    condition, parameter = tx.among("room_nid", list(room_nids))
    found: dict[int, dict[str, int]] = {}
    rows = tx.all(f"SELECT room_nid, server_name, members FROM room_servers WHERE {condition}", (parameter,))
    for room_nid, server_name, members in rows:
        found.setdefault(room_nid, {})[server_name] = members
    return found


def rooms_of(tx: Transaction, server_name: str) -> list[int]:
    """The rooms that a server has joined members in."""
    return [row[0] for row in tx.all("SELECT room_nid FROM room_servers WHERE server_name = ?", (server_name,))]


def in_room(tx: Transaction, room_nid: int, server_name: str) -> bool:
    """Whether a server has joined members in a room."""
    row = tx.one("SELECT 1 FROM room_servers WHERE room_nid = ? AND server_name = ?", (room_nid, server_name))
    return row is not None


def replace(tx: Transaction, room_nid: int, servers: Mapping[str, int]) -> None:
    """Set the other servers in a room with the numbers of their joined members."""
    tx.execute("DELETE FROM room_servers WHERE room_nid = ?", (room_nid,))
    tx.insert_many(
        "room_servers",
        ("room_nid", "server_name", "members"),
        [(room_nid, server_name, members) for server_name, members in servers.items()],
    )
