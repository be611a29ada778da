-- The room DAG beyond one server's timeline: state on forks, gaps, auth chains, the servers of a room.

-- The state before an event: NULL for the timeline's own just before the event's position (nearly all events), else a
-- row of state_sets. An event without position and without this is an outlier: the state before it is not known.
ALTER TABLE events ADD COLUMN state_nid INTEGER;

-- state_sets: room states that are not the timeline's own: that after the position base_pos, but for some entries.
-- Writer: storage.event_state. Lives: as long as the events that refer to it. Deleted: with the room's history.
CREATE TABLE state_sets (
    state_nid INTEGER PRIMARY KEY,
    room_nid INTEGER NOT NULL,
    base_pos INTEGER NOT NULL
) STRICT;

-- state_set_entries: what a state set has in another way than the timeline at its base.
-- Writer: storage.event_state. Lives: as long as its state set. Deleted: with it.
CREATE TABLE state_set_entries (
    state_nid INTEGER NOT NULL,
    key_nid INTEGER NOT NULL,
    -- NULL: the state set has nothing of this key
    event_nid INTEGER,
    PRIMARY KEY (state_nid, key_nid)
) STRICT, WITHOUT ROWID;

-- state_moves: keys whose current state changed at a position, other than by the event of that position: what state
-- resolution or joining a room anew has changed.
-- Writer: storage.event_state, in the commit that moves room_state. Lives: as long as the room's history. Deleted: with it.
CREATE TABLE state_moves (
    room_nid INTEGER NOT NULL,
    pos INTEGER NOT NULL,
    key_nid INTEGER NOT NULL,
    PRIMARY KEY (room_nid, pos, key_nid)
) STRICT, WITHOUT ROWID;

-- event_auth: which state events name a state event among their auth_events; m.room.create, which all name, is left out.
-- It answers whether an event is in the auth chain of a room's state without walking that chain.
-- Writer: storage.auth_edges, in the commit that stores the naming event. Lives: as long as that. Deleted: with it.
CREATE TABLE event_auth (
    auth_nid INTEGER NOT NULL,
    event_nid INTEGER NOT NULL,
    PRIMARY KEY (auth_nid, event_nid)
) STRICT, WITHOUT ROWID;

-- timeline_gaps: prev_events that are not here: the room's history has a hole before the event at event_nid.
-- Writer: storage.timeline_gaps. Lives: until the hole is filled. Deleted: when the missing event is stored, or the room goes.
CREATE TABLE timeline_gaps (
    room_nid INTEGER NOT NULL,
    missing_id TEXT NOT NULL,
    event_nid INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    next_try_ts INTEGER NOT NULL,
    last_error TEXT,
    PRIMARY KEY (room_nid, missing_id, event_nid)
) STRICT, WITHOUT ROWID;

CREATE INDEX timeline_gaps_event ON timeline_gaps (event_nid);
CREATE INDEX timeline_gaps_next ON timeline_gaps (next_try_ts);

-- timeline_breaks: positions of events between which and what the room had before lies history that was not here when
-- they came: it is fetched later, or never. A timeline must not go on across them as if nothing were missing.
-- Writer: storage.timeline_breaks, in the persister's commit. Lives: as long as the event. Deleted: with the room's history.
CREATE TABLE timeline_breaks (
    room_nid INTEGER NOT NULL,
    pos INTEGER NOT NULL,
    PRIMARY KEY (room_nid, pos)
) STRICT, WITHOUT ROWID;

-- room_servers: how many joined members a room has of each other server.
-- Writer: storage.room_servers, in the persister's commit. Lives: while a server has members. Deleted: with its last member.
CREATE TABLE room_servers (
    room_nid INTEGER NOT NULL,
    server_name TEXT NOT NULL,
    members INTEGER NOT NULL,
    PRIMARY KEY (room_nid, server_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX room_servers_server ON room_servers (server_name, room_nid);

-- stripped_state: the state that came with an invite to, or a knock on, a room that this server takes no part in; a JSON list.
-- Writer: services.out_of_band. Lives: while the user has no other membership. Deleted: by the user's next membership.
CREATE TABLE stripped_state (
    room_nid INTEGER NOT NULL,
    user_nid INTEGER NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (room_nid, user_nid)
) STRICT, WITHOUT ROWID;
