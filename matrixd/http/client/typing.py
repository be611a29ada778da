"""Typing notifications: `data/api/client-server/typing.yaml` of the specification."""

from msgspec import Struct

from matrixd.http.client.own_user import own_user
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.typing import DEFAULT_TIMEOUT_MS
from matrixd.services.typing import Typing as TypingService


class _Typing(Struct):
    typing: bool
    timeout: int = DEFAULT_TIMEOUT_MS


class Typing:
    """The endpoint of typing notifications."""

    def __init__(self, typing: TypingService) -> None:
        self._typing = typing

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "PUT", "/_matrix/client/v3/rooms/{roomId}/typing/{userId}", self.put,
                spec="put_matrixclientv3roomsroomidtypinguserid", max_body=8192,
            ),
        ]  # fmt: skip

    async def put(self, call: Call) -> object:
        """Note that the user types, or does not any more."""
        requester, body = own_user(call), call.body(_Typing)
        await self._typing.set(
            requester.user_nid, requester.user_id, call.path("roomId"), body.typing, body.timeout
        )
        return {}
