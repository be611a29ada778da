"""Changing the password and deactivating the account (client-server API, "Account management")."""

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.http.client.interactive import MAX_BODY, interactive, operation_of
from matrixd.http.client.interactive import Auth as AuthField
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.queries.authentication import Requester
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
    """`/account/password` and `/account/deactivate`.

    The access token may be left out: then the password that is given says whose account it is.
    """

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
                spec="post_matrixclientv3accountpassword", auth=Auth.OPTIONAL, max_body=MAX_BODY,
            ),
            Route(
                "POST", "/_matrix/client/v3/account/deactivate", self.deactivate,
                spec="post_matrixclientv3accountdeactivate", auth=Auth.OPTIONAL, max_body=MAX_BODY,
            ),
        ]

    @interactive
    async def change_password(self, call: Call) -> object:
        """Change the password, and log out other devices unless the client does not want that."""
        if not self._passwords_enabled:
            raise MatrixError(403, "M_FORBIDDEN", "Passwords cannot be changed on this server.")
        requester, body = _user(call), call.body(PasswordBody)
        if requester is None:
            await self._change_without_token(call, body)
        else:
            await self._change(requester, call, body)
        return {}

    async def _change(self, requester: Requester, call: Call, body: PasswordBody) -> None:
        has_session = bool((body.auth or {}).get("session"))
        if body.new_password is None and not has_session:
            raise _no_new_password()
        password_hash = None if body.new_password is None else await self._passwords.hash_new(body.new_password)
        stored = {"password_hash": password_hash, "logout_devices": body.logout_devices}
        proof = await self._confirmation.confirm(requester, operation_of(call), body.auth, stored)
        given = {name: value for name, value in stored.items() if value is not None}
        request = {**proof.request, **given}
        if not isinstance(request.get("password_hash"), str):
            raise _no_new_password()
        await self._passwords.change(
            requester.user_nid, request["password_hash"], request.get("logout_devices") is not False,
            keep_device_nid=requester.device_nid,
        )

    async def _change_without_token(self, call: Call, body: PasswordBody) -> None:
        if body.new_password is None:
            raise _no_new_password()
        self._passwords.validate_new(body.new_password)
        account = await self._confirmation.identify(operation_of(call), body.auth, call.client_ip)
        # Hashing is dear: only for who has proved to be somebody.
        password_hash = await self._passwords.hash_new(body.new_password)
        await self._passwords.change(account.user_nid, password_hash, body.logout_devices is not False)

    @interactive
    async def deactivate(self, call: Call) -> object:
        """End the account for ever. There are no third-party identifiers here that would have to be unbound."""
        requester, body = _user(call), call.body(DeactivateBody)
        if requester is None:
            account = await self._confirmation.identify(operation_of(call), body.auth, call.client_ip)
            user_nid, erase = account.user_nid, body.erase
        else:
            proof = await self._confirmation.confirm(requester, operation_of(call), body.auth, {"erase": body.erase})
            user_nid, erase = requester.user_nid, proof.request.get("erase") if body.erase is None else body.erase
        await self._deactivation.deactivate(user_nid, bool(erase))
        return {"id_server_unbind_result": "success"}


def _user(call: Call) -> Requester | None:
    """Who makes the request, None without an access token; guests are refused as where a token is needed."""
    requester = call.maybe_requester
    if requester is not None and requester.is_guest:
        raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests may not use this endpoint.")
    return requester


def _no_new_password() -> MatrixError:
    return MatrixError(400, "M_MISSING_PARAM", "Field 'new_password' is missing.")
