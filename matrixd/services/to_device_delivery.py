"""Putting messages into the inboxes of local devices, and how much of them may wait there.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging

A device that is away for weeks must find the keys that it was sent, and nobody shall fill the disk. So what waits for a
device is bounded for each server that sends, which keeps a bad one from driving out the messages of others, and all
together. What comes beyond that is not kept; what is there already stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matrixd.core import canonical_json
from matrixd.storage import to_device
from matrixd.storage.to_device import Load, Message
from matrixd.storage.transaction import Transaction

#: All devices of a user.
EVERY_DEVICE = "*"
#: Characters of one message's JSON.
MAX_MESSAGE = 65_536
#: What one server may have waiting for a device, and all servers with this one together.
MAX_OF_SERVER = Load(10_000, 16_000_000)
MAX_OF_DEVICE = Load(50_000, 64_000_000)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for some devices. `origin`: the sender's server, '' for this one."""

    origin: str
    #: User ID -> device ID, or `EVERY_DEVICE` -> the message as a client gets it (`written`).
    messages: Mapping[str, Mapping[str, str]]


def written(sender: str, event_type: str, content: Mapping[str, object]) -> str:
    """A message as a client gets it. Raises NotCanonical for what JSON cannot hold."""
    return canonical_json.encode({"type": event_type, "sender": sender, "content": content}).decode()


def deliver(tx: Transaction, outgoing: Outgoing) -> int:
    """Put messages into the inboxes of those devices that exist; how many were not kept as too much waits."""
    wanted = _addressed(tx, outgoing)
    loads = to_device.loads(tx, [message.device_nid for message in wanted])
    totals: dict[int, Load] = {}
    for (device_nid, _), load in loads.items():
        total = totals.get(device_nid, Load())
        totals[device_nid] = Load(total.messages + load.messages, total.size + load.size)
    kept = []
    for message in wanted:
        key, size = (message.device_nid, message.origin), len(message.json)
        of_server = loads.get(key, Load()).with_one(size)
        of_device = totals.get(message.device_nid, Load()).with_one(size)
        if _fits(of_device, MAX_OF_DEVICE) and (not message.origin or _fits(of_server, MAX_OF_SERVER)):
            loads[key], totals[message.device_nid] = of_server, of_device
            kept.append(message)
    to_device.insert(tx, kept)
    return len(wanted) - len(kept)


def _addressed(tx: Transaction, outgoing: Outgoing) -> Sequence[Message]:
    found = []
    devices = to_device.devices(tx, outgoing.messages)
    for user_id, by_device in outgoing.messages.items():
        for device_id, (user_nid, device_nid) in devices.get(user_id, {}).items():
            text = by_device.get(device_id, by_device.get(EVERY_DEVICE))
            if text is not None:
                found.append(Message(user_nid, device_nid, outgoing.origin, text))
    return found


def _fits(load: Load, limit: Load) -> bool:
    return load.messages <= limit.messages and load.size <= limit.size
