-- Reports of other servers about domains here. Rows go when they are too old, and the oldest when there are too many.
CREATE TABLE report (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,                 -- 'dmarc', 'tls'
    domain TEXT NOT NULL,               -- that it is about; A-labels
    organization TEXT NOT NULL,         -- who made it, as it says
    report_id TEXT NOT NULL,            -- as it says
    sender TEXT NOT NULL,               -- the domain in From of its message, which is proved
    begin INTEGER NOT NULL,             -- of what it is about, seconds since 1970
    end INTEGER NOT NULL,
    received INTEGER NOT NULL,
    total INTEGER NOT NULL,             -- messages (dmarc), sessions (tls)
    failed INTEGER NOT NULL,            -- of these
    octets INTEGER NOT NULL,            -- of detail, unpacked
    detail BLOB NOT NULL                -- all of it as JSON, zlib
);
CREATE UNIQUE INDEX report_known ON report (kind, domain, sender, organization, report_id);
CREATE INDEX report_received ON report (kind, received);
