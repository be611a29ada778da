"""Account data: `data/api/client-server/account-data.yaml` of the specification."""

from matrixd.http.client.own_user import own_user
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.queries.push_rules import PushRules
from matrixd.services.account_data import MAX_CONTENT_BYTES
from matrixd.services.account_data import PUSH_RULES as PUSH_RULES_TYPE
from matrixd.services.account_data import AccountData as AccountDataService

_GLOBAL = "/_matrix/client/v3/user/{userId}/account_data/{type}"
_ROOM = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}"


class AccountData:
    """The endpoints of account data. The push rules are read here as well: `m.push_rules`."""

    def __init__(self, account_data: AccountDataService, push_rules: PushRules) -> None:
        self._account_data = account_data
        self._push_rules = push_rules

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("GET", _GLOBAL, self.get, spec="get_matrixclientv3useruseridaccount_datatype"),
            Route(
                "PUT", _GLOBAL, self.put, spec="put_matrixclientv3useruseridaccount_datatype",
                max_body=MAX_CONTENT_BYTES,
            ),
            Route("GET", _ROOM, self.get_of_room, spec="get_matrixclientv3useruseridroomsroomidaccount_datatype"),
            Route(
                "PUT", _ROOM, self.put_of_room, spec="put_matrixclientv3useruseridroomsroomidaccount_datatype",
                max_body=MAX_CONTENT_BYTES,
            ),
        ]  # fmt: skip

    async def get(self, call: Call) -> object:
        """Global account data of one type."""
        requester = own_user(call)
        if call.path("type") == PUSH_RULES_TYPE:
            return await self._push_rules.content(requester.user_nid, requester.user_id)
        return await self._account_data.get(requester.user_nid, None, call.path("type"))

    async def put(self, call: Call) -> object:
        """Set global account data of one type."""
        await self._account_data.put(own_user(call).user_nid, None, call.path("type"), call.json_object())
        return {}

    async def get_of_room(self, call: Call) -> object:
        """Account data of one type for a room."""
        return await self._account_data.get(own_user(call).user_nid, call.path("roomId"), call.path("type"))

    async def put_of_room(self, call: Call) -> object:
        """Set account data of one type for a room."""
        user_nid = own_user(call).user_nid
        await self._account_data.put(user_nid, call.path("roomId"), call.path("type"), call.json_object())
        return {}
