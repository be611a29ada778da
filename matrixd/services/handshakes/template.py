"""From the template of another server to a membership event of ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matrixd.core.builder import complete
from matrixd.core.errors import InvalidEvent
from matrixd.core.event import Event
from matrixd.core.signing import SigningKey
from matrixd.core.versions import ROOM_VERSIONS, EventIdFormat, RoomVersion
from matrixd.services.handshakes.peers import Made
from matrixd.services.handshakes.servers import UselessAnswer
from matrixd.util.clock import Clock

#: What is taken from a template; all else is ours to say.
_TAKEN = ("type", "room_id", "sender", "state_key", "depth", "prev_events", "auth_events")
#: What of a template's content is not ours to say.
_AUTHORISED_VIA = "join_authorised_via_users_server"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The membership that a user wants to have."""

    room_id: str
    user_id: str
    membership: str
    #: The content beside it.
    content: Mapping[str, Any]


class Templates:
    """Makes events of templates."""

    def __init__(
        self, server_name: str, signing_key: SigningKey, clock: Clock, new_event_id: Callable[[], str]
    ) -> None:
        self._server_name = server_name
        self._signing_key = signing_key
        self._clock = clock
        self._new_event_id = new_event_id

    def sign(self, destination: str, made: Made, wanted: Wanted) -> Event:
        """The event, signed by us. Raises UselessAnswer for a template of something else, or of no use.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
        """
        version = _version(destination, made)
        _check(destination, made.event, wanted)
        template = {name: made.event[name] for name in _TAKEN if name in made.event}
        template["content"] = _content(version, made.event["content"], wanted)
        template["origin"] = self._server_name
        template["origin_server_ts"] = self._clock.now_ms()
        if version.event_id_format is EventIdFormat.CHOSEN:
            template["event_id"] = self._new_event_id()
        try:
            return complete(version, template, self._server_name, self._signing_key)
        except InvalidEvent as error:
            raise UselessAnswer(destination, f"its template makes no event: {error}") from error


def _version(destination: str, made: Made) -> RoomVersion:
    version = ROOM_VERSIONS.get("1" if made.room_version is None else made.room_version)
    if version is None:
        raise UselessAnswer(destination, "the room has a version that this server does not know")
    return version


def _check(destination: str, event: Mapping[str, Any], wanted: Wanted) -> None:
    content = event.get("content")
    said = content.get("membership") if isinstance(content, dict) else None
    for name, value, expected in (
        ("type", event.get("type"), "m.room.member"),
        ("room_id", event.get("room_id"), wanted.room_id),
        ("sender", event.get("sender"), wanted.user_id),
        ("state_key", event.get("state_key"), wanted.user_id),
        ("membership", said, wanted.membership),
    ):
        if value != expected:
            raise UselessAnswer(destination, f"its template has another {name} than it was asked for")


def _content(version: RoomVersion, theirs: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
    content = {name: value for name, value in wanted.content.items() if name != _AUTHORISED_VIA}
    if wanted.membership == "join" and version.auth.restricted and _AUTHORISED_VIA in theirs:
        content[_AUTHORISED_VIA] = theirs[_AUTHORISED_VIA]
    return {**content, "membership": wanted.membership}
