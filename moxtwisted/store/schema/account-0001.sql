-- One account: its mailboxes, messages, bodies, search index, threads and settings.
-- PRAGMA user_version is the number of the newest migration that was applied.

CREATE TABLE setting (
    key TEXT PRIMARY KEY,               -- 'modseq' (or a mailbox's, if that is greater), 'last_body' (or the greatest there is), 'uidvalidity_next', 'retired_modseq', 'indexed_body', …; 'secret:NAME' for verifiers
    value
) WITHOUT ROWID;
INSERT INTO setting VALUES ('linked_body', 0);   -- the links of bodies beyond it are in the writer's memory: see threads.py

CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,          -- UTF-8, NFC, '/' between levels, INBOX in capitals
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL DEFAULT 1,
    special_use TEXT NOT NULL DEFAULT '',   -- '\Sent' …, separated by spaces
    modseq INTEGER NOT NULL,            -- of the newest change to it or to a message in it
    createseq INTEGER NOT NULL,
    -- counts, kept with every change and proved by the checker
    messages INTEGER NOT NULL DEFAULT 0,
    unseen INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    deleted_size INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE subscription (name TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE annotation (               -- RFC 5464; mailbox 0 is the account itself
    mailbox INTEGER NOT NULL,
    key TEXT NOT NULL,                  -- lower case, '/private/comment'
    value BLOB NOT NULL,
    modseq INTEGER NOT NULL,
    PRIMARY KEY (mailbox, key)
) WITHOUT ROWID;

CREATE TABLE message (                  -- what is in a mailbox now
    mailbox INTEGER NOT NULL REFERENCES mailbox (id),
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    createseq INTEGER NOT NULL,
    flags INTEGER NOT NULL,             -- bits of moxtwisted.message.flags
    keywords TEXT NOT NULL DEFAULT '',  -- names, separated by spaces
    size INTEGER NOT NULL,              -- octets, prefix included
    internaldate INTEGER NOT NULL,      -- seconds since 1970, UTC
    savedate INTEGER NOT NULL,          -- seconds since 1970, UTC: when it came into this mailbox
    body INTEGER NOT NULL REFERENCES body (id),
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE INDEX message_body ON message (body);

CREATE TABLE expunged (                 -- what was, for QRESYNC; pruned by `retire`
    mailbox INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    PRIMARY KEY (mailbox, modseq, uid)
) WITHOUT ROWID;

CREATE TABLE modseq_note (              -- which modseq the account had when: dates for `retire`
    at INTEGER PRIMARY KEY,             -- seconds since 1970
    modseq INTEGER NOT NULL
);

CREATE TABLE body (                     -- a message's octets and what was rendered from them; shared by copies
    id INTEGER PRIMARY KEY,             -- never used again: see setting 'last_body'
    refs INTEGER NOT NULL,              -- rows of `message` that name it; 0: to be removed when nobody reads it
    size INTEGER NOT NULL,              -- octets of the chunks together, without the prefix
    prefix_size INTEGER NOT NULL,       -- octets of the header fields put before it at delivery
    header_size INTEGER NOT NULL,       -- octets of the header without the prefix
    thread INTEGER NOT NULL,            -- id of the first body of its thread
    facts BLOB NOT NULL                 -- what was rendered from it, and the prefix, packed: see facts.py
);

CREATE TABLE chunk (                    -- id = body * 65536 + number; each 262,144 octets but the last
    id INTEGER PRIMARY KEY,
    codec INTEGER NOT NULL,             -- 0 as it is, 1 zstd, 2 zstd with dictionary 1
    data BLOB NOT NULL
);

-- Most threads have one message: only the others are here.
CREATE INDEX body_thread ON body (thread) WHERE thread <> id;
-- Bodies to be removed; nearly always empty.
CREATE INDEX body_unused ON body (id) WHERE refs = 0;

-- Threads: a link is the hash of (Message-ID or referenced id, base subject); see threads.py.
CREATE TABLE thread_link (
    hash INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL
);
CREATE TABLE thread_subject (
    hash INTEGER PRIMARY KEY,           -- of the base subject
    thread INTEGER NOT NULL,            -- the newest with it
    at INTEGER NOT NULL                 -- seconds since 1970 of its newest message
);

-- Search: the words of every body up to setting 'indexed_body'; rowid = body.id. See search.py.
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = '', contentless_delete = 1, detail = none,
    tokenize = "unicode61 remove_diacritics 0"
);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, 'row');
