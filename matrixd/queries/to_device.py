"""Which messages wait for a device.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
"""

from collections.abc import Sequence

from matrixd.queries.feed import Feed
from matrixd.storage import to_device
from matrixd.storage.database import Database
from matrixd.storage.rows import DeviceDeleted, ToDeviceDeleted, ToDeviceRow
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

#: "100 messages is recommended as a reasonable limit."
LIMIT = 100
_ENTRY_BYTES = 200


class ToDeviceInbox:
    """Reads the messages of devices; that none waits is known from memory."""

    def __init__(self, database: Database, feed: Feed, budget: CacheBudget) -> None:
        self._database = database
        #: Device's number -> position of the newest message that waits, 0 for none.
        self._newest = budget.cache("to_device", int, int)
        self._flights: SingleFlight[int, int] = SingleFlight()
        #: What the feed handed out of a device while the database is asked: bounded by the reads under way.
        self._missed: dict[int, list[ToDeviceRow | ToDeviceDeleted]] = {}
        feed.subscribe(ToDeviceRow, self._on_change)
        feed.subscribe(ToDeviceDeleted, self._on_change)
        feed.subscribe(DeviceDeleted, lambda row: self._newest.remove(row.device_nid))

    async def waiting(self, device_nid: int, after: int, up_to: int) -> tuple[Sequence[str], int]:
        """The JSON of the oldest messages in `after` < position <= `up_to`, and the position up to which that goes.

        There are at most `LIMIT`; the position is `up_to` when there are no more.
        """
        if await self.newest(device_nid) <= after:
            return (), up_to
        found = await self._database.read(to_device.waiting, device_nid, after, up_to, LIMIT)
        return [text for _, text in found], (found[-1][0] if len(found) == LIMIT else up_to)

    async def newest(self, device_nid: int) -> int:
        """The position of the newest message that waits for a device; 0: none does."""
        known = self._newest.get(device_nid)
        return await self._flights.run(device_nid, lambda: self._load(device_nid)) if known is None else known

    async def _load(self, device_nid: int) -> int:
        missed = self._missed[device_nid] = []
        try:
            newest = await self._database.read(to_device.newest, device_nid)
        finally:
            del self._missed[device_nid]
        for row in missed:
            newest = _after(newest, row)
        self._newest.put(device_nid, newest, _ENTRY_BYTES)
        return newest

    def _on_change(self, row: ToDeviceRow | ToDeviceDeleted) -> None:
        missed = self._missed.get(row.device_nid)
        if missed is not None:
            missed.append(row)
        if row.device_nid in self._newest:
            known = self._newest.get(row.device_nid)
            self._newest.put(row.device_nid, _after(known or 0, row), _ENTRY_BYTES)


def _after(newest: int, row: ToDeviceRow | ToDeviceDeleted) -> int:
    if isinstance(row, ToDeviceRow):
        return max(newest, row.pos)
    return 0 if newest <= row.up_to else newest
