"""All that is asked of other servers about memberships, as one."""

from matrixd.net.event_stream import TakePdu
from matrixd.net.federation_client import FederationClient
from matrixd.net.remote_events import RemoteEvents
from matrixd.net.remote_invites import RemoteInvites
from matrixd.net.remote_joins import RemoteJoins
from matrixd.net.remote_knocks import RemoteKnocks
from matrixd.net.remote_leaves import RemoteLeaves


class RemotePeers(RemoteJoins, RemoteLeaves, RemoteKnocks, RemoteInvites):
    """Other servers, as memberships of rooms need them. Each method raises RemoteError."""

    def __init__(self, client: FederationClient) -> None:
        super().__init__(client)
        self._events = RemoteEvents(client)

    async def state(self, destination: str, room_id: str, event_id: str, take: TakePdu) -> None:
        """The state before an event: `RemoteEvents.stream_state`."""
        await self._events.stream_state(destination, room_id, event_id, take)
