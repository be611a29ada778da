"""The rule for invites that fulfil an earlier invite of a third-party identifier (an e-mail address)."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice, product
from typing import Any, Final

from matrixd.core.auth.rules import AuthRule, EventForbidden
from matrixd.core.content import third_party_invite_keys
from matrixd.core.errors import NotCanonical
from matrixd.core.event import Event
from matrixd.core.signing import ALGORITHM, VerifyKey, signable_bytes

#: Pairs of signature and key that are tried. An honest invite has one or two of each; a hostile one could hold
#: hundreds of each, and every trial costs tens of microseconds.
MAX_TRIALS: Final = 1000
# The keys of the invite have no names, and none is needed: any of them may have made any of the signatures.
_ANY_KEY_ID: Final = f"{ALGORITHM}:0"


def check_third_party_invite(event: Event, state: Mapping[tuple[str, str], Event]) -> None:
    """Rule 5.4.1. Raises EventForbidden. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules"""
    target = event.state_key
    # Rule 5.4.1.1: a ban holds.
    target_member = state.get(("m.room.member", target or ""))
    if target_member is not None and target_member.membership == "ban":
        raise EventForbidden(AuthRule.THIRD_PARTY_BANNED, f"{target} is banned from {event.room_id}")
    # Rule 5.4.1.2: the identity server's statement is there …
    invite = event.content["third_party_invite"]
    signed = invite.get("signed") if isinstance(invite, Mapping) else None
    if not isinstance(signed, Mapping):
        raise EventForbidden(AuthRule.THIRD_PARTY_NOT_SIGNED, "third_party_invite has no signed object")
    # Rule 5.4.1.3: … and says who was meant, and by which invite.
    mxid, token = signed.get("mxid"), signed.get("token")
    if mxid is None or not isinstance(token, str):
        raise EventForbidden(AuthRule.THIRD_PARTY_INCOMPLETE, "third_party_invite.signed lacks mxid or token")
    # Rule 5.4.1.4: it is about the user who is invited.
    if mxid != target:
        raise EventForbidden(AuthRule.THIRD_PARTY_OTHER_USER, f"third_party_invite is not for {target}")
    # Rule 5.4.1.5: the room knows the invite.
    promise = state.get(("m.room.third_party_invite", token))
    if promise is None:
        raise EventForbidden(
            AuthRule.THIRD_PARTY_UNKNOWN_TOKEN, f"{event.room_id} has no third-party invite with the token of {target}"
        )
    # Rule 5.4.1.6: it is fulfilled in the name of whoever gave it.
    if promise.sender != event.sender:
        raise EventForbidden(
            AuthRule.THIRD_PARTY_OTHER_SENDER,
            f"the third-party invite was sent by {promise.sender}, not by {event.sender}",
        )
    # Rules 5.4.1.7 and 5.4.1.8: one of the invite's keys has signed the statement.
    if not _signed_by_any(signed, promise):
        raise EventForbidden(
            AuthRule.THIRD_PARTY_SIGNATURE, f"no key of the third-party invite has signed the statement about {target}"
        )


def _signed_by_any(signed: Mapping[str, Any], promise: Event) -> bool:
    try:
        message = signable_bytes(signed)
    except NotCanonical:
        return False
    trials = product(_signatures(signed.get("signatures")), _public_keys(promise))
    return any(key.verifies(message, signature) for signature, key in islice(trials, MAX_TRIALS))


def _signatures(by_server: object) -> Iterator[str]:
    for by_key in by_server.values() if isinstance(by_server, Mapping) else ():
        for key_id, signature in by_key.items() if isinstance(by_key, Mapping) else ():
            if key_id.startswith(f"{ALGORITHM}:") and isinstance(signature, str):
                yield signature


def _public_keys(promise: Event) -> Iterator[VerifyKey]:
    # Rules 5.4.1.7.1 and 5.4.1.7.2: a single key, and a list of keys. A key that cannot be read has signed nothing.
    for key in third_party_invite_keys(promise):
        with suppress(ValueError):
            yield VerifyKey.from_base64(_ANY_KEY_ID, key)
