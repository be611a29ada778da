"""The rooms of a space and of the spaces in it, as one user may see them.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy

The tree is walked depth first. A page's token says how many rooms came before; where the walk stood is remembered, and
found again by walking anew if it was forgotten, so any process can go on.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import domain_of, is_room_id_with_domain
from matrixd.core.spaces import children_in_order, is_child, servers_of, stripped_child
from matrixd.queries import remote_spaces, room_summaries
from matrixd.queries.remote_spaces import RemoteSpace
from matrixd.queries.room_summaries import SPACE, RoomFacts
from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.storage.database import Database
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

#: Rooms on a page, when the client does not say, and at most.
DEFAULT_LIMIT = 50
MAX_LIMIT = 100
#: Levels below the first room, when the client does not say, and at most.
MAX_DEPTH = 10
#: Rooms of one walk, seen or not; what comes after them is left out.
MAX_ROOMS = 10_000
#: Rooms that are looked at for one page, and for how many of them other servers are asked.
_MAX_LOOKED_AT = 500
_MAX_ASKED = 20
_ASKED_AT_ONCE = 10
#: How long an answer of another server is good, in seconds; and that there was none.
_KEPT_S = 300.0
_FAILURE_KEPT_S = 60.0
_ROOM_BYTES = 1_500
_PLACE_BYTES = 300
_TOKEN = re.compile(r"h([0-9]{1,6})_([0-9]{1,3})_([01])", re.ASCII)

#: Asks other servers for a room: ID, servers to try, only suggested children. The JSON of an answer to the federation's
#: `/hierarchy`, None if nobody has one. Does not raise.
AskRemote = Callable[[str, Sequence[str], bool], Awaitable[Mapping[str, Any] | None]]


@dataclass(frozen=True, slots=True)
class HierarchyRequest:
    """What a client asks for. None: the client did not say."""

    room_id: str
    suggested_only: bool | None = None
    max_depth: int | None = None
    limit: int = DEFAULT_LIMIT
    since: str | None = None


@dataclass(frozen=True, slots=True)
class _Options:
    suggested_only: bool
    max_depth: int


@dataclass(frozen=True, slots=True)
class _Place:
    """A room that the walk has yet to visit."""

    room_id: str
    depth: int
    servers: tuple[str, ...]
    #: What the server of the space that lists it has said of it, if that is not this one.
    told: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Walk:
    """Where a walk stands: the places to visit, the next one last; the rooms visited; how many rooms were shown."""

    places: tuple[_Place, ...]
    visited: frozenset[str] = frozenset()
    shown: int = 0

    @property
    def size(self) -> int:
        return _PLACE_BYTES * (len(self.places) + 1) + 100 * len(self.visited)


class SpaceHierarchy:
    """Answers `/hierarchy` of the client-server API. What this server knows of a room wins over what others say."""

    def __init__(
        self, database: Database, user_rooms: UserRoomsIndex, clock: Clock, budget: CacheBudget, ask: AskRemote
    ) -> None:
        self._database = database
        self._user_rooms = user_rooms
        self._walks = budget.cache("space_walks", tuple, _Walk)
        self._remote = _RemoteSpaces(clock, budget, ask)

    async def page(self, user_nid: int, request: HierarchyRequest) -> dict[str, Any]:
        """One page. Raises M_FORBIDDEN if the user may not see the first room, M_INVALID_PARAM for a wrong `from`."""
        options, shown = _resumed(request)
        key = (user_nid, request.room_id, options, shown)
        walk = self._walks.get(key) or _Walk((_first(request.room_id),))
        visitor = _Visitor(self._database, self._remote, options, await self._memberships(user_nid))
        if walk.shown < shown:
            walk, _ = await visitor.go_on(walk, shown - walk.shown)
        walk, entries = await visitor.go_on(walk, request.limit)
        if not entries and not walk.shown:
            raise MatrixError(403, "M_FORBIDDEN", f"You are not allowed to view the room {request.room_id}.")
        if not walk.places:
            return {"rooms": entries}
        self._walks.put((user_nid, request.room_id, options, walk.shown), walk, walk.size)
        return {"rooms": entries, "next_batch": f"h{walk.shown}_{options.max_depth}_{int(options.suggested_only)}"}

    async def summary(self, user_nid: int, room_id: str, servers: Sequence[str]) -> dict[str, Any]:
        """A room's summary with the user's membership. Raises M_NOT_FOUND for what the user may not see, too."""
        memberships = await self._memberships(user_nid)
        visitor = _Visitor(self._database, self._remote, _Options(suggested_only=False, max_depth=0), memberships)
        place = replace(_first(room_id), servers=(*servers, *_first(room_id).servers))
        _, entries = await visitor.go_on(_Walk((place,)), 1)
        if not entries:
            raise MatrixError(404, "M_NOT_FOUND", "Room not found.")
        summary = {name: value for name, value in entries[0].items() if name != "children_state"}
        return {**summary, "membership": memberships.get(room_id, "leave")}

    async def _memberships(self, user_nid: int) -> dict[str, str]:
        entries = (await self._user_rooms.get(user_nid)).entries.values()
        return {entry.room.room_id: entry.membership for entry in entries}


class _Visitor:
    """Goes on with walks of one user for one request."""

    def __init__(
        self, database: Database, remote: "_RemoteSpaces", options: _Options, memberships: Mapping[str, str]
    ) -> None:
        self._database = database
        self._remote = remote
        self._options = options
        self._memberships = memberships
        self._facts: dict[str, RoomFacts | None] = {}
        self._asked: dict[str, RemoteSpace | None] = {}

    async def go_on(self, walk: _Walk, limit: int) -> tuple[_Walk, list[dict[str, Any]]]:
        """Where the walk then stands, and the rooms that it has come by, at most `limit`."""
        places, visited = list(walk.places), set(walk.visited)
        entries: list[dict[str, Any]] = []
        looked_at = 0
        most = max(_MAX_LOOKED_AT, limit)
        while places and len(entries) < limit and looked_at < most:
            place = places.pop()
            if place.room_id in visited or len(visited) >= MAX_ROOMS:
                continue
            await self._look_ahead(place, places, limit - len(entries), visited)
            if not self._is_known(place):
                places.append(place)
                break
            visited.add(place.room_id)
            looked_at += 1
            room = self._room(place)
            if room is not None:
                entries.append(room)
                places.extend(reversed(self._children(place, room)))
        return _Walk(tuple(places), frozenset(visited), walk.shown + len(entries)), entries

    async def _look_ahead(
        self, place: _Place, later: Sequence[_Place], count: int, visited: Collection[str]
    ) -> None:
        """Learn what is not known of a place, and then of the next ones too, so that one read does for a page."""
        if self._is_known(place):
            return
        count = min(count, MAX_LIMIT)
        upcoming = [place, *(item for item in reversed(later[-count:]) if item.room_id not in visited)]
        unread = [item.room_id for item in upcoming if item.room_id not in self._facts]
        if unread:
            facts = await self._database.read(room_summaries.load_facts, unread)
            self._facts.update({room_id: facts.get(room_id) for room_id in unread})
        asked = [item for item in upcoming if self._needs_asking(item) and item.room_id not in self._asked]
        asked = asked[: _MAX_ASKED - len(self._asked)]
        if asked:
            answers = await self._remote.of(asked, self._options.suggested_only)
            self._asked.update(zip((item.room_id for item in asked), answers, strict=True))

    def _is_known(self, place: _Place) -> bool:
        if place.room_id not in self._facts:
            return False
        return place.room_id in self._asked or not self._needs_asking(place)

    def _needs_asking(self, place: _Place) -> bool:
        """Whether another server has to be asked: of what is no space its space's server has said all."""
        if self._facts.get(place.room_id) is not None:
            return False
        return place.told is None or place.told.get("room_type") == SPACE

    def _room(self, place: _Place) -> dict[str, Any] | None:
        """A room as it is shown; None if the user may not see it, or nobody knows of it."""
        membership = self._memberships.get(place.room_id)
        facts = self._facts.get(place.room_id)
        if membership == "ban":
            return None
        if facts is not None:
            may_see = facts.is_open or self._is_let_in(membership, facts.allowed_rooms)
            return self._own(facts) if may_see else None
        space = self._asked.get(place.room_id)
        told = space.room if space is not None else place.told
        if told is None or not (_is_open(told) or self._is_let_in(membership, told.get("allowed_room_ids", ()))):
            return None
        return {"children_state": [], **told}

    def _own(self, facts: RoomFacts) -> dict[str, Any]:
        children = [child for child in map(stripped_child, facts.children) if is_child(child)]
        return {
            **facts.summary(),
            "children_state": children_in_order(children, suggested_only=self._options.suggested_only),
        }

    def _is_let_in(self, membership: str | None, allowed_rooms: Collection[str]) -> bool:
        if membership in ("join", "invite"):
            return True
        return any(self._memberships.get(room_id) == "join" for room_id in allowed_rooms)

    def _children(self, place: _Place, room: Mapping[str, Any]) -> list[_Place]:
        if place.depth >= self._options.max_depth or room.get("room_type") != SPACE:
            return []
        space = self._asked.get(place.room_id) if self._facts.get(place.room_id) is None else None
        told = {} if space is None else space.children
        hidden = frozenset() if space is None else space.inaccessible
        return [
            _Place(child["state_key"], place.depth + 1, servers_of(child), told.get(child["state_key"]))
            for child in children_in_order(room["children_state"], suggested_only=self._options.suggested_only)
            if child["state_key"] not in hidden
        ]


class _RemoteSpaces:
    """What other servers say of rooms; kept for a while."""

    def __init__(self, clock: Clock, budget: CacheBudget, ask: AskRemote) -> None:
        self._clock = clock
        self._ask = ask
        self._kept = budget.cache("remote_spaces", tuple, tuple[float, RemoteSpace | None])
        self._asking: SingleFlight[tuple[str, bool], RemoteSpace | None] = SingleFlight()

    async def of(self, places: Sequence[_Place], suggested_only: bool) -> list[RemoteSpace | None]:
        """What others say of some rooms, in their order; several are asked for at the same time."""
        turns = DeferredSemaphore(_ASKED_AT_ONCE)
        waiting = [turns.run(self._one, place, suggested_only) for place in places]
        return list(await gatherResults(waiting, consumeErrors=True))

    def _one(self, place: _Place, suggested_only: bool) -> "Deferred[RemoteSpace | None]":
        key = (place.room_id, suggested_only)
        return self._asking.run(key, lambda: self._fetch(key, place))

    async def _fetch(self, key: tuple[str, bool], place: _Place) -> RemoteSpace | None:
        kept = self._kept.get(key)
        if kept is not None and self._clock.monotonic() < kept[0]:
            return kept[1]
        answer = await self._ask(place.room_id, place.servers, key[1])
        found = remote_spaces.parse(answer, place.room_id)
        until = self._clock.monotonic() + (_FAILURE_KEPT_S if found is None else _KEPT_S)
        rooms = 1 if found is None else 1 + len(found.children) + len(found.room["children_state"])
        self._kept.put(key, (until, found), _ROOM_BYTES * rooms)
        return found


def _is_open(summary: Mapping[str, Any]) -> bool:
    return summary["world_readable"] or summary.get("join_rule", "public") in ("public", "knock", "knock_restricted")


def _first(room_id: str) -> _Place:
    return _Place(room_id, 0, (domain_of(room_id),) if is_room_id_with_domain(room_id) else ())


def _resumed(request: HierarchyRequest) -> tuple[_Options, int]:
    """The options of a request, and how many rooms it has been shown. Raises M_INVALID_PARAM."""
    if request.since is None:
        depth = MAX_DEPTH if request.max_depth is None else min(request.max_depth, MAX_DEPTH)
        return _Options(bool(request.suggested_only), depth), 0
    match = _TOKEN.fullmatch(request.since)
    if match is None or int(match[1]) > MAX_ROOMS or int(match[2]) > MAX_DEPTH:
        raise MatrixError(400, "M_INVALID_PARAM", "'from' is not a token of this list.")
    options = _Options(match[3] == "1", int(match[2]))
    if request.max_depth is not None and min(request.max_depth, MAX_DEPTH) != options.max_depth:
        raise MatrixError(400, "M_INVALID_PARAM", "'max_depth' cannot change between the pages of a list.")
    if request.suggested_only is not None and request.suggested_only != options.suggested_only:
        raise MatrixError(400, "M_INVALID_PARAM", "'suggested_only' cannot change between the pages of a list.")
    return options, int(match[1])
