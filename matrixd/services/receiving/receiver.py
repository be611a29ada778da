"""The way of other servers' events into our rooms.

https://spec.matrix.org/v1.19/server-server-api/#pdus

The stages, a file each: `pdu_checks` (format, signatures, hash), `auth_events`, `placing` and `decision` (authorisation
and the room's state), and where events are missing between, this file and `anchors`.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS, RoomVersion
from matrixd.net.errors import RemoteError
from matrixd.services.persister import NotForeseen, RoomMoved
from matrixd.services.receiving import stored_apart
from matrixd.services.receiving.anchors import Anchors, NoAnchor
from matrixd.services.receiving.auth_events import AuthEvents, AuthEventsMissing
from matrixd.services.receiving.decision import AuthEventsUnknown, IdTaken, PrevEventsMissing
from matrixd.services.receiving.ended_extremities import EndedExtremities
from matrixd.services.receiving.ordering import by_prev_events
from matrixd.services.receiving.pdu_checks import CheckedPdus, PduChecks, id_of
from matrixd.services.receiving.placing import NotInRoom, Placed, Placing, Received
from matrixd.services.receiving.remote_history import RemoteHistory
from matrixd.services.receiving.stored_apart import Apart
from matrixd.services.room_head import RoomHeads, UnknownRoom
from matrixd.storage import events, rooms, timeline_gaps
from matrixd.storage.database import Database
from matrixd.storage.engines.base import Unavailable
from matrixd.storage.rows import EventRow
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock
from matrixd.util.single_flight import SingleFlight

logger = logging.getLogger(__name__)

#: Events that are asked for between what we have and what came.
_MAX_MISSING = 50
#: Servers that are asked for the state before an event.
_MAX_ANCHORING = 4
#: Events that are fetched with the state before them for one that was received.
_MAX_ANCHORS = 20
#: How often an event is looked at again because the room moved.
_MAX_TRIES = 5
#: When an event that could not be placed is tried again.
_RETRY_MS = 5_000


class OutsideRooms(Protocol):
    """Takes events of rooms that this server takes no part in."""

    async def receive(self, origin: str, event: Event) -> bool:
        """Whether the event means something to a user of ours, and was taken."""


class Receiver:
    """Takes events of other servers."""

    def __init__(
        self,
        database: Database,
        heads: RoomHeads,
        checks: PduChecks,
        auth_events: AuthEvents,
        anchors: Anchors,
        placing: Placing,
        history: RemoteHistory,
        outside: OutsideRooms,
        clock: Clock,
    ) -> None:
        self._database = database
        self._heads = heads
        self._checks = checks
        self._auth_events = auth_events
        self._anchors = anchors
        self._placing = placing
        self._history = history
        self._outside = outside
        self._clock = clock
        self._ended = EndedExtremities(database, heads)
        self._under_way: SingleFlight[str, Placed] = SingleFlight()

    async def receive(self, origin: str, room_id: str, pdus: Sequence[Any]) -> dict[str, str | None]:
        """Take a transaction's events of one room: event ID -> why it could not be handled, or None.

        One event never costs the others. Raises `Unavailable` while the database is away.
        """
        version = await self._database.read(_version, room_id)
        if version is None:
            return {}
        checked = await self._checks.check(version, room_id, pdus)
        results: dict[str, str | None] = dict(checked.refused)
        if checked.refused:
            logger.info("%s sent events that are refused: %s", origin, checked.refused)
        following: list[tuple[Received, Deferred[list[EventRow]]]] = []
        try:
            for event in by_prev_events(checked.events):
                received = Received(event, checked.signed_by[event.event_id], origin)
                try:
                    stored = await self._placing.follow(received)
                except NotInRoom:
                    stored = None
                if stored is not None:
                    following.append((received, stored))
                    continue
                await self._settle(following, results)
                results[event.event_id] = await self._handled(received)
            await self._settle(following, results)
        finally:
            for _, stored in following:
                # Nobody waits for it any more: what went wrong has been said of one before it.
                stored.addErrback(lambda _: None)
        return results

    async def refuse(self, room_id: str, pdus: Sequence[Any], error: str) -> dict[str, str | None]:
        """What `receive` answers for events of which none is taken."""
        version = await self._database.read(_version, room_id)
        found = () if version is None else (id_of(version, pdu) for pdu in pdus)
        return {event_id: error for event_id in found if event_id is not None}

    async def _settle(
        self, following: list[tuple[Received, Deferred[list[EventRow]]]], results: dict[str, str | None]
    ) -> None:
        """Wait for what follows the timeline's end; what it was built on may not have been stored."""
        while following:
            received, stored = following.pop(0)
            results[received.event.event_id] = await self._handled(received, stored)

    async def _handled(self, received: Received, stored: "Deferred[list[EventRow]] | None" = None) -> str | None:
        """Why an event could not be handled, or None. `stored`: of one that follows the timeline's end."""
        event = received.event
        try:
            if stored is not None:
                try:
                    await stored
                    return None
                except (RoomMoved, NotForeseen):
                    pass  # What it was built on was not stored: it is looked at.
            return await self._take(received)
        except NotInRoom:
            is_taken = await self._outside.receive(received.origin, event)
            return None if is_taken else "This server is not in the room."
        except Unavailable:
            raise
        except Exception:
            # An edge like that of a request: else its server would send the same transaction for ever, and no other.
            logger.exception("%s, which %s sent, cannot be handled", event.event_id, received.origin)
            return "This server failed to handle the event."

    async def _take(self, received: Received) -> str | None:
        """Why an event could not be handled, or None."""
        try:
            await self._under_way.run(received.event.event_id, lambda: self._place(received))
        except (AuthEventsMissing, NoAnchor, RemoteError) as error:
            # What comes from a server without a member in the room is not worth the disk.
            head = await self._heads.find(received.event.room_id)
            if head is not None and received.event.sender_domain in head.servers:
                await self._database.write(_keep, received.event, self._clock.now_ms() + _RETRY_MS, str(error))
            return str(error)
        except IdTaken as error:
            return str(error)
        # Rejected or not: "If no error is present, the PDU can be considered successfully handled."
        return None

    async def retry(self, event: Event) -> str | None:
        """Try again to place an event that is kept without a place; why it still has none, or None.

        `Unavailable` passes.
        """
        checked = await self._checks.check(event.version, event.room_id, [event.pdu])
        if event.event_id not in checked.signed_by:
            return checked.refused.get(event.event_id, "It is not what was stored.")
        received = Received(checked.events[0], checked.signed_by[event.event_id], event.sender_domain)
        try:
            await self._under_way.run(event.event_id, lambda: self._place(received))
        except NotInRoom:
            return "This server is not in the room."
        except (AuthEventsMissing, NoAnchor, RemoteError, IdTaken) as error:
            return str(error)
        # An event that is placed needed all that comes before it, or the state after that.
        await self._database.write(timeline_gaps.close_before, event.event_id)
        return None

    async def accept(self, origin: str, event: Event, signed_by: frozenset[str], *, sends_on: bool = True) -> None:
        """Take one event that was made with our help, or that another server has signed for us; it was checked.

        Raises MatrixError, and `Unavailable` while the database is away.
        """
        received = Received(event, signed_by, origin, sends_on)
        try:
            placed = await self._under_way.run(event.event_id, lambda: self._place(received))
        except NotInRoom:
            raise MatrixError(404, "M_NOT_FOUND", f"This server is not in {event.room_id}.") from None
        except (AuthEventsMissing, NoAnchor, RemoteError, IdTaken) as error:
            raise MatrixError(400, "M_BAD_JSON", f"The event cannot be placed in the room: {error}") from error
        if placed.verdict is not None:
            raise MatrixError(403, "M_FORBIDDEN", placed.reason or "The event was rejected.")

    async def _place(self, received: Received, search: "_Search | None" = None) -> Placed:
        """Place an event; what is missing before it is fetched. `search`: that for an event which needs this one."""
        may_ask = search is None
        search = _Search() if search is None else search
        received = await self._placing.checked_by_policy(received)
        anchored: set[str] = set()
        for _ in range(_MAX_TRIES):
            try:
                placed = await self._placing.place(received)
                if anchored:
                    await self._drop_ends(received.event.room_id, anchored)
                return placed
            except RoomMoved:
                continue
            except AuthEventsUnknown:
                await self._auth_events.ensure(received.origin, received.event)
            except PrevEventsMissing as missing:
                if may_ask:
                    may_ask = False
                    await self._fetch_between(received, search)
                else:
                    await self._anchor(received, missing.event_ids, search)
                    anchored.update(missing.event_ids)
        raise NoAnchor("The room is too busy.")

    async def _fetch_between(self, received: Received, search: "_Search") -> None:
        """Take what is between the room's newest end and an event, as far as its server tells. Raises `NoAnchor`."""
        event = received.event
        try:
            pdus = await self._history.missing_events(
                received.origin, event.room_id, await self._ends(event.room_id), [event.event_id], _MAX_MISSING
            )
        except RemoteError as error:
            logger.info("%s does not tell what comes before %s: %s", received.origin, event.event_id, error)
            return
        if not pdus:
            # Whoever sends an event knows what is before it. To ask for more now would be to take anything from it.
            raise NoAnchor(f"{received.origin} tells nothing of what comes before it.")
        checked = await self._checks.check(event.version, event.room_id, pdus[:_MAX_MISSING])
        await self._take_all(received.origin, checked, event.event_id, search)

    async def _take_all(self, origin: str, checked: CheckedPdus, except_id: str, search: "_Search") -> None:
        if not checked.events:
            return
        past = await self._database.read(_past, checked.events[0].room_id, checked.events)
        for found in by_prev_events(checked.events):
            if found.event_id == except_id or found.event_id in past:
                continue
            received = Received(found, checked.signed_by[found.event_id], origin)
            try:
                # Not shared with who places it already: by a lie of what is between, two could wait for each other.
                await self._place(received, search)
            except (AuthEventsMissing, NoAnchor, RemoteError, IdTaken) as error:
                logger.info("%s, which %s tells of, cannot be placed: %s", found.event_id, origin, error)

    async def _anchor(self, received: Received, missing: Sequence[str], search: "_Search") -> None:
        event = received.event
        servers = await self._servers(received.origin, event.room_id)
        for event_id in missing:
            search.take_one(event_id)
            try:
                await self._anchors.anchor(servers, event.version, event.room_id, event_id)
            except NoAnchor as error:
                search.in_vain[event_id] = str(error)
                raise

    async def _drop_ends(self, room_id: str, anchored: Collection[str]) -> None:
        """What the room ended in until now may come directly before what was anchored: then it is no end any more."""
        found = await self._database.read(events.by_ids, anchored)
        accepted = [item for item in found.values() if item.pos is not None and item.verdict is None]
        async with self._heads.exclusive(room_id):
            await self._ended.drop(room_id, {prev for item in accepted for prev in item.event.prev_events})

    async def _servers(self, origin: str, room_id: str) -> list[str]:
        """Who may know more of a room: the server that sent an event, then those with the most members."""
        try:
            members = (await self._heads.get(room_id)).servers
        except UnknownRoom:
            members = {}
        others = sorted(members, key=lambda server: -members[server])
        return list(dict.fromkeys([origin, *others]))[:_MAX_ANCHORING]

    async def _ends(self, room_id: str) -> list[str]:
        room = await self._database.read(rooms.by_id, room_id)
        return list(room.extremities) if room is not None else []


@dataclass(slots=True)
class _Search:
    """What one received event makes us ask of other servers, of which most have not sent it: it is bounded."""

    anchors_left: int = _MAX_ANCHORS
    #: Why events could not be fetched.
    in_vain: dict[str, str] = field(default_factory=dict)

    def take_one(self, event_id: str) -> None:
        """An event is to be fetched with the state before it. Raises `NoAnchor` if that is not worth a try."""
        if event_id in self.in_vain:
            raise NoAnchor(self.in_vain[event_id])
        if not self.anchors_left:
            raise NoAnchor("More is missing before it than is fetched at once.")
        self.anchors_left -= 1


def _keep(tx: Transaction, event: Event, retry_ts: int, error: str) -> None:
    """Keep an event that cannot be placed for want of what is before it: it is tried again.

    What we have is worth keeping: nobody may ever send it again.
    """
    room_nid, stored = rooms.nid(tx, event.room_id), events.by_id(tx, event.event_id)
    if room_nid is None or (stored is not None and not stored.is_outlier):
        return
    nids = stored_apart.store(tx, room_nid, [Apart(event)])
    timeline_gaps.open_all(tx, [(room_nid, prev, nids[event.event_id]) for prev in event.prev_events], retry_ts, error)


def _past(tx: Transaction, room_id: str, found: Sequence[Event]) -> set[str]:
    """Those of some events that come before one which is missing in the history of what this server has.

    They are no news: as such they would become ends of the room. Who pages back has them fetched.
    """
    room_nid = rooms.nid(tx, room_id)
    by_id = {event.event_id: event for event in found}
    past: set[str] = set()
    waiting = list(timeline_gaps.missing(tx, room_nid, list(by_id))) if room_nid is not None else []
    while waiting:
        for prev in by_id[waiting.pop()].prev_events:
            if prev in by_id and prev not in past:
                past.add(prev)
                waiting.append(prev)
    return past


def _version(tx: Transaction, room_id: str) -> RoomVersion | None:
    room = rooms.by_id(tx, room_id)
    return None if room is None else ROOM_VERSIONS[room.version]
