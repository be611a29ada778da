"""What a room looks like from outside: the entries of the published directory, of spaces, and of room summaries.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from matrixd.core import content
from matrixd.core.event import Event
from matrixd.storage import published_rooms, room_servers, room_state, rooms
from matrixd.storage.rooms import Room
from matrixd.storage.transaction import Transaction

#: The state, with an empty state key, that a summary tells of.
STATE_TYPES = (
    "m.room.create", "m.room.name", "m.room.topic", "m.room.avatar", "m.room.canonical_alias", "m.room.join_rules",
    "m.room.history_visibility", "m.room.guest_access", "m.room.encryption",
)  # fmt: skip
SPACE = "m.space"
SPACE_CHILD = "m.space.child"


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """A room that somebody of this server is in, with what decides who may see its summary."""

    room: Room
    #: By type.
    state: Mapping[str, Event]
    #: The m.space.child events, for a space only.
    children: Collection[Event]
    #: The other servers that have joined members.
    servers: frozenset[str] = frozenset()

    @property
    def join_rule(self) -> str:
        """The join rule."""
        return content.join_rule(self.state.get("m.room.join_rules"))

    @property
    def is_world_readable(self) -> bool:
        """Whether the world may read the history."""
        return content.history_visibility(self.state.get("m.room.history_visibility")) == "world_readable"

    @property
    def allowed_rooms(self) -> tuple[str, ...]:
        """The rooms whose members may join; none unless the join rule says so."""
        if self.join_rule not in ("restricted", "knock_restricted"):
            return ()
        return content.allowed_rooms(self.state.get("m.room.join_rules"))

    @property
    def is_open(self) -> bool:
        """Whether everybody may join, knock or look in."""
        return self.is_world_readable or self.join_rule in ("public", "knock", "knock_restricted")

    @property
    def is_federated(self) -> bool:
        """Whether users of other servers may take part."""
        create = self.state.get("m.room.create")
        return create is not None and content.is_federated(create)

    def summary(self) -> dict[str, Any]:
        """definitions/room_summary.yaml"""
        optional = {
            "allowed_room_ids": list(self.allowed_rooms) or None,
            "encryption": content.encryption_algorithm(self.state.get("m.room.encryption")),
        }
        return {
            **directory_entry(self.room.room_id, self.room.joined_count, self.state),
            "room_version": self.room.version,
            **{name: value for name, value in optional.items() if value is not None},
        }


def directory_entry(room_id: str, joined_count: int, state: Mapping[str, Event]) -> dict[str, Any]:
    """definitions/public_rooms_chunk.yaml"""
    optional = {
        "name": content.room_name(state.get("m.room.name")),
        "topic": content.room_topic(state.get("m.room.topic")),
        "avatar_url": content.room_avatar(state.get("m.room.avatar")),
        "canonical_alias": content.canonical_alias(state.get("m.room.canonical_alias")),
        "room_type": content.room_type(state.get("m.room.create")),
    }
    return {
        "room_id": room_id,
        "num_joined_members": joined_count,
        "world_readable": content.history_visibility(state.get("m.room.history_visibility")) == "world_readable",
        "guest_can_join": content.guests_may_join(state.get("m.room.guest_access")),
        "join_rule": content.join_rule(state.get("m.room.join_rules")),
        **{name: value for name, value in optional.items() if value is not None},
    }


def load_facts(tx: Transaction, room_ids: Collection[str]) -> dict[str, RoomFacts]:
    """Those of some rooms that users of this server are in: of others it does not know how they are now."""
    found = {room.room_nid: room for room in rooms.by_ids(tx, room_ids).values()}
    servers = room_servers.of_rooms(tx, found) if found else {}
    here = [nid for nid, room in found.items() if _is_here(room, servers.get(nid, {}))]
    states = published_rooms.state(tx, here, STATE_TYPES)
    facts = {}
    for nid in here:
        state = states.get(nid, {})
        is_space = content.room_type(state.get("m.room.create")) == SPACE
        children = room_state.of_type(tx, nid, SPACE_CHILD).values() if is_space else ()
        servers_here = frozenset(servers.get(nid, ()))
        facts[found[nid].room_id] = RoomFacts(found[nid], state, [stored.event for stored in children], servers_here)
    return facts


def _is_here(room: Room, remote: Mapping[str, int]) -> bool:
    return room.joined_count > sum(remote.values()) and not room.blocked
