"""`/_synapse/admin/v1/register`, as Synapse's admin API documentation describes it, because existing tools speak it.

https://element-hq.github.io/synapse/latest/admin_api/register_api.html
"""

import msgspec

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.shared_secret_registration import SecretRegistration, SharedSecretRegistration

_PATH = "/_synapse/admin/v1/register"
_SPEC = "https://element-hq.github.io/synapse/latest/admin_api/register_api.html"


class RegisterBody(msgspec.Struct):
    """The body of the request."""

    nonce: str
    username: str
    password: str
    mac: str
    admin: bool = False
    user_type: str | None = None
    displayname: str | None = None


class SecretRegistrationEndpoints:
    """Makes accounts for those who know the shared secret."""

    def __init__(self, registration: SharedSecretRegistration, server_name: str) -> None:
        self._registration = registration
        self._server_name = server_name

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("GET", _PATH, self.nonce, spec=_SPEC, auth=Auth.NONE),
            Route("POST", _PATH, self.register, spec=_SPEC, auth=Auth.NONE, max_body=64 * 1024),
        ]

    async def nonce(self, call: Call) -> object:
        """A nonce for one request."""
        return {"nonce": self._registration.new_nonce()}

    async def register(self, call: Call) -> object:
        """Make an account, and log in to it."""
        body = call.body(RegisterBody)
        registered = await self._registration.register(SecretRegistration(**msgspec.structs.asdict(body)))
        session = registered.session
        assert session is not None
        return {
            "user_id": session.user_id,
            "access_token": session.access_token,
            "device_id": session.device_id,
            "home_server": self._server_name,
        }
