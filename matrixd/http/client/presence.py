"""Presence: `data/api/client-server/presence.yaml` of the specification."""

from typing import Literal

from msgspec import Struct

from matrixd.core.identifiers import validate_user_id
from matrixd.http.client.own_user import own_user
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.presence import Presence as PresenceService

_STATUS = "/_matrix/client/v3/presence/{userId}/status"


class _Status(Struct):
    presence: Literal["online", "offline", "unavailable"]
    status_msg: str | None = None


class Presence:
    """The endpoints of presence."""

    def __init__(self, presence: PresenceService) -> None:
        self._presence = presence

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("GET", _STATUS, self.get, spec="get_matrixclientv3presenceuseridstatus"),
            Route(
                "PUT", _STATUS, self.put,
                spec="put_matrixclientv3presenceuseridstatus", limit="presence", max_body=16384,
            ),
        ]

    async def get(self, call: Call) -> object:
        """The presence of a user."""
        return await self._presence.get(call.requester.user_nid, validate_user_id(call.path("userId"), "userId"))

    async def put(self, call: Call) -> object:
        """Set the own presence."""
        requester, body = own_user(call), call.body(_Status)
        await self._presence.put(
            requester.user_nid, requester.user_id, requester.device_nid, body.presence, body.status_msg
        )
        return {}
