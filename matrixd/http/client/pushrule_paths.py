"""Paths that are nearly those of push rules.

Earlier versions of the specification had a scope, of which `global` was left over, as a parameter; they are answered as
endpoints with a wrong parameter, not as unknown ones, so that a client's author learns what is wrong.
"""

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route

_SCOPE = "/_matrix/client/v3/pushrules/{scope}"
_KIND = "/_matrix/client/v3/pushrules/{scope}/{kind}"
_RULE = "/_matrix/client/v3/pushrules/{scope}/{kind}/{ruleId}"
_PART = "/_matrix/client/v3/pushrules/{scope}/{kind}/{ruleId}/{attr}"
_MAX_BODY = 64 * 1024


class PushRulePaths:
    """Refuses them."""

    def routes(self) -> list[Route]:
        """Every method that push rules have, so that no method seems to be the wrong one."""
        spec = "push-rules-api"
        return [
            Route("GET", _SCOPE, self.refuse, spec=spec),
            Route("PUT", _SCOPE, self.refuse, spec=spec, max_body=_MAX_BODY),
            Route("DELETE", _SCOPE, self.refuse, spec=spec),
            Route("GET", _KIND, self.refuse, spec=spec),
            Route("PUT", _KIND, self.refuse, spec=spec, max_body=_MAX_BODY),
            Route("DELETE", _KIND, self.refuse, spec=spec),
            Route("GET", _RULE, self.refuse, spec=spec),
            Route("PUT", _RULE, self.refuse, spec=spec, max_body=_MAX_BODY),
            Route("DELETE", _RULE, self.refuse, spec=spec),
            Route("GET", _PART, self.refuse, spec=spec),
            Route("PUT", _PART, self.refuse, spec=spec, max_body=_MAX_BODY),
            Route("DELETE", _PART, self.refuse, spec=spec),
        ]

    async def refuse(self, call: Call) -> object:
        """Say what is wrong with the path."""
        if call.path("scope") != "global":
            raise MatrixError(400, "M_INVALID_PARAM", "'scope' in the path must be 'global'.")
        if "attr" in call.parameters:
            raise MatrixError(400, "M_INVALID_PARAM", "'attr' in the path must be 'enabled' or 'actions'.")
        raise MatrixError(400, "M_INVALID_PARAM", "A push rule's path is '/pushrules/global/{kind}/{ruleId}'.")
