"""Whether the server runs: its own listeners are asked on this machine, past every proxy."""

from twisted.internet.defer import Deferred, gatherResults

from matrixd.config.listeners import Listener
from matrixd.net.check.fetching import Fetched, Fetcher, url_of
from matrixd.net.check.report import Notes
from matrixd.net.check.subject import OwnServer
from matrixd.net.check.tools import Tools
from matrixd.net.errors import RemoteError

#: What is asked of a listener, by the resource that it serves.
_ASKED = (("client", "/_matrix/client/versions"), ("federation", "/_matrix/federation/v1/version"))


async def check_listeners(tools: Tools, own: OwnServer, notes: Notes) -> None:
    """Asks each listener that has a port."""
    fetcher = Fetcher(tools.unverified, tools.clock, tools.reactor)
    await gatherResults(
        [Deferred.fromCoroutine(_check(fetcher, listener, notes)) for listener in own.listeners], consumeErrors=True
    )
    served = {resource for listener in own.listeners for resource in listener.resources}
    for resource in ("client", "federation"):
        if resource not in served:
            notes.warning(
                "resources", "homeserver.yaml", f"No listener serves `{resource}`.",
                f"Write `{resource}` into the `names` of a listener's `resources` in homeserver.yaml.",
            )  # fmt: skip


async def _check(fetcher: Fetcher, listener: Listener, notes: Notes) -> None:
    if listener.path is not None:
        notes.skipped("listener", str(listener), "A Unix socket is not asked directly; what passes on to it is, below.")
        return
    path = next((path for resource, path in _ASKED if resource in listener.resources), None)
    if listener.port is None or path is None:
        return
    base = url_of(listener.local_host.strip("[]"), listener.port, is_tls=listener.tls)
    try:
        _judge(base, await fetcher.get(f"{base}{path}"), notes)
    except RemoteError as error:
        notes.failure(
            "listener", base, f"The server does not answer on this machine, it seems not to run: {error.error}.",
            "`synctl start` starts it, and tells why if it does not start. What is said below is then only about "
            "what stands before it.",
        )  # fmt: skip
    if not listener.is_local and not listener.tls and not listener.x_forwarded and "client" in listener.resources:
        notes.warning(
            "plain_http", str(listener), "Clients on other machines can come here without TLS: passwords can be read.",
            "Behind a reverse proxy on this machine write `bind_addresses: [127.0.0.1]` and `x_forwarded: true` into "
            "the listener; without one, `tls: true`.",
        )  # fmt: skip


def _judge(base: str, fetched: Fetched, notes: Notes) -> None:
    content = fetched.json
    if fetched.answer.status == 200 and isinstance(content, dict) and ("versions" in content or "server" in content):
        notes.ok("listener", base, "The server runs, and answers on this machine.")
        return
    notes.failure(
        "listener", base, f"Something else answers on the server's port: {fetched.told()}.",
        "Stop the other program, or give matrixd another `port` in homeserver.yaml.",
    )  # fmt: skip
