-- Which accounts may share something with whom: an index of the tables `acl` of all accounts, never with less than they have.
CREATE TABLE grants (
    identifier TEXT NOT NULL,           -- an account's name, or 'anyone'
    owner TEXT NOT NULL,                -- account
    PRIMARY KEY (identifier, owner)
) WITHOUT ROWID;
