"""Mail goes out and comes in again as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailboxMissingError, MailError, OverQuotaError
from moxtwisted.message.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, MessageFlags
from moxtwisted.store import transfer
from moxtwisted.store.accounts import Account
from moxtwisted.store.consistency import check
from moxtwisted.store.interfaces import Addition, Column, NewMessage
from moxtwisted.store.store import Store

ROOT = Path(__file__).resolve().parent.parent.parent
Kept = tuple[bytes, int, frozenset[str], int]


class TransferCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = Store.open(None, Path(self.mktemp()), None, threads=0)
        self.clock: Any = self.store._clock
        self.addCleanup(self.end)
        self.account: Account = self.successResultOf(self.store.create_account("me"))
        self.out = Path(self.mktemp())
        self.progress: list[tuple[int, int, str]] = []

    def end(self) -> None:
        """Whatever was brought in, the account agrees with itself; then close the files."""
        self.assertEqual(check(self.account.reader), [])
        self.successResultOf(self.store.close())

    def note(self, done: int, total: int, unit: str) -> None:
        self.progress.append((done, total, unit))

    def wait(self, work: Any) -> Any:
        done = Deferred.fromCoroutine(work)
        for _ in range(100_000):
            if done.called and not done.paused:
                break
            self.clock.advance(0)
        return done

    def do(self, work: Any) -> Any:
        return self.successResultOf(self.wait(work))

    def refused(self, work: Any) -> str:
        error = self.failureResultOf(self.wait(work), MailError).value
        return error.detail or error.public_text

    def add(
        self,
        octets: bytes,
        flags: MessageFlags | None = None,
        date: int = 1_600_000_000,
        mailbox: str = "INBOX",
    ) -> None:
        staging = self.store.stage()
        staging.write(octets)
        staged = staging.finish()
        message = NewMessage(staged, b"", date, flags or MessageFlags.of(0))
        self.successResultOf(self.account.add([Addition(mailbox, message)]))
        staged.close()

    def kept(self, mailbox: str = "INBOX", account: Account | None = None) -> list[Kept]:
        account = account or self.account
        found = account.mailbox(mailbox)
        if found is None:
            raise LookupError(mailbox)
        state = account.state(found.id)
        messages = []
        for uid, flags in zip(state.uids, state.flags, strict=True):
            reader = account.open_body(found.id, uid)
            assert reader is not None
            octets = b"".join(reader.read(at, 262_144) for at in range(0, reader.size, 262_144))
            reader.close()
            (row,) = account.rows(found.id, [uid], Column.INTERNALDATE)
            messages.append((octets, flags.system, frozenset(k.lower() for k in flags.keywords), row[1]))
        return messages

    def export_mbox(self, mailbox: str = "", path: Path | None = None) -> Any:
        return transfer.export_mbox(self.account, mailbox, path or self.out, self.clock, self.note)

    def export_maildir(self, mailbox: str = "", path: Path | None = None) -> Any:
        return transfer.export_maildir(self.account, mailbox, path or self.out, self.clock, self.note)

    def import_mbox(self, path: Path, mailbox: str = "In") -> Any:
        return transfer.import_mbox(self.store, self.account, mailbox, path, self.clock, self.note)

    def import_maildir(self, path: Path, mailbox: str = "In") -> Any:
        return transfer.import_maildir(self.store, self.account, mailbox, path, self.clock, self.note)


LINES = st.one_of(
    st.sampled_from(
        [
            b"From me to you",
            b">From x",
            b">>From y",
            b"",
            b".",
            b"Status: mine",
            b"X-Status: A",
            b"X-Keywords: k",
            b"a\rb",
            b"\xff\xfe",
        ]
    ),
    st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")),
)
MESSAGES = st.tuples(
    st.lists(LINES, max_size=6).map(lambda lines: b"".join(line + b"\r\n" for line in lines)),
    st.integers(0, 31),
    st.lists(st.sampled_from(["$Forwarded", "work", "$label1", "a.b"]), max_size=3, unique=True),
    st.integers(-(2**31), 2**31),
)


class RoundTripTests(TransferCase):
    def round_trip(self, messages: list[tuple[bytes, int, list[str], int]], form: str) -> None:
        self.setUp()
        try:
            for octets, system, keywords, date in messages:
                self.add(octets, MessageFlags.of(system, keywords), date)
            before = self.kept()
            if form == "mbox":
                self.do(self.export_mbox("INBOX"))
                self.do(self.import_mbox(self.out / "INBOX.mbox"))
                self.assertEqual(self.kept("In"), before)
            else:
                self.do(self.export_maildir("INBOX"))
                self.do(self.import_maildir(self.out / "INBOX"))
                # a Maildir is read in the order of dates
                self.assertEqual(self.kept("In"), sorted(before, key=lambda kept: kept[3]))
        finally:
            self.doCleanups()

    @settings(max_examples=40)
    @given(st.lists(MESSAGES, max_size=5))
    def test_mbox(self, messages: list[Any]) -> None:
        """Octets, flags, keywords, dates and order survive an mbox file."""
        self.round_trip([m for m in messages if m[0]], "mbox")

    @settings(max_examples=40)
    @given(st.lists(MESSAGES, max_size=5))
    def test_maildir(self, messages: list[Any]) -> None:
        """Octets, flags, keywords and dates survive a Maildir."""
        self.round_trip([m for m in messages if m[0]], "maildir")

    def test_order_within_a_second(self) -> None:
        """Messages of one second come back from a Maildir in the order of their UIDs."""
        for number in range(12):
            self.add(b"Subject: %d\r\n\r\n" % number)
        self.do(self.export_maildir("INBOX"))
        self.do(self.import_maildir(self.out / "INBOX"))
        self.assertEqual(self.kept("In"), self.kept())

    def test_large(self) -> None:
        """A message of some megabytes, with lines longer than any block, survives both."""
        octets = b"Subject: x\r\n\r\n" + b"From long\r\n" + b"y" * 3_000_000 + b"\r\n" + b"z\r\n" * 500_000
        self.add(octets)
        self.do(self.export_mbox("INBOX"))
        self.do(self.import_mbox(self.out / "INBOX.mbox", "A"))
        self.do(self.export_maildir("INBOX"))
        self.do(self.import_maildir(self.out / "INBOX", "B"))
        for mailbox in ("A", "B"):
            (kept,) = self.kept(mailbox)
            self.assertTrue(kept[0] == octets)

    def test_names(self) -> None:
        """Mailboxes of any name, all at once, become files below the directory, each its own, and come back."""
        names = [
            "a",
            "a.mbox/b",
            "a.mbox",
            "...",
            ".hidden",
            "a/cur",
            "INBOX",
            "INBOX/cur",
            "INBOX/new/cur",
            "a/tmp/x",
            "dovecot-keywords",
            "Entwürfe/日本",
            "x\\y:z|?",
            "w" * 300,
            "w" * 301,
        ]
        names += ["日" * 400, "a/dovecot-keywords", "~", "$(id)"]
        for name in names:
            self.add(
                b"Subject: " + name.encode()[:400] + b"\r\n\r\n",
                MessageFlags.of(SEEN, ["work"]),
                mailbox=name,
            )
        for form, export in (("mbox", self.export_mbox), ("maildir", self.export_maildir)):
            out = self.out / form
            self.do(export(path=out))
            inside = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
            for name in names:
                path = out / (transfer._file_name(name) + (".mbox" if form == "mbox" else ""))
                self.assertTrue(path.resolve().is_relative_to(out.resolve()), name)
                target = f"In-{form}"
                done = self.do((self.import_mbox if form == "mbox" else self.import_maildir)(path, target))
                self.assertEqual(done.messages, 1, name)
                self.assertEqual(self.kept(target)[-1][0], self.kept(name)[0][0], name)
            self.assertGreater(len(inside), len(names))
        self.assertEqual(sorted(path.name for path in self.out.iterdir()), ["maildir", "mbox"])

    def test_progress(self) -> None:
        """Progress grows up to the total."""
        for number in range(5):
            self.add(b"Subject: %d\r\n\r\nx\r\n" % number)
        for work in (
            self.export_mbox("INBOX"),
            self.import_mbox(self.out / "INBOX.mbox"),
            self.export_maildir("INBOX"),
            self.import_maildir(self.out / "INBOX"),
        ):
            self.progress.clear()
            self.do(work)
            self.assertEqual(self.progress, sorted(self.progress))
            self.assertEqual(self.progress[-1][0], self.progress[-1][1])


class ExportTests(TransferCase):
    def test_for_the_owner_alone(self) -> None:
        """Whatever the umask: nobody but the owner may read an export, or even list it; what was there before is left alone."""
        self.add(b"Subject: a\r\n\r\n", MessageFlags.of(SEEN, ["work"]), mailbox="a/b")
        self.out.mkdir()
        self.out.chmod(0o755)
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.do(self.export_maildir(path=self.out / "x" / "maildir"))
        self.do(self.export_mbox(path=self.out / "x" / "mbox"))
        paths = list(self.out.rglob("*"))
        self.assertGreater(sum(path.is_file() for path in paths), 3)
        for path in paths:
            self.assertEqual(path.stat().st_mode & 0o777, 0o700 if path.is_dir() else 0o600, path)
        self.assertEqual(self.out.stat().st_mode & 0o777, 0o755)

    def test_before_1970(self) -> None:
        """Messages older than the epoch keep their dates in both forms, and their files' names do not look like options."""
        for date in (-1, -86_400 * 365, -(2**31)):
            self.add(b"Subject: %d\r\n\r\n" % date, date=date)
        self.do(self.export_maildir("INBOX"))
        self.do(self.export_mbox("INBOX"))
        names = [path.name for path in (self.out / "INBOX" / "cur").iterdir()]
        self.assertEqual([name for name in names if not name.startswith("0.")], [])
        self.do(self.import_mbox(self.out / "INBOX.mbox", "A"))
        self.assertEqual(self.kept("A"), self.kept())
        self.do(self.import_maildir(self.out / "INBOX", "B"))
        self.assertEqual(self.kept("B"), self.kept()[::-1])

    def test_mailbox_named_like_a_part_of_a_maildir(self) -> None:
        """INBOX/cur, new and tmp are Maildirs of their own beside INBOX's directories of these names."""
        for name in ("INBOX", "INBOX/cur", "INBOX/new", "INBOX/tmp", "INBOX/cur/new"):
            self.add(b"Subject: %b\r\n\r\n" % name.encode(), mailbox=name)
        self.do(self.export_maildir())
        for name in ("INBOX", "INBOX/cur", "INBOX/new", "INBOX/tmp", "INBOX/cur/new"):
            (file,) = (self.out / transfer._file_name(name) / "cur").iterdir()
            self.assertEqual(file.read_bytes(), b"Subject: %b\n\n" % name.encode())


class ImportTests(TransferCase):
    def write(self, octets: bytes, name: str = "x.mbox") -> Path:
        self.out.mkdir(exist_ok=True)
        (self.out / name).write_bytes(octets)
        return self.out / name

    def maildir(self, **files: bytes) -> Path:
        for directory in ("cur", "new", "tmp"):
            (self.out / directory).mkdir(parents=True)
        for name, octets in files.items():
            (self.out / "cur" / name.replace("__", ":2,")).write_bytes(octets)
        return self.out

    def test_foreign_mbox(self) -> None:
        """An mbox with LF, mutt's flags and a date in its From line is read; a date that is none comes from the message."""
        path = self.write(
            b"From a@x Thu Nov 13 08:15:06 2025\nStatus: RO\nX-Status: AF\nSubject: 1\n\n>From here\n\n"
            b"From - Sat Jan 01 00:00:00 2000\nDate: Sat, 21 Nov 2026 12:00:00 +0000\nSubject: 2\n\nx\n"
        )
        self.assertEqual(self.do(self.import_mbox(path)).messages, 2)
        first, second = self.kept("In")
        self.assertEqual(
            first, (b"Subject: 1\r\n\r\nFrom here\r\n", SEEN | ANSWERED | FLAGGED, frozenset(), 1763021706)
        )
        self.assertEqual(second[0], b"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nSubject: 2\r\n\r\nx\r\n")

    def test_empty_mbox(self) -> None:
        """An empty file is an mbox without messages."""
        self.assertEqual(self.do(self.import_mbox(self.write(b""))).messages, 0)

    def test_maildir_flags(self) -> None:
        """Letters of the file name are flags; small ones are keywords by dovecot-keywords; what is neither is passed over."""
        path = self.maildir(
            a__SRFTDP=b"Subject: 1\n\nx\n",
            b__abz9=b"Subject: 2\n\nx\n",
            c=b"Subject: 3\r\n\r\nx\r\n",
            d__=b"",
        )
        (path / "dovecot-keywords").write_text("0 work\n1 bad keyword\nx y\n25 last\n99 far\n")
        (path / "cur" / ".hidden").write_bytes(b"no")
        (path / "cur" / "directory").mkdir()
        (path / "new" / "link").symlink_to("/etc/passwd")
        os.mkfifo(path / "new" / "fifo")
        done = self.do(self.import_maildir(path))
        self.assertEqual((done.messages, done.skipped), (3, ("cur/d:2,",)))
        kept = {octets: (system, keywords) for octets, system, keywords, _ in self.kept("In")}
        everything = SEEN | ANSWERED | FLAGGED | DELETED | DRAFT
        self.assertEqual(kept[b"Subject: 1\r\n\r\nx\r\n"], (everything, frozenset(["$forwarded"])))
        self.assertEqual(kept[b"Subject: 2\r\n\r\nx\r\n"], (0, frozenset(["work", "last"])))
        self.assertEqual(kept[b"Subject: 3\r\n\r\nx\r\n"], (0, frozenset()))

    def folder(self, name: str, **files: bytes) -> None:
        (self.out / name / "cur").mkdir(parents=True)
        for file, octets in files.items():
            (self.out / name / "cur" / file.replace("__", ":2,")).write_bytes(octets)

    def test_maildir_folders(self) -> None:
        """Folders by Maildir++ become mailboxes below the target, each with its keywords; dots are levels, names are decoded."""
        path = self.maildir(a=b"Subject: top\n\n")
        self.folder(".Sub", b__aS=b"Subject: 1\n\n", c=b"")
        (path / ".Sub" / "dovecot-keywords").write_text("0 work\n")
        self.folder(".Sub.2024.Entw&APw-rfe", d=b"Subject: 2\n\n")
        self.folder(".Grüße", e=b"Subject: 3\n\n")
        self.folder(".Empty")
        (path / ".Sub" / "new").mkdir()
        (path / ".Sub" / "new" / "f").write_bytes(b"Subject: 4\n\n")
        (path / ".git").mkdir()
        (path / ".link").symlink_to(path / ".Sub")
        done = self.do(self.import_maildir(path, "Old"))
        self.assertEqual((done.messages, done.skipped), (5, (".Sub/cur/c",)))
        found = {m.name: m.messages for m in self.account.mailboxes() if m.name.startswith("Old")}
        below = {"Old/Sub": 2, "Old/Sub/2024": 0, "Old/Sub/2024/Entwürfe": 1, "Old/Grüße": 1, "Old/Empty": 0}
        self.assertEqual(found, {"Old": 1, **below})
        flags = {octets: (system, keywords) for octets, system, keywords, _ in self.kept("Old/Sub")}
        self.assertEqual(flags[b"Subject: 1\r\n\r\n"], (SEEN, frozenset(["work"])))
        self.assertEqual(self.progress[-1], (6, 6, "messages"))

    def test_maildir_folders_that_cannot_be(self) -> None:
        """A folder whose name no mailbox can have is skipped and named; the others come."""
        self.maildir()
        for name in (".good", ".bad%", ".a..b", "..x"):
            self.folder(name, a=b"Subject: x\n\n")
        done = self.do(self.import_maildir(self.out))
        self.assertEqual((done.messages, done.skipped), (1, ("..x/", ".a..b/", ".bad%/")))
        self.assertEqual(len(self.kept("In/good")), 1)

    def test_hostile_names(self) -> None:
        """File names that are no text, or long, or look like options are only names."""
        path = self.maildir()
        for name in (b"\xff\xfe:2,S", b"a\nb:2,S", b"-rf:2,S", b"x" * 250, b":2,"):
            (Path(os.fsdecode(os.fsencode(path / "cur") + b"/" + name))).write_bytes(b"Subject: x\n\n")
        self.assertEqual(self.do(self.import_maildir(path)).messages, 5)

    def test_line_ends(self) -> None:
        """Mixed line ends, also cut between two blocks, become CRLF; a lone CR stays."""
        body = b"\r\n".join([b"x" * 131_070, b"y" * 131_070, b"z"]) + b"\nq\rw\r\n\r"
        path = self.maildir(a=b"Subject: x\n\n" + body)
        self.do(self.import_maildir(path))
        self.assertTrue(self.kept("In")[0][0] == b"Subject: x\r\n\r\n" + body.replace(b"z\nq", b"z\r\nq"))

    def test_unreadable_file(self) -> None:
        """A file that cannot be read is skipped and named."""
        path = self.maildir(a=b"Subject: x\n\n", b=b"Subject: y\n\n")
        real = transfer._date_of

        def date_of(file: Any) -> int:
            if Path(file.name).name == "a":
                raise PermissionError(13, "no")
            return real(file)

        self.patch(transfer, "_date_of", date_of)
        done = self.do(self.import_maildir(path))
        self.assertEqual((done.messages, done.skipped), (1, ("cur/a",)))

    def test_errors(self) -> None:
        """What cannot be imported or exported is said with the file and the reason."""
        self.assertIn("cannot be read: No such file", self.refused(self.import_mbox(self.out / "none")))
        self.assertIn("not an mbox", self.refused(self.import_mbox(self.write(b"Subject: x\n"))))
        self.assertIn("not a file", self.refused(self.import_mbox(self.out)))
        os.mkfifo(self.out / "fifo")
        self.assertIn("not a file", self.refused(self.import_mbox(self.out / "fifo")))
        self.assertIn("not a Maildir", self.refused(self.import_maildir(self.out)))
        self.refused(self.import_mbox(self.write(b"From x Thu Nov 13 08:15:06 2025\n\n"), "bad%name"))
        self.failureResultOf(self.wait(self.export_mbox("Nowhere")), MailboxMissingError)
        self.do(self.export_mbox("INBOX"))
        self.assertIn("is there already", self.refused(self.export_mbox("INBOX")))
        self.do(self.export_maildir("INBOX"))
        self.assertIn("is there already", self.refused(self.export_maildir("INBOX")))
        self.assertIn("cannot be written", self.refused(self.export_mbox("INBOX", self.out / "x.mbox" / "y")))

    def test_no_room(self) -> None:
        """When the account is full the import ends with that, keeps what it brought, and leaves no temporary files."""
        self.account.set_quota(60_000)
        entry = b"From x Thu Nov 13 08:15:06 2025\nSubject: x\n\n" + b"y" * 300 + b"\n\n"
        path = self.write(entry * 500)
        self.failureResultOf(self.wait(self.import_mbox(path)), OverQuotaError)
        self.assertEqual(len(self.kept("In")), 100)
        self.assertEqual(list((self.store._directory / "tmp").iterdir()), [])


class MemoryTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        """Importing ten times as many messages takes hardly more memory."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.transfer", "600", "6000"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
            timeout=240,
        )
        small, large = [int(line.split()[-2]) for line in done.stdout.decode().splitlines()]
        self.assertLess(large - small, 24_000, done.stdout)
        self.assertLess(large, 160_000, done.stdout)
