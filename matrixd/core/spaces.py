"""Spaces: rooms that list other rooms.

https://spec.matrix.org/v1.19/client-server-api/#spaces
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from matrixd.core.event import Event
from matrixd.core.identifiers import is_room_id

_ORDER: Final = re.compile(r"[\x20-\x7e]{1,50}")


def stripped_child(event: Event) -> dict[str, Any]:
    """An ``m.space.child`` event as a stripped state event with its time, as `/hierarchy` has it.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
    """
    return {
        "type": event.type,
        "state_key": event.state_key,
        "content": event.content,
        "sender": event.sender,
        "origin_server_ts": event.origin_server_ts,
    }


def children_in_order(
    children: Iterable[Mapping[str, Any]], *, suggested_only: bool = False
) -> list[Mapping[str, Any]]:
    """Those of some stripped children that are children, in the order in which they are shown.

    https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space
    """
    return sorted(
        (child for child in children if is_child(child) and (is_suggested(child) or not suggested_only)), key=_place
    )


def is_child(child: Mapping[str, Any]) -> bool:
    """Whether a stripped ``m.space.child`` event makes a room a child: one without `via` makes it none.

    https://spec.matrix.org/v1.19/client-server-api/#mspacechild
    """
    content = child.get("content")
    via = content.get("via") if isinstance(content, Mapping) else None
    return (
        is_room_id(child.get("state_key")) and isinstance(via, list) and all(isinstance(server, str) for server in via)
    )


def servers_of(child: Mapping[str, Any]) -> tuple[str, ...]:
    """The servers through which a child (`is_child`) can be reached.

    https://spec.matrix.org/v1.19/client-server-api/#mspacechild
    """
    return tuple(child["content"]["via"])


def is_suggested(child: Mapping[str, Any]) -> bool:
    """Whether a child is suggested to a space's members. https://spec.matrix.org/v1.19/client-server-api/#mspacechild"""
    content = child.get("content")
    return isinstance(content, Mapping) and content.get("suggested") is True


def _place(child: Mapping[str, Any]) -> tuple[bool, str, int, str]:
    order, ts = child["content"].get("order"), child.get("origin_server_ts")
    is_valid = isinstance(order, str) and _ORDER.fullmatch(order) is not None
    return not is_valid, str(order) if is_valid else "", ts if isinstance(ts, int) else 0, child["state_key"]
