"""What other parts add to a sync answer: to-device messages, device lists, key counts."""

from typing import Protocol

from matrixd.core.streams import StreamToken
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.user_rooms import UserRooms


class Extension(Protocol):
    """Adds members to the answer."""

    async def members(
        self, request: SyncRequest, index: UserRooms, now: StreamToken
    ) -> tuple[list[tuple[bytes, bytes]], StreamToken]:
        """Names and JSON of what is new: an answer that has such does not wait any longer.

        And the token up to which that goes: `now`, or less of the own stream where there is more than fits an answer.
        """

    async def always(self, request: SyncRequest) -> list[tuple[bytes, bytes]]:
        """Names and JSON of what every answer has."""
