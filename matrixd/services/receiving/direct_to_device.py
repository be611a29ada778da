"""`m.direct_to_device` of other servers.

https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, Struct

from matrixd.core.errors import NotCanonical
from matrixd.core.identifiers import domain_of, fits, is_device_id, is_user_id
from matrixd.services.receiving.edu_content import MAX_STRING_BYTES, decoded, is_of
from matrixd.services.receiving.edus import Refuse
from matrixd.services.to_device_delivery import MAX_MESSAGE, Outgoing, deliver, written
from matrixd.storage import to_device
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

#: Users and messages, together, that one EDU may have.
MAX_MESSAGES = 20_000


class _Content(Struct):
    sender: str
    type: Annotated[str, Meta(min_length=1)]
    message_id: Annotated[str, Meta(min_length=1)]
    messages: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Checked:
    message_id: str
    outgoing: Outgoing


class DirectToDeviceEdus:
    """Puts messages into the inboxes of local devices. A message that comes again is known by its `message_id`."""

    def __init__(self, database: Database, clock: Clock, server_name: str) -> None:
        self._database = database
        self._clock = clock
        self._server_name = server_name

    async def receive(self, origin: str, contents: Sequence[Mapping[str, Any]], refuse: Refuse) -> None:
        """See `EduType`."""
        found = [self._checked(origin, content, refuse) for content in contents]
        checked = [one for one in found if one is not None]
        if not checked:
            return
        dropped = await self._database.write(_store, origin, checked, self._clock.now_ms())
        if dropped:
            refuse(f"{dropped} messages were not kept: too many wait for a device")

    def _checked(self, origin: str, content: Mapping[str, Any], refuse: Refuse) -> _Checked | None:
        form = decoded(content, _Content, refuse)
        if form is None:
            return None
        if not is_of(form.sender, origin):
            refuse("'sender' must be a user of the server")
            return None
        # The specification has at most 32 characters for the ID. What comes from who does not know that is not lost.
        if not fits(form.type, MAX_STRING_BYTES) or not fits(form.message_id, MAX_STRING_BYTES):
            refuse(f"'type' and 'message_id' must have at most {MAX_STRING_BYTES} bytes and no NUL")
            return None
        if len(form.messages) + sum(map(len, form.messages.values())) > MAX_MESSAGES:
            refuse(f"'messages' must not have more than {MAX_MESSAGES} users and messages")
            return None
        return _Checked(form.message_id, Outgoing(origin, self._messages(form, refuse)))

    def _messages(self, form: _Content, refuse: Refuse) -> dict[str, dict[str, str]]:
        return {
            user_id: dict(_written(form, by_device, refuse))
            for user_id, by_device in form.messages.items()
            if is_user_id(user_id) and domain_of(user_id) == self._server_name
        }


def _written(form: _Content, by_device: Mapping[str, Any], refuse: Refuse) -> Sequence[tuple[str, str]]:
    found = []
    for device_id, content in by_device.items():
        if not is_device_id(device_id) or not isinstance(content, Mapping):
            refuse("by device ID there must be an object in 'messages'")
            continue
        try:
            text = written(form.sender, form.type, content)
        except NotCanonical as error:
            refuse(str(error))
            continue
        if len(text) > MAX_MESSAGE:
            refuse(f"a message must have at most {MAX_MESSAGE} characters")
            continue
        found.append((device_id, text))
    return found


def _store(tx: Transaction, origin: str, checked: Sequence[_Checked], now_ms: int) -> int:
    return sum(
        deliver(tx, one.outgoing)
        for one in checked
        if to_device.note_received(tx, origin, one.message_id, now_ms)
    )
