"""Servers that change their signing key, and rooms that shut a server out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import signedjson.key

from tests.interop.conftest import NewServer
from tests.interop.people import Person, Side, restart, same_state, talk
from tests.support.federation.servers import FederatedServer

QUIET_S = 1.5


def test_the_signing_key_is_changed(
    home: Side, away: Side, alice: Person, bob: Person, new_federated: NewServer
) -> None:
    room_id = alice.create_room("11")
    bob.join(room_id, alice)
    talk(room_id, alice, bob)
    with_old_key = alice.client.say(room_id, "signed with the old key")
    bob.hears(room_id, with_old_key)
    _change_key(home.server)
    restart(home.server, alice)
    with_new_key = alice.client.say(room_id, "signed with the new key")
    bob.hears(room_id, with_new_key, within_s=40)
    talk(room_id, alice, bob)

    # Whoever never met the old key must find it among the old ones.
    newcomer = Side(new_federated(away.server.program))
    carol = newcomer.person("carol")
    carol.join(room_id, alice)
    talk(room_id, alice, carol)
    same_state(room_id, alice, carol)
    carol.finds(room_id, with_old_key, with_new_key)
    carol.client.leave(room_id)
    alice.sees(room_id, carol, "leave")
    newcomer.server.stop()


@pytest.mark.parametrize("room_version", ["6", "12"])
def test_a_server_is_shut_out(home: Side, away: Side, alice: Person, bob: Person, room_version: str) -> None:
    room_id = alice.create_room(room_version)
    bob.join(room_id, alice)
    talk(room_id, alice, bob)
    shut = _allow_all_but(alice, room_id, away.name.rpartition(":")[0])
    bob.hears(room_id, shut)
    unheard = bob.client.say(room_id, "can you hear me?")
    time.sleep(QUIET_S)
    assert alice.client.event(room_id, unheard, expect=(403, 404)).errcode == "M_NOT_FOUND"
    never_entered = alice.create_room(room_version)
    _allow_all_but(alice, never_entered, away.name.rpartition(":")[0])
    bob.join(never_entered, alice, expect=403)

    opened = _allow_all_but(alice, room_id)
    bob.hears(room_id, opened)
    talk(room_id, bob, alice)
    same_state(room_id, alice, bob)


def _allow_all_but(person: Person, room_id: str, *denied: str) -> str:
    acl = {"allow": ["*"], "deny": list(denied), "allow_ip_literals": True}
    return str(person.client.set_state(room_id, "m.room.server_acl", acl)["event_id"])


def _change_key(server: FederatedServer) -> None:
    server.stop()
    file = Path(server.configuration["signing_key_path"])
    with file.open() as lines:
        (old,) = signedjson.key.read_signing_keys(lines)
    with file.open("w") as out:
        signedjson.key.write_signing_keys(out, [signedjson.key.generate_signing_key(f"a_{time.time_ns()}")])
    public = signedjson.key.encode_verify_key_base64(signedjson.key.get_verify_key(old))
    retired = {"key": public, "expired_ts": time.time_ns() // 1_000_000}
    before = server.configuration.get("old_signing_keys", {})
    server.configure({"old_signing_keys": {**before, f"{old.alg}:{old.version}": retired}})
