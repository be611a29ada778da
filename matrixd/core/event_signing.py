"""Signatures on events: who has to sign, with which keys, and what a signature covers.

https://spec.matrix.org/v1.19/server-server-api/#signing-events
"""

from __future__ import annotations

from collections.abc import Mapping

from matrixd.core.errors import NotCanonical, SignatureInvalid
from matrixd.core.event import Event
from matrixd.core.hashing import signed_bytes
from matrixd.core.identifiers import domain_of, is_user_id
from matrixd.core.signing import SigningKey, VerifyKey, signatures_by, verify_signatures, with_signature


def required_signers(event: Event) -> frozenset[str]:
    """The servers whose signatures an event needs, or it is dropped.

    The sender's; not for an invite that a third-party invite turned into, whose sender need not have sent it. In
    room versions 1 and 2 also the server in the event ID.
    https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
    """
    signers = set()
    if not is_third_party_invite(event):
        signers.add(event.sender_domain)
    if event.version.signed_by_event_id_domain:
        signers.add(domain_of(event.event_id))
    return frozenset(signers)


def authorising_server(event: Event) -> str | None:
    """The server that must have signed a membership as well, or the authorisation rules reject it (v8 and later).

    It is the server of `join_authorised_via_users_server`; None when there is no (readable) one.
    https://spec.matrix.org/v1.19/rooms/v8/#authorisation-rules (rule on m.room.member)
    """
    if event.type != "m.room.member" or not event.version.auth.restricted:
        return None
    user_id = event.content.get("join_authorised_via_users_server")
    return domain_of(user_id) if isinstance(user_id, str) and is_user_id(user_id) else None


def is_third_party_invite(event: Event) -> bool:
    """Whether the event is an invite that comes of an `m.room.third_party_invite`."""
    return event.membership == "invite" and "third_party_invite" in event.content


def verify_event(
    event: Event, server_name: str, keys: Mapping[str, VerifyKey], message: bytes | None = None
) -> None:
    """Raises SignatureInvalid unless the server signed the event with a key that counts at the event's time.

    `keys` are the known keys of the server (key ID -> key). Signatures with unknown or expired keys are skipped; one
    has to be left, and all that are left have to be right. Works on complete and on redacted events alike.
    `message`: what the signature covers, if it is at hand (`Event.with_signed_bytes`).
    """
    signatures = signatures_by(event.pdu, server_name)
    enforce = event.version.enforces_key_validity
    counting = {
        key_id: key
        for key_id, key in keys.items()
        if key_id in signatures and key.counts_at(event.origin_server_ts, enforce_validity=enforce)
    }
    try:
        message = signed_bytes(event.version, event.pdu) if message is None else message
    except NotCanonical as error:
        raise SignatureInvalid(f"{event.event_id} has no canonical JSON") from error
    verify_signatures(message, server_name, signatures, counting)


def with_event_signature(event: Event, server_name: str, key: SigningKey) -> Event:
    """The event with our signature beside those it has: an invite that we accept, a join that we authorise."""
    signature = key.sign(signed_bytes(event.version, event.pdu))
    pdu = with_signature(event.pdu, server_name, key.key_id, signature)
    return Event.from_stored(event.version, pdu, event.event_id)
