"""Receipts: up to which event users have read.

https://spec.matrix.org/v1.19/client-server-api/#receipts
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import is_event_id
from matrixd.services import known_rooms
from matrixd.storage import push_deltas, read_marks, receipts, rooms, shared_rooms
from matrixd.storage.database import Database
from matrixd.storage.read_marks import MAIN, UNTHREADED, ReadMark
from matrixd.storage.receipts import READ, READ_PRIVATE, ReceiptTarget
from matrixd.storage.rows import ReceiptRow
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

TYPES = frozenset({READ, READ_PRIVATE})
UNKNOWN_EVENT = "the event is not here"


@dataclass(frozen=True, slots=True)
class RemoteReceipt:
    """An m.read receipt of a user of another server."""

    room_id: str
    user_id: str
    event_id: str
    thread_id: str | None
    #: Milliseconds since the epoch; None: unknown.
    ts: int | None


class Receipts:
    """Moves receipts."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def send(
        self, user_nid: int, user_id: str, room_id: str, receipt_type: str, event_id: str, thread_id: str | None
    ) -> None:
        """Move a receipt of `TYPES` forward; one that is further already stays.

        `thread_id` is the event ID of a thread's root, `main`, or None for the room with all its threads.
        Raises M_INVALID_PARAM, M_FORBIDDEN, M_NOT_FOUND for an event that the room does not have.
        """
        if thread_id is not None and thread_id != MAIN and not is_event_id(thread_id):
            raise MatrixError(400, "M_INVALID_PARAM", "'thread_id' must be 'main' or the event ID of a thread's root.")
        await self._database.write(
            _send, user_nid, user_id, room_id, receipt_type, event_id, thread_id, self._clock.now_ms()
        )

    async def send_remote(self, found: Sequence[RemoteReceipt]) -> dict[RemoteReceipt, str]:
        """Move receipts of users of other servers forward.

        Those that were not taken, with the reason: the user is not in the room, or the event is not of its thread.
        Such for an event that is not here are among them, with `UNKNOWN_EVENT`: it may be on its way.
        """
        return await self._database.write(_send_remote, found, self._clock.now_ms())


def _send_remote(tx: Transaction, found: Sequence[RemoteReceipt], now_ms: int) -> dict[RemoteReceipt, str]:
    by_room: dict[str, list[RemoteReceipt]] = {}
    for receipt in found:
        by_room.setdefault(receipt.room_id, []).append(receipt)
    problems: dict[RemoteReceipt, str] = {}
    for room_id, mine in by_room.items():
        room_nid = rooms.nid(tx, room_id)
        user_ids = {receipt.user_id for receipt in mine}
        members = {} if room_nid is None else shared_rooms.joined_among(tx, room_nid, user_ids)
        for receipt in mine:
            user_nid = members.get(receipt.user_id)
            if room_nid is None or user_nid is None:
                problems[receipt] = f"{receipt.user_id} is not in {room_id}"
                continue
            problem = _move_remote(tx, room_nid, user_nid, receipt, now_ms)
            if problem is not None:
                problems[receipt] = problem
    return problems


def _move_remote(
    tx: Transaction, room_nid: int, user_nid: int, receipt: RemoteReceipt, now_ms: int
) -> str | None:
    event = receipts.target(tx, room_nid, receipt.event_id)
    if event is None:
        return UNKNOWN_EVENT
    try:
        _check_thread(event, receipt.event_id, receipt.thread_id)
    except MatrixError as error:
        return error.error
    thread = UNTHREADED if receipt.thread_id is None else receipt.thread_id
    ts = now_ms if receipt.ts is None else min(receipt.ts, now_ms)
    row = ReceiptRow(
        0, room_nid, user_nid, receipt.user_id, READ, thread, receipt.event_id, event.pos, ts
    )
    receipts.set_if_ahead(tx, row)
    return None


def _send(
    tx: Transaction, user_nid: int, user_id: str, room_id: str, receipt_type: str, event_id: str,
    thread_id: str | None, now_ms: int,
) -> None:  # fmt: skip
    room_nid = known_rooms.joined_nid(tx, room_id, user_nid)
    move(tx, user_nid, user_id, room_nid, receipt_type, event_id, thread_id, now_ms)


def target(tx: Transaction, room_nid: int, event_id: str) -> ReceiptTarget:
    """The event that a receipt or marker names. Raises M_INVALID_PARAM, M_NOT_FOUND."""
    if not is_event_id(event_id):
        raise MatrixError(400, "M_INVALID_PARAM", "The event to mark as read must be given by its event ID.")
    found = receipts.target(tx, room_nid, event_id)
    if found is None:
        raise MatrixError(404, "M_NOT_FOUND", "The room has no event with this ID.")
    return found


def move(
    tx: Transaction, user_nid: int, user_id: str, room_nid: int, receipt_type: str, event_id: str,
    thread_id: str | None, now_ms: int,
) -> None:  # fmt: skip
    """Move a receipt of a joined user forward, and with it what counts as read."""
    event = target(tx, room_nid, event_id)
    _check_thread(event, event_id, thread_id)
    thread = UNTHREADED if thread_id is None else thread_id
    receipt = ReceiptRow(0, room_nid, user_nid, user_id, receipt_type, thread, event_id, event.pos, now_ms)
    if receipts.set_if_ahead(tx, receipt):
        read_marks.advance(tx, [ReadMark(user_nid, room_nid, thread, event.pos, event.unread)])
        push_deltas.remove_read(tx, user_nid, room_nid, thread, event.pos)


def _check_thread(event: ReceiptTarget, event_id: str, thread_id: str | None) -> None:
    # A redaction takes an event out of its thread; who has seen it there may still say so.
    if thread_id is None or event.is_redacted:
        return
    # The root is in the main timeline; that it has been read in its own thread says nothing wrong either.
    in_thread = event.thread_id is None if thread_id == MAIN else thread_id in (event.thread_id, event_id)
    if not in_thread:
        raise MatrixError(400, "M_INVALID_PARAM", "The event is not in the thread that 'thread_id' names.")
