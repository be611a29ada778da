-- Joining rooms through other servers: how far each join has come, and what came of the room so far.

-- remote_joins: one row for each room that was joined through another server, with how far that has come.
-- Writer: storage.remote_joins. Lives: while the join goes on, and a week after. Deleted: by the daily job, or by the next
-- join of the room.
CREATE TABLE remote_joins (
    room_id TEXT PRIMARY KEY,
    -- whose join it is; other users of this server who want to join meanwhile wait for it
    user_id TEXT NOT NULL,
    -- 'made', 'sent', 'stored', 'filling', 'complete' or 'abandoned': services.remote_joins.states
    state TEXT NOT NULL,
    -- what the user wants in the join event, beside the membership: a JSON object
    content TEXT NOT NULL,
    -- servers that may help, the best first: a JSON list
    servers TEXT NOT NULL,
    -- from here on NULL until a server has answered
    -- the server that took the join event
    resident TEXT,
    version TEXT,
    -- the join event, as the other servers have it: its JSON and its ID
    event TEXT,
    event_id TEXT,
    -- 1: the answer left members out
    members_omitted INTEGER,
    -- tries to learn what is missing, of all servers together
    tries INTEGER NOT NULL DEFAULT 0,
    -- milliseconds since the epoch
    next_try_ts INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    created_ts INTEGER NOT NULL,
    changed_ts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX remote_joins_state ON remote_joins (state, next_try_ts);

-- remote_join_pdus: events of another server's answer, as they came; nothing of them is checked.
-- Writer: storage.remote_join_pdus. Lives: until they are checked. Deleted: with the commit that stores what they hold, or
-- when the join begins anew.
CREATE TABLE remote_join_pdus (
    room_id TEXT NOT NULL,
    -- as the event claims; an event is deeper than those that it names in auth_events
    depth INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    -- 1: of the state, 0: of the auth chain
    in_state INTEGER NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (room_id, depth, seq)
) STRICT, WITHOUT ROWID;

-- remote_join_state: the state before the join event, as far as it is checked and not yet in room_state.
-- Writer: storage.remote_join_state. Lives: until it is in room_state. Deleted: with that commit, or when the join begins anew.
CREATE TABLE remote_join_state (
    room_nid INTEGER NOT NULL,
    key_nid INTEGER NOT NULL,
    event_nid INTEGER NOT NULL,
    PRIMARY KEY (room_nid, key_nid)
) STRICT, WITHOUT ROWID;

-- the position in the events stream at which the last members of a room became known that was joined through another
-- server; 0 where all were known when the room was joined
ALTER TABLE rooms ADD COLUMN filled_pos INTEGER NOT NULL DEFAULT 0;

-- view_remote_joins: rooms that are joined through other servers, or were within the last week, and how far that came.
CREATE VIEW view_remote_joins AS
SELECT room_id, user_id, state, resident, tries, next_try_ts, error, created_ts, changed_ts FROM remote_joins;
