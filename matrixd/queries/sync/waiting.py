"""Waiting until there is something to say: what all answers have in common that long-poll."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred

from matrixd.core.errors import MatrixError
from matrixd.core.streams import StreamToken
from matrixd.queries.feed import Feed
from matrixd.queries.user_rooms import Watched
from matrixd.storage.rows import DeviceDeleted

# zope's interfaces mean nothing to the type checker: this answers an IDelayedCall.
CallLater = Callable[..., Any]

#: Registers what ends a wait early: the client has gone, or the server is stopping.
OnStop = Callable[[Callable[[], None]], None]

#: The answer as of a token, and whether it says anything.
Compose = Callable[[StreamToken], Awaitable[tuple[bytes, bool]]]

#: A client that asks for more is answered empty after this, in seconds.
MAX_WAIT = 300.0


class Waiting:
    """Composes answers again and again until one says something. `call_later` is the reactor's."""

    def __init__(self, feed: Feed, call_later: CallLater) -> None:
        self._feed = feed
        self._call_later = call_later
        # The waits under way, by device: bounded by the open requests.
        self._waits: dict[int, set[_Wait]] = {}
        feed.subscribe(DeviceDeleted, self._on_device_deleted)

    async def at_once(self, compose: Compose) -> bytes:
        """The answer as of now."""
        return (await compose(self._feed.token))[0]

    async def for_news(
        self, compose: Compose, watched: Watched, since: StreamToken, device_nid: int, seconds: float, on_stop: OnStop
    ) -> bytes:
        """The first answer after the token `since` that says something, or the one after `seconds`, whatever it says.

        Raises M_UNKNOWN_TOKEN when the device is logged out meanwhile.
        """
        if seconds <= 0:
            return await self.at_once(compose)
        wait = _Wait(watched, self._call_later, min(seconds, MAX_WAIT), on_stop)
        self._waits.setdefault(device_nid, set()).add(wait)
        try:
            while True:
                now = self._feed.token
                # A client that has everything, as nearly every one that comes back, costs nothing until there is news.
                if now != since or wait.is_over:
                    body, says_something = await compose(now)
                    if says_something or wait.is_over:
                        return body
                if self._feed.token == now:
                    await wait.until_woken()
                if wait.is_logged_out:
                    raise MatrixError(401, "M_UNKNOWN_TOKEN", "The device was logged out.", soft_logout=False)
        finally:
            wait.end()
            self._waits[device_nid].discard(wait)
            if not self._waits[device_nid]:
                del self._waits[device_nid]

    def _on_device_deleted(self, row: DeviceDeleted) -> None:
        for wait in list(self._waits.get(row.device_nid, ())):
            wait.log_out()


class _Wait:
    """Waiting for news, up to a deadline."""

    def __init__(self, watched: Watched, call_later: CallLater, seconds: float, on_stop: OnStop) -> None:
        self.is_over = False
        self.is_logged_out = False
        self._watched = watched
        self._woken: Deferred[None] | None = None
        self._deadline = call_later(seconds, self._finish)
        on_stop(self._finish)

    async def until_woken(self) -> None:
        """Wait until something happens that may be news, or the deadline."""
        if self.is_over:
            return
        self._woken = Deferred()
        self._watched.waiters.add(self._woken)
        await self._woken
        self._woken = None

    def end(self) -> None:
        """Free what waiting needs."""
        if self._deadline.active():
            self._deadline.cancel()

    def log_out(self) -> None:
        """The device is gone: there is nothing to wait for."""
        self.is_logged_out = True
        self._finish()

    def _finish(self) -> None:
        self.is_over = True
        woken = self._woken
        if woken is not None and woken in self._watched.waiters:
            self._watched.waiters.discard(woken)
            woken.callback(None)
