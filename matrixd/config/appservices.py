"""Application services, each registered by a YAML file of its own (Application Service API, "Registration")."""

from dataclasses import dataclass, field
from pathlib import Path

from matrixd.config.faults import Findings, Place
from matrixd.config.options import Options
from matrixd.config.values import boolean, each, http_url, path, regex, text
from matrixd.config.yaml_tree import read_yaml


@dataclass(frozen=True, slots=True)
class Namespace:
    """IDs that a service is interested in."""

    regex: str
    exclusive: bool
    """Whether nobody else may make such an ID."""


@dataclass(frozen=True, slots=True)
class Appservice:
    """One service's registration."""

    id: str
    url: str | None
    """Where transactions are sent; None for nowhere."""
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)
    sender_localpart: str
    users: tuple[Namespace, ...]
    rooms: tuple[Namespace, ...]
    aliases: tuple[Namespace, ...]
    rate_limited: bool
    protocols: tuple[str, ...]
    receive_ephemeral: bool


def read(options: Options) -> tuple[Appservice, ...]:
    """Reads `app_service_config_files` and the files; `id` and `as_token` must differ between them."""
    files = options.read("app_service_config_files", each(path), ())
    if not options.findings.read_files:
        return ()
    services = [service for file in files if (service := _read_file(file, options.findings))]
    for attribute in ("id", "as_token"):
        if len({getattr(service, attribute) for service in services}) < len(services):
            cure = "Give each service its own, or list each file once."
            options.wrong("app_service_config_files", f"has two services with the same `{attribute}`.", cure)
    return tuple(services)


def _read_file(file: Path, findings: Findings) -> Appservice | None:
    faults = len(findings.faults)
    tree = read_yaml(file, findings)
    if tree is None:
        return None
    options = Options(findings, tree.data, Place(file, 1))
    namespaces = options.section("namespaces")
    cure = "Look into the documentation of the service; it usually makes this file itself."
    service = Appservice(
        id=options.required("id", text, "", cure),
        url=options.read("url", http_url, None),
        as_token=options.required("as_token", text, "", cure),
        hs_token=options.required("hs_token", text, "", cure),
        sender_localpart=options.required("sender_localpart", text, "", cure),
        users=namespaces.sections("users", _namespace),
        rooms=namespaces.sections("rooms", _namespace),
        aliases=namespaces.sections("aliases", _namespace),
        rate_limited=options.read("rate_limited", boolean, True),
        protocols=options.read("protocols", each(text), ()),
        receive_ephemeral=options.read("receive_ephemeral", boolean, False),
    )
    return service if len(findings.faults) == faults else None


def _namespace(options: Options) -> Namespace:
    cure = "Write a regular expression, for example `@_irc_.*:example\\.com`."
    return Namespace(options.required("regex", regex, "", cure), options.read("exclusive", boolean, False))
