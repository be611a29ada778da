"""The keys of other servers: remembered, stored, or asked for.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from matrixd.core import canonical_json
from matrixd.core.signing import VerifyKey
from matrixd.net.key_search import ALL_KEYS as ALL_KEYS
from matrixd.net.key_search import KeySearch
from matrixd.net.key_search import Purpose as Purpose
from matrixd.net.key_sources import KeyClient, Notary, Told
from matrixd.storage import server_keys
from matrixd.storage.database import Database
from matrixd.storage.engines.base import Unavailable
from matrixd.storage.server_keys import NewKeys, StoredKeys
from matrixd.util.background import in_background
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget

logger = logging.getLogger(__name__)

#: Of a server so many keys are kept: those that were good last.
MAX_KEYS = 300
#: A signed object is kept for the notary's answers if it is not longer than this, in bytes.
_MAX_KEPT = 16 * 1024

_DAY_MS = 24 * 60 * 60 * 1000
#: That keys were needed is noted when it was noted longer ago than this.
_NOTE_USE_MS = 30 * _DAY_MS
#: Keys that nobody needed for so long are forgotten.
_UNUSED_MS = 365 * _DAY_MS
_EXPIRED_AT_ONCE = 1000

_ENTRY_BYTES = 500
_KEY_BYTES = 300


class KeyRing:
    """The keys of all servers.

    `own_keys`: those of this server, key ID -> key, old ones with their `expired_ts`. `call_later` is a reactor's
    `callLater`.
    """

    def __init__(
        self,
        server_name: str,
        own_keys: Mapping[str, VerifyKey],
        client: KeyClient,
        notaries: Sequence[Notary],
        database: Database,
        clock: Clock,
        budget: CacheBudget,
        call_later: Callable[..., Any],
    ) -> None:
        self._server_name = server_name
        self._own_keys = own_keys
        self._database = database
        self._clock = clock
        self._remembered = budget.cache("server_keys", str, StoredKeys)
        others = [notary for notary in notaries if notary.server_name != server_name]
        self._searching = KeySearch(client, others, self._learn, clock, budget, call_later)
        self._to_store: dict[str, NewKeys] = {}
        self._storing: dict[str, NewKeys] = {}
        self._used: set[str] = set()

    async def keys(
        self, wanted: Mapping[str, Mapping[str, int]], purpose: Purpose = Purpose.EVENTS
    ) -> dict[str, dict[str, VerifyKey]]:
        """Keys of servers: name -> key ID -> key, for name -> key ID -> ms since 1970 at which the key must be good.

        0 takes a key that was good at any time (room versions before 5 look at no validity). What cannot be had, or is
        not good at its time, is left out. Waits for other servers, a minute or two if many do not answer. Raises
        Unavailable.
        """
        known = await self.known({name: ids for name, ids in wanted.items() if name != self._server_name}, purpose)
        found: dict[str, dict[str, VerifyKey]] = {}
        for server_name, key_ids in wanted.items():
            keys = self._own_keys if server_name == self._server_name else known[server_name].keys
            good = {key_id: keys[key_id] for key_id, ts in key_ids.items() if _is_good(keys.get(key_id), ts)}
            if good:
                found[server_name] = good
        return found

    async def known(self, wanted: Mapping[str, Mapping[str, int]], purpose: Purpose) -> dict[str, StoredKeys]:
        """All that is known of other servers, after the wanted keys were asked for as far as they are missing.

        `ALL_KEYS` in the place of a key ID asks for those that the server publishes now. Raises Unavailable.
        """
        found = await self._look_up(wanted)
        searches = {}
        for server_name, key_ids in wanted.items():
            end = self._searching.search(found[server_name], key_ids, purpose)
            if end is not None:
                searches[server_name] = end
        for server_name, end in searches.items():
            found[server_name] = await end
        return found

    async def responses(self, server_names: Collection[str]) -> dict[str, str]:
        """The newest signed objects of servers as they were received, as JSON, as far as kept. Raises Unavailable."""
        waiting = {**self._storing, **self._to_store}
        stored = await self._database.read(server_keys.responses, server_names) if server_names else {}
        new = {name: waiting[name].response for name in server_names if name in waiting}
        return {**stored, **{name: response for name, response in new.items() if response is not None}}

    async def _look_up(self, server_names: Collection[str]) -> dict[str, StoredKeys]:
        found = {name: known for name in server_names if (known := self._remembered.get(name)) is not None}
        unread = [name for name in server_names if name not in found]
        stored = await self._database.read(server_keys.of_servers, unread) if unread else {}
        for name in unread:
            # A search may have learned more since the database was read.
            known = self._remembered.get(name) or stored.get(name) or _unknown(name)
            self._remember(known)
            found[name] = known
        self._note(found.values())
        return found

    def _remember(self, known: StoredKeys) -> None:
        self._remembered.put(known.server_name, known, _ENTRY_BYTES + _KEY_BYTES * len(known.keys))

    def _learn(self, before: StoredKeys, told: Told) -> StoredKeys:
        new = _merged(before, told, self._clock.now_ms())
        self._remember(new)
        is_newest = new.valid_until_ts == told.keys.valid_until_ts
        response = canonical_json.encode(told.response) if is_newest else b""
        waiting = self._to_store.get(new.server_name)
        kept = None if waiting is None else waiting.response
        if 0 < len(response) <= _MAX_KEPT:
            kept = response.decode()
        self._to_store[new.server_name] = NewKeys(new, kept)
        if not self._storing:
            in_background("storing keys", self._store())
        return new

    async def _store(self) -> None:
        try:
            while self._to_store:
                self._storing, self._to_store = self._to_store, {}
                await self._database.write(server_keys.store, list(self._storing.values()))
        except Unavailable as error:
            # They are remembered, and asked for again when they are forgotten.
            logger.warning("keys of other servers are not stored: %s", error)
        finally:
            self._storing = {}

    # What is still needed

    def _note(self, needed: Collection[StoredKeys]) -> None:
        now = self._clock.now_ms()
        for known in needed:
            if known.used_ts < now - _NOTE_USE_MS:
                self._used.add(known.server_name)
                self._remember(replace(known, used_ts=now))

    async def note_use(self) -> None:
        """Store whose keys were needed, and forget keys that nobody needed for a year."""
        used, self._used = self._used, set()
        now = self._clock.now_ms()
        if used:
            await self._database.write(server_keys.used, used, now)
        await self._database.write(server_keys.expire, now - _UNUSED_MS, _EXPIRED_AT_ONCE)


def _is_good(key: VerifyKey | None, timestamp: int) -> bool:
    return key is not None and key.counts_at(timestamp, enforce_validity=True)


def _unknown(server_name: str) -> StoredKeys:
    return StoredKeys(server_name, {}, 0, "", 0, 2**53)


def _merged(before: StoredKeys, told: Told, now: int) -> StoredKeys:
    """What is known after an answer; a notary's may be older than what was known before."""
    new = told.keys
    if new.valid_until_ts < before.valid_until_ts:
        return replace(before, keys=_newest({**new.keys, **before.keys}), used_ts=now)
    keys = _newest({**before.keys, **new.keys})
    return StoredKeys(new.server_name, keys, new.valid_until_ts, told.from_server, now, now)


def _newest(keys: dict[str, VerifyKey]) -> dict[str, VerifyKey]:
    if len(keys) <= MAX_KEYS:
        return keys
    newest = sorted(keys.values(), key=lambda key: key.expired_ts or key.valid_until_ts or 0, reverse=True)
    return {key.key_id: key for key in newest[:MAX_KEYS]}
