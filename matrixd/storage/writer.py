"""The writer: one thread with one connection, which commits in groups.

When the database goes away, work waits and is tried again until its deadline; then its caller is told, while the writer
goes on trying for those who come later.

A commit whose answer is lost may have been made or not. Every commit that writes therefore counts `COMMITS` up, and on
the next connection that counter says which it was: so nothing is announced that is not stored, nothing that is stored
stays unannounced, and nothing is done twice. It needs no more than that there is one writer.
"""

import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.storage.engines.base import Connection, Engine, Mode, Unavailable
from matrixd.storage.transaction import Counters, Transaction
from matrixd.storage.work import ConnectionHolder, Work, retry_delay, sentence, unavailable

logger = logging.getLogger(__name__)

#: How many writes are committed together at most: bounds the time that the first of them waits for the others.
GROUP_SIZE = 256
#: The counter of commits.
COMMITS = "commits"
_MEMO_ENTRIES = 200_000
#: How often it is asked whether a commit was made while nothing else is to be done, in seconds.
_SETTLE_S = 1.0
#: How long a lost commit is asked after when the server stops, in seconds; the next start finds it in any case.
_SETTLE_AT_STOP_S = 5.0

#: Takes what a commit announced, and the works that are over.
Deliver = Callable[[Sequence[object], Sequence[Work]], None]


@dataclass(frozen=True, slots=True)
class _Lost:
    """A commit that had no answer."""

    transaction: Transaction
    group: Sequence[Work]


class _Failed(Exception):
    """A function raised; `work.error` says what."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work


class Writer:
    """Commits what comes out of a queue, until that gives None. `deliver` is called from the writer's thread."""

    def __init__(self, engine: Engine, waiting: "queue.SimpleQueue[Work | None]", deliver: Deliver) -> None:
        self.counters = Counters()
        #: Set when the server stops: what cannot be done at once is given up.
        self.is_hasty = False
        self._waiting = waiting
        self._deliver = deliver
        self._master = ConnectionHolder(engine, Mode.MASTER)
        self._memo: dict[Hashable, Any] = {}
        self._lost: _Lost | None = None
        self._has_ended = False
        self._away_since: float | None = None

    def open(self) -> None:
        """Connect, and see that the database can be written. Raises `Claimed` or the engine's errors."""
        self._connect()
        connection = self._master.get()
        connection.begin(write=True)
        transaction = Transaction(connection, self.counters, self._memo)
        self._store_counters(transaction)
        connection.commit()
        self.counters.committed.update(transaction.advanced)

    def close(self) -> None:
        """Disconnect, when the thread has ended."""
        self._master.drop()

    def run(self) -> None:
        """The thread's work."""
        while True:
            group: list[Work] = []
            self._take(group, wait=True)
            if group:
                self._commit_group(group)
            elif self._lost is not None:
                self._try_to_settle()
            if self._has_ended:
                self._settle_at_stop()
                return

    def _take(self, group: list[Work], *, wait: bool) -> None:
        """Add what waits to the group, up to its size; `wait`: for the first."""
        while len(group) < GROUP_SIZE and not self._has_ended:
            try:
                work = self._waiting.get(wait and not group, None if self._lost is None else _SETTLE_S)
            except queue.Empty:
                return
            if work is None:
                self._has_ended = True
            else:
                group.append(work)

    def _commit_group(self, group: list[Work]) -> None:
        """Commit the group; a function that raises is taken out and tried once more alone, after the others."""
        alone = deque(self._commit_all(group))
        while alone:
            work = alone.popleft()
            for failed in self._commit_all([work]):
                if failed is work:
                    self._end([], [work])
                else:  # what came while the database was away
                    alone.append(failed)

    def _commit_all(self, group: list[Work]) -> list[Work]:
        """Commit the group, or give it up when its time is over; those of it that raised."""
        failed: list[Work] = []
        attempt = 0
        while group:
            try:
                self._attempt(group)
            except _Failed as error:
                failed.append(error.work)
                group.remove(error.work)
            except Unavailable as error:
                self._note_absence(error)
                self._give_up(group, error)
                if group:
                    time.sleep(retry_delay(attempt))
                    attempt += 1
            else:
                self._note_presence()
                return failed
        return failed

    def _attempt(self, group: list[Work]) -> None:
        """One attempt at a commit. Raises `_Failed`, or `Unavailable` when the database is to blame."""
        connection = self._connected()
        group[:] = [work for work in group if not work.is_over]
        if not group:
            return
        current = group[0]
        try:
            connection.begin(write=True)
            transaction = Transaction(connection, self.counters, self._memo)
            for work in group:
                current = work
                work.run(transaction)
            if transaction.has_written or transaction.advanced:
                self._store_counters(transaction)
            self._commit(connection, transaction, group)
        except Exception as error:
            if self._master.recover(error):
                raise Unavailable(sentence(error)) from error
            current.error = error
            raise _Failed(current) from error
        self._committed(transaction, group)

    def _commit(self, connection: Connection, transaction: Transaction, group: Sequence[Work]) -> None:
        try:
            connection.commit()
        except Exception as error:
            if connection.is_transient(error) and COMMITS in transaction.advanced:
                self._lost = _Lost(transaction, list(group))
            raise

    def _store_counters(self, transaction: Transaction) -> None:
        transaction.next_id(COMMITS)
        transaction.insert_many(
            "counters",
            ("name", "value"),
            list(transaction.advanced.items()),
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )

    def _committed(self, transaction: Transaction, group: Sequence[Work]) -> None:
        self.counters.committed.update(transaction.advanced)
        learned = transaction.learned
        if len(self._memo) + len(learned) > _MEMO_ENTRIES:
            self._memo.clear()
        self._memo.update(learned)
        self._end(transaction.announced, [work for work in group if not work.is_over])

    def _end(self, announced: Sequence[object], group: Sequence[Work]) -> None:
        for work in group:
            work.is_over = True
        self._deliver(announced, group)

    # When the database is away

    def _connected(self) -> Connection:
        """The connection. Whatever keeps it from being opened may go away: raises `Unavailable`."""
        if not self._master.is_open:
            try:
                self._connect()
            except Exception as error:
                raise Unavailable(sentence(error)) from error
            self._settle()
        return self._master.get()

    def _connect(self) -> None:
        """Connect, and read how far the commits have come."""
        try:
            self.counters.committed = dict(self._master.get().fetch("SELECT name, value FROM counters", ()))
        except BaseException:
            self._master.drop()
            raise

    def _settle(self) -> None:
        """Find out whether the commit without an answer was made."""
        lost, self._lost = self._lost, None
        if lost is None:
            return
        made = self.counters.committed.get(COMMITS, 0) == lost.transaction.advanced[COMMITS]
        logger.warning(
            "the connection broke during a commit of %d transactions: it was%s made",
            len(lost.group), "" if made else " not",
        )
        if made:
            self._committed(lost.transaction, lost.group)

    def _try_to_settle(self) -> None:
        try:
            self._connected()
        except Unavailable as error:
            logger.debug("asking whether the last commit was made: %s", error)
        else:
            self._note_presence()

    def _settle_at_stop(self) -> None:
        deadline = time.monotonic() + _SETTLE_AT_STOP_S
        while self._lost is not None and time.monotonic() < deadline:
            self._try_to_settle()
            if self._lost is not None:
                time.sleep(retry_delay(2))

    def _give_up(self, group: list[Work], reason: Unavailable) -> None:
        """Tell those whose time is over, in the group and behind it."""
        while True:
            now = time.monotonic()
            over = [work for work in group if work.deadline <= now or self.is_hasty]
            for work in over:
                work.error = unavailable(reason)
            self._end([], over)
            group[:] = [work for work in group if not work.is_over]
            before = len(group)
            self._take(group, wait=False)
            if len(group) == before:
                return

    def _note_absence(self, error: Unavailable) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            logger.error("the database is not available, trying again: %s", error)
        else:
            logger.debug("the database is not available: %s", error)

    def _note_presence(self) -> None:
        if self._away_since is not None:
            logger.warning("the database is available again after %.1f s", time.monotonic() - self._away_since)
            self._away_since = None
