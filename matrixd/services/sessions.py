"""Logged-in sessions: a device with an access token, and with a refresh token if its client supports that.

Source: client-server API, "Relationship between access tokens and devices" and "Refreshing access tokens".
"""

from dataclasses import dataclass, field

from matrixd.config.accounts import SessionsConfig
from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import validate_device_id
from matrixd.queries.authentication import token_hash
from matrixd.services.devices import validate_display_name
from matrixd.services.tokens import TokenMaker
from matrixd.storage import access_tokens, devices, refresh_tokens, rows
from matrixd.storage.database import Database
from matrixd.storage.refresh_tokens import RefreshToken
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What a client asks for with a login or a registration."""

    device_id: str | None = None
    initial_device_display_name: str | None = None
    #: Whether the client supports refresh tokens.
    refreshable: bool = False

    def __post_init__(self) -> None:
        if self.device_id is not None:
            validate_device_id(self.device_id, "'device_id'")
        if self.initial_device_display_name is not None:
            validate_display_name(self.initial_device_display_name, "initial_device_display_name")


@dataclass(frozen=True, slots=True)
class Session:
    """What a client gets. `expires_in_ms` is None for an access token that does not expire."""

    user_id: str
    device_id: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in_ms: int | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The secrets and times of a session that is to begin, made before the transaction so that it can run again."""

    request: SessionRequest
    device_id: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    now_ms: int
    #: When the session ends, however often it is refreshed.
    session_until_ts: int | None

    def session(self, user_id: str, valid_until_ts: int | None, device_id: str | None = None) -> Session:
        """What the client gets."""
        expires_in_ms = None if valid_until_ts is None else valid_until_ts - self.now_ms
        return Session(user_id, device_id or self.device_id, self.access_token, self.refresh_token, expires_in_ms)


class Sessions:
    """Begins and refreshes sessions."""

    def __init__(self, database: Database, clock: Clock, tokens: TokenMaker, lifetimes: SessionsConfig) -> None:
        self._database = database
        self._clock = clock
        self._tokens = tokens
        self._lifetimes = lifetimes

    def prepare(self, request: SessionRequest) -> Prepared:
        """The parts of a new session that must not change when its transaction is run again."""
        now_ms = self._clock.now_ms()
        lifetime = self._lifetimes.session_lifetime_ms
        return Prepared(
            request, request.device_id or self._tokens.device_id(), self._tokens.access_token(),
            self._tokens.refresh_token() if request.refreshable else None,
            now_ms, None if lifetime is None else now_ms + lifetime,
        )

    def begin_in(self, tx: Transaction, user_nid: int, user_id: str, prepared: Prepared) -> Session:
        """Make the session, as part of a transaction. The tokens that the device had before end."""
        device = devices.by_id(tx, user_nid, prepared.device_id)
        if device is None:
            name = prepared.request.initial_device_display_name
            device_nid = devices.create(tx, user_nid, prepared.device_id, name, prepared.now_ms)
        else:
            device_nid = device.device_nid
            refresh_tokens.delete_of_devices(tx, (device_nid,))
            if access_tokens.delete_of_devices(tx, (device_nid,)):
                tx.announce(rows.AccountChanged(user_nid, user_id))
        valid_until_ts = self._store_tokens(tx, user_nid, device_nid, prepared)
        return prepared.session(user_id, valid_until_ts)

    def _store_tokens(
        self, tx: Transaction, user_nid: int, device_nid: int, prepared: Prepared, replaces: int | None = None
    ) -> int | None:
        refresh_nid = None
        lifetime = self._lifetimes.nonrefreshable_access_token_lifetime_ms
        if prepared.refresh_token is not None:
            lifetime = self._lifetimes.refreshable_access_token_lifetime_ms
            refresh_nid = refresh_tokens.create(
                tx, token_hash(prepared.refresh_token), user_nid, device_nid,
                _until(prepared, self._lifetimes.refresh_token_lifetime_ms), prepared.session_until_ts, replaces,
            )
        valid_until_ts = _until(prepared, lifetime)
        access_tokens.create(
            tx, token_hash(prepared.access_token), user_nid, device_nid, prepared.now_ms, valid_until_ts, refresh_nid
        )
        return valid_until_ts

    async def refresh(self, refresh_token: str) -> Session:
        """New tokens for a refresh token; raises M_UNKNOWN_TOKEN or M_USER_LOCKED.

        The old refresh token stays valid until one of the new tokens is used, so a client that lost the answer can
        repeat the request. The old access token lives on for its few minutes.
        """
        now_ms = self._clock.now_ms()
        access_token, new_refresh_token = self._tokens.access_token(), self._tokens.refresh_token()

        def refresh(tx: Transaction) -> Session:
            old = refresh_tokens.by_hash(tx, token_hash(refresh_token))
            if old is None:
                raise MatrixError(401, "M_UNKNOWN_TOKEN", "The refresh token is not known, or was used already.")
            _check(old, now_ms)
            refresh_tokens.used(tx, old.refresh_nid)
            prepared = Prepared(
                SessionRequest(), old.device_id, access_token, new_refresh_token, now_ms, old.session_until_ts
            )
            valid_until_ts = self._store_tokens(tx, old.user_nid, old.device_nid, prepared, old.refresh_nid)
            return prepared.session(old.user_id, valid_until_ts)

        return await self._database.write(refresh)


def _check(token: RefreshToken, now_ms: int) -> None:
    if token.is_locked:
        raise MatrixError(401, "M_USER_LOCKED", "This account has been locked.", soft_logout=True)
    if min(token.valid_until_ts or now_ms + 1, token.session_until_ts or now_ms + 1) <= now_ms:
        raise MatrixError(401, "M_UNKNOWN_TOKEN", "The session has expired: log in again.", soft_logout=True)


def _until(prepared: Prepared, lifetime_ms: int | None) -> int | None:
    """The end of what begins now, if it ends: of itself, or with the session."""
    ends = [prepared.session_until_ts, None if lifetime_ms is None else prepared.now_ms + lifetime_ms]
    return min((end for end in ends if end is not None), default=None)
