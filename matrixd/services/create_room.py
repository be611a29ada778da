"""Making rooms. https://spec.matrix.org/v1.19/client-server-api/#creation"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from matrixd.config.rooms import RoomsConfig
from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.core.identifiers import domain_of
from matrixd.core.versions import ROOM_VERSIONS, RoomVersion
from matrixd.queries.authentication import Requester
from matrixd.services import new_room
from matrixd.services.aliases import Aliases
from matrixd.services.inviting import Inviting
from matrixd.services.limits import Limit
from matrixd.services.member_profiles import MemberProfiles
from matrixd.services.membership import member_draft
from matrixd.services.new_room import Preset, StateEvent, Wishes
from matrixd.services.publishing import Publishing
from matrixd.services.room_lanes import Draft, RoomLanes
from matrixd.services.suspension import refuse_suspended
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """The body of /createRoom."""

    visibility: Literal["public", "private"] = "private"
    preset: Preset | None = None
    room_alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: list[str] = field(default_factory=list)
    room_version: str | None = None
    creation_content: Mapping[str, Any] = field(default_factory=dict)
    initial_state: list[StateEvent] = field(default_factory=list)
    is_direct: bool = False
    power_level_content_override: Mapping[str, Any] | None = None


class RoomCreation:
    """Makes rooms, each in one transaction with its alias and its invites: a room is whole or not there.

    Only users of other servers are invited afterwards, as their servers have to sign that.
    """

    def __init__(
        self,
        server_name: str,
        config: RoomsConfig,
        lanes: RoomLanes,
        profiles: MemberProfiles,
        inviting: Inviting,
        aliases: Aliases,
        publishing: Publishing,
        per_user: Limit,
        new_room_id: Callable[[], str],
    ) -> None:
        self._server_name = server_name
        self._config = config
        self._lanes = lanes
        self._profiles = profiles
        self._inviting = inviting
        self._aliases = aliases
        self._publishing = publishing
        self._per_user = per_user
        self._new_room_id = new_room_id

    async def create(self, requester: Requester, request: RoomRequest) -> str:
        """Make a room; its ID.

        Raises M_UNSUPPORTED_ROOM_VERSION, M_ROOM_IN_USE, M_INVALID_ROOM_STATE where the rules of rooms forbid what is
        asked for, M_BAD_JSON, M_INVALID_PARAM, M_FORBIDDEN, M_INVITE_BLOCKED, M_LIMIT_EXCEEDED, M_USER_SUSPENDED.
        """
        refuse_suspended(requester)
        creator = requester.user_id
        version = self._version(request.room_version)
        room_id = None if version.room_id_is_create_hash else self._new_room_id()
        wishes = self._wishes(requester, request, room_id or "")
        self._check_may_publish(requester, request, wishes, room_id or "")
        drafts = await self._drafts(creator, version, wishes)
        self._per_user.check(creator)
        extra = {"is_direct": True} if request.is_direct else {}
        invites = await self._inviting.contents(requester, wishes.invite, extra, None)
        others = {user_id: invites.pop(user_id) for user_id in wishes.invite if not self._is_local(user_id)}
        drafts += [member_draft(creator, user_id, content) for user_id, content in invites.items()]

        def also(tx: Transaction, room_id: str) -> None:
            if wishes.alias is not None:
                self._aliases.creation(creator, wishes.alias, room_id, _in_use)(tx)
            if request.visibility == "public":
                self._publishing.change(room_id, True)(tx)

        try:
            made, _ = await self._lanes.create(version, room_id, drafts, also)
        except RuleViolation as error:
            sentence = f"The room cannot begin like this: {error}."
            raise MatrixError(400, "M_INVALID_ROOM_STATE", sentence) from error
        if others:
            await self._inviting.invite_from_elsewhere(creator, made, others)
        return made

    def _is_local(self, user_id: str) -> bool:
        return domain_of(user_id) == self._server_name

    def _version(self, identifier: str | None) -> RoomVersion:
        version = ROOM_VERSIONS.get(self._config.default_room_version if identifier is None else identifier)
        if version is None:
            raise unsupported_version(identifier)
        return version

    def _wishes(self, requester: Requester, request: RoomRequest, room_id: str) -> Wishes:
        preset = request.preset or ("public_chat" if request.visibility == "public" else "private_chat")
        alias = None
        if request.room_alias_name is not None:
            if ":" in request.room_alias_name or not request.room_alias_name:
                raise MatrixError(
                    400, "M_INVALID_PARAM", "'room_alias_name' must be the part between '#' and ':', and not empty."
                )
            alias = f"#{request.room_alias_name}:{self._server_name}"
            self._aliases.check_may_create(requester.user_id, alias, room_id)
        by_default = self._config.encryption_by_default
        return Wishes(
            preset=preset,
            creation_content=request.creation_content,
            name=request.name,
            topic=request.topic,
            alias=alias,
            initial_state=request.initial_state,
            power_level_content_override=request.power_level_content_override,
            invite=new_room.checked_invites(requester.user_id, request.invite),
            is_encrypted=by_default == "all" or (by_default == "invite" and preset != "public_chat"),
        )

    def _check_may_publish(self, requester: Requester, request: RoomRequest, wishes: Wishes, room_id: str) -> None:
        if request.visibility == "public":
            aliases = [] if wishes.alias is None else [wishes.alias]
            self._publishing.check_may_publish(requester.user_id, room_id, aliases)

    async def _drafts(self, creator: str, version: RoomVersion, wishes: Wishes) -> list[Draft]:
        state = [
            StateEvent("m.room.create", "", new_room.create_content(version, creator, wishes)),
            StateEvent("m.room.member", creator, {**await self._profiles.of(creator), "membership": "join"}),
            StateEvent("m.room.power_levels", "", new_room.power_levels(version, creator, wishes)),
            *new_room.rest_of_state(version, self._server_name, wishes),
        ]
        return [Draft(creator, event.type, event.content, state_key=event.state_key) for event in state]


def _in_use(alias: str) -> MatrixError:
    return MatrixError(400, "M_ROOM_IN_USE", f"The alias {alias} is taken.")


def unsupported_version(identifier: object) -> MatrixError:
    """The error for a room version that this server does not know."""
    return MatrixError(400, "M_UNSUPPORTED_ROOM_VERSION", f"This server does not know the room version {identifier}.")
