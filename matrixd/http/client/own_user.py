"""Endpoints under `/user/{userId}/` serve the user who asks and nobody else."""

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.queries.authentication import Requester


def own_user(call: Call) -> Requester:
    """Who asks, if the path's `userId` is the same. Raises M_FORBIDDEN."""
    requester = call.requester
    if call.path("userId") != requester.user_id:
        raise MatrixError(403, "M_FORBIDDEN", "'userId' must be your own user ID.")
    return requester
