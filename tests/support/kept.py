"""Makes rooms, events and memberships straight in the database, for tests of what users keep."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.queries.feed import Feed
from matrixd.storage import event_relations, push_deltas, read_marks, room_members, room_servers, rooms, users
from matrixd.storage.rows import EventRow, MembershipChange
from matrixd.storage.transaction import Transaction
from tests.support.database import OpenDatabase

T = TypeVar("T")
SERVER = "example.org"


class FakeClock:
    """A clock that stands until it is moved."""

    def __init__(self, now_ms: int = 1_000_000_000) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


@dataclass
class Kept:
    """A database with a feed. What commits announce reaches the feed with `flush`, which every call does by itself
    unless `holds` is set."""

    db: OpenDatabase
    feed: Feed = field(default_factory=lambda: Feed({}))
    holds: bool = False
    _given: int = 0

    def write(self, function: Any, *args: Any) -> Any:
        """Run a store function in a commit."""
        result = self.db.write(function, *args)
        if not self.holds:
            self.flush()
        return result

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that awaits the database."""
        result = self.db.wait(Deferred.fromCoroutine(coroutine))
        if not self.holds:
            self.flush()
        return result

    def flush(self) -> None:
        """Hand to the feed what was announced."""
        rows, self._given = self.db.announced[self._given :], len(self.db.announced)
        if rows:
            self.feed.append(rows)

    def user(self, name: str) -> tuple[int, str]:
        """The number and the ID of a user with an account."""
        user_id = f"@{name}:{SERVER}"
        return self.write(_user, user_id), user_id

    def room(self, name: str) -> int:
        """The number of a new room, `!name`."""
        number: int = self.write(rooms.create, f"!{name}", "12")
        return number

    def join(self, room_nid: int, user_nid: int, user_id: str, membership: str = "join") -> EventRow:
        """Change a membership; of a user of another server, too."""
        before = self.db.read(_membership, room_nid, user_nid)
        member = MembershipChange(user_id, user_nid, membership, before, user_id.endswith(f":{SERVER}"))
        return self.event(room_nid, user_nid, user_id, notifies=False, member=member)

    def event(
        self,
        room_nid: int,
        user_nid: int,
        user_id: str,
        *,
        notifies: bool = True,
        thread_id: str | None = None,
        deltas: tuple[tuple[int, int, int], ...] = (),
        member: MembershipChange | None = None,
        event_type: str = "m.room.message",
        device_nid: int | None = None,
    ) -> EventRow:
        """Store an event as the persister does."""
        row: EventRow = self.write(
            _event, room_nid, user_nid, user_id, notifies, thread_id, deltas, member, event_type, device_nid
        )
        return row


def _user(tx: Transaction, user_id: str) -> int:
    number = users.nids(tx, [user_id])[user_id]
    tx.execute(
        "INSERT INTO accounts (user_nid, folded_id, kind, created_ts) VALUES (?, ?, 'user', 0)", (number, user_id)
    )
    return number


def _membership(tx: Transaction, room_nid: int, user_nid: int) -> str:
    member = room_members.one(tx, room_nid, user_nid)
    return "leave" if member is None else member.membership


def _event(
    tx: Transaction, room_nid: int, user_nid: int, user_id: str, notifies: bool, thread_id: str | None,
    deltas: tuple[tuple[int, int, int], ...], member: MembershipChange | None, event_type: str,
    device_nid: int | None,
) -> EventRow:  # fmt: skip
    room = rooms.by_nids(tx, [room_nid])[room_nid]
    pos, nid = tx.next_id("events"), tx.next_id("event_nids")
    event_id = f"$e{pos}"
    unread = room.unread + (notifies and thread_id is None)
    pdu = {"type": event_type, "sender": user_id, "room_id": room.room_id, "content": {}, "depth": pos,
           "origin_server_ts": pos, "prev_events": [], "auth_events": []}  # fmt: skip
    event = Event.from_stored(ROOM_VERSIONS["12"], pdu, event_id)
    tx.execute(
        "INSERT INTO events (event_nid, event_id, room_nid, pos, depth, type, sender_nid, origin_server_ts, unread,"
        " json) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '{}')",
        (nid, event_id, room_nid, pos, pos, event_type, user_nid, pos, unread),
    )
    tx.execute("UPDATE rooms SET last_pos = ?, unread = ? WHERE room_nid = ?", (pos, unread, room_nid))
    if thread_id is not None:
        relation = event_relations.Relation(nid, room_nid, thread_id, "m.thread", event_type, user_nid, notifies, pos)
        event_relations.insert(tx, [relation])
    push_deltas.insert(
        tx, [push_deltas.PushDelta(user, room_nid, pos, thread_id or "", notify, high) for user, notify, high in deltas]
    )
    if member is not None:
        new = room_members.Member(member.user_nid, room_nid, member.membership, nid, pos, user_nid, member.is_local)
        room_members.set_many(tx, [new])
        joins = (member.membership == "join") - (member.before == "join")
        tx.execute("UPDATE rooms SET joined_count = joined_count + ? WHERE room_nid = ?", (joins, room_nid))
        if not member.is_local:
            room_servers.change(tx, {(room_nid, member.user_id.partition(":")[2]): joins})
        if member.before == "join" and member.membership != "join":
            push_deltas.remove_member(tx, room_nid, member.user_nid)
            read_marks.remove_member(tx, room_nid, member.user_nid)
    change = None if member is None else (member.before, member.membership)
    read = read_marks.thread_read_by_sending(thread_id, change)
    if read is not None:
        read_marks.advance(tx, [read_marks.ReadMark(user_nid, room_nid, read, pos, unread)])
    row = EventRow(
        pos=pos, event_nid=nid, room_nid=room_nid, event=event, sender_nid=user_nid, unread=unread, notifies=notifies,
        replaces=None, member=member, device_nid=device_nid, txn_id=None, thread_id=thread_id, push_deltas=deltas,
        redacted=None, joined_count=1, invited_count=0,
    )  # fmt: skip
    tx.announce(row)
    return row
