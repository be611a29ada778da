"""Which of a user's rooms have news since a token, as far as memory can tell without looking into them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.account_data import AccountData, AccountDataChanges
from matrixd.queries.receipts import ReceiptContent, Receipts
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.typing import Typing
from matrixd.queries.user_rooms import RoomEntry, UserRooms
from matrixd.storage import room_state
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class RoomNews:
    """What is new in a room that the user is in."""

    entry: RoomEntry
    #: The user was not in the room as of the token, did not get all of its state, or wants it: everything is new.
    whole: bool
    #: The user came into the room since the token (with a first sync: into all of them).
    newly_joined: bool
    has_events: bool
    receipts: ReceiptContent | None
    #: The content of m.typing; None if it has not changed.
    typing: Mapping[str, Any] | None
    account_data: Sequence[Mapping[str, Any]]

    def ephemeral(self) -> list[dict[str, Any]]:
        """The `m.typing` and `m.receipt` events."""
        return ephemeral_events(self.typing, self.receipts)


def ephemeral_events(typing: Mapping[str, Any] | None, receipts: ReceiptContent | None) -> list[dict[str, Any]]:
    """The `m.typing` and `m.receipt` events of a room, of what is not None."""
    found: list[dict[str, Any]] = []
    if typing is not None:
        found.append({"type": "m.typing", "content": typing})
    if receipts:
        found.append({"type": "m.receipt", "content": receipts})
    return found


class News:
    """Finds what is new for a user."""

    def __init__(self, database: Database, receipts: Receipts, typing: Typing, account_data: AccountData) -> None:
        self._database = database
        self._receipts = receipts
        self._typing = typing
        self._account_data = account_data

    async def account_data(self, request: SyncRequest, now: StreamToken) -> AccountDataChanges:
        """What changed of the user's account data."""
        since = request.since
        if since is not None and not self._account_data.has_news(request.user_nid, since, now):
            return AccountDataChanges()
        return await self._account_data.between(request.user_nid, request.user_id, since, now)

    async def joined(
        self, request: SyncRequest, index: UserRooms, now: StreamToken, changes: AccountDataChanges
    ) -> list[RoomNews]:
        """The rooms that the user is in and that have news, in the order of their newest events."""
        entries = [entry for entry in index.joined() if request.filter.room.matches_room(entry.room.room_id)]
        newly = await self._newly_joined(request, entries)
        receipts = await self._receipt_news(request, entries, newly, now)
        typing = self._typing_news(request, entries, newly, now)
        found = []
        for entry in entries:
            room_nid = entry.room.room_nid
            is_new = request.since is None or room_nid in newly
            account_data = changes.rooms.get(room_nid, ())
            if is_new and request.since is not None:
                account_data = await self._account_data.of_room(request.user_nid, room_nid)
            # That the last members became known is no event of the timeline.
            whole = is_new or request.full_state or entry.room.filled_pos > request.after
            has_events = entry.room.last_pos > request.after
            if has_events or whole or account_data or room_nid in receipts or room_nid in typing:
                found.append(
                    RoomNews(
                        entry, whole, is_new, has_events, receipts.get(room_nid), typing.get(room_nid), account_data
                    )
                )
        return found

    async def _newly_joined(self, request: SyncRequest, entries: Sequence[RoomEntry]) -> set[int]:
        """The numbers of the rooms that the user was not in as of the token."""
        if request.since is None:
            return set()
        doubtful = [entry for entry in entries if entry.since > request.after]
        if not doubtful:
            return set()
        room_nids = [entry.room.room_nid for entry in doubtful]
        joined = await self._database.read(_joined_at, room_nids, request.user_id, request.after)
        return {room_nid for room_nid in room_nids if room_nid not in joined}

    async def _receipt_news(
        self, request: SyncRequest, entries: Sequence[RoomEntry], newly: set[int], now: StreamToken
    ) -> dict[int, ReceiptContent]:
        if request.filter.room.ephemeral.is_blocked:
            return {}
        since = request.since
        found: dict[int, ReceiptContent] = {}
        if since is None or since[Stream.RECEIPTS] < now[Stream.RECEIPTS]:
            room_nids = [entry.room.room_nid for entry in entries]
            found = await self._receipts.between(request.user_nid, room_nids, since, now)
        if newly:
            found.update(await self._receipts.between(request.user_nid, list(newly), None, now))
        return found

    def _typing_news(
        self, request: SyncRequest, entries: Sequence[RoomEntry], newly: set[int], now: StreamToken
    ) -> dict[int, dict[str, Any]]:
        since = request.since
        found: dict[int, dict[str, Any]] = {}
        if since is None or since[Stream.TYPING] < now[Stream.TYPING]:
            found = self._typing.between([entry.room.room_nid for entry in entries], since, now)
        if newly:
            found.update(self._typing.between(newly, None, now))
        return found


def _joined_at(tx: Transaction, room_nids: Sequence[int], user_id: str, pos: int) -> set[int]:
    key = ("m.room.member", user_id)
    found = set()
    for room_nid in room_nids:
        state = room_state.of_keys(tx, room_nid, [key], pos)
        if key in state and state[key].event.membership == "join":
            found.add(room_nid)
    return found
