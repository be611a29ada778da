"""`GET /joined_rooms`."""

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route, RunsOn
from matrixd.storage import room_members
from matrixd.storage.database import Database


class ListJoinedRooms:
    """The rooms that a user is in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/client/v3/joined_rooms", self.list,
                spec="get_matrixclientv3joined_rooms", runs_on=RunsOn.ANY,
            ),
        ]

    async def list(self, call: Call) -> object:
        """The IDs of the rooms that the user is joined to."""
        joined = await self._database.read(room_members.joined_room_ids, call.requester.user_nid)
        return {"joined_rooms": joined}
