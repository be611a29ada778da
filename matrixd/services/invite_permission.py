"""Whether a user of this server can be invited. https://spec.matrix.org/v1.19/client-server-api/#invite-permission"""

from matrixd.core.errors import MatrixError
from matrixd.storage import account_data, accounts
from matrixd.storage.transaction import Transaction

#: The type of the account data in which users say so.
PERMISSION = "m.invite_permission_config"


def check_invitable(tx: Transaction, user_id: str) -> None:
    """Raises M_NOT_FOUND if there is no such user, M_INVITE_BLOCKED for one who takes no invites."""
    account = accounts.by_user_id(tx, user_id)
    if account is None or account.is_deactivated:
        raise MatrixError(404, "M_NOT_FOUND", f"There is no user {user_id} on this server.")
    permission = account_data.get(tx, account.user_nid, account_data.GLOBAL, PERMISSION)
    if permission is not None and permission.get("default_action") == "block":
        raise MatrixError(403, "M_INVITE_BLOCKED", f"{user_id} does not take invites.")
