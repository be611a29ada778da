"""Events of another server's answer to a join, as they came and before anybody has looked at them."""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class StagedPdu:
    """An event as it came."""

    #: As the event claims.
    depth: int
    seq: int
    #: Of the state, not only of the auth chain.
    in_state: bool
    json: str


def insert(tx: Transaction, room_id: str, pdus: Sequence[StagedPdu]) -> None:
    """Keep some."""
    tx.insert_many(
        "remote_join_pdus",
        ("room_id", "depth", "seq", "in_state", "json"),
        [(room_id, pdu.depth, pdu.seq, int(pdu.in_state), pdu.json) for pdu in pdus],
    )


def first(tx: Transaction, room_id: str, limit: int) -> list[StagedPdu]:
    """Those of the least depth: no event comes before the ones that it is authorised by, if it claims no nonsense."""
    rows = tx.all(
        "SELECT depth, seq, in_state, json FROM remote_join_pdus WHERE room_id = ? ORDER BY depth, seq LIMIT ?",
        (room_id, limit),
    )
    return [StagedPdu(row[0], row[1], bool(row[2]), row[3]) for row in rows]


def remove_up_to(tx: Transaction, room_id: str, last: StagedPdu) -> None:
    """Drop one, and all before it."""
    tx.execute(
        "DELETE FROM remote_join_pdus WHERE room_id = ? AND (depth < ? OR (depth = ? AND seq <= ?))",
        (room_id, last.depth, last.depth, last.seq),
    )


def clear(tx: Transaction, room_id: str, limit: int) -> int:
    """Drop at most `limit` of a room's; how many there were."""
    return tx.execute(
        "DELETE FROM remote_join_pdus WHERE room_id = ? AND (depth, seq) IN"
        " (SELECT depth, seq FROM remote_join_pdus WHERE room_id = ? ORDER BY depth, seq LIMIT ?)",
        (room_id, room_id, limit),
    )
