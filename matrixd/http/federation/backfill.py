"""History for other servers: `data/api/server-server/backfill.yaml` of the specification."""

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import validate_event_id
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.federation.room_events import RoomEvents
from matrixd.queries.federation.room_graph import MAX_EVENTS

#: Event IDs that one request may name; no event has so many before it.
_MAX_NAMED = 500
#: Events in an answer about missing ones, when the server does not say.
_DEFAULT_MISSING = 10


class _Missing(msgspec.Struct):
    # The specification requires both lists; some servers leave out those that are empty.
    earliest_events: list[str] = []
    latest_events: list[str] = []
    limit: int = _DEFAULT_MISSING
    min_depth: int = 0


class Backfill:
    """`/backfill` and `/get_missing_events`."""

    def __init__(self, events: RoomEvents) -> None:
        self._events = events

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/backfill/{roomId}", self.backfill,
                spec="get_matrixfederationv1backfillroomid", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
            Route(
                "POST", "/_matrix/federation/v1/get_missing_events/{roomId}", self.missing,
                spec="post_matrixfederationv1get_missing_eventsroomid", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
        ]

    async def backfill(self, call: Call) -> object:
        """Events and those before them."""
        call.require_query("v")
        call.require_query("limit")
        limit = call.query_int("limit", 1, minimum=1, maximum=MAX_EVENTS)
        start = _event_ids(call.query_all("v"), "v")
        return await self._events.backfill(call.origin, call.path("roomId"), start, limit)

    async def missing(self, call: Call) -> object:
        """What lies between events."""
        body = call.body(_Missing)
        for name in ("limit", "min_depth"):
            if getattr(body, name) < 0:
                raise MatrixError(400, "M_INVALID_PARAM", f"'{name}' must not be negative.")
        return await self._events.missing(
            call.origin,
            call.path("roomId"),
            _event_ids(body.earliest_events, "earliest_events"),
            _event_ids(body.latest_events, "latest_events"),
            body.min_depth,
            min(body.limit, MAX_EVENTS),
        )


def _event_ids(values: list[str], name: str) -> list[str]:
    if len(values) > _MAX_NAMED:
        raise MatrixError(400, "M_INVALID_PARAM", f"'{name}' must not have more than {_MAX_NAMED} event IDs.")
    return [validate_event_id(value, name) for value in dict.fromkeys(values)]
