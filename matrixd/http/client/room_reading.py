"""What the endpoints that read rooms share: who reads, pagination tokens, filters, limits."""

from matrixd.core.filters import EventFilter, parse_json, parse_room_event_filter
from matrixd.core.streams import RoomToken, Stream
from matrixd.http.kit.call import Call
from matrixd.queries import history_tokens
from matrixd.queries.erased_users import ErasedUsers
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.feed import Feed
from matrixd.queries.ignored_users import IgnoredUsers

#: Events in one answer, when the client does not say, and at most.
DEFAULT_LIMIT = 10
MAX_LIMIT = 1000


class RoomReading:
    """Reads what is common from a call."""

    def __init__(self, feed: Feed, ignored_users: IgnoredUsers, erased_users: ErasedUsers) -> None:
        self._feed = feed
        self._ignored_users = ignored_users
        self._erased_users = erased_users

    async def viewer(self, call: Call) -> Viewer:
        """Who reads."""
        requester = call.requester
        ignored = await self._ignored_users.of(requester.user_nid)
        return Viewer(
            requester.user_id, requester.user_nid, requester.device_nid, ignored, self._erased_users.positions
        )

    def token(self, call: Call, name: str) -> RoomToken | None:
        """A pagination token, None if there is none. Raises M_INVALID_PARAM for none of ours or one of the future."""
        return history_tokens.parsed(call.query(name) or None, name, self._feed.token[Stream.EVENTS])

    def filter(self, call: Call) -> EventFilter:
        """The RoomEventFilter of the parameter `filter`. Raises M_NOT_JSON, M_BAD_JSON and M_TOO_LARGE."""
        text = call.query("filter")
        return parse_room_event_filter(parse_json(text)) if text else EventFilter()

    def limit(self, call: Call, event_filter: EventFilter | None = None, default: int = DEFAULT_LIMIT) -> int:
        """How many events: the parameter `limit`, else the filter's."""
        if event_filter is not None:
            default = event_filter.capped_limit(default, MAX_LIMIT)
        return call.query_int("limit", default, maximum=MAX_LIMIT)
