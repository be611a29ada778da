"""The keys that the server signs with, and whom it asks for other servers' keys."""

import binascii
from dataclasses import dataclass, field
from pathlib import Path

import signedjson.key
from signedjson.types import SigningKey

from matrixd.config.options import Options
from matrixd.config.server_name import remote_server_name
from matrixd.config.values import boolean, by_key, duration_ms, integer, path, section, text, wrong
from matrixd.config.yaml_tree import Value

DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class OldSigningKey:
    """A key that the server no longer signs with; others still check old events with it."""

    key_id: str
    """`ed25519:…`"""
    key: str
    """The public key, unpadded base64."""
    expired_ts: int
    """When it was last used, in milliseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class TrustedKeyServer:
    """A notary that is asked for other servers' keys."""

    server_name: str
    verify_keys: dict[str, str]
    """Keys that its answers must be signed with, public base64 by key ID; empty to trust its TLS certificate."""
    accept_keys_insecurely: bool


@dataclass(frozen=True, slots=True)
class KeysConfig:
    """The server's keys."""

    signing_key_path: Path
    signing_keys: tuple[SigningKey, ...] = field(repr=False)
    """The keys of that file; the first one signs. Empty only if the configuration was loaded without files."""
    old_signing_keys: tuple[OldSigningKey, ...]
    key_refresh_interval_ms: int
    """How long others may keep our keys before they ask again."""
    trusted_key_servers: tuple[TrustedKeyServer, ...]


def read(options: Options, name: str, directory: Path) -> KeysConfig:
    """Reads the section; the key file is by default `<name>.signing.key` in `directory`."""
    file = options.read("signing_key_path", path, directory / f"{name}.signing.key")
    options.read("suppress_key_server_warning", boolean, False)
    servers: tuple[TrustedKeyServer, ...] = (TrustedKeyServer("matrix.org", {}, False),)
    if options.value("trusted_key_servers"):
        servers = options.sections("trusted_key_servers", _trusted)
    return KeysConfig(
        signing_key_path=file,
        signing_keys=_read_keys(options, file) if options.findings.read_files else (),
        old_signing_keys=tuple(options.read("old_signing_keys", _old_keys, {}).values()),
        key_refresh_interval_ms=options.read("key_refresh_interval", duration_ms(minimum=60_000), DAY_MS),
        trusted_key_servers=servers,
    )


def _read_keys(options: Options, file: Path) -> tuple[SigningKey, ...]:
    cure = "Make one: matrixd -c homeserver.yaml --generate-keys, or generate_signing_key -o FILE."
    try:
        lines = [line for line in file.read_text(encoding="ascii").splitlines() if line.strip()]
        keys = tuple(signedjson.key.read_signing_keys(lines))
    except OSError as error:
        options.wrong("signing_key_path", f"{file} cannot be read: {error.strerror}.", cure)
        return ()
    except (ValueError, binascii.Error):
        options.wrong("signing_key_path", f"{file} is not a signing key.", "A line is `ed25519 ID BASE64SEED`.")
        return ()
    if not keys:
        options.wrong("signing_key_path", f"{file} is empty.", cure)
    elif file.stat().st_mode & 0o077:
        options.findings.warnings.append(f"Others can read the signing key: run `chmod 600 {file}`.")
    return keys


def _old_keys(value: Value) -> dict[str, OldSigningKey]:
    parsed = by_key(_old_key)(value)
    return {key_id: OldSigningKey(key_id, key, expired) for key_id, (key, expired) in parsed.items()}


def _old_key(value: Value) -> tuple[str, int]:
    fields = section(value)
    for name in ("key", "expired_ts"):
        if name not in fields:
            raise wrong(value, f"has no `{name}`.", "Write `{ key: PUBLICKEY, expired_ts: MILLISECONDS }`.")
    return _public_key(fields["key"]), integer(minimum=0)(fields["expired_ts"])


def _public_key(value: Value) -> str:
    key = text(value)
    try:
        signedjson.key.decode_verify_key_base64("ed25519", "x", key)
    except (ValueError, TypeError, binascii.Error):
        raise wrong(value, "is not an Ed25519 public key.", "Write its 43 characters of base64.") from None
    return key


def _trusted(options: Options) -> TrustedKeyServer:
    return TrustedKeyServer(
        server_name=options.required(
            "server_name", remote_server_name, "localhost", "Name the server, such as `matrix.org`."
        ),
        verify_keys=options.read("verify_keys", by_key(_public_key), {}),
        accept_keys_insecurely=options.read("accept_keys_insecurely", boolean, False),
    )
