"""Messages from clients to devices, of this server and of others.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matrixd.core.errors import MatrixError, NotCanonical
from matrixd.core.identifiers import domain_of, fits, is_device_id, validate_user_id
from matrixd.queries.authentication import Requester
from matrixd.queries.to_device import ToDeviceInbox
from matrixd.services import to_device_delivery
from matrixd.services.outbox import Outbox
from matrixd.services.sent_transactions import stored_id
from matrixd.services.to_device_delivery import (
    EVERY_DEVICE,
    MAX_MESSAGE,
    Outgoing,
    deliver,
)
from matrixd.storage import to_device, transactions
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction
from matrixd.util.background import in_background
from matrixd.util.clock import Clock

logger = logging.getLogger(__name__)

#: Messages of one request.
MAX_MESSAGES = 5_000
MAX_TYPE_BYTES = 255

#: Characters of the messages of one EDU, if it has several: a transaction has up to 100, and must fit a request.
MAX_EDU = 60_000

#: Destination and content of each m.direct_to_device.
_Edus = Sequence[tuple[str, dict[str, Any]]]


class DeliveredMessages:
    """Deletes messages when their device has them."""

    def __init__(self, database: Database, inbox: ToDeviceInbox) -> None:
        self._database = database
        self._inbox = inbox

    def received(self, user_nid: int, device_nid: int, pos: int) -> None:
        """A device says that it has its messages up to a position: they are deleted in the background."""
        in_background(f"deleting what a device of user {user_nid} has got", self._delete(device_nid, pos))

    async def _delete(self, device_nid: int, pos: int) -> None:
        # That nothing waits, as for nearly every sync, is known from memory.
        if await self._inbox.newest(device_nid):
            await self._database.write(to_device.delete_up_to, device_nid, pos)


class ToDevice:
    """Sends messages. `new_message_id()`: 1 to 32 characters."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        clock: Clock,
        server_name: str,
        new_message_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._server_name = server_name
        self._new_message_id = new_message_id

    async def send(
        self, requester: Requester, event_type: str, txn_id: str, messages: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Send `messages` (user ID -> device ID or '*' -> content); a transaction ID is good for one request.

        Users and devices that do not exist get nothing. Raises M_INVALID_PARAM, M_BAD_JSON, M_TOO_LARGE.
        """
        if not event_type or not fits(event_type, MAX_TYPE_BYTES):
            raise MatrixError(400, "M_INVALID_PARAM", f"'eventType' must have 1 to {MAX_TYPE_BYTES} bytes and no NUL.")
        key = stored_id(txn_id, "sendToDevice", event_type)
        local, remote = self._sorted(requester.user_id, event_type, messages)
        dropped = await self._database.write(self._store, requester.device_nid, key, Outgoing("", local), remote)
        if dropped:
            logger.warning("%d messages of %s to devices were not kept: too many wait", dropped, requester.user_id)

    def _store(self, tx: Transaction, device_nid: int, key: str, local: Outgoing, remote: _Edus) -> int:
        if not transactions.note(tx, device_nid, key, self._clock.now_ms()):
            return 0
        for destination, content in remote:
            self._outbox.store_edu(tx, [destination], "m.direct_to_device", content)
        return deliver(tx, local)

    def _sorted(
        self, sender: str, event_type: str, messages: Mapping[str, Mapping[str, Any]]
    ) -> tuple[dict[str, dict[str, str]], _Edus]:
        """The messages to users of this server, written; and those to others."""
        if sum(map(len, messages.values())) > MAX_MESSAGES:
            raise MatrixError(413, "M_TOO_LARGE", f"'messages' must not have more than {MAX_MESSAGES} messages.")
        local: dict[str, dict[str, str]] = {}
        remote: defaultdict[str, _Parts] = defaultdict(_Parts)
        for user_id, by_device in messages.items():
            destination = domain_of(validate_user_id(user_id, "A user in 'messages'"))
            texts = {device: _written(sender, event_type, device, content) for device, content in by_device.items()}
            if destination == self._server_name:
                local[user_id] = texts
                continue
            for device_id, text in texts.items():
                remote[destination].add(user_id, device_id, by_device[device_id], len(text))
        return local, [
            (
                destination,
                {"sender": sender, "type": event_type, "message_id": self._new_message_id(), "messages": part},
            )
            for destination, parts in remote.items()
            for part in parts.parts
        ]


class _Parts:
    """The messages to the users of one server, in parts that fit into an EDU."""

    def __init__(self) -> None:
        self.parts: list[dict[str, dict[str, Any]]] = []
        self._size = MAX_EDU

    def add(self, user_id: str, device_id: str, content: Any, size: int) -> None:
        if self._size + size > MAX_EDU:
            self.parts.append({})
            self._size = 0
        self._size += size
        self.parts[-1].setdefault(user_id, {})[device_id] = content


def _written(sender: str, event_type: str, device_id: str, content: object) -> str:
    if device_id != EVERY_DEVICE and not is_device_id(device_id):
        raise MatrixError(400, "M_INVALID_PARAM", "A device in 'messages' must be a device ID or '*'.")
    if not isinstance(content, Mapping):
        raise MatrixError(400, "M_BAD_JSON", f"The message to device '{device_id[:100]}' must be an object.")
    try:
        text = to_device_delivery.written(sender, event_type, content)
    except NotCanonical as error:
        raise MatrixError(400, "M_BAD_JSON", f"The message to device '{device_id[:100]}': {error}") from error
    if len(text) > MAX_MESSAGE:
        raise MatrixError(413, "M_TOO_LARGE", f"A message in 'messages' must have at most {MAX_MESSAGE} characters.")
    return text
