"""What another server sees of us: a notary fetches our keys anew, and its clock is compared with ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.core.errors import SignatureInvalid
from matrixd.core.server_keys import ServerKeys
from matrixd.net.check.report import Notes
from matrixd.net.check.server_api import tell_clock
from matrixd.net.check.subject import OwnServer, Subject
from matrixd.net.check.tools import Tools
from matrixd.net.errors import RemoteError
from matrixd.net.paths import path_of, target_of

#: An answer with which the notary must have come to us within this time.
_FRESH_MS = 10 * 60 * 1000
#: Notaries that are asked.
_MAX_NOTARIES = 2


@dataclass(slots=True)
class Seen:
    """Whether a notary has just reached us."""

    is_reached: bool = False


async def ask_notaries(tools: Tools, subject: Subject, own: OwnServer, notes: Notes) -> Seen:
    """Asks the trusted key servers."""
    seen = Seen()
    if not own.notaries:
        notes.skipped("notary", "trusted_key_servers", "No other server is named that could be asked what it sees.")
    for notary in own.notaries[:_MAX_NOTARIES]:
        try:
            seen.is_reached |= await _ask(tools, subject, own, notary, notes)
        except RemoteError as error:
            notes.skipped("notary", notary, f"It could not be asked what it sees of us: {error.error}.")
    return seen


async def _ask(tools: Tools, subject: Subject, own: OwnServer, notary: str, notes: Notes) -> bool:
    wanted_ts = tools.clock.now_ms() + own.key_refresh_interval_ms - _FRESH_MS
    path = path_of("/_matrix/key/v2/query/{}", subject.server_name)
    route = await tools.discovery.find(notary)
    connection = await tools.connector.connect(route)
    try:
        fetched = await tools.fetcher.ask(
            connection,
            notary,
            route.host_header,
            target_of(path, [("minimum_valid_until_ts", str(wanted_ts))]),
        )
    finally:
        connection.abort_now()
    tell_clock(subject, fetched, notary, notes, "notary_clock")
    content: Any = fetched.json
    found = content.get("server_keys") if isinstance(content, dict) else None
    if fetched.answer.status != 200 or not isinstance(found, list):
        notes.skipped("notary", notary, f"It does not tell what it sees of us: {fetched.told()}.")
        return False
    if _is_fresh(found, subject.server_name, wanted_ts, tools.clock.now_ms()):
        notes.ok("notary", notary, "It has just fetched our keys: from there this server can be reached.")
        return True
    notes.warning(
        "notary", notary, "It could not fetch our keys just now: from there this server cannot be reached.",
        "If everything above is well, it may be that it tried in vain before and now waits some hours before it tries "
        "again. Check again then.",
    )  # fmt: skip
    return False


def _is_fresh(found: Sequence[Any], server_name: str, wanted_ts: int, now: int) -> bool:
    for response in found[:10]:
        try:
            keys = ServerKeys.from_response(response, server_name, now)
        except (SignatureInvalid, AttributeError):
            continue
        if keys.valid_until_ts >= wanted_ts:
            return True
    return False
