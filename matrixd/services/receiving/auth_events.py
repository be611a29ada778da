"""Makes sure that the auth events of an event are here, and that they were authorised themselves.

Step 4 of https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

import logging
from collections.abc import Collection, Container, Mapping, Sequence

from matrixd.core.auth import AuthRule, EventForbidden, check_state_dependent, check_state_independent
from matrixd.core.event import Event
from matrixd.core.versions import RoomVersion
from matrixd.net.errors import RemoteError
from matrixd.services.receiving import stored_apart
from matrixd.services.receiving.ordering import by_auth_events
from matrixd.services.receiving.pdu_checks import CheckedPdus, PduChecks
from matrixd.services.receiving.remote_history import RemoteHistory
from matrixd.services.receiving.stored_apart import Apart
from matrixd.storage import events, room_state, rooms
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

logger = logging.getLogger(__name__)

#: Events of one auth chain that are taken.
MAX_CHAIN = 20_000
#: Events that are asked for one by one where the chain as a whole was not to be had.
_MAX_SINGLE = 50
#: Events that are stored in one commit.
_CHUNK = 500
_CREATE = ("m.room.create", "")


class AuthEventsMissing(Exception):
    """Auth events of an event are not to be had: nothing can be said of it now."""


class AuthEvents:
    """Fetches, authorises and stores auth events."""

    def __init__(self, database: Database, checks: PduChecks, history: RemoteHistory) -> None:
        self._database = database
        self._checks = checks
        self._history = history

    async def ensure(self, origin: str, event: Event) -> None:
        """Afterwards all auth events of an event are stored, be it as rejected. Raises `AuthEventsMissing`."""
        missing = await self._missing([event])
        if not missing:
            return
        checked = CheckedPdus()
        try:
            pdus = await self._history.event_auth(origin, event.room_id, event.event_id)
            checked = await self._checks.check(event.version, event.room_id, pdus[:MAX_CHAIN])
        except RemoteError as error:
            logger.info("%s does not tell the auth chain of %s: %s", origin, event.event_id, error)
        missing -= {found.event_id for found in checked.events}
        if missing:
            checked.take(await self._fetch_singly(origin, event.version, event.room_id, missing))
        await self.store(event.version, event.room_id, checked)
        if await self._missing([event]):
            raise AuthEventsMissing(f"Its auth events are not to be had from {origin}.")

    async def _missing(self, found: Sequence[Event]) -> set[str]:
        wanted = {auth_id for event in found for auth_id in event.auth_events}
        return wanted - (await self._database.read(events.nids, wanted)).keys() if wanted else set()

    async def _fetch_singly(
        self, origin: str, version: RoomVersion, room_id: str, missing: Collection[str]
    ) -> CheckedPdus:
        """The events, and those in their auth chains that are not here."""
        checked = CheckedPdus()
        asked: set[str] = set()
        wanted = set(missing)
        while wanted and len(asked) < _MAX_SINGLE:
            event_id = wanted.pop()
            asked.add(event_id)
            try:
                pdu = await self._history.event(origin, event_id)
            except RemoteError as error:
                logger.info("%s does not tell the event %s: %s", origin, event_id, error)
                continue
            found = await self._checks.check(version, room_id, [pdu])
            checked.take(found)
            wanted |= await self._missing(found.events) - asked - {event.event_id for event in checked.events}
        return checked

    async def store(self, version: RoomVersion, room_id: str, checked: CheckedPdus) -> None:
        """Authorise checked events by the auth events that they name, and store those that can be: as outliers.

        Those that are forbidden are stored as rejected; those whose auth events are neither stored nor among them are
        left out.
        """
        ordered = by_auth_events(checked.events)
        for start in range(0, len(ordered), _CHUNK):
            chunk = ordered[start : start + _CHUNK]
            await self._database.write(_authorise_and_store, version, room_id, chunk, checked.signed_by)


def _authorise_and_store(
    tx: Transaction,
    version: RoomVersion,
    room_id: str,
    found: Sequence[Event],
    signed_by: Mapping[str, frozenset[str]],
) -> None:
    room_nid = rooms.nid(tx, room_id)
    if room_nid is None:
        room_nid = rooms.create(tx, room_id, version.identifier)
    wanted = {event.event_id for event in found} | {auth_id for event in found for auth_id in event.auth_events}
    if version.auth.create_implied_by_room_id:
        wanted.add(f"${room_id[1:]}")
    stored = events.by_ids(tx, wanted)
    known = {event_id: item.event for event_id, item in stored.items()}
    rejected = {event_id for event_id, item in stored.items() if item.verdict == "rejected"}
    apart = []
    for event in found:
        if event.event_id in known or any(auth_id not in known for auth_id in event.auth_events):
            continue
        try:
            check_creation(tx, room_nid, event)
            check_by_auth_events(event, known, signed_by[event.event_id], rejected)
            verdict = None
        except EventForbidden as error:
            logger.info("%s is rejected: %s", event.event_id, error)
            verdict = "rejected"
            rejected.add(event.event_id)
        known[event.event_id] = event
        apart.append(Apart(event, verdict))
    stored_apart.store(tx, room_nid, apart)


def check_creation(tx: Transaction, room_nid: int, event: Event) -> None:
    """A room is created once, by the event that "cannot be changed": the rules allow each without parents, and it would
    be resolved against the true one. Raises EventForbidden for any other.

    https://spec.matrix.org/v1.19/client-server-api/#mroomcreate
    """
    if event.type != _CREATE[0]:
        return
    created = room_state.of_keys(tx, room_nid, [_CREATE]).get(_CREATE)
    if created is not None and created.event != event:
        raise EventForbidden(
            AuthRule.CREATE_OF_CREATED_ROOM, f"{event.room_id} was created by {created.event.event_id}"
        )


def check_by_auth_events(
    event: Event, known: Mapping[str, Event], signed_by: Container[str], rejected: Collection[str]
) -> None:
    """Whether an event is allowed by the auth events that it names, which are in `known`, as is the room's creation.

    Raises EventForbidden. Step 4 of the checks.
    """
    auth_events = [known[auth_id] for auth_id in event.auth_events]
    create = known.get(f"${event.room_id[1:]}") if event.version.auth.create_implied_by_room_id else None
    check_state_independent(event, auth_events, create=create, signed_by=signed_by, rejected=rejected)
    state = {auth_event.key: auth_event for auth_event in auth_events if auth_event.is_state}
    if create is not None:
        state[create.key] = create
    check_state_dependent(event, state)
