-- Who else may do what to a mailbox (RFC 4314); the owner, who may do everything, is not in it.
CREATE TABLE acl (
    mailbox INTEGER NOT NULL REFERENCES mailbox (id),
    identifier TEXT NOT NULL,           -- an account's name, or 'anyone'; after '-' what is taken away
    rights TEXT NOT NULL,               -- letters of RFC 4314 section 2.1, at least one
    PRIMARY KEY (mailbox, identifier)
) WITHOUT ROWID;
