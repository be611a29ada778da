"""Errors that the specification documents for single endpoints, and that no other test meets."""

from __future__ import annotations

import pytest

from tests.support.client import MatrixClient, quoted


def test_profile_fields_of_others(alice: MatrixClient, bob: MatrixClient) -> None:
    path = f"/profile/{quoted(alice.user_id)}"
    assert bob.delete(f"{path}/displayname", expect=403).errcode == "M_FORBIDDEN"
    for name in ("x" * 256, "no spaces"):
        assert alice.put(f"{path}/{quoted(name)}", {name: 1}, validate=False, expect=400).errcode is not None
    too_large = alice.put(f"{path}/org.example", {"org.example": "x" * 70_000}, expect=400)
    assert too_large.errcode in ("M_PROFILE_TOO_LARGE", "M_TOO_LARGE")
    assert alice.put(f"{path}/org.example", {}, validate=False, expect=400).errcode in ("M_MISSING_PARAM", "M_BAD_JSON")
    assert alice.get(f"{path}/org.unknown", expect=404).errcode == "M_NOT_FOUND"


@pytest.mark.parametrize("attribute", ["", "/actions", "/enabled"])
def test_push_rules_that_are_not_there(alice: MatrixClient, attribute: str) -> None:
    bodies = {"": {"actions": ["notify"], "pattern": "x"}, "/actions": {"actions": []}, "/enabled": {"enabled": False}}
    body = bodies[attribute]
    for rule in ("content/unknown", "override/.m.rule.unknown"):
        assert alice.get(f"/pushrules/global/{rule}{attribute}", expect=404).errcode == "M_NOT_FOUND"
        if attribute:
            assert alice.put(f"/pushrules/global/{rule}{attribute}", body, expect=404).errcode == "M_NOT_FOUND"
    beside = {"before": "unknown"} if not attribute else {}
    answer = alice.put(f"/pushrules/global/content/x{attribute}", body, query=beside, expect={400, 404})
    assert answer.errcode in ("M_NOT_FOUND", "M_UNKNOWN", "M_INVALID_PARAM")
    assert alice.delete("/pushrules/global/content/unknown", expect=404).errcode == "M_NOT_FOUND"
    default = alice.delete("/pushrules/global/override/.m.rule.master", expect={400, 404})
    assert default.errcode


def test_account_data_of_others(alice: MatrixClient, bob: MatrixClient) -> None:
    path = f"/user/{quoted(alice.user_id)}/account_data/org.example"
    assert bob.put(path, {}, expect=403).errcode == "M_FORBIDDEN"
    room = f"/user/{quoted(alice.user_id)}/rooms/room/account_data/org.example"
    assert alice.get(room, validate=False, expect=400).errcode == "M_INVALID_PARAM"


def test_presence_of_nobody(alice: MatrixClient) -> None:
    path = f"/presence/{quoted('@nobody:test')}/status"
    assert alice.get(path, expect={403, 404}).errcode in ("M_FORBIDDEN", "M_NOT_FOUND")


def test_relations_of_what_is_not_there(alice: MatrixClient, bob: MatrixClient) -> None:
    room = alice.create_room()
    said = alice.say(room, "hello")
    base = f"/_matrix/client/v1/rooms/{quoted(room)}"
    for path in ("m.thread", "m.thread/m.room.message"):
        assert alice.get(f"{base}/relations/$unknown/{path}", expect=404).errcode == "M_NOT_FOUND"
        assert bob.get(f"{base}/relations/{quoted(said)}/{path}", expect=404).errcode == "M_NOT_FOUND"
        for query in ({"from": "garbage"}, {"dir": "x"}, {"limit": "x"}):
            wrong = alice.get(f"{base}/relations/{quoted(said)}/{path}", query=query, validate=False, expect=400)
            assert wrong.errcode == "M_INVALID_PARAM"
    for query in ({"from": "garbage"}, {"include": "some"}, {"limit": "x"}):
        assert alice.get(f"{base}/threads", query=query, validate=False, expect=400).errcode == "M_INVALID_PARAM"


def test_filters_that_are_wrong(alice: MatrixClient, bob: MatrixClient) -> None:
    path = f"/user/{quoted(alice.user_id)}/filter"
    wrongs: list[dict[str, object]] = [
        {"room": []}, {"room": {"timeline": {"limit": "x"}}}, {"presence": {"senders": ["nobody"]}}
    ]  # fmt: skip
    for wrong in wrongs:
        assert alice.post(path, wrong, validate=False, expect=400).errcode == "M_BAD_JSON"
    assert bob.post(path, {}, expect=403).errcode == "M_FORBIDDEN"


def test_openid_tokens_of_others(alice: MatrixClient, bob: MatrixClient) -> None:
    path = f"/user/{quoted(alice.user_id)}/openid/request_token"
    assert bob.post(path, expect=403).errcode == "M_FORBIDDEN"
    assert alice.post(path)["matrix_server_name"] == "test"
