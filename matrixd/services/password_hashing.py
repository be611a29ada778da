"""Passwords are hashed in threads, a few at a time: bcrypt is made to be slow."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.threads import deferToThread

from matrixd.core.errors import MatrixError
from matrixd.util import passwords

#: How many may wait for their turn: at about 0.2 s each, a longer queue would outlast the clients' patience.
_MAX_WAITING = 200
#: Waiting is worth trying again after this, in milliseconds.
_RETRY_MS = 5000

InThread = Callable[..., Awaitable[Any]]


class PasswordHasher:
    """Makes and checks hashes off the reactor's thread.

    `rounds` is bcrypt's cost (2 to the power of it), `pepper` is added to every password. `in_thread(f, *args)` runs a
    function in a thread; `concurrency` of them at most run at once.
    """

    def __init__(
        self, rounds: int, pepper: str, in_thread: InThread = deferToThread, concurrency: int = 2
    ) -> None:
        self._rounds = rounds
        self._pepper = pepper
        self._in_thread = in_thread
        self._turns = DeferredSemaphore(concurrency)
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        """The hash to store of a new password."""
        hashed: str = await self._run(passwords.hash_password, password, self._rounds, self._pepper)
        return hashed

    async def is_password(self, password: str, stored_hash: str | None) -> bool:
        """Whether the password belongs to the hash; with None it never does, but the answer takes as long."""
        if stored_hash is None:
            if self._nobodys is None:
                self._nobodys = await self.hash("nobody's password")
            await self._run(passwords.is_password, password, self._nobodys, self._pepper)
            return False
        return bool(await self._run(passwords.is_password, password, stored_hash, self._pepper))

    async def _run(self, function: Callable[..., object], *args: object) -> Any:
        if len(self._turns.waiting) >= _MAX_WAITING:
            sentence = "Too many passwords wait to be checked. Try again later."
            raise MatrixError(429, "M_LIMIT_EXCEEDED", sentence, retry_after_ms=_RETRY_MS)
        await self._turns.acquire()
        try:
            return await self._in_thread(function, *args)
        finally:
            self._turns.release()
