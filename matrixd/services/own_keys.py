"""The keys of this server as it publishes them. https://spec.matrix.org/v1.19/server-server-api/#publishing-keys"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.core import canonical_json
from matrixd.core.server_keys import published_keys
from matrixd.core.signing import SigningKey, VerifyKey, sign_json
from matrixd.util.clock import Clock

_HOUR_MS = 60 * 60 * 1000


class OwnKeys:
    """Signs for this server.

    `current`: the first one signs what is not about keys; all are published. `old`: with their `expired_ts`.
    `refresh_ms`: how long others may keep an answer.
    """

    def __init__(
        self,
        server_name: str,
        current: Sequence[SigningKey],
        old: Sequence[VerifyKey],
        refresh_ms: int,
        clock: Clock,
    ) -> None:
        self._server_name = server_name
        self._current = current
        self._old = [key for key in old if key.key_id not in {each.key_id for each in current}]
        self._refresh_ms = refresh_ms
        self._clock = clock
        self._published = b""
        self._fresh_until_ts = 0

    @property
    def verify_keys(self) -> dict[str, VerifyKey]:
        """The public keys by their IDs, old ones too."""
        return {key.key_id: key for key in (*self._old, *(each.verify_key for each in self._current))}

    def published(self) -> bytes:
        """The signed answer to `GET /_matrix/key/v2/server`, as JSON."""
        now = self._clock.now_ms()
        if now >= self._fresh_until_ts:
            answer = published_keys(self._server_name, self._current, self._old, now + self._refresh_ms)
            self._published = canonical_json.encode(answer)
            # Whoever gets it has nearly all of the time that the administrator has set.
            self._fresh_until_ts = now + min(self._refresh_ms // 10, _HOUR_MS)
        return self._published

    def sign(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The object with this server's signature. Raises NotCanonical."""
        return sign_json(value, self._server_name, self._current[0])
