"""The body that kicking, banning and unbanning share."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from matrixd.http.kit.call import Call


class _Body(msgspec.Struct):
    user_id: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """Whom it is about, and what goes into the member event."""

    user_id: str
    extra: dict[str, Any] = field(default_factory=dict)


def removal(call: Call) -> Removal:
    """The body of a request. Raises M_NOT_JSON, M_BAD_JSON."""
    body = call.body(_Body)
    return Removal(body.user_id, {} if body.reason is None else {"reason": body.reason})
