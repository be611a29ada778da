"""What checking events of another server costs before they are authorised. Runs with matrixd's code.

    python -m bench.verification COUNT

One server's key has signed all of them. Prints figures as JSON. The parts are measured by themselves, so that they need
not add up to the whole.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping

import orjson
from nacl import bindings
from twisted.internet.defer import Deferred
from unpaddedbase64 import decode_base64

from bench.large_room import VERSION, LargeRoom, OtherServer
from matrixd.core.event_format import checked_pdu
from matrixd.core.hashing import content_hash, signed_bytes
from matrixd.core.signing import VerifyKey
from matrixd.services.receiving.pdu_checks import PduChecks
from tests.support.rooms_elsewhere import Threads

_ROUNDS = 5


class Keys:
    """Knows the key of one server."""

    def __init__(self, server: OtherServer) -> None:
        self._known = {server.name: {server.key.key_id: server.key.verify_key}}

    async def keys(self, wanted: Mapping[str, Mapping[str, int]]) -> Mapping[str, Mapping[str, VerifyKey]]:
        """Its key, whoever is asked for."""
        return self._known


def main() -> None:
    """Measure and print."""
    server = OtherServer.named("far.example.org")
    room = LargeRoom("checked", [server], int(sys.argv[1]))
    texts = [orjson.dumps(event.pdu) for event in room.events]
    pdus = [orjson.loads(text) for text in texts]
    checks = PduChecks(Keys(server), Threads())
    key = server.key.verify_key
    messages = [signed_bytes(VERSION, pdu) for pdu in pdus]
    # libsodium takes signature and message in one
    signed = [
        decode_base64(pdu["signatures"][server.name][key.key_id]) + message
        for pdu, message in zip(pdus, messages, strict=True)
    ]

    def check() -> None:
        checked: list[int] = []
        waiting = Deferred.fromCoroutine(checks.check(VERSION, room.room_id, pdus))
        waiting.addCallback(lambda found: checked.append(len(found.events)))
        assert checked == [len(pdus)], "every event is whole and signed"

    count = len(pdus)
    whole = _seconds(check)
    parts = {
        "parsing JSON, before": _seconds(lambda: [orjson.loads(text) for text in texts]),
        "of it Ed25519 in libsodium": _seconds(lambda: [bindings.crypto_sign_open(m, key.public) for m in signed]),
        "of it canonical JSON of the redacted form, once": _seconds(lambda: [signed_bytes(VERSION, p) for p in pdus]),
        "of it content hash": _seconds(lambda: [content_hash(pdu) for pdu in pdus]),
        "of it format and sizes": _seconds(lambda: [checked_pdu(VERSION, pdu) for pdu in pdus]),
    }
    rate = ("events checked per second, on one core", "/s", [count / whole], True)
    verified = parts["of it Ed25519 in libsodium"]
    print(
        json.dumps(
            [
                rate,
                ("signatures verified per second, alone", "/s", [count / verified], True),
                ("an event", "µs", [1e6 * whole / count]),
                *((f"  {name}", "µs", [1e6 * seconds / count]) for name, seconds in parts.items()),
            ]
        )
    )


def _seconds(work: Callable[[], object]) -> float:
    """CPU time of some work: the least of some rounds, for the machine has other things to do."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


if __name__ == "__main__":
    main()
