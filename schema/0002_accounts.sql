-- Local accounts, their devices and secrets. Tokens are stored as SHA-256.

-- accounts: the users of this server.
-- Writer: storage.accounts. Lives: for ever (a user ID is never given twice). Deleted: never; deactivation empties it.
CREATE TABLE accounts (
    user_nid INTEGER PRIMARY KEY,
    -- bcrypt; NULL when the account has no password
    password_hash TEXT,
    -- 'user', 'guest', 'appservice', 'bot' or 'support'
    kind TEXT NOT NULL,
    is_admin INTEGER NOT NULL DEFAULT 0,
    created_ts INTEGER NOT NULL,
    deactivated_ts INTEGER,
    erased INTEGER NOT NULL DEFAULT 0,
    locked INTEGER NOT NULL DEFAULT 0,
    suspended INTEGER NOT NULL DEFAULT 0
) STRICT;

-- devices: the devices of local users.
-- Writer: storage.devices. Lives: until logged out. Deleted: by logout, device deletion, deactivation.
CREATE TABLE devices (
    device_nid INTEGER PRIMARY KEY,
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    created_ts INTEGER NOT NULL,
    last_seen_ts INTEGER,
    last_seen_ip TEXT,
    last_seen_user_agent TEXT,
    UNIQUE (user_nid, device_id)
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

-- refresh_tokens: what a client exchanges for a new access token.
-- Writer: storage.refresh_tokens. Lives: until the token that replaced it is used. Deleted: with the device; on rotation.
CREATE TABLE refresh_tokens (
    refresh_nid INTEGER PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE,
    user_nid INTEGER NOT NULL,
    device_nid INTEGER NOT NULL,
    -- the refresh token that it was exchanged for, while that one is unused
    next_nid INTEGER,
    valid_until_ts INTEGER
) STRICT;

CREATE INDEX refresh_tokens_device ON refresh_tokens (device_nid);

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
    pending INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    -- NULL: does not expire
    valid_until_ts INTEGER
) STRICT, WITHOUT ROWID;

-- uia_sessions: user-interactive authentication under way.
-- Writer: storage.uia_sessions. Lives: an hour. Deleted: on completion; by the expiry job.
CREATE TABLE uia_sessions (
    session_id TEXT PRIMARY KEY,
    -- method and path that the session is for
    operation TEXT NOT NULL,
    -- the user who must authenticate; NULL for registration
    user_nid INTEGER,
    -- JSON: the request's body as it was first sent, without "auth" and passwords in clear
    request TEXT NOT NULL,
    -- JSON object: completed stage -> what it proved
    completed TEXT NOT NULL,
    created_ts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- openid_tokens: tokens that prove a user's identity to others.
-- Writer: storage.openid_tokens. Lives: an hour. Deleted: by the expiry job.
CREATE TABLE openid_tokens (
    token_hash BLOB PRIMARY KEY,
    user_nid INTEGER NOT NULL,
    valid_until_ts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
