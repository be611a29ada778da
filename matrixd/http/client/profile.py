"""Profiles: `data/api/client-server/profile.yaml` of the specification."""

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import validate_user_id
from matrixd.http.client.own_user import own_user
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.queries.authentication import Requester
from matrixd.services.profiles import DISPLAY_NAME, MAX_PROFILE_BYTES, Profiles
from matrixd.services.suspension import refuse_suspended

_PROFILE = "/_matrix/client/v3/profile/{userId}"
_FIELD = "/_matrix/client/v3/profile/{userId}/{keyName}"


class Profile:
    """The endpoints of profiles. With `require_auth` nobody looks up a profile without a token."""

    def __init__(self, profiles: Profiles, require_auth: bool) -> None:
        self._profiles = profiles
        self._looking = Auth.GUEST if require_auth else Auth.OPTIONAL

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("GET", _PROFILE, self.get, spec="get_matrixclientv3profileuserid", auth=self._looking),
            Route("GET", _FIELD, self.get_field, spec="get_matrixclientv3profileuseridkeyname", auth=self._looking),
            Route(
                "PUT", _FIELD, self.put_field, spec="put_matrixclientv3profileuseridkeyname", auth=Auth.GUEST,
                max_body=2 * MAX_PROFILE_BYTES,
            ),
            Route(
                "DELETE", _FIELD, self.delete_field, spec="delete_matrixclientv3profileuseridkeyname", auth=Auth.GUEST
            ),
        ]  # fmt: skip

    async def get(self, call: Call) -> object:
        """All fields of a user's profile."""
        return await self._profiles.get(validate_user_id(call.path("userId"), "userId"), _asking(call))

    async def get_field(self, call: Call) -> object:
        """One field of a user's profile."""
        user_id = validate_user_id(call.path("userId"), "userId")
        return await self._profiles.get_field(user_id, call.path("keyName"), _asking(call))

    async def put_field(self, call: Call) -> object:
        """Set one field of the own profile."""
        requester, field = _changing(call)
        await self._profiles.set(requester.user_nid, requester.user_id, field, call.json_object())
        return {}

    async def delete_field(self, call: Call) -> object:
        """Remove one field of the own profile."""
        requester, field = _changing(call)
        await self._profiles.delete(requester.user_nid, requester.user_id, field)
        return {}


def _asking(call: Call) -> int | None:
    requester = call.maybe_requester
    return None if requester is None else requester.user_nid


def _changing(call: Call) -> tuple[Requester, str]:
    requester = own_user(call)
    field = call.path("keyName")
    refuse_suspended(requester)
    if requester.is_guest and field != DISPLAY_NAME:
        raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", f"Guests may only change '{DISPLAY_NAME}'.")
    return requester, field
