"""How a server's name leads to places: the steps that discovery made, each with what it means."""

from matrixd.core.identifiers import parse_server_name
from matrixd.net.check.report import Notes
from matrixd.net.check.subject import Subject
from matrixd.net.check.tools import Tools
from matrixd.net.errors import RemoteError
from matrixd.net.route import Outcome, Route, Step, StepKind
from matrixd.net.well_known import WellKnown


async def find(tools: Tools, subject: Subject, notes: Notes) -> Route | None:
    """The way to the server; None if there is none."""
    steps: list[Step] = []
    route = None
    try:
        route = await tools.discovery.find(subject.server_name, steps)
    except RemoteError as error:
        notes.failure(
            "route", subject.server_name, f"There is no way to the server: {error.error}.",
            "A server name is a host name with an optional port, as it stands behind the colon of user IDs. If its "
            "SRV record has the target '.', remove the record.",
        )  # fmt: skip
    for step in steps:
        if step.kind is StepKind.WELL_KNOWN:
            # Not fetched again: it is remembered.
            said = await tools.well_knowns.of(parse_server_name(subject.server_name).host)
            _tell_well_known(subject, step.subject, said, notes)
        else:
            _tell_step(step, notes)
    if route is not None:
        places = ", ".join(f"{place.host} port {place.port}" for place in route.places)
        notes.ok("route", subject.server_name, f"Other servers go to {places}, and expect TLS for {route.tls_name}.")
    return route


def _tell_step(step: Step, notes: Notes) -> None:
    kind = step.kind.value
    if step.kind in (StepKind.LITERAL, StepKind.PORT):
        notes.ok(kind, step.subject, f"The name itself says where: {step.detail}.")
    elif step.kind is StepKind.DEFAULT:
        notes.ok(kind, step.subject, f"Nothing says otherwise, so other servers try {step.detail}.")
    elif step.outcome is Outcome.FOUND and step.kind is StepKind.SRV_DEPRECATED:
        notes.warning(
            kind, step.subject, f"The record leads to {step.detail}, but its kind is deprecated.",
            f"Make the same record under the name _matrix-fed._tcp{step.subject.removeprefix('_matrix._tcp')}.",
        )  # fmt: skip
    elif step.outcome is Outcome.FOUND:
        notes.ok(kind, step.subject, f"The record leads to {step.detail}.")
    elif step.outcome is Outcome.NONE:
        notes.ok(kind, step.subject, "There is no such record, and none is needed.")
    else:
        notes.warning(
            kind, step.subject, f"The record could not be looked up: {step.detail}.",
            "Ask the DNS yourself, `dig SRV " + step.subject + "`, and whoever runs the domain's name servers. Other "
            "servers go on without the record, but late.",
        )  # fmt: skip


def _tell_well_known(subject: Subject, url: str, said: WellKnown, notes: Notes) -> None:
    way = f" (after {len(said.urls) - 1} redirects, from {said.urls[-1]})" if len(said.urls) > 1 else ""
    if said.server is not None:
        notes.ok("well_known", url, f"The file sends other servers to {said.server}{way}.")
    elif said.status == 404:
        notes.ok("well_known", url, f"There is no such file{way}: other servers go by the DNS, and to port 8448.")
    elif not said.is_definite and said.status is None:
        # A domain without a web server is no fault.
        notes.warning(
            "well_known", url, f"The file cannot be fetched: {said.problem}. Other servers go on with the DNS.",
            "Nothing is to be done if the server is reached by an SRV record or on port 8448. Else let the web server "
            f"of {subject.server_name} answer on port 443, with a certificate for that name.",
        )  # fmt: skip
    elif said.status is not None and said.status >= 500:
        notes.failure(
            "well_known", url, f"The web server cannot serve the file: {said.problem}. Other servers do without it.",
            "If a reverse proxy passes the request on, what it passes it to does not answer: is the homeserver "
            f"running? nginx: {subject.nginx}",
        )  # fmt: skip
    else:
        notes.failure(
            "well_known", url, f"The file is of no use{way}: {said.problem}. Other servers do without it.",
            f"Let it have exactly this content: {_example(subject)} - in nginx: location = /.well-known/matrix/server "
            f"{{ default_type application/json; return 200 '{_example(subject)}'; }} - or take it away, so that the "
            "status is 404.",
        )  # fmt: skip


def _example(subject: Subject) -> str:
    return f'{{"m.server": "{parse_server_name(subject.server_name).host}:443"}}'
