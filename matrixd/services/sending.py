"""Sending message events and redactions.

https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import is_event_id
from matrixd.core.relations import (
    ANNOTATION,
    THREAD,
    Relation,
    may_start_thread,
    relation_in,
)
from matrixd.queries.authentication import Requester
from matrixd.services.event_checks import check_message, check_type
from matrixd.services.room_lanes import Draft, Redacts, RoomLanes
from matrixd.services.sent_transactions import SentTransactions, stored_id
from matrixd.services.suspension import refuse_suspended
from matrixd.storage import annotations, events
from matrixd.storage.database import Database
from matrixd.util.lru import CacheBudget

REDACTION = "m.room.redaction"
_ROOT_BYTES = 200
_MAX_ROOTS_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """An event that is no state, as a client sends it."""

    room_id: str
    type: str
    content: Mapping[str, Any]
    #: None: the client cannot try again.
    txn_id: str | None
    #: Milliseconds since the epoch, for application services; None: now.
    origin_server_ts: int | None = None


class Sending:
    """Sends what clients say."""

    def __init__(
        self, database: Database, lanes: RoomLanes, sent: SentTransactions, budget: CacheBudget
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._sent = sent
        #: Events that may have a thread.
        self._roots = budget.cache("thread_roots", str, bool, _MAX_ROOTS_BYTES)
        #: Annotations that are on their way: (room, parent, sender, type, key).
        self._annotating: set[tuple[str, str, str, str, str | None]] = set()

    async def send(self, requester: Requester, message: Message) -> str:
        """Send a message event; its ID. A retry with the same transaction ID gets the same answer.

        Raises M_FORBIDDEN, M_BAD_JSON, M_INVALID_PARAM, M_TOO_LARGE, M_DUPLICATE_ANNOTATION, M_USER_SUSPENDED.
        """
        check_type(message.type)
        txn_id = None
        if message.txn_id is not None:
            txn_id = stored_id(message.txn_id, "send", message.room_id, message.type)
        if message.type == REDACTION:
            content = {name: value for name, value in message.content.items() if name != "redacts"}
            target = message.content.get("redacts")
            if not isinstance(target, str) or not is_event_id(target):
                raise MatrixError(400, "M_BAD_JSON", "'redacts' must be the ID of the event to redact.")
            return await self._redact(requester, message.room_id, target, content, txn_id, message.origin_server_ts)
        refuse_suspended(requester)
        check_message(message.room_id, message.type, message.content)
        draft = Draft(
            requester.user_id, message.type, message.content, origin_server_ts=message.origin_server_ts,
            device_nid=requester.device_nid, txn_id=txn_id,
        )
        return await self._once(requester, txn_id, lambda: self._send(requester, message.room_id, draft))

    async def redact(
        self, requester: Requester, room_id: str, event_id: str, content: Mapping[str, Any], txn_id: str
    ) -> str:
        """Redact an event; the ID of the redaction. A retry with the same transaction ID gets the same answer.

        Raises M_FORBIDDEN, M_BAD_JSON, M_INVALID_PARAM for an event that is not in the room.
        """
        if not is_event_id(event_id):
            raise MatrixError(400, "M_INVALID_PARAM", "'eventId' must be an event ID, beginning with $.")
        content = {name: value for name, value in content.items() if name != "redacts"}
        return await self._redact(
            requester, room_id, event_id, content, stored_id(txn_id, "redact", room_id, event_id), None
        )

    async def _redact(
        self,
        requester: Requester,
        room_id: str,
        event_id: str,
        content: Mapping[str, Any],
        txn_id: str | None,
        origin_server_ts: int | None,
    ) -> str:
        if not isinstance(content.get("reason", ""), str):
            raise MatrixError(400, "M_BAD_JSON", "'reason' must be a string.")
        may_redact = Redacts.OF_OUR_USERS if requester.is_admin else Redacts.BY_LEVEL
        draft = Draft(
            requester.user_id, REDACTION, content, redacts=event_id, origin_server_ts=origin_server_ts,
            device_nid=requester.device_nid, txn_id=txn_id,
            may_redact=Redacts.OWN if requester.is_suspended else may_redact,
        )
        return await self._once(requester, txn_id, lambda: self._deliver(room_id, draft))

    async def _once(
        self, requester: Requester, txn_id: str | None, send: Callable[[], Coroutine[Any, Any, str]]
    ) -> str:
        return await (send() if txn_id is None else self._sent.run(requester.device_nid, txn_id, send))

    async def _send(self, requester: Requester, room_id: str, draft: Draft) -> str:
        relation = relation_in(draft.content)
        if relation is None:
            return await self._deliver(room_id, draft)
        if relation.rel_type == THREAD:
            await self._check_thread_root(relation.event_id)
        if relation.rel_type != ANNOTATION:
            return await self._deliver(room_id, draft)
        return await self._annotate(requester, room_id, draft, relation)

    async def _annotate(self, requester: Requester, room_id: str, draft: Draft, relation: Relation) -> str:
        """https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations"""
        place = (room_id, relation.event_id, requester.user_id, draft.type, relation.key)
        if place in self._annotating:
            raise _duplicate_annotation()
        self._annotating.add(place)
        try:
            if is_event_id(relation.event_id):
                earlier = await self._database.read(
                    annotations.by_sender, room_id, relation.event_id, requester.user_nid, draft.type
                )
                if relation in [relation_in(event.content) for event in earlier]:
                    raise _duplicate_annotation()
            return await self._deliver(room_id, draft)
        finally:
            self._annotating.discard(place)

    async def _check_thread_root(self, event_id: str) -> None:
        """https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships"""
        if self._roots.get(event_id) or not is_event_id(event_id):
            return
        root = await self._database.read(events.by_id, event_id)
        if root is None:
            return
        if not may_start_thread(root.event):
            raise MatrixError(400, "M_UNKNOWN", "An event with a relation of its own cannot have a thread.")
        self._roots.put(event_id, True, _ROOT_BYTES)

    async def _deliver(self, room_id: str, draft: Draft) -> str:
        return (await self._lanes.send(room_id, [draft]))[0].event_id


def _duplicate_annotation() -> MatrixError:
    return MatrixError(400, "M_DUPLICATE_ANNOTATION", "You have annotated this event in the same way already.")
