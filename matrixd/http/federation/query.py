"""Queries of other servers: `data/api/server-server/query.yaml` of the specification."""

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import validate_room_alias, validate_user_id
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.federation.directory import Directory
from matrixd.queries.federation.local_users import LocalUsers


class Query:
    """`/query/directory` and `/query/profile`. With `shows_profiles` false nobody may ask for profiles."""

    def __init__(self, directory: Directory, users: LocalUsers, shows_profiles: bool) -> None:
        self._directory = directory
        self._users = users
        self._shows_profiles = shows_profiles

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/query/directory", self.directory,
                spec="get_matrixfederationv1querydirectory", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/_matrix/federation/v1/query/profile", self.profile,
                spec="get_matrixfederationv1queryprofile", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/_matrix/federation/v1/query/{queryType}", self.other,
                spec="get_matrixfederationv1queryquerytype", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
        ]

    async def directory(self, call: Call) -> object:
        """The room of an alias."""
        alias = validate_room_alias(call.require_query("room_alias"), "room_alias")
        return await self._directory.room_of(alias)

    async def profile(self, call: Call) -> object:
        """A user's profile, or one field of it."""
        user_id = validate_user_id(call.require_query("user_id"), "user_id")
        if not self._shows_profiles:
            raise MatrixError(403, "M_FORBIDDEN", "This server shows no profiles to other servers.")
        return await self._users.profile(user_id, call.query("field"))

    async def other(self, call: Call) -> object:
        """Any other query: none is known."""
        raise MatrixError(404, "M_UNRECOGNIZED", f"This server knows no queries of the type {call.path('queryType')}.")
