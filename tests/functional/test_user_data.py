"""What users keep, without rooms: profile, account data, filters, push rules, presence, TURN."""

from __future__ import annotations

import pytest

from tests.support.client import MatrixClient, quoted

CLIENT = "/_matrix/client/v3"


def test_a_profile_is_public_and_ones_own_to_change(
    alice: MatrixClient, bob: MatrixClient, client: MatrixClient
) -> None:
    profile = f"{CLIENT}/profile/{quoted(alice.user_id)}"
    alice.put(f"{profile}/displayname", {"displayname": "Alice 🐈"})
    alice.put(f"{profile}/org.example.pets", {"org.example.pets": ["cat", {"legs": 4}]})
    assert client.get(profile).json["org.example.pets"] == ["cat", {"legs": 4}]
    assert bob.get(f"{profile}/displayname").json == {"displayname": "Alice 🐈"}
    bob.put(f"{profile}/displayname", {"displayname": "x"}, expect=403)
    alice.put(f"{profile}/displayname", {"avatar_url": "x"}, expect=400)
    alice.delete(f"{profile}/displayname")
    client.get(f"{profile}/displayname", expect=404)
    # The server of that user cannot be asked, which is not to say that there is no such user.
    client.get(f"{CLIENT}/profile/{quoted('@nobody:elsewhere.invalid')}", expect=502)
    assert alice.get(f"{CLIENT}/capabilities").json["capabilities"]["m.profile_fields"] == {"enabled": True}


def test_account_data_comes_down_sync(alice: MatrixClient, bob: MatrixClient) -> None:
    path = f"{CLIENT}/user/{quoted(alice.user_id)}/account_data"
    alice.sync()
    alice.put(f"{path}/org.example.settings", {"theme": "dark"})
    events = alice.sync().json["account_data"]["events"]
    assert events == [{"type": "org.example.settings", "content": {"theme": "dark"}}]
    assert alice.get(f"{path}/org.example.settings").json == {"theme": "dark"}
    alice.get(f"{path}/org.example.none", expect=404)
    alice.put(f"{path}/m.push_rules", {}, expect=405)
    bob.get(f"{path}/org.example.settings", expect=403)
    assert "global" in alice.get(f"{path}/m.push_rules").json


def test_a_filter_is_stored_once(alice: MatrixClient, bob: MatrixClient) -> None:
    path = f"{CLIENT}/user/{quoted(alice.user_id)}/filter"
    definition = {"room": {"timeline": {"limit": 5}}}
    filter_id = alice.post(path, definition).json["filter_id"]
    assert alice.post(path, definition).json["filter_id"] == filter_id
    assert alice.get(f"{path}/{filter_id}").json == definition
    alice.get(f"{path}/nonsense", expect=404)
    bob.get(f"{path}/{filter_id}", expect=403)
    alice.sync(filter=filter_id)


def test_push_rules_change_and_come_down_sync(alice: MatrixClient) -> None:
    rules = f"{CLIENT}/pushrules/global"
    alice.sync()
    alice.put(f"{rules}/content/cake", {"pattern": "cake*lie", "actions": ["notify"]})
    alice.put(f"{rules}/content/tea", {"pattern": "tea", "actions": []}, query={"after": "cake"})
    everything = alice.get(f"{CLIENT}/pushrules/").json["global"]
    assert [rule["rule_id"] for rule in everything["content"]] == ["cake", "tea"]
    assert alice.get(f"{rules}/").json == everything
    events = alice.sync().json["account_data"]["events"]
    assert events == [{"type": "m.push_rules", "content": {"global": everything}}]
    alice.put(f"{rules}/content/tea/enabled", {"enabled": False})
    assert alice.get(f"{rules}/content/tea/enabled").json == {"enabled": False}
    alice.put(f"{rules}/override/.m.rule.master/actions", {"actions": ["notify"]})
    assert alice.get(f"{rules}/override/.m.rule.master/actions").json == {"actions": ["notify"]}
    assert alice.get(f"{rules}/content/cake").json["pattern"] == "cake*lie"
    alice.delete(f"{rules}/content/cake")
    alice.get(f"{rules}/content/cake", expect=404)


def test_older_clients_ask_for_the_push_rules_of_a_kind(alice: MatrixClient) -> None:
    rules = f"{CLIENT}/pushrules/global"
    alice.put(f"{rules}/room/{quoted('!a:example.org')}", {"actions": ["notify"]})
    found = alice.get(f"{rules}/room/", documented=False).json
    assert [rule["rule_id"] for rule in found] == ["!a:example.org"]
    assert alice.get(f"{rules}/override/", documented=False).json == alice.get(f"{rules}/").json["override"]
    alice.get(f"{rules}/none/", expect=400, documented=False)
    alice.put(f"{rules}/room/", {"actions": []}, expect=400, documented=False)
    alice.delete(f"{rules}/room/", expect=404, documented=False)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("global", "{kind}/{ruleId}"),
        ("global/room", "{kind}/{ruleId}"),
        ("other/room/x", "'scope'"),
        ("other", "'scope'"),
        ("global/override/.m.rule.master/other", "'attr'"),
    ],
)
def test_a_wrong_path_of_a_push_rule_is_told(alice: MatrixClient, method: str, path: str, names: str) -> None:
    answer = alice.request(method, f"{CLIENT}/pushrules/{path}", json={}, expect=400, documented=False)
    assert answer.errcode == "M_INVALID_PARAM"
    assert names in answer["error"]


@pytest.mark.parametrize("state", ["online", "unavailable", "offline"])
def test_presence_is_told(alice: MatrixClient, bob: MatrixClient, state: str) -> None:
    path = f"{CLIENT}/presence/{quoted(alice.user_id)}/status"
    alice.put(path, {"presence": state, "status_msg": "here"})
    answer = alice.get(path).json
    assert (answer["presence"], answer["status_msg"]) == (state, "here")
    bob.get(path, expect=403)
    bob.put(path, {"presence": "online"}, expect=403)
    alice.put(path, {"presence": "dancing"}, expect=400, validate=False)


def test_there_is_no_turn_server(alice: MatrixClient) -> None:
    alice.get(f"{CLIENT}/voip/turnServer", expect=404)
