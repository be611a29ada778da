"""Who is typing, as sync gives it: the content of one `m.typing` event for each room."""

from collections.abc import Collection
from typing import Any

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.feed import Feed
from matrixd.queries.recent import Recent
from matrixd.storage.rows import TypingRow

_MAX_ROWS = 5_000
_ROW_BYTES = 300


class Typing:
    """Holds the newest 5,000 changes; what is older is of no interest, since nobody types for so long."""

    def __init__(self, feed: Feed) -> None:
        self._recent: Recent[TypingRow] = Recent(
            feed.token[Stream.TYPING],
            key=lambda row: row.room_nid,
            size=lambda row: _ROW_BYTES,
            max_rows=_MAX_ROWS,
            max_bytes=_MAX_ROWS * _ROW_BYTES,
        )
        feed.subscribe(TypingRow, self._recent.add)

    def between(
        self, room_nids: Collection[int], after: StreamToken | None, up_to: StreamToken
    ) -> dict[int, dict[str, Any]]:
        """Room number -> `{"user_ids": […]}` of the rooms where the list changed between two tokens.

        With `after` None, of the rooms where somebody types, or did until lately: a client may have begun to look while
        its user stopped.
        """
        begin = self._recent.begin if after is None else max(after[Stream.TYPING], self._recent.begin)
        found = {}
        for room_nid in room_nids:
            rows = self._recent.after(room_nid, begin)
            rows = [row for row in rows if row.pos <= up_to[Stream.TYPING]] if rows else []
            if rows:
                found[room_nid] = {"user_ids": list(rows[-1].user_ids)}
        return found
