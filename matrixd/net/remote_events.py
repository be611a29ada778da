"""Parts of a room's history from other servers: `events.yaml`, `backfill.yaml` and `event_auth.yaml`.

Events come as they are: only the shape of the answers is checked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.net import answer_fields as fields
from matrixd.net.federation_client import FederationClient
from matrixd.net.paths import path_of

#: What the state of a room may have, with its auth chain.
MAX_STATE = 500_000
MAX_STATE_BYTES = 512 * 1024 * 1024
MAX_CHAIN = 100_000
_MAX_PAGE = 1_000
_STATE_SECONDS = 300.0

Pdu = Mapping[str, Any]


class RemoteEvents:
    """Asks for events and state. Each method raises `RemoteError`."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def event(self, destination: str, event_id: str) -> Pdu:
        """One event."""
        answer = await self._client.get(destination, path_of("/_matrix/federation/v1/event/{}", event_id))
        found = fields.objects(destination, answer, "pdus", _MAX_PAGE)
        if len(found) != 1:
            raise fields.bad_answer(destination, "'pdus' must hold the one event that was asked for")
        return found[0]

    async def state_ids(self, destination: str, room_id: str, event_id: str) -> tuple[Sequence[str], Sequence[str]]:
        """The IDs of the state before an event, and of that state's auth chain."""
        answer = await self._client.get(
            destination, path_of("/_matrix/federation/v1/state_ids/{}", room_id), [("event_id", event_id)],
            max_bytes=MAX_STATE_BYTES, timeout_s=_STATE_SECONDS,
        )
        return (
            fields.strings(destination, answer, "pdu_ids", MAX_STATE),
            fields.strings(destination, answer, "auth_chain_ids", MAX_STATE),
        )

    async def state(self, destination: str, room_id: str, event_id: str) -> tuple[Sequence[Pdu], Sequence[Pdu]]:
        """The state before an event, and that state's auth chain."""
        answer = await self._client.get(
            destination, path_of("/_matrix/federation/v1/state/{}", room_id), [("event_id", event_id)],
            max_bytes=MAX_STATE_BYTES, timeout_s=_STATE_SECONDS,
        )
        return (
            fields.objects(destination, answer, "pdus", MAX_STATE),
            fields.objects(destination, answer, "auth_chain", MAX_STATE),
        )

    async def event_auth(self, destination: str, room_id: str, event_id: str) -> Sequence[Pdu]:
        """The auth chain of an event."""
        path = path_of("/_matrix/federation/v1/event_auth/{}/{}", room_id, event_id)
        answer = await self._client.get(destination, path, max_bytes=MAX_STATE_BYTES, timeout_s=_STATE_SECONDS)
        return fields.objects(destination, answer, "auth_chain", MAX_CHAIN)

    async def missing_events(
        self,
        destination: str,
        room_id: str,
        earliest_events: Sequence[str],
        latest_events: Sequence[str],
        limit: int,
        min_depth: int = 0,
    ) -> Sequence[Pdu]:
        """Events between two ends of the room's history."""
        body = {
            "earliest_events": list(earliest_events), "latest_events": list(latest_events), "limit": limit,
            "min_depth": min_depth,
        }
        path = path_of("/_matrix/federation/v1/get_missing_events/{}", room_id)
        answer = await self._client.post(destination, path, body)
        return fields.objects(destination, answer, "events", _MAX_PAGE, required=False)

    async def backfill(self, destination: str, room_id: str, event_ids: Sequence[str], limit: int) -> Sequence[Pdu]:
        """Events up to, and with, some events of the room's history."""
        query = [("limit", str(limit)), *(("v", event_id) for event_id in event_ids)]
        answer = await self._client.get(destination, path_of("/_matrix/federation/v1/backfill/{}", room_id), query)
        return fields.objects(destination, answer, "pdus", _MAX_PAGE)

    async def timestamp_to_event(
        self, destination: str, room_id: str, ts: int, *, backwards: bool
    ) -> tuple[str, int]:
        """The event closest to a time (ms): its ID and its time."""
        path = path_of("/_matrix/federation/v1/timestamp_to_event/{}", room_id)
        query = [("ts", str(ts)), ("dir", "b" if backwards else "f")]
        answer = fields.whole(destination, await self._client.get(destination, path, query))
        event_id, at = answer.get("event_id"), answer.get("origin_server_ts")
        if not isinstance(event_id, str) or type(at) is not int:
            raise fields.bad_answer(destination, "'event_id' must be a string, 'origin_server_ts' an integer")
        return event_id, at
