"""The views for administrators answer on both engines, with the columns that the documentation names."""

from __future__ import annotations

import pytest

from matrixd.storage import remote_joins
from matrixd.storage.transaction import Transaction
from tests.support.database import OpenDatabase

_COLUMNS = {
    "view_users": "user_id, kind, is_admin, created_ts, deactivated_ts, locked, suspended, devices, last_seen_ts,"
    " joined_rooms",
    "view_devices": "user_id, device_id, display_name, created_ts, last_seen_ts, last_seen_ip, last_seen_user_agent",
    "view_rooms": "room_id, version, joined_count, invited_count, local_members, published, blocked, events,"
    " last_event_ts, name_event",
    "view_room_members": "room_id, user_id, membership, sender, is_local, forgotten",
    "view_room_state": "room_id, type, state_key, event_id, sender, origin_server_ts, json",
    "view_events": "room_id, pos, event_id, type, state_key, sender, origin_server_ts, depth, verdict, redacted_by,"
    " json",
    "view_aliases": "alias, room_id, creator, created_ts",
    "view_remote_joins": "room_id, user_id, state, resident, tries, next_try_ts, error, created_ts, changed_ts",
}


def _fill(tx: Transaction) -> None:
    tx.insert_many("users", ("user_nid", "user_id"), [(1, "@alice:x")])
    tx.execute("INSERT INTO accounts (user_nid, folded_id, kind, created_ts) VALUES (1, '@alice:x', 'user', 5)")
    tx.execute("INSERT INTO devices (device_nid, user_nid, device_id, created_ts) VALUES (1, 1, 'D', 5)")
    tx.execute("INSERT INTO device_last_seen (device_nid, ts, ip) VALUES (1, 9, '127.0.0.1')")
    tx.execute(
        "INSERT INTO rooms (room_nid, room_id, version, extremities, depth, last_pos, bump_pos, unread, joined_count,"
        " invited_count) VALUES (1, '!r', '12', '[]', 2, 2, 1, 0, 1, 0)"
    )
    tx.execute("INSERT INTO state_keys (key_nid, type, state_key) VALUES (1, 'm.room.name', '')")
    tx.insert_many(
        "events",
        ("event_nid", "event_id", "room_nid", "pos", "depth", "type", "sender_nid", "key_nid", "origin_server_ts",
         "unread", "json"),
        [
            (1, "$name", 1, 1, 1, "m.room.name", 1, 1, 10, 0, '{"n":1}'),
            (2, "$hi", 1, 2, 2, "m.x", 1, None, 20, 0, "{}"),
        ],
    )
    tx.execute("INSERT INTO room_state (room_nid, key_nid, valid_from, event_nid) VALUES (1, 1, 1, 1)")
    tx.execute(
        "INSERT INTO room_members (user_nid, room_nid, membership, event_nid, pos, sender_nid, is_local)"
        " VALUES (1, 1, 'join', 1, 1, 1, 1)"
    )
    remote_joins.begin(tx, "!r", "@alice:x", "made", {}, ["y"], 8)
    tx.execute("INSERT INTO room_aliases (alias, room_nid, creator_nid, created_ts) VALUES ('#a:x', 1, 1, 7)")


@pytest.mark.parametrize("view", _COLUMNS)
def test_a_view_has_its_columns(db: OpenDatabase, view: str) -> None:
    db.write(_fill)
    rows = db.read(lambda tx: tx.all(f"SELECT {_COLUMNS[view]} FROM {view}"))
    assert len(rows) == (2 if view == "view_events" else 1)


def test_what_the_views_say(db: OpenDatabase) -> None:
    db.write(_fill)
    one = db.read(lambda tx: tx.one("SELECT user_id, devices, last_seen_ts, joined_rooms FROM view_users"))
    assert one == ("@alice:x", 1, 9, 1)
    room = db.read(lambda tx: tx.one("SELECT events, local_members, last_event_ts, name_event FROM view_rooms"))
    assert room == (2, 1, 20, '{"n":1}')
