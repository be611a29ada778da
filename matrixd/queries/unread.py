"""Unread counts: how many events of a room, and of each of its threads, a user has yet to read.

https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications

A room that is in use has a log of its newest events that notify by default; an event costs one entry, however many
members there are. A user's counts take over from the log when somebody asks for them, so an up-to-date answer reads no
database. What concerns one user alone (receipts, what the user sends, differences of push rules) is applied to that
user's counts when it comes by. Whatever cannot be told from memory is counted anew from the database.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.feed import Feed
from matrixd.storage import read_marks
from matrixd.storage.database import Database
from matrixd.storage.read_marks import MAIN, UNTHREADED
from matrixd.storage.rows import EventRow, ReceiptRow
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

#: Events of one room that are kept; who is further behind is counted from the database.
MAX_LOG = 512
#: How often a count is begun anew when what came by meanwhile cannot be applied to it.
_ATTEMPTS = 3
#: Rooms that are counted in one transaction.
_ROOMS_PER_READ = 100
_LOG_BYTES = 400
_ITEM_BYTES = 120
_COUNTS_BYTES = 500
_THREAD_BYTES = 250


@dataclass(frozen=True, slots=True)
class Counts:
    """Unread notifications and highlights of the main timeline, and of each thread that has some."""

    main: tuple[int, int] = (0, 0)
    #: Thread root -> (notifications, highlights).
    threads: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def total(self) -> tuple[int, int]:
        """The room with all its threads, for clients that do not know threads."""
        if not self.threads:
            return self.main
        return (
            self.main[0] + sum(notify for notify, _ in self.threads.values()),
            self.main[1] + sum(highlight for _, highlight in self.threads.values()),
        )


class _Log:
    """The newest events of a room that notify by default: (position, 'main' or thread root), oldest first."""

    __slots__ = ("begin", "items")

    def __init__(self, begin: int) -> None:
        #: Every such event after this position is in `items`.
        self.begin = begin
        self.items: list[tuple[int, str]] = []

    def add(self, pos: int, thread_id: str) -> None:
        self.items.append((pos, thread_id))
        if len(self.items) > MAX_LOG:
            # Half of it at once: to shift the list for each event would cost more.
            self.begin = self.items[MAX_LOG // 2][0]
            del self.items[: MAX_LOG // 2 + 1]

    def after(self, pos: int) -> dict[str, int]:
        """'main' or thread root -> number of events after a position."""
        found: dict[str, int] = {}
        for item_pos, thread_id in reversed(self.items):
            if item_pos <= pos:
                break
            found[thread_id] = found.get(thread_id, 0) + 1
        return found


class _Unread:
    """One user's counts of one room, up to and with the event position `up_to`."""

    __slots__ = ("_answer", "_has_deltas", "_newest", "by_thread", "counted_from_store", "log", "up_to")

    def __init__(self, log: _Log, begin: int, stored: read_marks.Unread) -> None:
        self.log = log
        #: The database was read when every event up to `begin` was in it.
        self.counted_from_store = self.up_to = max(begin, stored.up_to)
        #: 'main' or thread root -> [notifications, highlights].
        self.by_thread = {thread_id: list(pair) for thread_id, pair in stored.counts.items()}
        self._has_deltas = stored.has_deltas
        #: Nothing after this position is counted.
        self._newest = stored.up_to
        self._answer: Counts | None = None

    @property
    def is_usable(self) -> bool:
        """Whether the log still reaches back to where the counts end."""
        return self.up_to >= self.log.begin

    @property
    def size(self) -> int:
        return _COUNTS_BYTES + _THREAD_BYTES * len(self.by_thread)

    def counts(self) -> Counts:
        """What is unread as of now."""
        self._catch_up()
        if self._answer is None:
            self._answer = _counts({key: (max(0, n), max(0, h)) for key, (n, h) in self.by_thread.items()})
        return self._answer

    def take_delta(self, pos: int, thread_id: str, notify: int, highlight: int) -> None:
        """Count how an event differs for this user."""
        count = self.by_thread.setdefault(thread_id, [0, 0])
        count[0] += notify
        count[1] += highlight
        self._newest = max(self._newest, pos)
        self._has_deltas = True
        self._answer = None

    def read(self, pos: int, thread_id: str) -> bool:
        """Take out what was read; False if memory cannot tell what is left."""
        self._catch_up()
        if not self.by_thread:
            return True
        self._answer = None
        if pos >= self._newest:
            for key in [thread_id] if thread_id else list(self.by_thread):
                self.by_thread.pop(key, None)
        elif self._has_deltas or pos < self.log.begin:
            return False
        else:
            self._keep_after(pos, thread_id)
        self._drop_empty()
        return True

    def _catch_up(self) -> None:
        items = self.log.items
        if not items or items[-1][0] <= self.up_to:
            return
        for thread_id, number in self.log.after(self.up_to).items():
            self.by_thread.setdefault(thread_id, [0, 0])[0] += number
        self.up_to = items[-1][0]
        self._newest = max(self._newest, self.up_to)
        self._answer = None

    def _keep_after(self, pos: int, thread_id: str) -> None:
        left = self.log.after(pos)
        for key, count in self.by_thread.items():
            if thread_id in (UNTHREADED, key):
                # A mark that is further already leaves less than this receipt alone would.
                count[0] = min(count[0], left.get(key, 0))

    def _drop_empty(self) -> None:
        for key in [key for key, count in self.by_thread.items() if count == [0, 0]]:
            del self.by_thread[key]
        self._has_deltas = self._has_deltas and bool(self.by_thread)


def _counts(pairs: Mapping[str, tuple[int, int]]) -> Counts:
    threads = {key: pair for key, pair in pairs.items() if key != MAIN and pair != (0, 0)}
    return Counts(pairs.get(MAIN, (0, 0)), threads)


_CameBy = list[EventRow | ReceiptRow]


class UnreadCounts:
    """Answers with the unread counts of joined local users, from memory where it can."""

    def __init__(self, database: Database, feed: Feed, budget: CacheBudget) -> None:
        self._database = database
        self._feed = feed
        self._logs = budget.cache("unread_logs", int, _Log)
        self._users = budget.cache("unread_counts", tuple[int, int], _Unread)
        self._reads: SingleFlight[tuple[int, int], Counts] = SingleFlight()
        #: What comes by while a user is counted from the database: a list for each such read.
        self._came_by: dict[tuple[int, int], list[_CameBy]] = {}
        feed.subscribe(EventRow, self._on_event)
        feed.subscribe(ReceiptRow, self._on_receipt)

    def cached(self, user_nid: int, room_nid: int) -> Counts | None:
        """The counts as of now, if memory has them."""
        key = (user_nid, room_nid)
        unread = self._users.get(key)
        if unread is None:
            return None
        # The log is looked up so that it counts as used, and because one that was dropped is written no more.
        if self._logs.get(room_nid) is unread.log and unread.is_usable:
            return unread.counts()
        self._users.remove(key)
        return None

    async def counts(self, user_nid: int, room_nid: int, at: StreamToken | None = None) -> Counts:
        """The counts of a joined user as of now, which is never before `at`, a token that the feed has reached."""
        known = self.cached(user_nid, room_nid)
        if known is not None:
            return known
        return await self._reads.run((user_nid, room_nid), lambda: self._count(user_nid, room_nid))

    async def prefetch(self, user_nid: int, room_nids: Iterable[int]) -> None:
        """Have the counts of a user's rooms in memory, as far as it holds them, with few reads."""
        missing = [room_nid for room_nid in room_nids if self.cached(user_nid, room_nid) is None]
        for start in range(0, len(missing), _ROOMS_PER_READ):
            await self._read(user_nid, missing[start : start + _ROOMS_PER_READ])

    async def _count(self, user_nid: int, room_nid: int) -> Counts:
        stored = None
        for _ in range(_ATTEMPTS):
            stored = (await self._read(user_nid, [room_nid]))[room_nid]
            known = self.cached(user_nid, room_nid)
            if known is not None:
                return known
        assert stored is not None
        return _counts(stored.counts)

    async def _read(self, user_nid: int, room_nids: Sequence[int]) -> dict[int, read_marks.Unread]:
        """Count from the database, and keep those counts to which all can be applied that came by meanwhile."""
        logs = {room_nid: self._log(room_nid) for room_nid in room_nids}
        begins = {room_nid: log.begin for room_nid, log in logs.items()}
        came_by: dict[int, _CameBy] = {room_nid: [] for room_nid in room_nids}
        for room_nid, rows in came_by.items():
            self._came_by.setdefault((user_nid, room_nid), []).append(rows)
        try:
            stored = await self._database.read(read_marks.unread_in, user_nid, room_nids)
        finally:
            for room_nid, rows in came_by.items():
                self._stop_noting((user_nid, room_nid), rows)
        for room_nid, log in logs.items():
            unread = _Unread(log, begins[room_nid], stored[room_nid])
            is_kept = self._logs.get(room_nid) is log and unread.is_usable
            if is_kept and all(_apply(unread, user_nid, row) for row in came_by[room_nid]):
                self._users.put((user_nid, room_nid), unread, unread.size)
        return stored

    def _stop_noting(self, key: tuple[int, int], rows: _CameBy) -> None:
        others = [each for each in self._came_by[key] if each is not rows]
        if others:
            self._came_by[key] = others
        else:
            del self._came_by[key]

    def _log(self, room_nid: int) -> _Log:
        log = self._logs.get(room_nid)
        if log is None:
            log = _Log(self._feed.token[Stream.EVENTS])
            self._logs.put(room_nid, log, _LOG_BYTES)
        return log

    def _on_event(self, row: EventRow) -> None:
        log = self._logs.get(row.room_nid)
        if log is None:
            return
        if row.notifies:
            log.add(row.pos, row.thread_id or MAIN)
            self._logs.resize(row.room_nid, _LOG_BYTES + _ITEM_BYTES * len(log.items))
        concerned = {row.sender_nid, *(delta[0] for delta in row.push_deltas)}
        concerned.update(member.user_nid for member in row.members)
        for user_nid in concerned:
            self._take(user_nid, row)

    def _on_receipt(self, row: ReceiptRow) -> None:
        self._take(row.user_nid, row)

    def _take(self, user_nid: int, row: EventRow | ReceiptRow) -> None:
        key = (user_nid, row.room_nid)
        for came_by in self._came_by.get(key, ()):
            came_by.append(row)
        if key not in self._users:
            return
        unread = self._users.get(key)
        if unread is None or not unread.is_usable or not _apply(unread, user_nid, row):
            self._users.remove(key)
        else:
            self._users.resize(key, unread.size)


def _apply(unread: _Unread, user_nid: int, row: EventRow | ReceiptRow) -> bool:
    """Apply what concerns one user; False if the user must be counted anew."""
    if isinstance(row, ReceiptRow):
        return unread.read(row.event_pos, row.thread_id)
    if row.pos <= unread.counted_from_store:
        return True
    if any(member.user_nid == user_nid and member.membership != "join" for member in row.members):
        return False
    for delta_nid, notify, highlight in row.push_deltas:
        if delta_nid == user_nid:
            unread.take_delta(row.pos, row.thread_id or MAIN, notify, highlight)
    if row.sender_nid != user_nid:
        return True
    membership = None if row.member is None else (row.member.before, row.member.membership)
    read = read_marks.thread_read_by_sending(row.thread_id, membership)
    return read is None or unread.read(row.pos, read)
