"""Which server makes a request, by its signature.

https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence

from matrixd.core.errors import MatrixError, NotCanonical
from matrixd.core.request_signing import RequestSignature, is_request_signature, parse_authorization
from matrixd.core.signing import ALGORITHM, VerifyKey
from matrixd.net.key_ring import KeyRing, Purpose
from matrixd.util.clock import Clock

logger = logging.getLogger(__name__)

#: A request may be signed with so many keys.
_MAX_SIGNATURES = 8


class ServerAuthentication:
    """Authenticates requests of other servers.

    `partners`: the only servers that may make any; None for all. `contacted` is told of each server that was
    authenticated, at each request.
    """

    def __init__(
        self,
        server_name: str,
        key_ring: KeyRing,
        partners: Container[str] | None,
        clock: Clock,
        contacted: Callable[[str], None],
    ) -> None:
        self._server_name = server_name
        self._key_ring = key_ring
        self._partners = partners
        self._clock = clock
        self._contacted = contacted

    async def authenticate(self, method: str, uri: str, authorizations: Sequence[bytes], body: bytes) -> str:
        """The name of the server that signed the request; `uri` is path and query, `authorizations` the headers.

        Raises 401 M_UNAUTHORIZED without a right signature, 403 M_FORBIDDEN for a server that is not on the whitelist
        and for this server itself, 400 M_NOT_JSON for a body that is none.
        """
        signatures = self._signatures(authorizations)
        origin = signatures[0].origin
        is_self = origin == self._server_name
        if self._partners is not None and origin not in self._partners and not is_self:
            raise MatrixError(403, "M_FORBIDDEN", f"This server does not talk to {origin}.")
        keys = await self._keys(origin, signatures)
        for signature in signatures:
            key = keys.get(signature.key_id)
            if key is not None and not _fits(signature, method, uri, body, key):
                sentence = f"The signature of {origin} with the key {signature.key_id} is not that of this request."
                raise _unauthorized(sentence)
        if is_self:
            # Nobody is served in this server's own name. `synctl check` learns from this that signatures arrive whole.
            raise MatrixError(403, "M_FORBIDDEN", "The signature is right, but 'origin' is this server itself.")
        self._contacted(origin)
        return origin

    def _signatures(self, authorizations: Sequence[bytes]) -> list[RequestSignature]:
        """What the headers say; all are of one server, and for this one."""
        headers = [value for value in authorizations if is_request_signature(value)]
        if not headers:
            raise _unauthorized("The request must be signed by a server: 'Authorization: X-Matrix …'.")
        if len(headers) > _MAX_SIGNATURES:
            raise _unauthorized(f"There are more than {_MAX_SIGNATURES} Authorization headers.")
        try:
            signatures = [parse_authorization(value) for value in headers]
        except ValueError as error:
            raise _unauthorized(f"The Authorization header cannot be read: {error}.") from None
        if len({signature.origin for signature in signatures}) > 1:
            raise _unauthorized("The Authorization headers are not all of one server.")
        for signature in signatures:
            if signature.destination not in (None, self._server_name):
                raise _unauthorized(f"The request is signed for another server, not for {self._server_name}.")
        return signatures

    async def _keys(self, origin: str, signatures: Sequence[RequestSignature]) -> dict[str, VerifyKey]:
        """Those of the keys that are current: old ones are good for events only."""
        now = self._clock.now_ms()
        wanted = {each.key_id: now for each in signatures if each.key_id.startswith(f"{ALGORITHM}:")}
        found = await self._key_ring.keys({origin: wanted}, Purpose.REQUEST)
        keys = {key_id: key for key_id, key in found.get(origin, {}).items() if key.expired_ts is None}
        if not keys:
            names = ", ".join(sorted({signature.key_id for signature in signatures}))
            logger.info("a request in the name of %s is refused: no current key %s is known", origin, names)
            raise _unauthorized(f"{origin} tells no current key {names}, or could not be asked for its keys.")
        return keys


def _fits(signature: RequestSignature, method: str, uri: str, body: bytes, key: VerifyKey) -> bool:
    try:
        return signature.fits(method, uri, body, key)
    except NotCanonical:
        raise
    except ValueError as error:
        raise MatrixError(400, "M_NOT_JSON", f"The body is not valid JSON: {error}.") from None


def _unauthorized(sentence: str) -> MatrixError:
    return MatrixError(401, "M_UNAUTHORIZED", sentence)
