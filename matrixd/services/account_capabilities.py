"""What users may do to accounts (client-server API, "Capabilities negotiation")."""

from matrixd.queries.authentication import Requester


class AccountCapabilities:
    """`passwords_enabled`: passwords are of this server; `login_tokens_enabled`: `/login/get_token` is served."""

    def __init__(self, passwords_enabled: bool, login_tokens_enabled: bool) -> None:
        self._passwords_enabled = passwords_enabled
        self._login_tokens_enabled = login_tokens_enabled

    def of(self, requester: Requester) -> dict[str, object]:
        """The capabilities that concern accounts, to be joined with the server's others."""
        is_user = not requester.is_guest
        found: dict[str, object] = {
            "m.change_password": {"enabled": self._passwords_enabled and is_user},
            "m.3pid_changes": {"enabled": False},
            "m.get_login_token": {"enabled": self._login_tokens_enabled and is_user},
        }
        if requester.is_admin:
            found["m.account_moderation"] = {"suspend": True, "lock": True}
        return found
