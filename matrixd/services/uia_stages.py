"""The stages of user-interactive authentication (client-server API, "Authentication types")."""

from collections.abc import Mapping
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.services.passwords import Passwords
from matrixd.services.uia import StageFailed
from matrixd.services.user_identifiers import identified_user
from matrixd.storage import registration_tokens
from matrixd.storage.database import Database
from matrixd.util.clock import Clock


class PasswordStage:
    """`m.login.password`: the password of the user who asks, or of the user whom the attempt names."""

    def __init__(self, passwords: Passwords, server_name: str) -> None:
        self._passwords = passwords
        self._server_name = server_name

    def params(self) -> Mapping[str, Any] | None:
        """Nothing."""
        return None

    async def check(self, auth: Mapping[str, Any], user_id: str | None) -> str:
        """The user ID; M_FORBIDDEN with status 403 for another user's. `user_id` None: nobody is known yet."""
        named = identified_user(auth, self._server_name)
        if user_id is not None and named.lower() != user_id.lower():
            raise MatrixError(403, "M_FORBIDDEN", "'auth.identifier' names another user than the access token's.")
        password = auth.get("password")
        if not isinstance(password, str):
            raise MatrixError(400, "M_MISSING_PARAM", "Field 'auth.password' must be a string.")
        account = await self._passwords.owner(named if user_id is None else user_id, password)
        if account is None:
            wrong = "The password is wrong." if user_id is not None else "The user name or the password is wrong."
            raise StageFailed("M_FORBIDDEN", wrong)
        return account.user_id


class DummyStage:
    """`m.login.dummy`: always succeeds."""

    def params(self) -> Mapping[str, Any] | None:
        """Nothing."""
        return None

    async def check(self, auth: Mapping[str, Any], user_id: str | None) -> str:
        """Nothing is proved."""
        return ""


class TermsStage:
    """`m.login.terms`: the user accepts documents. `policies` as in the definition of `m.login.terms` params."""

    def __init__(self, policies: Mapping[str, Any]) -> None:
        self._policies = policies

    def params(self) -> Mapping[str, Any] | None:
        """The documents."""
        return {"policies": self._policies}

    async def check(self, auth: Mapping[str, Any], user_id: str | None) -> str:
        """The versions that were accepted."""
        return " ".join(f"{name}:{policy.get('version')}" for name, policy in sorted(self._policies.items()))


class RegistrationTokenStage:
    """`m.login.registration_token`. The callers bound the guesses of each client."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def params(self) -> Mapping[str, Any] | None:
        """Nothing."""
        return None

    async def check(self, auth: Mapping[str, Any], user_id: str | None) -> str:
        """The token. It is used up only when the account is made."""
        token = auth.get("token")
        if not isinstance(token, str):
            raise MatrixError(400, "M_MISSING_PARAM", "Field 'auth.token' must be a string.")
        if not await self._database.read(registration_tokens.is_valid, token, self._clock.now_ms()):
            raise StageFailed("M_UNAUTHORIZED", "The registration token is not valid.")
        return token
