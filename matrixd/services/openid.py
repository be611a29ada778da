"""Tokens with which users prove to others who they are (client-server API, "OpenID")."""

from matrixd.queries.authentication import Requester, token_hash
from matrixd.services.tokens import TokenMaker
from matrixd.storage import openid_tokens
from matrixd.storage.database import Database
from matrixd.util.clock import Clock

#: Seconds.
LIFETIME = 3600


class OpenId:
    """Makes OpenID tokens; `queries.openid` reads them."""

    def __init__(self, database: Database, clock: Clock, tokens: TokenMaker) -> None:
        self._database = database
        self._clock = clock
        self._tokens = tokens

    async def issue(self, requester: Requester) -> str:
        """A token for the requester, good for `LIFETIME` seconds."""
        token = self._tokens.openid_token()
        valid_until_ts = self._clock.now_ms() + LIFETIME * 1000
        await self._database.write(openid_tokens.create, token_hash(token), requester.user_nid, valid_until_ts)
        return token
