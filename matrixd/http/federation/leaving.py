"""Users of other servers leave: `data/api/server-server/leaving-v1.yaml` and `leaving-v2.yaml` of the specification."""

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.resident.membership_events import MembershipEvents
from matrixd.services.resident.templates import MembershipTemplates


class Leaving:
    """`/make_leave` and `/send_leave`."""

    def __init__(self, templates: MembershipTemplates, events: MembershipEvents) -> None:
        self._templates = templates
        self._events = events

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/make_leave/{roomId}/{userId}", self.make,
                spec="get_matrixfederationv1make_leaveroomiduserid", auth=Auth.SERVER,
            ),
            Route(
                "PUT", "/_matrix/federation/v2/send_leave/{roomId}/{eventId}", self.send,
                spec="put_matrixfederationv2send_leaveroomideventid", auth=Auth.SERVER,
            ),
        ]

    async def make(self, call: Call) -> object:
        """A template of the leave."""
        return await self._templates.leave(call.origin, call.path("roomId"), call.path("userId"))

    async def send(self, call: Call) -> object:
        """The leave itself."""
        await self._events.leave(call.origin, call.path("roomId"), call.path("eventId"), call.json_object())
        return {}
