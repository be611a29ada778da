"""The first checks on what another server says is an event: its format, its signatures, its content's hash.

Steps 1 to 3 of https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.threads import deferToThreadPool

from matrixd.core.errors import EventRule, InvalidEvent, NotCanonical, SignatureInvalid
from matrixd.core.event import Event
from matrixd.core.event_signing import authorising_server, required_signers, verify_event
from matrixd.core.hashing import content_hash_matches, event_id_of
from matrixd.core.policy_server import KEY_ID as POLICY_KEY_ID
from matrixd.core.signing import VerifyKey, signatures_by
from matrixd.core.versions import RoomVersion

#: More signatures than this are checked in a thread (libsodium lets others run meanwhile).
_MANY = 40
#: Events whose keys are asked for at once.
_CHUNK = 1_000

KeysOfServers = Mapping[str, Mapping[str, VerifyKey]]


class KeyRing(Protocol):
    """Who knows the keys of other servers."""

    async def keys(self, wanted: Mapping[str, Mapping[str, int]]) -> KeysOfServers:
        """Server -> key ID -> key, from server -> key ID -> the time (ms) at which it must be good."""


@dataclass(slots=True)
class CheckedPdus:
    """What is left of some PDUs, and what is wrong with the rest."""

    events: list[Event] = field(default_factory=list)
    #: By event ID: the servers whose signatures were verified.
    signed_by: dict[str, frozenset[str]] = field(default_factory=dict)
    #: By event ID, as far as there is one: why an event was dropped.
    refused: dict[str, str] = field(default_factory=dict)
    #: Which of them are events, but without the signatures that they need.
    unsigned: set[str] = field(default_factory=set)

    def take(self, other: "CheckedPdus") -> None:
        """Add what another check has found."""
        self.events += other.events
        self.signed_by.update(other.signed_by)
        self.refused.update(other.refused)
        self.unsigned |= other.unsigned


class PduChecks:
    """Checks PDUs in batches. `reactor`: Twisted's, with a thread pool."""

    def __init__(self, key_ring: KeyRing, reactor: Any) -> None:
        self._key_ring = key_ring
        self._reactor = reactor

    async def check(self, version: RoomVersion, room_id: str | None, pdus: Sequence[Any]) -> CheckedPdus:
        """Those of some PDUs that are events of a room (of any with None), in their order, each once.

        One whose content has another hash than it says is redacted, as the specification wants.
        """
        checked = CheckedPdus()
        for start in range(0, len(pdus), _CHUNK):
            checked.take(await self._check(version, room_id, pdus[start : start + _CHUNK]))
        return checked

    async def _check(self, version: RoomVersion, room_id: str | None, pdus: Sequence[Any]) -> CheckedPdus:
        checked = CheckedPdus()
        # Two may have one ID, which covers neither all of the content nor the signatures: the first good one counts.
        read: list[tuple[Event, bytes]] = []
        for pdu in pdus:
            try:
                read.append(_read(version, room_id, pdu))
            except InvalidEvent as error:
                event_id = id_of(version, pdu)
                if event_id is not None:
                    checked.refused[event_id] = f"{error}."
        keys = await self._key_ring.keys(_wanted_keys(event for event, _ in read))
        if len(read) > _MANY:
            pool = self._reactor.getThreadPool()
            await deferToThreadPool(self._reactor, pool, _verify_all, read, keys, checked)
        else:
            _verify_all(read, keys, checked)
        for event_id in checked.refused.keys() & checked.signed_by.keys():
            del checked.refused[event_id]
            checked.unsigned.discard(event_id)
        return checked


def _read(version: RoomVersion, room_id: str | None, pdu: Any) -> tuple[Event, bytes]:
    """The event, and what its signatures cover."""
    if not isinstance(pdu, dict):
        raise InvalidEvent(EventRule.FORMAT, "An event must be an object")
    event, message = Event.with_signed_bytes(version, pdu)
    if room_id is not None and event.room_id != room_id:
        raise InvalidEvent(EventRule.FORMAT, f"It is an event of {event.room_id}")
    if "\0" in event.type or "\0" in (event.state_key or ""):
        # PostgreSQL has no text with it, and nobody has a use for it.
        raise InvalidEvent(EventRule.FORMAT, "type and state_key must not hold a NUL")
    return event, message


def id_of(version: RoomVersion, pdu: Any) -> str | None:
    """The ID of what could not be read as an event, for the answer."""
    if not isinstance(pdu, dict):
        return None
    try:
        event_id = event_id_of(version, pdu)
    except (NotCanonical, KeyError, TypeError, AttributeError):
        return None
    # Where event IDs are chosen it may be anything.
    return event_id if type(event_id) is str else None


def _signers(event: Event) -> set[str]:
    signers = set(required_signers(event))
    authoriser = authorising_server(event)
    if authoriser is not None:
        signers.add(authoriser)
    return signers


def _wanted_keys(events: Iterable[Event]) -> dict[str, dict[str, int]]:
    wanted: dict[str, dict[str, int]] = {}
    for event in events:
        at = event.origin_server_ts if event.version.enforces_key_validity else 0
        # The sender of a third-party invite need not sign it, but of one that is redacted nothing else is left.
        for server_name in {*_signers(event), event.sender_domain}:
            # That of a policy server is checked with a key that the room's state has.
            for key_id in signatures_by(event.pdu, server_name).keys() - {POLICY_KEY_ID}:
                times = wanted.setdefault(server_name, {})
                times[key_id] = max(at, times.get(key_id, 0))
    return wanted


def _verify_all(events: Collection[tuple[Event, bytes]], keys: KeysOfServers, checked: CheckedPdus) -> None:
    for read, message in events:
        if read.event_id in checked.signed_by:
            continue
        # First of all: who has to sign depends on what is believed of the content.
        event = read if content_hash_matches(read.pdu) else read.redacted()
        signed_by = set()
        problem = None
        required = required_signers(event)
        for server_name in _signers(event):
            try:
                verify_event(event, server_name, keys.get(server_name, {}), message)
                signed_by.add(server_name)
            except SignatureInvalid as error:
                # That of an authorising server is for the authorisation rules to miss.
                if server_name in required:
                    problem = f"{error}."
        if problem is not None:
            checked.refused[event.event_id] = problem
            checked.unsigned.add(event.event_id)
            continue
        checked.events.append(event)
        checked.signed_by[event.event_id] = frozenset(signed_by)
