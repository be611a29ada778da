"""Account data as sync gives it, the push rules included.

https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.feed import Feed
from matrixd.queries.push_rules import PushRules
from matrixd.queries.recent import Recent
from matrixd.storage import account_data
from matrixd.storage.database import Database
from matrixd.storage.rows import AccountDataRow

PUSH_RULES = "m.push_rules"

_MAX_ROWS = 10_000
_MAX_BYTES = 16 * 2**20
_ROW_BYTES = 400


@dataclass(slots=True)
class AccountDataChanges:
    """Events (`{"type": …, "content": …}`) for the top level, and for rooms by number."""

    everywhere: list[dict[str, Any]] = field(default_factory=list)
    rooms: dict[int, list[dict[str, Any]]] = field(default_factory=dict)


class AccountData:
    """Reads account data; the newest 10,000 changes (16 MB) from memory."""

    def __init__(self, database: Database, feed: Feed, push_rules: PushRules) -> None:
        self._database = database
        self._push_rules = push_rules
        self._recent: Recent[AccountDataRow] = Recent(
            feed.token[Stream.ACCOUNT_DATA],
            key=lambda row: row.user_nid,
            size=lambda row: _ROW_BYTES + _size(row.content),
            max_rows=_MAX_ROWS,
            max_bytes=_MAX_BYTES,
        )
        feed.subscribe(AccountDataRow, self._recent.add)

    def has_news(self, user_nid: int, after: StreamToken, up_to: StreamToken) -> bool:
        """Whether something may have changed between two tokens; True as well if memory cannot tell."""
        rows = self._recent.after(user_nid, after[Stream.ACCOUNT_DATA])
        if rows is None or any(row.pos <= up_to[Stream.ACCOUNT_DATA] for row in rows):
            return True
        return self._push_rules.changed(user_nid, after, up_to) is not False

    async def between(
        self, user_nid: int, user_id: str, after: StreamToken | None, up_to: StreamToken
    ) -> AccountDataChanges:
        """What changed between two tokens; everything when `after` is None."""
        changes = _changes(await self._rows(user_nid, after, up_to))
        if after is None or await self._push_rules.changed_since(user_nid, after, up_to):
            content = await self._push_rules.content(user_nid, user_id)
            changes.everywhere.append({"type": PUSH_RULES, "content": content})
        return changes

    async def of_room(self, user_nid: int, room_nid: int) -> list[dict[str, Any]]:
        """All that a user keeps for one room, as events."""
        rows = await self._database.read(account_data.of_room, user_nid, room_nid)
        return [{"type": row.type, "content": row.content} for row in rows]

    async def _rows(self, user_nid: int, after: StreamToken | None, up_to: StreamToken) -> list[AccountDataRow]:
        begin = 0 if after is None else after[Stream.ACCOUNT_DATA]
        end = up_to[Stream.ACCOUNT_DATA]
        recent = None if after is None else self._recent.after(user_nid, begin)
        if recent is not None:
            return [row for row in recent if row.pos <= end]
        return await self._database.read(account_data.changed, user_nid, begin, end)


def _changes(rows: Iterable[AccountDataRow]) -> AccountDataChanges:
    changes = AccountDataChanges()
    for row in {(row.room_nid, row.type): row for row in rows}.values():
        event = {"type": row.type, "content": row.content}
        if row.room_nid == account_data.GLOBAL:
            changes.everywhere.append(event)
        else:
            changes.rooms.setdefault(row.room_nid, []).append(event)
    return changes


def _size(value: Any) -> int:
    """About how many bytes a JSON value takes."""
    total, pending = 0, [value]
    while pending:
        part = pending.pop()
        total += 60
        if isinstance(part, str):
            total += len(part)
        elif isinstance(part, dict):
            pending.extend(part)
            pending.extend(part.values())
        elif isinstance(part, list):
            pending.extend(part)
    return total
