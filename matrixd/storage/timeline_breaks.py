"""Where a room's timeline does not go on from what it had before."""

from collections.abc import Collection, Sequence

from matrixd.storage.transaction import Transaction


def insert(tx: Transaction, breaks: Sequence[tuple[int, int]]) -> None:
    """Note (room, position of the event after the break)."""
    tx.insert_many("timeline_breaks", ("room_nid", "pos"), breaks)


def newest(tx: Transaction, room_nids: Collection[int]) -> dict[int, int]:
    """The position of the event after the newest break of each of some rooms that have one."""
    condition, parameter = tx.among("room_nid", list(room_nids))
    return dict(
        tx.all(f"SELECT room_nid, max(pos) FROM timeline_breaks WHERE {condition} GROUP BY room_nid", (parameter,))
    )
