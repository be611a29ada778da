"""`to_device` of a sync: messages that wait for the device.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
"""

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.client_events import json_array, json_object
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.to_device import ToDeviceInbox
from matrixd.queries.user_rooms import UserRooms


class ToDeviceNews:
    """Adds the messages that the device does not have; the token says how many it was given."""

    def __init__(self, inbox: ToDeviceInbox) -> None:
        self._inbox = inbox

    async def members(
        self, request: SyncRequest, index: UserRooms, now: StreamToken
    ) -> tuple[list[tuple[bytes, bytes]], StreamToken]:
        """See `Extension`."""
        after = 0 if request.since is None else request.since[Stream.TO_DEVICE]
        texts, end = await self._inbox.waiting(request.device_nid, after, now[Stream.TO_DEVICE])
        if not texts:
            return [], now
        events = json_array([text.encode() for text in texts])
        return [(b"to_device", json_object([("events", events)]))], now.replace(Stream.TO_DEVICE, end)

    async def always(self, request: SyncRequest) -> list[tuple[bytes, bytes]]:
        """See `Extension`."""
        return []
