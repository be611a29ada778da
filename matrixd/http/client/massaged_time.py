"""The time that an application service gives its events.

https://spec.matrix.org/v1.19/application-service-api/#timestamp-massaging
"""

from matrixd.core.canonical_json import MAX_INTEGER
from matrixd.http.kit.call import Call


def massaged_time(call: Call) -> int | None:
    """Query parameter `ts`, milliseconds since the epoch; None for other clients, of whom it is not taken."""
    if call.requester.appservice_id is None or call.query("ts") is None:
        return None
    return call.query_int("ts", 0, maximum=MAX_INTEGER)
