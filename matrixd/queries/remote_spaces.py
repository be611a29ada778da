"""What another server says of a space, read with care: it may say anything.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matrixd.core.identifiers import is_room_alias, is_room_id
from matrixd.core.spaces import is_child

#: Children of one space, and inaccessible ones, that are looked at.
MAX_CHILDREN = 1_000
#: Characters of a text that are shown.
_MAX_TEXT = 10_000


@dataclass(frozen=True, slots=True)
class RemoteSpace:
    """A room with what its server knows of its children."""

    #: definitions/room_summary.yaml with `children_state`.
    room: Mapping[str, Any]
    #: By room ID; without `children_state`.
    children: Mapping[str, Mapping[str, Any]]
    #: Rooms that this server has no way into, so nobody need be asked about them.
    inaccessible: frozenset[str]


def parse(answer: object, room_id: str) -> RemoteSpace | None:
    """What of an answer to `/hierarchy` can be read; None if it tells nothing of the room that was asked for."""
    if not isinstance(answer, Mapping):
        return None
    room = room_summary(answer.get("room"))
    if room is None or room["room_id"] != room_id:
        return None
    stated = answer["room"].get("children_state")
    room["children_state"] = [_child(child) for child in _listed(stated) if _is_whole_child(child)]
    children = {}
    for entry in _listed(answer.get("children")):
        child = room_summary(entry)
        if child is not None:
            children[child["room_id"]] = child
    inaccessible = frozenset(entry for entry in _listed(answer.get("inaccessible_children")) if isinstance(entry, str))
    return RemoteSpace(room, children, inaccessible)


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _avatar(value: object) -> bool:
    return isinstance(value, str) and value.startswith("mxc://") and len(value) <= _MAX_TEXT


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _room_ids(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_CHILDREN and all(is_room_id(entry) for entry in value)


def _servers(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_CHILDREN


_REQUIRED: Mapping[str, Callable[[object], bool]] = {
    "room_id": is_room_id, "num_joined_members": _count, "world_readable": _flag, "guest_can_join": _flag,
}  # fmt: skip
_OPTIONAL: Mapping[str, Callable[[object], bool]] = {
    "name": _text, "topic": _text, "avatar_url": _avatar, "canonical_alias": is_room_alias, "join_rule": _text,
    "room_type": _text, "encryption": _text, "room_version": _text, "allowed_room_ids": _room_ids,
}  # fmt: skip
_CHILD_FIELDS = ("type", "state_key", "sender", "origin_server_ts")
_CHILD_CONTENT: Mapping[str, Callable[[object], bool]] = {"via": _servers, "order": _text, "suggested": _flag}


def room_summary(value: object) -> dict[str, Any] | None:
    """What of a room's summary, or of an entry of a published directory, can be read; None if too little.

    definitions/room_summary.yaml
    """
    if not isinstance(value, Mapping) or not all(fits(value.get(name)) for name, fits in _REQUIRED.items()):
        return None
    summary = {name: value[name] for name in _REQUIRED}
    summary.update({name: value[name] for name, fits in _OPTIONAL.items() if fits(value.get(name))})
    return summary


def _child(child: Mapping[str, Any]) -> dict[str, Any]:
    given = child["content"]
    content = {name: given[name] for name, fits in _CHILD_CONTENT.items() if fits(given.get(name))}
    return {**{name: child[name] for name in _CHILD_FIELDS}, "content": content}


def _is_whole_child(child: object) -> bool:
    return (
        isinstance(child, Mapping)
        and child.get("type") == "m.space.child"
        and _text(child.get("sender"))
        and _count(child.get("origin_server_ts"))
        and is_child(child)
    )


def _listed(value: object) -> list[Any]:
    return value[:MAX_CHILDREN] if isinstance(value, list) else []
