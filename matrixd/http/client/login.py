"""Logging in, refreshing tokens, and tokens to log in with (client-server API, "Login")."""

from collections.abc import Mapping
from typing import Any

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.http.client.interactive import MAX_BODY, interactive, operation_of
from matrixd.http.client.interactive import Auth as AuthField
from matrixd.http.client.session_answers import login_answer, session_fields
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.services.login import Login
from matrixd.services.login_tokens import LoginTokens
from matrixd.services.sessions import Session, SessionRequest, Sessions
from matrixd.services.user_confirmation import UserConfirmation


class LoginBody(msgspec.Struct):
    """The body of `POST /login`."""

    type: str
    identifier: dict[str, Any] | None = None
    user: str | None = None
    medium: str | None = None
    address: str | None = None
    password: str | None = None
    token: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    refresh_token: bool | None = None


class RefreshBody(msgspec.Struct):
    """The body of `POST /refresh`."""

    refresh_token: str


class AuthBody(msgspec.Struct):
    """A body that may hold nothing but `auth`."""

    auth: AuthField = None


class LoginEndpoints:
    """`/login`, `/refresh` and `/login/get_token`.

    `login_tokens` None: `get_token` is not served. `well_known` is the client configuration that a login answers with,
    as in `/.well-known/matrix/client`; None to leave it out.
    """

    def __init__(
        self,
        login: Login,
        sessions: Sessions,
        confirmation: UserConfirmation,
        server_name: str,
        passwords_enabled: bool = True,
        login_tokens: LoginTokens | None = None,
        login_tokens_need_confirmation: bool = True,
        well_known: Mapping[str, Any] | None = None,
    ) -> None:
        self._login = login
        self._sessions = sessions
        self._confirmation = confirmation
        self._server_name = server_name
        self._passwords_enabled = passwords_enabled
        self._login_tokens = login_tokens
        self._login_tokens_need_confirmation = login_tokens_need_confirmation
        self._well_known = well_known

    def routes(self) -> list[Route]:
        """The endpoints."""
        found = [
            Route(
                "GET", "/_matrix/client/v3/login", self.flows,
                spec="get_matrixclientv3login", auth=Auth.NONE, runs_on=RunsOn.ANY,
            ),
            Route(
                "POST", "/_matrix/client/v3/login", self.log_in,
                spec="post_matrixclientv3login", auth=Auth.NONE, limit="login_address", max_body=MAX_BODY,
            ),
            Route(
                "POST", "/_matrix/client/v3/refresh", self.refresh,
                spec="post_matrixclientv3refresh", auth=Auth.NONE, max_body=MAX_BODY,
            ),
        ]
        if self._login_tokens is not None:
            found.append(
                Route(
                    "POST", "/_matrix/client/v1/login/get_token", self.get_token,
                    spec="post_matrixclientv1loginget_token", max_body=MAX_BODY,
                )
            )
        return found

    async def flows(self, call: Call) -> object:
        """The ways to log in."""
        found: list[dict[str, object]] = []
        if self._passwords_enabled:
            found.append({"type": "m.login.password"})
        if self._login_tokens is not None:
            found.append({"type": "m.login.token", "get_login_token": True})
        return {"flows": found}

    async def log_in(self, call: Call) -> object:
        """Begin a session."""
        session = await self._begin(call.body(LoginBody))
        answer = login_answer(session, self._server_name)
        if self._well_known is not None:
            answer["well_known"] = self._well_known
        return answer

    async def _begin(self, body: LoginBody) -> Session:
        request = SessionRequest(body.device_id, body.initial_device_display_name, bool(body.refresh_token))
        if body.type == "m.login.password" and self._passwords_enabled:
            if body.password is None:
                raise MatrixError(400, "M_MISSING_PARAM", "Field 'password' is missing.")
            return await self._login.by_password(msgspec.to_builtins(body), body.password, request)
        if body.type == "m.login.token":
            if body.token is None:
                raise MatrixError(400, "M_MISSING_PARAM", "Field 'token' is missing.")
            return await self._login.by_token(body.token, request)
        if body.type == "m.login.application_service":
            raise MatrixError(403, "M_FORBIDDEN", "The access token does not belong to an application service.")
        raise MatrixError(400, "M_UNKNOWN", "Field 'type' names no way to log in that GET /login offers.")

    async def refresh(self, call: Call) -> object:
        """New tokens for a refresh token."""
        return session_fields(await self._sessions.refresh(call.body(RefreshBody).refresh_token))

    @interactive
    async def get_token(self, call: Call) -> object:
        """A token with which another client of the user can log in."""
        assert self._login_tokens is not None
        body = call.body(AuthBody)
        if self._login_tokens_need_confirmation:
            await self._confirmation.confirm(call.requester, operation_of(call), body.auth, {}, always_ask=True)
        made = await self._login_tokens.issue(call.requester)
        return {"login_token": made.token, "expires_in_ms": made.expires_in_ms}
