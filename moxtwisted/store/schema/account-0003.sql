-- Mail that was fetched from other servers, so that it is fetched once: see foreign.py.

CREATE TABLE foreign_mailbox (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,               -- 'user@host:port'
    name TEXT NOT NULL,                 -- what the other server calls it
    uidvalidity INTEGER NOT NULL,       -- theirs
    modseq INTEGER NOT NULL DEFAULT 0,  -- theirs: up to it, changes of flags were taken over
    mailbox INTEGER NOT NULL,           -- ours; it may be gone
    UNIQUE (source, name)
);

CREATE TABLE foreign_message (
    origin INTEGER NOT NULL,            -- foreign_mailbox.id
    uid INTEGER NOT NULL,               -- theirs; negative: of an earlier uidvalidity
    mailbox INTEGER NOT NULL,           -- where it was put; it may have been moved or removed since
    local_uid INTEGER NOT NULL,
    flags INTEGER NOT NULL,             -- theirs when it was seen last, so that our own changes stay
    keywords TEXT NOT NULL,
    digest BLOB NOT NULL,               -- of its octets, to know it again under another uid
    PRIMARY KEY (origin, uid)
) WITHOUT ROWID;
CREATE INDEX foreign_digest ON foreign_message (origin, digest) WHERE uid < 0;
