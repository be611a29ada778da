"""Receipts as sync gives them: the content of one `m.receipt` event for each room.

https://spec.matrix.org/v1.19/client-server-api/#receipts
"""

from collections.abc import Collection, Iterable
from typing import Any

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.feed import Feed
from matrixd.queries.recent import Recent
from matrixd.storage import receipts
from matrixd.storage.database import Database
from matrixd.storage.receipts import READ
from matrixd.storage.rows import ReceiptRow

#: Event ID -> receipt type -> user ID -> {"ts": …, "thread_id": …}.
ReceiptContent = dict[str, dict[str, dict[str, dict[str, Any]]]]

_MAX_ROWS = 10_000
_ROW_BYTES = 400


class Receipts:
    """Reads receipts; the newest 10,000 (4 MB) from memory."""

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._recent: Recent[ReceiptRow] = Recent(
            feed.token[Stream.RECEIPTS],
            key=lambda row: row.room_nid,
            size=lambda row: _ROW_BYTES,
            max_rows=_MAX_ROWS,
            max_bytes=_MAX_ROWS * _ROW_BYTES,
        )
        feed.subscribe(ReceiptRow, self._recent.add)

    def recent(
        self, user_nid: int, room_nids: Collection[int], after: StreamToken, up_to: StreamToken
    ) -> dict[int, ReceiptContent] | None:
        """What moved between two tokens, by room, as `user_nid` may see it; rooms without news are left out.

        None if memory does not reach back to `after`: ask `between`.
        """
        begin, end = after[Stream.RECEIPTS], up_to[Stream.RECEIPTS]
        found: dict[int, ReceiptContent] = {}
        for room_nid in room_nids:
            rows = self._recent.after(room_nid, begin)
            if rows is None:
                return None
            content = _content(row for row in rows if row.pos <= end and _may_see(user_nid, row)) if rows else None
            if content:
                found[room_nid] = content
        return found

    async def between(
        self, user_nid: int, room_nids: Collection[int], after: StreamToken | None, up_to: StreamToken
    ) -> dict[int, ReceiptContent]:
        """What moved between two tokens, by room, as `user_nid` may see it; all receipts when `after` is None."""
        if after is not None:
            recent = self.recent(user_nid, room_nids, after, up_to)
            if recent is not None:
                return recent
        begin = 0 if after is None else after[Stream.RECEIPTS]
        rows = await self._database.read(receipts.in_rooms, room_nids, user_nid, begin, up_to[Stream.RECEIPTS])
        by_room: dict[int, list[ReceiptRow]] = {}
        for row in rows:
            by_room.setdefault(row.room_nid, []).append(row)
        return {room_nid: _content(found) for room_nid, found in by_room.items()}


def _may_see(user_nid: int, row: ReceiptRow) -> bool:
    # "Servers MUST NOT send the m.read.private receipt to any other user than the one which originally sent it."
    return row.type == READ or row.user_nid == user_nid


def _content(rows: Iterable[ReceiptRow]) -> ReceiptContent:
    # A receipt that moved twice appears once, where it is now.
    newest = {(row.user_id, row.type, row.thread_id): row for row in rows}
    content: ReceiptContent = {}
    for row in newest.values():
        users = content.setdefault(row.event_id, {}).setdefault(row.type, {})
        if not row.thread_id:
            users[row.user_id] = {"ts": row.ts}
        elif "thread_id" in users.get(row.user_id, {"thread_id": None}):
            # The content has room for one receipt of a user at an event: one for the whole room says more.
            users[row.user_id] = {"ts": row.ts, "thread_id": row.thread_id}
    return content
