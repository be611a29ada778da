"""Which member events a device has been sent already, so that lazy loading does not repeat them.

What an answer carries counts as sent only when the client comes back with that answer's token: an answer that was lost
on the way is not one that the client has.

https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
"""

from collections.abc import Mapping

from matrixd.core.streams import StreamToken
from matrixd.util.lru import CacheBudget

_DEVICE_BYTES = 500
_MEMBER_BYTES = 200
#: Members that are remembered for one device; beyond it all are forgotten, and sent again.
_MAX_MEMBERS = 20_000

#: (room number, user ID) -> event ID
Members = dict[tuple[int, str], str]


class _Device:
    __slots__ = ("answered", "answers", "sent", "since")

    def __init__(self, since: StreamToken | None) -> None:
        #: What the client has that comes with the token `since`.
        self.since = since
        self.sent: Members = {}
        #: The token of the last answer, and the members that it carries.
        self.answered: StreamToken | None = None
        self.answers: Members = {}


class LazyMembers:
    """Remembers for each device."""

    def __init__(self, budget: CacheBudget) -> None:
        self._devices = budget.cache("lazy_members", int, _Device)

    def sent(self, device_nid: int, since: StreamToken | None) -> Mapping[tuple[int, str], str]:
        """The member events that the device has, given the token that it comes with."""
        if since is None:
            self._devices.remove(device_nid)
            return {}
        device = self._devices.get(device_nid)
        if device is None:
            return {}
        if device.answered == since:
            device.since = since
            device.sent.update(device.answers)
            device.answered, device.answers = None, {}
            if len(device.sent) > _MAX_MEMBERS:
                device.sent.clear()
            self._devices.resize(device_nid, _DEVICE_BYTES + _MEMBER_BYTES * len(device.sent))
        elif device.since != since:
            # A client that goes on from some other token may have been restored, and have less.
            self._devices.remove(device_nid)
            return {}
        return device.sent

    def answer(self, device_nid: int, since: StreamToken | None, token: StreamToken, members: Members) -> None:
        """Note the member events of an answer, `token`, to a client that came with `since`."""
        device = self._devices.get(device_nid)
        if device is None:
            device = _Device(since)
            self._devices.put(device_nid, device, _DEVICE_BYTES)
        device.answered, device.answers = token, members
        self._devices.resize(device_nid, _DEVICE_BYTES + _MEMBER_BYTES * (len(device.sent) + len(members)))
