"""Tells others the keys of third servers, with this server's signature added.

https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from matrixd.core import canonical_json
from matrixd.net.key_ring import ALL_KEYS, KeyRing, Purpose
from matrixd.services.own_keys import OwnKeys
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget

_ENTRY_BYTES = 300


@dataclass(frozen=True, slots=True)
class _Signed:
    #: Of the answer that was signed: with another one it has to be done again.
    received_ts: int
    answer: bytes


class Notary:
    """Answers from what is known; what is missing is fetched from the servers, a few at once, for some seconds."""

    def __init__(
        self, server_name: str, own_keys: OwnKeys, key_ring: KeyRing, clock: Clock, budget: CacheBudget
    ) -> None:
        self._server_name = server_name
        self._own_keys = own_keys
        self._key_ring = key_ring
        self._clock = clock
        self._signed = budget.cache("notary_answers", str, _Signed)

    async def answers(self, wanted: Mapping[str, Mapping[str, int | None]]) -> list[bytes]:
        """The signed objects of servers, as JSON, for server name -> key ID -> `minimum_valid_until_ts`.

        Without key IDs all keys are meant, which must be good now; None is now, too. Servers of which nothing is known
        are left out. What is there is given even if it is not good until then. Raises Unavailable.
        """
        now = self._clock.now_ms()
        others = {
            server_name: {key_id: now if ts is None else ts for key_id, ts in (key_ids or {ALL_KEYS: None}).items()}
            for server_name, key_ids in wanted.items()
            if server_name != self._server_name
        }
        known = await self._key_ring.known(others, Purpose.NOTARY)
        found = [self._own_keys.published()] if self._server_name in wanted else []
        unsigned = []
        for server_name in others:
            signed = self._signed.get(server_name)
            if signed is not None and signed.received_ts == known[server_name].received_ts:
                found.append(signed.answer)
            elif known[server_name].keys:
                unsigned.append(server_name)
        for server_name, response in (await self._responses(unsigned)).items():
            answer = canonical_json.encode(self._own_keys.sign(response))
            self._signed.put(server_name, _Signed(known[server_name].received_ts, answer), _ENTRY_BYTES + len(answer))
            found.append(answer)
        return found

    async def _responses(self, server_names: Collection[str]) -> dict[str, Any]:
        responses = await self._key_ring.responses(server_names)
        return {server_name: canonical_json.decode(response) for server_name, response in responses.items()}
