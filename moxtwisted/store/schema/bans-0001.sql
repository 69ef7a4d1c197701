-- Networks that may not connect. Ended ones stay for a while: who comes again is banned for longer.
CREATE TABLE ban (
    network TEXT PRIMARY KEY,           -- 192.0.2.0/26, 2001:db8::/64
    cause TEXT NOT NULL,                -- 'operator', or the rule that was broken
    why TEXT NOT NULL,                  -- for people
    begun INTEGER NOT NULL,             -- seconds since 1970
    ends INTEGER,                       -- the same; NULL: when it is lifted
    times INTEGER NOT NULL              -- how often this network was banned
) WITHOUT ROWID;
