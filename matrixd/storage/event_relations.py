"""Which event refers to which."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from matrixd.storage.stored_event import StoredEvent, select_with
from matrixd.storage.transaction import Transaction

#: How many levels of relations are followed where a client asks for indirect ones.
#: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid, `recurse`
MAX_LEVELS = 3

_NOT_IGNORED = " AND r.sender_nid NOT IN (SELECT user_nid FROM users WHERE {})"


@dataclass(frozen=True, slots=True)
class Relation:
    """An event's m.relates_to."""

    event_nid: int
    room_nid: int
    parent_id: str
    rel_type: str
    type: str
    sender_nid: int
    #: Whether it counts as unread for a member who has the default push rules.
    notifies: bool
    pos: int


def insert(tx: Transaction, relations: Sequence[Relation]) -> None:
    """Store new relations."""
    tx.insert_many(
        "event_relations",
        ("event_nid", "room_nid", "parent_id", "rel_type", "type", "sender_nid", "notifies", "pos"),
        [
            (r.event_nid, r.room_nid, r.parent_id, r.rel_type, r.type, r.sender_nid, int(r.notifies), r.pos)
            for r in relations
        ],
    )


def remove(tx: Transaction, event_nid: int) -> None:
    """Delete the relation of an event that was redacted."""
    tx.execute("DELETE FROM event_relations WHERE event_nid = ?", (event_nid,))


@dataclass(frozen=True, slots=True)
class Children:
    """The events that relate to one parent in one way."""

    count: int
    newest_pos: int
    #: Whether the reader sent one of them.
    by_reader: bool

    def __add__(self, other: "Children") -> "Children":
        return Children(
            self.count + other.count, max(self.newest_pos, other.newest_pos), self.by_reader or other.by_reader
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """Which relations count for a reader: from position `first` to `last`, and not by those whom they ignore."""

    reader_nid: int
    #: User IDs.
    ignored: frozenset[str]
    first: int
    last: int

    def condition(self, tx: Transaction) -> tuple[str, list[object]]:
        """A condition on `r` (event_relations), and its parameters."""
        if not self.ignored:
            return "r.pos BETWEEN ? AND ?", [self.first, self.last]
        ignored, parameter = tx.among("user_id", sorted(self.ignored))
        return "r.pos BETWEEN ? AND ?" + _NOT_IGNORED.format(ignored), [self.first, self.last, parameter]


def children(
    tx: Transaction, scope: Scope, parents: Mapping[str, int], rel_types: Collection[str]
) -> dict[tuple[str, str], Children]:
    """What relates to some events in some ways: (parent's event ID, rel_type) -> children. Reads an index alone.

    `parents`: event ID -> number of its room; what refers to it from another room does not count.
    """
    among, parent_parameter = tx.among("r.parent_id", list(parents))
    types, type_parameter = tx.among("r.rel_type", list(rel_types))
    condition, params = scope.condition(tx)
    rows = tx.all(
        "SELECT r.parent_id, r.rel_type, r.room_nid, COUNT(*), MAX(r.pos),"
        " MAX(CASE WHEN r.sender_nid = ? THEN 1 ELSE 0 END)"
        f" FROM event_relations r WHERE {among} AND {types} AND {condition}"
        " GROUP BY r.parent_id, r.rel_type, r.room_nid",
        (scope.reader_nid, parent_parameter, type_parameter, *params),
    )
    return {(row[0], row[1]): Children(row[3], row[4], bool(row[5])) for row in rows if row[2] == parents[row[0]]}


def newest_edits(
    tx: Transaction, scope: Scope, parent_ids: Collection[str], each: int
) -> list[tuple[str, StoredEvent]]:
    """The newest edits of each of some events by its own sender: (parent's event ID, edit), at most `each` of a parent.

    Newest by the largest `origin_server_ts`, then the largest event ID (client-server API, "Server-side aggregation of
    m.replace relationships").
    """
    among, parameter = tx.among("r.parent_id", list(parent_ids))
    condition, params = scope.condition(tx)
    found = select_with(
        tx,
        "n.parent_id",
        "JOIN (SELECT c.event_nid, r.parent_id, ROW_NUMBER() OVER (PARTITION BY r.parent_id"
        " ORDER BY c.origin_server_ts DESC, c.event_id DESC) AS place FROM event_relations r"
        " JOIN events c ON c.event_nid = r.event_nid JOIN events p ON p.event_id = r.parent_id"
        f" WHERE {among} AND r.rel_type = 'm.replace' AND {condition} AND c.room_nid = p.room_nid"
        " AND c.sender_nid = p.sender_nid AND c.type = p.type AND c.key_nid IS NULL AND c.verdict IS NULL) n"
        " ON n.event_nid = e.event_nid",
        "n.place <= ?",
        (parameter, *params, each),
    )
    return [(parent_id, stored) for (parent_id,), stored in found]


def references(tx: Transaction, scope: Scope, parent_ids: Collection[str], each: int) -> list[tuple[str, str]]:
    """The first `each` events that reference each of some events: (parent's event ID, event ID), oldest first."""
    among, parameter = tx.among("r.parent_id", list(parent_ids))
    condition, params = scope.condition(tx)
    rows = tx.all(
        "SELECT n.parent_id, n.event_id FROM (SELECT r.parent_id, c.event_id, r.pos,"
        " ROW_NUMBER() OVER (PARTITION BY r.parent_id ORDER BY r.pos) AS place FROM event_relations r"
        " JOIN events c ON c.event_nid = r.event_nid JOIN events p ON p.event_id = r.parent_id"
        f" WHERE {among} AND r.rel_type = 'm.reference' AND {condition} AND c.room_nid = p.room_nid"
        " AND c.verdict IS NULL) n WHERE n.place <= ? ORDER BY n.pos",
        (parameter, *params, each),
    )
    return [(row[0], row[1]) for row in rows]


@dataclass(frozen=True, slots=True)
class ChildrenPage:
    """Which children of an event to read.

    Backwards from position `start` (included) to `end` (excluded); forwards from `start` (excluded) to `end`
    (included).
    """

    room_nid: int
    parent_id: str
    #: None: of every type.
    rel_type: str | None
    event_type: str | None
    #: Whether to follow relations for MAX_LEVELS levels.
    recurse: bool
    backwards: bool
    start: int
    end: int
    limit: int


_DIRECT = "JOIN event_relations n ON n.event_nid = e.event_nid"
_INDIRECT = (
    "JOIN (WITH RECURSIVE descendants (event_nid, event_id, rel_type, type, pos, level) AS ("
    "SELECT c.event_nid, c.event_id, r.rel_type, r.type, r.pos, 1 FROM event_relations r"
    " JOIN events c ON c.event_nid = r.event_nid WHERE r.parent_id = ? AND r.room_nid = ? UNION ALL"
    " SELECT c.event_nid, c.event_id, r.rel_type, r.type, r.pos, d.level + 1 FROM descendants d"
    " JOIN event_relations r ON r.parent_id = d.event_id AND r.room_nid = ? JOIN events c ON c.event_nid = r.event_nid"
    f" WHERE d.level < {MAX_LEVELS}) SELECT * FROM descendants) n ON n.event_nid = e.event_nid"
)


def page(tx: Transaction, wanted: ChildrenPage) -> list[StoredEvent]:
    """The accepted events that relate to one event, by position."""
    comparisons, order = (("<=", ">"), "DESC") if wanted.backwards else ((">", "<="), "ASC")
    condition = f"n.pos {comparisons[0]} ? AND n.pos {comparisons[1]} ? AND e.verdict IS NULL"
    params: list[object] = [wanted.start, wanted.end]
    for column, value in (("n.rel_type", wanted.rel_type), ("n.type", wanted.event_type)):
        if value is not None:
            condition += f" AND {column} = ?"
            params.append(value)
    if wanted.recurse:
        joins, params = _INDIRECT, [wanted.parent_id, wanted.room_nid, wanted.room_nid, *params]
    else:
        joins, condition = _DIRECT, f"n.parent_id = ? AND n.room_nid = ? AND {condition}"
        params = [wanted.parent_id, wanted.room_nid, *params]
    found = select_with(tx, "n.pos", joins, f"{condition} ORDER BY n.pos {order} LIMIT ?", [*params, wanted.limit])
    return [stored for _, stored in found]


def threads(
    tx: Transaction, scope: Scope, room_nid: int, before: int, limit: int, *, only_own: bool
) -> list[tuple[str, int]]:
    """A room's threads, the one with the newest event first: (root's event ID, position of that event < `before`).

    `only_own`: those that the reader began or took part in.
    """
    condition, params = scope.condition(tx)
    having, own = "", []
    if only_own:
        having = (
            " AND (MAX(CASE WHEN r.sender_nid = ? THEN 1 ELSE 0 END) = 1"
            " OR EXISTS (SELECT 1 FROM events p WHERE p.event_id = r.parent_id AND p.sender_nid = ?))"
        )
        own = [scope.reader_nid, scope.reader_nid]
    rows = tx.all(
        "SELECT r.parent_id, MAX(r.pos) FROM event_relations r"
        f" WHERE r.room_nid = ? AND r.rel_type = 'm.thread' AND {condition}"
        f" GROUP BY r.parent_id HAVING MAX(r.pos) < ?{having} ORDER BY MAX(r.pos) DESC LIMIT ?",
        (room_nid, *params, before, *own, limit),
    )
    return [(row[0], row[1]) for row in rows]
