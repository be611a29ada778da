"""Changing the password and deactivating the account (client-server API, "Account management")."""

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.http.client.interactive import MAX_BODY, interactive, operation_of
from matrixd.http.client.interactive import Auth as AuthField
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.deactivation import Deactivation
from matrixd.services.passwords import Passwords
from matrixd.services.user_confirmation import UserConfirmation


class PasswordBody(msgspec.Struct):
    """The body of `POST /account/password`. A later request of a session may leave out what an earlier one had."""

    auth: AuthField = None
    new_password: str | None = None
    logout_devices: bool | None = None


class DeactivateBody(msgspec.Struct):
    """The body of `POST /account/deactivate`."""

    auth: AuthField = None
    id_server: str | None = None
    erase: bool | None = None


class AccountEndpoints:
    """`/account/password` and `/account/deactivate`."""

    def __init__(
        self,
        passwords: Passwords,
        deactivation: Deactivation,
        confirmation: UserConfirmation,
        passwords_enabled: bool = True,
    ) -> None:
        self._passwords = passwords
        self._deactivation = deactivation
        self._confirmation = confirmation
        self._passwords_enabled = passwords_enabled

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "POST", "/_matrix/client/v3/account/password", self.change_password,
                spec="post_matrixclientv3accountpassword", max_body=MAX_BODY,
            ),
            Route(
                "POST", "/_matrix/client/v3/account/deactivate", self.deactivate,
                spec="post_matrixclientv3accountdeactivate", max_body=MAX_BODY,
            ),
        ]

    @interactive
    async def change_password(self, call: Call) -> object:
        """Change the password, and log out other devices unless the client does not want that."""
        if not self._passwords_enabled:
            raise MatrixError(403, "M_FORBIDDEN", "Passwords cannot be changed on this server.")
        body = call.body(PasswordBody)
        has_session = bool((body.auth or {}).get("session"))
        if body.new_password is None and not has_session:
            raise MatrixError(400, "M_MISSING_PARAM", "Field 'new_password' is missing.")
        password_hash = None if body.new_password is None else await self._passwords.hash_new(body.new_password)
        stored = {"password_hash": password_hash, "logout_devices": body.logout_devices}
        proof = await self._confirmation.confirm(call.requester, operation_of(call), body.auth, stored)
        given = {name: value for name, value in stored.items() if value is not None}
        request = {**proof.request, **given}
        if not isinstance(request.get("password_hash"), str):
            raise MatrixError(400, "M_MISSING_PARAM", "Field 'new_password' is missing.")
        await self._passwords.change(
            call.requester, request["password_hash"], logout_devices=request.get("logout_devices") is not False
        )
        return {}

    @interactive
    async def deactivate(self, call: Call) -> object:
        """End the account for ever. There are no third-party identifiers here that would have to be unbound."""
        body = call.body(DeactivateBody)
        stored = {"erase": body.erase}
        proof = await self._confirmation.confirm(call.requester, operation_of(call), body.auth, stored)
        erase = proof.request.get("erase") if body.erase is None else body.erase
        await self._deactivation.deactivate(call.requester.user_nid, bool(erase))
        return {"id_server_unbind_result": "success"}
