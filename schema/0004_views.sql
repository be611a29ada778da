-- Views for administrators. Their names and columns stay as they are from release to release; the tables under them do
-- not. Times are in milliseconds since the epoch. docs/administration.md shows what to ask them.

-- view_users: the accounts of this server.
CREATE VIEW view_users AS
SELECT
    u.user_id,
    a.kind,
    a.is_admin,
    a.created_ts,
    a.deactivated_ts,
    a.locked,
    a.suspended,
    (SELECT count(*) FROM devices d WHERE d.user_nid = a.user_nid) AS devices,
    (
        SELECT max(l.ts) FROM devices d JOIN device_last_seen l ON l.device_nid = d.device_nid
        WHERE d.user_nid = a.user_nid
    ) AS last_seen_ts,
    (
        SELECT count(*) FROM room_members m
        WHERE m.user_nid = a.user_nid AND m.is_local = 1 AND m.membership = 'join'
    ) AS joined_rooms
FROM accounts a JOIN users u ON u.user_nid = a.user_nid;

-- view_devices: the devices of the users of this server, with when and where each was last seen.
CREATE VIEW view_devices AS
SELECT u.user_id, d.device_id, d.display_name, d.created_ts, l.ts AS last_seen_ts,
    l.ip AS last_seen_ip, l.user_agent AS last_seen_user_agent
FROM devices d
JOIN users u ON u.user_nid = d.user_nid
LEFT JOIN device_last_seen l ON l.device_nid = d.device_nid;

-- view_rooms: the rooms that this server knows. name_event is the JSON of the m.room.name event.
CREATE VIEW view_rooms AS
SELECT
    r.room_id,
    r.version,
    r.joined_count,
    r.invited_count,
    (
        SELECT count(*) FROM room_members m
        WHERE m.room_nid = r.room_nid AND m.is_local = 1 AND m.membership = 'join'
    ) AS local_members,
    r.published,
    r.blocked,
    (SELECT count(*) FROM events e WHERE e.room_nid = r.room_nid AND e.pos IS NOT NULL) AS events,
    (SELECT max(e.origin_server_ts) FROM events e WHERE e.room_nid = r.room_nid AND e.pos = r.last_pos) AS last_event_ts,
    (
        SELECT e.json FROM room_state s
        JOIN state_keys k ON k.key_nid = s.key_nid
        JOIN events e ON e.event_nid = s.event_nid
        WHERE s.room_nid = r.room_nid AND s.valid_to IS NULL AND k.type = 'm.room.name' AND k.state_key = ''
    ) AS name_event
FROM rooms r;

-- view_room_members: who is, or was, in which room.
CREATE VIEW view_room_members AS
SELECT r.room_id, u.user_id, m.membership, s.user_id AS sender, m.is_local, m.forgotten
FROM room_members m
JOIN rooms r ON r.room_nid = m.room_nid
JOIN users u ON u.user_nid = m.user_nid
JOIN users s ON s.user_nid = m.sender_nid;

-- view_room_state: the current state of the rooms.
CREATE VIEW view_room_state AS
SELECT r.room_id, k.type, k.state_key, e.event_id, u.user_id AS sender, e.origin_server_ts, e.json
FROM room_state s
JOIN rooms r ON r.room_nid = s.room_nid
JOIN state_keys k ON k.key_nid = s.key_nid
JOIN events e ON e.event_nid = s.event_nid
JOIN users u ON u.user_nid = e.sender_nid
WHERE s.valid_to IS NULL;

-- view_events: the timelines of the rooms, each event with its JSON.
CREATE VIEW view_events AS
SELECT
    r.room_id, e.pos, e.event_id, e.type, k.state_key, u.user_id AS sender, e.origin_server_ts, e.depth, e.verdict,
    b.event_id AS redacted_by, e.json
FROM events e
JOIN rooms r ON r.room_nid = e.room_nid
JOIN users u ON u.user_nid = e.sender_nid
LEFT JOIN state_keys k ON k.key_nid = e.key_nid
LEFT JOIN events b ON b.event_nid = e.redacted_by
WHERE e.pos IS NOT NULL;

-- view_aliases: the aliases of this server.
CREATE VIEW view_aliases AS
SELECT a.alias, r.room_id, u.user_id AS creator, a.created_ts
FROM room_aliases a JOIN rooms r ON r.room_nid = a.room_nid JOIN users u ON u.user_nid = a.creator_nid;
