"""What other servers are to get beside events: EDUs.

https://spec.matrix.org/v1.19/server-server-api/#edus

Events of local users go out by themselves; nobody has to put them here.
"""

from collections.abc import Collection, Container, Mapping
from typing import Any, Protocol

from matrixd.core import canonical_json
from matrixd.storage import destination_edus
from matrixd.storage.rows import EdusStored
from matrixd.storage.transaction import Transaction


class EphemeralEdus(Protocol):
    """Who sends what is kept in memory only."""

    def send_edu(self, destinations: Collection[str], edu_type: str, encoded: bytes, key: str | None) -> None:
        """Send `encoded`, the canonical JSON of the content."""


class Outbox:
    """Takes EDUs for other servers. This one, and those that it must not talk to, are left out."""

    def __init__(
        self, server_name: str, ephemeral: EphemeralEdus, partners: Container[str] | None = None
    ) -> None:
        self._server_name = server_name
        self._ephemeral = ephemeral
        self._partners = partners

    def send_edu(
        self, destinations: Collection[str], edu_type: str, content: Mapping[str, Any], key: str | None = None
    ) -> None:
        """Send what may be lost: typing, receipts, presence. It is kept in memory, and bounded for each destination.

        An EDU takes the place of a waiting one of the same type and `key` (room, user and thread of a receipt; user of
        a presence; room and user of a typing notification); without key none. To a server that does not answer, typing
        and presence are not kept at all; when too much waits, presence is dropped first, then typing, then receipts.
        """
        others = self._others(destinations)
        if others:
            self._ephemeral.send_edu(others, edu_type, canonical_json.encode(content), key)

    def store_edu(
        self, tx: Transaction, destinations: Collection[str], edu_type: str, content: Mapping[str, Any]
    ) -> None:
        """Send, after the commit of `tx`, what must not be lost; each destination gets it in the order of the commits.

        To be called on the writer. It is stored until the destination has taken it, or was out of reach for a month.
        """
        others = self._others(destinations)
        if others:
            destination_edus.insert(tx, others, edu_type, canonical_json.encode(content).decode())
            tx.announce(EdusStored(tuple(others)))

    def _others(self, destinations: Collection[str]) -> list[str]:
        allowed = self._partners
        return sorted(
            {name for name in destinations if name != self._server_name and (allowed is None or name in allowed)}
        )
