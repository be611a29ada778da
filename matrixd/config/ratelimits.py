"""How often things may be done."""

from dataclasses import dataclass

from matrixd.config.options import Options
from matrixd.config.values import integer, positive


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A bucket that holds `burst_count` actions and fills up again with `per_second` actions a second."""

    per_second: float
    burst_count: float


@dataclass(frozen=True, slots=True)
class FederationRateLimit:
    """Requests of one other server."""

    window_size_ms: int
    sleep_limit: int
    """Requests in a window before further ones wait."""
    sleep_delay_ms: int
    reject_limit: int
    """Requests that may wait; further ones are refused."""
    concurrent: int
    """Requests that are worked on at once."""


@dataclass(frozen=True, slots=True)
class RateLimitsConfig:
    """All limits. The comment says whose actions share a bucket."""

    message: RateLimit  # user
    admin_redaction: RateLimit  # user, who may redact others' events
    registration: RateLimit  # client address
    registration_token_validity: RateLimit  # client address
    login_address: RateLimit  # client address
    login_account: RateLimit  # account
    login_failed_attempts: RateLimit  # account; only failures count
    joins_local: RateLimit  # user; rooms that this server is in
    joins_remote: RateLimit  # user; other rooms
    joins_per_room: RateLimit  # room
    invites_per_room: RateLimit  # room
    invites_per_user: RateLimit  # invited user
    invites_per_issuer: RateLimit  # inviting user
    third_party_invite: RateLimit  # inviting user
    room_creation: RateLimit  # user
    presence_per_user: RateLimit  # user
    media_create: RateLimit  # user
    user_directory: RateLimit  # user
    reports: RateLimit  # user
    threepid_validation: RateLimit  # user or client address
    delayed_event_mgmt: RateLimit  # user
    federation: FederationRateLimit  # server


def read(options: Options) -> RateLimitsConfig:
    """Reads every `rc_…` section."""
    login = options.section("rc_login")
    joins = options.section("rc_joins")
    invites = options.section("rc_invites")
    message = _limit(options, "rc_message", 0.2, 10)
    return RateLimitsConfig(
        message=message,
        admin_redaction=_limit(options, "rc_admin_redaction", message.per_second, message.burst_count),
        registration=_limit(options, "rc_registration", 0.17, 3),
        registration_token_validity=_limit(options, "rc_registration_token_validity", 0.1, 5),
        login_address=_limit(login, "address", 0.003, 5),
        login_account=_limit(login, "account", 0.003, 5),
        login_failed_attempts=_limit(login, "failed_attempts", 0.17, 3),
        joins_local=_limit(joins, "local", 0.1, 10),
        joins_remote=_limit(joins, "remote", 0.01, 10),
        joins_per_room=_limit(options, "rc_joins_per_room", 1, 10),
        invites_per_room=_limit(invites, "per_room", 0.3, 10),
        invites_per_user=_limit(invites, "per_user", 0.003, 5),
        invites_per_issuer=_limit(invites, "per_issuer", 0.3, 10),
        third_party_invite=_limit(options, "rc_third_party_invite", 0.2, 10),
        room_creation=_limit(options, "rc_room_creation", 0.016, 10),
        presence_per_user=_limit(options.section("rc_presence"), "per_user", 0.1, 1),
        media_create=_limit(options, "rc_media_create", 10, 50),
        user_directory=_limit(options, "rc_user_directory", 0.016, 200),
        reports=_limit(options, "rc_reports", 1, 5),
        threepid_validation=_limit(options, "rc_3pid_validation", 0.003, 5),
        delayed_event_mgmt=_limit(options, "rc_delayed_event_mgmt", 1, 5),
        federation=_federation(options.section("rc_federation")),
    )


def _limit(options: Options, name: str, per_second: float, burst_count: float) -> RateLimit:
    limit = options.section(name)
    return RateLimit(
        per_second=limit.read("per_second", positive, float(per_second)),
        burst_count=limit.read("burst_count", positive, float(burst_count)),
    )


def _federation(options: Options) -> FederationRateLimit:
    return FederationRateLimit(
        window_size_ms=options.read("window_size", integer(minimum=1), 1000),
        sleep_limit=options.read("sleep_limit", integer(minimum=0), 10),
        sleep_delay_ms=options.read("sleep_delay", integer(minimum=0), 500),
        reject_limit=options.read("reject_limit", integer(minimum=1), 50),
        concurrent=options.read("concurrent", integer(minimum=1), 3),
    )
