"""User-interactive authentication (client-server API, "User-Interactive Authentication API").

An operation offers flows, each a row of stages. A client completes stages, in the order of a flow, over as many
requests as it likes; a session remembers what was done. Sessions are rows, so that they outlive a restart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from matrixd.core.errors import MatrixError
from matrixd.services.tokens import TokenMaker
from matrixd.storage import uia_sessions
from matrixd.storage.database import Database
from matrixd.storage.uia_sessions import UiaSession
from matrixd.util.clock import Clock

PASSWORD, DUMMY, TERMS = "m.login.password", "m.login.dummy", "m.login.terms"
REGISTRATION_TOKEN = "m.login.registration_token"

SESSION_LIFETIME_MS = 60 * 60 * 1000
#: How long a registration's session lives on, so that a client that missed the answer can ask again.
REPEAT_MS = 5 * 60 * 1000
_MAX_RECENT = 10_000


@dataclass(frozen=True, slots=True)
class Operation:
    """What a user must authenticate for.

    `name` is the method and the path: a session is good for it only. `flows` are the stages of each flow. `user_id` and
    `user_nid` are of the user who must authenticate, None for a registration, and where a stage tells who the user is.
    """

    name: str
    flows: tuple[tuple[str, ...], ...]
    user_id: str | None = None
    user_nid: int | None = None
    device_nid: int | None = None
    #: Whether a recent authentication does not cover this.
    always_ask: bool = False
    #: Whether the session is kept when all is done, until the caller has noted the outcome in it.
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """The user has authenticated.

    `request` is the body as it was first sent. `registered_nid` is set when the session has made an account before.
    `session_id` is set for an operation that is repeatable, if a session was begun at all.
    """

    completed: Mapping[str, str]
    request: Mapping[str, Any] = field(repr=False)
    session_id: str | None = field(default=None, repr=False)
    registered_nid: int | None = None


class AuthenticationNeeded(Exception):
    """The client must (go on to) authenticate; `body` is the JSON of the 401 answer."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        super().__init__("user-interactive authentication is needed")
        self.body = body


class StageFailed(Exception):
    """The attempt at a stage was unsuccessful; the client may try again."""

    def __init__(self, errcode: str, error: str) -> None:
        super().__init__(errcode, error)
        self.errcode = errcode
        self.error = error


class Stage(Protocol):
    """One way to authenticate."""

    def params(self) -> Mapping[str, Any] | None:
        """What the client needs to know in order to use it."""

    async def check(self, auth: Mapping[str, Any], user_id: str | None) -> str:
        """What the attempt `auth` proves; raises StageFailed, or MatrixError where it makes no sense."""


class InteractiveAuthentication:
    """Runs the sessions.

    `covers_ms`: for how long an authentication covers further operations of its device; 0: only the one.
    """

    def __init__(
        self, database: Database, clock: Clock, tokens: TokenMaker, stages: Mapping[str, Stage], covers_ms: int = 0
    ) -> None:
        self._database = database
        self._clock = clock
        self._tokens = tokens
        self._stages = stages
        self._covers_ms = covers_ms
        self._recent: dict[int, int] = {}

    async def authenticate(
        self, operation: Operation, auth: Mapping[str, Any] | None, request: Mapping[str, Any]
    ) -> Proof:
        """Whether the user has authenticated for `operation`, with the attempt `auth` of this request.

        `request` is the body without `auth`, and without passwords in clear: it is stored. Raises AuthenticationNeeded.
        """
        if not operation.flows:
            raise MatrixError(403, "M_FORBIDDEN", "Your account has no password with which you could confirm this.")
        if not auth and self._is_covered(operation):
            return Proof({}, request)
        stage = _text(auth or {}, "type")
        session, is_stored = await self._session(operation, auth or {}, request)
        if stage is not None and session.registered_nid is None:
            session = await self._attempt(operation, session, is_stored, stage, auth or {})
        if not _is_complete(operation, session.completed):
            if not is_stored:
                await self._database.write(uia_sessions.save, session)
            raise AuthenticationNeeded(self._body(operation, session))
        return await self._finish(operation, session, is_stored)

    async def _session(
        self, operation: Operation, auth: Mapping[str, Any], request: Mapping[str, Any]
    ) -> tuple[UiaSession, bool]:
        session_id = _text(auth, "session")
        if session_id is None:
            return self._new_session(operation, request), False
        session = await self.find(session_id)
        if session is None:
            session = self._new_session(operation, request)
            await self._database.write(uia_sessions.save, session)
            sentence = "The authentication session is not known, or has expired. Begin again."
            raise AuthenticationNeeded({**self._body(operation, session), "errcode": "M_UNKNOWN", "error": sentence})
        if (session.operation, session.user_nid) != (operation.name, operation.user_nid):
            sentence = "This authentication session was begun for another operation."
            raise MatrixError(403, "M_FORBIDDEN", sentence)
        return session, True

    async def find(self, session_id: str) -> UiaSession | None:
        """A session that is under way."""
        return await self._database.read(uia_sessions.by_id, session_id, self._clock.now_ms())

    def _new_session(self, operation: Operation, request: Mapping[str, Any]) -> UiaSession:
        return UiaSession(
            self._tokens.session_id(), operation.name, operation.user_nid, request, {},
            self._clock.now_ms() + SESSION_LIFETIME_MS,
        )

    async def _attempt(
        self, operation: Operation, session: UiaSession, is_stored: bool, stage: str, auth: Mapping[str, Any]
    ) -> UiaSession:
        if stage in session.completed:
            return session
        try:
            if stage not in _next_stages(operation, session.completed):
                raise StageFailed("M_UNRECOGNIZED", f"'{stage[:100]}' is not the next stage of any flow.")
            proof = await self._stages[stage].check(auth, operation.user_id)
        except StageFailed as failed:
            if not is_stored:
                await self._database.write(uia_sessions.save, session)
            body = {**self._body(operation, session), "errcode": failed.errcode, "error": failed.error}
            raise AuthenticationNeeded(body) from None
        completed = {**session.completed, stage: proof}
        # The last stage ends the session: a proof that a crash left behind could be used once more, without a password.
        if is_stored and (operation.repeatable or not _is_complete(operation, completed)):
            await self._database.write(uia_sessions.complete_stage, session.session_id, stage, proof)
        return replace(session, completed=completed)

    async def complete_out_of_band(self, session: UiaSession, stage: str, auth: Mapping[str, Any]) -> None:
        """Complete a stage on its fallback page; raises StageFailed."""
        proof = await self._stages[stage].check(auth, None)
        await self._database.write(uia_sessions.complete_stage, session.session_id, stage, proof)

    async def _finish(self, operation: Operation, session: UiaSession, is_stored: bool) -> Proof:
        if operation.device_nid is not None and self._covers_ms:
            self._recent[operation.device_nid] = self._clock.now_ms() + self._covers_ms
            if len(self._recent) > _MAX_RECENT:
                del self._recent[next(iter(self._recent))]
        if is_stored and operation.repeatable:
            return Proof(session.completed, session.request, session.session_id, session.registered_nid)
        if is_stored and not await self._database.write(uia_sessions.take, session.session_id):
            raise MatrixError(403, "M_FORBIDDEN", "This authentication session was used already.")
        return Proof(session.completed, session.request)

    def _is_covered(self, operation: Operation) -> bool:
        if operation.device_nid is None or operation.always_ask:
            return False
        return self._recent.get(operation.device_nid, 0) > self._clock.now_ms()

    def _body(self, operation: Operation, session: UiaSession) -> dict[str, Any]:
        stages = {stage for flow in operation.flows for stage in flow}
        params = {stage: self._stages[stage].params() for stage in sorted(stages)}
        return {
            "flows": [{"stages": list(flow)} for flow in operation.flows],
            "params": {stage: value for stage, value in params.items() if value is not None},
            "session": session.session_id,
            "completed": list(session.completed),
        }


def _text(auth: Mapping[str, Any], name: str) -> str | None:
    value = auth.get(name)
    if value is None or isinstance(value, str):
        return value
    raise MatrixError(400, "M_BAD_JSON", f"Field 'auth.{name}' must be a string.")


def _is_complete(operation: Operation, completed: Mapping[str, str]) -> bool:
    return any(all(stage in completed for stage in flow) for flow in operation.flows)


def _next_stages(operation: Operation, completed: Mapping[str, str]) -> Sequence[str]:
    """The first stage of each flow that is not completed."""
    missing = ([stage for stage in flow if stage not in completed] for flow in operation.flows)
    return [stages[0] for stages in missing if stages]
