"""Who a user is who proves it with an OpenID token: `data/api/server-server/openid.yaml` of the specification.

Third parties ask, such as identity servers and widgets, so there is no signature of a server on the request.
"""

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.openid import OpenIdOwners


class OpenIdUserInfo:
    """`GET /openid/userinfo`."""

    def __init__(self, owners: OpenIdOwners) -> None:
        self._owners = owners

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/openid/userinfo", self.get,
                spec="get_matrixfederationv1openiduserinfo", auth=Auth.NONE, runs_on=RunsOn.ANY,
            ),
        ]  # fmt: skip

    async def get(self, call: Call) -> object:
        """The user ID behind the token."""
        token = call.query("access_token")
        if not token:
            raise MatrixError(401, "M_MISSING_TOKEN", "The parameter 'access_token' is needed.")
        user_id = await self._owners.verify(token)
        if user_id is None:
            raise MatrixError(401, "M_UNKNOWN_TOKEN", "'access_token' is unknown or has expired.")
        return {"sub": user_id}
