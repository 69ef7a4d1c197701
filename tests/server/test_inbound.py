"""Mail from others, through the whole of SMTP into the store."""

from __future__ import annotations

import errno
from email import message_from_bytes
from typing import Any
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from zope.interface import implementer

from moxtwisted.errors import StoreFullError
from moxtwisted.server.intake import Trouble
from moxtwisted.server.logging import LevelControl
from moxtwisted.server.processes.events import EventSender, republish
from moxtwisted.store.accounts import Account
from moxtwisted.store.staging import SealedFile
from tests.server.house import ACCOUNTS, HouseCase

LETTER = b"From: Sender <a@client.example>\r\nSubject: hello\r\n\r\nIt works.\r\n"


class RecipientTests(HouseCase):
    def rcpt(self, recipient: str, sender: str = "a@client.example") -> str:
        line = self.house.inbound(delay=0.0)
        answer = line.begin(sender, recipient)
        line.drop()
        return answer

    def goes_to(self, recipient: str, account: str, mailbox: str = "INBOX") -> None:
        line = self.house.inbound()
        self.assertIn("250", line.begin("a@client.example", recipient), recipient)
        self.assertIn("250 2.", line.send(LETTER), recipient)
        line.drop()
        self.assertEqual(len(self.house.messages(account, mailbox)), 1, recipient)

    def test_plain(self) -> None:
        """An address leads to its mailbox, which is made when it is missing."""
        self.goes_to("alice@example.org", "alice")
        self.goes_to("bob.list@example.org", "bob", "Lists")

    def test_case_and_suffix(self) -> None:
        """Case and what is behind a separator do not count, unless the domain says so."""
        self.goes_to("ALICE+shop@EXAMPLE.ORG", "alice")
        self.goes_to("Bob@strict.example", "bob", "Strict")
        self.assertIn("550 5.1.1", self.rcpt("bob@strict.example"))
        self.assertIn("550 5.1.1", self.rcpt("Bob+x@strict.example"))

    def test_catch_all(self) -> None:
        """A catch-all takes what nobody has."""
        self.goes_to("whoever@all.example", "carol")

    def test_unknown(self) -> None:
        """Unknown users and domains are refused for good."""
        self.assertIn("550 5.1.1", self.rcpt("nobody@example.org"))
        self.assertIn("550 5.1.2", self.rcpt("alice@elsewhere.example"))
        self.assertIn("550 5.1.2", self.rcpt("alice@[192.0.2.1]"))

    def test_disabled_domain(self) -> None:
        """A domain that is switched off is refused for now."""
        self.assertIn("450 4.2.1", self.rcpt("alice@off.example"))

    def test_disabled_account(self) -> None:
        """An account that is switched off still gets its mail."""
        accounts = [evolve(entry, disabled="on holiday") for entry in ACCOUNTS]
        self.house.holder.current = self.house.directory(accounts=accounts)
        self.goes_to("alice@example.org", "alice")

    def test_postmaster(self) -> None:
        """Postmaster is there without a domain, at ours and at the host's own name, in any case."""
        for number, form in enumerate(
            ("Postmaster", "POSTMASTER@example.org", "postmaster@mx.example.org"), 1
        ):
            line = self.house.inbound()
            self.assertIn("250", line.begin("a@client.example", form), form)
            self.assertIn("250 2.", line.send(LETTER), form)
            self.assertEqual(len(self.house.messages("alice", "Postmaster")), number)
            line.drop()

    def test_alias(self) -> None:
        """Each member of an alias gets a copy that names the alias."""
        self.goes_to("team@example.org", "alice")
        for account in ("alice", "bob"):
            self.assertIn(b"\r\nDelivered-To: team@example.org\r\n", self.house.messages(account)[0])

    def test_members_only(self) -> None:
        """Strangers do not write to an alias for members."""
        self.assertIn("550 5.7.2", self.rcpt("inner@example.org"))

    def test_alias_without_members(self) -> None:
        """An alias whose members are all gone is no address."""
        self.assertIn("550 5.1.1", self.rcpt("ghosts@example.org"))

    def test_null_sender(self) -> None:
        """A report has one recipient."""
        line = self.house.inbound()
        self.assertIn("250", line.begin("", "alice@example.org"))
        self.assertIn("452 4.5.3", line.say("RCPT TO:<bob@example.org>"))
        self.assertIn("250 2.", line.send(LETTER))
        self.assertTrue(self.house.messages("alice")[0].startswith(b"Return-Path: <>\r\n"))

    def test_new_directory(self) -> None:
        """A new configuration counts from the next command on, also on open connections."""
        line = self.house.inbound(delay=0.0)
        self.assertIn("250", line.begin("a@client.example", "alice@example.org"))
        self.house.holder.current = self.house.directory(accounts=ACCOUNTS[1:])
        self.assertIn("550 5.1.1", line.say("RCPT TO:<alice@example.org>"))
        self.assertIn("250", line.say("RCPT TO:<bob@example.org>"))


class TarpitTests(HouseCase):
    def test_only_unknown(self) -> None:
        """A client that found no recipient yet waits for the refusal; one that did, and LMTP, do not."""
        line = self.house.inbound()
        self.assertEqual(line.begin("a@client.example", "nobody@example.org"), "")
        self.house.clock.advance(4.9)
        self.assertEqual(line.heard(), "")
        self.house.clock.advance(0.2)
        self.assertIn("550 5.1.1", line.heard())
        line.say("RCPT TO:<alice@example.org>")
        self.assertIn("550 5.1.1", line.say("RCPT TO:<nobody@example.org>"))
        other = self.house.inbound(lmtp=True)
        self.assertIn("550 5.1.1", other.begin("a@client.example", "nobody@example.org"))

    def test_gone_meanwhile(self) -> None:
        """A client that does not wait for the refusal leaves nothing behind."""
        line = self.house.inbound()
        line.begin("a@client.example", "nobody@example.org")
        line.drop()
        self.assertEqual(self.house.leaks(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class LogCase(HouseCase):
    def logged(self) -> list[dict[str, Any]]:
        """What is logged from now on."""
        events: list[dict[str, Any]] = []

        @implementer(ILogObserver)
        def observe(event: dict[str, Any]) -> None:
            events.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return events


class RefusedRecipientTests(LogCase):
    def refused(self, *recipients: str, sender: str = "a@client.example") -> list[tuple[Any, ...]]:
        """What the log says about these recipients of one client, of 2000 octets."""
        events = self.logged()
        line = self.house.inbound(delay=0.0)
        line.say(f"MAIL FROM:<{sender}> SIZE=2000", *(f"RCPT TO:<{recipient}>" for recipient in recipients))
        line.drop()
        names = ("peer", "sender", "recipient", "reply_code", "enhanced_code")
        return [tuple(event[name] for name in names) for event in events if "reply_code" in event]

    def test_each(self) -> None:
        """Who the refused recipients are, who wanted to write to them and what was answered stands in the log."""
        self.house.quotas["alice"] = 1000
        self.house.store.refresh_quotas()
        expected: tuple[tuple[str, int, str], ...] = (
            ("nobody@example.org", 550, "5.1.1"),
            ("x@elsewhere.example", 550, "5.1.2"),
            ("x@off.example", 450, "4.2.1"),
            ("inner@example.org", 550, "5.7.2"),
            ("alice@example.org", 452, "4.2.2"),
        )
        self.assertEqual(
            self.refused("bob@example.org", *(recipient for recipient, _, _ in expected)),
            [("198.51.100.7", "a@client.example", *what) for what in expected],
        )
        self.assertEqual(
            self.refused("bob@example.org", "team@example.org", sender=""),
            [("198.51.100.7", "<>", "team@example.org", 452, "4.5.3")],
        )

    def test_at_once(self) -> None:
        """A client that leaves before it hears the refusal is logged all the same; the line crosses from a receiver as it is."""
        events = self.logged()
        line = self.house.inbound(delay=5.0)
        line.begin("a@client.example", "nobody@example.org")
        line.drop()
        (event,) = [event for event in events if "reply_code" in event]
        said = (
            "recipient nobody@example.org of mail from a@client.example refused: 550 5.1.1 no such user here"
        )
        self.assertEqual(formatEvent(event), said)
        told: list[Any] = []
        EventSender(told.append, LevelControl("info"))(event)
        republish(told[0], receiver=1)
        self.assertEqual(
            (formatEvent(events[-1]), events[-1]["log_format"], events[-1]["receiver"]),
            (said, event["log_format"], 1),
        )

    def test_guesses(self) -> None:
        """Twenty lines a connection, then one that says that no more come; the next connection begins anew."""
        guesses = [f"guess{n}@example.org" for n in range(30)]
        events = self.logged()
        self.assertEqual([found[2] for found in self.refused(*guesses)], guesses[:20])
        self.assertEqual(sum("no more of this connection" in formatEvent(event) for event in events), 1)
        self.assertEqual(len(self.refused(*guesses)), 20)


class MessageTests(LogCase):
    def test_trace(self) -> None:
        """Return-Path, Delivered-To and Received stand before the message, which keeps all its octets."""
        line = self.house.inbound()
        line.begin("a@client.example", "Alice+x@example.org")
        self.assertIn("250 2.", line.send(LETTER))
        (octets,) = self.house.messages("alice")
        head = octets.removesuffix(LETTER)
        self.assertNotEqual(head, octets)
        expected = (
            rb"Return-Path: <a@client\.example>\r\nDelivered-To: Alice\+x@example\.org\r\n"
            rb"Received: from client\.example \(\[198\.51\.100\.7\]\)\s+by mx\.example\.org\s+with ESMTP\s+id [0-9a-f]{12}\s+"
            rb"for <Alice\+x@example\.org>;\s+Tue, 14 Nov 2023 22:13:20 \+0000\r\n\Z"
        )
        self.assertRegex(head, expected)

    def test_one_copy_for_an_account(self) -> None:
        """Two addresses of one mailbox get one copy that names both, and Received names none."""
        line = self.house.inbound()
        line.begin(
            "a@client.example",
            "alice@example.org",
            "alice+1@example.org",
            "alice@example.org",
            "bob@example.org",
        )
        with patch.object(Account, "add", autospec=True, side_effect=Account.add) as add:
            self.assertIn("250 2.", line.send(LETTER))
        self.assertEqual([call.args[0].name for call in add.call_args_list], ["alice", "bob"])
        (octets,) = self.house.messages("alice")
        parsed = message_from_bytes(octets)
        self.assertEqual(parsed.get_all("Delivered-To"), ["alice@example.org", "alice+1@example.org"])
        self.assertNotIn(" for ", parsed["Received"])
        self.assertNotIn(b"alice", self.house.messages("bob")[0])

    def test_two_mailboxes_are_one_commit(self) -> None:
        """Two mailboxes of one account are one commit."""
        line = self.house.inbound()
        line.begin("a@client.example", "bob@example.org", "bob.list@example.org")
        with patch.object(Account, "add", autospec=True, side_effect=Account.add) as add:
            self.assertIn("250 2.", line.send(LETTER))
        self.assertEqual(add.call_count, 1)
        self.assertEqual(len(self.house.messages("bob")), 1)
        self.assertEqual(len(self.house.messages("bob", "Lists")), 1)

    def test_loop(self) -> None:
        """A message with more than a hundred Received fields goes round in circles."""
        line = self.house.inbound()
        line.begin("a@client.example", "alice@example.org")
        self.assertIn("250 2.", line.send(b"Received: x\r\n" * 100 + LETTER))
        line.begin("a@client.example", "alice@example.org")
        self.assertIn("550 5.4.6", line.send(b"received:\r\n x\r\n" * 101 + LETTER))
        self.assertEqual(len(self.house.messages("alice")), 1)

    def test_begins_folded(self) -> None:
        """A message whose first line would continue our Received is refused; a folded line behind it is as any other."""
        for first in (b" From: boss@client.example\r\n", b"\tx\r\n", b" \r\n"):
            line = self.house.inbound()
            line.begin("a@client.example", "alice@example.org")
            self.assertIn("554 5.6.0", line.send(first + LETTER))
            line.begin("a@client.example", "alice@example.org")
            self.assertIn("250 2.", line.send(b"X:\r\n" + first + LETTER))
            line.drop()
        self.assertEqual(len(self.house.messages("alice")), 3)
        line = self.house.inbound(lmtp=True)
        line.begin("a@client.example", "alice@example.org", "bob@example.org")
        self.assertEqual([a[:9] for a in line.send(b" x\r\n" + LETTER).split("\r\n")], ["554 5.6.0"] * 2)

    def test_log_is_short(self) -> None:
        """The log names ten recipients, and says how many there are."""
        events = self.logged()
        line = self.house.inbound()
        line.begin("a@client.example", *(f"alice+{n}@example.org" for n in range(50)))
        self.assertIn("250 2.", line.send(LETTER))
        (event,) = [event for event in events if event.get("sender")]
        self.assertEqual(event["count"], 50)
        self.assertEqual(event["recipients"], [f"alice+{n}@example.org" for n in range(10)])

    def test_empty(self) -> None:
        """A message without any octets is a message."""
        line = self.house.inbound()
        line.begin("a@client.example", "alice@example.org")
        self.assertIn("354", line.say("DATA"))
        self.assertIn("250 2.", line.say("."))
        self.assertEqual(len(self.house.messages("alice")), 1)

    def test_large(self) -> None:
        """A message larger than memory is meant for arrives whole."""
        line = self.house.inbound()
        line.begin("a@client.example", "alice@example.org", "bob@example.org")
        body = LETTER + b"".join(b"line %d\r\n" % n for n in range(300_000))
        self.assertIn("250 2.", line.send(body))
        for account in ("alice", "bob"):
            self.assertTrue(self.house.messages(account)[0].endswith(body))
        line.drop()
        self.assertEqual(self.house.leaks(), [])


class RoomTests(LogCase):
    def test_quota_at_rcpt(self) -> None:
        """A full account, or one that the declared size does not fit into, is refused at RCPT for now."""
        self.house.quotas["alice"] = 1000
        self.house.store.refresh_quotas()
        line = self.house.inbound()
        line.say("MAIL FROM:<a@client.example> SIZE=2000")
        self.assertIn("452 4.2.2", line.say("RCPT TO:<alice@example.org>"))
        self.assertIn("250", line.say("RCPT TO:<bob@example.org>"))
        line.say("RSET", "MAIL FROM:<a@client.example> SIZE=20")
        self.assertIn("250", line.say("RCPT TO:<alice@example.org>"))

    def test_quota_at_commit(self) -> None:
        """A message that turns out not to fit is refused after it came."""
        self.house.quotas["alice"] = 100
        self.house.store.refresh_quotas()
        line = self.house.inbound()
        line.begin("a@client.example", "alice@example.org")
        self.assertIn("452 4.2.2", line.send(LETTER))
        self.assertEqual(self.house.messages("alice"), [])

    def test_one_full_member(self) -> None:
        """A full member does not keep an alias from the others, who get one copy however often the sender tries again."""
        self.house.quotas["alice"] = 10
        self.house.store.refresh_quotas()
        for _ in range(3):
            line = self.house.inbound()
            self.assertIn("250", line.begin("a@client.example", "team@example.org"))
            self.assertIn("452 4.2.2", line.send(LETTER))
            line.drop()
            self.assertEqual(len(self.house.messages("bob")), 1)
        self.house.quotas["alice"] = 10_000
        self.house.store.refresh_quotas()
        line = self.house.inbound()
        line.begin("a@client.example", "team@example.org")
        self.assertIn("250 2.", line.send(LETTER))
        self.assertEqual((len(self.house.messages("bob")), len(self.house.messages("alice"))), (1, 1))

    def test_same_message_later(self) -> None:
        """Once all have it, the same octets sent again are a message like any other."""
        self.test_one_full_member()
        line = self.house.inbound()
        line.begin("a@client.example", "team@example.org")
        self.assertIn("250 2.", line.send(LETTER))
        self.assertEqual(len(self.house.messages("bob")), 2)

    def test_disk_full(self) -> None:
        """A full disk at the commit, or while the message comes in, is 452 4.3.1, and the next message is taken."""
        line = self.house.inbound()
        line.begin("a@client.example", "alice@example.org")
        with patch.object(Account, "add", return_value=fail(StoreFullError("disk"))):
            self.assertIn("452 4.3.1", line.send(LETTER))
        line.begin("a@client.example", "alice@example.org")
        with patch.object(SealedFile, "write", side_effect=OSError(28, "No space left on device")):
            self.assertIn("452 4.3.1", line.send(LETTER + b"x" * 70 * 20_000))
        line.begin("a@client.example", "alice@example.org")
        self.assertIn("250 2.", line.send(LETTER))
        line.drop()
        self.assertEqual(self.house.leaks(), [])
        self.assertEqual(len(self.house.messages("alice")), 1)

    def test_no_files(self) -> None:
        """Without free file descriptors it is 452, and the log has the errno, once a minute, and how often besides."""
        events = self.logged()

        def send(number: int) -> None:
            line = self.house.inbound()
            line.begin("a@client.example", "alice@example.org")
            error = OSError(number, "no more files")
            with patch("moxtwisted.store.staging.tempfile.TemporaryFile", side_effect=error):
                self.assertIn("452 4.3.1", line.send(LETTER + b"x" * 70 * 20_000))
            line.drop()

        def troubles() -> list[tuple[str, int]]:
            mine = [e for e in events if e["log_namespace"] == "moxtwisted.server.intake"]
            events.clear()
            return [(e["problem"], e["count"]) for e in mine]

        trouble = Trouble(self.house.clock.seconds)
        with patch("moxtwisted.server.inbound.handler.Trouble", return_value=trouble):
            for number in (errno.EMFILE, errno.EMFILE, errno.ENFILE, errno.EMFILE):
                send(number)
            self.assertEqual(troubles(), [("EMFILE", 0), ("ENFILE", 0)])
            self.house.clock.advance(60)
            send(errno.EMFILE)
            self.assertEqual(troubles(), [("EMFILE", 2)])
        self.assertEqual(self.house.leaks(), [])

    def test_unexpected(self) -> None:
        """A fault of the store is 451 for this message, logged, and the others have theirs."""
        real = Account.add

        def add(account: Account, *args: Any, **more: Any) -> Any:
            if account.name == "alice":
                raise ZeroDivisionError
            return real(account, *args, **more)

        line = self.house.inbound(lmtp=True)
        line.begin("a@client.example", "alice@example.org", "bob@example.org")
        with patch.object(Account, "add", add):
            first, second = line.send(LETTER).split("\r\n")
        self.assertIn("451 4.3.0", first)
        self.assertIn("250 2.", second)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class LMTPTests(HouseCase):
    def test_answers(self) -> None:
        """Each recipient has its own answer, in order; an account's error is that of all its recipients."""
        self.house.quotas["alice"] = 10
        self.house.store.refresh_quotas()
        line = self.house.inbound(lmtp=True)
        line.begin("a@client.example", "bob@example.org", "team@example.org", "carol@all.example")
        answers = line.send(LETTER).split("\r\n")
        self.assertEqual([answer[:9] for answer in answers], ["250 2.6.0", "452 4.2.2", "250 2.6.0"])
        self.assertIn(b"with LMTP", self.house.messages("carol")[0])

    def test_nothing_is_remembered(self) -> None:
        """An LMTP client that sends a message again means it."""
        self.house.quotas["alice"] = 10
        self.house.store.refresh_quotas()
        for _ in range(2):
            line = self.house.inbound(lmtp=True)
            line.begin("a@client.example", "bob@example.org", "alice@example.org")
            line.send(LETTER)
        self.assertEqual(len(self.house.messages("bob")), 2)


class ConnectionTests(HouseCase):
    def test_counted_once(self) -> None:
        """However a connection ends it is counted once, and given back once."""
        lines = [self.house.inbound() for _ in range(3)]
        self.assertEqual(self.house.connections.open_connections("198.51.100.7")[0], 3)
        lines[0].say("QUIT")
        lines[1].drop()
        self.house.clock.advance(400)
        self.assertEqual(self.house.connections._open, {})

    def test_too_many(self) -> None:
        """More connections than allowed are refused with 421, and the refused ones are not counted."""
        lines = [self.house.inbound() for _ in range(30)]
        refused = self.house.inbound()
        self.assertFalse(refused.transport.connected and not refused.transport.disconnecting)
        lines[0].drop()
        self.assertEqual(self.house.connections.open_connections("198.51.100.7")[0], 29)
        self.assertIn("250", self.house.inbound().say("NOOP"))

    def test_gone_in_every_state(self) -> None:
        """A client that disappears, wherever in the dialogue, leaves nothing: no files, no counts, no half messages."""
        dialogue = [
            b"MAIL FROM:<a@client.example>\r\n",
            b"RCPT TO:<alice@example.org>\r\n",
            b"RCPT TO:<bob@example.org>\r\n",
            b"DATA\r\n",
            LETTER,
            b"x" * 70 + b"\r\n",
            (b"y" * 70 + b"\r\n") * 30_000,
            b".\r",
        ]
        for count in range(len(dialogue) + 1):
            line = self.house.inbound()
            for octets in dialogue[:count]:
                line.protocol.dataReceived(octets)
            line.drop()
            self.assertEqual(self.house.leaks(), [], count)
        self.assertEqual(self.house.messages("alice"), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_gone_during_the_commit(self) -> None:
        """A message that was complete is kept though the client does not wait for the answer."""
        line = self.house.inbound()
        line.begin("a@client.example", "alice@example.org")
        real = self.house.delivery.deliver
        held: list[Any] = []

        async def deliver(*args: Any, **more: Any) -> Any:

            held.append(Deferred())
            await held[0]
            return await real(*args, **more)

        with patch.object(type(self.house.delivery), "deliver", side_effect=deliver):
            self.assertEqual(line.send(LETTER), "")
            line.drop()
            held[0].callback(None)
        self.assertEqual(len(self.house.messages("alice")), 1)
        self.assertEqual(self.house.leaks(), [])


class ProvocationTests(HouseCase):
    everything = True

    def test_everything_is_taken(self) -> None:
        """Mail for any address comes to the one account."""
        line = self.house.inbound()
        self.assertIn("250", line.begin("a@client.example", "who@anywhere.example", "x@[192.0.2.1]"))
        self.assertIn("250 2.", line.send(LETTER))
        self.assertEqual(len(self.house.messages("alice")), 1)

    def test_after_the_message(self) -> None:
        """The end of a recipient's local part says what the message is answered with."""
        for localpart, code in (
            ("temperror", "451"),
            ("x-permerror", "550"),
            ("a452", "452"),
            ("554", "554"),
            ("TEMPERROR", "451"),
        ):
            line = self.house.inbound()
            self.assertIn("250", line.begin("a@client.example", f"{localpart}@localhost"))
            self.assertTrue(line.send(LETTER).startswith(code), localpart)
            line.drop()
        self.assertEqual(self.house.messages("alice"), [])
        self.assertEqual(self.house.leaks(), [])

    def test_at_a_command(self) -> None:
        """A prefix moves the error to RCPT or to MAIL."""
        line = self.house.inbound()
        self.assertTrue(line.begin("mailfromtemperror@localhost").startswith("451"))
        self.assertTrue(line.begin("a@client.example", "rcptto-550@localhost").startswith("550"))
        self.assertIn("250", line.say("RCPT TO:<fine@localhost>"))
        self.assertIn("250", line.begin("temperror@localhost", "fine@localhost") if line.say("RSET") else "")

    def test_words_behind_a_separator(self) -> None:
        """The word for the command may stand behind a separator, and does not also count after the message."""
        for localpart in ("rcptto552", "you+rcptto552", "you-rcptto-552", "a.b_rcptto552", "YOU+RCPTTO552"):
            line = self.house.inbound()
            self.assertTrue(
                line.begin("a@client.example", f"{localpart}@localhost").startswith("552"), localpart
            )
            line.drop()
        for localpart in ("mailfrompermerror", "me+mailfrompermerror", "me-mailfrom-550"):
            line = self.house.inbound()
            self.assertTrue(line.begin(f"{localpart}@localhost").startswith("550"), localpart)
            line.drop()
        line = self.house.inbound()
        self.assertIn("250", line.begin("a@client.example", "you+mailfrom552@localhost"))
        self.assertIn("250 2.", line.send(LETTER))
        line = self.house.inbound()
        self.assertIn("250", line.begin("a@client.example", "yourcptto552@localhost"))
        self.assertTrue(line.send(LETTER).startswith("552"))

    def test_timeout(self) -> None:
        """After …timeout the answer comes in an hour."""
        line = self.house.inbound()
        self.assertEqual(line.begin("a@client.example", "rcpttotimeout@localhost"), "")
        self.house.clock.advance(3599)
        self.assertEqual(line.heard(), "")
        self.house.clock.advance(2)
        self.assertTrue(line.heard().startswith("451"))

    def test_gone_during_the_timeout(self) -> None:
        """A client that gives up waiting leaves nothing."""
        for recipient, whole in (("rcpttotimeout@localhost", False), ("timeout@localhost", True)):
            line = self.house.inbound()
            line.begin("a@client.example", recipient)
            if whole:
                line.send(LETTER)
            line.drop()
            self.assertEqual(self.house.leaks(), [])
        self.house.clock.advance(4000)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.house.messages("alice"), [])
