"""The secrets that clients get: what they look like. Only their SHA-256 is stored."""

import string

from matrixd.util.randomness import Randomness

_LETTERS_AND_DIGITS = string.ascii_letters + string.digits
#: 32 characters of 62 are 190 bits.
_SECRET_LENGTH = 32


class TokenMaker:
    """Makes tokens. Their prefix tells people, and scanners for leaked secrets, what a found text is."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness

    def access_token(self) -> str:
        """What a device authenticates with."""
        return f"mxt_{self._secret()}"

    def refresh_token(self) -> str:
        """What a device gets a new access token for."""
        return f"mxr_{self._secret()}"

    def login_token(self) -> str:
        """What logs in once by `m.login.token`."""
        return f"mxl_{self._secret()}"

    def openid_token(self) -> str:
        """What proves a user's identity to others."""
        return f"mxo_{self._secret()}"

    def session_id(self) -> str:
        """The ID of a session of user-interactive authentication, which is as secret as a token."""
        return self._secret()

    def nonce(self) -> str:
        """A value that is used once."""
        return self._secret()

    def device_id(self) -> str:
        """The ID of a device whose client did not choose one."""
        return self._randomness.text(string.ascii_uppercase, 10)

    def localpart(self) -> str:
        """The localpart of a user who did not choose one."""
        return self._randomness.text(string.ascii_lowercase, 12)

    def _secret(self) -> str:
        return self._randomness.text(_LETTERS_AND_DIGITS, _SECRET_LENGTH)
