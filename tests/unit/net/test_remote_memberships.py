"""Joining, leaving, knocking and inviting by other servers: what is asked, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from matrixd.net import json_stream
from matrixd.net.errors import RemoteError
from matrixd.net.handshakes import Made
from matrixd.net.remote_joins import SentJoin
from matrixd.net.remote_peers import RemotePeers
from matrixd.net.remote_third_party import RemoteThirdParty
from tests.unit.net.fake_client import THERE, client, problem, refusal, run

ROOM, USER, EVENT = "!r:x", "@u:here", "$e/1"
V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
EVENTS = [{"n": number} for number in range(5)]


@pytest.fixture(autouse=True)
def _read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_READ_BYTES", 0)


class Taken:
    """Remembers the events; with `waits` each has to be let through."""

    def __init__(self, *, waits: bool = False) -> None:
        self.events: list[tuple[bool, Mapping[str, Any]]] = []
        self.waiting: list[Deferred[None]] = []
        self._waits = waits

    def __call__(self, in_state: bool, pdu: Mapping[str, Any]) -> Deferred[None] | None:
        self.events.append((in_state, pdu))
        if not self._waits:
            return None
        self.waiting.append(Deferred())
        return self.waiting[-1]


class TestTemplates:
    @pytest.mark.parametrize("what", ["join", "knock", "leave"])
    @pytest.mark.parametrize("version", ["11", None])
    def test_they_are_asked_for(self, what: str, version: str | None) -> None:
        fake, real = client({"event": {"type": "m.room.member"}, **({"room_version": version} if version else {})})
        versions = () if what == "leave" else (["10", "11"],)
        made = run(getattr(RemotePeers(real), f"make_{what}")(THERE, ROOM, USER, *versions))
        assert made == Made(version, {"type": "m.room.member"})
        query = [("ver", each) for each in (versions[0] if versions else ())]
        assert fake.asked == [("GET", f"{V1}/make_{what}/%21r%3Ax/%40u%3Ahere", query, None)]

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ([], "the answer must be an object"),
            ({}, "'event' must be an object"),
            ({"event": []}, "'event' must be an object"),
            ({"event": {}, "room_version": 1}, "'room_version' must be a string of at most 32 characters"),
            ({"event": {}, "room_version": "x" * 33}, "'room_version' must be a string of at most 32 characters"),
        ],
    )
    def test_a_wrong_shape_is_named(self, answer: Any, expected: str) -> None:
        assert problem(RemotePeers(client(answer)[1]).make_join(THERE, ROOM, USER, ["11"])) == expected

    def test_a_refusal_is_passed_on(self) -> None:
        with pytest.raises(RemoteError, match="M_INCOMPATIBLE_ROOM_VERSION"):
            run(RemotePeers(client(refusal(400, "M_INCOMPATIBLE_ROOM_VERSION"))[1]).make_join(THERE, ROOM, USER, []))


class TestSendJoin:
    def test_the_events_come_while_the_answer_does(self) -> None:
        answer = {
            "auth_chain": EVENTS[:2],
            "event": {"signed": True},
            "members_omitted": True,
            "servers_in_room": ["a", "b"],
            "state": EVENTS[2:],
        }
        fake, real = client(answer)
        taken = Taken()
        sent = run(RemotePeers(real).send_join(THERE, ROOM, EVENT, {"p": 1}, taken))
        assert sent == SentJoin({"signed": True}, True, ["a", "b"])
        assert taken.events == [(number >= 2, event) for number, event in enumerate(EVENTS)]
        target = f"{V2}/send_join/%21r%3Ax/%24e%2F1"
        assert fake.asked == [("PUT", target, [("omit_members", "true")], {"p": 1})]

    def test_the_least_that_may_be_said(self) -> None:
        fake, real = client({"auth_chain": [], "state": []})
        sent = run(RemotePeers(real).send_join(THERE, ROOM, EVENT, {}, Taken(), omit_members=False))
        assert (sent, fake.asked[0][2]) == (SentJoin(None, False, []), [])

    def test_each_event_waits_for_the_one_before(self) -> None:
        _, real = client({"auth_chain": [], "state": EVENTS})
        taken = Taken(waits=True)
        sent = Deferred.fromCoroutine(RemotePeers(real).send_join(THERE, ROOM, EVENT, {}, taken))
        for number in range(len(EVENTS)):
            assert (len(taken.events), sent.called) == (number + 1, False)
            taken.waiting[number].callback(None)
        assert sent.called

    @pytest.mark.parametrize("waits", [False, True])
    def test_who_takes_them_may_have_enough(self, waits: bool) -> None:
        _, real = client({"auth_chain": [], "state": EVENTS})

        def take(in_state: bool, pdu: Mapping[str, Any]) -> Deferred[None] | None:
            if not waits:
                raise LookupError("enough")
            failed: Deferred[None] = Deferred()
            failed.errback(LookupError("enough"))
            return failed

        with pytest.raises(LookupError, match="enough"):
            run(RemotePeers(real).send_join(THERE, ROOM, EVENT, {}, take))

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ({"state": []}, "'auth_chain' is missing"),
            ({"auth_chain": []}, "'state' is missing"),
            ({"auth_chain": {}, "state": []}, "'auth_chain' must be a list"),
            ({"auth_chain": [], "state": [1]}, "'state' must hold objects"),
            ({"auth_chain": [], "state": [], "event": 1}, "'event' must be an object"),
            ({"auth_chain": [], "state": [], "members_omitted": 1}, "'members_omitted' must be true or false"),
            ({"auth_chain": [], "state": [], "servers_in_room": "a"}, "'servers_in_room' must be a list"),
            (b'{"auth_chain": [], "state": [', "the answer is not complete"),
            (b"[]", "the answer is not JSON: '[' stands in the wrong place"),
        ],
    )
    def test_a_wrong_shape_is_named(self, answer: Any, expected: str) -> None:
        assert problem(RemotePeers(client(answer)[1]).send_join(THERE, ROOM, EVENT, {}, Taken())) == expected


def test_the_state_before_an_event_is_streamed() -> None:
    fake, real = client({"auth_chain": EVENTS[:1], "pdus": EVENTS[1:]})
    taken = Taken()
    run(RemotePeers(real).state(THERE, ROOM, EVENT, taken))
    assert taken.events == [(number >= 1, event) for number, event in enumerate(EVENTS)]
    assert fake.asked == [("GET", f"{V1}/state/%21r%3Ax", [("event_id", EVENT)], None)]


class TestSendLeave:
    def test_the_second_version_is_used(self) -> None:
        fake, real = client({})
        run(RemotePeers(real).send_leave(THERE, ROOM, EVENT, {"p": 1}))
        assert fake.asked == [("PUT", f"{V2}/send_leave/%21r%3Ax/%24e%2F1", [], {"p": 1})]

    @pytest.mark.parametrize("refused", [refusal(404), refusal(404, "M_UNRECOGNIZED"), refusal(400, "M_UNRECOGNIZED")])
    def test_old_servers_get_the_first(self, refused: RemoteError) -> None:
        fake, real = client(refused, [200, {}])
        run(RemotePeers(real).send_leave(THERE, ROOM, EVENT, {"p": 1}))
        assert [path for _, path, _, _ in fake.asked][1] == f"{V1}/send_leave/%21r%3Ax/%24e%2F1"

    @pytest.mark.parametrize("refused", [refusal(404, "M_NOT_FOUND"), refusal(403, "M_FORBIDDEN"), refusal(500)])
    def test_another_refusal_is_one(self, refused: RemoteError) -> None:
        fake, real = client(refused)
        with pytest.raises(RemoteError):
            run(RemotePeers(real).send_leave(THERE, ROOM, EVENT, {}))
        assert len(fake.asked) == 1


def test_a_knock_is_answered_with_what_the_room_is() -> None:
    fake, real = client({"knock_room_state": EVENTS}, {})
    assert run(RemotePeers(real).send_knock(THERE, ROOM, EVENT, {"p": 1})) == EVENTS
    assert run(RemotePeers(real).send_knock(THERE, ROOM, EVENT, {"p": 1})) == []
    assert fake.asked[0] == ("PUT", f"{V1}/send_knock/%21r%3Ax/%24e%2F1", [], {"p": 1})
    wrong_ones: list[Any] = [{"knock_room_state": {}}, {"knock_room_state": [{}] * 1001}, {"knock_room_state": ["x"]}]
    for wrong in wrong_ones:
        assert "'knock_room_state'" in problem(RemotePeers(client(wrong)[1]).send_knock(THERE, ROOM, EVENT, {}))


class TestInvites:
    def test_the_second_version(self) -> None:
        fake, real = client({"event": {"signed": True}})
        assert run(RemotePeers(real).invite(THERE, ROOM, EVENT, "11", {"p": 1}, EVENTS)) == {"signed": True}
        content = {"room_version": "11", "event": {"p": 1}, "invite_room_state": EVENTS}
        assert fake.asked == [("PUT", f"{V2}/invite/%21r%3Ax/%24e%2F1", [], content)]
        assert problem(RemotePeers(client({})[1]).invite(THERE, ROOM, EVENT, "11", {}, [])) == (
            "'event' must be an object"
        )

    def test_the_first_version(self) -> None:
        fake, real = client([200, {"event": {"signed": True}}])
        assert run(RemotePeers(real).invite_v1(THERE, ROOM, EVENT, {"p": 1}, EVENTS)) == {"signed": True}
        content = {"p": 1, "unsigned": {"invite_room_state": EVENTS}}
        assert fake.asked == [("PUT", f"{V1}/invite/%21r%3Ax/%24e%2F1", [], content)]

    @pytest.mark.parametrize("answer", [{"event": {}}, [200], [200, []], [200, {}]])
    def test_a_wrong_answer_to_the_first_version(self, answer: Any) -> None:
        assert problem(RemotePeers(client(answer)[1]).invite_v1(THERE, ROOM, EVENT, {}, []))


def test_a_third_party_invite_is_exchanged() -> None:
    fake, real = client({})
    run(RemoteThirdParty(real).exchange(THERE, ROOM, {"type": "m.room.member"}))
    target = f"{V1}/exchange_third_party_invite/%21r%3Ax"
    assert fake.asked == [("PUT", target, [], {"type": "m.room.member"})]
