"""Rooms of `rooms_elsewhere`, as a `RemoteServer` serves them over HTTP."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from tests.support.remote_server import Received, RemoteServer, Reply
from tests.support.rooms_elsewhere import Network, Resident, RoomElsewhere

T = TypeVar("T")
V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits")


def serve(
    remote: RemoteServer, room: RoomElsewhere, *, omits_members: bool = False, delay_s: float = 0.0
) -> Resident:
    """Lets the other server be in a room. ``delay_s`` passes before it answers with state."""
    resident = Resident(remote.name, {room.room_id: room}, omits_members=omits_members, keys={remote.name: remote.key})
    network = Network(resident)

    def make(operation: str, received: Received) -> dict[str, Any]:
        versions = (received.query["ver"],) if "ver" in received.query else ()
        asked = getattr(network, f"make_{operation}")(
            remote.name, received.parameters["roomId"], received.parameters["userId"], *versions
        )
        made = done(asked)
        return {"room_version": made.room_version, "event": dict(made.event)}

    def send_join(received: Received) -> Reply:
        state: list[Any] = []
        chain: list[Any] = []

        def take(in_state: bool, pdu: Any) -> None:
            (state if in_state else chain).append(pdu)

        room_id, event_id = received.parameters["roomId"], received.parameters["eventId"]
        sent = done(network.send_join(remote.name, room_id, event_id, received.json, take))
        return Reply(
            body={
                "state": state, "auth_chain": chain, "event": sent.event, "members_omitted": sent.members_omitted,
                "servers_in_room": list(sent.servers_in_room), "origin": remote.name,
            },
            delay_s=delay_s,
        )

    def state(received: Received) -> Reply:
        pdus: list[Any] = []
        chain: list[Any] = []

        def take(in_state: bool, pdu: Any) -> None:
            (pdus if in_state else chain).append(pdu)

        done(network.state(remote.name, received.parameters["roomId"], received.query["event_id"][0], take))
        return Reply(body={"pdus": pdus, "auth_chain": chain}, delay_s=delay_s)

    def send_leave(received: Received) -> Reply:
        room_id, event_id = received.parameters["roomId"], received.parameters["eventId"]
        done(network.send_leave(remote.name, room_id, event_id, received.json))
        return Reply(body={})

    def send_knock(received: Received) -> Reply:
        room_id, event_id = received.parameters["roomId"], received.parameters["eventId"]
        told = done(network.send_knock(remote.name, room_id, event_id, received.json))
        return Reply(body={"knock_room_state": list(told)})

    for operation in ("join", "leave", "knock"):
        remote.on("GET", f"{V1}/make_{operation}/{{roomId}}/{{userId}}", partial(make, operation))
    remote.on("PUT", f"{V2}/send_join/{{roomId}}/{{eventId}}", send_join)
    remote.on("PUT", f"{V2}/send_leave/{{roomId}}/{{eventId}}", send_leave)
    remote.on("PUT", f"{V1}/send_knock/{{roomId}}/{{eventId}}", send_knock)
    remote.on("GET", f"{V1}/state/{{roomId}}", state)
    return resident
