"""Events, rooms and users of other servers: what is asked, and what is made of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.net import remote_events
from matrixd.net.remote_directory import AliasOf, RemoteDirectory
from matrixd.net.remote_events import RemoteEvents
from matrixd.net.remote_users import RemoteUsers
from tests.unit.net.fake_client import THERE, client, problem, run

ROOM, EVENT, USER = "!r:x", "$e", "@u:there.example"
V1 = "/_matrix/federation/v1"
PDUS = [{"n": number} for number in range(3)]


class TestEvents:
    def test_one(self) -> None:
        fake, real = client({"origin": "x", "origin_server_ts": 1, "pdus": [{"n": 1}]})
        assert run(RemoteEvents(real).event(THERE, EVENT)) == {"n": 1}
        assert fake.asked == [("GET", f"{V1}/event/%24e", [], None)]
        wrong_ones: list[Any] = [{}, {"pdus": []}, {"pdus": [{}, {}]}, {"pdus": [1]}]
        for wrong in wrong_ones:
            assert "'pdus'" in problem(RemoteEvents(client(wrong)[1]).event(THERE, EVENT))

    def test_the_ids_of_a_state(self) -> None:
        fake, real = client({"pdu_ids": ["$a"], "auth_chain_ids": ["$b", "$c"]})
        assert run(RemoteEvents(real).state_ids(THERE, ROOM, EVENT)) == (["$a"], ["$b", "$c"])
        assert fake.asked == [("GET", f"{V1}/state_ids/%21r%3Ax", [("event_id", EVENT)], None)]
        wrong_ones: list[Any] = [{"pdu_ids": []}, {"auth_chain_ids": []}, {"pdu_ids": [1], "auth_chain_ids": []}]
        for wrong in wrong_ones:
            assert "_ids'" in problem(RemoteEvents(client(wrong)[1]).state_ids(THERE, ROOM, EVENT))

    def test_a_state(self) -> None:
        fake, real = client({"pdus": PDUS[:1], "auth_chain": PDUS[1:]})
        assert run(RemoteEvents(real).state(THERE, ROOM, EVENT)) == (PDUS[:1], PDUS[1:])
        assert fake.asked == [("GET", f"{V1}/state/%21r%3Ax", [("event_id", EVENT)], None)]
        assert problem(RemoteEvents(client({"pdus": []})[1]).state(THERE, ROOM, EVENT)) == "'auth_chain' is missing"

    def test_a_state_with_too_many_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(remote_events, "MAX_STATE", 2)
        answer = {"pdus": PDUS, "auth_chain": []}
        assert problem(RemoteEvents(client(answer)[1]).state(THERE, ROOM, EVENT)) == "there are more than 2 events"

    def test_an_auth_chain(self) -> None:
        fake, real = client({"auth_chain": PDUS})
        assert run(RemoteEvents(real).event_auth(THERE, ROOM, EVENT)) == PDUS
        assert fake.asked == [("GET", f"{V1}/event_auth/%21r%3Ax/%24e", [], None)]

    def test_missing_events(self) -> None:
        fake, real = client({"events": PDUS})
        assert run(RemoteEvents(real).missing_events(THERE, ROOM, ["$a"], ["$b"], 10, 3)) == PDUS
        content = {"earliest_events": ["$a"], "latest_events": ["$b"], "limit": 10, "min_depth": 3}
        assert fake.asked == [("POST", f"{V1}/get_missing_events/%21r%3Ax", [], content)]
        many: Any = {"events": [{}] * 1001}
        assert "more than" in problem(RemoteEvents(client(many)[1]).missing_events(THERE, ROOM, [], [], 10))

    def test_backfill(self) -> None:
        fake, real = client({"pdus": PDUS})
        assert run(RemoteEvents(real).backfill(THERE, ROOM, ["$a", "$b"], 50)) == PDUS
        query = [("limit", "50"), ("v", "$a"), ("v", "$b")]
        assert fake.asked == [("GET", f"{V1}/backfill/%21r%3Ax", query, None)]

    @pytest.mark.parametrize(("backwards", "direction"), [(True, "b"), (False, "f")])
    def test_the_event_at_a_time(self, backwards: bool, direction: str) -> None:
        fake, real = client({"event_id": "$a", "origin_server_ts": 5})
        assert run(RemoteEvents(real).timestamp_to_event(THERE, ROOM, 7, backwards=backwards)) == ("$a", 5)
        assert fake.asked[0][2] == [("ts", "7"), ("dir", direction)]
        wrong_ones: list[Any] = [{"event_id": "$a"}, {"event_id": 1, "origin_server_ts": 5}, []]
        for wrong in wrong_ones:
            assert problem(RemoteEvents(client(wrong)[1]).timestamp_to_event(THERE, ROOM, 7, backwards=True))


class TestDirectory:
    def test_an_alias(self) -> None:
        fake, real = client({"room_id": ROOM, "servers": ["a.example", "not a server", "b.example:1"]})
        assert run(RemoteDirectory(real).alias(THERE, "#a:b")) == AliasOf(ROOM, ["a.example", "b.example:1"])
        assert fake.asked == [("GET", f"{V1}/query/directory", [("room_alias", "#a:b")], None)]

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ({"servers": []}, "'room_id' must be a room ID"),
            ({"room_id": "#a:b", "servers": []}, "'room_id' must be a room ID"),
            ({"room_id": ROOM}, "'servers' must be a list"),
            ({"room_id": ROOM, "servers": [1]}, "'servers' must hold strings"),
        ],
    )
    def test_a_wrong_answer_about_an_alias(self, answer: Any, expected: str) -> None:
        assert problem(RemoteDirectory(client(answer)[1]).alias(THERE, "#a:b")) == expected

    def test_public_rooms(self) -> None:
        room = {"room_id": ROOM, "num_joined_members": 1, "world_readable": True, "guest_can_join": False, "x": 1}
        answer = {"chunk": [room], "next_batch": "n"}
        fake, real = client(answer, answer, answer)
        directory = RemoteDirectory(real)
        assert run(directory.public_rooms(THERE)) == answer
        run(directory.public_rooms(THERE, limit=5, since="s", include_all_networks=True))
        run(directory.public_rooms(THERE, limit=5, search={"generic_search_term": "x"}, third_party_instance_id="i"))
        assert fake.asked == [
            ("GET", f"{V1}/publicRooms", [], None),
            ("GET", f"{V1}/publicRooms", [("include_all_networks", "true"), ("limit", "5"), ("since", "s")], None),
            (
                "POST",
                f"{V1}/publicRooms",
                [],
                {"limit": 5, "filter": {"generic_search_term": "x"}, "third_party_instance_id": "i"},
            ),
        ]

    @pytest.mark.parametrize(
        ("answer", "place"),
        [
            ({}, "`chunk`"),
            ({"chunk": [{"room_id": ROOM}]}, "$.chunk[0]"),
            ({"chunk": [], "next_batch": 1}, "next_batch"),
            ({"chunk": [], "next_batch": "x" * 20_000}, "'next_batch'"),
            ({"chunk": [], "total_room_count_estimate": "1"}, "total_room_count_estimate"),
            (
                {"chunk": [{"room_id": "x", "num_joined_members": 1, "world_readable": True, "guest_can_join": True}]},
                "'chunk[0].room_id'",
            ),
        ],
    )
    def test_wrong_public_rooms(self, answer: Any, place: str) -> None:
        assert place in problem(RemoteDirectory(client(answer)[1]).public_rooms(THERE))

    def test_a_space(self) -> None:
        fake, real = client({"room": {}})
        assert run(RemoteDirectory(real).hierarchy(THERE, ROOM, suggested_only=True)) == {"room": {}}
        assert fake.asked == [("GET", f"{V1}/hierarchy/%21r%3Ax", [("suggested_only", "true")], None)]


class TestUsers:
    def test_a_profile(self) -> None:
        fake, real = client({"displayname": "A"}, {"displayname": "A"})
        users = RemoteUsers(real)
        assert run(users.profile(THERE, USER)) == run(users.profile(THERE, USER, "displayname")) == {"displayname": "A"}
        assert [query for _, _, query, _ in fake.asked] == [
            [("user_id", USER)],
            [("user_id", USER), ("field", "displayname")],
        ]
        assert problem(RemoteUsers(client([])[1]).profile(THERE, USER)) == "the answer must be an object"

    def test_devices(self) -> None:
        answer = {"user_id": USER, "stream_id": 1, "devices": [{"device_id": "D", "keys": {}}]}
        fake, real = client(answer)
        assert run(RemoteUsers(real).devices(THERE, USER)) == answer
        assert fake.asked == [("GET", f"{V1}/user/devices/%40u%3Athere.example", [], None)]
        wrong_ones: list[Any] = [{**answer, "stream_id": "1"}, {**answer, "devices": [1]}, {**answer, "master_key": []}]
        for wrong in wrong_ones:
            assert " - at `$." in problem(RemoteUsers(client(wrong)[1]).devices(THERE, USER))

    def test_keys(self) -> None:
        answer = {"device_keys": {USER: {"D": {"a": 1}}}, "master_keys": {USER: {}}}
        fake, real = client(answer)
        assert run(RemoteUsers(real).keys_query(THERE, {"device_keys": {USER: []}})) == answer
        assert fake.asked == [("POST", f"{V1}/user/keys/query", [], {"device_keys": {USER: []}})]
        wrong_ones: list[Any] = [{"device_keys": []}, {"device_keys": {USER: {"D": 1}}}, {"master_keys": {USER: 1}}]
        for wrong in wrong_ones:
            assert " - at `$." in problem(RemoteUsers(client(wrong)[1]).keys_query(THERE, {}))

    def test_claimed_keys(self) -> None:
        answer = {"one_time_keys": {USER: {"D": {"signed_curve25519:AAAA": {"key": "x"}}}}}
        fake, real = client(answer)
        content = {"one_time_keys": {USER: {"D": "signed_curve25519"}}}
        assert run(RemoteUsers(real).keys_claim(THERE, content)) == answer
        assert fake.asked == [("POST", f"{V1}/user/keys/claim", [], content)]
        wrong_ones: list[Any] = [{}, {"one_time_keys": {USER: []}}]
        for wrong in wrong_ones:
            assert "one_time_keys" in problem(RemoteUsers(client(wrong)[1]).keys_claim(THERE, content))
