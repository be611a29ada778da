"""Presence of users of other servers, as those tell it. Kept in memory only.

https://spec.matrix.org/v1.19/server-server-api/#presence
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.core.streams import Stream
from matrixd.queries.feed import Feed
from matrixd.storage import shared_rooms, users
from matrixd.storage.database import Database
from matrixd.storage.rows import PresenceRow
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock
from matrixd.util.timer import Alarm, Timer

#: Rooms with more members make nobody's presence known across servers: it would be told to too many.
MAX_MEMBERS = 500
#: How long a user counts as there, in seconds, if the server does not say it again: servers do so before half an hour.
TIMEOUT_S = 30 * 60.0
#: Users who are remembered; beyond it the one of whom nothing was heard for the longest time goes.
MAX_USERS = 10_000


@dataclass(frozen=True, slots=True)
class RemoteUpdate:
    """What a server says of its user."""

    user_id: str
    #: 'online', 'offline' or 'unavailable'
    state: str
    status_msg: str | None
    #: Milliseconds; None: unknown.
    last_active_ago: int | None
    currently_active: bool


class RemotePresence:
    """Remembers, and announces, what other servers say; of a user who shares no room with one of ours, nothing."""

    def __init__(self, database: Database, feed: Feed, clock: Clock, timer: Timer) -> None:
        self._database = database
        self._feed = feed
        self._clock = clock
        self._timer = timer
        #: User's number -> what was announced last, and when it is over; the one that was heard of last is at the end.
        self._users: dict[int, tuple[PresenceRow, float]] = {}
        self._alarm = Alarm(timer, self._expire)

    def find(self, user_nid: int) -> PresenceRow | None:
        """What is known of a user of another server."""
        known = self._users.get(user_nid)
        return None if known is None else known[0]

    async def receive(self, updates: Sequence[RemoteUpdate]) -> None:
        """Take what a server says; of each user at most one update."""
        seen = await self._database.read(_seen, [update.user_id for update in updates])
        now_ms = self._clock.now_ms()
        rows = []
        for update in updates:
            user_nid, room_nids = seen.get(update.user_id, (0, ()))
            if room_nids:
                since = 0 if update.last_active_ago is None else max(0, now_ms - update.last_active_ago)
                rows.append(
                    PresenceRow(
                        0, update.user_id, user_nid, update.state, update.status_msg, since,
                        update.currently_active and update.state == "online", room_nids,
                    )
                )  # fmt: skip
        self._take(rows)

    def _take(self, rows: Sequence[PresenceRow]) -> None:
        until = self._timer.seconds() + TIMEOUT_S
        changed = []
        for row in rows:
            known = self._users.pop(row.user_nid, None)
            self._users[row.user_nid] = row, until
            if known is None or _shown(known[0]) != _shown(row):
                changed.append(row)
        while len(self._users) > MAX_USERS:
            changed += self._drop_oldest()
        if self._users:
            self._alarm.set(next(iter(self._users.values()))[1])
        self._announce(changed)

    def _expire(self) -> None:
        now = self._timer.seconds()
        gone: list[PresenceRow] = []
        while self._users and next(iter(self._users.values()))[1] <= now:
            gone += self._drop_oldest()
        if self._users:
            self._alarm.set(next(iter(self._users.values()))[1])
        self._announce(gone)

    def _drop_oldest(self) -> list[PresenceRow]:
        row, _ = self._users.pop(next(iter(self._users)))
        return [] if row.state == "offline" else [_offline(row)]

    def _announce(self, rows: Sequence[PresenceRow]) -> None:
        if rows:
            first = self._feed.next_position(Stream.PRESENCE)
            self._feed.append([_at(first + number, row) for number, row in enumerate(rows)])


def _shown(row: PresenceRow) -> tuple[object, ...]:
    return row.state, row.status_msg, row.currently_active, row.room_nids


def _at(pos: int, row: PresenceRow) -> PresenceRow:
    return PresenceRow(
        pos, row.user_id, row.user_nid, row.state, row.status_msg, row.last_active_ts, row.currently_active,
        row.room_nids,
    )  # fmt: skip


def _offline(row: PresenceRow) -> PresenceRow:
    return PresenceRow(
        0, row.user_id, row.user_nid, "offline", row.status_msg, row.last_active_ts, False, row.room_nids
    )


def _seen(tx: Transaction, user_ids: Sequence[str]) -> dict[str, tuple[int, tuple[int, ...]]]:
    """The users whom somebody here may see: user ID -> number, and rooms that they share with users of ours."""
    numbers = users.find_many(tx, user_ids)
    shared = shared_rooms.with_remote(tx, numbers.values(), MAX_MEMBERS)
    return {user_id: (nid, tuple(sorted(shared[nid]))) for user_id, nid in numbers.items() if nid in shared}
