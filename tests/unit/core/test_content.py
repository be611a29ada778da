from __future__ import annotations

from typing import Any

import pytest

from matrixd.core import content
from matrixd.core.event import Event
from matrixd.core.versions import V12
from tests.unit.core.build import make


def state(**members: Any) -> Event:
    return make(V12, event_type="m.room.member", state_key="", content=members)


NONSENSE: list[Any] = [None, 5, [], {}, True, ""]


def test_creation() -> None:
    create = state(room_version="9", type="m.space", **{"m.federate": False})
    assert content.room_version(create) == content.room_version(create.content) == "9"
    assert content.room_type(create) == "m.space"
    assert not content.is_federated(create)
    assert content.room_version({}) == content.room_version({"room_version": 9}) == "1"
    assert content.room_type(None) is None
    assert content.is_federated(state()) is content.is_federated(state(**{"m.federate": "false"})) is True


def test_predecessor() -> None:
    assert content.predecessor(state(predecessor={"room_id": "!a:b", "event_id": "$c"})) == content.Predecessor(
        "!a:b", "$c"
    )
    assert content.predecessor(state(predecessor={"room_id": "!a", "event_id": 5})) == content.Predecessor("!a", None)
    for value in (*NONSENSE, {"room_id": "a"}, {"event_id": "$c"}):
        assert content.predecessor(state(predecessor=value)) is None
    assert content.replacement_room(state(replacement_room="!a:b")) == "!a:b"
    assert content.replacement_room(state(replacement_room="a")) is content.replacement_room(None) is None


def test_membership() -> None:
    assert content.membership(state(membership="join")) == "join"
    assert content.membership(state(membership=5)) == content.membership(None) == "leave"
    assert content.display_name(state(displayname="A")) == "A"
    assert content.display_name(state(displayname=None)) is content.display_name(None) is None
    assert content.avatar_url(state(avatar_url="mxc://a/b")) == "mxc://a/b"
    assert content.authorised_via(state(join_authorised_via_users_server="@a:b")) == "@a:b"
    assert content.authorised_via(state(join_authorised_via_users_server="a")) is None
    assert content.is_direct(state(is_direct=True))
    assert not content.is_direct(state(is_direct="true"))
    assert not content.is_direct(None)


def test_third_party_invites() -> None:
    signed = {"mxid": "@a:b", "token": "t", "signatures": {}}
    invite = content.signed_third_party_invite(state(third_party_invite={"signed": signed}))
    assert invite == content.SignedThirdPartyInvite("@a:b", "t", signed)
    for value in (*NONSENSE, {"signed": 5}, {"signed": {"mxid": "@a:b"}}, {"signed": {"token": "t"}}):
        assert content.signed_third_party_invite(state(third_party_invite=value)) is None


def test_keys_of_third_party_invites_come_each_once() -> None:
    keys = [{"public_key": "b"}, {"public_key": "a"}, {"public_key": 5}, {}, 5, {"public_key": "b"}]
    assert content.third_party_invite_keys(state(public_key="a", public_keys=keys)) == ("a", "b")
    for value in NONSENSE[:-1]:
        assert content.third_party_invite_keys(state(public_key=value, public_keys=value)) == ()


def test_join_rules() -> None:
    assert content.join_rule(state(join_rule="public")) == "public"
    for value in NONSENSE:
        assert content.join_rule(state(join_rule=value)) == "invite"
        assert content.allowed_rooms(state(allow=value)) == ()
    assert content.join_rule(None) == "invite"
    assert content.allowed_rooms(None) == ()
    allow = [{"type": "m.room_membership", "room_id": room_id} for room_id in ("!b:c", "!a", "!b:c", "a", 5)]
    allow += [5, {"type": "other", "room_id": "!x"}, {"room_id": "!y"}]  # type: ignore[list-item]
    assert content.allowed_rooms(state(allow=allow)) == ("!b:c", "!a")


@pytest.mark.parametrize("value", sorted(content.HISTORY_VISIBILITIES))
def test_history_visibility(value: str) -> None:
    assert content.history_visibility(state(history_visibility=value)) == value
    for nonsense in (*NONSENSE, "nobody"):
        assert content.history_visibility(state(history_visibility=nonsense)) == "shared"
    assert content.history_visibility(None) == "shared"


def test_guests() -> None:
    assert content.guests_may_join(state(guest_access="can_join"))
    assert not content.guests_may_join(state(guest_access="forbidden"))
    assert not content.guests_may_join(None)


def test_what_a_room_calls_itself() -> None:
    event = state(name="N", topic="T", url="mxc://a/b", alias="#a:b", algorithm="m.megolm.v1.aes-sha2")
    assert content.room_name(event) == "N"
    assert content.room_topic(event) == "T"
    assert content.room_avatar(event) == "mxc://a/b"
    assert content.canonical_alias(event) == "#a:b"
    assert content.encryption_algorithm(event) == "m.megolm.v1.aes-sha2"
    for value in NONSENSE:
        event = state(name=value, topic=value, url=value, alias=value)
        for read in (content.room_name, content.room_topic, content.room_avatar, content.canonical_alias):
            assert read(event) is None
        assert content.alternative_aliases(state(alt_aliases=value)) == ()
    assert content.alternative_aliases(None) == ()
    assert content.alternative_aliases(state(alt_aliases=["#b:c", 5, "x", "#a:b", "#b:c"])) == ("#b:c", "#a:b")


def test_relations() -> None:
    relates_to = {"rel_type": "m.annotation", "event_id": "$a", "key": "👍"}
    assert content.relation({"m.relates_to": relates_to}) == content.Relation("m.annotation", "$a", "👍")
    assert content.relation({"m.relates_to": {**relates_to, "key": 5}}) == content.Relation("m.annotation", "$a", None)
    for value in (*NONSENSE, {"rel_type": "x"}, {"event_id": "$a"}, {"rel_type": 5, "event_id": "$a"}):
        assert content.relation({"m.relates_to": value}) is None
