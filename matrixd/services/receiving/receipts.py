"""`m.receipt` of other servers.

https://spec.matrix.org/v1.19/server-server-api/#receipts
"""

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from matrixd.core.identifiers import is_event_id, is_room_id
from matrixd.queries.feed import Feed
from matrixd.queries.server_acls import ServerAcls
from matrixd.services.receipts import UNKNOWN_EVENT, Receipts, RemoteReceipt
from matrixd.services.receiving.edu_content import MAX_INTEGER, decoded, is_of
from matrixd.services.receiving.edus import Refuse
from matrixd.storage.receipts import READ
from matrixd.storage.rows import EventRow
from matrixd.util.background import in_background

#: Receipts of one transaction that are looked at, and rooms.
MAX_RECEIPTS = 2_000
MAX_ROOMS = 500
#: Receipts that are kept until their event comes; the oldest go first.
MAX_EARLY = 2_000


class _Data(Struct):
    ts: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] | None = None
    thread_id: str | None = None


class _Receipt(Struct):
    event_ids: Annotated[list[str], Meta(min_length=1, max_length=1)]
    data: _Data


class ReceiptEdus:
    """Moves the receipts of members of rooms, of servers that the room's ACL lets in.

    An event and its receipts come from different servers, and any of them may be first: a receipt for an event that
    is not here waits, in memory, for that.
    """

    def __init__(
        self,
        receipts: Receipts,
        acls: ServerAcls,
        feed: Feed,
        background: Callable[[str, Coroutine[Any, Any, object]], object] = in_background,
    ) -> None:
        self._receipts = receipts
        self._acls = acls
        self._background = background
        #: Event ID -> receipts, at most `MAX_EARLY` of them; those last that came last.
        self._early: dict[str, list[RemoteReceipt]] = {}
        self._early_count = 0
        feed.subscribe(EventRow, self._on_event)

    async def receive(self, origin: str, contents: Sequence[Mapping[str, Any]], refuse: Refuse) -> None:
        """See `EduType`."""
        found: list[RemoteReceipt] = []
        rooms = (pair for content in contents for pair in content.items())
        for number, (room_id, by_type) in enumerate(rooms):
            if len(found) >= MAX_RECEIPTS or number >= MAX_ROOMS:
                refuse(f"more than {MAX_RECEIPTS} receipts, or {MAX_ROOMS} rooms, are not looked at")
                break
            by_user = by_type.get(READ) if isinstance(by_type, Mapping) else None
            if not is_room_id(room_id) or not isinstance(by_user, Mapping):
                refuse(f"by room ID there must be an object with the object '{READ}'")
            elif not await self._acls.allows(room_id, origin):
                refuse(f"the ACL of {room_id} keeps the server out")
            else:
                found += _of_room(origin, room_id, by_user, MAX_RECEIPTS - len(found), refuse)
        if found:
            for receipt, problem in (await self._receipts.send_remote(found)).items():
                if problem == UNKNOWN_EVENT:
                    self._keep(receipt)
                else:
                    refuse(problem)

    def _keep(self, receipt: RemoteReceipt) -> None:
        self._early[receipt.event_id] = [*self._early.pop(receipt.event_id, ()), receipt]
        self._early_count += 1
        while self._early_count > MAX_EARLY:
            self._early_count -= len(self._early.pop(next(iter(self._early))))

    def _on_event(self, row: EventRow) -> None:
        waiting = self._early.pop(row.event.event_id, None)
        if waiting is not None:
            self._early_count -= len(waiting)
            self._background("moving receipts that came before their event", self._receipts.send_remote(waiting))


def _of_room(
    origin: str, room_id: str, by_user: Mapping[str, Any], limit: int, refuse: Refuse
) -> Iterator[RemoteReceipt]:
    for number, (user_id, receipt) in enumerate(by_user.items()):
        if number >= limit:
            refuse(f"more than {MAX_RECEIPTS} receipts are not looked at")
            return
        form = decoded(receipt, _Receipt, refuse) if is_of(user_id, origin) else None
        if form is None or not is_event_id(form.event_ids[0]):
            refuse("a receipt must be of a user of the server, for an event ID")
            continue
        yield RemoteReceipt(room_id, user_id, form.event_ids[0], form.data.thread_id, form.data.ts)
