"""What a homeserver answers on a connection: its keys, signed requests, paths that must not change, its clock."""

from matrixd.core.errors import SignatureInvalid
from matrixd.core.server_keys import ServerKeys
from matrixd.net.check.connections import Working, proxy_cure
from matrixd.net.check.fetching import Fetched
from matrixd.net.check.report import Notes
from matrixd.net.check.subject import OwnServer, Subject
from matrixd.net.check.tools import Tools
from matrixd.net.errors import RemoteError
from matrixd.net.paths import path_of, target_of
from matrixd.net.route import Route

_KEYS = "/_matrix/key/v2/server"
_HOUR_MS = 60 * 60 * 1000
#: How far clocks may be apart, in seconds: beyond the first users see it, beyond the second keys and calls fail.
CLOCK_WARNING_S, CLOCK_FAILURE_S = 30, 15 * 60


class ServerApi:
    """Asks on one connection, one request after the other."""

    def __init__(self, tools: Tools, subject: Subject, route: Route, working: Working, notes: Notes) -> None:
        self._tools = tools
        self._subject = subject
        self._route = route
        self._working = working
        self._notes = notes

    async def check(self) -> None:
        """Ask all of it; ends early if the connection is lost."""
        try:
            await self._keys()
            if await self._signed():
                await self._encoded()
        except RemoteError as error:
            self._notes.failure(
                "connection", self._working.where, f"An answer did not come: {error.error}.",
                "See the logs of the reverse proxy and of the homeserver.",
            )  # fmt: skip
        finally:
            self._working.connection.abort_now()
        tell_clock(self._subject, self._working.first, self._working.where, self._notes)

    async def _get(self, target: str, *, is_signed: bool = False) -> Fetched:
        name = self._subject.server_name
        headers = {}
        if is_signed and self._subject.sign is not None:
            headers["Authorization"] = self._subject.sign(name, "GET", target, None)[0].decode("latin-1")
        return await self._tools.fetcher.ask(
            self._working.connection, name, self._route.host_header, target, headers
        )

    # ---- keys --------------------------------------------------------------------------------------------------------

    async def _keys(self) -> None:
        fetched, now = await self._get(_KEYS), self._tools.clock.now_ms()
        content = fetched.json
        if fetched.answer.status != 200 or not isinstance(content, dict):
            self._notes.failure(
                "keys", _KEYS, f"The keys cannot be had: {fetched.told()}. Nobody can verify what the server sends.",
                proxy_cure(self._subject, fetched),
            )  # fmt: skip
            return
        try:
            keys = ServerKeys.from_response(content, self._subject.server_name, now)
        except SignatureInvalid as error:
            self._notes.failure(
                "keys", _KEYS, f"The keys are of no use: {error}.",
                "The port must lead to the homeserver whose `server_name` is exactly "
                f"{self._subject.server_name}; a name can never be changed afterwards.",
            )  # fmt: skip
            return
        current = [key_id for key_id, key in keys.keys.items() if key.expired_ts is None]
        if keys.valid_until_ts <= now:
            self._notes.failure(
                "keys", _KEYS, f"The keys {', '.join(current)} are not valid any more, says the server itself.",
                "Set the clock of the homeserver's machine, for example with `timedatectl set-ntp true`, and restart "
                "the homeserver. If a cache stands before it, it must not keep this answer.",
            )  # fmt: skip
            return
        hours = (keys.valid_until_ts - now) / _HOUR_MS
        self._notes.ok(
            "keys", _KEYS, f"It publishes {', '.join(current)}, signed by itself, valid for {hours:.0f} hours more."
        )
        if self._subject.own is not None:
            self._own_keys(self._subject.own, keys)

    def _own_keys(self, own: OwnServer, published: ServerKeys) -> None:
        if not own.keys:
            self._notes.skipped("own_key", "signing_key_path", "The key file cannot be read by this command.")
            return
        wrong = [
            key_id
            for key_id, key in own.keys.items()
            if key_id not in published.keys or published.keys[key_id].to_base64() != key
        ]
        if not wrong:
            self._notes.ok("own_key", "signing_key_path", "What it publishes is the key of this configuration.")
            return
        self._notes.failure(
            "own_key", "signing_key_path",
            f"The key {', '.join(wrong)} of this configuration is not the one that {self._subject.server_name} "
            "publishes: what this server signs, others refuse.",
            "If the key was changed, `synctl restart`. If another homeserver answers for the name, stop it or lead the "
            "name here. If the key file was lost, put the old one back from the backup.",
        )  # fmt: skip

    # ---- signed requests ---------------------------------------------------------------------------------------------

    async def _signed(self) -> bool:
        """Whether the server believed a signature."""
        if self._subject.sign is None:
            self._notes.skipped("signed_request", "X-Matrix", "Without the signing key nothing can be signed.")
            return False
        user_id = f"@matrixd-check:{self._subject.server_name}"
        target = target_of("/_matrix/federation/v1/query/profile", [("user_id", user_id)])
        fetched = await self._get(target, is_signed=True)
        if self._is_believed(fetched):
            self._notes.ok("signed_request", "X-Matrix", "It believes a request that this server has signed.")
            return True
        status, errcode = fetched.answer.status, fetched.errcode
        if errcode is None:
            cure = proxy_cure(self._subject, fetched)
        elif status == 401 and self._subject.own is not None:
            cure = (
                "The reverse proxy must pass on the header Authorization, the path and the query as they came. nginx: "
                f"{self._subject.nginx}"
            )
        elif status == 401:
            cure = (
                "The other server verifies our signature with the key that it fetches from us. Run `synctl check` "
                "without a name: most likely it cannot reach this server."
            )
        else:
            cure = "The other server may talk only to some servers: ask its administrator."
        self._notes.failure("signed_request", "X-Matrix", f"A signed request is refused: {fetched.told()}.", cure)
        return False

    async def _encoded(self) -> None:
        """A path whose segment has encoded characters must arrive as it was sent, or its signature is wrong."""
        target = path_of("/_matrix/federation/v1/event/{}", f"$matrixd/check%+:{self._subject.server_name}")
        fetched = await self._get(target, is_signed=True)
        if self._is_believed(fetched) or (self._subject.own is None and fetched.errcode == "M_INVALID_PARAM"):
            self._notes.ok("encoded_path", "…/event/%24matrixd%2Fcheck%25…", "Encoded paths arrive as they were sent.")
            return
        self._notes.failure(
            "encoded_path", "…/event/%24matrixd%2Fcheck%25…",
            f"A path with %-encoded characters does not arrive as it was sent: {fetched.told()}. Requests about such "
            "rooms, events and aliases fail.",
            "The reverse proxy decodes the path. nginx: nothing after the port in `proxy_pass`, no `rewrite`: "
            f"{self._subject.nginx} - Apache: `AllowEncodedSlashes NoDecode` and `ProxyPass … nocanon`.",
        )  # fmt: skip

    def _is_believed(self, fetched: Fetched) -> bool:
        status, errcode = fetched.answer.status, fetched.errcode
        if self._subject.own is not None:
            # Who signs as the server itself is known, and refused after that.
            return status == 403 and errcode == "M_FORBIDDEN"
        if errcode in ("M_UNRECOGNIZED", "M_UNAUTHORIZED", "M_MISSING_TOKEN", "M_UNKNOWN_TOKEN") or status == 401:
            return False
        return status == 200 or errcode is not None


def tell_clock(subject: Subject, fetched: Fetched, where: str, notes: Notes, check: str = "clock") -> None:
    """Compares the clocks of both sides."""
    ahead_s = fetched.clock_ahead_s
    if ahead_s is None:
        notes.skipped(check, where, "The answer has no header Date: its clock is not known.")
        return
    apart_s = abs(ahead_s)
    if apart_s < CLOCK_WARNING_S:
        notes.ok(check, where, "Its clock and this machine's agree.")
        return
    how = f"Its clock is {_span(apart_s)} {'ahead of' if ahead_s > 0 else 'behind'} this machine's."
    cure = (
        "One of the two is wrong. On each machine: `timedatectl` shows the time, `timedatectl set-ntp true` sets it "
        "and keeps it right."
    )
    if apart_s < CLOCK_FAILURE_S:
        notes.warning(check, where, f"{how} Messages stand in the wrong order for people.", cure)
    else:
        notes.failure(check, where, f"{how} Keys, certificates and the credentials for calls fail by that.", cure)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
