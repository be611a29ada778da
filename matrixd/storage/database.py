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
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred

from matrixd.storage.engines.base import Engine, Mode, Unavailable
from matrixd.storage.transaction import Counters, Transaction
from matrixd.storage.work import ConnectionHolder, Work, finish, retry_delay, unavailable
from matrixd.storage.writer import Writer

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: How much may wait for a thread; beyond it the caller is told to come back later.
QUEUE_LIMIT = 20_000
#: How long the end waits for the threads, in seconds: one may hang in a call to a database that does not answer.
_END_S = 20.0


class ReactorThread(Protocol):
    """The part of a reactor that a database thread needs."""

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None: ...


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
        self._writes: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._writer = Writer(
            engine, self._writes, lambda *committed: reactor.callFromThread(self._deliver, *committed)
        )
        self._threads = [threading.Thread(target=self._writer.run, name="database-writer", daemon=True)]
        self._threads += [
            threading.Thread(target=self._read_loop, name=f"database-reader-{n}", daemon=True) for n in range(readers)
        ]
        self._stopping = False
        self._is_hasty = False

    @property
    def counters(self) -> Counters:
        """The last numbers taken, as committed."""
        return self._writer.counters

    def start(self) -> None:
        """Connect, see that the database can be written, and start the threads. Raises `Claimed`, or driver errors."""
        try:
            self._writer.open()
        except BaseException:
            self._writer.close()
            self.engine.release()
            raise
        for thread in self._threads:
            thread.start()

    def hurry(self) -> None:
        """From now on what the database cannot do at once fails, instead of waiting for better times."""
        self._is_hasty = self._writer.is_hasty = True

    def stop(self) -> None:
        """Finish what waits, then close; blocks until it is done."""
        self.hurry()
        self._stopping = True
        self._writes.put(None)
        for _ in self._threads[1:]:
            self._reads.put(None)
        deadline = time.monotonic() + _END_S
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        hanging = [thread.name for thread in self._threads if thread.is_alive()]
        if hanging:
            logger.error("the database does not answer; left as they are: %s", ", ".join(hanging))
            return
        self._writer.close()
        self.engine.release()

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
        waiting: "queue.SimpleQueue[Work | None]",
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> "Deferred[Any]":
        work = Work(function, args, kwargs)
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

    def _deliver(self, announced: Sequence[object], group: Sequence[Work]) -> None:
        if announced and self.on_commit is not None:
            try:
                self.on_commit(announced)
            except Exception:
                # What is committed is done: a fault of the announcement must not look like one of the write.
                logger.exception("announcing %d committed rows failed", len(announced))
        finish(group)

    # The readers' threads

    def _read_loop(self) -> None:
        holder = ConnectionHolder(self.engine, Mode.READ)
        while True:
            work = self._reads.get()
            if work is None:
                holder.drop()
                return
            self._read_one(holder, work)
            self._reactor.callFromThread(finish, [work])

    def _read_one(self, holder: ConnectionHolder, work: Work) -> None:
        attempt = 0
        while True:
            if not holder.is_open and time.monotonic() > work.deadline:
                # It has waited behind others that tried in vain.
                work.error = work.error or Unavailable("the database is not available")
                return
            try:
                connection = holder.get()
                connection.begin(write=False)
                work.run(Transaction(connection))
                connection.commit()
            except Exception as error:
                work.error = error
                if not holder.recover(error):
                    return
                work.error = unavailable(error)
                if time.monotonic() > work.deadline or self._is_hasty:
                    return
                time.sleep(retry_delay(attempt))
                attempt += 1
            else:
                return
