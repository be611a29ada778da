"""Having a user confirm an operation, by user-interactive authentication: one who is logged in, or one who is not."""

from collections.abc import Mapping
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.queries.authentication import Requester
from matrixd.services import uia
from matrixd.services.limits import Limit
from matrixd.services.passwords import Passwords, find_account, open_account
from matrixd.services.uia import InteractiveAuthentication, Operation, Proof
from matrixd.storage.accounts import Account
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction


class UserConfirmation:
    """Asks for the user's password.

    `requests` limits those of a client address without an access token. `passwords_enabled`: the configuration lets
    passwords be used.
    """

    def __init__(
        self,
        database: Database,
        interactive: InteractiveAuthentication,
        passwords: Passwords,
        requests: Limit,
        passwords_enabled: bool = True,
    ) -> None:
        self._database = database
        self._interactive = interactive
        self._passwords = passwords
        self._requests = requests
        self._passwords_enabled = passwords_enabled

    async def confirm(
        self,
        requester: Requester,
        operation: str,
        auth: Mapping[str, Any] | None,
        request: Mapping[str, Any],
        always_ask: bool = False,
    ) -> Proof:
        """Whether the requester has confirmed `operation` (its method and path); raises AuthenticationNeeded.

        `auth` is the attempt of this request, `request` the body as it may be stored.
        """
        possible = self._passwords_enabled and await self._passwords.has_password(requester.user_nid)
        return await self._interactive.authenticate(
            Operation(
                operation,
                ((uia.PASSWORD,),) if possible else (),
                requester.user_id,
                requester.user_nid,
                requester.device_nid,
                always_ask,
            ),
            auth,
            request,
        )

    async def identify(self, operation: str, auth: Mapping[str, Any] | None, client_ip: str) -> Account:
        """Whose password was given for `operation` without an access token; raises AuthenticationNeeded.

        What the client wants must be in the request that gives the password: nothing of it is stored before. Raises
        M_MISSING_TOKEN where passwords are off, M_USER_DEACTIVATED, M_USER_LOCKED, and M_LIMIT_EXCEEDED after too many
        requests of the address, or too many wrong passwords for the account.
        """
        if not self._passwords_enabled:
            raise MatrixError(401, "M_MISSING_TOKEN", "An access token is needed: 'Authorization: Bearer …'.")
        # The request that only asks how to authenticate counts too: it has a session stored.
        self._requests.check(client_ip)
        proof = await self._interactive.authenticate(Operation(operation, ((uia.PASSWORD,),)), auth, {})
        return await self._database.read(_proved, proof.completed[uia.PASSWORD])


def _proved(tx: Transaction, user_id: str) -> Account:
    account = find_account(tx, user_id)
    if account is None:
        raise MatrixError(403, "M_USER_DEACTIVATED", "There is no such account any more.")
    return open_account(tx, account.user_nid)
