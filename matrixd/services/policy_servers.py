"""Asks the policy servers of rooms about events. https://spec.matrix.org/v1.19/server-server-api/#policy-servers"""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from twisted.internet.defer import DeferredSemaphore

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.policy_server import KEY_ID, POLICY_KEY, PolicyServer
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.room_head import RoomHead

logger = logging.getLogger(__name__)

_PATH = "/_matrix/policy/v1/sign"
#: Seconds that one question may take: whoever sends to the room waits for it.
_PATIENCE = 10.0
#: Questions that are asked at once, of all rooms.
_MAX_ASKED = 50
_MAX_ANSWER = 64 * 1024


class Posts(Protocol):
    """Who asks other servers."""

    async def post(
        self, destination: str, path: str, content: Any, *, timeout_s: float | None = None, max_bytes: int = _MAX_ANSWER
    ) -> Any:
        """The answer to a signed request. Raises RemoteError."""


class PolicyServers:
    """Knows which rooms have one, and asks it to sign."""

    def __init__(self, server_name: str, client: Posts) -> None:
        self._server_name = server_name
        self._client = client
        self._asked = DeferredSemaphore(_MAX_ASKED)

    def of(self, head: RoomHead) -> PolicyServer | None:
        """The policy server of a room, if it uses one."""
        event = None if head.missing([POLICY_KEY]) else head.state(POLICY_KEY)
        if event is None:
            return None
        servers = {*head.servers, *((self._server_name,) if head.is_resident else ())}
        return PolicyServer.of(event, servers)

    async def signed(self, policy: PolicyServer, event: Event) -> Event:
        """An event of ours with the policy server's signature.

        Raises MatrixError: the policy server's own error, or that it cannot be asked.
        """
        if policy.recommends(event):
            return event
        try:
            return await self._ask(policy, event)
        except RemoteError as error:
            if error.kind is FailureKind.HTTP and error.status is not None and error.errcode is not None:
                raise MatrixError(error.status, error.errcode, error.error) from error
            sentence = f"The room's policy server {policy.server_name} does not answer, so nothing can be sent."
            raise MatrixError(503, "M_UNKNOWN", sentence) from error

    async def checked(self, policy: PolicyServer, event: Event) -> tuple[Event, bool]:
        """An event of another server, with a new signature if it lacked a good one, and whether it is recommended."""
        if policy.recommends(event):
            return event, True
        try:
            return await self._ask(policy, event), True
        except RemoteError as error:
            logger.info("the policy server does not recommend %s: %s", event.event_id, error)
            return event, False

    async def _ask(self, policy: PolicyServer, event: Event) -> Event:
        await self._asked.acquire()
        try:
            answer = await self._client.post(
                policy.server_name, _PATH, event.pdu, timeout_s=_PATIENCE, max_bytes=_MAX_ANSWER
            )
        finally:
            self._asked.release()
        theirs = answer.get(policy.server_name) if isinstance(answer, Mapping) else None
        signature = theirs.get(KEY_ID) if isinstance(theirs, Mapping) else None
        if isinstance(signature, str):
            signed = policy.with_signature(event, signature)
            if policy.recommends(signed):
                return signed
        problem = "its answer has no signature with the key of m.room.policy"
        raise RemoteError(policy.server_name, FailureKind.BAD_ANSWER, problem)
