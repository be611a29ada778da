"""Proving to others who one is (client-server API, "OpenID")."""

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.openid import LIFETIME, OpenId


class OpenIdEndpoints:
    """`/user/{userId}/openid/request_token`."""

    def __init__(self, openid: OpenId, server_name: str) -> None:
        self._openid = openid
        self._server_name = server_name

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "POST", "/_matrix/client/v3/user/{userId}/openid/request_token", self.request_token,
                spec="post_matrixclientv3useruseridopenidrequest_token",
            ),
        ]

    async def request_token(self, call: Call) -> object:
        """A token that proves who the user is."""
        if call.path("userId") != call.requester.user_id:
            raise MatrixError(403, "M_FORBIDDEN", "'userId' must be the user of the access token.")
        call.json_object()
        return {
            "access_token": await self._openid.issue(call.requester),
            "token_type": "Bearer",
            "matrix_server_name": self._server_name,
            "expires_in": LIFETIME,
        }
