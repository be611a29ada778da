"""Requests with a transaction ID: a retry answers with the event that the first request made.

https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
"""

import base64
import hashlib
import json
from collections.abc import Callable, Coroutine
from typing import Any

from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.core.identifiers import fits
from matrixd.storage import transactions
from matrixd.storage.database import Database
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

#: Bytes of a client's transaction ID; the specification leaves it open.
MAX_TXN_ID_BYTES = 255
_ENTRY_BYTES = 400
#: What the answers that are remembered may take.
_MAX_BYTES = 4_000_000
#: Bytes of the hash that stands for the endpoint: one is stored with each event.
_SCOPE_BYTES = 9


class SentTransactions:
    """Answers retries: from memory, or from the database after a restart."""

    def __init__(self, database: Database, budget: CacheBudget) -> None:
        self._database = database
        self._known = budget.cache("sent_transactions", tuple[int, str], str, _MAX_BYTES)
        self._under_way: SingleFlight[tuple[int, str], str] = SingleFlight()

    async def run(self, device_nid: int, stored_id: str, send: Callable[[], Coroutine[Any, Any, str]]) -> str:
        """The event ID that `send` answers, once for each transaction. `stored_id`: see `stored_id`.

        `send` stores the ID with the event. Requests at the same time share one answer.
        """
        key = (device_nid, stored_id)
        known = self._known.get(key)
        if known is None:
            known = await self._under_way.run(key, lambda: self._run(key, send))
            self._known.put(key, known, _ENTRY_BYTES)
        return known

    async def _run(self, key: tuple[int, str], send: Callable[[], Coroutine[Any, Any, str]]) -> str:
        try:
            return await send()
        except (MatrixError, RuleViolation):
            # What was allowed the first time need not be any more: the sender may have left since.
            known = await self._database.read(transactions.event_id, *key)
            if known is None:
                raise
            return known


def stored_id(txn_id: str, *endpoint: str) -> str:
    """The form in which a client's transaction ID is stored with its endpoint: a name, and the path's parameters.

    Raises M_INVALID_PARAM for an ID that is empty, too long, or holds a NUL.
    """
    if not txn_id or not fits(txn_id, MAX_TXN_ID_BYTES):
        raise MatrixError(400, "M_INVALID_PARAM", f"'txnId' must have 1 to {MAX_TXN_ID_BYTES} bytes and no NUL.")
    digest = hashlib.sha256(json.dumps(endpoint).encode()).digest()[:_SCOPE_BYTES]
    return transactions.key(base64.urlsafe_b64encode(digest).decode(), txn_id)
