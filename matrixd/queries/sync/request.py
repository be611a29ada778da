"""What a client asks of `/sync`."""

from dataclasses import dataclass

from matrixd.core.filters import Filter
from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.event_visibility import Viewer

#: Events of a room's timeline when the filter says nothing, and at most.
DEFAULT_LIMIT = 10
MAX_LIMIT = 100


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """One request; `since` None asks for everything from the beginning."""

    viewer: Viewer
    device_nid: int
    since: StreamToken | None
    filter: Filter
    full_state: bool
    use_state_after: bool

    @property
    def user_id(self) -> str:
        """Who syncs."""
        return self.viewer.user_id

    @property
    def user_nid(self) -> int:
        """The number of the one who syncs."""
        return self.viewer.user_nid

    @property
    def after(self) -> int:
        """The event position that the client has; -1 for none."""
        return -1 if self.since is None else self.since[Stream.EVENTS]

    @property
    def timeline_limit(self) -> int:
        """Events in a room's timeline at most."""
        return self.filter.room.timeline.capped_limit(DEFAULT_LIMIT, MAX_LIMIT)
