"""Events that are stored apart from their room's timeline.

Outliers (the state before them is not known), rejected and soft-failed events, and history that was fetched later. None
of them changes the room's current state or its newest end.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrixd.core.event import Event
from matrixd.services.event_effects import relation
from matrixd.storage import (
    auth_edges,
    event_relations,
    event_state,
    events,
    redactions,
    room_state,
    timeline_gaps,
    users,
)
from matrixd.storage.event_state import EventState
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Apart:
    """An event to be stored."""

    event: Event
    #: 'rejected', 'soft_failed', 'waiting' (a redaction without effect) or None.
    verdict: str | None = None
    #: The state before it; None for an outlier.
    state: EventState | None = None
    #: It is part of the room's history, before what the timeline has.
    is_history: bool = False
    #: The number of the redaction that pruned it before it came.
    redacted_by: int | None = None


def store(tx: Transaction, room_nid: int, apart: Sequence[Apart]) -> dict[str, int]:
    """Store events, of which the oldest come first; the number of each by event ID.

    One that is stored already keeps its number, and gets a place in the history if it is an outlier. One that is called
    as an event of another room is left out (in old room versions servers choose the IDs).
    """
    known = events.by_ids(tx, [a.event.event_id for a in apart])
    foreign = {event_id for event_id, item in known.items() if item.room_nid != room_nid}
    apart = [a for a in apart if a.event.event_id not in foreign]
    known = {event_id: item for event_id, item in known.items() if event_id not in foreign}
    wanted = [a for a in apart if a.event.event_id not in known or known[a.event.event_id].is_outlier]
    if not wanted:
        return {event_id: item.event_nid for event_id, item in known.items()}
    senders = users.nids(tx, (a.event.sender for a in wanted))
    keys = room_state.key_nids(tx, (a.event.key for a in wanted if a.event.is_state))
    fresh = iter(range(first := tx.next_id("event_nids", len(wanted)), first + len(wanted)))
    history = sum(a.is_history for a in wanted)
    pos = -(tx.next_id("history", history) + history - 1) if history else 0
    nids = {event_id: item.event_nid for event_id, item in known.items()}
    rows: dict[str, events.NewEvent] = {}
    #: Events in a line without state between have the same state before them, which is stored once.
    sets: dict[int, int] = {}
    made: list[events.NewEvent] = []
    placed: list[int] = []
    for a in wanted:
        event = a.event
        place = None
        if a.is_history and a.verdict is None:
            place = pos
        pos += a.is_history
        key_nid = keys[event.key] if event.is_state else None
        state_nid = None
        if a.state is not None:
            state_nid = sets.get(id(a.state))
            if state_nid is None:
                state_nid = sets[id(a.state)] = event_state.store(tx, a.state)
        stored = known.get(event.event_id)
        nid = nids[event.event_id] = next(fresh) if stored is None else stored.event_nid
        row = events.NewEvent(
            nid, room_nid, place, senders[event.sender], key_nid, 0, a.verdict, event, state_nid, a.redacted_by
        )
        rows[event.event_id] = row
        if stored is None:
            made.append(row)
        elif state_nid is not None:
            events.place(tx, row)
            placed.append(nid)
    timeline_gaps.settle(tx, placed)
    events.insert(tx, made)
    _store_edges(tx, [row for row in made if row.key_nid is not None])
    _store_references(tx, wanted, rows, room_nid)
    return nids


def _store_edges(tx: Transaction, naming: Sequence[events.NewEvent]) -> None:
    auth_ids = {auth_id for row in naming for auth_id in row.event.auth_events}
    named = events.nids_and_types(tx, auth_ids)
    auth_edges.insert(tx, _edges(naming, named))


def _edges(naming: Sequence[events.NewEvent], named: dict[str, tuple[int, str]]) -> Iterable[tuple[int, int]]:
    for row in naming:
        for auth_id in dict.fromkeys(row.event.auth_events):
            auth_nid, event_type = named.get(auth_id, (0, ""))
            if auth_nid and event_type != "m.room.create":
                yield auth_nid, row.event_nid


def _store_references(
    tx: Transaction, apart: Sequence[Apart], rows: Mapping[str, events.NewEvent], room_nid: int
) -> None:
    """What history refers to: redactions and relations. What other events apart refer to counts for nothing."""
    relations = []
    for a in apart:
        row = rows[a.event.event_id]
        if a.event.redacts is not None and (row.pos is not None or a.verdict == redactions.WAITING):
            redactions.insert(tx, row.event_nid, a.event.redacts)
        if row.pos is None:
            continue
        related = relation(a.event)
        if related is not None:
            relations.append(
                event_relations.Relation(
                    row.event_nid, room_nid, related.event_id, related.rel_type, a.event.type, row.sender_nid, False,
                    row.pos,
                )
            )
    event_relations.insert(tx, relations)
