"""Profiles: changing those of local users, and looking up fields.

https://spec.matrix.org/v1.19/client-server-api/#profiles
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import orjson

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import is_namespaced_id
from matrixd.storage import accounts, profiles, room_members, users
from matrixd.storage.database import Database
from matrixd.storage.rows import ProfileRow
from matrixd.storage.transaction import Transaction
from matrixd.util.background import in_background

DISPLAY_NAME = "displayname"
AVATAR_URL = "avatar_url"
TIME_ZONE = "m.tz"

#: "the total profile MUST be under 64 KiB"
MAX_PROFILE_BYTES = 64 * 1024
MAX_KEY_BYTES = 255
#: These are copied into member events, whose size is limited.
_MAX_LENGTH = {DISPLAY_NAME: 256, AVATAR_URL: 1000, TIME_ZONE: 255}
#: Fields that the user's m.room.member events show.
_IN_MEMBER_EVENTS = (DISPLAY_NAME, AVATAR_URL)

#: Sends the user's m.room.member event anew to every room that the user (number, user ID) is joined to.
UpdateMemberEvents = Callable[[int, str], Coroutine[Any, Any, object]]


class OtherProfiles(Protocol):
    """The profiles of users of other servers."""

    def has(self, user_id: str) -> bool:
        """Whether the user is of another server."""

    async def get(self, user_id: str) -> dict[str, Any]:
        """All fields of such a user. Raises MatrixError."""


class Profiles:
    """Changes profiles of this server's users, and looks up those and `others`.

    `update_member_events` runs in the background after a change that rooms show; what a crash interrupts is done
    after the next start, by `resume`. `may_set` says which of `displayname` and `avatar_url` users may change.
    """

    def __init__(
        self,
        database: Database,
        update_member_events: UpdateMemberEvents,
        may_set: Mapping[str, bool],
        only_to_those_who_share_rooms: bool = False,
        background: Callable[[str, Coroutine[Any, Any, object]], object] = in_background,
        others: OtherProfiles | None = None,
    ) -> None:
        self._others = others
        self._database = database
        self._disallowed = sorted(field for field, allowed in may_set.items() if not allowed)
        self._only_to_those_who_share_rooms = only_to_those_who_share_rooms
        self._updates = MemberEventUpdates(database, update_member_events, background)

    def capabilities(self) -> dict[str, dict[str, object]]:
        """`m.profile_fields` and the deprecated capabilities of the two fields that it replaces."""
        fields: dict[str, object] = {"enabled": True}
        if self._disallowed:
            fields["disallowed"] = self._disallowed
        return {
            "m.profile_fields": fields,
            "m.set_displayname": {"enabled": DISPLAY_NAME not in self._disallowed},
            "m.set_avatar_url": {"enabled": AVATAR_URL not in self._disallowed},
        }

    async def resume(self) -> None:
        """At start: send the member events that were not sent when the server ended."""
        for user_nid, user_id in await self._database.read(profiles.awaiting_update):
            self._updates.request(user_nid, user_id)

    async def get(self, user_id: str, asking_nid: int | None) -> dict[str, Any]:
        """All fields of a user. `asking_nid` is who asks, None for someone without a token.

        Raises M_NOT_FOUND for a user who does not exist, M_FORBIDDEN where only those who share a room may ask, and
        what `others` raises.
        """
        if self._others is not None and self._others.has(user_id):
            await self._database.read(self._check_shares_room_with, user_id, asking_nid)
            return await self._others.get(user_id)
        stored = await self._database.read(self._read, user_id, asking_nid)
        if stored is None:
            raise MatrixError(404, "M_NOT_FOUND", "There is no profile of this user.")
        return {field: orjson.loads(value) for field, value in stored.items()}

    async def get_field(self, user_id: str, field: str, asking_nid: int | None) -> dict[str, Any]:
        """`{field: value}`; raises as `get`, and M_NOT_FOUND if the field is not set."""
        profile = await self.get(user_id, asking_nid)
        if field not in profile:
            raise MatrixError(404, "M_NOT_FOUND", f"This user's profile has no field '{field}'.")
        return {field: profile[field]}

    def _read(self, tx: Transaction, user_id: str, asking_nid: int | None) -> dict[str, str] | None:
        account = accounts.by_user_id(tx, user_id)
        if account is None:
            return None
        self._check_shares_room(tx, account.user_nid, asking_nid)
        return profiles.get(tx, account.user_nid)

    def _check_shares_room_with(self, tx: Transaction, user_id: str, asking_nid: int | None) -> None:
        self._check_shares_room(tx, users.find(tx, user_id), asking_nid)

    def _check_shares_room(self, tx: Transaction, user_nid: int | None, asking_nid: int | None) -> None:
        if not self._only_to_those_who_share_rooms or asking_nid in (None, user_nid):
            return
        assert asking_nid is not None
        if user_nid is None or not room_members.share_a_room(tx, asking_nid, user_nid):
            raise MatrixError(403, "M_FORBIDDEN", "You share no room with this user.")

    async def set(self, user_nid: int, user_id: str, field: str, body: Mapping[str, Any]) -> None:
        """Set one field from a request's body, `{field: value}`.

        An empty `displayname` or `avatar_url` removes the field, which older clients cannot ask for otherwise.
        Raises M_MISSING_PARAM, M_BAD_JSON, M_INVALID_PARAM, M_KEY_TOO_LARGE, M_PROFILE_TOO_LARGE, M_FORBIDDEN.
        """
        self._check_may_change(field)
        if field not in body:
            raise MatrixError(400, "M_MISSING_PARAM", f"The body must have the field '{field}'.")
        value = _checked_value(field, body[field])
        if value == "" and field in _IN_MEMBER_EVENTS:
            await self.delete(user_nid, user_id, field)
        elif await self._database.write(_set, user_nid, user_id, field, orjson.dumps(value).decode()):
            self._updates.request(user_nid, user_id)

    async def delete(self, user_nid: int, user_id: str, field: str) -> None:
        """Remove one field, if it is there. Raises M_INVALID_PARAM, M_KEY_TOO_LARGE, M_FORBIDDEN."""
        self._check_may_change(field)
        if await self._database.write(_delete, user_nid, user_id, field):
            self._updates.request(user_nid, user_id)

    def _check_may_change(self, field: str) -> None:
        _check_key(field)
        if field in self._disallowed:
            raise MatrixError(403, "M_FORBIDDEN", f"This server does not let users change '{field}'.")


class MemberEventUpdates:
    """Sends new member events after profile changes: few users at a time, and a user's changes in a row only once."""

    #: Users whose rooms are written to at the same time; a user may be in thousands.
    AT_ONCE = 4

    def __init__(
        self,
        database: Database,
        update: UpdateMemberEvents,
        background: Callable[[str, Coroutine[Any, Any, object]], object],
    ) -> None:
        self._database = database
        self._update = update
        self._background = background
        self._running: set[int] = set()
        #: At most one entry for each user whose row in profile_updates waits.
        self._waiting: dict[int, str] = {}

    def request(self, user_nid: int, user_id: str) -> None:
        """The user's profile has changed."""
        self._waiting[user_nid] = user_id
        self._start()

    def _start(self) -> None:
        for user_nid in list(self._waiting):
            if len(self._running) >= self.AT_ONCE:
                return
            if user_nid not in self._running:
                self._running.add(user_nid)
                user_id = self._waiting.pop(user_nid)
                self._background(f"showing the profile of {user_id} in rooms", self._run(user_nid, user_id))

    async def _run(self, user_nid: int, user_id: str) -> None:
        try:
            await self._update(user_nid, user_id)
            if user_nid not in self._waiting:
                await self._database.write(profiles.updated, user_nid)
        finally:
            self._running.discard(user_nid)
            self._start()


def _set(tx: Transaction, user_nid: int, user_id: str, field: str, value: str) -> bool:
    """Whether member events have to be sent."""
    stored = profiles.get(tx, user_nid)
    if stored.get(field) == value:
        return False
    stored[field] = value
    # Each member of the JSON object is: "name":value, with a comma or brace.
    size = sum(len(name.encode()) + len(text.encode()) + 4 for name, text in stored.items()) + 1
    if size >= MAX_PROFILE_BYTES:
        raise MatrixError(
            400, "M_PROFILE_TOO_LARGE", f"With this value the profile would not be under {MAX_PROFILE_BYTES} bytes."
        )
    profiles.set_field(tx, user_nid, field, value)
    return _changed(tx, user_nid, user_id, field)


def _delete(tx: Transaction, user_nid: int, user_id: str, field: str) -> bool:
    return profiles.delete_field(tx, user_nid, field) and _changed(tx, user_nid, user_id, field)


def _changed(tx: Transaction, user_nid: int, user_id: str, field: str) -> bool:
    tx.announce(ProfileRow(0, user_nid, user_id))
    if field in _IN_MEMBER_EVENTS:
        profiles.await_update(tx, user_nid)
        return True
    return False


def _check_key(field: str) -> None:
    if len(field.encode()) > MAX_KEY_BYTES:
        raise MatrixError(400, "M_KEY_TOO_LARGE", f"'keyName' must not be longer than {MAX_KEY_BYTES} bytes.")
    if not is_namespaced_id(field):
        raise MatrixError(
            400, "M_INVALID_PARAM",
            "'keyName' must begin with a-z and consist of a-z, 0-9, '.', '_' and '-'.",
        )


def _checked_value(field: str, value: Any) -> Any:
    limit = _MAX_LENGTH.get(field)
    if limit is None:
        return value
    if not isinstance(value, str):
        raise MatrixError(400, "M_BAD_JSON", f"'{field}' must be a string.")
    if len(value) > limit:
        raise MatrixError(400, "M_INVALID_PARAM", f"'{field}' must not be longer than {limit} characters.")
    return value
