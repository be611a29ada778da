"""`POST /createRoom`."""

from typing import Any, Literal

import msgspec

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.create_room import RoomCreation, RoomRequest
from matrixd.services.inviting import refuse_third_party
from matrixd.services.new_room import StateEvent


class _InitialState(msgspec.Struct):
    type: str
    content: dict[str, Any]
    state_key: str = ""


class _ThirdPartyInvite(msgspec.Struct):
    id_server: str | None = None
    medium: str | None = None
    address: str | None = None


class _Body(msgspec.Struct):
    visibility: Literal["public", "private"] | None = None
    room_alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: list[str] | None = None
    invite_3pid: list[_ThirdPartyInvite] | None = None
    room_version: str | None = None
    creation_content: dict[str, Any] | None = None
    initial_state: list[_InitialState] | None = None
    preset: Literal["private_chat", "public_chat", "trusted_private_chat"] | None = None
    is_direct: bool | None = None
    power_level_content_override: dict[str, Any] | None = None


class CreateRoom:
    """Making rooms."""

    def __init__(self, creation: RoomCreation) -> None:
        self._creation = creation

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route("POST", "/_matrix/client/v3/createRoom", self.create, spec="post_matrixclientv3createroom"),
        ]

    async def create(self, call: Call) -> object:
        """Make a room."""
        body = call.body(_Body)
        for invite in body.invite_3pid or ():
            refuse_third_party(invite.id_server, invite.medium, invite.address)
        request = RoomRequest(
            visibility=body.visibility or "private",
            preset=body.preset,
            room_alias_name=body.room_alias_name,
            name=body.name,
            topic=body.topic,
            invite=body.invite or [],
            room_version=body.room_version,
            creation_content=body.creation_content or {},
            initial_state=[
                StateEvent(event.type, event.state_key, event.content) for event in body.initial_state or ()
            ],
            is_direct=bool(body.is_direct),
            power_level_content_override=body.power_level_content_override,
        )
        return {"room_id": await self._creation.create(call.requester, request)}
