-- Signing keys of other servers.

-- server_keys: the keys with which another server signs, or has signed, what it sends.
-- Writer: storage.server_keys, when a server or a notary has told them. Lives: as long as it is used, for events are
-- checked again with keys of servers that are gone. Deleted: storage.server_keys.expire, a year after its last use.
CREATE TABLE server_keys (
    server_name TEXT NOT NULL,
    -- ed25519:version
    key_id TEXT NOT NULL,
    -- 32 bytes
    public_key BLOB NOT NULL,
    -- until when it is good, in milliseconds since 1970, at most a week after it was told; NULL for an old key
    valid_until_ts INTEGER,
    -- when an old key went out of use; NULL for a current key
    expired_ts INTEGER,
    PRIMARY KEY (server_name, key_id)
) STRICT, WITHOUT ROWID;

-- key_servers: what is known of each server whose keys are known, and the newest signed object that says it.
-- Writer: storage.server_keys, with the keys. Lives: as long as the keys. Deleted: storage.server_keys.expire.
CREATE TABLE key_servers (
    server_name TEXT PRIMARY KEY,
    -- the answer to GET /_matrix/key/v2/server as it was received, with its signatures; what this server tells as a
    -- notary. NULL if none was small enough to be kept.
    response TEXT,
    -- who told it: the server itself, or a notary
    from_server TEXT NOT NULL,
    received_ts INTEGER NOT NULL,
    -- until when the current keys are good; the greatest of all answers
    valid_until_ts INTEGER NOT NULL,
    -- when the keys were last needed, to within some weeks
    used_ts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX key_servers_used ON key_servers (used_ts);
