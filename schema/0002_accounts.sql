-- Local accounts, their devices and secrets. Tokens are stored as SHA-256.

-- accounts: the users of this server.
-- Writer: storage.accounts. Lives: for ever (a user ID is never given twice). Deleted: never; deactivation empties it.
CREATE TABLE accounts (
    user_nid INTEGER PRIMARY KEY,
    -- the user ID in lower case: no two accounts that differ only in case are made
    folded_id TEXT NOT NULL,
    -- bcrypt; NULL when the account has no password
    password_hash TEXT,
    -- 'user', 'guest', 'appservice', 'bot' or 'support'
    kind TEXT NOT NULL,
    is_admin INTEGER NOT NULL DEFAULT 0,
    created_ts INTEGER NOT NULL,
    deactivated_ts INTEGER,
    -- newest position of the events stream when the user wanted to be erased: who joins a room later sees the user's
    -- events redacted; NULL: not erased
    erased_pos INTEGER,
    locked INTEGER NOT NULL DEFAULT 0,
    suspended INTEGER NOT NULL DEFAULT 0,
    -- 1: deactivated, and still to be taken out of its rooms
    leaving INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX accounts_folded ON accounts (folded_id);
CREATE INDEX accounts_guests ON accounts (user_nid) WHERE kind = 'guest';
CREATE INDEX accounts_leaving ON accounts (user_nid) WHERE leaving = 1;
CREATE INDEX accounts_erased ON accounts (user_nid) WHERE erased_pos IS NOT NULL;

-- devices: the devices of local users.
-- Writer: storage.devices. Lives: until logged out. Deleted: by logout, device deletion, deactivation.
CREATE TABLE devices (
    device_nid INTEGER PRIMARY KEY,
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    created_ts INTEGER NOT NULL,
    UNIQUE (user_nid, device_id)
) STRICT;

-- device_last_seen: when and from where a device was last used; apart from devices, as it changes all the time.
-- Writer: storage.devices, in batches each minute. Lives: as long as the device. Deleted: with it; by the expiry job.
CREATE TABLE device_last_seen (
    device_nid INTEGER PRIMARY KEY,
    ts INTEGER NOT NULL,
    -- NULL once it is older than addresses are kept
    ip TEXT,
    user_agent TEXT
) STRICT;

-- access_tokens: what clients authenticate with.
-- Writer: storage.access_tokens. Lives: until logout or, with a refresh token, until it expires. Deleted: with the device; by the expiry job.
CREATE TABLE access_tokens (
    token_hash BLOB PRIMARY KEY,
    user_nid INTEGER NOT NULL,
    device_nid INTEGER NOT NULL,
    created_ts INTEGER NOT NULL,
    -- NULL: does not expire
    valid_until_ts INTEGER,
    -- the refresh token that came with it
    refresh_nid INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX access_tokens_device ON access_tokens (device_nid);
CREATE INDEX access_tokens_expiry ON access_tokens (valid_until_ts) WHERE valid_until_ts IS NOT NULL;

-- refresh_tokens: what a client exchanges for a new access token.
-- Writer: storage.refresh_tokens. Lives: until a token that replaced it is used. Deleted: then; with the device; by the expiry job.
CREATE TABLE refresh_tokens (
    refresh_nid INTEGER PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE,
    user_nid INTEGER NOT NULL,
    device_nid INTEGER NOT NULL,
    -- the refresh token that it replaces, until this one, or the access token that came with it, is used
    prev_nid INTEGER,
    -- NULL: does not expire
    valid_until_ts INTEGER,
    -- when the whole session ends, however often it is refreshed; NULL: never
    session_until_ts INTEGER
) STRICT;

CREATE INDEX refresh_tokens_device ON refresh_tokens (device_nid);
CREATE INDEX refresh_tokens_prev ON refresh_tokens (prev_nid) WHERE prev_nid IS NOT NULL;
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (valid_until_ts) WHERE valid_until_ts IS NOT NULL;

-- login_tokens: single-use tokens of m.login.token.
-- Writer: storage.login_tokens. Lives: minutes. Deleted: on use; by the expiry job.
CREATE TABLE login_tokens (
    token_hash BLOB PRIMARY KEY,
    user_nid INTEGER NOT NULL,
    valid_until_ts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- registration_tokens: tokens that allow a registration.
-- Writer: storage.registration_tokens. Lives: until an administrator removes it. Deleted: by the administrator.
CREATE TABLE registration_tokens (
    token TEXT PRIMARY KEY,
    -- NULL: without limit
    uses_allowed INTEGER,
    -- accounts that were made with it
    completed INTEGER NOT NULL DEFAULT 0,
    -- NULL: does not expire
    valid_until_ts INTEGER
) STRICT, WITHOUT ROWID;

-- uia_sessions: user-interactive authentication under way.
-- Writer: storage.uia_sessions. Lives: an hour; of a registration, minutes longer than its success, so that a client which
-- missed the answer can ask again. Deleted: on completion; by the expiry job, which also bounds their number.
CREATE TABLE uia_sessions (
    session_id TEXT PRIMARY KEY,
    -- method and path that the session is for
    operation TEXT NOT NULL,
    -- the user who must authenticate; NULL for registration
    user_nid INTEGER,
    -- JSON: the request's body as it was first sent, without "auth", and with a hash in place of a password
    request TEXT NOT NULL,
    -- JSON object: completed stage -> what it proved
    completed TEXT NOT NULL,
    -- the account that a registration made
    registered_nid INTEGER,
    valid_until_ts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX uia_sessions_expiry ON uia_sessions (valid_until_ts);

-- openid_tokens: tokens that prove a user's identity to others.
-- Writer: storage.openid_tokens. Lives: an hour. Deleted: by the expiry job.
CREATE TABLE openid_tokens (
    token_hash BLOB PRIMARY KEY,
    user_nid INTEGER NOT NULL,
    valid_until_ts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX login_tokens_expiry ON login_tokens (valid_until_ts);
CREATE INDEX openid_tokens_expiry ON openid_tokens (valid_until_ts);
