"""Media, and the TURN server for calls."""

from dataclasses import dataclass, field
from pathlib import Path

from matrixd.config.accounts import secret_of_file
from matrixd.config.options import Options
from matrixd.config.values import boolean, duration_ms, each, path, size_bytes, text, wrong
from matrixd.config.yaml_tree import Value


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """The media repository."""

    enabled: bool
    store_path: Path
    """The directory of the files."""
    max_upload_bytes: int


@dataclass(frozen=True, slots=True)
class TurnConfig:
    """What `/voip/turnServer` answers: credentials from the shared secret, or a fixed user name and password."""

    uris: tuple[str, ...]
    """`turn:…` and `turns:…`; empty if there is no TURN server."""
    shared_secret: str | None = field(repr=False)
    username: str | None
    password: str | None = field(repr=False)
    user_lifetime_ms: int
    """How long credentials made from the shared secret are good for."""
    allow_guests: bool


def read_media(options: Options, directory: Path) -> MediaConfig:
    """Reads the options of media; the files lie by default in `media_store` in `directory`."""
    return MediaConfig(
        enabled=options.read("enable_media_repo", boolean, True),
        store_path=options.read("media_store_path", path, directory / "media_store"),
        max_upload_bytes=options.read("max_upload_size", size_bytes(minimum=1), 50 * 1024**2),
    )


def read_turn(options: Options) -> TurnConfig:
    """Reads `turn_…`."""
    secret = options.read("turn_shared_secret", text, None)
    file = options.read("turn_shared_secret_path", path, None)
    if file and secret is None:
        secret = secret_of_file(options, "turn_shared_secret_path", file)
    turn = TurnConfig(
        uris=options.read("turn_uris", each(_turn_uri), ()),
        shared_secret=secret,
        username=options.read("turn_username", text, None),
        password=options.read("turn_password", text, None),
        user_lifetime_ms=options.read("turn_user_lifetime", duration_ms(minimum=1000), 3600 * 1000),
        allow_guests=options.read("turn_allow_guests", boolean, True),
    )
    if turn.uris and not secret and not (turn.username and turn.password):
        cure = "Write `turn_shared_secret`, the same as in your TURN server, or `turn_username` and `turn_password`."
        options.wrong("turn_uris", "names a TURN server, but clients would get no credentials for it.", cure)
    return turn


def _turn_uri(value: Value) -> str:
    uri = text(value)
    if not uri.startswith(("turn:", "turns:", "stun:", "stuns:")):
        raise wrong(
            value, f"is `{uri}`, which is no TURN URI.", "Write for example `turn:turn.example.com?transport=udp`."
        )
    return uri
