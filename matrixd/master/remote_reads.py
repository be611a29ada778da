"""Builds what clients read of other servers: directories, profiles, spaces, events by time."""

from dataclasses import dataclass

from matrixd.master.frame import Frame
from matrixd.net.federation_client import FederationClient
from matrixd.net.remote_directory import RemoteDirectory
from matrixd.net.remote_events import RemoteEvents
from matrixd.net.remote_users import RemoteUsers
from matrixd.services.jump_to_date import JumpToDate
from matrixd.services.receiving.anchors import Anchors
from matrixd.services.remote_directories import RemoteDirectories
from matrixd.services.remote_profiles import RemoteProfiles


@dataclass(frozen=True, slots=True)
class RemoteReads:
    """What other parts need of it."""

    directories: RemoteDirectories
    profiles: RemoteProfiles
    jumps: JumpToDate


def build_remote_reads(frame: Frame, client: FederationClient, anchors: Anchors) -> RemoteReads:
    """Build it."""
    server_name, clock, budget = frame.config.server.server_name, frame.clock, frame.budget
    return RemoteReads(
        RemoteDirectories(server_name, RemoteDirectory(client)),
        RemoteProfiles(server_name, RemoteUsers(client), clock, budget),
        JumpToDate(frame.database, RemoteEvents(client), anchors),
    )
