"""Policy servers: who recommends events for a room. https://spec.matrix.org/v1.19/server-server-api/#policy-servers"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from matrixd.core.errors import NotCanonical, SignatureInvalid
from matrixd.core.event import Event
from matrixd.core.hashing import signed_bytes
from matrixd.core.signing import VerifyKey, signatures_by, verify_signatures, with_signature

#: The place of a room's policy server in its state.
POLICY_KEY: Final = ("m.room.policy", "")
#: "The Key ID for the ed25519 key in m.room.policy is always" this.
KEY_ID: Final = "ed25519:policy_server"


@dataclass(frozen=True, slots=True)
class PolicyServer:
    """The policy server of a room: its server name, and the key whose signatures recommend events."""

    server_name: str
    key: VerifyKey

    @classmethod
    def of(cls, event: Event | None, servers: Container[str]) -> PolicyServer | None:
        """The one that an m.room.policy event names, if it is valid and the server has a joined user in the room.

        https://spec.matrix.org/v1.19/server-server-api/#determining-if-a-policy-server-is-enabled-in-a-room
        """
        if event is None:
            return None
        via, keys = event.content.get("via"), event.content.get("public_keys")
        key = keys.get("ed25519") if isinstance(keys, dict) else None
        if not isinstance(via, str) or not isinstance(key, str) or via not in servers:
            return None
        try:
            return cls(via, VerifyKey.from_base64(KEY_ID, key))
        except ValueError:
            # Nobody could ever sign with it: the event is no valid one.
            return None

    def recommends(self, event: Event) -> bool:
        """Whether the event may go on: it has the signature, or is the one that needs none.

        https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures
        """
        if event.is_state and event.key == POLICY_KEY:
            return True
        signature = signatures_by(event.pdu, self.server_name).get(KEY_ID)
        if signature is None:
            return False
        try:
            message = signed_bytes(event.version, event.pdu)
            verify_signatures(message, self.server_name, {KEY_ID: signature}, {KEY_ID: self.key})
        except (SignatureInvalid, NotCanonical):
            return False
        return True

    def with_signature(self, event: Event, signature: str) -> Event:
        """The event with a signature of the policy server beside those it has."""
        pdu = with_signature(event.pdu, self.server_name, KEY_ID, signature)
        return Event.from_stored(event.version, pdu, event.event_id)
