"""The aliases that a room says it has, in `m.room.canonical_alias`.

https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.identifiers import domain_of, is_room_alias
from matrixd.storage import room_aliases
from matrixd.storage.database import Database

logger = logging.getLogger(__name__)

TYPE = "m.room.canonical_alias"
#: More than anybody has; each may cost a look-up.
MAX_ALIASES = 100


class Target(Protocol):
    """What an alias points to."""

    @property
    def room_id(self) -> str: ...


#: Raises MatrixError.
Locate = Callable[[str], Awaitable[Target]]


class CanonicalAliases:
    """Checks what clients write into the event. `locate` asks another server for the room of its alias."""

    def __init__(self, database: Database, server_name: str, locate: Locate) -> None:
        self._database = database
        self._server_name = server_name
        self._locate = locate

    async def check(self, room_id: str, current: Event | None, content: Mapping[str, Any]) -> None:
        """Look at the aliases that the event has not had before.

        Raises M_BAD_JSON, M_INVALID_PARAM for what is no alias, M_BAD_ALIAS for one that does not point to the room.
        """
        before = set(listed(current.content)) if current is not None else set()
        added = [alias for alias in checked_list(content) if alias not in before]
        for alias in added:
            if not is_room_alias(alias):
                raise MatrixError(400, "M_INVALID_PARAM", f"'{alias}' is not a room alias.")
        ours = [alias for alias in added if domain_of(alias) == self._server_name]
        found = await self._database.read(room_aliases.get_many, ours) if ours else {}
        # Those of this server first: to look at them costs nothing.
        for alias in sorted(added, key=lambda alias: alias not in ours):
            known = found.get(alias) if alias in ours else await self._ask(alias)
            if known is None or known.room_id != room_id:
                raise MatrixError(400, "M_BAD_ALIAS", f"The alias '{alias}' does not point to this room.")

    async def _ask(self, alias: str) -> Target | None:
        try:
            return await self._locate(alias)
        except MatrixError as error:
            logger.info("for m.room.canonical_alias: %s", error)
            return None


def listed(content: Mapping[str, Any]) -> list[str]:
    """The strings that stand where aliases do."""
    others = content.get("alt_aliases")
    values = [content.get("alias"), *(others if isinstance(others, list) else ())]
    return [value for value in values if isinstance(value, str) and value]


def checked_list(content: Mapping[str, Any]) -> list[str]:
    """The same, if everything has the right type and number. Raises M_BAD_JSON, M_INVALID_PARAM."""
    if not isinstance(content.get("alias"), str | None):
        raise MatrixError(400, "M_BAD_JSON", "'alias' must be a string.")
    others = content.get("alt_aliases", [])
    if not isinstance(others, list) or not all(isinstance(alias, str) for alias in others):
        raise MatrixError(400, "M_BAD_JSON", "'alt_aliases' must be a list of strings.")
    if len(others) > MAX_ALIASES:
        raise MatrixError(400, "M_INVALID_PARAM", f"'alt_aliases' must not have more than {MAX_ALIASES} entries.")
    return listed(content)


def without(content: Mapping[str, Any], alias: str) -> dict[str, Any]:
    """The content of the event when an alias is no more."""
    left = {name: value for name, value in content.items() if not (name == "alias" and value == alias)}
    others = left.get("alt_aliases")
    if isinstance(others, list):
        left["alt_aliases"] = [other for other in others if other != alias]
        if not left["alt_aliases"]:
            del left["alt_aliases"]
    return left
