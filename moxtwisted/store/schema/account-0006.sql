-- What was learned of junk, by hashes of words (and of what else is peculiar about a message): see junkwords.py.

CREATE TABLE junk_word (
    id INTEGER PRIMARY KEY,             -- 63 bits of a hash; -1: all messages that were learned; -2: its `ham` counts the changes
    ham INTEGER NOT NULL,               -- messages with it that are not junk
    junk INTEGER NOT NULL,              -- and that are
    html_ham INTEGER NOT NULL,          -- of these, those with HTML
    html_junk INTEGER NOT NULL
);
