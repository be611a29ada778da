"""Who a client means when it names a user in order to authenticate (client-server API, "Identifier types")."""

from collections.abc import Mapping
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import user_id as make_user_id


def identified_user(fields: Mapping[str, Any], server_name: str) -> str:
    """The user ID that `fields` (of a login, or of an `m.login.password` stage) name; the account need not exist.

    Reads `identifier`, and the deprecated `user`, and `medium` with `address`. This server keeps no third-party
    identifiers, so that one is always unknown: M_FORBIDDEN. Raises M_MISSING_PARAM, M_BAD_JSON or M_UNKNOWN for what
    names nobody.
    """
    identifier = fields.get("identifier")
    if identifier is None:
        identifier = _deprecated(fields)
    if not isinstance(identifier, Mapping):
        raise MatrixError(400, "M_BAD_JSON", "Field 'identifier' must be an object.")
    kind = identifier.get("type", "m.id.thirdparty" if "medium" in identifier else None)
    if kind in ("m.id.thirdparty", "m.id.phone"):
        raise MatrixError(403, "M_FORBIDDEN", "No account has this third-party identifier.")
    if kind != "m.id.user":
        raise MatrixError(400, "M_UNKNOWN", "Field 'identifier.type' must be 'm.id.user'.")
    user = identifier.get("user")
    if not isinstance(user, str) or not user:
        raise MatrixError(400, "M_BAD_JSON", "Field 'identifier.user' must be a user ID, or the local part of one.")
    return user if user.startswith("@") else make_user_id(user, server_name)


def _deprecated(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if fields.get("user") is not None:
        return {"type": "m.id.user", "user": fields["user"]}
    if fields.get("medium") is not None:
        return {"type": "m.id.thirdparty"}
    raise MatrixError(400, "M_MISSING_PARAM", "Field 'identifier' is missing.")
