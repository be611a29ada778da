"""Invites of e-mail addresses that were bound to users, here and elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from matrixd.core.event import Event
from matrixd.core.event_signing import with_event_signature
from matrixd.core.signing import SigningKey, signable_bytes
from matrixd.core.versions import ROOM_VERSIONS
from tests.support.client import MatrixClient, quoted
from tests.support.remote_server import Received, RemoteServer, Reply
from tests.support.server import ServerProcess

V1 = "/_matrix/federation/v1"
KEY = SigningKey.from_seed("0", b"i" * 32)


@pytest.fixture
def alice(server: ServerProcess) -> Iterator[MatrixClient]:
    client = server.new_client()
    yield client
    client.close()


def promised_room(alice: MatrixClient) -> str:
    room_id: str = alice.create_room(room_version="11")
    content = {
        "display_name": "r…@x", "public_key": KEY.verify_key.to_base64(), "key_validity_url": "https://id.example/ok",
    }
    alice.put(f"/rooms/{quoted(room_id)}/state/m.room.third_party_invite/token", content)
    return room_id


def statement(mxid: str, token: str = "token") -> dict[str, Any]:
    said = {"mxid": mxid, "token": token}
    return {**said, "signatures": {"id.example": {"ed25519:0": KEY.sign(signable_bytes(said))}}}


def partial(room_id: str, sender: str, mxid: str, signed: dict[str, Any]) -> dict[str, Any]:
    invite = {"display_name": "r…@x", "signed": signed}
    return {
        "type": "m.room.member", "room_id": room_id, "sender": sender, "state_key": mxid,
        "content": {"membership": "invite", "third_party_invite": invite},
    }


def test_another_server_exchanges_one_of_ours(server: ServerProcess, remote: RemoteServer, alice: MatrixClient) -> None:
    remote.knows(server)
    room_id, rita = promised_room(alice), remote.user("rita")

    def sign(received: Received) -> Reply:
        event = Event.from_pdu(ROOM_VERSIONS["11"], received.json["event"])
        return Reply(body={"event": dict(with_event_signature(event, remote.name, remote.key).pdu)})

    remote.on("PUT", "/_matrix/federation/v2/invite/{roomId}/{eventId}", sign)
    path = f"{V1}/exchange_third_party_invite/{quoted(room_id)}"
    assert alice.user_id is not None
    remote.request(server, "PUT", path, partial(room_id, alice.user_id, rita, statement(rita)))
    member = alice.get(f"/rooms/{quoted(room_id)}/state/m.room.member/{quoted(rita)}")
    assert member["membership"] == "invite"
    assert member["third_party_invite"]["signed"]["mxid"] == rita
    wrong = partial(room_id, alice.user_id, rita, statement(rita, "another"))
    remote.request(server, "PUT", path, wrong, expect=403)
    eve = partial(room_id, alice.user_id, "@eve:elsewhere.example", statement("@eve:elsewhere.example"))
    remote.request(server, "PUT", path, eve, expect=403)


def test_a_user_of_ours_has_bound_one(server: ServerProcess, remote: RemoteServer, alice: MatrixClient) -> None:
    remote.knows(server)
    remote.on("PUT", f"{V1}/exchange_third_party_invite/{{roomId}}", Reply(body={}))
    assert alice.user_id is not None
    room_id, rita = f"!elsewhere:{remote.name}", remote.user("rita")
    invite = {
        "medium": "email", "address": "a@x.example", "mxid": alice.user_id, "room_id": room_id, "sender": rita,
        "signed": statement(alice.user_id),
    }
    body = {"medium": "email", "address": "a@x.example", "mxid": alice.user_id, "invites": [invite]}
    remote.request(server, "PUT", f"{V1}/3pid/onbind", body)
    asked = remote.wait_for("PUT", f"{V1}/exchange_third_party_invite/{{roomId}}", count=1)[0]
    assert asked.json["sender"] == rita
    assert asked.json["state_key"] == alice.user_id
    assert asked.json["content"]["third_party_invite"]["signed"]["token"] == "token"


def test_a_user_of_ours_has_bound_one_of_a_room_here(
    server: ServerProcess, remote: RemoteServer, alice: MatrixClient
) -> None:
    remote.knows(server)
    bob = server.new_client()
    room_id = promised_room(alice)
    assert bob.user_id is not None
    invite = {
        "medium": "email", "address": "b@x.example", "mxid": bob.user_id, "room_id": room_id,
        "sender": alice.user_id, "signed": statement(bob.user_id),
    }
    body = {"medium": "email", "address": "b@x.example", "mxid": bob.user_id, "invites": [invite]}
    remote.request(server, "PUT", f"{V1}/3pid/onbind", body)
    member = alice.get(f"/rooms/{quoted(room_id)}/state/m.room.member/{quoted(bob.user_id)}")
    assert member["membership"] == "invite"
    stranger = {**body, "mxid": "@nobody:test", "invites": [{**invite, "mxid": "@nobody:test"}]}
    remote.request(server, "PUT", f"{V1}/3pid/onbind", stranger, expect=404, validate=False)
    bob.close()
