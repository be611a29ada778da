"""Third-party identifiers of accounts, on a server that sends no mail or text messages, and asks no identity server.

Source: client-server API, "Adding Account Administrative Contact Information", and the `requestToken` endpoints of
registration and password. A token can never be requested, so no identifier can be proved, and none is kept.
"""

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Handler, Route


class EmailTokenBody(msgspec.Struct):
    """The body of `…/email/requestToken`."""

    client_secret: str
    email: str
    send_attempt: int


class PhoneTokenBody(msgspec.Struct):
    """The body of `…/msisdn/requestToken`."""

    client_secret: str
    country: str
    phone_number: str
    send_attempt: int


class Credentials(msgspec.Struct):
    """What an identity server gave for a validated identifier."""

    client_secret: str
    id_server: str
    sid: str


class AddBody(msgspec.Struct):
    """The body of the deprecated `POST /account/3pid`."""

    three_pid_creds: Credentials


class SessionBody(msgspec.Struct):
    """The body of `POST /account/3pid/add`."""

    client_secret: str
    sid: str


class AddressBody(msgspec.Struct):
    """The body of `POST /account/3pid/delete` and `…/unbind`."""

    medium: str
    address: str


_V3 = "/_matrix/client/v3"


class AdministrativeContact:
    """The third-party identifiers of an account: none."""

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("GET", f"{_V3}/account/3pid", self.identifiers, spec="get_matrixclientv3account3pid"),
            Route("POST", f"{_V3}/account/3pid", self.add_deprecated, spec="post_matrixclientv3account3pid"),
            Route("POST", f"{_V3}/account/3pid/add", self.add, spec="post_matrixclientv3account3pidadd"),
            Route("POST", f"{_V3}/account/3pid/bind", self.bind, spec="post_matrixclientv3account3pidbind"),
            Route("POST", f"{_V3}/account/3pid/delete", self.remove, spec="post_matrixclientv3account3piddelete"),
            Route("POST", f"{_V3}/account/3pid/unbind", self.remove, spec="post_matrixclientv3account3pidunbind"),
            Route(
                "POST", f"{_V3}/register/email/requestToken", _refuse(EmailTokenBody, *_DENIED),
                spec="post_matrixclientv3registeremailrequesttoken",
                auth=Auth.NONE, limit="threepid_validation",
            ),
            Route(
                "POST", f"{_V3}/register/msisdn/requestToken", _refuse(PhoneTokenBody, *_DENIED),
                spec="post_matrixclientv3registermsisdnrequesttoken",
                auth=Auth.NONE, limit="threepid_validation",
            ),
            Route(
                "POST", f"{_V3}/account/password/email/requestToken", _refuse(EmailTokenBody, *_NOT_FOUND),
                spec="post_matrixclientv3accountpasswordemailrequesttoken",
                auth=Auth.NONE, limit="threepid_validation",
            ),
            Route(
                "POST", f"{_V3}/account/password/msisdn/requestToken", _refuse(PhoneTokenBody, *_NOT_FOUND),
                spec="post_matrixclientv3accountpasswordmsisdnrequesttoken",
                auth=Auth.NONE, limit="threepid_validation",
            ),
            Route(
                "POST", f"{_V3}/account/3pid/email/requestToken", _refuse(EmailTokenBody, *_NOT_SUPPORTED),
                spec="post_matrixclientv3account3pidemailrequesttoken",
                auth=Auth.NONE, limit="threepid_validation",
            ),
            Route(
                "POST", f"{_V3}/account/3pid/msisdn/requestToken", _refuse(PhoneTokenBody, *_NOT_SUPPORTED),
                spec="post_matrixclientv3account3pidmsisdnrequesttoken",
                auth=Auth.NONE, limit="threepid_validation",
            ),
        ]

    async def identifiers(self, call: Call) -> object:
        """The identifiers that the account has."""
        return {"threepids": []}

    async def add_deprecated(self, call: Call) -> object:
        """Add an identifier that an identity server has validated."""
        call.body(AddBody)
        raise MatrixError(403, "M_THREEPID_AUTH_FAILED", "This server does not ask identity servers.")

    async def add(self, call: Call) -> object:
        """Add an identifier that this server has validated."""
        call.body(SessionBody)
        raise MatrixError(400, "M_THREEPID_AUTH_FAILED", "'sid' is unknown: this server validates no addresses.")

    async def bind(self, call: Call) -> object:
        """Publish an identifier on an identity server."""
        call.body(Credentials)
        raise MatrixError(400, "M_SERVER_NOT_TRUSTED", "This server does not speak to identity servers.")

    async def remove(self, call: Call) -> object:
        """Remove an identifier, or unbind it: there is none, and no identity server is known to have it."""
        call.body(AddressBody)
        return {"id_server_unbind_result": "no-support"}


def _refuse(body_type: type[object], status: int, errcode: str, error: str) -> Handler:
    async def request_token(call: Call) -> object:
        call.body(body_type)
        raise MatrixError(status, errcode, error)

    return request_token


_DENIED = (403, "M_THREEPID_DENIED", "This server does not validate addresses: register without one.")
_NOT_FOUND = (400, "M_THREEPID_NOT_FOUND", "No account of this server has this address.")
_NOT_SUPPORTED = (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "This server does not keep addresses of accounts.")
