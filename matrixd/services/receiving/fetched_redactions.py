"""Redactions and the history that is fetched later: either may come first.

https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
"""

from collections.abc import Sequence

from matrixd.core.auth import redaction_applies
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels
from matrixd.storage import event_relations, event_state, events, redactions
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

_POWERS = (("m.room.create", ""), ("m.room.power_levels", ""))


def apply_redactions(tx: Transaction, accepted: Sequence[Event]) -> None:
    """Prune what was redacted: by one of some events that were just stored, or of these by any stored event."""
    pairs = [
        (target_id, item)
        for target_id in redactions.targets(tx, [event.event_id for event in accepted])
        for item in redactions.of(tx, target_id)
    ]
    own = events.by_ids(tx, [event.event_id for event in accepted if event.redacts is not None])
    pairs += [(item.event.redacts, item) for item in own.values() if item.event.redacts is not None]
    for target_id, redaction in pairs:
        target = events.by_id(tx, target_id)
        if target is not None and target.redacted_by is None and _applies(tx, redaction, target):
            events.prune(tx, target.event_nid, target.event.redacted(), redaction.event_nid)
            event_relations.remove(tx, target.event_nid)


def _applies(tx: Transaction, redaction: StoredEvent, target: StoredEvent) -> bool:
    before = event_state.before(tx, redaction)
    if before is None or target.room_nid != redaction.room_nid:
        return False
    state = {key: item.event for key, item in before.of_keys(tx, _POWERS).items()}
    return _POWERS[0] in state and redaction_applies(redaction.event, target.event, PowerLevels.in_state(state))
