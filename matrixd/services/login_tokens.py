"""Tokens with which a logged-in client lets another log in (client-server API, `POST /login/get_token`)."""

from dataclasses import dataclass, field

from matrixd.queries.authentication import Requester, token_hash
from matrixd.services.limits import Limit
from matrixd.services.tokens import TokenMaker
from matrixd.storage import login_tokens
from matrixd.storage.database import Database
from matrixd.util.clock import Clock
from matrixd.util.ratelimit import RateLimiter


@dataclass(frozen=True, slots=True)
class LoginToken:
    """A token and how long it can be used."""

    token: str = field(repr=False)
    expires_in_ms: int


class LoginTokens:
    """Makes login tokens. `limiter` limits them for each user."""

    def __init__(
        self, database: Database, clock: Clock, tokens: TokenMaker, lifetime_ms: int, limiter: RateLimiter
    ) -> None:
        self._database = database
        self._clock = clock
        self._tokens = tokens
        self._lifetime_ms = lifetime_ms
        self._limit = Limit(limiter, clock, "Too many login tokens")

    async def issue(self, requester: Requester) -> LoginToken:
        """A token that logs the requester in once more."""
        self._limit.check(requester.user_id)
        token = self._tokens.login_token()
        valid_until_ts = self._clock.now_ms() + self._lifetime_ms
        await self._database.write(login_tokens.create, token_hash(token), requester.user_nid, valid_until_ts)
        return LoginToken(token, self._lifetime_ms)
