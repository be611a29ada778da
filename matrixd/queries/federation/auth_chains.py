"""Auth chains: the events that allowed an event, those that allowed them, and so on.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-event-authorisation-information

Only `auth_events` of the stored JSON are looked at, so a chain of tens of thousands of events costs little more than
reading it.
"""

from collections.abc import Iterable, Mapping

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.storage import event_json
from matrixd.storage.event_json import EventJson
from matrixd.storage.transaction import Transaction

#: Events of one chain: more than any room needs, and less than memory has.
MAX_EVENTS = 500_000


class _Parents(msgspec.Struct):
    # Pairs of event ID and hashes in room versions 1 and 2.
    auth_events: list[str | tuple[str, object]]


_DECODER = msgspec.json.Decoder(_Parents)


def auth_event_ids(text: str) -> list[str]:
    """The IDs of an event's `auth_events`, from its stored JSON."""
    found = _DECODER.decode(text).auth_events
    return [entry if isinstance(entry, str) else entry[0] for entry in found]


def chain_of(
    tx: Transaction, room_nid: int, texts: Iterable[EventJson], known: Mapping[str, EventJson] | None = None
) -> dict[str, EventJson]:
    """The auth chain of some events of a room, by event ID; the events themselves only where they are in it.

    As they were stored, which nearly always is what was authorised by others after these.

    `known` are events that the caller has read. What is not stored, or is of another room, is left out.
    Raises M_TOO_LARGE for a chain of over MAX_EVENTS events.
    """
    known = known or {}
    chain: dict[str, EventJson] = {}
    level = {event_id for text in texts for event_id in auth_event_ids(text.json)}
    while level:
        found = {event_id: known[event_id] for event_id in level if event_id in known}
        for text in event_json.by_ids(tx, room_nid, level - found.keys()):
            found[text.event_id] = text
        chain.update(found)
        if len(chain) > MAX_EVENTS:
            raise MatrixError(413, "M_TOO_LARGE", f"The auth chain has more than {MAX_EVENTS} events.")
        level = {event_id for text in found.values() for event_id in auth_event_ids(text.json)} - chain.keys()
    return dict(sorted(chain.items(), key=lambda item: item[1].event_nid))
