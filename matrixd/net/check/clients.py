"""What clients meet: how they find the server, the headers that browsers need, and which address the server sees."""

from typing import Any
from urllib.parse import urlsplit

from matrixd.core.identifiers import parse_server_name
from matrixd.net.check.connections import proxy_cure
from matrixd.net.check.fetching import Fetched, printable
from matrixd.net.check.report import Notes
from matrixd.net.check.subject import Subject
from matrixd.net.check.tools import Tools, is_loopback, is_private
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.route import bracketed

#: Tells who asks, as the server sees it; of matrixd only.
SEEN = "/_matrix/client/unstable/org.matrixd.check/seen"
#: An address that nobody has (RFC 5737): whoever believes it, believes anybody.
FORGED = "192.0.2.77"
_CORS = b"access-control-allow-origin"


class Clients:
    """Looks with a client's eyes."""

    def __init__(self, tools: Tools, subject: Subject, notes: Notes) -> None:
        self._tools = tools
        self._subject = subject
        self._notes = notes

    async def check(self) -> None:
        """All of it."""
        found = await self._well_known()
        own = self._subject.own
        base = found if own is None or own.public_baseurl is None else own.public_baseurl
        if own is not None and own.public_baseurl is None:
            self._notes.warning(
                "public_baseurl", "homeserver.yaml", "`public_baseurl` is not set: users must know the server's URL.",
                f"Write for example `public_baseurl: https://{self._subject.server_name.partition(':')[0]}/`.",
            )  # fmt: skip
        if base is None:
            self._notes.skipped("versions", "/_matrix/client/versions", "The URL for clients is not known.")
            return
        if own is not None and found is not None and found.rstrip("/") != base.rstrip("/"):
            self._notes.failure(
                "base_url", "m.homeserver", f"The well-known file sends clients to {found}, not to {base}.",
                "Correct `public_baseurl`, or the file that the web server serves instead of matrixd's.",
            )  # fmt: skip
        if await self._versions(base) and own is not None:
            await self._seen(base)

    async def _well_known(self) -> str | None:
        """The URL that the server's name leads clients to; None if it does not."""
        host = parse_server_name(self._subject.server_name).host
        url = f"https://{bracketed(host)}/.well-known/matrix/client"
        try:
            fetched = await self._tools.fetcher.get(url)
        except RemoteError as error:
            self._notes.warning("well_known_client", url, f"It cannot be fetched: {error.error}.", self._client_cure())
            return None
        content: Any = fetched.json
        section = content.get("m.homeserver") if isinstance(content, dict) else None
        base = section.get("base_url") if isinstance(section, dict) else None
        if fetched.answer.status != 200:
            self._notes.warning(
                "well_known_client", url, f"It is not to be had ({fetched.told()}): users must know the server's URL.",
                self._client_cure(),
            )  # fmt: skip
            return None
        if not isinstance(base, str) or urlsplit(base).scheme not in ("http", "https"):
            self._notes.failure(
                "well_known_client", url, f"The file names no m.homeserver with a base_url: {fetched.told()}.",
                self._client_cure(),
            )  # fmt: skip
            return None
        if not self._has_cors(fetched, url):
            return base
        self._notes.ok("well_known_client", url, f"The file sends clients to {printable(base)}.")
        return base

    def _client_cure(self) -> str:
        return (
            f"Set `public_baseurl`, and let https://{parse_server_name(self._subject.server_name).host}/.well-known/"
            f"matrix/client lead to matrixd, which then serves it. nginx: {self._subject.nginx}"
        )

    def _has_cors(self, fetched: Fetched, url: str) -> bool:
        values = fetched.answer.headers.getRawHeaders(_CORS) or []
        if values == [b"*"]:
            return True
        if len(values) > 1:
            self._notes.failure(
                "cors", url, "The header Access-Control-Allow-Origin is there twice: clients in browsers refuse that.",
                "Take `add_header Access-Control-Allow-Origin` out of the reverse proxy: matrixd sends it itself.",
            )  # fmt: skip
        else:
            self._notes.failure(
                "cors", url, "The header Access-Control-Allow-Origin: * is missing: clients in browsers refuse that.",
                "If the web server serves the file itself, in nginx: `add_header Access-Control-Allow-Origin *;`. Else "
                "it must not take away the headers that matrixd sends.",
            )  # fmt: skip
        return False

    async def _versions(self, base: str) -> bool:
        url = f"{base.rstrip('/')}/_matrix/client/versions"
        if urlsplit(base).scheme == "http":
            self._notes.warning(
                "https", base, "Clients are to come without TLS: others can read passwords and messages.",
                "Fine for a trial on one machine. Else let a reverse proxy speak TLS, and write https:// into "
                "`public_baseurl`.",
            )  # fmt: skip
        try:
            fetched = await self._tools.fetcher.get(url)
        except RemoteError as error:
            self._notes.failure(
                "versions", url, f"Clients get no answer: {error.error}.",
                "See above what is said of the certificate." if error.kind is FailureKind.TLS
                else "`public_baseurl` must be a URL at which this server answers, from everywhere.",
            )  # fmt: skip
            return False
        content = fetched.json
        if fetched.answer.status != 200 or not isinstance(content, dict) or "versions" not in content:
            self._notes.failure(
                "versions", url, f"This is not answered by a homeserver: {fetched.told()}.",
                proxy_cure(self._subject, fetched),
            )  # fmt: skip
            return False
        if self._has_cors(fetched, url):
            self._notes.ok("versions", url, "Clients get an answer.")
        return True

    async def _seen(self, base: str) -> None:
        """Which address the server takes for ours, when we claim one that is not."""
        url = f"{base.rstrip('/')}{SEEN}"
        try:
            fetched = await self._tools.fetcher.get(url, {"X-Forwarded-For": FORGED})
        except RemoteError as error:
            self._notes.skipped("client_address", url, f"The server does not say whom it sees: {error.error}.")
            return
        content = fetched.json
        seen = content.get("client_ip") if isinstance(content, dict) else None
        if fetched.answer.status != 200 or not isinstance(seen, str):
            self._notes.skipped("client_address", url, f"The server does not say whom it sees: {fetched.told()}.")
            return
        self._tell_seen(url, printable(seen), fetched.own_address)

    def _tell_seen(self, url: str, seen: str, ours: str) -> None:
        header = "nginx: `proxy_set_header X-Forwarded-For $remote_addr;`"
        if seen == FORGED:
            self._notes.failure(
                "client_address", url, "The server believes any X-Forwarded-For that a client sends: whoever likes can "
                "evade the rate limits, or use up those of others.",
                f"The reverse proxy must set the header itself. {header}",
            )  # fmt: skip
        elif seen.removeprefix("::ffff:") == ours.removeprefix("::ffff:"):
            self._notes.ok("client_address", url, "The server sees the addresses of clients.")
        elif _is_proxy(seen):
            self._notes.warning(
                "client_address", url, f"The server sees {seen} where {ours} asks. If that is the reverse proxy, all "
                "clients share one rate limit; if it is your router, nothing is wrong.",
                f"{header} - and in homeserver.yaml, in the listener: `x_forwarded: true` with `trusted_proxies: "
                f"[{seen}]`.",
            )  # fmt: skip
        else:
            # Behind a router the outside address stands for ours.
            self._notes.ok("client_address", url, f"The server sees this machine as {seen}.")


def _is_proxy(address: str) -> bool:
    try:
        return is_loopback(address) or is_private(address)
    except ValueError:
        return True
