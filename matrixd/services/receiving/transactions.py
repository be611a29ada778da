"""Transactions of other servers: events and EDUs. https://spec.matrix.org/v1.19/server-server-api/#transactions"""

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import is_room_id
from matrixd.queries.server_acls import ServerAcls
from matrixd.services.receiving.edus import Edus
from matrixd.services.receiving.receiver import Receiver
from matrixd.storage.engines.base import Unavailable
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

#: What a transaction may hold.
MAX_PDUS = 50
MAX_EDUS = 100

Results = dict[str, dict[str, str]]


class Transactions:
    """Takes transactions; one that comes again gets the same answer and does nothing."""

    def __init__(self, receiver: Receiver, edus: Edus, acls: ServerAcls, budget: CacheBudget) -> None:
        self._receiver = receiver
        self._edus = edus
        self._acls = acls
        self._under_way: SingleFlight[tuple[str, str], Results] = SingleFlight()
        # A transaction that comes again later than this remembers is taken again, event by event: that changes nothing.
        self._answered = budget.cache("answered_transactions", str, tuple[str, Results])

    async def receive(self, origin: str, txn_id: str, pdus: Sequence[Any], edus: Sequence[Any]) -> Results:
        """What has become of each event: event ID -> {} or {"error": why}.

        Raises M_TOO_LARGE for too many, and `Unavailable` while the database is away: then all may come again.
        """
        if len(pdus) > MAX_PDUS or len(edus) > MAX_EDUS:
            sentence = f"A transaction has at most {MAX_PDUS} 'pdus' and {MAX_EDUS} 'edus'."
            raise MatrixError(400, "M_TOO_LARGE", sentence)
        answered = self._answered.get(origin)
        if answered is not None and answered[0] == txn_id:
            return answered[1]
        return await self._under_way.run((origin, txn_id), lambda: self._take(origin, txn_id, pdus, edus))

    async def _take(self, origin: str, txn_id: str, pdus: Sequence[Any], edus: Sequence[Any]) -> Results:
        work = [
            Deferred.fromCoroutine(self._take_room(origin, room_id, found))
            for room_id, found in _by_room(pdus).items()
        ]
        results: Results = {}
        unavailable: Unavailable | None = None
        for room in work:
            try:
                results.update(await room)
            except Unavailable as error:
                unavailable = error
        if unavailable is not None:
            raise unavailable
        await self._edus.receive(origin, edus)
        # A server sends one transaction after the other: only its last one can come again.
        self._answered.put(origin, (txn_id, results), 200 + 150 * len(results))
        return results

    async def _take_room(self, origin: str, room_id: str, pdus: Sequence[Any]) -> Results:
        try:
            await self._acls.check(room_id, origin)
        except MatrixError as error:
            taken = await self._receiver.refuse(room_id, pdus, error.error)
        else:
            taken = await self._receiver.receive(origin, room_id, pdus)
        return {event_id: {} if error is None else {"error": error} for event_id, error in taken.items()}


def _by_room(pdus: Sequence[Any]) -> Mapping[str, list[Any]]:
    """What names no room is no event that could be new: a creation (v12) is part of what a join answers."""
    found: dict[str, list[Any]] = {}
    for pdu in pdus:
        room_id = pdu.get("room_id") if isinstance(pdu, dict) else None
        if isinstance(room_id, str) and is_room_id(room_id):
            found.setdefault(room_id, []).append(pdu)
    return found
