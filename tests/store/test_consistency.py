"""The checker finds every kind of damage that it knows, and nothing in a store that is well."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.flags import DELETED, SEEN, MessageFlags
from moxtwisted.store import consistency, maintenance
from moxtwisted.store.accounts import Account
from moxtwisted.store.interfaces import Addition, NewMessage, Sender
from moxtwisted.store.ledger import Ledger
from moxtwisted.store.store import Store

#: Statements that plant a damage, and words of the sentence that must name it. One for each question.
DAMAGES = (
    ("UPDATE mailbox SET messages = messages + 1 WHERE id = 1", "mailbox 1 (INBOX) counts 3 "),
    ("UPDATE mailbox SET unseen = 7 WHERE id = 1", "mailbox 1 (INBOX) counts 2 7 "),
    ("UPDATE mailbox SET deleted_size = 1 WHERE id = 1", "mailbox 1 (INBOX) counts"),
    (
        "UPDATE mailbox SET uidnext = 2 WHERE id = 1",
        "message 2 of mailbox 1 is not below the mailbox's next UID 2",
    ),
    ("UPDATE message SET mailbox = 77 WHERE uid = 1 AND mailbox = 1", "message 1 lies in mailbox 77"),
    (
        "UPDATE message SET modseq = 9999 WHERE uid = 1 AND mailbox = 1",
        "message 1 of mailbox 1 has modseq 9999",
    ),
    (
        "UPDATE message SET createseq = modseq + 1 WHERE uid = 1 AND mailbox = 1",
        "message 1 of mailbox 1 has modseq",
    ),
    ("UPDATE message SET body = 999 WHERE uid = 1 AND mailbox = 1", "message 1 of mailbox 1 has no body 999"),
    ("UPDATE message SET size = size + 1 WHERE uid = 2 AND mailbox = 1", "message 2 of mailbox 1 says"),
    ("UPDATE body SET refs = 5 WHERE id = 1", "body 1 counts 5 messages, 1 name it"),
    ("DELETE FROM chunk WHERE id = (2 << 16) + 1", "body 2 of"),
    ("UPDATE chunk SET id = (2 << 16) + 9 WHERE id = (2 << 16) + 1", "the last is number 9"),
    ("INSERT INTO chunk VALUES (500 << 16, 0, x'41')", "chunk 0 belongs to body 500"),
    (
        "INSERT INTO expunged (mailbox, modseq, uid) VALUES (1, 1, 1)",
        "message 1 of mailbox 1 is there and counts as expunged",
    ),
    (
        "INSERT INTO expunged (mailbox, modseq, uid) VALUES (1, 5555, 999)",
        "the expunged message 999 of mailbox 1 has modseq 5555",
    ),
    (
        "INSERT INTO annotation VALUES (88, '/private/comment', x'41', 1)",
        "annotation /private/comment belongs to mailbox 88",
    ),
    ("INSERT INTO acl VALUES (88, 'bob', 'lr')", "mailbox 88, which is not there, is shared with bob"),
    ("INSERT INTO acl VALUES (1, 'bob', '')", "mailbox 1 is shared with bob, who may do nothing"),
    ("UPDATE mailbox SET name = 'inbox-is-gone' WHERE id = 1", "there is no INBOX"),
    ("UPDATE body SET thread = 4000 WHERE id = 1", "body 1 belongs to thread 4000"),
    ("INSERT OR REPLACE INTO setting VALUES ('indexed_body', 4000)", "the search index goes up to body 4000"),
    ("INSERT INTO unjudged VALUES (4000)", "body 4000 is judged or to be judged, and is not there"),
    ("UPDATE judged SET learned = 7", "body 3 was learned by version 7 of a learner, all others by 0"),
    ("UPDATE judged SET junk = 0", "body 3 is judged not junk, its messages' flags say junk"),
    (
        "UPDATE judged SET junk = 0",
        "the history has a row for body 3, which says junk 1 at 1700000000; judged is 0",
    ),
    ("DELETE FROM judged", "body 3 is judged neither, its messages' flags say junk"),
    ("DELETE FROM judged", "judged is nothing"),
    (
        "INSERT INTO judged VALUES (1, 1, 1700000000, 0, 0)",
        "body 1 is judged junk, its messages' flags say neither",
    ),
    (
        "UPDATE message SET keywords = '' WHERE uid = 1 AND mailbox = 2",
        "body 3 is judged junk, its messages' flags say neither",
    ),
)
#: Those that only reading every octet finds.
DEEP_DAMAGES = (
    ("UPDATE chunk SET data = 'text' WHERE id = 2 << 16", "chunk 0 of body 2 cannot be decoded"),
    (
        "DELETE FROM history WHERE key = (SELECT min(key) FROM history)",
        "the history lacks 1 of 2 rows for body 3",
    ),
    ("INSERT INTO history VALUES (1, 1700000000, 3, 1, 0)", "the history has 3 rows, 2 are right"),
    ("UPDATE history SET localpart = localpart + 1", "the history lacks 2 of 2 rows for body 3"),
    ("UPDATE judged SET origin = 0", "body 3 is judged as destined for 0, which does not fit"),
    ("UPDATE body SET facts = x'0041' WHERE id = 3", "the sender of body 3 cannot be read"),
    ("UPDATE body SET facts = x'0041' WHERE id = 1", "the facts of body 1 cannot be unpacked"),
    ("UPDATE chunk SET data = CAST(x'00' || data AS BLOB) WHERE id = 2 << 16", "chunk 0 of body 2"),
    ("UPDATE chunk SET codec = 9 WHERE id = 2 << 16", "chunk 0 of body 2 cannot be decoded"),
    (
        "UPDATE chunk SET codec = 0, data = x'41' WHERE id = 2 << 16",
        "chunk 0 of body 2 has 1 octets instead of 262144",
    ),
)


class ConsistencyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = Store.open(None, Path(self.mktemp()), None, threads=0)
        self.addCleanup(lambda: self.successResultOf(self.store.close()))
        self.account: Account = self.successResultOf(self.store.create_account("me", [("Sent", "\\Sent")]))
        self.add(b"Subject: small\r\n\r\nx\r\n", MessageFlags.of(SEEN))
        self.add(
            b"Subject: large\r\n\r\n" + b"".join(b"line %d\r\n" % n for n in range(50_000)),
            MessageFlags.of(DELETED),
        )
        sender = Sender(localpart="mary", domain="a.example")
        self.add(b"Subject: junk\r\n\r\nx\r\n", MessageFlags.of(SEEN, ["$Junk"]), "Sent", sender)

    def add(
        self, octets: bytes, flags: MessageFlags, mailbox: str = "INBOX", sender: Sender | None = None
    ) -> None:
        staging = self.store.stage()
        staging.write(octets)
        staged = staging.finish()
        message = NewMessage(staged, b"Return-Path: <>\r\n", 1_700_000_000, flags, sender)
        self.successResultOf(self.account.add([Addition(mailbox, message)]))
        staged.close()

    def run_sql(self, statement: str) -> None:
        """Change the database behind the program's back."""

        def job(ledger: Ledger) -> None:
            ledger.connection.execute(statement).fetchall()

        writer = self.account._ledger.connection
        writer.execute("PRAGMA foreign_keys = OFF").fetchall()
        self.successResultOf(self.account.submit(job))

    def problems(self) -> list[str]:
        return self.successResultOf(Deferred.fromCoroutine(maintenance.verify(self.account)))

    def test_on_its_way_out(self) -> None:
        """A body that nobody names may lack its last chunks, some of which go at a time, and no others."""
        self.run_sql("UPDATE body SET refs = 0 WHERE id = 2")
        self.run_sql("DELETE FROM chunk WHERE id = (SELECT max(id) FROM chunk WHERE id >> 16 = 2)")
        self.assertEqual([text for text in self.problems() if "chunks" in text], [])
        self.run_sql("DELETE FROM chunk WHERE id = 2 << 16")
        self.assertEqual(len([text for text in self.problems() if "chunks, the last is number" in text]), 1)

    def damage(self, statement: str, words: str) -> None:
        self.setUp()
        try:
            self.assertEqual(self.problems(), [])
            self.run_sql(statement)
            problems = self.problems()
            self.assertTrue(any(words in problem for problem in problems), (statement, problems))
        finally:
            self.doCleanups()

    def test_all_is_well(self) -> None:
        """A store that was only used has no problems."""
        self.successResultOf(self.account.copy(1, [1, 2], 2))
        self.successResultOf(self.account.move(1, [1], 2))
        self.successResultOf(self.account.expunge(1, None))
        self.successResultOf(self.account.delete_mailbox("Sent"))
        self.assertEqual(self.problems(), [])

    def test_planted(self) -> None:
        """Each planted damage is found and named."""
        for statement, words in DAMAGES:
            self.damage(statement, words)

    def test_planted_deep(self) -> None:
        """Damaged octets are found by reading them all."""
        for statement, words in DEEP_DAMAGES:
            self.damage(statement, words)
            # without reading them, they are not
            self.setUp()
            self.run_sql(statement)
            self.assertEqual(consistency.check(self.account.reader), [])
            self.doCleanups()

    def test_every_question_is_tested(self) -> None:
        """No question of the checker is without a damage that it finds."""
        sentences = [sentence for sentence, _ in consistency._QUESTIONS]
        found = set()
        for statement, _ in DAMAGES:
            self.setUp()
            self.run_sql(statement)
            connection = self.account.reader
            found |= {s for s, question in consistency._QUESTIONS if connection.execute(question).fetchall()}
            self.doCleanups()
        self.assertEqual(sorted(set(sentences) - found), [])

    def test_many(self) -> None:
        """Of many problems of one kind the first hundred are told, and how many more there are."""
        self.run_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)"
            " INSERT INTO chunk SELECT (1000 + i) << 16, 0, x'' FROM n"
        )
        problems = self.problems()
        self.assertIn("… and 150 more of this kind", problems)
        self.assertLess(len(problems), 400)

    async def opened(self) -> Account:
        return self.store.account("me")

    def test_pages(self) -> None:
        """A page that was overwritten on disk is a finding, not a fault of the checker."""
        path = self.account._database.path
        self.successResultOf(self.store.close())
        octets = bytearray(path.read_bytes())
        octets[3 * 8192 : 4 * 8192 - 4000] = b"\x55" * (8192 - 4000)
        path.write_bytes(octets)
        self.store = Store.open(None, self.store._directory, None, threads=0)
        problems = self.successResultOf(Deferred.fromCoroutine(maintenance.verify_opened(self.opened())))
        self.assertNotEqual(problems, [])
