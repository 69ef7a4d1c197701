"""UIDs and flags of a program's own backend that outlast the program."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError, StoreFullError, StoreInUseError, StoreUnavailableError
from moxtwisted.imap.simple import SimpleAuthenticator, SimpleMail, SimpleMailbox
from moxtwisted.imap.simpleindex import MailboxIndex
from moxtwisted.imap.testing import Driver, counted_entropy
from moxtwisted.message.flags import SEEN, MessageFlags

STARTED = 1_800_000_000


class Letters(SimpleMailbox):
    """A dictionary that outlasts the program."""

    def __init__(self, texts: dict[Any, bytes], index: MailboxIndex) -> None:
        super().__init__(index)
        self.texts = texts

    def keys(self) -> list[Any]:
        """All, in whatever order."""
        return list(self.texts)

    def octets(self, key: Any) -> bytes | None:
        """A message."""
        return self.texts.get(key)

    def date(self, key: Any) -> int:
        """Always the same."""
        return 1_700_000_000

    def remove(self, key: Any) -> None:
        """Forget one."""
        self.texts.pop(key, None)

    def add(self, octets: bytes, flags: MessageFlags, date: int) -> Any:
        """Keep one."""
        key = octets[9:].split(b"\r")[0].decode()
        self.texts[key] = octets
        return key


class Marked(Letters):
    """Has flags of its own."""

    marks: dict[Any, MessageFlags]

    def flags(self, key: Any) -> MessageFlags:
        """Those that were kept."""
        return self.marks.get(key, MessageFlags.parse(["own"]))

    def keep_flags(self, key: Any, flags: MessageFlags) -> None:
        """Keep them."""
        self.marks[key] = flags


def letter(subject: str) -> bytes:
    return f"Subject: {subject}\r\n\r\n".encode()


def append(driver: Driver, subject: str, flags: str = "()") -> bytes:
    """What the server says in the end."""
    octets = letter(subject)
    return driver.command(b"APPEND INBOX %b {%d+}\r\n%b" % (flags.encode(), len(octets), octets))[-1]


class MailboxIndexTests(SynchronousTestCase):
    """A program that is started again and again."""

    def setUp(self) -> None:
        """Two messages."""
        self.path = Path(self.mktemp())
        self.texts: dict[Any, bytes] = {"one": letter("one"), "two": letter("two")}
        self.now = STARTED
        self.index: MailboxIndex | None = None
        self.addCleanup(self.end)

    def end(self) -> None:
        """The program ends."""
        if self.index is not None:
            self.index.close()

    def run_again(self, *, kind: type[Letters] = Letters, path: Path | None = None) -> tuple[Letters, Driver]:
        """It is started, and a client opens the mailbox."""
        self.end()
        self.now += 1000
        self.index = MailboxIndex(path or self.path, lambda: self.now)
        mailbox = kind(self.texts, self.index)
        mail = SimpleMail({"INBOX": mailbox}, lambda: self.now)
        driver = Driver.of(authenticator=SimpleAuthenticator({"alice": ("secret", mail)}, counted_entropy()))
        driver.login()
        driver.command("ENABLE QRESYNC")
        self.selected = b"\n".join(driver.command("SELECT INBOX"))
        return mailbox, driver

    def uids(self, driver: Driver) -> list[bytes]:
        """UIDs with subjects and flags."""
        return driver.command("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[:-1]

    def test_uids_last(self) -> None:
        """Messages have their UIDs and flags in the next run, and a UID that was the last one is not given again."""
        mailbox, driver = self.run_again()
        self.assertIn(b"[UIDVALIDITY %d]" % self.now, self.selected)
        first = self.now
        append(driver, "three", "(\\Flagged kw)")
        append(driver, "four")
        driver.command("UID STORE 2 +FLAGS.SILENT (\\Seen $x)")
        driver.command("UID STORE 4 +FLAGS.SILENT (\\Deleted)")
        driver.command("EXPUNGE")
        before = self.uids(driver)
        self.texts = dict(reversed(self.texts.items()))
        mailbox, driver = self.run_again()
        self.assertIn(b"[UIDVALIDITY %d]" % first, self.selected)
        self.assertIn(b"[UIDNEXT 5]", self.selected)
        self.assertEqual(
            [line.partition(b" MODSEQ")[0] for line in self.uids(driver)],
            [line.partition(b" MODSEQ")[0] for line in before],
        )
        append(driver, "five")
        self.assertEqual(list(mailbox.view.uids), [1, 2, 3, 5])

    def test_changed_meanwhile(self) -> None:
        """What went and came while the program did not run goes and comes with its start; who comes back by QRESYNC is told that."""
        mailbox, driver = self.run_again()
        known = f"{mailbox.view.uidvalidity} {mailbox.view.highestmodseq}"
        before = mailbox.view.highestmodseq
        del self.texts["one"]
        self.texts["new"] = letter("new")
        mailbox, driver = self.run_again()
        self.assertEqual([mailbox.view.messages[uid].key for uid in (2, 3)], ["two", "new"])
        self.assertEqual(list(mailbox.view.uids), [2, 3])
        self.assertTrue(all(modseq > before for modseq in mailbox.view.modseqs))
        told = driver.command(f"SELECT INBOX (QRESYNC ({known} 1:2))")
        self.assertIn(b"* VANISHED (EARLIER) 1", told)
        self.assertEqual(
            [line.split()[:5] for line in told if b" FETCH " in line], [b"* 1 FETCH (UID 2".split()]
        )
        # Nor does it come back when the file does.
        self.texts["one"] = letter("one")
        mailbox, _ = self.run_again()
        self.assertEqual(list(mailbox.view.uids), [2, 3, 4])

    def test_flags_of_the_program(self) -> None:
        """A program that keeps flags itself is asked for them in each run."""
        Marked.marks = {"one": MessageFlags.of(SEEN)}
        mailbox, driver = self.run_again(kind=Marked)
        self.assertEqual([flags.names for flags in mailbox.view.flags], [("\\Seen",), ("own",)])
        driver.command("UID STORE 1:2 FLAGS.SILENT (\\Answered)")
        Marked.marks["two"] = MessageFlags.parse(["elsewhere"])
        mailbox, _ = self.run_again(kind=Marked)
        self.assertEqual([flags.names for flags in mailbox.view.flags], [("\\Answered",), ("elsewhere",)])

    def test_killed(self) -> None:
        """What a client was told is on disk: a program that goes on with the files as they are has it."""
        mailbox, driver = self.run_again()
        append(driver, "three", "(\\Flagged)")
        copy = Path(self.mktemp())
        for end in ("", "-wal"):
            shutil.copy(f"{self.path}{end}", f"{copy}{end}")
        known = mailbox.view.uidvalidity
        mailbox, _ = self.run_again(path=copy)
        self.assertEqual((mailbox.view.uidvalidity, list(mailbox.view.uids)), (known, [1, 2, 3]))
        self.assertEqual(mailbox.view.flags[2].names, ("\\Flagged",))

    def test_keys(self) -> None:
        """Keys are text, file names that are none, numbers and octets; what cannot be written is an error at once."""
        self.texts = {key: letter("x") for key in ("ü", "\udcff.eml", "\ud800", 5, -5, "5", b"5", 2**70)}
        mailbox, _ = self.run_again()
        found = {uid: message.key for uid, message in mailbox.view.messages.items()}
        mailbox, _ = self.run_again()
        self.assertEqual({uid: message.key for uid, message in mailbox.view.messages.items()}, found)
        self.texts[Path("x")] = letter("x")
        error = self.assertRaises(TypeError, mailbox.refresh)
        self.assertIn("not PosixPath", str(error))

    def test_full(self) -> None:
        """Where nothing can be written a client is told so, and nothing is half done."""
        mailbox, driver = self.run_again()
        assert self.index is not None
        pages = self.index._database.execute("PRAGMA page_count").fetchone()[0]
        self.index._database.execute(f"PRAGMA max_page_count = {pages}")
        names = " ".join(f"{n}{'k' * 200}" for n in range(60))
        answer = driver.command(f"UID STORE 1:2 +FLAGS ({names})")
        self.assertIn(b"NO [OVERQUOTA] insufficient system storage", answer[-1])
        self.assertNotIn(b"kkk", b"".join(self.uids(driver)))
        before = dict(self.texts)
        answers = [append(driver, f"{n}{'s' * 900}") for n in range(10)]
        self.assertIn(b"NO [OVERQUOTA]", answers[-1])
        kept = [answer for answer in answers if b" OK " in answer]
        self.assertEqual(len(self.texts), len(before) + len(kept))
        self.assertEqual(len(mailbox.view.uids), len(self.texts))
        mailbox, _ = self.run_again()
        self.assertEqual(len(mailbox.view.uids), len(self.texts))

    def test_comes_back(self) -> None:
        """A message whose removal could not be written, and that is there again, is a new one."""
        mailbox, driver = self.run_again()
        assert self.index is not None
        key, octets = next(iter(self.texts.items()))
        uids = list(mailbox.view.uids)
        self.index._database.execute("PRAGMA query_only = 1")
        del self.texts[key]
        self.assertIn(b"OK", driver.command("NOOP")[-1])
        mailbox.refresh()
        self.index._database.execute("PRAGMA query_only = 0")
        self.texts[key] = octets
        mailbox.refresh()
        self.assertEqual(list(mailbox.view.uids), [*uids[1:], uids[-1] + 1])
        mailbox, _ = self.run_again()
        self.assertEqual(list(mailbox.view.uids), [*uids[1:], uids[-1] + 1])

    def test_gone_before_its_flags(self) -> None:
        """A message that goes while the mailbox is looked at, new or known, is not there, and keeps nobody from the others."""

        class Going(Letters):
            going = False

            def flags(self, key: Any) -> MessageFlags:
                """What the program has."""
                if self.going and key in {first, "new"}:
                    raise FileNotFoundError(key)
                return MessageFlags.of(0)

            def keep_flags(self, key: Any, flags: MessageFlags) -> None:
                """Keep them."""
                raise KeyError(key)

        first, *others = self.texts
        for going in (False, True):
            self.end()
            self.index = MailboxIndex(self.path, lambda: STARTED)
            mailbox = Going(self.texts, self.index)
            mailbox.going = going
            self.texts["new"] = letter("new")
            mailbox.refresh()
            there = [message.key for message in mailbox.view.messages.values()]
            self.assertEqual(there, others if going else [first, *others, "new"])
        driver = Driver.of(
            authenticator=SimpleAuthenticator(
                {"a": ("b", SimpleMail({"INBOX": mailbox}, lambda: STARTED))}, counted_entropy()
            )
        )
        driver.command("LOGIN a b")
        driver.command("SELECT INBOX")
        self.assertIn(b" OK ", driver.command("STORE 1 +FLAGS (\\Seen)")[-1])

    def test_one_program_at_a_time(self) -> None:
        """Two cannot have the same index, nor two mailboxes of one."""
        self.run_again()
        self.assertRaises(StoreInUseError, MailboxIndex, self.path, lambda: STARTED)
        error = self.assertRaises(ValueError, Letters, {}, self.index)
        self.assertIn("is the index of another mailbox", str(error))

    def test_something_else(self) -> None:
        """What is no index is refused, and stays as it is."""
        text, other, later = (Path(self.mktemp()) for _ in range(3))
        text.write_text("my notes, which are not SQLite's\n" * 100)
        for path, statement in (
            (other, "CREATE TABLE mine (x)"),
            (later, f"PRAGMA application_id = {0x6D784958}; PRAGMA user_version = 2; CREATE TABLE t (x)"),
        ):
            database = sqlite3.connect(path)
            database.executescript(statement)
            database.close()
        for path, why in ((text, "not a database"), (other, "something else"), (later, "later version")):
            before = path.read_bytes()
            error = self.assertRaises(MailError, MailboxIndex, path, lambda: STARTED)
            self.assertIn(why, str(error))
            self.assertIn(str(path), str(error))
            self.assertEqual(path.read_bytes(), before)
        self.assertRaises(StoreUnavailableError, MailboxIndex, self.path / "nowhere" / "x", lambda: STARTED)

    def test_errors(self) -> None:
        """A full disk is one, whatever SQLite calls it."""
        self.run_again()
        assert self.index is not None
        self.index._database.execute("PRAGMA max_page_count = 1")
        rows = [(uid, uid, MessageFlags.of(0)) for uid in range(10, 3000)]
        self.assertRaises(StoreFullError, self.index.add, rows)
        mailbox, _ = self.run_again()
        self.assertEqual(len(mailbox.view.uids), 2)
