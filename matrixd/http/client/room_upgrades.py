"""`POST /rooms/{roomId}/upgrade`."""

import msgspec

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.room_upgrade import RoomUpgrades


class _Body(msgspec.Struct):
    new_version: str
    additional_creators: list[str] | None = None


class RoomUpgradeEndpoints:
    """Upgrading rooms."""

    def __init__(self, upgrades: RoomUpgrades) -> None:
        self._upgrades = upgrades

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "POST", "/_matrix/client/v3/rooms/{roomId}/upgrade", self.upgrade,
                spec="post_matrixclientv3roomsroomidupgrade",
            ),
        ]

    async def upgrade(self, call: Call) -> object:
        """Upgrade a room to another version."""
        body = call.body(_Body)
        new_room_id = await self._upgrades.upgrade(
            call.requester, call.path("roomId"), body.new_version, body.additional_creators or []
        )
        return {"replacement_room": new_room_id}
