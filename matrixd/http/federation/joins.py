"""Users of other servers join: `data/api/server-server/joins-v1.yaml` and `joins-v2.yaml` of the specification."""

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.queries.federation.join_answers import JoinAnswers
from matrixd.services.resident.membership_events import MembershipEvents
from matrixd.services.resident.templates import MembershipTemplates


class Joins:
    """`/make_join` and `/send_join`."""

    def __init__(self, templates: MembershipTemplates, events: MembershipEvents, answers: JoinAnswers) -> None:
        self._templates = templates
        self._events = events
        self._answers = answers

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/make_join/{roomId}/{userId}", self.make,
                spec="get_matrixfederationv1make_joinroomiduserid", auth=Auth.SERVER,
            ),
            Route(
                "PUT", "/_matrix/federation/v2/send_join/{roomId}/{eventId}", self.send,
                spec="put_matrixfederationv2send_joinroomideventid", auth=Auth.SERVER,
            ),
        ]

    async def make(self, call: Call) -> object:
        """A template of the join."""
        versions = call.query_all("ver") or ["1"]
        return await self._templates.join(call.origin, call.path("roomId"), call.path("userId"), versions)

    async def send(self, call: Call) -> object:
        """The join itself; the answer is the room's state."""
        join = await self._events.join(call.origin, call.path("roomId"), call.path("eventId"), call.json_object())
        return await self._answers.of(join, omit_members=call.query_bool("omit_members"))
