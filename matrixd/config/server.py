"""Who the server is, and where it can be reached."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matrixd.config.listeners import Listener
from matrixd.config.options import Options
from matrixd.config.server_name import server_name
from matrixd.config.values import anything, boolean, by_key, http_url, integer, path


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The server itself."""

    server_name: str
    """The part of every user ID behind the colon. It can never change."""
    public_baseurl: str | None
    """The URL that clients use, with a slash at its end; None if the admin has not said. Well-known is made from it."""
    pid_file: Path | None
    """Where the process writes its pid; its status file stands beside it, with `.status` for the suffix."""
    web_client_location: str | None
    """A web client's URL, to which `/` redirects; None for matrixd's own page."""
    serve_server_wellknown: bool
    """Whether `/.well-known/matrix/server` delegates federation to port 443."""
    extra_well_known_client_content: dict[str, Any] = field(default_factory=dict)
    """Keys that are added to `/.well-known/matrix/client`."""
    well_known_support: dict[str, Any] = field(default_factory=dict)
    """What `/.well-known/matrix/support` says: `contacts`, `support_page`; empty to serve none."""
    default_identity_server: str | None = None
    """The identity server named in `/.well-known/matrix/client`; None for none."""
    soft_file_limit: int = 0
    """The soft limit of open files to set; 0 for as many as the hard limit allows."""
    report_stats: bool = False
    """Read for the sake of old files: matrixd reports nothing to anybody."""
    enable_metrics: bool = False
    """Whether metrics are collected and served on listeners that have the `metrics` resource."""


def read(options: Options) -> ServerConfig:
    """Reads the section from the top level of the file."""
    url = options.read("public_baseurl", http_url, None)
    return ServerConfig(
        server_name=options.required("server_name", server_name, "localhost", "Write `server_name: example.com`."),
        public_baseurl=url.rstrip("/") + "/" if url else None,
        pid_file=options.read("pid_file", path, None),
        web_client_location=options.read("web_client_location", http_url, None),
        serve_server_wellknown=options.read("serve_server_wellknown", boolean, False),
        extra_well_known_client_content=options.read("extra_well_known_client_content", by_key(anything), {}),
        well_known_support=_support(options),
        default_identity_server=options.read("default_identity_server", http_url, None),
        soft_file_limit=options.read("soft_file_limit", integer(minimum=0), 0),
        report_stats=options.read("report_stats", boolean, False),
        enable_metrics=options.read("enable_metrics", boolean, False),
    )


def _support(options: Options) -> dict[str, Any]:
    support = options.read("well_known_support", by_key(anything), {})
    if support and not (support.get("contacts") or support.get("support_page")):
        options.wrong(
            "well_known_support",
            "has neither `contacts` nor `support_page`.",
            "Write `support_page: https://…`, or `contacts` with a `role` and an `email_address` or `matrix_id`.",
        )
    return support


def guessed_url(listeners: tuple[Listener, ...]) -> str | None:
    """A URL at which the client API can be reached from this machine, from the listeners; None if there is none."""
    for listener in listeners:
        if "client" in listener.resources and listener.port:
            return f"{'https' if listener.tls else 'http'}://{listener.local_host}:{listener.port}"
    return None
