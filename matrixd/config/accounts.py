"""Registration, passwords, sessions: how people get and keep an account."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from matrixd.config.options import Options
from matrixd.config.values import boolean, duration_ms, integer, path, text, text_or_empty

MINUTE_MS = 60_000
RegistrationMode = Literal["closed", "token", "open"]


@dataclass(frozen=True, slots=True)
class RegistrationConfig:
    """Who may make an account."""

    mode: RegistrationMode
    """`closed`: admins and the shared secret make accounts; `token`: registration tokens too; `open`: anybody."""
    shared_secret: str | None = field(repr=False)
    """The key of `/_synapse/admin/v1/register`; None switches that off."""
    allow_guest_access: bool
    inhibit_user_in_use_error: bool
    """Whether `/register/available` says of every name that it is free."""


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """What a new password must have."""

    enabled: bool
    minimum_length: int
    """Characters; 0 for no minimum."""
    require_digit: bool
    require_symbol: bool
    require_lowercase: bool
    require_uppercase: bool


@dataclass(frozen=True, slots=True)
class PasswordsConfig:
    """How passwords are used and kept."""

    enabled: bool
    """Whether `m.login.password` is offered."""
    bcrypt_rounds: int
    """The hash's cost: 2 to the power of this."""
    pepper: str = field(repr=False)
    """Added to every password before it is hashed; empty for none. It can never change."""
    policy: PasswordPolicy


@dataclass(frozen=True, slots=True)
class SessionsConfig:
    """How long sessions and tokens last. Milliseconds; None for ever."""

    session_lifetime_ms: int | None
    refreshable_access_token_lifetime_ms: int
    refresh_token_lifetime_ms: int | None
    nonrefreshable_access_token_lifetime_ms: int | None
    ui_auth_session_timeout_ms: int
    """How long one proof of who one is covers further actions; 0 for one action only."""
    login_via_existing_session: bool
    """Whether `/v1/login/get_token` is served."""
    login_token_requires_ui_auth: bool
    login_token_lifetime_ms: int
    user_ips_max_age_ms: int | None
    """How long addresses that users came from are kept."""
    delete_stale_devices_after_ms: int | None
    """After how long without use a device is logged out."""


def read_registration(options: Options) -> RegistrationConfig:
    """Reads the options of registration."""
    return RegistrationConfig(
        mode=_mode(options),
        shared_secret=_shared_secret(options),
        allow_guest_access=options.read("allow_guest_access", boolean, False),
        inhibit_user_in_use_error=options.read("inhibit_user_in_use_error", boolean, False),
    )


def _mode(options: Options) -> RegistrationMode:
    enabled = options.read("enable_registration", boolean, False)
    by_token = options.read("registration_requires_token", boolean, False)
    unverified = options.read("enable_registration_without_verification", boolean, False)
    if not enabled:
        return "closed"
    if by_token:
        return "token"
    if not unverified:
        options.wrong(
            "enable_registration",
            "is true and nothing verifies who registers: spammers find such servers within days.",
            "Write `registration_requires_token: true`, or, if you really want it, "
            "`enable_registration_without_verification: true`.",
        )
    return "open"


def _shared_secret(options: Options) -> str | None:
    secret = options.read("registration_shared_secret", text, None)
    file = options.read("registration_shared_secret_path", path, None)
    if file is None:
        return secret
    if secret is not None:
        cure = "Keep one of the two."
        options.wrong("registration_shared_secret_path", "stands beside `registration_shared_secret`.", cure)
    return secret_of_file(options, "registration_shared_secret_path", file)


def secret_of_file(options: Options, name: str, file: Path) -> str | None:
    """The one line of a file that holds a secret; None with a fault noted if it has none."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        options.wrong(name, f"{file} cannot be read: {reason}.", "Write the secret, and nothing else, into that file.")
        return None
    if not secret:
        options.wrong(name, f"{file} is empty.", "Write the secret into that file.")
    return secret or None


def read_passwords(options: Options) -> PasswordsConfig:
    """Reads `password_config` and `bcrypt_rounds`."""
    section = options.section("password_config")
    policy = section.section("policy")
    local = section.read("localdb_enabled", boolean, True)
    return PasswordsConfig(
        enabled=section.read("enabled", boolean, True) and local,
        bcrypt_rounds=options.read("bcrypt_rounds", integer(4, 31), 12),
        pepper=section.read("pepper", text_or_empty, ""),
        policy=PasswordPolicy(
            enabled=policy.read("enabled", boolean, False),
            minimum_length=policy.read("minimum_length", integer(0, 512), 0),
            require_digit=policy.read("require_digit", boolean, False),
            require_symbol=policy.read("require_symbol", boolean, False),
            require_lowercase=policy.read("require_lowercase", boolean, False),
            require_uppercase=policy.read("require_uppercase", boolean, False),
        ),
    )


def read_sessions(options: Options) -> SessionsConfig:
    """Reads the options of sessions and tokens."""
    ui_auth = options.section("ui_auth")
    login_token = options.section("login_via_existing_session")
    lifetime = duration_ms(minimum=1000)
    return SessionsConfig(
        session_lifetime_ms=options.read("session_lifetime", lifetime, None),
        refreshable_access_token_lifetime_ms=options.read("refreshable_access_token_lifetime", lifetime, 5 * MINUTE_MS),
        refresh_token_lifetime_ms=options.read("refresh_token_lifetime", lifetime, None),
        nonrefreshable_access_token_lifetime_ms=options.read("nonrefreshable_access_token_lifetime", lifetime, None),
        ui_auth_session_timeout_ms=ui_auth.read("session_timeout", duration_ms(), 0),
        login_via_existing_session=login_token.read("enabled", boolean, False),
        login_token_requires_ui_auth=login_token.read("require_ui_auth", boolean, True),
        login_token_lifetime_ms=login_token.read("token_timeout", lifetime, 5 * MINUTE_MS),
        user_ips_max_age_ms=options.read("user_ips_max_age", lifetime, 28 * 24 * 60 * MINUTE_MS),
        delete_stale_devices_after_ms=options.read("delete_stale_devices_after", lifetime, None),
    )
