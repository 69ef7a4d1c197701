-- Strangers who were asked to come again later, and those who did. Rows go when they are too old, and the oldest when there are too many,
-- both earlier where nobody came again.
CREATE TABLE known (
    key BLOB PRIMARY KEY,               -- 16 octets of a digest of who it is, or of who it is and to whom
    first INTEGER NOT NULL,             -- seconds since 1970
    last INTEGER NOT NULL               -- likewise; the same as first: nobody came again
) WITHOUT ROWID;
CREATE INDEX known_last ON known (last);
