-- Mail on its way out: each message once, each of its recipients with what became of it so far.

CREATE TABLE setting (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

CREATE TABLE submission (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,              -- who sent it; '' for the server itself
    sender TEXT NOT NULL,               -- reverse-path without angle brackets, '' for <>
    queued INTEGER NOT NULL,            -- seconds since 1970
    size INTEGER NOT NULL,              -- octets of the chunks together, without the prefix
    prefix BLOB NOT NULL,               -- header fields to stand before it
    message_id TEXT NOT NULL,
    body TEXT NOT NULL,                 -- 7BIT, 8BITMIME, BINARYMIME
    smtputf8 INTEGER NOT NULL,
    require_tls INTEGER NOT NULL,
    ret TEXT NOT NULL,                  -- RFC 3461: '', FULL, HDRS
    envid TEXT NOT NULL
);

CREATE TABLE recipient (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    submission INTEGER NOT NULL REFERENCES submission (id),
    address TEXT NOT NULL,
    notify TEXT NOT NULL,               -- RFC 3461, separated by commas; '' when not given
    orcpt_type TEXT NOT NULL,
    orcpt TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER NOT NULL,      -- seconds since 1970
    why TEXT NOT NULL                   -- why it waits, for people
);
CREATE INDEX recipient_next ON recipient (next_attempt);
CREATE INDEX recipient_submission ON recipient (submission);

CREATE TABLE chunk (                    -- as in account-0001.sql, id = submission * 65536 + number
    id INTEGER PRIMARY KEY,
    codec INTEGER NOT NULL,
    data BLOB NOT NULL
);

-- What accounts sent lately, for their daily limits; rows older than a day are removed.
CREATE TABLE sent (
    account TEXT NOT NULL,
    at INTEGER NOT NULL,
    recipients INTEGER NOT NULL
);
CREATE INDEX sent_account ON sent (account, at);

CREATE TABLE correspondent (            -- to whom an account ever wrote, and since when
    account TEXT NOT NULL,
    address TEXT NOT NULL,              -- lower case
    since INTEGER NOT NULL,
    PRIMARY KEY (account, address)
) WITHOUT ROWID;
