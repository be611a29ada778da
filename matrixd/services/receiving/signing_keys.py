"""`m.signing_key_update` of other servers.

https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from matrixd.services.receiving.device_keys import check_signing_key
from matrixd.services.receiving.edu_content import decoded, is_of
from matrixd.services.receiving.edus import Refuse
from matrixd.storage import device_list_changes, remote_devices, shared_rooms, users
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

#: The members of an EDU, and what each of the keys is for.
USAGES = {"master_key": "master", "self_signing_key": "self_signing"}


class _Content(Struct):
    user_id: str
    master_key: dict[str, Any] | None = None
    self_signing_key: dict[str, Any] | None = None


class SigningKeyEdus:
    """Keeps the cross-signing keys of users who share a room with one of ours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def receive(self, origin: str, contents: Sequence[Mapping[str, Any]], refuse: Refuse) -> None:
        """See `EduType`."""
        updates = []
        for content in contents:
            form = decoded(content, _Content, refuse)
            if form is None:
                continue
            if not is_of(form.user_id, origin):
                refuse("'user_id' must be a user of the server")
                continue
            keys = {"master_key": form.master_key, "self_signing_key": form.self_signing_key}
            try:
                updates.append((form.user_id, checked_signing_keys(form.user_id, keys)))
            except ValueError as error:
                refuse(f"the signing keys of a user: {error}")
        if updates:
            await self._database.write(_store, updates)


def checked_signing_keys(user_id: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a user's signing keys, by the names of `USAGES`, that are there. Raises ValueError for wrong ones."""
    keys = {name: found[name] for name in USAGES if found.get(name) is not None}
    for name, key in keys.items():
        check_signing_key(key, user_id, USAGES[name])
    return keys


def _store(tx: Transaction, updates: Sequence[tuple[str, dict[str, Any]]]) -> None:
    numbers = users.find_many(tx, {user_id for user_id, _ in updates})
    shared = shared_rooms.remote_users(tx, numbers.values())
    for user_id, keys in updates:
        user_nid = numbers.get(user_id)
        if user_nid in shared and keys:
            known = remote_devices.signing_keys(tx, user_nid)
            if keys.get("master_key") not in (None, known.get("master_key")):
                # What the old master key signed says nothing any more.
                known = {}
            remote_devices.put_signing_keys(tx, user_nid, {**known, **keys})
            device_list_changes.change(tx, user_nid, user_id)
