-- Waiting mail as a mailbox of the account that sent it (moxtwisted/store/queuemailbox.py).

CREATE TABLE owner (                    -- numbers of each account's mailbox; a row stays when the account goes
    account TEXT PRIMARY KEY,
    uidnext INTEGER NOT NULL,
    modseq INTEGER NOT NULL             -- of the last change
) WITHOUT ROWID;

-- A message gets another UID whenever something about its recipients changes: what a client was shown under one stays true.
ALTER TABLE submission ADD COLUMN uid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE submission ADD COLUMN modseq INTEGER NOT NULL DEFAULT 1;
ALTER TABLE submission ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;      -- whether it has \Deleted
ALTER TABLE submission ADD COLUMN header_size INTEGER NOT NULL DEFAULT 0;  -- octets, without the prefix
ALTER TABLE submission ADD COLUMN facts BLOB;                              -- moxtwisted/store/facts.py; NULL: not rendered yet

UPDATE submission SET uid = (
    SELECT count(*) FROM submission earlier WHERE earlier.account = submission.account AND earlier.id <= submission.id
);
CREATE UNIQUE INDEX submission_uid ON submission (account, uid);
INSERT INTO owner SELECT account, max(uid) + 1, 1 FROM submission GROUP BY account;

-- One for all accounts, and another one when the file is made anew.
INSERT INTO setting VALUES ('uidvalidity', CAST(strftime('%s', 'now') AS INTEGER));

CREATE TABLE leftover (                 -- submissions that are gone and whose chunks somebody was still reading
    submission INTEGER PRIMARY KEY
);
