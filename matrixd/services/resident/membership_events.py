"""Membership events of other servers' users, sent through us: ``send_join``, ``send_leave``, ``send_knock``.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from collections.abc import Mapping
from typing import Any

from matrixd.core.client_event import STRIPPED_STATE_TYPES, identifying_state
from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.event_signing import authorising_server, with_event_signature
from matrixd.core.signing import SigningKey
from matrixd.services.limits import Limit
from matrixd.services.receiving.pdu_checks import PduChecks
from matrixd.services.receiving.receiver import Receiver
from matrixd.services.resident.rooms_of_others import RoomsOfOthers
from matrixd.services.resident.sent_event import sent_event
from matrixd.services.restricted_joins import JOIN_RULES, Condition, RestrictedJoins
from matrixd.services.room_head import RoomHead


class MembershipEvents:
    """Takes such events, and lets them go on to all servers in the room."""

    def __init__(
        self,
        server_name: str,
        signing_key: SigningKey,
        rooms: RoomsOfOthers,
        checks: PduChecks,
        receiver: Receiver,
        restricted: RestrictedJoins,
        joins_per_room: Limit,
    ) -> None:
        self._server_name = server_name
        self._signing_key = signing_key
        self._rooms = rooms
        self._checks = checks
        self._receiver = receiver
        self._restricted = restricted
        self._joins_per_room = joins_per_room

    async def join(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> Event:
        """Take a join; it has our signature where we let the user in. Raises MatrixError."""
        head = await self._rooms.room_with_members(origin, room_id, [JOIN_RULES])
        event, signed_by = await self._checked(origin, head, event_id, pdu, "join")
        head = await self._rooms.room(origin, room_id, [JOIN_RULES, event.key])
        if head.membership(event.sender) != "join":
            self._joins_per_room.check(room_id)
        if authorising_server(event) == self._server_name:
            await self._check_condition(head, event)
            event = with_event_signature(event, self._server_name, self._signing_key)
            signed_by |= {self._server_name}
        await self._receiver.accept(origin, event, signed_by)
        return event

    async def leave(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> Event:
        """Take a leave: of a member, of somebody invited, or of somebody who knocks. Raises MatrixError."""
        head = await self._rooms.room(origin, room_id)
        event, signed_by = await self._checked(origin, head, event_id, pdu, "leave")
        await self._receiver.accept(origin, event, signed_by)
        return event

    async def knock(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> list[Event]:
        """Take a knock; the events by which who knocks can know the room. Raises MatrixError."""
        head = await self._rooms.room_with_members(origin, room_id)
        event, signed_by = await self._checked(origin, head, event_id, pdu, "knock")
        await self._receiver.accept(origin, event, signed_by)
        keys = [(event_type, "") for event_type in STRIPPED_STATE_TYPES]
        head = await self._rooms.room(origin, room_id, keys)
        return identifying_state(head.state_map(keys), event)

    async def _checked(
        self, origin: str, head: RoomHead, event_id: str, pdu: Mapping[str, Any], membership: str
    ) -> tuple[Event, frozenset[str]]:
        checked = await self._checks.check(head.version, head.room_id, [pdu])
        event = sent_event(checked, event_id)
        if event.membership != membership or event.state_key != event.sender:
            sentence = f"The body must be the m.room.member event by which its sender says {membership!r}."
            raise MatrixError(400, "M_INVALID_PARAM", sentence)
        if event.sender_domain != origin:
            raise MatrixError(403, "M_FORBIDDEN", f"{event.sender} is no user of {origin}.")
        return event, checked.signed_by[event.event_id]

    async def _check_condition(self, head: RoomHead, event: Event) -> None:
        """We sign only for who may come in: it may have changed since the template was made."""
        if not self._restricted.applies(head, event.sender):
            return
        match await self._restricted.condition(head, event.sender):
            case Condition.UNKNOWN:
                sentence = "This server knows none of the rooms whose members may join this room."
                raise MatrixError(400, "M_UNABLE_TO_AUTHORISE_JOIN", sentence)
            case Condition.FAILED:
                sentence = f"{event.sender} is in none of the rooms whose members may join this room."
                raise MatrixError(403, "M_FORBIDDEN", sentence)
