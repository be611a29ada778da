-- What users keep: profile, account data, filters, push rules, receipts, presence.

-- profiles: the profile fields of local users.
-- Writer: storage.profiles. Lives: until changed. Deleted: by the profile API and deactivation with erasure.
CREATE TABLE profiles (
    user_nid INTEGER NOT NULL,
    field TEXT NOT NULL,
    -- JSON value
    value TEXT NOT NULL,
    PRIMARY KEY (user_nid, field)
) STRICT, WITHOUT ROWID;

-- profile_updates: users whose new profile their room member events do not show yet.
-- Writer: storage.profiles. Lives: until the events are sent. Deleted: when they are.
CREATE TABLE profile_updates (
    user_nid INTEGER PRIMARY KEY
) STRICT;

-- account_data: private data of a user, global or for a room (tags are m.tag).
-- Writer: storage.account_data. Lives: until changed. Deleted: on deactivation.
CREATE TABLE account_data (
    user_nid INTEGER NOT NULL,
    -- 0: global
    room_nid INTEGER NOT NULL,
    type TEXT NOT NULL,
    -- JSON object
    content TEXT NOT NULL,
    -- position in the account_data stream
    pos INTEGER NOT NULL,
    PRIMARY KEY (user_nid, room_nid, type)
) STRICT, WITHOUT ROWID;

CREATE INDEX account_data_pos ON account_data (user_nid, pos);
CREATE INDEX account_data_ignored ON account_data (user_nid) WHERE room_nid = 0 AND type = 'm.ignored_user_list';

-- push_rules: what a user changed of the push rules.
-- Writer: storage.push_rules. Lives: until changed. Deleted: by the push rules API; on deactivation.
CREATE TABLE push_rules (
    user_nid INTEGER PRIMARY KEY,
    -- JSON: custom rules in order, and changes to the default rules
    changes TEXT NOT NULL,
    -- position in the push_rules stream
    pos INTEGER NOT NULL
) STRICT;

-- filters: the filters that clients stored.
-- Writer: storage.filters. Lives: for ever (clients keep the ID). Deleted: on deactivation.
CREATE TABLE filters (
    user_nid INTEGER NOT NULL,
    filter_id INTEGER NOT NULL,
    -- canonical JSON
    definition TEXT NOT NULL,
    PRIMARY KEY (user_nid, filter_id)
) STRICT, WITHOUT ROWID;

-- receipts: the newest receipt of each kind of a user in a room and thread.
-- Writer: storage.receipts. Lives: until the next one. Deleted: with the room.
CREATE TABLE receipts (
    room_nid INTEGER NOT NULL,
    user_nid INTEGER NOT NULL,
    -- 'm.read' or 'm.read.private'
    type TEXT NOT NULL,
    -- thread root's event ID or 'main'; '' for an unthreaded receipt
    thread_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    -- position of that event in the events stream
    event_pos INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    -- position in the receipts stream
    pos INTEGER NOT NULL,
    PRIMARY KEY (room_nid, user_nid, type, thread_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX receipts_pos ON receipts (room_nid, pos);
CREATE INDEX receipts_user ON receipts (user_nid, room_nid);

-- read_marks: how far a local user has read in a room: the furthest of the user's receipts and of what the user sent,
-- so that unread counts need no look at either.
-- Writer: storage.read_marks, with receipts and in the persister's commit. Lives: until the next. Deleted: on leaving.
CREATE TABLE read_marks (
    user_nid INTEGER NOT NULL,
    room_nid INTEGER NOT NULL,
    -- thread root's event ID or 'main'; '' for the room with all its threads
    thread_id TEXT NOT NULL,
    -- position in the events stream
    pos INTEGER NOT NULL,
    -- value of rooms.unread at that position
    unread INTEGER NOT NULL,
    PRIMARY KEY (user_nid, room_nid, thread_id)
) STRICT, WITHOUT ROWID;

-- for unread counts, and for the list of a room's threads
CREATE INDEX event_relations_threads ON event_relations (room_nid, pos) WHERE rel_type = 'm.thread';

-- presence: the last presence that local users chose, so that a restart keeps the status message.
-- Writer: storage.presence. Lives: until changed. Deleted: on deactivation.
CREATE TABLE presence (
    user_nid INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    status_msg TEXT,
    last_active_ts INTEGER NOT NULL
) STRICT;
