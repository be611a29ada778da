"""Which member events count as sent to a device."""

from __future__ import annotations

import pytest

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.sync import lazy_members
from matrixd.queries.sync.lazy_members import LazyMembers
from matrixd.util.lru import CacheBudget

PHONE = 1
BOB, CAROL = {(1, "@bob:x"): "$bob"}, {(1, "@carol:x"): "$carol"}


def token(pos: int) -> StreamToken:
    return StreamToken.of({Stream.EVENTS: pos})


@pytest.fixture
def lazy() -> LazyMembers:
    return LazyMembers(CacheBudget(10**6))


def test_what_an_answer_carries_counts_when_the_client_comes_with_its_token(lazy: LazyMembers) -> None:
    lazy.answer(PHONE, None, token(1), dict(BOB))
    assert lazy.sent(PHONE, token(1)) == BOB
    lazy.answer(PHONE, token(1), token(2), dict(CAROL))
    assert lazy.sent(PHONE, token(1)) == BOB
    lazy.answer(PHONE, token(1), token(3), dict(CAROL))
    assert lazy.sent(PHONE, token(3)) == {**BOB, **CAROL}
    assert lazy.sent(2, token(3)) == {}


@pytest.mark.parametrize("since", [None, token(1), token(9)])
def test_any_other_token_begins_anew(lazy: LazyMembers, since: StreamToken | None) -> None:
    lazy.answer(PHONE, None, token(1), dict(BOB))
    lazy.sent(PHONE, token(1))
    lazy.answer(PHONE, token(1), token(2), dict(CAROL))
    lazy.sent(PHONE, token(2))
    assert lazy.sent(PHONE, since) == {}
    lazy.answer(PHONE, since, token(5), dict(CAROL))
    assert lazy.sent(PHONE, token(5)) == CAROL


def test_too_many_members_are_all_forgotten(lazy: LazyMembers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_members, "_MAX_MEMBERS", 1)
    lazy.answer(PHONE, None, token(1), {**BOB, **CAROL})
    assert lazy.sent(PHONE, token(1)) == {}
