"""The stores of users, accounts and devices, on both engines."""

from __future__ import annotations

import pytest

from matrixd.storage import accounts, devices, rows, users
from matrixd.storage.accounts import Account
from matrixd.storage.devices import Device, Sighting
from matrixd.storage.transaction import Transaction
from tests.support.database import OpenDatabase

ALICE, BOB = "@alice:test.example", "@bob:test.example"


def make_account(tx: Transaction, user_id: str = ALICE, kind: str = accounts.USER) -> Account:
    user_nid = users.nid(tx, user_id)
    accounts.create(tx, user_nid, user_id, kind, "hash", False, 5)
    account = accounts.by_nid(tx, user_nid)
    assert account is not None
    return account


def make_device(tx: Transaction, user_nid: int, device_id: str = "PHONE", created_ts: int = 5) -> Device:
    devices.create(tx, user_nid, device_id, None, created_ts)
    device = devices.by_id(tx, user_nid, device_id)
    assert device is not None
    return device


# Users


def test_a_user_keeps_its_number(db: OpenDatabase) -> None:
    first = db.write(users.nids, [ALICE, BOB, ALICE])
    assert first == {ALICE: 1, BOB: 2}
    assert db.write(users.nid, BOB) == 2
    assert db.write(users.nids, [BOB, "@carol:test.example"]) == {BOB: 2, "@carol:test.example": 3}
    reopened = db.reopened()
    assert reopened.write(users.nid, BOB) == 2
    reopened.close()


def test_a_number_that_was_not_committed_is_given_again(db: OpenDatabase) -> None:
    def fail(tx: Transaction) -> None:
        users.nid(tx, ALICE)
        raise ValueError("not this time")

    with pytest.raises(ValueError, match="not this time"):
        db.write(fail)
    assert db.read(users.find, ALICE) is None
    assert db.write(users.nid, BOB) == 1


def test_users_are_looked_up(db: OpenDatabase) -> None:
    db.write(users.nids, [ALICE, BOB])
    assert db.read(users.find, ALICE) == 1
    assert db.read(users.find_many, [BOB, "@no:test.example"]) == {BOB: 2}
    assert db.read(users.find_many, []) == {}
    assert db.read(users.by_nid, 1) == ALICE
    assert db.read(users.by_nid, 9) is None
    assert db.read(users.by_nids, [1, 2, 9]) == {1: ALICE, 2: BOB}
    assert db.read(users.by_nids, []) == {}


# Accounts


def test_an_account_is_stored(db: OpenDatabase) -> None:
    account = db.write(make_account)
    assert account == Account(1, ALICE, "hash", "user", False, 5, None, False, False, False)
    assert not account.is_deactivated
    assert db.read(accounts.by_user_id, ALICE) == account
    assert db.read(accounts.by_user_id, BOB) is None
    assert db.read(accounts.by_nid, 2) is None
    assert "hash" not in repr(account)


def test_a_user_without_account_is_no_account(db: OpenDatabase) -> None:
    db.write(users.nid, ALICE)
    assert db.read(accounts.by_user_id, ALICE) is None


def test_accounts_are_found_in_any_case(db: OpenDatabase) -> None:
    db.write(make_account)
    db.write(make_account, "@ALICE:test.example")
    db.write(make_account, "@Bob:test.example")
    assert {account.user_id for account in db.read(accounts.by_folded_id, ALICE)} == {ALICE, "@ALICE:test.example"}
    assert [account.user_id for account in db.read(accounts.by_folded_id, BOB)] == ["@Bob:test.example"]


def test_changes_of_accounts_are_stored_and_announced(db: OpenDatabase) -> None:
    account = db.write(make_account)
    db.write(accounts.set_password, 1, None)
    assert db.announced == []
    db.write(accounts.set_admin, account, True)
    db.write(accounts.set_locked, account, True)
    db.write(accounts.set_suspended, account, True)
    changed = db.read(accounts.by_nid, 1)
    assert changed == Account(1, ALICE, None, "user", True, 5, None, False, True, True)
    assert db.announced == [rows.AccountChanged(1, ALICE)] * 3
    db.write(accounts.set_locked, account, False)
    unlocked = db.read(accounts.by_nid, 1)
    assert unlocked is not None
    assert not unlocked.is_locked


def test_guests_become_users(db: OpenDatabase) -> None:
    guest = db.write(make_account, ALICE, accounts.GUEST)
    db.write(accounts.upgrade_guest, guest, "new hash")
    upgraded = db.read(accounts.by_nid, 1)
    assert upgraded is not None
    assert (upgraded.kind, upgraded.password_hash) == ("user", "new hash")
    assert db.announced == [rows.AccountChanged(1, ALICE)]


def test_deactivation_is_remembered_until_the_rooms_are_left(db: OpenDatabase) -> None:
    account = db.write(make_account)
    db.write(make_account, BOB)
    db.write(accounts.deactivate, account, True, 7)
    gone = db.read(accounts.by_nid, 1)
    assert gone is not None
    assert (gone.is_deactivated, gone.deactivated_ts, gone.is_erased, gone.password_hash) == (True, 7, True, None)
    assert db.read(accounts.erased) == {ALICE: 0}
    assert db.announced == [rows.AccountChanged(1, ALICE), rows.UserErased(ALICE, 0)]
    assert db.read(accounts.still_leaving) == [ALICE]
    db.write(accounts.has_left, ALICE)
    assert db.read(accounts.still_leaving) == []


# Devices


def test_devices_are_stored(db: OpenDatabase) -> None:
    def make(tx: Transaction) -> None:
        devices.create(tx, 1, "PHONE", "my phone", 5)
        devices.create(tx, 1, "DESK", None, 6)
        devices.create(tx, 2, "PHONE", None, 7)

    db.write(make)
    phone = Device(1, 1, "PHONE", "my phone", 5, None, None, None)
    assert db.read(devices.by_user, 1) == [phone, Device(2, 1, "DESK", None, 6, None, None, None)]
    assert db.read(devices.by_id, 1, "PHONE") == phone
    assert db.read(devices.by_id, 2, "DESK") is None


def test_devices_are_renamed(db: OpenDatabase) -> None:
    db.write(make_device, 1)
    assert db.write(devices.rename, 1, "PHONE", "new")
    assert not db.write(devices.rename, 2, "PHONE", "new")
    renamed = db.read(devices.by_id, 1, "PHONE")
    assert renamed is not None
    assert renamed.display_name == "new"


def test_deleted_devices_are_announced(db: OpenDatabase) -> None:
    phone, desk = db.write(make_device, 1), db.write(make_device, 1, "DESK")
    db.write(devices.note_seen, [Sighting(phone.device_nid, 9, "192.0.2.1", "agent")])
    db.write(devices.delete, ALICE, [phone])
    db.write(devices.delete, ALICE, [])
    assert db.read(devices.by_user, 1) == [desk]
    deleted = [row for row in db.announced if isinstance(row, rows.DeviceDeleted)]
    assert deleted == [rows.DeviceDeleted(1, ALICE, phone.device_nid, "PHONE")]
    assert db.read(lambda tx: tx.all("SELECT * FROM device_last_seen")) == []


def test_the_newest_use_is_kept(db: OpenDatabase) -> None:
    device = db.write(make_device, 1)
    db.write(devices.note_seen, [Sighting(device.device_nid, 9, "192.0.2.1", "old"), Sighting(99, 9, "192.0.2.9", "x")])
    db.write(devices.note_seen, [Sighting(device.device_nid, 10, "192.0.2.2", "new")])
    seen = db.read(devices.by_id, 1, "PHONE")
    assert seen is not None
    assert (seen.last_seen_ts, seen.last_seen_ip, seen.last_seen_user_agent) == (10, "192.0.2.2", "new")
    db.write(devices.expire)
    assert db.read(lambda tx: tx.all("SELECT device_nid FROM device_last_seen")) == [(device.device_nid,)]


def test_old_addresses_are_forgotten(db: OpenDatabase) -> None:
    old, new = db.write(make_device, 1), db.write(make_device, 1, "DESK")
    seen = [Sighting(old.device_nid, 9, "ip", "agent"), Sighting(new.device_nid, 20, "ip", "agent")]
    db.write(devices.note_seen, seen)
    db.write(devices.forget_addresses, 10)
    found = {device.device_id: device for device in db.read(devices.by_user, 1)}
    assert (found["PHONE"].last_seen_ts, found["PHONE"].last_seen_ip) == (9, None)
    assert found["DESK"].last_seen_ip == "ip"


def test_stale_devices_are_found(db: OpenDatabase) -> None:
    account = db.write(make_account)
    never = db.write(make_device, account.user_nid, "NEVER", 5)
    used = db.write(make_device, account.user_nid, "USED", 5)
    db.write(make_device, account.user_nid, "NEW", 50)
    long_ago = db.write(make_device, account.user_nid, "LONG_AGO", 5)
    db.write(devices.note_seen, [Sighting(used.device_nid, 60, "i", "a"), Sighting(long_ago.device_nid, 8, "i", "a")])
    assert [(u, d.device_id) for u, d in db.read(devices.stale, 20, 10)] == [(ALICE, "NEVER"), (ALICE, "LONG_AGO")]
    assert db.read(devices.stale, 20, 1) == [(ALICE, never)]
