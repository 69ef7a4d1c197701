"""What an operator asks for is done to the configuration and to the mail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from moxtwisted.config.edit import ConfigurationEditor
from moxtwisted.config.load import load
from moxtwisted.errors import MailError
from moxtwisted.sasl.credentials import PasswordVerifiers
from moxtwisted.server.administration import Administered, Administration
from moxtwisted.server.control.interfaces import IAdministration
from moxtwisted.server.credentials import PASSWORD
from moxtwisted.store.interfaces import Addition, NewMessage
from tests.server.house import HouseCase

STATIC = """hostname = "mx.example.org"
data_directory = "data"
[postmaster]
account = "alice"
[listeners.public]
ips = ["127.0.0.1"]
[listeners.public.smtp]
"""
DOMAINS = """# the operator's note
[domains."example.org"]
[domains."all.example"]
[accounts.alice]
domain = "example.org"
addresses = {"alice@example.org" = {}}
[accounts.bob]
domain = "example.org"
addresses = {"bob@example.org" = {}}
[accounts.carol]
domain = "all.example"
addresses = {"@all.example" = {}}
"""
LETTER = b"From: a@client.example\r\nSubject: hello\r\n\r\nIt works.\r\n"


class AdministrationCase(HouseCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "mox.conf").write_text(STATIC)
        (self.folder / "domains.conf").write_text(DOMAINS)
        self.changed: list[str] = []
        self.stopped: list[bool] = []
        self.administration = self.make(
            stop=lambda: self.stopped.append(True), shutdown_seconds=12.5, facts={"version": "1"}
        )
        self.patch(__import__("moxtwisted.server.administration", fromlist=["x"]), "deferToThread", _at_once)

    def make(self, **more: Any) -> Administration:
        administered = Administered(
            reactor=self.house.store._clock,
            store=self.house.store,
            queue=self.house.queue,
            initial_mailboxes=[("Sent", "\\Sent"), ("Junk", "\\Junk")],
            retire_after_seconds=0,
            cram_md5=False,
            changed_account=self.changed.append,
            **more,
        )
        return Administration(ConfigurationEditor(self.folder / "mox.conf"), administered)

    def do(self, work: Any) -> Any:
        done = Deferred.fromCoroutine(work)
        for _ in range(1000):
            if done.called and not done.paused:
                break
            self.house.store._clock.advance(0)
        return done

    def gives(self, work: Any) -> Any:
        return self.successResultOf(self.do(work))

    def refused(self, work: Any) -> str:
        error = self.failureResultOf(self.do(work), MailError).value
        return str(error.detail or error.public_text)

    def add(self, account: str = "alice") -> None:
        staging = self.house.store.stage()
        staging.write(LETTER)
        staged = staging.finish()
        message = NewMessage(staged, b"", 1_700_000_000)
        self.successResultOf(self.house.store.account(account).add([Addition("INBOX", message)]))
        staged.close()


async def _at_once(work: Any) -> Any:
    return work()


def quiet(done: int, total: int, what: str) -> None:
    """No progress bar."""


class AccountTests(AdministrationCase):
    def test_interface(self) -> None:
        """All that can be asked is there."""
        verifyObject(IAdministration, self.administration)

    def test_add(self) -> None:
        """A new account is in the configuration, has its mailboxes and its password; the operator's notes stay."""
        self.gives(self.administration.account_add("dave", "dave@example.org", "Dave", "correct horse"))
        self.assertIn("dave", load(self.folder / "mox.conf").domains.accounts)
        self.assertTrue((self.folder / "domains.conf").read_text().startswith("# the operator's note"))
        account = self.house.store.account("dave")
        self.assertEqual([m.name for m in account.mailboxes()], ["INBOX", "Junk", "Sent"])
        secret = account.secret(PASSWORD)
        self.assertIsNotNone(secret)
        PasswordVerifiers.from_bytes(secret or b"")

    def test_add_refused(self) -> None:
        """A bad password, a taken name or address, an unknown domain: nothing is changed."""
        before = (self.folder / "domains.conf").read_text()
        for name, address, password in (
            ("dave", "dave@example.org", "short"),
            ("dave", "dave@example.org", "a\x01b\x02cdefgh"),
            ("alice", "dave@example.org", "correct horse"),
            ("dave", "alice@example.org", "correct horse"),
            ("dave", "dave@elsewhere.example", "correct horse"),
        ):
            self.refused(self.administration.account_add(name, address, "", password))
        self.assertEqual((self.folder / "domains.conf").read_text(), before)
        self.assertNotIn("dave", self.house.store.accounts())

    def test_remove(self) -> None:
        """A removed account is gone with its mail, or keeps it; who is logged in is told."""
        self.add("bob")
        self.gives(self.administration.account_remove("bob", True))
        self.assertIn("bob", self.house.store.accounts())
        self.gives(self.administration.account_remove("carol", False))
        self.assertNotIn("carol", self.house.store.accounts())
        self.assertEqual(self.changed, ["bob", "carol"])
        self.refused(self.administration.account_remove("nobody", False))
        self.assertIn("postmaster", self.refused(self.administration.account_remove("alice", False)))
        self.assertIn("alice", self.house.store.accounts())

    def test_kept_mail(self) -> None:
        """A new account that finds mail of an earlier one of its name is told so."""
        self.add("bob")
        self.gives(self.administration.account_remove("bob", True))
        notes = self.gives(self.administration.account_add("bob", "bob@example.org", "", "correct horse"))
        self.assertEqual(len(notes), 1)
        self.assertIn("belongs to it: 1 message", notes[0])
        self.assertEqual(
            self.gives(self.administration.account_add("dave", "dave@example.org", "", "correct horse")), []
        )

    def test_list(self) -> None:
        """The list says how much is used."""
        self.add()
        rows = {row["name"]: row for row in self.gives(self.administration.account_list())}
        self.assertEqual((rows["alice"]["messages"], rows["alice"]["octets"]), (1, len(LETTER)))
        self.assertEqual(rows["bob"]["messages"], 0)

    def test_password(self) -> None:
        """A new password is kept, and who logged in with the old one is no longer."""
        self.gives(self.administration.set_password("alice", "another password"))
        self.assertIsNotNone(self.house.store.account("alice").secret(PASSWORD))
        self.assertEqual(self.changed, ["alice"])
        self.assertIn("too short", self.refused(self.administration.set_password("alice", "x")))
        self.assertIn(
            "no account", self.refused(self.administration.set_password("nobody", "another password"))
        )


class MailTests(AdministrationCase):
    def test_out_and_in(self) -> None:
        """Mail is exported and imported in both forms, with progress."""
        self.add()
        seen: list[Any] = []
        out = self.folder / "out"

        def progress(done: int, total: int, what: str) -> None:
            seen.append((done, total, what))

        for form in ("mbox", "maildir"):
            export = getattr(self.administration, f"export_{form}")
            self.assertEqual(self.gives(export("alice", "", str(out), progress))["messages"], 1)
            path = out / ("INBOX.mbox" if form == "mbox" else "INBOX")
            bring = getattr(self.administration, f"import_{form}")
            done = self.gives(bring("bob", "Old", str(path), progress))
            self.assertEqual(done, {"messages": 1, "skipped": 0})
        self.assertEqual(self.house.messages("bob", "Old"), [LETTER, LETTER])
        self.assertGreaterEqual(len(seen), 4)
        self.assertIn("no account", self.refused(self.administration.import_mbox("nobody", "x", "/x", quiet)))
        self.assertIn(
            "cannot be read", self.refused(self.administration.import_mbox("bob", "x", "/none", quiet))
        )

    def test_queue(self) -> None:
        """The queue says who waits for what and why."""
        self.house.give_passwords()
        line = self.house.submission()
        line.begin("alice@example.org", "x@client.example")
        self.assertTrue(line.send(b"From: alice@example.org\r\n\r\nx\r\n").startswith("250"))
        (row,) = self.gives(self.administration.queue_list())
        self.assertEqual((row["recipient"], row["queued"]), ("x@client.example", "2023-11-14T22:13:20Z"))
        self.assertIn("delivery", row["why"])

    def test_queue_of_the_removed(self) -> None:
        """What a removed account left in the queue is nobody's; that of one whose mail is kept stays its own."""
        self.house.give_passwords()
        for user in ("bob", "alice"):
            line = self.house.submission(f"{user}@example.org")
            line.begin(f"{user}@example.org", "x@client.example")
            self.assertTrue(line.send(f"From: {user}@example.org\r\n\r\nx\r\n".encode()).startswith("250"))
        self.gives(self.administration.account_remove("bob", True))
        self.assertEqual(
            [row["account"] for row in self.gives(self.administration.queue_list())], ["bob", "alice"]
        )
        self.gives(self.administration.account_add("bob", "bob@example.org", "", "correct horse"))
        self.gives(self.administration.account_remove("bob", False))
        self.assertEqual(
            [row["account"] for row in self.gives(self.administration.queue_list())], ["", "alice"]
        )

    def test_sharing(self) -> None:
        """Rights are given by account or address, listed, and taken away; what makes no sense is refused."""
        gives, administration = self.gives, self.administration
        gives(administration.acl_set("alice", "INBOX", "BOB@example.org", "lr"))
        gives(administration.acl_set("alice", "INBOX", "bob", "+s"))
        gives(administration.acl_set("alice", "INBOX", "anyone", "l"))
        expected = [
            {"mailbox": "INBOX", "identifier": "anyone", "rights": "l"},
            {"mailbox": "INBOX", "identifier": "bob", "rights": "lrs"},
        ]
        self.assertEqual(gives(administration.acl_list("alice", "")), expected)
        self.assertEqual(gives(administration.acl_list("alice", "INBOX")), expected)
        self.assertEqual(self.house.store.grants.owners("bob"), {"alice"})
        gives(administration.acl_remove("alice", "INBOX", "bob"))
        for words, coroutine in (
            ("not shared with bob", administration.acl_remove("alice", "INBOX", "bob")),
            ("the q right", administration.acl_set("alice", "INBOX", "bob", "lq")),
            ("no account zoe", administration.acl_set("alice", "INBOX", "zoe", "l")),
            ("always has all", administration.acl_set("alice", "INBOX", "alice", "l")),
            ("Nowhere", administration.acl_set("alice", "Nowhere", "bob", "l")),
            ("no account zoe", administration.acl_list("zoe", "")),
        ):
            self.assertIn(words, self.refused(coroutine))

    def test_upkeep(self) -> None:
        """Checks and repairs go through one account or all, and tell how many."""
        self.add()
        seen: list[Any] = []

        def progress(done: int, total: int, what: str) -> None:
            seen.append((done, total, what))

        self.assertEqual(self.gives(self.administration.verify_data("", progress)), [])
        self.assertEqual(seen[-1], (3, 3, "accounts"))
        self.assertEqual(self.gives(self.administration.reparse("", progress)), {"messages": 1})
        counted = self.gives(self.administration.recalculate_counts("alice", progress))
        self.assertEqual(counted, {"mailboxes": 1, "changed": 0})
        self.assertEqual(self.gives(self.administration.retire("", progress)), {"messages": 0})
        for operation in ("verify_data", "reparse", "recalculate_counts", "retire"):
            self.assertIn(
                "no account", self.refused(getattr(self.administration, operation)("nobody", progress))
            )

    def test_unreadable_account(self) -> None:
        """An account whose file is no database is one finding, and the others are checked."""
        (self.house.path / "accounts" / "broken.db").write_bytes(b"no database" * 1000)
        problems = self.gives(self.administration.verify_data("", quiet))
        self.assertEqual([problem.partition(":")[0] for problem in problems], ["broken"])
        (self.house.path / "accounts" / "broken.db").unlink()


class RunningTests(AdministrationCase):
    def test_facts(self) -> None:
        """A running server says so and stops when it is asked to; the files alone do neither."""
        self.assertEqual(self.gives(self.administration.status()), {"running": True, "version": "1"})
        self.assertEqual(self.gives(self.administration.stop()), 12.5)
        self.assertEqual(self.stopped, [True])
        offline = self.make()
        self.assertEqual(self.gives(offline.status()), {"running": False})
        rows: list[dict[str, Any]] = []
        with_keepers = self.make(keepers=lambda: rows)
        self.assertNotIn("keepers", self.gives(with_keepers.status()))
        rows.append({"keeper": 1})
        self.assertEqual(self.gives(with_keepers.status())["keepers"], [{"keeper": 1}])
        for operation in (offline.stop(), offline.log_levels(), offline.set_log_level("info", "")):
            self.assertIn("does not run", self.refused(operation))
