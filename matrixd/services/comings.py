"""Who came into a room by an event."""

from matrixd.storage.rows import EventRow, MembershipChange


def came_in(row: EventRow) -> list[MembershipChange]:
    """Those who are joined to the room now and were not before: by the event, or as state resolution has it."""
    members = [move.member for move in row.moves if move.member is not None]
    if row.member is not None and row.is_current and row.verdict is None:
        members.append(row.member)
    return [member for member in members if member.membership == "join" and member.before != "join"]
