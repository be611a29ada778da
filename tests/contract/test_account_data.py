"""Account data, tags and filters, and what sync reads of them."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.core.errors import MatrixError
from matrixd.queries.account_data import AccountData as AccountDataQueries
from matrixd.queries.filters import StoredFilters
from matrixd.queries.push_rules import PushRules
from matrixd.services.account_data import AccountData
from matrixd.services.filters import Filters
from matrixd.services.tags import Tags
from matrixd.util.lru import CacheBudget
from tests.support.database import OpenDatabase
from tests.support.kept import Kept


@pytest.fixture
def kept(db: OpenDatabase) -> Kept:
    return Kept(db)


def refused(kept: Kept, coroutine: Any) -> tuple[int, str]:
    with pytest.raises(MatrixError) as error:
        kept.run(coroutine)
    return error.value.status, error.value.errcode


def queries(kept: Kept) -> AccountDataQueries:
    return AccountDataQueries(
        kept.db.database, kept.feed, PushRules(kept.db.database, kept.feed, CacheBudget(1_000_000))
    )


def test_data_is_kept_for_the_user_and_for_rooms_apart(kept: Kept) -> None:
    data = AccountData(kept.db.database)
    (alice, alice_id), (bob, _) = kept.user("alice"), kept.user("bob")
    room = kept.room("room")
    kept.join(room, alice, alice_id)
    kept.run(data.put(alice, None, "org.example", {"where": "everywhere", "nul": "\0"}))
    kept.run(data.put(alice, "!room", "org.example", {"where": "room"}))
    assert kept.run(data.get(alice, None, "org.example")) == {"where": "everywhere", "nul": "\0"}
    assert kept.run(data.get(alice, "!room", "org.example")) == {"where": "room"}
    assert refused(kept, data.get(alice, None, "org.other")) == (404, "M_NOT_FOUND")
    assert refused(kept, data.get(bob, None, "org.example")) == (404, "M_NOT_FOUND")
    assert refused(kept, data.put(bob, "!room", "org.example", {})) == (404, "M_NOT_FOUND")
    assert refused(kept, data.put(alice, "room", "org.example", {})) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize("room_id", [None, "!room"])
@pytest.mark.parametrize("data_type", ["m.fully_read", "m.push_rules"])
def test_what_the_server_manages_is_refused(kept: Kept, room_id: str | None, data_type: str) -> None:
    assert refused(kept, AccountData(kept.db.database).put(1, room_id, data_type, {})) == (405, "M_BAD_JSON")


@pytest.mark.parametrize("data_type", ["", "x" * 256, "a\0b"])
def test_a_type_that_cannot_be_is_refused(kept: Kept, data_type: str) -> None:
    data = AccountData(kept.db.database)
    assert refused(kept, data.put(1, None, data_type, {})) == (400, "M_INVALID_PARAM")
    assert refused(kept, data.get(1, None, data_type)) == (400, "M_INVALID_PARAM")


def test_sync_reads_what_changed_from_memory_and_from_the_database(kept: Kept) -> None:
    alice, alice_id = kept.user("alice")
    room = kept.room("room")
    kept.join(room, alice, alice_id)
    data, here = AccountData(kept.db.database), queries(kept)
    before = kept.feed.token
    kept.run(data.put(alice, None, "org.example", {"n": 1}))
    middle = kept.feed.token
    kept.run(data.put(alice, None, "org.example", {"n": 2}))
    kept.run(data.put(alice, None, "org.example", {"n": 2}))
    kept.run(data.put(alice, "!room", "org.room", {}))
    now = kept.feed.token
    late = queries(kept)  # begins now: what was before is not in its memory
    for source in (here, late):
        assert source.has_news(alice, before, now)
        changes = kept.run(source.between(alice, alice_id, before, now))
        assert changes.everywhere == [{"type": "org.example", "content": {"n": 2}}]
        assert changes.rooms == {room: [{"type": "org.room", "content": {}}]}
        assert not source.has_news(alice, now, now)
        assert kept.run(source.between(alice, alice_id, now, now)).everywhere == []
    assert kept.run(here.between(alice, alice_id, before, middle)).everywhere == [
        {"type": "org.example", "content": {"n": 1}}
    ]
    everything = kept.run(late.between(alice, alice_id, None, now)).everywhere
    assert [event["type"] for event in everything] == ["org.example", "m.push_rules"]
    assert everything[1]["content"]["global"]["override"][0]["rule_id"] == ".m.rule.master"


def test_tags(kept: Kept) -> None:
    tags = Tags(kept.db.database)
    alice, alice_id = kept.user("alice")
    kept.join(kept.room("room"), alice, alice_id)
    assert kept.run(tags.of_room(alice, "!room")) == {}
    kept.run(tags.put(alice, "!room", "m.favourite", {"order": 0.5}))
    kept.run(tags.put(alice, "!room", "u.work", {}))
    kept.run(tags.put(alice, "!room", "m.favourite", {"order": 1}))
    assert kept.run(tags.of_room(alice, "!room")) == {"m.favourite": {"order": 1}, "u.work": {}}
    kept.run(tags.delete(alice, "!room", "u.work"))
    kept.run(tags.delete(alice, "!room", "u.work"))
    content = kept.run(AccountData(kept.db.database).get(alice, "!room", "m.tag"))
    assert content == {"tags": {"m.favourite": {"order": 1}}}


@pytest.mark.parametrize(
    ("tag", "content", "code"),
    [
        ("x" * 256, {}, "M_INVALID_PARAM"),
        ("u.x", {"order": 1.5}, "M_INVALID_PARAM"),
        ("u.x", {"order": "1"}, "M_BAD_JSON"),
        ("u.x", {"order": True}, "M_BAD_JSON"),
    ],
)
def test_wrong_tags_are_refused(kept: Kept, tag: str, content: dict[str, Any], code: str) -> None:
    assert refused(kept, Tags(kept.db.database).put(1, "!room", tag, content)) == (400, code)


def test_the_same_filter_has_the_same_id(kept: Kept) -> None:
    filters = Filters(kept.db.database)
    (alice, _), (bob, _) = kept.user("alice"), kept.user("bob")
    definition = {"room": {"timeline": {"limit": 10}}, "presence": {"types": []}}
    filter_id = kept.run(filters.put(alice, definition))
    assert kept.run(filters.put(alice, dict(reversed(definition.items())))) == filter_id
    assert kept.run(filters.put(alice, {})) != filter_id
    assert kept.run(filters.get(alice, filter_id)) == definition
    for unknown in ("99", "x", "-1", "٣", "9" * 30):
        assert refused(kept, filters.get(alice, unknown)) == (404, "M_NOT_FOUND")
    assert refused(kept, filters.get(bob, filter_id)) == (404, "M_NOT_FOUND")
    assert refused(kept, filters.put(alice, {"room": {"timeline": {"limit": "x"}}})) == (400, "M_BAD_JSON")


def test_sync_finds_a_stored_filter_parsed(kept: Kept) -> None:
    stored = StoredFilters(kept.db.database, CacheBudget(1_000_000))
    filter_id = kept.run(Filters(kept.db.database).put(5, {"room": {"timeline": {"limit": 10}}}))
    found = kept.run(stored.get(5, filter_id))
    assert found.room.timeline.limit == 10
    assert kept.run(stored.get(5, filter_id)) is found
    assert refused(kept, stored.get(5, "77")) == (400, "M_INVALID_PARAM")
