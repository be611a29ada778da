"""What other servers send: `data/api/server-server/transactions.yaml` of the specification."""

from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.receiving.transactions import Transactions


class Send:
    """`/send`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "PUT", "/_matrix/federation/v1/send/{txnId}", self.put,
                spec="put_matrixfederationv1sendtxnid", auth=Auth.SERVER,
            ),
        ]

    async def put(self, call: Call) -> object:
        """A transaction."""
        body = call.json_object()
        origin = body.get("origin")
        if origin is not None and origin != call.origin:
            raise MatrixError(400, "M_INVALID_PARAM", f"'origin' must be {call.origin}, who has signed the request.")
        pdus, edus = _entries(body, "pdus"), _entries(body, "edus")
        return {"pdus": await self._transactions.receive(call.origin, call.path("txnId"), pdus, edus)}


def _entries(body: dict[str, Any], name: str) -> list[Any]:
    value = body.get(name, [])
    if not isinstance(value, list):
        raise MatrixError(400, "M_BAD_JSON", f"'{name}' must be a list.")
    return value
