"""Profiles of users of other servers.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
"""

from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import domain_of
from matrixd.net.errors import RemoteError
from matrixd.services.remote_failures import told
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

#: How long a profile is kept, in seconds.
KEPT_S = 60.0
#: "the total profile MUST be under 64 KiB"
_MAX_BYTES = 64 * 1024
_ENTRY_BYTES = 500
_STRINGS = frozenset({"displayname", "avatar_url", "m.tz"})


class ProfileSource(Protocol):
    """Other servers; raises RemoteError."""

    async def profile(self, destination: str, user_id: str, field: str | None = None) -> Mapping[str, Any]: ...


class RemoteProfiles:
    """Asks for them, and keeps them for a minute. `own_name` is the name of this server."""

    def __init__(self, own_name: str, source: ProfileSource, clock: Clock, budget: CacheBudget) -> None:
        self._own_name = own_name
        self._source = source
        self._clock = clock
        self._kept = budget.cache("remote_profiles", str, tuple[float, dict[str, Any]])
        self._asking: SingleFlight[str, dict[str, Any]] = SingleFlight()

    def has(self, user_id: str) -> bool:
        """Whether the user is of another server."""
        return domain_of(user_id) != self._own_name

    async def get(self, user_id: str) -> dict[str, Any]:
        """The fields of a user's profile that are set.

        Raises M_NOT_FOUND, M_FORBIDDEN, M_LIMIT_EXCEEDED, and M_UNKNOWN if the user's server does not help.
        """
        kept = self._kept.get(user_id)
        if kept is not None and self._clock.monotonic() < kept[0]:
            return kept[1]
        return await self._asking.run(user_id, lambda: self._ask(user_id))

    async def _ask(self, user_id: str) -> dict[str, Any]:
        try:
            answer = await self._source.profile(domain_of(user_id), user_id)
        except RemoteError as error:
            raise told(error, f"the profile of {user_id}") from error
        profile = {name: value for name, value in answer.items() if _is_set(name, value) and _is_json(value)}
        size = len(orjson.dumps(profile))
        if size > _MAX_BYTES:
            raise MatrixError(502, "M_UNKNOWN", f"The profile of {user_id} is larger than a profile may be.")
        self._kept.put(user_id, (self._clock.monotonic() + KEPT_S, profile), _ENTRY_BYTES + size)
        return profile


def _is_set(name: str, value: object) -> bool:
    return value is not None and (name not in _STRINGS or isinstance(value, str))


def _is_json(value: object) -> bool:
    """Whether it has no number that JSON for clients cannot have."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True
