"""Registration (client-server API, "Account registration")."""

from collections.abc import Mapping
from typing import Any

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.http.client.interactive import MAX_BODY, interactive, operation_of
from matrixd.http.client.interactive import Auth as AuthField
from matrixd.http.client.session_answers import login_answer
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.limits import Limit
from matrixd.services.passwords import Passwords
from matrixd.services.registration import NewAccount, Registered, Registration, stored_form
from matrixd.services.sessions import SessionRequest
from matrixd.services.uia import AuthenticationNeeded, InteractiveAuthentication, Operation, Proof
from matrixd.util.clock import Clock
from matrixd.util.ratelimit import RateLimiter


class RegisterBody(msgspec.Struct):
    """The body of `POST /register`. A later request of a session may leave out what an earlier one had."""

    auth: AuthField = None
    type: str | None = None
    username: str | None = None
    password: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    inhibit_login: bool | None = None
    refresh_token: bool | None = None
    guest_access_token: str | None = None
    #: Only in what a session keeps.
    password_hash: str | None = None


class GuestBody(msgspec.Struct):
    """What counts of a guest's body: the specification has all else ignored."""

    initial_device_display_name: str | None = None


class RegistrationEndpoints:
    """`/register` and what belongs to it. `limiter` (`rc_registration`) limits the accounts of a client address."""

    def __init__(
        self,
        registration: Registration,
        passwords: Passwords,
        authentication: InteractiveAuthentication,
        limiter: RateLimiter,
        clock: Clock,
        server_name: str,
    ) -> None:
        self._registration = registration
        self._passwords = passwords
        self._authentication = authentication
        self._limit = Limit(limiter, clock, "Too many registrations from your address")
        self._server_name = server_name

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "POST", "/_matrix/client/v3/register", self.register,
                spec="post_matrixclientv3register", auth=Auth.NONE, max_body=MAX_BODY,
            ),
            Route(
                "GET", "/_matrix/client/v3/register/available", self.available,
                spec="get_matrixclientv3registeravailable", auth=Auth.NONE, limit="registration",
            ),
            Route(
                "GET", "/_matrix/client/v1/register/m.login.registration_token/validity", self.token_validity,
                spec="get_matrixclientv1registermloginregistration_tokenvalidity", auth=Auth.NONE,
                limit="registration_token_validity",
            ),
        ]

    async def available(self, call: Call) -> object:
        """Whether a username can be had."""
        self._registration.require_open()
        localpart = self._registration.localpart(call.require_query("username"))
        return {"available": await self._registration.is_shown_as_free(localpart)}

    async def token_validity(self, call: Call) -> object:
        """Whether an account can be made with a registration token."""
        token = call.require_query("token")
        self._registration.require_open()
        return {"valid": await self._registration.is_token_valid(token)}

    @interactive
    async def register(self, call: Call) -> object:
        """Make an account, and log in to it."""
        kind = call.query_one_of("kind", ("user", "guest"), "user")
        # Accounts and failed attempts count, and not the requests that it takes to authenticate.
        self._limit.check(call.client_ip, count=False)
        if kind == "guest":
            return await self._register_guest(call)
        body = call.body(RegisterBody)
        if body.type == "m.login.application_service":
            raise MatrixError(403, "M_FORBIDDEN", "The access token does not belong to an application service.")
        self._registration.require_open()
        return await self._register_user(call, body)

    async def _register_guest(self, call: Call) -> object:
        self._registration.require_guests_allowed()
        body = call.body(GuestBody)
        self._limit.count(call.client_ip)
        registered = await self._registration.register_guest(body.initial_device_display_name)
        return self._answer(registered)

    async def _register_user(self, call: Call, body: RegisterBody) -> object:
        body.password_hash = None
        localpart = await self._checked_localpart(body)
        auth, body.auth = body.auth, None
        stored: Mapping[str, Any] = {}
        if not (auth or {}).get("session"):
            if body.password is not None:
                body.password_hash = await self._passwords.hash_new(body.password)
            stored = stored_form(msgspec.to_builtins(body), body.password_hash)
        proof = await self._authenticate(call, auth, stored)
        if not stored:
            body = await self._completed(body, proof)
            localpart = self._localpart(body)
        registered = await self._make(body, localpart, proof)
        self._limit.count(call.client_ip)
        return self._answer(registered)

    def _localpart(self, body: RegisterBody) -> str | None:
        if body.username is None:
            return None
        if body.guest_access_token is not None and body.username.isdigit():
            return body.username
        return self._registration.localpart(body.username)

    async def _checked_localpart(self, body: RegisterBody) -> str | None:
        """The localpart that is asked for, which must be free before the client is asked to authenticate."""
        localpart = self._localpart(body)
        if localpart is None:
            return None
        session = (body.auth or {}).get("session")
        # A session that has made this very account before may ask again.
        found = await self._authentication.find(session) if isinstance(session, str) else None
        if found is None or found.registered_nid is None:
            await self._registration.check_free(localpart, body.guest_access_token)
        return localpart

    async def _authenticate(self, call: Call, auth: AuthField, stored: Mapping[str, Any]) -> Proof:
        operation = Operation(operation_of(call), self._registration.flows(), repeatable=True)
        try:
            return await self._authentication.authenticate(operation, auth, stored)
        except AuthenticationNeeded as needed:
            if "errcode" in needed.body:
                self._limit.count(call.client_ip)
            raise

    async def _completed(self, body: RegisterBody, proof: Proof) -> RegisterBody:
        """The body, with what only the first request of the session had."""
        if body.password is not None:
            body.password_hash = await self._passwords.hash_new(body.password)
        given = {name: value for name, value in msgspec.to_builtins(body).items() if value is not None}
        return msgspec.convert({**proof.request, **given}, RegisterBody)

    async def _make(self, body: RegisterBody, localpart: str | None, proof: Proof) -> Registered:
        if body.password_hash is None:
            raise MatrixError(400, "M_MISSING_PARAM", "Field 'password' is missing.")
        session = None
        if not body.inhibit_login:
            session = SessionRequest(body.device_id, body.initial_device_display_name, bool(body.refresh_token))
        if body.guest_access_token is None:
            return await self._registration.register(NewAccount(localpart, body.password_hash), session, proof)
        if localpart is None:
            raise MatrixError(400, "M_MISSING_PARAM", "Field 'username' is missing: the guest's name.")
        return await self._registration.upgrade_guest(
            body.guest_access_token, localpart, body.password_hash, session, proof
        )

    def _answer(self, registered: Registered) -> dict[str, object]:
        if registered.session is None:
            return {"user_id": registered.user_id, "home_server": self._server_name}
        return login_answer(registered.session, self._server_name)
