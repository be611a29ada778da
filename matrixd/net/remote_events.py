"""Parts of a room's history from other servers: `events.yaml`, `backfill.yaml` and `event_auth.yaml`.

Events come as they are: only the shape of the answers is checked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.net import answer_fields as fields
from matrixd.net.event_stream import MAX_STATE_BYTES, STATE_S, EventStream, TakePdu
from matrixd.net.federation_client import FederationClient
from matrixd.net.paths import path_of

#: Events of the state of a room, and of its auth chain; what is longer must be taken by `stream_state`.
MAX_STATE = 500_000
MAX_CHAIN = 100_000
#: A million IDs of events, and of whole events as many as may be in memory at once.
_MAX_IDS_BYTES = 64 * 1024 * 1024
_MAX_HELD_BYTES = 96 * 1024 * 1024
_MAX_PAGE = 1_000

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
            max_bytes=_MAX_IDS_BYTES, timeout_s=STATE_S,
        )
        return (
            fields.strings(destination, answer, "pdu_ids", MAX_STATE),
            fields.strings(destination, answer, "auth_chain_ids", MAX_STATE),
        )

    async def state(self, destination: str, room_id: str, event_id: str) -> tuple[Sequence[Pdu], Sequence[Pdu]]:
        """The state before an event, and that state's auth chain."""
        state: list[Pdu] = []
        chain: list[Pdu] = []

        def take(in_state: bool, pdu: Pdu) -> None:
            found = state if in_state else chain
            if len(found) >= MAX_STATE:
                raise fields.bad_answer(destination, f"there are more than {MAX_STATE} events")
            found.append(pdu)

        await self.stream_state(destination, room_id, event_id, take, _MAX_HELD_BYTES)
        return state, chain

    async def stream_state(
        self, destination: str, room_id: str, event_id: str, take: TakePdu, max_bytes: int = MAX_STATE_BYTES
    ) -> None:
        """The same, whatever its size: the events go to `take` as they come; what that raises is raised."""
        stream = EventStream(destination, "pdus", take)
        await self._client.get(
            destination, path_of("/_matrix/federation/v1/state/{}", room_id), [("event_id", event_id)],
            max_bytes=max_bytes, timeout_s=STATE_S, consume=stream.consume,
        )
        await stream.finish()

    async def event_auth(self, destination: str, room_id: str, event_id: str) -> Sequence[Pdu]:
        """The auth chain of an event."""
        path = path_of("/_matrix/federation/v1/event_auth/{}/{}", room_id, event_id)
        answer = await self._client.get(destination, path, max_bytes=_MAX_IDS_BYTES, timeout_s=STATE_S)
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
