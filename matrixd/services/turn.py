"""Credentials for TURN servers (client-server API, "Voice over IP").

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.core.errors import MatrixError
from matrixd.util.clock import Clock


@dataclass(frozen=True, slots=True)
class TurnCredentials:
    """What a client needs to use the TURN servers; `ttl` is in seconds."""

    username: str
    password: str
    uris: Sequence[str]
    ttl: int


class Turn:
    """Hands out credentials: of a secret that is shared with the TURN server, or a fixed user name and password.

    `lifetime_ms` is how long credentials hold. Without `uris` there is no TURN server.
    """

    def __init__(
        self,
        clock: Clock,
        uris: Sequence[str],
        shared_secret: str | None,
        username: str | None,
        password: str | None,
        lifetime_ms: int,
        allow_guests: bool,
    ) -> None:
        self._clock = clock
        self._uris = tuple(uris)
        self._shared_secret = shared_secret
        self._username = username
        self._password = password
        self._lifetime_s = lifetime_ms // 1000
        self._allow_guests = allow_guests

    def credentials(self, user_id: str, is_guest: bool) -> TurnCredentials:
        """Credentials for one user. Raises M_NOT_FOUND without a TURN server, M_GUEST_ACCESS_FORBIDDEN for guests."""
        if is_guest and not self._allow_guests:
            raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests may not use the TURN server.")
        if self._uris and self._shared_secret is not None:
            expires_s = self._clock.now_ms() // 1000 + self._lifetime_s
            # The form is that of draft-uberti-behave-turn-rest-00, which TURN servers check.
            username = f"{expires_s}:{user_id}"
            mac = hmac.new(self._shared_secret.encode(), username.encode(), hashlib.sha1)
            return TurnCredentials(username, base64.b64encode(mac.digest()).decode(), self._uris, self._lifetime_s)
        if self._uris and self._username is not None and self._password is not None:
            return TurnCredentials(self._username, self._password, self._uris, self._lifetime_s)
        raise MatrixError(404, "M_NOT_FOUND", "This server has no TURN server.")
