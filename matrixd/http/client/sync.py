"""`GET /_matrix/client/v3/sync`."""

from collections.abc import Callable

from matrixd.core.filters import EMPTY_FILTER, Filter, parse_filter, parse_json
from matrixd.core.streams import Stream
from matrixd.http.client.sync_token import sync_token
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.erased_users import ErasedUsers
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.feed import Feed
from matrixd.queries.filters import StoredFilters
from matrixd.queries.ignored_users import IgnoredUsers
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.sync.sync import Sync
from matrixd.services.presence import Presence, State

_PRESENCE: dict[str, State] = {"online": "online", "offline": "offline", "unavailable": "unavailable"}


class SyncEndpoint:
    """The endpoint. `received(user_nid, device_nid, pos)`: the device has its to-device messages up to a position."""

    def __init__(
        self,
        sync: Sync,
        feed: Feed,
        filters: StoredFilters,
        ignored_users: IgnoredUsers,
        erased_users: ErasedUsers,
        presence: Presence,
        received: Callable[[int, int, int], None],
    ) -> None:
        self._sync = sync
        self._feed = feed
        self._filters = filters
        self._ignored_users = ignored_users
        self._erased_users = erased_users
        self._presence = presence
        self._received = received

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/client/v3/sync", self.sync,
                spec="get_matrixclientv3sync", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            )
        ]

    async def sync(self, call: Call) -> object:
        """What has happened since a token, or all of the present."""
        requester = call.requester
        since = sync_token(call, "since", self._feed.token)
        timeout = call.query_int("timeout", 0) / 1000
        presence = call.query_one_of("set_presence", tuple(_PRESENCE), "online")
        request = SyncRequest(
            viewer=Viewer(
                requester.user_id,
                requester.user_nid,
                requester.device_nid,
                await self._ignored_users.of(requester.user_nid),
                self._erased_users.positions,
            ),
            device_nid=requester.device_nid,
            since=since,
            filter=await self._filter(call),
            full_state=call.query_bool("full_state"),
            use_state_after=call.query_bool("use_state_after"),
        )
        user_nid, device_nid, state = requester.user_nid, requester.device_nid, _PRESENCE[presence]
        if since is not None:
            self._received(user_nid, device_nid, since[Stream.TO_DEVICE])
        self._presence.sync_begins(user_nid, requester.user_id, device_nid, state)
        try:
            return await self._sync.answer(request, timeout, call.on_stop)
        finally:
            self._presence.sync_ends(user_nid, device_nid, state)

    async def _filter(self, call: Call) -> Filter:
        text = call.query("filter")
        if not text:
            return EMPTY_FILTER
        if text.startswith("{"):
            return parse_filter(parse_json(text))
        return await self._filters.get(call.requester.user_nid, text)
