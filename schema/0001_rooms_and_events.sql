-- Rooms, events and room state.

-- counters: the last number taken of each kind (stream positions and nids).
-- Writer: every write transaction that takes a number. Lives: for ever, one row a kind. Deleted: never.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- users: the number of each user ID, local or remote.
-- Writer: storage.users. Lives: for ever (events refer to it). Deleted: never.
CREATE TABLE users (
    user_nid INTEGER PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE
) STRICT;

-- state_keys: the number of each pair of event type and state key.
-- Writer: storage.room_state. Lives: for ever. Deleted: never.
CREATE TABLE state_keys (
    key_nid INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    state_key TEXT NOT NULL,
    UNIQUE (type, state_key)
) STRICT;

-- rooms: the rooms that this server knows, with their newest end.
-- Writer: storage.rooms, in the persister's commit. Lives: as long as the room's events. Deleted: with the room.
CREATE TABLE rooms (
    room_nid INTEGER PRIMARY KEY,
    room_id TEXT NOT NULL UNIQUE,
    version TEXT NOT NULL,
    -- forward extremities: JSON list of event IDs, newest last
    extremities TEXT NOT NULL,
    -- the greatest depth among the extremities
    depth INTEGER NOT NULL,
    -- position of the newest event of the timeline
    last_pos INTEGER NOT NULL,
    -- position of the newest event that moves the room in room lists
    bump_pos INTEGER NOT NULL,
    -- how many events so far, outside threads, notify a member who has the default push rules
    unread INTEGER NOT NULL,
    joined_count INTEGER NOT NULL,
    invited_count INTEGER NOT NULL,
    -- 1: in the published room directory
    published INTEGER NOT NULL DEFAULT 0,
    -- 1: local users may not enter
    blocked INTEGER NOT NULL DEFAULT 0,
    -- 'full', or 'partial' while a faster join is filling
    state_completeness TEXT NOT NULL DEFAULT 'full'
) STRICT;

CREATE INDEX rooms_published ON rooms (joined_count, room_nid) WHERE published = 1;

-- events: every event, its JSON once, in the federation's form without "unsigned".
-- Writer: storage.events, in the persister's commit. Lives: for ever, unless purged. Deleted: with the room's history.
CREATE TABLE events (
    event_nid INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    room_nid INTEGER NOT NULL,
    -- position in the events stream; negative for history fetched later; NULL for an outlier
    pos INTEGER,
    depth INTEGER NOT NULL,
    type TEXT NOT NULL,
    sender_nid INTEGER NOT NULL,
    -- number of (type, state key); NULL for what is not state
    key_nid INTEGER,
    origin_server_ts INTEGER NOT NULL,
    -- value of rooms.unread up to and with this event
    unread INTEGER NOT NULL,
    -- 'rejected' or 'soft_failed'; NULL when accepted
    verdict TEXT,
    -- the redaction that pruned this event's JSON
    redacted_by INTEGER,
    json TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_pos ON events (pos) WHERE pos IS NOT NULL;
-- a room in the order of arrival, for sync
CREATE INDEX events_room ON events (room_nid, pos) WHERE pos IS NOT NULL;
-- a room in the order of its history, for pages of it
CREATE INDEX events_timeline ON events (room_nid, depth, pos) WHERE pos IS NOT NULL;

-- room_state: room state as intervals along the room's timeline: the event held the key from valid_from
-- (inclusive) to valid_to (exclusive); valid_to IS NULL is the current state.
-- Writer: storage.room_state, in the persister's commit. Lives: as long as the room. Deleted: with the room's history.
CREATE TABLE room_state (
    room_nid INTEGER NOT NULL,
    key_nid INTEGER NOT NULL,
    valid_from INTEGER NOT NULL,
    valid_to INTEGER,
    event_nid INTEGER NOT NULL,
    PRIMARY KEY (room_nid, key_nid, valid_from)
) STRICT, WITHOUT ROWID;

-- event_nid and valid_to: so that reading the current state reads the index alone, and none of its history
CREATE INDEX room_state_current ON room_state (room_nid, key_nid, event_nid, valid_to) WHERE valid_to IS NULL;

-- room_members: the newest membership of each user in each room; the per-user index that sync reads.
-- Writer: storage.room_members, in the persister's commit. Lives: as long as the room. Deleted: with the room.
CREATE TABLE room_members (
    user_nid INTEGER NOT NULL,
    room_nid INTEGER NOT NULL,
    membership TEXT NOT NULL,
    event_nid INTEGER NOT NULL,
    -- position of that event, so that sync finds what changed
    pos INTEGER NOT NULL,
    sender_nid INTEGER NOT NULL,
    -- 1: the user is of this server
    is_local INTEGER NOT NULL,
    -- 1: the user asked to forget the room after leaving it
    forgotten INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (room_nid, user_nid)
) STRICT, WITHOUT ROWID;

CREATE INDEX room_members_user ON room_members (user_nid, room_nid) WHERE is_local = 1;

-- event_relations: which event refers to which by m.relates_to.
-- Writer: storage.event_relations, in the persister's commit. Lives: as long as the event. Deleted: with it, or its redaction.
CREATE TABLE event_relations (
    event_nid INTEGER PRIMARY KEY,
    room_nid INTEGER NOT NULL,
    parent_id TEXT NOT NULL,
    rel_type TEXT NOT NULL,
    type TEXT NOT NULL,
    sender_nid INTEGER NOT NULL,
    -- 1: counts as unread for a member who has the default push rules
    notifies INTEGER NOT NULL,
    pos INTEGER NOT NULL
) STRICT;

-- room_nid and sender_nid: so that counting a thread, and whether a user takes part in it, reads the index alone
CREATE INDEX event_relations_parent ON event_relations (parent_id, rel_type, pos, room_nid, sender_nid);

-- redactions: redactions by the event that they redact, so that one which arrives first is not lost.
-- Writer: storage.redactions, in the persister's commit. Lives: as long as the redaction. Deleted: with the room's history.
CREATE TABLE redactions (
    redaction_nid INTEGER PRIMARY KEY,
    target_id TEXT NOT NULL
) STRICT;

CREATE INDEX redactions_target ON redactions (target_id);

-- transactions: which event a device's transaction ID made, so that a retry answers with the same event.
-- Writer: storage.transactions, in the persister's commit. Lives: a day. Deleted: by the hourly expiry job.
CREATE TABLE transactions (
    device_nid INTEGER NOT NULL,
    -- the transaction ID with the endpoint that it belongs to
    txn_id TEXT NOT NULL,
    event_nid INTEGER NOT NULL,
    created_ts INTEGER NOT NULL,
    PRIMARY KEY (device_nid, txn_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX transactions_event ON transactions (event_nid);

-- push_deltas: where the outcome of the push rules for one member differs from the room's default outcome.
-- Writer: storage.push_deltas, in the persister's commit. Lives: until read. Deleted: by receipts and on leaving.
CREATE TABLE push_deltas (
    user_nid INTEGER NOT NULL,
    room_nid INTEGER NOT NULL,
    pos INTEGER NOT NULL,
    -- thread root's event ID; '' for the main timeline
    thread_id TEXT NOT NULL,
    -- added to the default: -1, 0 or 1
    notify INTEGER NOT NULL,
    highlight INTEGER NOT NULL,
    PRIMARY KEY (user_nid, room_nid, pos)
) STRICT, WITHOUT ROWID;

-- room_aliases: the aliases of this server.
-- Writer: storage.room_aliases. Lives: until removed. Deleted: by the directory API or with the room.
CREATE TABLE room_aliases (
    alias TEXT PRIMARY KEY,
    room_nid INTEGER NOT NULL,
    creator_nid INTEGER NOT NULL,
    created_ts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX room_aliases_room ON room_aliases (room_nid);
