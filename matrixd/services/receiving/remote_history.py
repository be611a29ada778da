"""What the stages ask of other servers: events, and the state before them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class RemoteHistory(Protocol):
    """Asks other servers for parts of a room's history. Each method raises `RemoteError`.

    Events are PDUs as they came: nothing of them is checked but that the answer has the right shape.
    """

    async def event(self, destination: str, event_id: str) -> Mapping[str, Any]:
        """One event. https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid"""

    async def state_ids(self, destination: str, room_id: str, event_id: str) -> tuple[Sequence[str], Sequence[str]]:
        """The IDs of the state before an event, and of that state's auth chain."""

    async def state(
        self, destination: str, room_id: str, event_id: str
    ) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
        """The state before an event, and that state's auth chain."""

    async def event_auth(self, destination: str, room_id: str, event_id: str) -> Sequence[Mapping[str, Any]]:
        """The auth chain of an event."""

    async def missing_events(
        self,
        destination: str,
        room_id: str,
        earliest_events: Sequence[str],
        latest_events: Sequence[str],
        limit: int,
        min_depth: int = 0,
    ) -> Sequence[Mapping[str, Any]]:
        """Events between two ends of the room's history."""

    async def backfill(
        self, destination: str, room_id: str, event_ids: Sequence[str], limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Events up to, and with, some events of the room's history."""
