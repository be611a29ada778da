"""One transaction to another server.

https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.core import canonical_json
from matrixd.net.paths import path_of
from matrixd.services.sending_out.ephemeral_edus import Edu
from matrixd.services.sending_out.outgoing_event import OutgoingEvent
from matrixd.storage.destination_edus import StoredEdu

#: Source: server-server API, "Transactions".
MAX_PDUS = 50
MAX_EDUS = 100
#: What a transaction holds at most, roughly: a server may refuse larger bodies. Fifty events of full size fit in.
MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OutgoingTransaction:
    """What is sent again, the same under the same ID, until the other server has taken it."""

    txn_id: str
    #: Milliseconds since the epoch.
    origin_server_ts: int
    events: Sequence[OutgoingEvent]
    stored_edus: Sequence[StoredEdu]
    ephemeral_edus: Sequence[Edu]

    @property
    def path(self) -> str:
        """Where it is put."""
        return path_of("/_matrix/federation/v1/send/{}", self.txn_id)

    @property
    def size(self) -> int:
        """How many events and EDUs are in it."""
        return len(self.events) + len(self.stored_edus) + len(self.ephemeral_edus)

    def encode(self, origin: str) -> bytes:
        """The body in canonical JSON, put together from parts that are encoded already."""
        edus = [Edu(edu.type, edu.json.encode()) for edu in self.stored_edus]
        edus += self.ephemeral_edus
        return b'{%b"origin":%b,"origin_server_ts":%d,"pdus":[%b]}' % (
            b'"edus":[%b],' % b",".join(edu.encode() for edu in edus) if edus else b"",
            canonical_json.encode(origin),
            self.origin_server_ts,
            b",".join(event.encoded for event in self.events),
        )
