"""Builds what concerns accounts: registration, sessions, devices, passwords, and their endpoints."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.threads import deferToThread

from matrixd.config import Config
from matrixd.http.admin.register import SecretRegistrationEndpoints
from matrixd.http.client.account import AccountEndpoints
from matrixd.http.client.admin import ServerAdministration
from matrixd.http.client.administrative_contact import AdministrativeContact
from matrixd.http.client.device_management import DeviceManagement
from matrixd.http.client.login import LoginEndpoints
from matrixd.http.client.login_fallback import LoginFallback
from matrixd.http.client.logout import LogoutEndpoints
from matrixd.http.client.openid import OpenIdEndpoints
from matrixd.http.client.registration import RegistrationEndpoints
from matrixd.http.client.uia_fallback import UiaFallback
from matrixd.http.kit.route import Route
from matrixd.queries.authentication import Authenticator
from matrixd.queries.feed import Feed
from matrixd.services import uia
from matrixd.services.account_capabilities import AccountCapabilities
from matrixd.services.account_expiry import AccountExpiry
from matrixd.services.account_moderation import AccountModeration
from matrixd.services.deactivation import Deactivation
from matrixd.services.devices import DeleteMore, Devices
from matrixd.services.last_seen import LastSeen
from matrixd.services.limits import Limit
from matrixd.services.login import Login
from matrixd.services.login_tokens import LoginTokens
from matrixd.services.openid import OpenId
from matrixd.services.password_hashing import InThread, PasswordHasher
from matrixd.services.passwords import Passwords
from matrixd.services.registration import Registration
from matrixd.services.sessions import Sessions
from matrixd.services.shared_secret_registration import SharedSecretRegistration
from matrixd.services.tokens import TokenMaker
from matrixd.services.uia_stages import DummyStage, PasswordStage, RegistrationTokenStage
from matrixd.services.user_confirmation import UserConfirmation
from matrixd.storage import rows
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock
from matrixd.util.randomness import SystemRandomness
from matrixd.util.ratelimit import RateLimiter


@dataclass(frozen=True, slots=True)
class _LoginTokenRate:
    """The specification wants `get_token` limited to about one a minute."""

    per_second: float = 1 / 60
    burst_count: float = 5


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the rest of the master needs to know of accounts."""

    #: Endpoints of the `client` resource; `/_synapse/admin` is among them, as with Synapse.
    routes: Sequence[Route]
    #: By the names that the routes use as `limit`.
    limiters: Mapping[str, RateLimiter]
    #: `note` is the dispatchers' `seen`; `flush` is to be called each minute and at the end.
    last_seen: LastSeen
    #: `run` is to be called each minute.
    expiry: AccountExpiry
    #: `resume` is to be called once, when rooms can be left.
    deactivation: Deactivation
    capabilities: AccountCapabilities
    registration: Registration
    devices: Devices
    #: For endpoints elsewhere that a user must confirm (cross-signing keys).
    confirmation: UserConfirmation


def build_accounts(
    config: Config,
    database: Database,
    clock: Clock,
    feed: Feed,
    authenticator: Authenticator,
    leave_all_rooms: Callable[[str], Awaitable[None]],
    delete_with_devices: Sequence[DeleteMore] = (),
    delete_data: Sequence[Callable[[Transaction, int], None]] = (),
    erase_data: Sequence[Callable[[Transaction, int], None]] = (),
    is_reserved: Callable[[str], bool] = lambda user_id: False,
    well_known: Mapping[str, Any] | None = None,
    in_thread: InThread = deferToThread,
) -> Accounts:
    """Build it, and have the feed tell it of changes.

    `leave_all_rooms(user_id)`, `delete_data`, `erase_data`: see `Deactivation`. `delete_with_devices`: see `Devices`.
    `is_reserved(user_id)`: whether an application service has the name for itself. `well_known`: what a login answers
    as the client configuration. `in_thread(f, *args)` runs a function in a thread.
    """
    server_name = config.server.server_name
    tokens = TokenMaker(SystemRandomness())
    last_seen = LastSeen(database, clock)
    devices = Devices(database, last_seen, delete_with_devices)
    passwords = Passwords(
        database,
        PasswordHasher(config.passwords.bcrypt_rounds, config.passwords.pepper, in_thread),
        config.passwords.policy,
        RateLimiter(config.ratelimits.login_failed_attempts),
        devices,
        clock,
    )
    sessions = Sessions(database, clock, tokens, config.sessions)
    registration = Registration(database, clock, tokens, sessions, config.registration, server_name, is_reserved)
    interactive = uia.InteractiveAuthentication(
        database,
        clock,
        tokens,
        {
            uia.DUMMY: DummyStage(),
            uia.PASSWORD: PasswordStage(passwords, server_name),
            uia.REGISTRATION_TOKEN: RegistrationTokenStage(database, clock),
        },
        config.sessions.ui_auth_session_timeout_ms,
    )
    login_address = RateLimiter(config.ratelimits.login_address)
    confirmation = UserConfirmation(
        database, interactive, passwords, Limit(login_address, clock, "Too many attempts to authenticate"),
        config.passwords.enabled,
    )
    deactivation = Deactivation(database, clock, devices, leave_all_rooms, delete_data, erase_data)
    feed.subscribe(rows.AccountChanged, lambda row: authenticator.forget_user(row.user_id))
    feed.subscribe(rows.DeviceDeleted, last_seen.device_deleted)
    endpoints = (
        RegistrationEndpoints(
            registration, passwords, interactive, RateLimiter(config.ratelimits.registration), clock, server_name
        ),
        LoginEndpoints(
            Login(database, clock, sessions, passwords, RateLimiter(config.ratelimits.login_account), server_name),
            sessions,
            confirmation,
            server_name,
            config.passwords.enabled,
            _login_tokens(config, database, clock, tokens),
            config.sessions.login_token_requires_ui_auth,
            well_known,
        ),
        LogoutEndpoints(devices),
        AccountEndpoints(passwords, deactivation, confirmation, config.passwords.enabled),
        AdministrativeContact(),
        DeviceManagement(devices, confirmation),
        OpenIdEndpoints(OpenId(database, clock, tokens), server_name),
        ServerAdministration(devices, AccountModeration(database, server_name)),
        LoginFallback(server_name),
        UiaFallback(interactive),
        SecretRegistrationEndpoints(
            SharedSecretRegistration(registration, passwords, tokens, clock, config.registration.shared_secret),
            server_name,
        ),
    )
    return Accounts(
        routes=[route for endpoint in endpoints for route in endpoint.routes()],
        limiters={
            "registration": RateLimiter(config.ratelimits.registration),
            "registration_token_validity": RateLimiter(config.ratelimits.registration_token_validity),
            "login_address": login_address,
            "threepid_validation": RateLimiter(config.ratelimits.threepid_validation),
        },
        last_seen=last_seen,
        expiry=AccountExpiry(
            database,
            clock,
            devices,
            config.sessions.user_ips_max_age_ms,
            config.sessions.delete_stale_devices_after_ms,
        ),
        deactivation=deactivation,
        capabilities=AccountCapabilities(config.passwords.enabled, config.sessions.login_via_existing_session),
        registration=registration,
        devices=devices,
        confirmation=confirmation,
    )


def _login_tokens(config: Config, database: Database, clock: Clock, tokens: TokenMaker) -> LoginTokens | None:
    if not config.sessions.login_via_existing_session:
        return None
    limiter = RateLimiter(_LoginTokenRate())
    return LoginTokens(database, clock, tokens, config.sessions.login_token_lifetime_ms, limiter)
