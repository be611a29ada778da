"""Invites of our users by users of other servers. https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.event_signing import with_event_signature
from matrixd.core.identifiers import is_room_id
from matrixd.core.signing import SigningKey
from matrixd.core.versions import ROOM_VERSIONS, RoomVersion
from matrixd.queries.server_acls import ServerAcls
from matrixd.services.invite_permission import check_invitable
from matrixd.services.limits import Limit
from matrixd.services.out_of_band import OutOfBand
from matrixd.services.receiving.pdu_checks import PduChecks
from matrixd.services.resident.sent_event import sent_event
from matrixd.storage.database import Database

logger = logging.getLogger(__name__)

#: Entries of `invite_room_state` that are looked at.
_MAX_STATE = 100


class RemoteInvites:
    """Signs invites and lets our users see them."""

    def __init__(
        self,
        server_name: str,
        signing_key: SigningKey,
        checks: PduChecks,
        acls: ServerAcls,
        out_of_band: OutOfBand,
        database: Database,
        is_local: Callable[[str], bool],
        per_room: Limit,
        per_user: Limit,
    ) -> None:
        self._server_name = server_name
        self._signing_key = signing_key
        self._checks = checks
        self._acls = acls
        self._out_of_band = out_of_band
        self._database = database
        self._is_local = is_local
        self._per_room = per_room
        self._per_user = per_user

    async def receive(
        self,
        origin: str,
        room_id: str,
        event_id: str,
        room_version: str,
        pdu: Mapping[str, Any],
        room_state: Sequence[Any],
    ) -> Event:
        """Take an invite; the same with our signature.

        Raises M_INCOMPATIBLE_ROOM_VERSION, M_BAD_JSON, M_INVALID_PARAM, M_FORBIDDEN, M_INVITE_BLOCKED, M_NOT_FOUND,
        M_LIMIT_EXCEEDED.
        """
        version = ROOM_VERSIONS.get(room_version)
        if version is None:
            raise MatrixError(
                400, "M_INCOMPATIBLE_ROOM_VERSION", f"This server does not know room version {room_version!r}.",
                room_version=room_version,
            )
        if not is_room_id(room_id):
            raise MatrixError(400, "M_INVALID_PARAM", "'roomId' is not a room ID.")
        await self._acls.check(room_id, origin)
        event = await self._checked(origin, version, room_id, event_id, pdu)
        assert event.state_key is not None
        await self._database.read(check_invitable, event.state_key)
        stripped = await self._known_state(origin, version, room_id, room_state)
        self._per_room.check(room_id)
        self._per_user.check(event.state_key)
        signed = with_event_signature(event, self._server_name, self._signing_key)
        await self._out_of_band.store(signed, stripped)
        return signed

    async def _checked(
        self, origin: str, version: RoomVersion, room_id: str, event_id: str, pdu: Mapping[str, Any]
    ) -> Event:
        checked = await self._checks.check(version, room_id, [pdu])
        event = sent_event(checked, event_id)
        if event.membership != "invite" or event.state_key is None:
            raise MatrixError(400, "M_INVALID_PARAM", "'event' must be an m.room.member event with an invite.")
        if event.sender_domain != origin:
            raise MatrixError(400, "M_INVALID_PARAM", f"The sender {event.sender} is no user of {origin}.")
        if not self._is_local(event.state_key):
            raise MatrixError(400, "M_INVALID_PARAM", f"{event.state_key} is no user of this server.")
        return event

    async def _known_state(
        self, origin: str, version: RoomVersion, room_id: str, room_state: Sequence[Any]
    ) -> list[Mapping[str, Any]]:
        """What of `invite_room_state` may be shown: from v1.16 on it consists of events, of which one is the creation.

        Older servers send stripped events in older rooms, which nobody can check.
        """
        entries = [entry for entry in room_state[:_MAX_STATE] if isinstance(entry, dict)]
        is_strict = version.room_id_is_create_hash
        signed = [entry for entry in entries if "signatures" in entry]
        checked = await self._checks.check(version, room_id, signed)
        if is_strict and (checked.refused or len(checked.events) < len(room_state[:_MAX_STATE])):
            raise MatrixError(400, "M_INVALID_PARAM", "An entry of 'invite_room_state' is no valid event of the room.")
        shown: list[Mapping[str, Any]] = [event.pdu for event in checked.events]
        shown += [entry for entry in entries if "signatures" not in entry]
        if not any(entry.get("type") == "m.room.create" for entry in shown):
            if is_strict:
                raise MatrixError(400, "M_INVALID_PARAM", "'invite_room_state' lacks the m.room.create event.")
            logger.debug("an invite of %s to %s comes without m.room.create", origin, room_id)
        return shown
