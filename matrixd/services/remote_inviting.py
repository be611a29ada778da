"""Inviting users of other servers: their server signs the invite, or refuses it, before anybody else hears of it.

https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from matrixd.core.builder import complete
from matrixd.core.client_event import STRIPPED_STATE_TYPES, identifying_state
from matrixd.core.content import is_federated
from matrixd.core.errors import MatrixError, RuleViolation, SignatureInvalid
from matrixd.core.event import Event
from matrixd.core.event_signing import verify_event
from matrixd.core.identifiers import domain_of
from matrixd.core.signing import SigningKey, signatures_by
from matrixd.core.versions import EventFormat
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.batches import in_batches
from matrixd.services.handshakes.peers import InvitePeers
from matrixd.services.receiving.pdu_checks import KeyRing
from matrixd.services.receiving.receiver import Receiver
from matrixd.services.room_head import RoomHeads
from matrixd.services.room_lanes import Draft, RoomLanes

logger = logging.getLogger(__name__)

#: What may be passed on to the client as it is; all else is a fault between servers.
#: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
_PASSED_ON = {"M_FORBIDDEN": 403, "M_INVITE_BLOCKED": 403, "M_INCOMPATIBLE_ROOM_VERSION": 400, "M_LIMIT_EXCEEDED": 429}
#: How long a new room waits for those who are invited to it, in seconds.
_PATIENCE_S = 15.0


class RemoteInviting:
    """Sends invites to other servers."""

    def __init__(
        self,
        heads: RoomHeads,
        lanes: RoomLanes,
        peers: InvitePeers,
        key_ring: KeyRing,
        receiver: Receiver,
        server_name: str,
        signing_key: SigningKey,
        timer: IReactorTime,
    ) -> None:
        self._heads = heads
        self._lanes = lanes
        self._peers = peers
        self._key_ring = key_ring
        self._receiver = receiver
        self._server_name = server_name
        self._signing_key = signing_key
        self._timer = timer

    async def invite(self, room_id: str, draft: Draft) -> str:
        """Invite the user of another server whom the draft of a member event is about; the ID of the event.

        Raises RuleViolation and MatrixError as sending it would, what the other server refuses it with, and 502
        M_UNKNOWN when that does not answer, or with nothing of use.
        """
        assert draft.state_key is not None, "an invite is for somebody"
        await self._check_federated(room_id, draft)
        invite = self._with_origin(await self._lanes.build(room_id, draft))
        destination = domain_of(draft.state_key)
        try:
            answer = await self._ask(destination, invite, await self._room_state(invite))
        except RemoteError as error:
            logger.info("inviting %s to %s: %s", draft.state_key, room_id, error)
            raise _refusal(error, draft.state_key) from error
        signed = await self._signed(destination, invite, answer)
        signed_by = frozenset((self._server_name, destination))
        await self._receiver.accept(self._server_name, signed, signed_by, sends_on=False)
        return signed.event_id

    def _with_origin(self, invite: Event) -> Event:
        """The specification wants `origin` in an invite that another server gets (definitions/invite_event.yaml)."""
        template = {**invite.pdu, "origin": self._server_name}
        return complete(invite.version, template, self._server_name, self._signing_key)

    async def invite_all(self, room_id: str, drafts: Sequence[Draft]) -> None:
        """Invite several; the log says who could not be. After some seconds the rest is done in the background."""
        work = Deferred.fromCoroutine(in_batches(drafts, lambda draft: self._invite_or_log(room_id, draft)))
        waiting: Deferred[None] = Deferred()
        work.addBoth(lambda _: None if waiting.called else waiting.callback(None))
        await waiting.addTimeout(_PATIENCE_S, self._timer, lambda *_: None)

    async def _invite_or_log(self, room_id: str, draft: Draft) -> None:
        try:
            await self.invite(room_id, draft)
        except (RuleViolation, MatrixError) as error:
            logger.warning("%s could not be invited to %s: %s", draft.state_key, room_id, error)

    async def _check_federated(self, room_id: str, draft: Draft) -> None:
        head = await self._heads.find(room_id, [("m.room.create", "")])
        create = None if head is None else head.state(("m.room.create", ""))
        if create is not None and not is_federated(create):
            sentence = f"The room is closed to other servers, so {draft.state_key} cannot be invited."
            raise MatrixError(403, "M_FORBIDDEN", sentence)

    async def _room_state(self, invite: Event) -> list[Mapping[str, Any]]:
        """What tells the invited user what the room is: whole events, since v1.16 of the specification."""
        keys = [*((event_type, "") for event_type in STRIPPED_STATE_TYPES), ("m.room.member", invite.sender)]
        head = await self._heads.get(invite.room_id, keys)
        return [event.pdu for event in identifying_state(head.state_map(keys), invite)]

    async def _ask(
        self, destination: str, invite: Event, room_state: list[Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        version = invite.version
        try:
            return await self._peers.invite(
                destination, invite.room_id, invite.event_id, version.identifier, invite.pdu, room_state
            )
        except RemoteError as error:
            # Servers from before room version 3 know the first form only.
            is_old = error.errcode in (None, "M_UNRECOGNIZED", "M_NOT_FOUND") and error.status in (400, 404)
            if not is_old or version.event_format is not EventFormat.WITH_EVENT_ID:
                raise
        return await self._peers.invite_v1(destination, invite.room_id, invite.event_id, invite.pdu, room_state)

    async def _signed(self, destination: str, invite: Event, answer: Mapping[str, Any]) -> Event:
        """The invite with the other server's signature; all else is as we sent it."""
        theirs = signatures_by(answer, destination)
        pdu = {**invite.pdu, "signatures": {**invite.pdu["signatures"], destination: theirs}}
        signed = Event.from_stored(invite.version, pdu, invite.event_id)
        at = invite.origin_server_ts if invite.version.enforces_key_validity else 0
        keys = await self._key_ring.keys({destination: dict.fromkeys(theirs, at)})
        try:
            verify_event(signed, destination, keys.get(destination, {}))
        except SignatureInvalid as error:
            sentence = f"{destination} sent the invite back without a valid signature: {error}."
            raise MatrixError(502, "M_UNKNOWN", sentence) from error
        return signed


def _refusal(error: RemoteError, user_id: str) -> MatrixError:
    """What the inviting client is told."""
    if error.errcode in _PASSED_ON:
        extra = {}
        if isinstance(error.body.get("room_version"), str):
            extra["room_version"] = error.body["room_version"]
        if error.retry_after_ms is not None:
            extra["retry_after_ms"] = error.retry_after_ms
        return MatrixError(_PASSED_ON[error.errcode], error.errcode, error.error, **extra)
    if error.kind is FailureKind.HTTP:
        return MatrixError(502, "M_UNKNOWN", f"{error.destination} did not take the invite of {user_id}: {error.error}")
    sentence = f"{error.destination}, the server of {user_id}, cannot be reached ({error.kind.value})."
    return MatrixError(502, "M_UNKNOWN", sentence)
