"""Logging in (client-server API, "Login")."""

from collections.abc import Mapping
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.queries.authentication import token_hash
from matrixd.services.limits import Limit
from matrixd.services.passwords import Passwords, open_account
from matrixd.services.sessions import Session, SessionRequest, Sessions
from matrixd.services.user_identifiers import identified_user
from matrixd.storage import login_tokens
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock
from matrixd.util.ratelimit import RateLimiter


class Login:
    """Begins sessions of existing accounts. `attempts` limits the attempts for each account."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        sessions: Sessions,
        passwords: Passwords,
        attempts: RateLimiter,
        server_name: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sessions = sessions
        self._passwords = passwords
        self._attempts = Limit(attempts, clock, "Too many attempts to log in to this account")
        self._server_name = server_name

    async def by_password(self, fields: Mapping[str, Any], password: str, request: SessionRequest) -> Session:
        """A session for the user whom `fields` identify; M_FORBIDDEN if the password, or the user, is wrong."""
        user_id = identified_user(fields, self._server_name)
        self._attempts.check(user_id.lower())
        account = await self._passwords.owner(user_id, password)
        if account is None:
            raise MatrixError(403, "M_FORBIDDEN", "The user name or the password is wrong.")
        return await self._begin(account.user_nid, account.password_hash, request)

    async def _begin(self, user_nid: int, password_hash: str | None, request: SessionRequest) -> Session:
        prepared = self._sessions.prepare(request)

        def begin(tx: Transaction) -> Session:
            account = open_account(tx, user_nid)
            # Checking a password takes time, in which it may have been changed.
            if account.password_hash != password_hash:
                raise MatrixError(403, "M_FORBIDDEN", "The user name or the password is wrong.")
            return self._sessions.begin_in(tx, user_nid, account.user_id, prepared)

        return await self._database.write(begin)

    async def by_token(self, token: str, request: SessionRequest) -> Session:
        """A session for the user who made the login token; M_FORBIDDEN if it is unknown, used or expired."""
        prepared = self._sessions.prepare(request)
        now_ms = self._clock.now_ms()

        def begin(tx: Transaction) -> Session:
            user_nid = login_tokens.take(tx, token_hash(token), now_ms)
            if user_nid is None:
                raise MatrixError(403, "M_FORBIDDEN", "The login token is not valid: unknown, used, or expired.")
            account = open_account(tx, user_nid)
            return self._sessions.begin_in(tx, user_nid, account.user_id, prepared)

        return await self._database.write(begin)
