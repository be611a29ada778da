"""Room aliases: making, looking up and removing them. https://spec.matrix.org/v1.19/client-server-api/#room-aliases"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from matrixd.core.content import history_visibility
from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.core.event import Event
from matrixd.core.identifiers import (
    domain_of,
    is_room_alias,
    is_room_id,
    validate_room_alias,
)
from matrixd.core.power import PowerLevels
from matrixd.queries.authentication import Requester
from matrixd.queries.federation.directory import servers_in
from matrixd.services import canonical_aliases
from matrixd.services.room_head import RoomHead, RoomHeads, UnknownRoom
from matrixd.services.room_lanes import Draft, RoomLanes
from matrixd.services.room_rules import RoomRules
from matrixd.services.suspension import refuse_suspended
from matrixd.storage import room_aliases, rooms, users
from matrixd.storage.database import Database
from matrixd.storage.room_aliases import Alias
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

logger = logging.getLogger(__name__)

_CANONICAL = (canonical_aliases.TYPE, "")


@dataclass(frozen=True, slots=True)
class Located:
    """A room, and servers that are said to be in it, the best first."""

    room_id: str
    servers: Sequence[str] = ()


class OtherDirectories(Protocol):
    """The directories of other servers."""

    async def locate(self, alias: str) -> Located:
        """The room of an alias of another server. Raises M_NOT_FOUND, 502 M_UNKNOWN."""


class Aliases:
    """The directory of this server's aliases; `others` are those of the other servers."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        server_name: str,
        heads: RoomHeads,
        lanes: RoomLanes,
        rules: RoomRules,
        require_membership: bool,
        others: OtherDirectories | None = None,
    ) -> None:
        self._others = others
        self._database = database
        self._clock = clock
        self._server_name = server_name
        self._heads = heads
        self._lanes = lanes
        self._rules = rules
        self._require_membership = require_membership

    async def room_id(self, room_id_or_alias: str) -> str:
        """The ID of a room that a client named by its ID or by an alias. Raises as `locate`."""
        return (await self.locate(room_id_or_alias)).room_id

    async def locate(self, room_id_or_alias: str) -> Located:
        """A room that a client named by its ID or by an alias, of this server or of another, which is asked then.

        Raises M_INVALID_PARAM for what is neither, M_NOT_FOUND for an unknown alias, 502 M_UNKNOWN if the server of the
        alias does not answer.
        """
        if is_room_id(room_id_or_alias):
            return Located(room_id_or_alias)
        if not is_room_alias(room_id_or_alias):
            raise MatrixError(400, "M_INVALID_PARAM", "'roomIdOrAlias' is neither a room ID nor a room alias.")
        return await self.locate_alias(room_id_or_alias)

    async def locate_alias(self, alias: str) -> Located:
        """The same for an alias only; this server is among the servers of its own aliases."""
        validate_room_alias(alias, "roomAlias")
        if self._others is not None and domain_of(alias) != self._server_name:
            return await self._others.locate(alias)
        found = await self.look_up(alias)
        servers = await self._database.read(servers_in, found.room_nid, self._server_name)
        return Located(found.room_id, servers)

    async def look_up(self, alias: str) -> Alias:
        """The room of an alias of this server. Raises M_INVALID_PARAM, M_NOT_FOUND."""
        validate_room_alias(alias, "roomAlias")
        if domain_of(alias) != self._server_name:
            raise MatrixError(404, "M_NOT_FOUND", f"{alias} is an alias of another server.")
        found = await self._database.read(room_aliases.get, alias)
        if found is None:
            raise _unknown(alias)
        return found

    async def create(self, requester: Requester, alias: str, room_id: str) -> None:
        """Make an alias. Raises M_INVALID_PARAM, M_FORBIDDEN, M_NOT_FOUND, and 409 if the name is taken."""
        refuse_suspended(requester)
        self.check_may_create(requester.user_id, alias, room_id)
        await self._check_knows_room(requester, room_id)
        await self._database.write(self.creation(requester.user_id, alias, room_id, _taken))

    def check_may_create(self, user_id: str, alias: str, room_id: str) -> None:
        """Raises M_INVALID_PARAM for a name that cannot be, M_FORBIDDEN for one that the configuration forbids."""
        validate_room_alias(alias, "roomAlias")
        if domain_of(alias) != self._server_name:
            raise MatrixError(400, "M_INVALID_PARAM", f"An alias made here has to end with ':{self._server_name}'.")
        if not self._rules.allow(user_id, room_id, [alias]):
            raise MatrixError(403, "M_FORBIDDEN", f"This server does not let you make the alias {alias}.")

    def creation(
        self, user_id: str, alias: str, room_id: str, taken: Callable[[str], MatrixError]
    ) -> Callable[[Transaction], None]:
        """What makes the alias in a transaction; it raises `taken(alias)` if there is one of this name."""
        created_ts = self._clock.now_ms()

        def create(tx: Transaction) -> None:
            room_nid = rooms.nid(tx, room_id)
            if room_nid is None:
                raise MatrixError(404, "M_NOT_FOUND", f"This server knows no room {room_id}.")
            if not room_aliases.create(tx, alias, room_nid, users.nid(tx, user_id), created_ts):
                raise taken(alias)

        return create

    async def _check_knows_room(self, requester: Requester, room_id: str) -> None:
        key = ("m.room.member", requester.user_id)
        try:
            head = await self._heads.get(room_id, [key])
        except UnknownRoom:
            if self._require_membership and not requester.is_admin:
                raise _not_in(room_id) from None
            raise MatrixError(404, "M_NOT_FOUND", f"This server knows no room {room_id}.") from None
        if self._require_membership and not requester.is_admin and head.membership(requester.user_id) != "join":
            raise _not_in(room_id)

    async def delete(self, requester: Requester, alias: str) -> None:
        """Remove an alias, and take it out of its room's m.room.canonical_alias if the user may change that.

        It may be removed by whoever made it, by those who may set the room's canonical alias, and by administrators.
        Raises M_NOT_FOUND, M_FORBIDDEN.
        """
        refuse_suspended(requester)
        found = await self.look_up(alias)
        head = await self._heads.get(found.room_id, [_CANONICAL, ("m.room.member", requester.user_id)])
        if not (requester.is_admin or found.creator_nid == requester.user_nid or may_name(head, requester.user_id)):
            raise MatrixError(403, "M_FORBIDDEN", f"You may not remove {alias}: somebody else has made it.")
        if not await self._database.write(room_aliases.delete, alias):
            raise _unknown(alias)
        await self._withdraw(requester.user_id, head, alias)

    async def _withdraw(self, user_id: str, head: RoomHead, alias: str) -> None:
        current = head.state(_CANONICAL)
        if current is None or alias not in canonical_aliases.listed(current.content):
            return
        content = canonical_aliases.without(current.content, alias)
        try:
            await self._lanes.send(head.room_id, [Draft(user_id, _CANONICAL[0], content, state_key="")])
        except (RuleViolation, MatrixError) as error:
            # "delete the alias and return a successful response even if the user does not have permission to update
            # the m.room.canonical_alias event"
            logger.info("%s stays in m.room.canonical_alias of %s: %s", alias, head.room_id, error)

    async def of_room(self, requester: Requester, room_id: str) -> list[str]:
        """The aliases of a room, for its members, and for everybody where its history is for everybody.

        Raises M_FORBIDDEN for others, and for unknown rooms.
        """
        try:
            head = await self._heads.get(room_id, [("m.room.member", requester.user_id)])
        except UnknownRoom:
            raise _not_in(room_id) from None
        is_open = history_visibility(head.state(("m.room.history_visibility", ""))) == "world_readable"
        if not (is_open or requester.is_admin or head.membership(requester.user_id) == "join"):
            raise _not_in(room_id)
        return await self._database.read(room_aliases.of_room, room_id)


def may_name(head: RoomHead, user_id: str) -> bool:
    """Whether a user, whose membership is loaded, may set the room's canonical alias."""
    create: Event | None = head.state(("m.room.create", ""))
    if create is None or head.membership(user_id) != "join":
        return False
    powers = PowerLevels(create, head.state(("m.room.power_levels", "")))
    return powers.can_send(user_id, canonical_aliases.TYPE, is_state=True)


def _taken(alias: str) -> MatrixError:
    return MatrixError(409, "M_UNKNOWN", f"The alias {alias} exists already.")


def _unknown(alias: str) -> MatrixError:
    return MatrixError(404, "M_NOT_FOUND", f"There is no alias {alias}.")


def _not_in(room_id: str) -> MatrixError:
    return MatrixError(403, "M_FORBIDDEN", f"You are not in {room_id}.")
