"""Making accounts (client-server API, "Account registration" and "Guest Access")."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from matrixd.config.accounts import RegistrationConfig
from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import localpart_of, user_id, validate_new_localpart
from matrixd.queries.authentication import token_hash
from matrixd.services import uia
from matrixd.services.sessions import Session, SessionRequest, Sessions
from matrixd.services.tokens import TokenMaker
from matrixd.storage import access_tokens, accounts, profiles, registration_tokens, uia_sessions, users
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account that is to be made. `localpart` None: the server chooses one; `displayname` None: the localpart."""

    localpart: str | None
    password_hash: str | None = field(repr=False)
    kind: str = accounts.USER
    is_admin: bool = False
    displayname: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """An account that was made. `session` is None where none was wanted."""

    user_id: str
    session: Session | None


class Registration:
    """Makes accounts.

    `is_reserved(user_id)` says whether an application service claims a user ID for itself alone. `has_terms`: whoever
    registers must accept documents.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        tokens: TokenMaker,
        sessions: Sessions,
        rules: RegistrationConfig,
        server_name: str,
        is_reserved: Callable[[str], bool] = lambda user_id: False,
        has_terms: bool = False,
    ) -> None:
        self._database = database
        self._clock = clock
        self._tokens = tokens
        self._sessions = sessions
        self._rules = rules
        self._server_name = server_name
        self._is_reserved = is_reserved
        self._has_terms = has_terms

    def require_open(self) -> None:
        """Raises M_FORBIDDEN where nobody may register."""
        if self._rules.mode == "closed":
            raise MatrixError(403, "M_FORBIDDEN", "Registration is not enabled on this server.")

    def require_guests_allowed(self) -> None:
        """Raises M_FORBIDDEN where there are no guests."""
        if not self._rules.allow_guest_access:
            raise MatrixError(403, "M_FORBIDDEN", "Guest access is not enabled on this server.")

    def flows(self) -> tuple[tuple[str, ...], ...]:
        """The flows of user-interactive authentication for a registration."""
        stages = ([uia.REGISTRATION_TOKEN] if self._rules.mode == "token" else []) + (
            [uia.TERMS] if self._has_terms else []
        )
        return (tuple(stages or [uia.DUMMY]),)

    def localpart(self, username: str) -> str:
        """The localpart for a username that a client asks for: capitals become small.

        Raises M_INVALID_USERNAME, and M_EXCLUSIVE for a name that an application service reserves.
        """
        localpart = validate_new_localpart(username.lower(), "'username'", self._server_name)
        if localpart.isdigit():
            raise MatrixError(400, "M_INVALID_USERNAME", "'username' must not be a number: those are for guests.")
        if self._is_reserved(user_id(localpart, self._server_name)):
            raise MatrixError(400, "M_EXCLUSIVE", "'username' is reserved by an application service.")
        return localpart

    async def check_free(self, localpart: str, for_guest_token: str | None = None) -> None:
        """Raises M_USER_IN_USE if there is or was such an account; with a guest's token, that guest's is free."""
        await self._database.read(self._check_free_in, localpart, for_guest_token)

    async def is_shown_as_free(self, localpart: str) -> bool:
        """Answers `/register/available`; raises M_USER_IN_USE unless the configuration hides which names are taken."""
        if not self._rules.inhibit_user_in_use_error:
            await self.check_free(localpart)
        return True

    def _check_free_in(self, tx: Transaction, localpart: str, for_guest_token: str | None = None) -> None:
        wanted = user_id(localpart, self._server_name)
        guest = None if for_guest_token is None else _guest(tx, for_guest_token)
        if accounts.by_folded_id(tx, wanted) and (guest is None or guest.user_id != wanted):
            raise MatrixError(400, "M_USER_IN_USE", f"The user ID {wanted} is already taken.")

    async def register(
        self, account: NewAccount, session: SessionRequest | None, proof: uia.Proof | None = None
    ) -> Registered:
        """Make an account, and begin a session if one is wanted.

        `proof` is of the authentication that allowed it: a registration token is used up, and when the same client asks
        again, because it has missed the answer, it gets the same account. Raises M_USER_IN_USE.
        """
        prepared = None if session is None else self._sessions.prepare(session)
        generated = self._tokens.localpart()
        now_ms = self._clock.now_ms()

        def register(tx: Transaction) -> Registered:
            name = self._repeated_in(tx, proof, now_ms)
            if name is None:
                name = self._create_in(tx, account, account.localpart or generated, now_ms)
                self._use_proof_in(tx, proof, users.nid(tx, name), now_ms)
            begun = None if prepared is None else self._sessions.begin_in(tx, users.nid(tx, name), name, prepared)
            return Registered(name, begun)

        return await self._database.write(register)

    def _repeated_in(self, tx: Transaction, proof: uia.Proof | None, now_ms: int) -> str | None:
        if proof is None or proof.session_id is None:
            return None
        session = uia_sessions.by_id(tx, proof.session_id, now_ms)
        if session is None or session.registered_nid is None:
            return None
        account = accounts.by_nid(tx, session.registered_nid)
        if account is None or account.is_deactivated or account.is_locked:
            return None
        return account.user_id

    def _use_proof_in(self, tx: Transaction, proof: uia.Proof | None, user_nid: int, now_ms: int) -> None:
        if proof is None:
            return
        token = proof.completed.get(uia.REGISTRATION_TOKEN)
        if token is not None and not registration_tokens.use(tx, token, now_ms):
            raise MatrixError(403, "M_FORBIDDEN", "The registration token is no longer valid.")
        if proof.session_id is not None:
            uia_sessions.registered(tx, proof.session_id, user_nid, now_ms + uia.REPEAT_MS)

    def _create_in(self, tx: Transaction, account: NewAccount, localpart: str, now_ms: int) -> str:
        self._check_free_in(tx, localpart)
        name = user_id(localpart, self._server_name)
        user_nid = users.nid(tx, name)
        accounts.create(tx, user_nid, name, account.kind, account.password_hash, account.is_admin, now_ms)
        displayname = localpart if account.displayname is None else account.displayname
        profiles.set_field(tx, user_nid, "displayname", orjson.dumps(displayname).decode())
        return name

    async def register_guest(self, display_name: str | None) -> Registered:
        """Make a guest's account, with a session; `display_name` is the device's."""
        prepared = self._sessions.prepare(SessionRequest(initial_device_display_name=display_name))
        now_ms = self._clock.now_ms()

        def register(tx: Transaction) -> Registered:
            localpart = str(tx.next_id("guests"))
            while accounts.by_folded_id(tx, user_id(localpart, self._server_name)):
                localpart = str(tx.next_id("guests"))
            name = self._create_in(tx, NewAccount(localpart, None, accounts.GUEST), localpart, now_ms)
            return Registered(name, self._sessions.begin_in(tx, users.nid(tx, name), name, prepared))

        return await self._database.write(register)

    async def upgrade_guest(
        self, guest_token: str, localpart: str, password_hash: str, session: SessionRequest | None, proof: uia.Proof
    ) -> Registered:
        """Make the guest behind an access token an ordinary user; raises M_FORBIDDEN if it is not the guest's.

        Source: client-server API, "Guest Access".
        """
        prepared = None if session is None else self._sessions.prepare(session)
        now_ms = self._clock.now_ms()

        def upgrade(tx: Transaction) -> Registered:
            guest = _guest(tx, guest_token)
            if guest is None or localpart_of(guest.user_id) != localpart:
                raise not_the_guest()
            accounts.upgrade_guest(tx, guest, password_hash)
            self._use_proof_in(tx, proof, guest.user_nid, now_ms)
            begun = None
            if prepared is not None:
                begun = self._sessions.begin_in(tx, guest.user_nid, guest.user_id, prepared)
            return Registered(guest.user_id, begun)

        return await self._database.write(upgrade)

    async def is_token_valid(self, token: str) -> bool:
        """Whether an account can be made with a registration token."""
        return await self._database.read(registration_tokens.is_valid, token, self._clock.now_ms())


def _guest(tx: Transaction, token: str) -> accounts.Account | None:
    owner = access_tokens.by_hash(tx, token_hash(token))
    if owner is None or owner.kind != accounts.GUEST:
        return None
    return accounts.by_nid(tx, owner.user_nid)


def not_the_guest() -> MatrixError:
    """What a client is answered whose `guest_access_token` and `username` do not belong together."""
    sentence = "'guest_access_token' must be the access token of the guest whose name 'username' is."
    return MatrixError(403, "M_FORBIDDEN", sentence)


def stored_form(body: Mapping[str, Any], password_hash: str | None) -> dict[str, Any]:
    """A request as a session of user-interactive authentication keeps it: without "auth" and passwords in clear."""
    kept = {name: value for name, value in body.items() if name not in ("auth", "password") and value is not None}
    return {**kept, "password_hash": password_hash} if password_hash is not None else kept
