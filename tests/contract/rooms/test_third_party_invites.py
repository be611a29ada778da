"""Joining by an invite of an e-mail address, which an identity server has bound to the user."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.core.signing import SigningKey, signable_bytes
from tests.support.room_server import RoomServer, User

KEY = SigningKey.from_seed("0", b"i" * 32)
OTHER_KEY = SigningKey.from_seed("0", b"o" * 32)


def promise(alice: User) -> str:
    room = alice.create_room()
    public_key = KEY.verify_key.to_base64()
    content = {"display_name": "b…@x", "public_key": public_key, "key_validity_url": "https://id.example/valid"}
    alice.set_state(room, "m.room.third_party_invite", content, "token")
    return room


def signed(alice: User, bob: User, key: SigningKey = KEY, **changes: Any) -> dict[str, Any]:
    statement = {"mxid": bob.id, "token": "token"}
    signature = key.sign(signable_bytes(statement))
    return {**statement, "sender": alice.id, "signatures": {"id.example": {"ed25519:0": signature}}, **changes}


def test_the_join_brings_the_invite_with_it(server: RoomServer, alice: User, bob: User) -> None:
    room = promise(alice)
    bob.join(room, third_party_signed=signed(alice, bob))
    invite, join = server.events(room)[-2:]
    assert (invite.sender, invite.state_key, invite.membership) == (alice.id, bob.id, "invite")
    assert invite.content["third_party_invite"]["display_name"] == "b…@x"
    assert (join.sender, join.membership) == (bob.id, "join")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, OTHER_KEY),
        ({"token": "another"}, KEY),
        ({"sender": "@eve:test.example"}, KEY),
        ({"mxid": "@eve:test.example"}, KEY),
    ],
)
def test_what_does_not_fit_is_refused(
    server: RoomServer, alice: User, bob: User, changes: dict[str, Any], key: SigningKey
) -> None:
    room = promise(alice)
    before = len(server.events(room))
    assert bob.join(room, 403, third_party_signed=signed(alice, bob, key, **changes)).errcode == "M_FORBIDDEN"
    assert len(server.events(room)) == before


def test_a_wrong_shape_is_named(alice: User, bob: User) -> None:
    answer = bob.join(promise(alice), 400, third_party_signed={"mxid": bob.id})
    assert answer.errcode == "M_BAD_JSON"
    assert "third_party_signed" in answer["error"]
