"""The database: one writer thread that commits in groups, a few readers, and closures as transactions.

    account = await database.read(accounts.by_user_id, "@alice:example.org")
    await database.write(accounts.set_password, user_nid, password_hash)

A store function takes a `Transaction` first. Whatever waits when the writer becomes free is committed together: a
hundred small writes cost one synchronisation of the disk. When one of them raises, all are rolled back and each is run
again on its own, so that only the one at fault fails.

After a commit the rows that its functions announced go to `on_commit`, in order, and only then do the callers go on:
commit first, announce after.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred

from matrixd.storage.engines.base import Claimed, Connection, Engine, Mode, OutcomeUnknown, Unavailable
from matrixd.storage.transaction import Counters, Transaction

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: How many writes are committed together at most: bounds the time that the first of them waits for the others.
GROUP_SIZE = 256
#: How long work is tried again while the database is away before its caller is told, in seconds.
PATIENCE = 8.0
_RETRY_DELAYS = (0.05, 0.1, 0.2, 0.5, 1.0)
#: How much may wait for a thread; beyond it the caller is told to come back later.
QUEUE_LIMIT = 20_000
_MEMO_ENTRIES = 200_000


class ReactorThread(Protocol):
    """The part of a reactor that a database thread needs."""

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None: ...


@dataclass(slots=True)
class _Work:
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    waiting: "Deferred[Any]" = field(default_factory=Deferred)
    result: Any = None
    error: BaseException | None = None
    deadline: float = 0.0

    def run(self, transaction: Transaction) -> None:
        self.result = self.function(transaction, *self.args, **self.kwargs)
        self.error = None

    def finish(self) -> None:
        if self.error is None:
            self.waiting.callback(self.result)
        else:
            self.waiting.errback(self.error)


class _ConnectionHolder:
    """A connection that is opened again when it broke."""

    def __init__(self, engine: Engine, mode: Mode) -> None:
        self._engine = engine
        self._mode = mode
        self._connection: Connection | None = None

    def get(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect(self._mode)
        return self._connection

    def drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:  # a broken connection may fail to close; it is gone either way
                logger.debug("closing a broken connection: %s", error)


class Database:
    """Runs store functions in transactions.

    `on_commit` gets, in the reactor's thread and in the order of commits, what the functions of one commit announced.
    """

    def __init__(
        self,
        engine: Engine,
        reactor: ReactorThread,
        on_commit: Callable[[Sequence[object]], None] | None = None,
        readers: int = 4,
    ) -> None:
        self.engine = engine
        self._reactor = reactor
        self.on_commit = on_commit
        self._writes: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self.counters = Counters()
        self._memo: dict[Hashable, Any] = {}
        self._threads = [threading.Thread(target=self._write_loop, name="database-writer", daemon=True)]
        self._threads += [
            threading.Thread(target=self._read_loop, name=f"database-reader-{n}", daemon=True) for n in range(readers)
        ]
        self._master = _ConnectionHolder(engine, Mode.MASTER)
        self._stopping = False

    def start(self) -> None:
        """Open the writer's connection (raises `Claimed`), load the counters, and start the threads."""
        connection = self._master.get()
        self.counters.committed = dict(connection.fetch("SELECT name, value FROM counters", ()))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what waits, then close; blocks until it is done."""
        self._stopping = True
        self._writes.put(None)
        for _ in self._threads[1:]:
            self._reads.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._master.drop()

    def read(
        self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> "Deferred[T]":
        """Run `function(transaction, *args)` on a consistent snapshot."""
        return self._enqueue(self._reads, function, args, kwargs)

    def write(
        self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> "Deferred[T]":
        """Run `function(transaction, *args)` as part of the next commit; fires when it is durable and announced."""
        return self._enqueue(self._writes, function, args, kwargs)

    def _enqueue(
        self,
        waiting: "queue.SimpleQueue[_Work | None]",
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> "Deferred[Any]":
        work = _Work(function, args, kwargs)
        if self._stopping or waiting.qsize() >= QUEUE_LIMIT:
            reason = "the server is stopping" if self._stopping else "too much work waits for the database"
            work.error = Unavailable(reason)
            work.finish()
        else:
            waiting.put(work)
        return work.waiting

    @property
    def waiting(self) -> tuple[int, int]:
        """How many transactions wait for a thread: (writes, reads)."""
        return self._writes.qsize(), self._reads.qsize()

    # The writer's thread

    def _write_loop(self) -> None:
        while True:
            work = self._writes.get()
            if work is None:
                return
            group = [work]
            ends = False
            while len(group) < GROUP_SIZE and not ends:
                try:
                    more = self._writes.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ends = True
                else:
                    group.append(more)
            self._commit_group(group)
            if ends:
                return

    def _commit_group(self, group: list[_Work]) -> None:
        """Commit the group; a function that raises is taken out and tried once more alone, after the others."""
        culprits: list[_Work] = []
        while group:
            outcome = self._try_commit(group)
            if isinstance(outcome, list):
                self._reactor.callFromThread(self._deliver, outcome, group)
                break
            group = [work for work in group if work is not outcome]
            culprits.append(outcome)
        for work in culprits:
            outcome = self._try_commit([work])
            self._reactor.callFromThread(self._deliver, outcome if isinstance(outcome, list) else [], [work])

    def _try_commit(self, group: list[_Work]) -> list[object] | _Work:
        """Commit the group; what it announced, or the work that raised, with `error` set.

        While the database is away this waits and tries again, for `PATIENCE` seconds.
        """
        deadline = time.monotonic() + PATIENCE
        for attempt in range(1_000):
            current = group[0]
            try:
                connection = self._master.get()
                connection.begin(write=True)
                transaction = Transaction(connection, self.counters, self._memo)
                for work in group:
                    current = work
                    work.run(transaction)
                self._store_counters(transaction)
                self._commit(connection)
            except Exception as error:
                if not self._may_retry(self._master, error):
                    current.error = error
                    return current
                if time.monotonic() > deadline or self._stopping:
                    for work in group:
                        work.error = Unavailable(f"the database is not available: {error}")
                    return []
                logger.warning("the database is not available, trying again: %s", error)
                time.sleep(_RETRY_DELAYS[min(attempt, len(_RETRY_DELAYS) - 1)])
            else:
                self.counters.committed.update(transaction.advanced)
                self._keep(transaction.learned)
                return transaction.announced
        raise AssertionError("the deadline ends the loop")

    def _commit(self, connection: Connection) -> None:
        try:
            connection.commit()
        except OutcomeUnknown:
            self._master.drop()
            if not self._find_out(connection):
                raise

    def _find_out(self, lost: Connection) -> bool:
        """Whether the commit whose answer was lost has happened; asks until the database answers."""
        attempt = 0
        while True:
            try:
                return self._master.get().has_committed(lost)
            except Exception as error:
                if not isinstance(error, Claimed) and not lost.is_transient(error):
                    raise
                self._master.drop()
                if self._stopping and attempt > len(_RETRY_DELAYS):
                    raise Unavailable(str(error)) from error
                logger.warning("asking whether the last commit was made: %s", error)
                time.sleep(_RETRY_DELAYS[min(attempt, len(_RETRY_DELAYS) - 1)])
                attempt += 1

    def _store_counters(self, transaction: Transaction) -> None:
        if transaction.advanced:
            transaction.insert_many(
                "counters",
                ("name", "value"),
                list(transaction.advanced.items()),
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )

    def _keep(self, learned: dict[Hashable, Any]) -> None:
        if len(self._memo) + len(learned) > _MEMO_ENTRIES:
            self._memo.clear()
        self._memo.update(learned)

    def _may_retry(self, holder: _ConnectionHolder, error: BaseException) -> bool:
        """Clean up after `error`; whether it was the database's and not the function's."""
        if isinstance(error, (Claimed, Unavailable)):
            holder.drop()
            return True
        try:
            connection = holder.get()
        except Exception as unreachable:
            logger.debug("cannot reach the database: %s", unreachable)
            return True
        transient = connection.is_transient(error)
        try:
            connection.rollback()
        except Exception as rollback_error:
            logger.debug("rolling back: %s", rollback_error)
            transient = transient or connection.is_transient(rollback_error)
            holder.drop()
        else:
            if transient:
                holder.drop()
        return transient

    def _deliver(self, announced: list[object], group: list[_Work]) -> None:
        if announced and self.on_commit is not None:
            try:
                self.on_commit(announced)
            except Exception:
                # What is committed is done: a fault of the announcement must not look like one of the write.
                logger.exception("announcing %d committed rows failed", len(announced))
        _finish(group)

    # The readers' threads

    def _read_loop(self) -> None:
        holder = _ConnectionHolder(self.engine, Mode.READ)
        while True:
            work = self._reads.get()
            if work is None:
                holder.drop()
                return
            self._read_one(holder, work)
            self._reactor.callFromThread(_finish, [work])

    def _read_one(self, holder: _ConnectionHolder, work: _Work) -> None:
        deadline = time.monotonic() + PATIENCE
        for delay in (*_RETRY_DELAYS, *(_RETRY_DELAYS[-1:] * 1_000)):
            try:
                connection = holder.get()
                connection.begin(write=False)
                work.run(Transaction(connection))
                connection.commit()
            except Exception as error:
                work.error = error
                if not self._may_retry(holder, error):
                    return
                if time.monotonic() > deadline or self._stopping:
                    work.error = Unavailable(f"the database is not available: {error}")
                    return
                time.sleep(delay)
            else:
                return


def _finish(group: Sequence[_Work]) -> None:
    for work in group:
        work.finish()
