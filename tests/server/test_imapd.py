"""IMAP over the real store: what sessions see, and who may have one."""

from __future__ import annotations

import base64
import gc
import re
import weakref
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from moxtwisted.errors import StoreFullError
from moxtwisted.imap.backend import (
    IAuthenticator,
    IMailboxView,
    IMessageBody,
    ISelectedMailbox,
    ISession,
    MessageText,
)
from moxtwisted.imap.connection import Transport
from moxtwisted.server.directory import KeyEntry
from moxtwisted.store import search
from moxtwisted.store.accounts import Account
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.junkflags import JunkFlags
from tests.server.house import ACCOUNTS, SECRET, HouseCase, Line

ALICE = "alice@example.org"
LETTER = b"From: a@client.example\r\nSubject: hello\r\n\r\nIt works.\r\n"


class IMAPCase(HouseCase):
    def setUp(self) -> None:
        super().setUp()
        # How much is done in a slice must not depend on how busy this machine is.
        self.patch(search, "SLICE_SECONDS", 1000.0)
        self.house.give_passwords()

    def heard(self, line: Line) -> str:
        """What comes of itself."""
        said = [line.heard()]
        for _ in range(5):
            self.house.clock.advance(0)
            said.append(line.heard())
        return "".join(part + "\r\n" for part in said if part)

    def add(self, octets: bytes = LETTER, account: str = "alice", mailbox: str = "INBOX") -> int:
        staging = self.house.store.stage()
        staging.write(octets)
        staged = staging.finish()
        message = NewMessage(staged, b"Return-Path: <>\r\n", int(self.house.clock.seconds()))
        (added,) = self.successResultOf(self.house.store.account(account).add([Addition(mailbox, message)]))
        staged.close()
        return added.uid

    def log_in(self, user: str = ALICE, ip: str = "198.51.100.9", **mail: Any) -> Line:
        line = self.house.imap(ip, **mail)
        self.assertIn("* OK", line.heard())
        answer = self.ask(line, f'LOGIN {user} "{SECRET}"')
        self.assertIn("t OK", answer)
        return line

    def ask(self, line: Line, command: str) -> str:
        """The whole answer to a command."""
        answer = line.say(f"t {command}")
        for _ in range(100):
            if re.search(r"(?m)^t (OK|NO|BAD)", answer) or not line.transport.connected:
                break
            self.house.clock.advance(0)
            answer += line.heard()
        return answer

    def append(self, line: Line, mailbox: str, octets: bytes, flags: str = "") -> str:
        return self.ask(line, f"APPEND {mailbox} {flags}{{{len(octets)}+}}\r\n" + octets.decode())


class MailTests(IMAPCase):
    def test_interfaces(self) -> None:
        """Session, selected mailbox, view and bodies provide what the protocol asks for."""
        self.add()
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        connection = line.protocol.server.connection
        verifyObject(ISession, connection.session)
        verifyObject(IAuthenticator, connection.authenticator)
        selected = connection.session.select("INBOX", read_only=True)
        verifyObject(ISelectedMailbox, selected)
        for name in IMailboxView.names():
            self.assertTrue(hasattr(selected.view, name), name)
        body = selected.open_body(1)
        verifyObject(IMessageBody, body, tentative=True)
        body.close()

    def test_round(self) -> None:
        """A message is appended, found, fetched, flagged, copied, moved and expunged."""
        line = self.log_in()
        self.assertIn("APPENDUID", self.append(line, "INBOX", LETTER, "(\\Seen $Label) "))
        self.assertIn("* 1 EXISTS", self.ask(line, "SELECT INBOX"))
        answer = self.ask(line, "FETCH 1 (FLAGS RFC822.SIZE BODY.PEEK[])")
        self.assertIn("It works.", answer)
        self.assertIn("$Label", answer)
        self.assertIn("* SEARCH 1", self.ask(line, 'SEARCH TEXT "works"'))
        self.assertIn("* SEARCH 1", self.ask(line, "SEARCH SUBJECT ELL KEYWORD $label"))
        self.assertIn("t OK", self.ask(line, "CREATE Archive/2026"))
        self.assertIn("COPYUID", self.ask(line, "COPY 1 Archive/2026"))
        self.assertIn("EXPUNGE", self.ask(line, "MOVE 1 Archive/2026"))
        self.assertIn("MESSAGES 2", self.ask(line, "STATUS Archive/2026 (MESSAGES)"))
        self.ask(line, "SELECT Archive/2026")
        self.ask(line, "STORE 1 +FLAGS (\\Deleted)")
        self.assertIn("* 1 EXPUNGE", self.ask(line, "EXPUNGE"))
        line.drop()
        self.assertEqual(self.house.leaks(), [])

    def test_junk_flags(self) -> None:
        """What mailboxes make of messages is what all sessions are told."""
        account = self.house.store.account("alice")
        account.set_junk_flags(JunkFlags())
        for _ in range(3):
            self.add()
        line, other = self.log_in(), self.log_in()
        for name in ("Junk", "Archive"):
            self.ask(line, f"CREATE {name}")
        self.ask(other, "SELECT Junk")
        self.ask(line, "SELECT INBOX")
        self.ask(line, "MOVE 1 Junk")
        self.assertIn("* 1 EXISTS", self.ask(other, "NOOP"))
        self.assertIn("* 1 FETCH (FLAGS ($Junk))", self.ask(other, "FETCH 1 FLAGS"))
        self.assertIn("* SEARCH 1", self.ask(other, "SEARCH KEYWORD $Junk"))
        self.ask(line, "COPY 1 Archive")
        self.append(line, "Archive", LETTER)
        self.ask(other, "SELECT Archive")
        self.assertEqual(self.ask(other, "FETCH 1:* FLAGS").count("($NotJunk)"), 2)
        self.ask(other, "SELECT Junk")
        self.ask(other, "MOVE 1 INBOX")
        self.assertIn("* 3 EXISTS", self.ask(line, "NOOP"))
        self.assertIn("* 3 FETCH (FLAGS ($NotJunk))", self.ask(line, "FETCH 3 FLAGS"))
        judged = account.reader.execute("SELECT junk, count(*) FROM judged GROUP BY junk").fetchall()
        self.assertEqual(judged, [(0, 3)])

    def test_missing_target(self) -> None:
        """APPEND, COPY and MOVE to a mailbox that is not there say TRYCREATE; other commands say NONEXISTENT."""
        self.add()
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        self.assertIn("NO [TRYCREATE]", self.append(line, "Nowhere", LETTER))
        self.assertIn("NO [TRYCREATE]", self.ask(line, "COPY 1 Nowhere"))
        self.assertIn("NO [TRYCREATE]", self.ask(line, "UID MOVE 1 Nowhere"))
        self.assertIn("NO [NONEXISTENT]", self.ask(line, "SELECT Nowhere"))
        self.assertIn("NO [NONEXISTENT]", self.ask(line, "DELETE Nowhere"))

    def test_dotless(self) -> None:
        """A dotless i does not make INBOX of a name, here or in somebody else's account."""
        line = self.log_in()
        self.assertIn("t OK", self.ask(line, "ENABLE IMAP4rev2"))
        self.assertIn("NO [NONEXISTENT]", self.ask(line, 'SELECT "\u0131nbox"'))
        self.assertIn("t OK", self.ask(line, 'CREATE "\u0131nbox/x"'))
        self.assertIn(' "/" "\u0131nbox/x"', self.ask(line, 'LIST "" *'))
        self.assertIn("* LIST", self.ask(line, 'SELECT "\u0131nbox"'))

    def test_too_large(self) -> None:
        """A message over the limit is refused before it is sent."""
        line = self.log_in(append_limit=1000)
        answer = line.say("t APPEND INBOX {1001}")
        self.assertIn("NO [TOOBIG]", answer)
        self.assertIn("APPENDLIMIT=1000", self.ask(line, "CAPABILITY"))

    def test_over_quota(self) -> None:
        """A message without room is refused with OVERQUOTA, at once when its size tells, else at the commit."""
        self.house.quotas["alice"] = 150
        self.house.store.refresh_quotas()
        line = self.log_in()
        self.assertIn("NO [OVERQUOTA]", line.say("t APPEND INBOX {151}"))
        self.assertIn("OK", self.append(line, "INBOX", LETTER))
        self.ask(line, "SELECT INBOX")
        answers = [self.ask(line, "COPY 1 INBOX") for _ in range(3)]
        self.assertIn("NO [OVERQUOTA]", answers[-1])
        line.drop()
        self.assertEqual(self.house.leaks(), [])

    def test_disk_full(self) -> None:
        """A full disk refuses the command, and the session goes on."""
        line = self.log_in()
        with patch.object(Account, "add", return_value=fail(StoreFullError("disk"))):
            self.assertIn("NO [OVERQUOTA]", self.append(line, "INBOX", LETTER))
        self.assertIn("OK", self.append(line, "INBOX", LETTER))

    def test_appended_together(self) -> None:
        """Several messages of one APPEND are added together or not at all."""
        line = self.log_in()
        two = f"APPEND INBOX {{{len(LETTER)}+}}\r\n{LETTER.decode()} {{{len(LETTER)}+}}\r\n{LETTER.decode()}"
        self.assertIn("APPENDUID", self.ask(line, two))
        self.assertEqual(len(self.house.messages("alice")), 2)
        self.house.quotas["alice"] = 3 * len(LETTER)
        self.house.store.refresh_quotas()
        self.assertIn("NO [OVERQUOTA]", self.ask(line, two))
        self.assertEqual(len(self.house.messages("alice")), 2)

    def test_empty_message(self) -> None:
        """An empty message that came by other ways can be fetched."""
        self.add(b"")
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        self.assertIn(
            "t OK",
            self.ask(line, "FETCH 1 (ENVELOPE BODYSTRUCTURE BODY.PEEK[] BODY.PEEK[TEXT] BODY.PEEK[1])"),
        )

    def test_body_survives_expunge(self) -> None:
        """A body that is being read stays readable when another session expunges it, and goes when it is let go of."""
        self.add(LETTER * 10_000)
        selected = self.log_in().protocol.server.connection.session.select("INBOX", read_only=True)
        reader = selected.open_body(1)
        first = reader.read(0, 100)
        other = self.log_in()
        self.ask(other, "SELECT INBOX")
        self.ask(other, "STORE 1 +FLAGS.SILENT (\\Deleted)")
        self.assertIn("EXPUNGE", self.ask(other, "EXPUNGE"))
        whole = b"".join(reader.read(start, 262_144) for start in range(0, reader.size, 262_144))
        self.assertTrue(whole.startswith(first) and whole.endswith(LETTER))
        account = self.house.store.account("alice")
        self.assertEqual(account.reader.execute("SELECT count(*) FROM chunk").get, 3)
        reader.close()
        self.assertEqual(account.reader.execute("SELECT count(*) FROM chunk").get, 0)

    def test_delivery_is_told(self) -> None:
        """A session that idles hears of mail that comes by SMTP."""
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        self.assertIn("+", line.say("i IDLE"))
        mail = self.house.inbound()
        mail.begin("a@client.example", ALICE)
        mail.send(LETTER)
        self.house.clock.advance(0)
        self.assertIn("* 1 EXISTS", line.heard())

    def test_identity_of_mailboxes(self) -> None:
        """A mailbox keeps its MAILBOXID over a rename, and a new one of that name has another."""
        line = self.log_in()
        created = self.ask(line, "CREATE One")
        found = re.search(r"MAILBOXID \((\S+?)\)", created)
        self.assertIsNotNone(found, created)
        first = found[1] if found else ""
        self.ask(line, "RENAME One Two")
        self.assertIn(first, self.ask(line, "STATUS Two (MAILBOXID)"))
        self.ask(line, "CREATE One")
        self.assertNotIn(first, self.ask(line, "STATUS One (MAILBOXID)"))

    def test_text_search(self) -> None:
        """A text search asks the account's index."""
        self.add()
        selected = self.log_in().protocol.server.connection.session.select("INBOX", read_only=True)
        found = self.successResultOf(selected.search_text(MessageText("body", "WORKS"), [1, 2]))
        self.assertEqual(found, {1})


class EndTests(IMAPCase):
    def test_gone_in_every_state(self) -> None:
        """A client that disappears, wherever it was, leaves nothing: no files, no bodies, no counts."""
        self.add(LETTER * 40_000)
        for command in (
            b"",
            b"t LOGIN ali",
            f't LOGIN {ALICE} "{SECRET}"\r\n'.encode(),
            f't LOGIN {ALICE} "{SECRET}"\r\nt SELECT INBOX\r\nt IDLE\r\n'.encode(),
            f't LOGIN {ALICE} "{SECRET}"\r\nt SELECT INBOX\r\nt FETCH 1 BODY[]\r\n'.encode(),
            f't LOGIN {ALICE} "{SECRET}"\r\nt APPEND INBOX {{500000+}}\r\n'.encode() + b"x" * 400_000,
            f't LOGIN {ALICE} "{SECRET}"\r\nt APPEND INBOX {{900000+}}\r\n'.encode() + b"x\r\n" * 290_000,
            b"t AUTHENTICATE SCRAM-SHA-256\r\n",
        ):
            line = self.house.imap(append_limit=10_000_000)
            if b"FETCH" in command:
                real = line.transport.write

                def write(data: bytes, line: Line = line, real: Any = real) -> None:
                    real(data)
                    if len(data) > 10_000:
                        line.protocol.pauseProducing()

                line.transport.write = write
            line.protocol.dataReceived(command)
            line.drop()
            self.house.clock.advance(1)
            self.assertEqual(self.house.leaks(), [], command[:60])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_too_many_connections(self) -> None:
        """Connections over the limit read BYE and are not counted."""
        lines = [self.house.imap() for _ in range(30)]
        refused = self.house.imap()
        self.assertIn("* BYE [UNAVAILABLE]", refused.heard())
        self.assertFalse(refused.transport.connected)
        self.assertEqual(self.house.connections.open_connections("198.51.100.9")[0], 30)
        for line in lines:
            line.drop()
        self.assertEqual(self.house.connections._open, {})

    def test_let_go(self) -> None:
        """When the client is gone, the account is let go of at once: another process may wait for it."""
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        self.ask(line, "FETCH 1:* FLAGS")
        store = self.house.store
        account = weakref.ref(store.account("alice"))
        gc.disable()
        self.addCleanup(gc.enable)
        self.assertFalse(self.successResultOf(Deferred.fromCoroutine(store.let_go("alice"))))
        line.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(store.let_go("alice"))))
        self.assertIsNone(account())

    def test_password_changed_while_waiting(self) -> None:
        """Who has to wait for his account logs in with a password that is right in the end."""
        for changes in (False, True):
            waiting: Deferred[None] = Deferred()
            lending = SimpleNamespace(lend=lambda account, waiting=waiting: waiting)
            line = self.house.imap(lending=lending)
            line.heard()
            self.assertEqual(line.say(f't LOGIN {ALICE} "{SECRET}"'), "")
            if changes:
                self.house.authenticator.forget("alice")
            waiting.callback(None)
            self.assertIn("t NO [UNAVAILABLE]" if changes else "t OK", line.heard())

    def test_account_removed(self) -> None:
        """When an account goes, its sessions end with BYE and the others stay."""
        line = self.log_in()
        factory = self.house.imap_factory
        self.ask(line, "SELECT INBOX")
        self.house.holder.current = self.house.directory(accounts=ACCOUNTS[1:])
        factory.review()
        self.assertIn("* BYE", line.heard())
        self.assertFalse(line.transport.connected)

    def test_account_removed_under_way(self) -> None:
        """A command of a session whose account was removed is refused, and nothing is logged as a fault."""
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        self.successResultOf(self.house.store.remove_account("alice"))
        self.assertIn("NO [UNAVAILABLE]", self.append(line, "INBOX", LETTER))
        self.assertIn("NO [UNAVAILABLE]", self.ask(line, "CREATE x"))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_password_changed(self) -> None:
        """When a password changes, who is logged in is so no longer."""
        line = self.log_in()
        self.house.imap_factory.end_sessions("bob")
        self.assertEqual(line.heard(), "")
        self.house.imap_factory.end_sessions("alice")
        self.assertIn("* BYE", line.heard())

    def test_new_directory(self) -> None:
        """Sessions of accounts that are still there outlive a new configuration, and new log-ins follow it."""
        line = self.log_in()
        entry = evolve(
            ACCOUNTS[0],
            imap_capabilities_disabled=frozenset(["MOVE"]),
            addresses={"new@example.org": "INBOX"},
        )
        self.house.holder.current = self.house.directory(accounts=[entry, *ACCOUNTS[1:]])
        self.house.authenticator.forget_all()
        self.house.imap_factory.review()
        self.assertIn("t OK", self.ask(line, "STATUS INBOX (MESSAGES)"))
        refused = self.house.imap()
        self.assertIn("NO [AUTHENTICATIONFAILED]", self.ask(refused, f'LOGIN {ALICE} "{SECRET}"'))
        self.assertNotIn(" MOVE", self.ask(self.log_in("new@example.org"), "CAPABILITY"))


class LoginTests(IMAPCase):
    def test_names(self) -> None:
        """Any address that leads to the account is a login; a catch-all, an alias and the account's name are none."""
        self.log_in("Alice+phone@EXAMPLE.org")
        for user in ("alice", "team@example.org", "whoever@all.example", "nobody@example.org"):
            line = self.house.imap()
            self.assertIn("NO [AUTHENTICATIONFAILED]", self.ask(line, f'LOGIN {user} "{SECRET}"'), user)

    def test_wrong_password(self) -> None:
        """A wrong password is refused, and after too many nobody from there gets in for a while."""
        for _ in range(10):
            line = self.house.imap()
            self.assertIn("NO [AUTHENTICATIONFAILED]", self.ask(line, f'LOGIN {ALICE} "wrong password"'))
            line.drop()
        line = self.house.imap()
        answer = self.ask(line, f'LOGIN {ALICE} "{SECRET}"')
        self.assertIn("NO", answer)
        self.log_in(ip="203.0.113.5")
        self.house.clock.advance(121)
        self.log_in()

    def test_left_half_way(self) -> None:
        """Whoever asks for a salt and hangs up is counted, and soon gets no more."""
        first = base64.b64encode(f"n,,n={ALICE},r=abcdefgh".encode()).decode()
        answers = []
        for _ in range(11):
            line = self.house.imap("192.0.2.1")
            answers.append(line.say(f"a AUTHENTICATE SCRAM-SHA-256 {first}"))
            line.drop()
        self.assertTrue(all("+ " in answer for answer in answers[:10]), answers)
        self.assertIn("a NO", answers[10])

    def test_disabled(self) -> None:
        """An account that is switched off is told why, once the password is right."""
        accounts = [evolve(entry, disabled="on holiday") for entry in ACCOUNTS]
        self.house.holder.current = self.house.directory(accounts=accounts)
        self.assertIn("on holiday", self.ask(self.house.imap(), f'LOGIN {ALICE} "{SECRET}"'))
        self.assertNotIn("on holiday", self.ask(self.house.imap(), f'LOGIN {ALICE} "wrong password"'))

    def test_plain(self) -> None:
        """AUTHENTICATE PLAIN works with an initial response."""
        plain = base64.b64encode(f"\0{ALICE}\0{SECRET}".encode()).decode()
        self.assertIn("t OK", self.ask(self.house.imap(), f"AUTHENTICATE PLAIN {plain}"))

    def with_key(self, fingerprint: str, authorize: str = "=") -> str:
        line = self.house.imap()
        connection = line.protocol.server.connection
        connection.transport = Transport(connection.transport.peer, True, True, {})
        connection.forget_capabilities()
        with patch("moxtwisted.server.imapd.service.client_key_fingerprint", return_value=fingerprint):
            return self.ask(line, f"AUTHENTICATE EXTERNAL {authorize}")

    def test_client_key(self) -> None:
        """A known client key logs in with EXTERNAL, to its own account only; also one that has only a catch-all."""
        accounts = [
            evolve(ACCOUNTS[0], tls_public_keys={"ab" * 32: KeyEntry()}),
            ACCOUNTS[1],
            evolve(ACCOUNTS[2], tls_public_keys={"cd" * 32: KeyEntry()}),
        ]
        self.house.holder.current = self.house.directory(accounts=accounts)
        self.assertIn("t OK", self.with_key("ab" * 32))
        self.assertIn("t OK", self.with_key("ab" * 32, base64.b64encode(ALICE.encode()).decode()))
        self.assertIn("t NO", self.with_key("ab" * 32, base64.b64encode(b"bob@example.org").decode()))
        self.assertIn("t NO", self.with_key("ef" * 32))
        self.assertIn("t OK", self.with_key("cd" * 32))
