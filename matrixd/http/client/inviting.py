"""`POST /rooms/{roomId}/invite`, by user ID (inviting.yaml) and by third-party ID (third_party_membership.yaml)."""

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.inviting import Inviting, refuse_third_party
from matrixd.services.membership import checked_extra

_THIRD_PARTY = ("id_server", "id_access_token", "medium", "address")


class InvitingEndpoints:
    """Inviting users."""

    def __init__(self, inviting: Inviting) -> None:
        self._inviting = inviting

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "POST", "/_matrix/client/v3/rooms/{roomId}/invite", self.invite,
                spec="post_matrixclientv3roomsroomidinvite",
            ),
        ]

    async def invite(self, call: Call) -> object:
        """Invite a user."""
        body = call.json_object()
        user_id = body.pop("user_id", None)
        if user_id is None and any(name in body for name in _THIRD_PARTY):
            refuse_third_party(body.get("id_server"), body.get("medium"), body.get("address"))
        if not isinstance(user_id, str):
            raise MatrixError(400, "M_BAD_JSON", "'user_id' must be a string.")
        extra = {name: value for name, value in checked_extra(body).items() if name == "reason"}
        await self._inviting.invite(call.requester, call.path("roomId"), user_id, extra)
        return {}
