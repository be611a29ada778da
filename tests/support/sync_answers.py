"""Looking into the answers of /sync."""

from __future__ import annotations

from typing import Any


def room_in(answer: Any, room_id: str, section: str = "join") -> dict[str, Any]:
    """A room's part of an answer; empty if the answer does not have it."""
    return dict(answer.json.get("rooms", {}).get(section, {}).get(room_id, {}))


def events_in(room: dict[str, Any], part: str) -> list[dict[str, Any]]:
    """The events of a room's ``timeline``, ``state``, ``ephemeral`` …"""
    return list(room.get(part, {}).get("events", []))


def types_in(room: dict[str, Any], part: str) -> list[str]:
    """Their types."""
    return [event["type"] for event in events_in(room, part)]


def bodies_in(room: dict[str, Any]) -> list[str]:
    """The texts of the timeline's messages."""
    return [event["content"]["body"] for event in events_in(room, "timeline") if event["type"] == "m.room.message"]


def members_in(room: dict[str, Any], part: str = "state") -> set[str]:
    """Whose m.room.member events there are."""
    return {event["state_key"] for event in events_in(room, part) if event["type"] == "m.room.member"}
