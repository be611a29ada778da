"""Deleting what of the accounts' data has had its time: a job for each minute."""

from matrixd.services.devices import Devices
from matrixd.storage import access_tokens, devices, login_tokens, openid_tokens, refresh_tokens, uia_sessions
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

#: How long an expired access token is remembered, so that its client is told to refresh and not that it is logged out.
_EXPIRED_TOKENS_KEPT_MS = 7 * 24 * 60 * 60 * 1000
#: Sessions of user-interactive authentication that are kept: each is a few kilobytes at most.
_MAX_UIA_SESSIONS = 20_000
_HOUR_MS = 60 * 60 * 1000


class AccountExpiry:
    """`user_ips_max_age_ms`: how long addresses are kept; `delete_stale_devices_after_ms`: unused devices."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        devices: Devices,
        user_ips_max_age_ms: int | None,
        delete_stale_devices_after_ms: int | None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._devices = devices
        self._user_ips_max_age_ms = user_ips_max_age_ms
        self._delete_stale_devices_after_ms = delete_stale_devices_after_ms
        self._next_hourly = 0

    async def run(self) -> None:
        """Delete what has expired; to be called each minute."""
        now_ms = self._clock.now_ms()
        await self._database.write(_expire, now_ms)
        if now_ms >= self._next_hourly:
            self._next_hourly = now_ms + _HOUR_MS
            await self._hourly(now_ms)

    async def _hourly(self, now_ms: int) -> None:
        await self._database.write(devices.expire)
        if self._user_ips_max_age_ms is not None:
            await self._database.write(devices.forget_addresses, now_ms - self._user_ips_max_age_ms)
        if self._delete_stale_devices_after_ms is not None:
            await self._devices.delete_stale(now_ms - self._delete_stale_devices_after_ms)


def _expire(tx: Transaction, now_ms: int) -> None:
    access_tokens.expire(tx, now_ms - _EXPIRED_TOKENS_KEPT_MS)
    refresh_tokens.expire(tx, now_ms - _EXPIRED_TOKENS_KEPT_MS)
    login_tokens.expire(tx, now_ms)
    openid_tokens.expire(tx, now_ms)
    uia_sessions.expire(tx, now_ms, _MAX_UIA_SESSIONS)
