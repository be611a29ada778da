"""What both kinds of `GET /events` share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from matrixd.http.client.room_reading import RoomReading
from matrixd.http.client.sync_token import sync_token
from matrixd.http.kit.call import Call
from matrixd.queries.feed import Feed
from matrixd.queries.old_sync.stream import StreamRequest
from matrixd.services.presence import Presence

#: Milliseconds that a client waits that does not say how long: it asks again as soon as it has an answer.
_DEFAULT_TIMEOUT_MS = 30_000
#: Events of rooms in one answer, when the client does not say, and at most.
_DEFAULT_LIMIT = 100
_MAX_LIMIT = 1000


class EventPolling:
    """Reads the parameters, and shows the user online."""

    def __init__(self, reading: RoomReading, feed: Feed, presence: Presence) -> None:
        self._reading = reading
        self._feed = feed
        self._presence = presence

    async def request(self, call: Call) -> StreamRequest:
        """What the client asks for; raises M_INVALID_PARAM. Without `from` it is what happens from now on.

        `limit` is not in the specification any more, but clients of that age send it.
        """
        now = self._feed.token
        return StreamRequest(
            viewer=await self._reading.viewer(call),
            device_nid=call.requester.device_nid,
            since=sync_token(call, "from", now) or now,
            limit=call.query_int("limit", _DEFAULT_LIMIT, minimum=1, maximum=_MAX_LIMIT),
            timeout=call.query_int("timeout", _DEFAULT_TIMEOUT_MS) / 1000,
        )

    @asynccontextmanager
    async def online(self, call: Call) -> AsyncIterator[None]:
        """Show the user online meanwhile: "the default state when the user is connected to an event stream"."""
        requester = call.requester
        self._presence.sync_begins(requester.user_nid, requester.user_id, requester.device_nid, "online")
        try:
            yield
        finally:
            self._presence.sync_ends(requester.user_nid, requester.device_nid, "online")
