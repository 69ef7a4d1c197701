-- What the account knows of senders, and which messages are junk: see judgements.py and reputation.py.

CREATE TABLE unjudged (                 -- bodies whose messages came, went or changed so that they may be junk, or not, or neither now
    body INTEGER PRIMARY KEY
);
INSERT INTO unjudged SELECT DISTINCT body FROM message WHERE flags & 2 OR keywords LIKE '%junk%';

CREATE TABLE judged (                   -- bodies that are junk or not junk by the flags of their messages, and what was made of it
    body INTEGER PRIMARY KEY,
    junk INTEGER NOT NULL,              -- 1 or 0
    at INTEGER NOT NULL,                -- seconds since 1970: when it came; as in `history`
    origin INTEGER NOT NULL,            -- id of the mailbox that it was destined for, or minus a hash of its name; 0: nothing is known of its sender
    learned INTEGER NOT NULL            -- version of the learner that learned its words as that; 0: none has
);

-- Those destined for mailboxes that are not there: when one of that name comes, they are judged again.
CREATE INDEX judged_elsewhere ON judged (origin) WHERE origin < 0;

CREATE TABLE history (                  -- the same by what is known of the senders
    key INTEGER NOT NULL,               -- hash of (origin, kind, whether From was validated, what it is)
    at INTEGER NOT NULL,
    body INTEGER NOT NULL,
    junk INTEGER NOT NULL,
    localpart INTEGER NOT NULL,         -- a number made of the local part in From
    PRIMARY KEY (key, at, body)
) WITHOUT ROWID;

CREATE TABLE correspondent (            -- whom the account wrote to: addresses, domains, organizational domains
    hash INTEGER PRIMARY KEY,           -- of (kind, what it is)
    at INTEGER NOT NULL                 -- seconds since 1970: the last time
);
