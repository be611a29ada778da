"""Builds what servers tell each other beside events: typing, receipts, presence, messages to devices, device lists."""

import secrets

from matrixd.http.client.to_device import ToDevice as ToDeviceEndpoint
from matrixd.master.frame import Frame, Job
from matrixd.master.user_data import UserData
from matrixd.queries.room_servers import RoomServers
from matrixd.queries.server_acls import ServerAcls
from matrixd.services.outbox import Outbox
from matrixd.services.receiving.device_list_resync import DeviceListResync, RemoteUsers
from matrixd.services.receiving.device_lists import DeviceListEdus
from matrixd.services.receiving.direct_to_device import DirectToDeviceEdus
from matrixd.services.receiving.edus import Edus, EduType
from matrixd.services.receiving.presence import PresenceEdus
from matrixd.services.receiving.receipts import ReceiptEdus
from matrixd.services.receiving.signing_keys import SigningKeyEdus
from matrixd.services.receiving.typing import TypingEdus
from matrixd.services.receiving.users_in_sight import UsersInSight
from matrixd.services.sending_edus.device_lists import DeviceListsOut
from matrixd.services.sending_edus.presence import PresenceOut
from matrixd.services.sending_edus.receipts import ReceiptsOut
from matrixd.services.sending_edus.room_ids import RoomIds
from matrixd.services.sending_edus.typing import TypingOut
from matrixd.services.to_device import ToDevice

_MINUTE = 60.0
#: Bytes of randomness in a message's ID: 24 characters, of the 32 that there may be.
_MESSAGE_ID_BYTES = 18


def build_federation_edus(
    frame: Frame,
    user_data: UserData,
    outbox: Outbox,
    room_servers: RoomServers,
    acls: ServerAcls,
    remote_users: RemoteUsers,
) -> Edus:
    """What takes the EDUs of transactions; serves sendToDevice, and tells other servers what users here do."""
    config, database, clock = frame.config, frame.database, frame.clock
    server_name, is_federated = config.server.server_name, config.presence.mode == "all"
    resync = DeviceListResync(database, remote_users, clock, frame.reactor)
    in_sight = UsersInSight(database, frame.feed, clock, frame.reactor, resync.soon)
    frame.at_start.append(resync.begin)
    frame.at_stop.append(resync.stop)
    frame.jobs.append(Job("forgetting users of other servers", 60 * _MINUTE, in_sight.forget))
    _tell_others(frame, outbox, room_servers, is_federated)
    to_device = ToDevice(
        database, outbox, clock, server_name, lambda: secrets.token_urlsafe(_MESSAGE_ID_BYTES)
    )
    frame.serve("client", ToDeviceEndpoint(to_device).routes())
    types: dict[str, EduType] = {
        "m.typing": TypingEdus(database, user_data.typing, acls),
        "m.receipt": ReceiptEdus(user_data.receipts, acls, frame.feed),
        "m.direct_to_device": DirectToDeviceEdus(database, clock, server_name),
        "m.device_list_update": DeviceListEdus(database, clock, resync.soon),
        "m.signing_key_update": SigningKeyEdus(database),
    }
    if is_federated:
        types["m.presence"] = PresenceEdus(user_data.remote_presence)
    return Edus(types, clock)


def _tell_others(frame: Frame, outbox: Outbox, room_servers: RoomServers, with_presence: bool) -> None:
    room_ids = RoomIds(frame.database, frame.user_rooms)
    TypingOut(frame.feed, outbox, room_servers, room_ids, frame.reactor, frame.is_local)
    ReceiptsOut(frame.feed, outbox, room_servers, room_ids, frame.reactor, frame.is_local)
    if with_presence:
        PresenceOut(
            frame.feed, outbox, room_servers, frame.user_rooms, frame.clock, frame.reactor, frame.is_local
        )
    device_lists = DeviceListsOut(
        frame.database, frame.feed, outbox, frame.config.federation.allow_device_name_lookup
    )
    frame.at_start.append(device_lists.run)
    frame.jobs.append(Job("telling other servers of changed devices", _MINUTE, device_lists.run))
