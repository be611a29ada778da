"""Users of other servers knock: `data/api/server-server/knocks.yaml` of the specification."""

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.resident.membership_events import MembershipEvents
from matrixd.services.resident.templates import MembershipTemplates


class Knocks:
    """`/make_knock` and `/send_knock`."""

    def __init__(self, templates: MembershipTemplates, events: MembershipEvents) -> None:
        self._templates = templates
        self._events = events

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/make_knock/{roomId}/{userId}", self.make,
                spec="get_matrixfederationv1make_knockroomiduserid", auth=Auth.SERVER,
            ),
            Route(
                "PUT", "/_matrix/federation/v1/send_knock/{roomId}/{eventId}", self.send,
                spec="put_matrixfederationv1send_knockroomideventid", auth=Auth.SERVER,
            ),
        ]

    async def make(self, call: Call) -> object:
        """A template of the knock."""
        versions = call.query_all("ver")
        return await self._templates.knock(call.origin, call.path("roomId"), call.path("userId"), versions)

    async def send(self, call: Call) -> object:
        """The knock itself; the answer tells of the room."""
        state = await self._events.knock(call.origin, call.path("roomId"), call.path("eventId"), call.json_object())
        return {"knock_room_state": [event.pdu for event in state]}
