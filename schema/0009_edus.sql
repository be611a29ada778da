-- What servers tell each other beside events: messages to devices, and the lists of users' devices.

-- to_device_inbox: messages that wait for a device of a local user.
-- Writer: storage.to_device. Lives: until the device says that it has the message, by the token of its next sync.
-- Deleted: then; with the device. How many may wait: services.to_device_delivery.
CREATE TABLE to_device_inbox (
    device_nid INTEGER NOT NULL,
    -- position in the to_device stream
    pos INTEGER NOT NULL,
    -- the sender's server; '' for this one
    origin TEXT NOT NULL,
    -- as a client gets it: type, sender, content
    json TEXT NOT NULL,
    PRIMARY KEY (device_nid, pos)
) STRICT, WITHOUT ROWID;

-- to_device_load: how much each server has waiting for a device, so that nobody can fill the disk.
-- Writer: storage.to_device, with the inbox. Lives: while something waits. Deleted: with the last message, or the device.
CREATE TABLE to_device_load (
    device_nid INTEGER NOT NULL,
    origin TEXT NOT NULL,
    messages INTEGER NOT NULL,
    -- characters of the JSON
    size INTEGER NOT NULL,
    PRIMARY KEY (device_nid, origin)
) STRICT, WITHOUT ROWID;

-- to_device_received: which messages of other servers have come, as a server may send one again.
-- Writer: storage.to_device. Lives: a week. Deleted: by a job.
CREATE TABLE to_device_received (
    origin TEXT NOT NULL,
    message_id TEXT NOT NULL,
    received_ts INTEGER NOT NULL,
    PRIMARY KEY (origin, message_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX to_device_received_ts ON to_device_received (received_ts);

-- changed_devices: devices of local users that were made, renamed or deleted, and of which nobody was told yet.
-- Writer: storage.devices; also tools beside the running server, so it has no positions. Lives: moments. Deleted: when
-- the change has its place in device_list_changes, and waits in the outbox for the servers that it concerns.
CREATE TABLE changed_devices (
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    PRIMARY KEY (user_nid, device_id)
) STRICT, WITHOUT ROWID;

-- device_list_changes: when the devices, or keys, of a user last changed, as far as this server knows.
-- Writer: storage.device_list_changes. Lives: of local users for ever, of others while they share a room with one of ours.
-- Deleted: by the job that forgets such users.
CREATE TABLE device_list_changes (
    user_nid INTEGER PRIMARY KEY,
    -- position in the device_lists stream; of a local user the stream_id of the newest m.device_list_update
    pos INTEGER NOT NULL,
    -- the one before, its prev_id; 0: none
    prev_pos INTEGER NOT NULL
) STRICT;

CREATE INDEX device_list_changes_pos ON device_list_changes (pos);

-- remote_device_lists: what is known of the devices of users of other servers who share a room with one of ours.
-- Writer: storage.remote_devices. Lives: while they share a room. Deleted: by the job that forgets them.
CREATE TABLE remote_device_lists (
    user_nid INTEGER PRIMARY KEY,
    -- of the newest update that was applied, by the count of the user's server
    stream_id INTEGER NOT NULL,
    -- 1: an update was missed, or the list was never read as a whole
    is_stale INTEGER NOT NULL,
    -- when the whole list was last read from the user's server; NULL: never
    verified_ts INTEGER,
    -- attempts to read it since it became stale, when the next is due, and why the last one failed
    tries INTEGER NOT NULL,
    next_try_ts INTEGER NOT NULL,
    last_error TEXT
) STRICT;

CREATE INDEX remote_device_lists_stale ON remote_device_lists (next_try_ts) WHERE is_stale = 1;

-- remote_devices: the devices on those lists.
-- Writer: storage.remote_devices. Lives: until its user's server says that it is deleted. Deleted: then; with the list.
CREATE TABLE remote_devices (
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    stream_id INTEGER NOT NULL,
    -- as GET /user/devices gives it: device_id, keys, device_display_name
    json TEXT NOT NULL,
    PRIMARY KEY (user_nid, device_id)
) STRICT, WITHOUT ROWID;

-- remote_signing_keys: the cross-signing keys of the same users.
-- Writer: storage.remote_devices. Lives: until replaced. Deleted: with the list.
CREATE TABLE remote_signing_keys (
    user_nid INTEGER PRIMARY KEY,
    -- master_key and self_signing_key, or one of them
    json TEXT NOT NULL
) STRICT;

-- Which rooms a user of another server is in, and whether a room has anybody of ours.
CREATE INDEX room_members_remote ON room_members (user_nid, room_nid) WHERE is_local = 0 AND membership = 'join';
CREATE INDEX room_members_local ON room_members (room_nid) WHERE is_local = 1 AND membership = 'join';
