"""The newest membership of each user in each room: the per-user index that sync reads."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Member:
    """A user's membership of a room."""

    user_nid: int
    room_nid: int
    membership: str
    event_nid: int
    #: Position of the m.room.member event.
    pos: int
    sender_nid: int
    is_local: bool
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class JoinedGuest:
    """A guest of this server in a room."""

    user_nid: int
    room_nid: int
    user_id: str
    room_id: str


_COLUMNS = "user_nid, room_nid, membership, event_nid, pos, sender_nid, is_local, forgotten"


def _member(row: tuple[object, ...]) -> Member:
    user, room, membership, event, pos, sender, is_local, forgotten = row
    return Member(user, room, membership, event, pos, sender, bool(is_local), bool(forgotten))  # type: ignore[arg-type]


def set_many(tx: Transaction, members: Sequence[Member]) -> None:
    """Note new memberships; a later one of the same user and room wins. A new membership is not forgotten."""
    newest = {(member.room_nid, member.user_nid): member for member in members}
    tx.insert_many(
        "room_members",
        ("user_nid", "room_nid", "membership", "event_nid", "pos", "sender_nid", "is_local", "forgotten"),
        [
            (m.user_nid, m.room_nid, m.membership, m.event_nid, m.pos, m.sender_nid, int(m.is_local), 0)
            for m in newest.values()
        ],
        "ON CONFLICT (room_nid, user_nid) DO UPDATE SET membership = excluded.membership,"
        " event_nid = excluded.event_nid, pos = excluded.pos, sender_nid = excluded.sender_nid, forgotten = 0",
    )


def of_user(tx: Transaction, user_nid: int) -> list[Member]:
    """Every room that a local user has or had a membership of."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM room_members WHERE user_nid = ? AND is_local = 1", (user_nid,))
    return [_member(row) for row in rows]


def of_room(tx: Transaction, room_nid: int, memberships: Collection[str]) -> list[Member]:
    """The members of a room with one of the memberships."""
    condition, parameter = tx.among("membership", list(memberships))
    rows = tx.all(f"SELECT {_COLUMNS} FROM room_members WHERE room_nid = ? AND {condition}", (room_nid, parameter))
    return [_member(row) for row in rows]


def one(tx: Transaction, room_nid: int, user_nid: int) -> Member | None:
    """A user's membership of a room."""
    row = tx.one(f"SELECT {_COLUMNS} FROM room_members WHERE room_nid = ? AND user_nid = ?", (room_nid, user_nid))
    return None if row is None else _member(row)


def of_user_in(tx: Transaction, user_nid: int, room_nids: Collection[int]) -> dict[int, Member]:
    """A user's membership of each of some rooms, by room."""
    condition, parameter = tx.among("room_nid", list(room_nids))
    rows = tx.all(f"SELECT {_COLUMNS} FROM room_members WHERE {condition} AND user_nid = ?", (parameter, user_nid))
    return {member.room_nid: member for member in map(_member, rows)}


def local_joined(tx: Transaction, room_nid: int) -> list[tuple[int, str]]:
    """The joined users of this server: (number, user ID)."""
    return [
        (row[0], row[1])
        for row in tx.all(
            "SELECT m.user_nid, u.user_id FROM room_members m JOIN users u ON u.user_nid = m.user_nid"
            " WHERE m.room_nid = ? AND m.is_local = 1 AND m.membership = 'join'",
            (room_nid,),
        )
    ]


def joined(tx: Transaction, room_nids: Collection[int]) -> dict[int, str]:
    """The users of any server who are joined to one of the rooms: number -> user ID."""
    condition, parameter = tx.among("m.room_nid", list(room_nids))
    return dict(
        tx.all(
            "SELECT m.user_nid, u.user_id FROM room_members m JOIN users u ON u.user_nid = m.user_nid"
            f" WHERE {condition} AND m.membership = 'join'",
            (parameter,),
        )
    )


def forget(tx: Transaction, room_nid: int, user_nid: int) -> None:
    """Note that the user wants to see nothing more of the room."""
    tx.execute("UPDATE room_members SET forgotten = 1 WHERE room_nid = ? AND user_nid = ?", (room_nid, user_nid))


def share_a_room(tx: Transaction, user_nid: int, other_nid: int) -> bool:
    """Whether two users are joined to the same room."""
    row = tx.one(
        "SELECT 1 FROM room_members a JOIN room_members b ON b.room_nid = a.room_nid AND b.user_nid = ?"
        " WHERE a.user_nid = ? AND a.is_local = 1 AND a.membership = 'join' AND b.membership = 'join' LIMIT 1",
        (other_nid, user_nid),
    )
    return row is not None


def first(
    tx: Transaction, room_nid: int, except_nid: int, memberships: Collection[str], limit: int
) -> list[str]:
    """The user IDs of the members of a room, but for one, whose membership is the oldest."""
    condition, parameter = tx.among("m.membership", list(memberships))
    return [
        row[0]
        for row in tx.all(
            "SELECT u.user_id FROM room_members m JOIN users u ON u.user_nid = m.user_nid"
            f" WHERE m.room_nid = ? AND m.user_nid <> ? AND {condition} ORDER BY m.pos LIMIT ?",
            (room_nid, except_nid, parameter, limit),
        )
    ]


def local_guests(tx: Transaction, room_nid: int) -> list[str]:
    """The user IDs of the guests of this server who are joined to a room."""
    rows = tx.all(
        "SELECT u.user_id FROM room_members m JOIN accounts a ON a.user_nid = m.user_nid"
        " JOIN users u ON u.user_nid = m.user_nid"
        " WHERE m.room_nid = ? AND m.is_local = 1 AND m.membership = 'join' AND a.kind = 'guest'",
        (room_nid,),
    )
    return [row[0] for row in rows]


def joined_guests(tx: Transaction, after: tuple[int, int], limit: int) -> list[JoinedGuest]:
    """The guests of this server in all rooms, ordered by the numbers of user and room; those after a pair of these."""
    rows = tx.all(
        "SELECT m.user_nid, m.room_nid, u.user_id, r.room_id FROM accounts a"
        " JOIN room_members m ON m.user_nid = a.user_nid AND m.is_local = 1"
        " JOIN users u ON u.user_nid = m.user_nid JOIN rooms r ON r.room_nid = m.room_nid"
        " WHERE a.kind = 'guest' AND m.membership = 'join' AND (m.user_nid, m.room_nid) > (?, ?)"
        " ORDER BY m.user_nid, m.room_nid LIMIT ?",
        (*after, limit),
    )
    return [JoinedGuest(*row) for row in rows]


def joined_room_ids(tx: Transaction, user_nid: int) -> list[str]:
    """The IDs of the rooms that a local user is joined to."""
    rows = tx.all(
        "SELECT r.room_id FROM room_members m JOIN rooms r ON r.room_nid = m.room_nid"
        " WHERE m.user_nid = ? AND m.is_local = 1 AND m.membership = 'join' ORDER BY m.room_nid",
        (user_nid,),
    )
    return [row[0] for row in rows]


def local_of_room(tx: Transaction, room_nid: int) -> list[Member]:
    """The users of this server who have, or had, a membership of a room."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM room_members WHERE room_nid = ? AND is_local = 1", (room_nid,))
    return [_member(row) for row in rows]


def remove_remote(tx: Transaction, room_nid: int) -> None:
    """Forget the memberships of all users of other servers."""
    tx.execute("DELETE FROM room_members WHERE room_nid = ? AND is_local = 0", (room_nid,))


def joined_ids(tx: Transaction, room_nid: int) -> list[str]:
    """The user IDs of all who have joined a room, of any server."""
    rows = tx.all(
        "SELECT u.user_id FROM room_members m JOIN users u ON u.user_nid = m.user_nid"
        " WHERE m.room_nid = ? AND m.membership = 'join'",
        (room_nid,),
    )
    return [row[0] for row in rows]


def count(tx: Transaction, room_nid: int, membership: str) -> int:
    """How many users of any server have a membership of a room."""
    row = tx.one("SELECT count(*) FROM room_members WHERE room_nid = ? AND membership = ?", (room_nid, membership))
    return 0 if row is None else int(row[0])
