"""Builds what shows rooms from outside: spaces, and summaries of rooms."""

from matrixd.http.client.room_summary import RoomSummary
from matrixd.http.client.space_hierarchy import SpaceHierarchyEndpoint
from matrixd.master.frame import Frame
from matrixd.queries.space_hierarchy import AskRemote, SpaceHierarchy
from matrixd.services.aliases import Aliases


def serve_spaces(frame: Frame, aliases: Aliases, ask: AskRemote) -> None:
    """The endpoints. `ask` asks other servers for the rooms that are not known here."""
    spaces = SpaceHierarchy(frame.database, frame.user_rooms, frame.clock, frame.budget, ask)
    frame.serve("client", SpaceHierarchyEndpoint(spaces).routes(), RoomSummary(spaces, aliases).routes())
