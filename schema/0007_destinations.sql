-- What goes out to other servers. Events are not copied into a queue: the table of events is the queue, and these tables
-- say how far each server has come.

-- destinations: the servers that lack something, or that failed lately; a server that has everything needs no row.
-- Writer: services.sending_out, once a second for all that has changed. Lives: while the server is behind or failing, and
-- 30 days more. Deleted: by the hourly purge; at once with what waits for it when it was out of reach for 30 days and
-- shares no room with us.
CREATE TABLE destinations (
    destination TEXT PRIMARY KEY,
    -- every event up to this position was delivered, or superseded by a newer one; NULL: up to the delivery floor
    acked_pos INTEGER,
    -- failures in a row; 0 when it answered last
    failures INTEGER NOT NULL DEFAULT 0,
    since_ts INTEGER,
    last_try_ts INTEGER,
    next_try_ts INTEGER NOT NULL DEFAULT 0,
    -- class and sentence of the last failure
    error_kind TEXT,
    error TEXT,
    last_success_ts INTEGER,
    -- 1: it says that it is gone for good
    retired INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- delivery_floor: up to this position of the events stream every server that is not behind has everything.
-- Writer: services.sending_out, once a second. Lives: for ever, one row. Deleted: never.
CREATE TABLE delivery_floor (
    singleton INTEGER PRIMARY KEY,
    pos INTEGER NOT NULL
) STRICT;

-- outgoing_rooms: the newest event of a room that other servers are to get from us, so that a server that was out of
-- reach is told what it missed without looking into each of its rooms.
-- Writer: services.sending_out, with the floor. Lives: as long as the room. Deleted: with the room's history.
CREATE TABLE outgoing_rooms (
    room_nid INTEGER PRIMARY KEY,
    pos INTEGER NOT NULL
) STRICT;

-- events_sent_on: events of other servers that were accepted here, and that we give to the room's other servers.
-- Writer: storage.outgoing_events, in the persister's commit. Lives: as long as some server may lack it, a month at most.
-- Deleted: by the hourly purge.
CREATE TABLE events_sent_on (
    pos INTEGER PRIMARY KEY
) STRICT;

-- farewells: the newest event of a room for a server that is behind and that has left the room (or was kicked or
-- banned): what it is to be told although it is no server of the room any more.
-- Writer: services.sending_out, with the floor. Lives: until the server has got it. Deleted: when it has caught up.
CREATE TABLE farewells (
    destination TEXT NOT NULL,
    room_nid INTEGER NOT NULL,
    pos INTEGER NOT NULL,
    PRIMARY KEY (destination, room_nid)
) STRICT, WITHOUT ROWID;

-- destination_edus: EDUs that must not be lost (to-device messages, device list and signing key updates).
-- Writer: storage.destination_edus, in the commit of what they tell. Lives: until the server has taken it, 30 days at most
-- while it is out of reach; at most 10,000 wait for a server. Deleted: after the acknowledgement, or by the hourly purge.
CREATE TABLE destination_edus (
    destination TEXT NOT NULL,
    nid INTEGER NOT NULL,
    type TEXT NOT NULL,
    -- the content, as canonical JSON
    json TEXT NOT NULL,
    PRIMARY KEY (destination, nid)
) STRICT, WITHOUT ROWID;
