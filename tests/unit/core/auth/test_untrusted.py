"""Whatever JSON strangers put into events: the rules allow or reject, and nothing else happens."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.auth import auth_types_for_event, check_state_independent, redaction_applies, state_for_check
from matrixd.core.power import PowerLevels
from tests.unit.core.room_factory import ALICE, BOB, CAROL, VERSIONS, RoomFactory, verdict_of

WORDS = """join invite leave ban knock public restricted knock_restricted $event1 50 x @alice:one.example
@bob:one.example @carol:two.example"""
NUMBERS = (0, 50, -1, 100, 1.5, float("nan"), 10**400)
LEAVES = st.sampled_from(["", *WORDS.split()]) | st.sampled_from(NUMBERS) | st.none() | st.booleans()
NAMES = """membership join_rule users events notifications ban kick invite users_default additional_creators creator
m.federate room_version redacts third_party_invite signed mxid token signatures public_key public_keys ed25519:0
join_authorised_via_users_server @alice:one.example @bob:one.example"""
KEYS = st.sampled_from(NAMES.split())
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=10
)
CONTENT = st.dictionaries(KEYS, JSON, max_size=6)
STATE_TYPES = """m.room.member m.room.power_levels m.room.join_rules m.room.third_party_invite m.room.aliases
m.room.redaction org.example.any"""
TYPES = st.sampled_from(STATE_TYPES.split())
USERS = st.sampled_from([ALICE, BOB, CAROL])
STATE_KEYS = st.sampled_from(["", ALICE, BOB, "one.example", "x"])


@settings(max_examples=200, deadline=None)
@given(
    version=st.sampled_from(VERSIONS),
    create=CONTENT,
    state=st.lists(st.tuples(TYPES, USERS, CONTENT, STATE_KEYS)),
    event=st.tuples(
        TYPES | st.sampled_from(["m.room.create", "m.room.message"]), USERS, CONTENT, st.none() | STATE_KEYS
    ),
)
def test_any_content_is_decided(
    version: str,
    create: dict[str, Any],
    state: list[tuple[str, str, Any, str]],
    event: tuple[str, str, Any, str | None],
) -> None:
    room = RoomFactory(version, **create)
    for entry in state:
        room.put(room.event(*entry))
    subject = room.event(*event)
    needed = state_for_check(room.version, subject.type, subject.sender, subject.state_key, subject.content)
    named = auth_types_for_event(room.version, subject.type, subject.sender, subject.state_key, subject.content)

    verdict = room.verdict(subject)
    room.state = {key: room.state[key] for key in needed if key in room.state}
    assert room.verdict(subject) == verdict, "the plan misses state that decides"

    auth_events = [room.state[key] for key in named if key in room.state]
    independent = verdict_of(check_state_independent, subject, auth_events, create=room.create, signed_by=())
    assert independent is None or independent.startswith(("CREATE_", "JOIN_AUTHORISER_"))
    redaction_applies(subject, room.create, PowerLevels(room.create, None))
