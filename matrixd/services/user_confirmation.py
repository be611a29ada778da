"""Having a logged-in user confirm an operation, by user-interactive authentication."""

from collections.abc import Mapping
from typing import Any

from matrixd.queries.authentication import Requester
from matrixd.services import uia
from matrixd.services.passwords import Passwords
from matrixd.services.uia import InteractiveAuthentication, Operation, Proof


class UserConfirmation:
    """Asks for the user's password. `passwords_enabled`: the configuration lets passwords be used."""

    def __init__(
        self, interactive: InteractiveAuthentication, passwords: Passwords, passwords_enabled: bool = True
    ) -> None:
        self._interactive = interactive
        self._passwords = passwords
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
