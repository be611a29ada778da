"""Who made an OpenID token: what `GET /_matrix/federation/v1/openid/userinfo` answers."""

from matrixd.queries.authentication import token_hash
from matrixd.storage import openid_tokens
from matrixd.storage.database import Database
from matrixd.util.clock import Clock


class OpenIdOwners:
    """Verifies OpenID tokens."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def verify(self, token: str) -> str | None:
        """The user ID behind a token; None if it is unknown or has expired."""
        return await self._database.read(openid_tokens.owner, token_hash(token), self._clock.now_ms())
