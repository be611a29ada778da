"""Third-party invites: `data/api/server-server/third_party_invite.yaml` of the specification."""

from typing import Any

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import is_room_id, validate_user_id
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.resident.third_party_invites import Bound, ThirdPartyInvites


class _Invite(msgspec.Struct):
    room_id: str
    sender: str
    mxid: str
    signed: dict[str, Any]


class _Binding(msgspec.Struct):
    mxid: str
    invites: list[_Invite]


class ThirdPartyInvite:
    """`/exchange_third_party_invite` and `/3pid/onbind`."""

    def __init__(self, invites: ThirdPartyInvites) -> None:
        self._invites = invites

    def routes(self) -> list[Route]:
        """The endpoints. Identity servers in use send POST where the specification has PUT."""
        bound = "/_matrix/federation/v1/3pid/onbind"
        return [
            Route(
                "PUT", "/_matrix/federation/v1/exchange_third_party_invite/{roomId}", self.exchange,
                spec="put_matrixfederationv1exchange_third_party_inviteroomid", auth=Auth.SERVER,
            ),
            Route("PUT", bound, self.bound, spec="put_matrixfederationv13pidonbind", auth=Auth.NONE),
            Route("POST", bound, self.bound, spec="put_matrixfederationv13pidonbind", auth=Auth.NONE),
        ]

    async def exchange(self, call: Call) -> object:
        """A third-party invite of ours becomes an invite of a user of the asking server."""
        await self._invites.exchange(call.origin, call.path("roomId"), call.json_object())
        return {}

    async def bound(self, call: Call) -> object:
        """A user of ours has bound a third-party ID that was invited to rooms."""
        body = call.body(_Binding)
        invites = []
        for invite in body.invites:
            validate_user_id(invite.sender, "invites.sender")
            if invite.mxid != body.mxid:
                raise MatrixError(400, "M_INVALID_PARAM", "'invites.mxid' must be the user of 'mxid'.")
            if not is_room_id(invite.room_id):
                raise MatrixError(400, "M_INVALID_PARAM", "'invites.room_id' is not a room ID.")
            invites.append(Bound(invite.room_id, invite.sender, invite.mxid, invite.signed))
        validate_user_id(body.mxid, "mxid")
        await self._invites.bound(invites)
        return {}
