"""Registration with the shared secret of the configuration, as Synapse's admin API documentation describes it.

https://element-hq.github.io/synapse/latest/admin_api/register_api.html
"""

import hashlib
import hmac
from dataclasses import dataclass, field

from matrixd.core.errors import MatrixError
from matrixd.services.passwords import Passwords
from matrixd.services.registration import NewAccount, Registered, Registration
from matrixd.services.sessions import SessionRequest
from matrixd.services.tokens import TokenMaker
from matrixd.storage import accounts
from matrixd.util.clock import Clock

#: Seconds.
_NONCE_LIFETIME = 60.0
_MAX_NONCES = 1000
_KINDS = {None: accounts.USER, "bot": accounts.BOT, "support": accounts.SUPPORT}


@dataclass(frozen=True, slots=True)
class SecretRegistration:
    """What a client asks for. `mac` is hexadecimal."""

    nonce: str
    username: str
    password: str = field(repr=False)
    mac: str
    admin: bool = False
    user_type: str | None = None
    displayname: str | None = None


class SharedSecretRegistration:
    """Makes accounts for those who know `secret`; None switches it off."""

    def __init__(
        self, registration: Registration, passwords: Passwords, tokens: TokenMaker, clock: Clock, secret: str | None
    ) -> None:
        self._registration = registration
        self._passwords = passwords
        self._tokens = tokens
        self._clock = clock
        self._secret = secret
        #: Nonce -> when it expires, on the monotonic clock; oldest first.
        self._nonces: dict[str, float] = {}

    def new_nonce(self) -> str:
        """A value that makes one request unlike any other; good for a minute."""
        self._require_secret()
        nonce = self._tokens.nonce()
        self._nonces[nonce] = self._clock.monotonic() + _NONCE_LIFETIME
        if len(self._nonces) > _MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        return nonce

    async def register(self, wanted: SecretRegistration) -> Registered:
        """Make the account, with a session; raises M_FORBIDDEN if the MAC is wrong."""
        secret = self._require_secret()
        if self._nonces.pop(wanted.nonce, 0.0) < self._clock.monotonic():
            raise MatrixError(400, "M_UNKNOWN", "'nonce' is not known, was used, or has expired. Get a new one.")
        if wanted.user_type not in _KINDS:
            raise MatrixError(400, "M_INVALID_PARAM", "'user_type' must be 'bot' or 'support', where it is given.")
        if not hmac.compare_digest(_mac(secret, wanted).encode(), wanted.mac.encode("utf-8", "surrogatepass")):
            raise MatrixError(403, "M_FORBIDDEN", "'mac' is wrong. Do both sides use the same shared secret?")
        localpart = self._registration.localpart(wanted.username)
        await self._registration.check_free(localpart)
        password_hash = await self._passwords.hash_new(wanted.password)
        account = NewAccount(
            localpart, password_hash, _KINDS[wanted.user_type], wanted.admin, wanted.displayname
        )
        return await self._registration.register(account, SessionRequest())

    def _require_secret(self) -> str:
        if self._secret is None:
            raise MatrixError(400, "M_UNKNOWN", "The configuration has no registration_shared_secret.")
        return self._secret


def _mac(secret: str, wanted: SecretRegistration) -> str:
    parts = [wanted.nonce, wanted.username, wanted.password, "admin" if wanted.admin else "notadmin"]
    if wanted.user_type is not None:
        parts.append(wanted.user_type)
    message = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hmac.new(secret.encode(), message, hashlib.sha1).hexdigest()
