"""Who makes a request: access tokens looked up once and then remembered."""

import hashlib
from dataclasses import dataclass, replace

from matrixd.core.errors import MatrixError
from matrixd.storage import access_tokens
from matrixd.storage.database import Database
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget

_ENTRY_BYTES = 600


@dataclass(frozen=True, slots=True)
class Requester:
    """The user, and the device, behind a request."""

    user_id: str
    user_nid: int
    device_id: str
    device_nid: int
    token_hash: bytes
    is_guest: bool = False
    is_admin: bool = False
    is_locked: bool = False
    is_suspended: bool = False
    #: Milliseconds since the epoch; None for a token that does not expire.
    valid_until_ts: int | None = None
    #: The application service that the token belongs to, if it does.
    appservice_id: str | None = None
    #: The refresh token that came with the token, on its first use: that ends the refresh token before it.
    first_use_of: int | None = None


def token_hash(token: str) -> bytes:
    """The form in which a token is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Authenticator:
    """Turns an access token into its `Requester`."""

    def __init__(self, database: Database, clock: Clock, budget: CacheBudget) -> None:
        self._database = database
        self._clock = clock
        self._known = budget.cache("access_tokens", str, Requester)
        self._forgotten = 0

    async def requester(self, token: str) -> Requester:
        """The owner of `token`; raises M_UNKNOWN_TOKEN (with `soft_logout` for one that expired) or M_USER_LOCKED.

        Source: client-server API, "Client Authentication".
        """
        found = self._known.get(token)
        if found is None:
            found = await self._load(token)
        if found.valid_until_ts is not None and found.valid_until_ts <= self._clock.now_ms():
            raise MatrixError(401, "M_UNKNOWN_TOKEN", "The access token has expired: refresh it.", soft_logout=True)
        return found

    async def _load(self, token: str) -> Requester:
        forgotten = self._forgotten
        row = await self._database.read(access_tokens.by_hash, token_hash(token))
        if row is None:
            raise MatrixError(401, "M_UNKNOWN_TOKEN", "The access token is not known.", soft_logout=False)
        found = Requester(
            user_id=row.user_id, user_nid=row.user_nid, device_id=row.device_id, device_nid=row.device_nid,
            token_hash=row.token_hash, is_guest=row.kind == "guest", is_admin=row.is_admin, is_locked=row.is_locked,
            is_suspended=row.is_suspended, valid_until_ts=row.valid_until_ts,
        )
        # What was read before something was forgotten may be what had to be forgotten.
        if forgotten == self._forgotten:
            self._known.put(token, found, _ENTRY_BYTES)
        return replace(found, first_use_of=row.unused_refresh_nid) if row.unused_refresh_nid is not None else found

    def forget_all(self) -> None:
        """Look every token up again: a command has changed them beside the server."""
        self._forgotten += 1
        self._known.remove_where(lambda requester: True)

    def forget_user(self, user_id: str) -> None:
        """Look the user's tokens up again: logged out, locked, made an administrator."""
        self._forgotten += 1
        self._known.remove_where(lambda requester: requester.user_id == user_id)
