"""Our users are invited: `data/api/server-server/invites-v1.yaml` and `invites-v2.yaml` of the specification."""

from typing import Any

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import validate_event_id
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.resident.invites import RemoteInvites


class _Invite(msgspec.Struct):
    room_version: str
    event: dict[str, Any]
    invite_room_state: list[Any] = []


class Invites:
    """`/invite`, both versions."""

    def __init__(self, invites: RemoteInvites) -> None:
        self._invites = invites

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "PUT", "/_matrix/federation/v1/invite/{roomId}/{eventId}", self.first,
                spec="put_matrixfederationv1inviteroomideventid", auth=Auth.SERVER,
            ),
            Route(
                "PUT", "/_matrix/federation/v2/invite/{roomId}/{eventId}", self.second,
                spec="put_matrixfederationv2inviteroomideventid", auth=Auth.SERVER,
            ),
        ]

    async def first(self, call: Call) -> object:
        """An invite to a room of version 1 or 2, from an older server."""
        event = call.json_object()
        unsigned = event.get("unsigned")
        state = unsigned.get("invite_room_state") if isinstance(unsigned, dict) else None
        event_id = validate_event_id(call.path("eventId"), "eventId")
        signed = await self._invites.receive(
            call.origin, call.path("roomId"), event_id, "1", event, state if isinstance(state, list) else []
        )
        return [200, {"event": signed.pdu}]

    async def second(self, call: Call) -> object:
        """An invite."""
        # Events of older rooms hold integers of any size, which the typed decoding would not read.
        body = call.json_object()
        try:
            invite = msgspec.convert(body, _Invite)
        except msgspec.ValidationError as error:
            raise MatrixError(400, "M_BAD_JSON", f"{error}.") from error
        event_id = validate_event_id(call.path("eventId"), "eventId")
        signed = await self._invites.receive(
            call.origin, call.path("roomId"), event_id, invite.room_version, invite.event, invite.invite_room_state
        )
        return {"event": signed.pdu}
