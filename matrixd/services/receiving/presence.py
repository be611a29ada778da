"""`m.presence` of other servers.

https://spec.matrix.org/v1.19/server-server-api/#presence
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from matrixd.core.identifiers import fits
from matrixd.services.presence import MAX_STATUS_LENGTH
from matrixd.services.receiving.edu_content import MAX_INTEGER, decoded, is_of
from matrixd.services.receiving.edus import Refuse
from matrixd.services.remote_presence import RemotePresence, RemoteUpdate

#: Users of one transaction that are looked at.
MAX_UPDATES = 2_000
MAX_STATUS_BYTES = 4 * MAX_STATUS_LENGTH


class _Content(Struct):
    push: list[Any]


class _Update(Struct):
    user_id: str
    presence: Literal["offline", "unavailable", "online"]
    status_msg: str | None = None
    last_active_ago: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] | None = None
    currently_active: bool = False


class PresenceEdus:
    """Takes note of the presence of users of other servers; of those only who share a room with one of ours."""

    def __init__(self, presence: RemotePresence) -> None:
        self._presence = presence

    async def receive(self, origin: str, contents: Sequence[Mapping[str, Any]], refuse: Refuse) -> None:
        """See `EduType`."""
        pushes = [decoded(content, _Content, refuse) for content in contents]
        entries = [entry for pushed in pushes if pushed is not None for entry in pushed.push[: MAX_UPDATES + 1]]
        if len(entries) > MAX_UPDATES:
            refuse(f"more than {MAX_UPDATES} users are not looked at")
        found = [_checked(origin, entry, refuse) for entry in entries[:MAX_UPDATES]]
        newest = {update.user_id: update for update in found if update is not None}
        if newest:
            await self._presence.receive(list(newest.values()))


def _checked(origin: str, entry: Any, refuse: Refuse) -> RemoteUpdate | None:
    update = decoded(entry, _Update, refuse)
    if update is None:
        return None
    if not is_of(update.user_id, origin) or not fits(update.status_msg or "", MAX_STATUS_BYTES):
        refuse(f"'user_id' must be a user of the server, and 'status_msg' of {MAX_STATUS_BYTES} bytes at most")
        return None
    return RemoteUpdate(
        update.user_id, update.presence, update.status_msg, update.last_active_ago, update.currently_active
    )
