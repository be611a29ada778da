"""Room tags: `data/api/client-server/tags.yaml` of the specification."""

from matrixd.http.client.own_user import own_user
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.tags import MAX_TAG_CONTENT_BYTES
from matrixd.services.tags import Tags as TagsService

_TAGS = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags"
_TAG = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}"


class Tags:
    """The endpoints of room tags."""

    def __init__(self, tags: TagsService) -> None:
        self._tags = tags

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("GET", _TAGS, self.get, spec="get_matrixclientv3useruseridroomsroomidtags"),
            Route(
                "PUT", _TAG, self.put, spec="put_matrixclientv3useruseridroomsroomidtagstag",
                max_body=MAX_TAG_CONTENT_BYTES,
            ),
            Route("DELETE", _TAG, self.delete, spec="delete_matrixclientv3useruseridroomsroomidtagstag"),
        ]  # fmt: skip

    async def get(self, call: Call) -> object:
        """The tags of a room."""
        return {"tags": await self._tags.of_room(own_user(call).user_nid, call.path("roomId"))}

    async def put(self, call: Call) -> object:
        """Give a tag to a room."""
        await self._tags.put(own_user(call).user_nid, call.path("roomId"), call.path("tag"), call.json_object())
        return {}

    async def delete(self, call: Call) -> object:
        """Take a tag from a room."""
        await self._tags.delete(own_user(call).user_nid, call.path("roomId"), call.path("tag"))
        return {}
