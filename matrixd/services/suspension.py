"""What a suspended user may not do. https://spec.matrix.org/v1.19/client-server-api/#account-suspension"""

from matrixd.core.errors import MatrixError
from matrixd.queries.authentication import Requester


def refuse_suspended(requester: Requester) -> None:
    """Raises M_USER_SUSPENDED for a user who is suspended."""
    if requester.is_suspended:
        raise MatrixError(403, "M_USER_SUSPENDED", "You cannot perform this action while suspended.")
