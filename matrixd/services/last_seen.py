"""When and from where devices were used: kept in memory, written in batches."""

from collections.abc import Callable
from dataclasses import replace

from matrixd.queries.authentication import Requester
from matrixd.storage import devices, refresh_tokens, rows
from matrixd.storage.database import Database
from matrixd.storage.devices import Device, Sighting
from matrixd.util.background import in_background
from matrixd.util.clock import Clock

#: Devices of which a use waits to be written; beyond it the one that waits longest is dropped.
_MAX_PENDING = 100_000
#: Uses that are written in one transaction, so that others need not wait long.
_BATCH = 1000


class LastSeen:
    """Takes note of each authenticated request, by `note`; `flush` is to be called each minute and at the end."""

    def __init__(
        self, database: Database, clock: Clock, background: Callable[..., object] = in_background
    ) -> None:
        self._database = database
        self._clock = clock
        self._background = background
        self._pending: dict[int, tuple[int, str, str]] = {}

    def note(self, requester: Requester, client_ip: str, user_agent: str) -> None:
        """A device made a request."""
        pending = self._pending
        if len(pending) >= _MAX_PENDING and requester.device_nid not in pending:
            del pending[next(iter(pending))]
        pending[requester.device_nid] = (self._clock.now_ms(), client_ip, user_agent)
        if requester.first_use_of is not None:
            self._background("revoking a refresh token", self._first_use(requester.first_use_of))

    async def _first_use(self, refresh_nid: int) -> None:
        await self._database.write(refresh_tokens.used, refresh_nid)

    def device_deleted(self, row: rows.DeviceDeleted) -> None:
        """Subscribe this to the feed's `rows.DeviceDeleted`."""
        self._pending.pop(row.device_nid, None)

    def updated(self, device: Device) -> Device:
        """The device as stored, with its newest use."""
        pending = self._pending.get(device.device_nid)
        if pending is None:
            return device
        ts, ip, user_agent = pending
        return replace(device, last_seen_ts=ts, last_seen_ip=ip, last_seen_user_agent=user_agent)

    async def flush(self) -> None:
        """Write what waits; what comes meanwhile waits for the next time."""
        pending, self._pending = self._pending, {}
        sightings = [Sighting(device_nid, *seen) for device_nid, seen in pending.items()]
        for start in range(0, len(sightings), _BATCH):
            await self._database.write(devices.note_seen, sightings[start : start + _BATCH])
