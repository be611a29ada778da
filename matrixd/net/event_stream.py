"""The events of a large answer, handed on as they come, so that its size is no matter of memory."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred

from matrixd.net.answer_fields import bad_answer
from matrixd.net.json_stream import ObjectReader

#: Bytes of an answer with the state of a room, and the seconds that it may take.
MAX_STATE_BYTES: Final = 512 * 1024 * 1024
STATE_S: Final = 300.0

#: Takes the events of an answer one by one, as they are read: whether it is of the state (else of the auth chain), PDU.
#: If it returns a Deferred, the next comes when that has fired, and meanwhile no more is read.
TakePdu = Callable[[bool, Mapping[str, Any]], "Deferred[None] | None"]

_MAX_PROBLEM = 200


class EventStream:
    """Reads an answer with two lists of events; to be given to a request as its consumer, and finished after it.

    state_list: the name of the list with the state; the other one is `auth_chain`.
    """

    def __init__(self, destination: str, state_list: str, take: TakePdu) -> None:
        self._destination = destination
        self._state_list = state_list
        self._take = take
        self._reader = ObjectReader((state_list, "auth_chain"))

    def consume(self, piece: bytes) -> "Deferred[None] | None":
        """Hand on what is complete with this piece. Raises RemoteError(BAD_ANSWER), and what `take` raises."""
        return self._hand_on(self._checked(self._reader.feed(piece)))

    async def finish(self) -> Mapping[str, Any]:
        """Hand on the last events; all of the answer that is no list of events. Raises as `consume` does."""
        waiting = self._hand_on(self._checked(self._reader.close()))
        if waiting is not None:
            await waiting
        for name in (self._state_list, "auth_chain"):
            if name not in self._reader.rest:
                raise bad_answer(self._destination, f"'{name}' is missing")
        return self._reader.rest

    def _hand_on(self, items: Iterator[tuple[str, Mapping[str, Any]]]) -> "Deferred[None] | None":
        for name, pdu in items:
            waiting = self._take(name == self._state_list, pdu)
            if waiting is not None:
                return Deferred.fromCoroutine(self._go_on(waiting, items))
        return None

    async def _go_on(self, waiting: "Deferred[None]", items: Iterator[tuple[str, Mapping[str, Any]]]) -> None:
        await waiting
        for name, pdu in items:
            again = self._take(name == self._state_list, pdu)
            if again is not None:
                await again

    def _checked(self, items: Iterator[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        try:
            yield from items
        except ValueError as error:
            raise bad_answer(self._destination, f"{error}"[:_MAX_PROBLEM]) from None
