"""Push rules: `data/api/client-server/pushrules.yaml` of the specification."""

from matrixd.core.errors import MatrixError
from matrixd.core.push.defaults import for_user
from matrixd.core.push.rules import PushRule, RuleKind
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.queries.push_rules import PushRules as PushRulesQueries
from matrixd.services.push_rules import PushRules as PushRulesService

_ALL = "/_matrix/client/v3/pushrules/"
_GLOBAL = "/_matrix/client/v3/pushrules/global/"
_RULE = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}"
_ENABLED = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled"
_ACTIONS = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions"
_MAX_BODY = 64 * 1024


class PushRules:
    """The endpoints of push rules."""

    def __init__(self, queries: PushRulesQueries, push_rules: PushRulesService) -> None:
        self._queries = queries
        self._push_rules = push_rules

    def routes(self) -> list[Route]:
        """The endpoints."""
        spec = "matrixclientv3pushrulesglobalkindruleid"
        return [
            Route("GET", _ALL, self.get_all, spec="get_matrixclientv3pushrules"),
            Route("GET", _GLOBAL, self.get_global, spec="get_matrixclientv3pushrulesglobal"),
            Route("GET", _RULE, self.get, spec=f"get_{spec}"),
            Route("PUT", _RULE, self.put, spec=f"put_{spec}", max_body=_MAX_BODY),
            Route("DELETE", _RULE, self.delete, spec=f"delete_{spec}"),
            Route("GET", _ENABLED, self.get_enabled, spec=f"get_{spec}enabled"),
            Route("PUT", _ENABLED, self.put_enabled, spec=f"put_{spec}enabled", max_body=_MAX_BODY),
            Route("GET", _ACTIONS, self.get_actions, spec=f"get_{spec}actions"),
            Route("PUT", _ACTIONS, self.put_actions, spec=f"put_{spec}actions", max_body=_MAX_BODY),
        ]

    async def get_all(self, call: Call) -> object:
        """All rulesets: there is one, `global`."""
        return await self._queries.content(call.requester.user_nid, call.requester.user_id)

    async def get_global(self, call: Call) -> object:
        """All rules."""
        return (await self._queries.content(call.requester.user_nid, call.requester.user_id))["global"]

    async def _rule(self, call: Call) -> PushRule:
        ruleset = await self._queries.ruleset(call.requester.user_nid)
        return for_user(ruleset.get(RuleKind.parse(call.path("kind")), call.path("ruleId")), call.requester.user_id)

    async def get(self, call: Call) -> object:
        """One rule; with an empty rule ID, as older clients ask, all rules of the kind."""
        if call.path("ruleId"):
            return (await self._rule(call)).to_api()
        kind = RuleKind.parse(call.path("kind"))
        content = await self._queries.content(call.requester.user_nid, call.requester.user_id)
        return content["global"][kind.value]

    async def put(self, call: Call) -> object:
        """Add or change a rule."""
        await self._push_rules.put(
            call.requester.user_nid, call.path("kind"), call.path("ruleId"), call.json_object(),
            call.query("before"), call.query("after"),
        )  # fmt: skip
        return {}

    async def delete(self, call: Call) -> object:
        """Remove a rule."""
        await self._push_rules.delete(call.requester.user_nid, call.path("kind"), call.path("ruleId"))
        return {}

    async def get_enabled(self, call: Call) -> object:
        """Whether a rule is enabled."""
        return {"enabled": (await self._rule(call)).enabled}

    async def put_enabled(self, call: Call) -> object:
        """Enable or disable a rule."""
        enabled = _required(call, "enabled")
        await self._push_rules.set_enabled(call.requester.user_nid, call.path("kind"), call.path("ruleId"), enabled)
        return {}

    async def get_actions(self, call: Call) -> object:
        """The actions of a rule."""
        return {"actions": list((await self._rule(call)).actions.raw)}

    async def put_actions(self, call: Call) -> object:
        """Replace the actions of a rule."""
        actions = _required(call, "actions")
        await self._push_rules.set_actions(call.requester.user_nid, call.path("kind"), call.path("ruleId"), actions)
        return {}


def _required(call: Call, field: str) -> object:
    body = call.json_object()
    if field not in body:
        raise MatrixError(400, "M_MISSING_PARAM", f"The body must have the field '{field}'.")
    return body[field]
