"""Pages for stages of user-interactive authentication that a client does not know (client-server API, "Fallback")."""

from collections.abc import Mapping
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Answer, Call
from matrixd.http.kit.pages import page
from matrixd.http.kit.route import Auth, Route
from matrixd.services import uia
from matrixd.services.uia import InteractiveAuthentication, StageFailed
from matrixd.storage.uia_sessions import UiaSession

_PATH = "/_matrix/client/v3/auth/{authType}/fallback/web"
_TITLES = {
    uia.DUMMY: "Continue",
    uia.REGISTRATION_TOKEN: "Registration token",
    uia.TERMS: "Terms of service",
}


class UiaFallback:
    """The pages of those stages that need no logged-in user.

    `policies` are the documents of `m.login.terms`, as in its params.
    """

    def __init__(self, authentication: InteractiveAuthentication, policies: Mapping[str, Any] | None = None) -> None:
        self._authentication = authentication
        self._policies = policies or {}

    def routes(self) -> list[Route]:
        """The pages."""
        return [
            Route("GET", _PATH, self.show, spec="fallback", auth=Auth.NONE),
            Route(
                "POST", _PATH, self.submit, spec="fallback", auth=Auth.NONE, limit="registration_token_validity",
                max_body=16 * 1024, takes_form=True,
            ),
        ]

    async def show(self, call: Call) -> object:
        """The page, before anything was done."""
        stage, session = await self._session(call)
        return self._page(stage, session, done=stage in session.completed)

    async def submit(self, call: Call) -> object:
        """Complete the stage."""
        stage, session = await self._session(call)
        if stage not in session.completed:
            try:
                await self._authentication.complete_out_of_band(session, stage, {"token": call.query("token")})
            except StageFailed as failed:
                return self._page(stage, session, error=failed.error)
            except MatrixError as error:
                return self._page(stage, session, error=error.error)
        return self._page(stage, session, done=True)

    async def _session(self, call: Call) -> tuple[str, UiaSession]:
        stage = call.path("authType")
        if stage not in _TITLES:
            raise MatrixError(404, "M_NOT_FOUND", "There is no page for this type of authentication.")
        session = await self._authentication.find(call.require_query("session"))
        # A logged-in user must not confirm anything by clicking: those stages are done in the client.
        if session is None or session.user_nid is not None:
            raise MatrixError(400, "M_UNKNOWN", "The authentication session is not known, or has expired.")
        return stage, session

    def _page(self, stage: str, session: UiaSession, done: bool = False, error: str | None = None) -> Answer:
        return page(
            "uia_fallback.html",
            "uia_done.js" if done else None,
            status=200 if error is None else 400,
            title=_TITLES[stage], stage=stage, session=session.session_id, done=done, error=error,
            documents=self._documents(),
        )

    def _documents(self) -> list[Mapping[str, Any]]:
        translations = [
            {language: text for language, text in policy.items() if isinstance(text, Mapping)}
            for policy in self._policies.values()
        ]
        return [texts.get("en") or next(iter(texts.values())) for texts in translations if texts]
