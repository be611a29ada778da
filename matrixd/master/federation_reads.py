"""Builds what other servers may read here."""

from matrixd.http.federation.backfill import Backfill
from matrixd.http.federation.content_repository import ContentRepository
from matrixd.http.federation.event_auth import EventAuth
from matrixd.http.federation.events import Events
from matrixd.http.federation.public_rooms import FederationPublicRooms
from matrixd.http.federation.query import Query
from matrixd.http.federation.space_hierarchy import FederationSpaceHierarchy
from matrixd.http.federation.user_devices import UserDevices
from matrixd.http.federation.user_keys import UserKeys
from matrixd.http.federation.version import Version
from matrixd.master.frame import Frame
from matrixd.queries.erased_users import ErasedUsers
from matrixd.queries.federation.directory import Directory
from matrixd.queries.federation.local_users import LocalUsers
from matrixd.queries.federation.room_events import RoomEvents
from matrixd.queries.federation.room_states import RoomStates
from matrixd.queries.federation.shared_answers import SharedAnswers
from matrixd.queries.federation.spaces import Spaces
from matrixd.queries.public_rooms import PublicRooms
from matrixd.queries.server_acls import ServerAcls


def build_federation_reads(frame: Frame, erased_users: ErasedUsers, acls: ServerAcls) -> None:
    """Build it and serve it."""
    config, database, clock = frame.config, frame.database, frame.clock
    server_name = config.server.server_name
    states = RoomStates(database, SharedAnswers(clock, frame.budget), erased_users)
    events = RoomEvents(server_name, database, clock, acls, erased_users)
    users = LocalUsers(database, config.federation.allow_device_name_lookup)
    rooms = PublicRooms(database, config.rooms.enable_room_list_search)
    frame.serve(
        "federation",
        Events(events, states, acls).routes(),
        Backfill(events).routes(),
        EventAuth(states, acls).routes(),
        FederationPublicRooms(rooms, config.rooms.allow_public_rooms_over_federation).routes(),
        FederationSpaceHierarchy(Spaces(database), acls).routes(),
        Query(Directory(server_name, database), users, config.federation.allow_profile_lookup).routes(),
        UserDevices(users).routes(),
        UserKeys(users).routes(),
        ContentRepository().routes(),
        Version().routes(),
    )
