"""Mail from our own users, through the whole of submission into the store and the queue."""

from __future__ import annotations

import re
from email import message_from_bytes
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import LimitError, MailError, StoreFullError
from moxtwisted.message.compose import Completion
from moxtwisted.server.submission.header import RefusedHeaderError, SubmittedMessage
from moxtwisted.store.accounts import Account
from moxtwisted.store.bodies import decode
from moxtwisted.store.queue import SendingLimits
from tests.server.house import ACCOUNTS, NOW, HouseCase, Line

ALICE = "alice@example.org"


def letter(author: str = ALICE, more: str = "", body: str = "It works.\r\n") -> bytes:
    return f"From: {author}\r\nSubject: hello\r\n{more}\r\n{body}".encode()


class SubmissionCase(HouseCase):
    def setUp(self) -> None:
        super().setUp()
        self.house.give_passwords()

    def line(self, user: str = ALICE) -> Line:
        line = self.house.submission(user)
        self.assertTrue(line.login_answer.startswith("235"), line.login_answer)
        return line

    def send(self, message: bytes, *recipients: str, sender: str = ALICE) -> str:
        line = self.line()
        answer = line.begin(sender, *(recipients or ("bob@example.org",)))
        self.assertTrue(answer.startswith("250"), answer)
        answer = line.send(message)
        line.drop()
        self.assertEqual(self.house.leaks(), [])
        return answer

    def queued_octets(self) -> bytes:
        reader = self.house.queue._database.reader
        prefix = reader.execute("SELECT prefix FROM submission").get
        return prefix + b"".join(
            decode(*row) for row in reader.execute("SELECT codec, data FROM chunk ORDER BY id")
        )


class IdentityTests(SubmissionCase):
    def test_needs_login(self) -> None:
        """Nobody sends without logging in, or with a wrong password."""
        line = self.house.submission("")
        self.assertIn("530", line.say(f"MAIL FROM:<{ALICE}>"))
        self.assertIn("535", self.house.submission("nobody@example.org").login_answer)

    def test_sender(self) -> None:
        """MAIL FROM is an own address in any form, an own catch-all, an alias that allows it, or empty."""
        line = self.line()
        for good in (ALICE, "Alice+x@EXAMPLE.org", "inner@example.org", ""):
            self.assertIn("250", line.say(f"MAIL FROM:<{good}>"), good)
            line.say("RSET")
        for bad in (
            "bob@example.org",
            "team@example.org",
            "a@client.example",
            "nobody@example.org",
            "alice@[192.0.2.1]",
        ):
            self.assertIn("550 5.7.1", line.say(f"MAIL FROM:<{bad}>"), bad)

    def test_disabled_domain(self) -> None:
        """Mail from a domain that is switched off is refused for now."""
        self.assertIn("451 4.3.0", self.line().say("MAIL FROM:<alice@off.example>"))

    def test_account_gone(self) -> None:
        """An account that was removed or switched off after the log-in sends nothing more."""
        line = self.line()
        self.house.holder.current = self.house.directory(accounts=ACCOUNTS[1:])
        self.assertIn("550 5.7.1", line.say(f"MAIL FROM:<{ALICE}>"))
        self.house.holder.current = self.house.directory()
        line = self.line()
        disabled = [evolve(entry, disabled="on holiday") for entry in ACCOUNTS]
        self.house.holder.current = self.house.directory(accounts=disabled)
        self.house.authenticator.forget_all()
        self.assertIn("on holiday", line.say(f"MAIL FROM:<{ALICE}>"))
        self.assertIn("on holiday", self.house.submission().login_answer)

    def test_authors(self) -> None:
        """Every author of the From field is the user's own address, however it is written."""
        for good in (
            ALICE,
            f"Alice <{ALICE}>",
            f'"boss@client.example" <{ALICE}>',
            f"boss at client.example <{ALICE}>",
            '"alice"@example.org',
            f"{ALICE}, Inner <inner@example.org>",
            f"Us: {ALICE}, alice+x@example.org;",
            f"=?utf-8?q?boss=40client=2Eexample?= <{ALICE}>",
            f"(boss@client.example) {ALICE}",
            "alice@example.org (boss@client.example)",
            f'Alice (of "the (old) house" \\( there) <{ALICE}>',
            f"{'(' * 10}{')' * 10} {ALICE}",
            f'"[Team] \\"A\\" (x" <{ALICE}>',
            f" , {ALICE}, , <  {ALICE} > ,",
            f"Us: {ALICE}, <{ALICE}>;, Them:; , {ALICE}",
            f"Alice\r\n (folded\r\n\there)\r\n <{ALICE}>",
        ):
            self.assertTrue(self.send(letter(good)).startswith("250 2."), good)

    def test_not_the_author(self) -> None:
        """A From field with a foreign, unreadable or missing author is refused."""
        for bad in (
            "bob@example.org",
            f"{ALICE}, bob@example.org",
            f"Us: {ALICE}, boss@client.example;",
            "Us: boss@client.example;",
            "undisclosed:;",
            "",
            "Alice",
            "alice@",
            "@example.org",
            f"<boss@client.example> <{ALICE}>",
            f"<{ALICE}> <boss@client.example>",
            f"boss@client.example <{ALICE}>",
            "alice@example.org@client.example",
            "älice@example.org",
            "boss@client.example\r\n <alice@example.org>",
            f'(") boss@client.example (") <{ALICE}>',
            f'(") <{ALICE}> (")',
            f'"(" <boss@client.example> ")", {ALICE}',
            f"x ) boss@client.example ( <{ALICE}>",
            f"{ALICE} ((<boss@client.example>)",
            f'"boss@client.example <{ALICE}>',
            f'\\" boss@client.example \\" <{ALICE}>',
            f"{ALICE} [(] boss@client.example [)]",
            f"boss@client.example:{ALICE};",
            f"{ALICE}; boss@client.example",
            f"boss\\@client.example <{ALICE}>",
            f'boss"@"client.example, {ALICE}',
            f"{'(' * 11}{')' * 11} {ALICE}",
            f"Alice\x01 <{ALICE}>",
            f"[Team] Alice <{ALICE}>",
            f'<{ALICE}> "<boss@client.example>"',
            f"<{ALICE}> =?utf-8?q?boss=40client.example=2C?=",
            f"=?utf-8?q?boss=40client.example=2C?=< <{ALICE}>",
            f"{ALICE} {ALICE}",
            f"{ALICE} boss",
            f"Us: {ALICE}",
            f"Us: Them: {ALICE};",
            f"Us: {ALICE}; {ALICE}",
            f": {ALICE};",
            f"{ALICE};",
            f"boss, {ALICE}",
            f"<@client.example:{ALICE}>",
            "alice @example.org",
        ):
            answer = self.send(letter(bad))
            self.assertTrue(answer.startswith("550 5."), (bad, answer))
        self.assertEqual(self.house.messages("bob"), [])

    def test_hidden_author(self) -> None:
        """A From field is found wherever other programs may find one."""
        for bad in (
            b"Subject: no author\r\n\r\nx\r\n",
            b"From: alice@example.org\r\nFrom: boss@client.example\r\n\r\nx\r\n",
            b"From: alice@example.org\r\nfrom : boss@client.example\r\n\r\nx\r\n",
            b"From: alice@example.org\r\nX: y\rFrom: boss@client.example\r\n\r\nx\r\n",
            b"From: alice@example.org\r\nX: \0\r\n\r\nx\r\n",
            b"From: alice@example.org\r\nno field\r\nFrom: boss@client.example\r\n\r\nx\r\n",
            b"From: alice@example.org\r\n" + b"X: y\r\n" * 12_000 + b"From: boss@client.example\r\n\r\nx\r\n",
            b"From: alice@example.org\r\nX: "
            + b"y" * 600_000
            + b"\r\nFrom: boss@client.example\r\n\r\nx\r\n",
        ):
            answer = self.send(bad)
            self.assertTrue(answer.startswith("55"), (bad[:100], answer))

    def test_too_long(self) -> None:
        """A From field that takes long to read is refused before it is read."""
        for bad in (f"{ALICE} (" + "a\\(" * 20_000, ", ".join([ALICE] * 1000), 'x (y "' + '\\"' * 30_000):
            answer = self.send(letter(bad))
            self.assertTrue(answer.startswith("552 5.3.4 the From field is too long"), (bad[:40], answer))

    def test_senders(self) -> None:
        """Sender and the Resent fields are the user's own as well."""
        for name in ("Sender", "Resent-From", "resent-sender"):
            for good in (ALICE, f"Alice <{ALICE}>", "inner@example.org"):
                self.assertTrue(self.send(letter(more=f"{name}: {good}\r\n")).startswith("250"), (name, good))
            for bad in ("boss@client.example", "", f"boss@client.example <{ALICE}>", "bob@example.org"):
                answer = self.send(letter(more=f"{name}: {bad}\r\n"))
                self.assertTrue(answer.startswith("550 5."), (name, bad, answer))
        for bad in (
            f"Sender: {ALICE}, {ALICE}\r\n",
            f"Sender: {ALICE}\r\nSender: {ALICE}\r\n",
            f"Resent-From: {ALICE}\r\nResent-From: boss@client.example\r\n",
        ):
            self.assertTrue(self.send(letter(more=bad)).startswith("550"), bad)

    def test_no_fields(self) -> None:
        """A header with a line that is neither a field nor its continuation is refused, and one that begins folded."""
        own = b"From: alice@example.org\r\n"
        for bad in (
            b"From\x0b: boss@client.example\r\n" + own,
            b"From\xa0: boss@client.example\r\n" + own,
            "Fröm: boss@client.example\r\n".encode() + own,
            b"From boss@client.example Mon Jan 1 00:00:00 2024\r\n" + own,
            own + b"not a field\r\n",
            own + b": no name\r\n",
            own + b"X y: z\r\n",
            b" From: boss@client.example\r\n" + own,
            b"\tx\r\n" + own,
            b" \r\n" + own,
        ):
            self.assertTrue(self.send(bad + b"\r\nx\r\n").startswith("550 5.6.0"), bad)
        good = own + b"X:\r\nY\t:\r\n z\r\n\tz\r\n!#%&'*+-.^_`|~: x\r\n\r\nno field\r\n"
        self.assertTrue(self.send(good).startswith("250"))

    def test_utf8(self) -> None:
        """An author in another script is compared as it is delivered to."""
        entry = evolve(ACCOUNTS[0], addresses={**ACCOUNTS[0].addresses, "чарли@example.org": "INBOX"})
        self.house.holder.current = self.house.directory(accounts=[entry, *ACCOUNTS[1:]])
        line = self.line()
        self.assertIn("250", line.say("MAIL FROM:<чарли@example.org> SMTPUTF8"))
        line.say("RCPT TO:<bob@example.org>")
        self.assertTrue(line.send(letter("Чарли <чарли@example.org>")).startswith("250"))
        self.assertIn("with UTF8SMTPA", self.house.messages("bob")[0].decode())


class CorrespondentTests(SubmissionCase):
    def wrote_to(self, address: str) -> bool:
        """Whether alice's account knows that she wrote there."""
        found: bool = self.house.store.account("alice").reputation.wrote_to("address", address, int(NOW))
        return found

    def test_remembered(self) -> None:
        """Whom a user writes to is remembered, here and elsewhere, for the user's account alone."""
        self.send(letter(), "bob@example.org", "Mary@Client.example")
        self.assertTrue(self.wrote_to("mary@client.example"))
        self.assertTrue(self.wrote_to("bob@example.org"))
        self.assertFalse(self.wrote_to(ALICE))
        other = self.house.store.account("bob").reputation
        self.assertFalse(other.wrote_to("address", "mary@client.example", 0))

    def test_refused(self) -> None:
        """Whom a message was refused for is not."""
        self.assertTrue(self.send(letter("bob@example.org"), "mary@client.example").startswith("5"))
        self.assertFalse(self.wrote_to("mary@client.example"))

    def test_trouble(self) -> None:
        """When it cannot be remembered the message is sent all the same, and the log says so."""
        with patch.object(Account, "wrote", lambda *_: fail(StoreFullError("full"))):
            self.assertTrue(self.send(letter(), "mary@client.example").startswith("250"))
        self.assertEqual(len(self.flushLoggedErrors(StoreFullError)), 1)


class HeaderTests(SubmissionCase):
    def test_put_right(self) -> None:
        """Message-ID and Date are added when they are missing, and left alone when not."""
        self.send(letter())
        (octets,) = self.house.messages("bob")
        parsed = message_from_bytes(octets)
        self.assertRegex(parsed["Message-ID"], r"\A<[\w-]{20,}@mx\.example\.org>\Z")
        self.assertEqual(parsed["Date"], "Tue, 14 Nov 2023 22:13:20 +0000")
        own = letter(more="message-id: <1@x>\r\nDATE: yesterday\r\n")
        self.send(own)
        self.assertTrue(self.house.messages("bob")[1].endswith(own))

    def test_blind_copies(self) -> None:
        """Bcc and Resent-Bcc are removed, in any case, folded, and as often as they stand there."""
        hidden = "Bcc: secret@client.example,\r\n\tsecret2@client.example\r\nX: y\r\nbCC : secret3@x\r\n"
        self.send(letter(more=hidden + "Resent-Bcc: secret4@x\r\nTo: bob@example.org\r\n"))
        (octets,) = self.house.messages("bob")
        self.assertNotIn(b"secret", octets)
        # The server's own field names the message by chance digits, which may be "cc".
        self.assertNotRegex(octets, rb"(?i)cc\s*:")
        self.assertIn(b"X: y\r\nTo: bob@example.org\r\n\r\nIt works.\r\n", octets)

    def test_what_servers_say(self) -> None:
        """Fields of servers that receive mail are taken out; the results of other hosts stay."""
        results = (
            "Authentication-Results: mx.example.org; dkim=pass\r\n",
            'AUTHENTICATION-RESULTS : (a) "MX.example.org." (b) 1\r\n ; dkim=pass\r\n',
            "Authentication-Results: mx.example.org;none\r\n",
            "Authentication-Results: (mx.example.org; dkim=pass\r\n",
            "Authentication-Results:\r\n",
        )
        hidden = "Return-Path: <boss@x>\r\ndelivered-to:\r\n boss\r\nReceived-SPF: pass\r\n" + "".join(
            results
        )
        kept = "Authentication-Results: mx.client.example; dkim=pass\r\nX-Return-Path: <x>\r\n"
        self.assertTrue(self.send(letter(more=hidden + kept)).startswith("250"))
        (octets,) = self.house.messages("bob")
        self.assertTrue(octets.endswith(letter(more=kept)), octets)
        self.assertNotIn(b"boss", octets)

    def test_logged_in(self) -> None:
        """That the client logged in is said, with the sender of the envelope and not with the account."""
        for sender, said in ((ALICE, b"; auth=pass smtp.mailfrom=alice@example.org"), ("", b"; auth=pass")):
            self.assertTrue(self.send(letter(), sender=sender).startswith("250"))
            octets = self.house.messages("bob")[-1]
            field = octets[octets.index(b"Authentication-Results:") :].partition(b"\r\nReceived:")[0]
            self.assertEqual(b" ".join(field.split()), b"Authentication-Results: mx.example.org" + said)

    def test_no_whereabouts(self) -> None:
        """Received says neither the address nor the name of the client."""
        self.send(letter())
        (octets,) = self.house.messages("bob")
        self.assertNotIn(b"198.51.100.8", octets)
        self.assertRegex(
            octets, rb"Received: by mx\.example\.org\s+with ESMTPA\s+id \w+\s+for <bob@example\.org>;"
        )

    def test_header_alone(self) -> None:
        """A message without a body gets its blank line."""
        self.assertTrue(self.send(b"From: alice@example.org\r\nSubject: x\r\n").startswith("250"))
        self.assertTrue(self.house.messages("bob")[0].endswith(b"Subject: x\r\n\r\n"))


class Sink:
    def __init__(self) -> None:
        self.octets = b""

    def write(self, data: bytes) -> None:
        self.octets += data

    def abort(self) -> None:
        self.octets = b""


class PiecesTests(SynchronousTestCase):
    def put_right(self, message: bytes, size: int) -> bytes:
        sink = Sink()
        completion = Completion(int(NOW), "x", bytes)
        submitted = SubmittedMessage(sink, lambda values: None, completion)  # type: ignore[arg-type]
        for start in range(0, len(message), size):
            submitted.write(message[start : start + size])
        submitted.finish()
        return sink.octets

    def test_any_pieces(self) -> None:
        """However the message is cut into pieces, what comes out is the same."""
        for message in (
            b"From: a@x\r\nBcc: b@x\r\n\r\nbody\r\n\r\nmore\r\n",
            b"\r\nbody\r\n",
            b"From: a@x\r\n",
            b"From: a@x",
            b"\r\n",
            b"From: a@x\r\n\r\n",
        ):
            whole = self.put_right(message, 1000)
            self.assertTrue(re.match(rb"Message-ID: <[^<>@]+@x>\r\nDate: ", whole), message)
            self.assertNotIn(b"Bcc", whole)
            for size in (1, 2, 3, 5):
                self.assertEqual(self.put_right(message, size), whole, (message, size))

    def test_bounded(self) -> None:
        """A header that does not end is refused before it is all in memory."""
        with self.assertRaises(LimitError):
            self.put_right(b"X: " + b"y" * 2_000_000, 65_536)

    def test_lone_cr_in_the_body(self) -> None:
        """What is in the body is the user's own affair."""
        self.assertTrue(self.put_right(b"From: a@x\r\n\r\na\rb\0c\r\n", 7).endswith(b"\r\n\r\na\rb\0c\r\n"))
        with self.assertRaises(RefusedHeaderError):
            self.put_right(b"From: a@x\rb\r\n\r\n", 7)


class QueueTests(SubmissionCase):
    def test_elsewhere(self) -> None:
        """Recipients elsewhere are in the queue before the 250, which says why they wait; those here have it."""
        answer = self.send(letter(), "bob@example.org", "a@client.example", "b@client.example")
        self.assertTrue(answer.startswith("250 2."))
        entries = self.house.queue.entries()
        self.assertEqual([entry.recipient for entry in entries], ["a@client.example", "b@client.example"])
        self.assertEqual({(entry.sender, entry.account) for entry in entries}, {(ALICE, "alice")})
        self.assertIn("delivery", entries[0].why)
        self.assertEqual(len(self.house.messages("bob")), 1)
        octets = self.queued_octets()
        self.assertIn(b"Subject: hello\r\n\r\nIt works.\r\n", octets)
        self.assertNotIn(b"Return-Path", octets)

    def test_addresses(self) -> None:
        """Addresses that nobody can deliver to are refused; unknown ones here too."""
        line = self.line()
        line.begin(ALICE)
        self.assertIn("550 5.1.1", line.say("RCPT TO:<nobody@example.org>"))
        self.assertIn("550 5.1.2", line.say("RCPT TO:<a@[192.0.2.9]>"))
        self.assertIn("450 4.2.1", line.say("RCPT TO:<x@off.example>"))
        self.assertIn("250", line.say("RCPT TO:<inner@example.org>"))
        bob = self.house.submission("bob@example.org")
        bob.begin("bob@example.org")
        self.assertIn("550 5.7.2", bob.say("RCPT TO:<inner@example.org>"))

    def test_hold(self) -> None:
        """A message that is to be held waits in the queue until then, for all its recipients."""
        for parameter, due in (
            ("HOLDFOR=3600", NOW + 3600),
            ("HOLDUNTIL=2023-11-20T00:00:00Z", 1_700_438_400),
        ):
            line = self.line()
            self.assertIn("250", line.say(f"MAIL FROM:<{ALICE}> {parameter}"))
            line.say("RCPT TO:<bob@example.org>", "RCPT TO:<a@client.example>")
            self.assertTrue(line.send(letter()).startswith("250"))
            entries = self.house.queue.entries()[-2:]
            self.assertEqual({entry.next_attempt for entry in entries}, {due})
            self.assertTrue(all(entry.why.startswith("held until 2023-11-") for entry in entries))
            self.assertEqual({entry.recipient for entry in entries}, {"bob@example.org", "a@client.example"})
        self.assertEqual(self.house.messages("bob"), [])

    def test_limits(self) -> None:
        """Who sent enough today, or to enough new people, is refused until tomorrow, and nothing is kept."""
        self.house.limits = SendingLimits(messages=2, new_recipients=3)
        self.assertTrue(self.send(letter(), "1@client.example", "2@client.example").startswith("250"))
        self.assertTrue(self.send(letter(), "3@client.example", "4@client.example").startswith("451 4.7.1"))
        self.assertTrue(self.send(letter(), "3@client.example").startswith("250"))
        self.assertTrue(self.send(letter(), "bob@example.org").startswith("451 4.7.1"))
        self.assertEqual(len(self.house.queue.entries()), 3)
        self.assertEqual(self.house.messages("bob"), [])
        self.house.clock.advance(86_401)
        self.assertTrue(self.send(letter(), "bob@example.org").startswith("250"))

    def test_local_failure(self) -> None:
        """When an account here cannot take it, the client is to try again, and those elsewhere do not get it twice."""
        with patch.object(Account, "add", return_value=fail(StoreFullError("disk"))):
            answer = self.send(letter(), "bob@example.org", "a@client.example")
        self.assertTrue(answer.startswith("452 4.3.1"))
        self.assertEqual(self.house.queue.entries(), [])
        self.assertTrue(self.send(letter(), "bob@example.org", "a@client.example").startswith("250"))
        self.assertEqual(len(self.house.queue.entries()), 1)

    def test_queue_failure(self) -> None:
        """When the queue cannot take it, nobody gets it."""
        with patch.object(type(self.house.queue), "submit", return_value=fail(StoreFullError("disk"))):
            self.assertTrue(
                self.send(letter(), "bob@example.org", "a@client.example").startswith("452 4.3.1")
            )
        self.assertEqual(self.house.messages("bob"), [])

    def test_large(self) -> None:
        """A large message is queued whole."""
        message = letter(body="".join(f"line {n}\r\n" for n in range(200_000)))
        self.assertTrue(self.send(message, "a@client.example").startswith("250"))
        self.assertTrue(self.queued_octets().endswith(message))

    def test_parameters_are_kept(self) -> None:
        """What the client said about reports and transport is kept for the delivery."""
        line = self.line()
        line.say(f"MAIL FROM:<{ALICE}> RET=HDRS ENVID=x+20y BODY=8BITMIME")
        line.say("RCPT TO:<a@client.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b@client.example")
        self.assertTrue(line.send(letter()).startswith("250"))
        reader = self.house.queue._database.reader
        row = reader.execute("SELECT ret, envid, body FROM submission").fetchall()
        self.assertEqual(row, [("HDRS", "x y", "8BITMIME")])
        row = reader.execute("SELECT notify, orcpt_type, orcpt FROM recipient").fetchall()
        self.assertEqual(row, [("DELAY,FAILURE", "rfc822", "b@client.example")])


class ConnectionTests(SubmissionCase):
    def test_gone_in_every_state(self) -> None:
        """A client that disappears, wherever in the dialogue, leaves nothing."""
        dialogue = [
            f"MAIL FROM:<{ALICE}>\r\n".encode(),
            b"RCPT TO:<bob@example.org>\r\n",
            b"DATA\r\n",
            b"From: al",
            letter(),
            b".\r",
        ]
        for count in range(len(dialogue) + 1):
            line = self.line()
            for octets in dialogue[:count]:
                line.protocol.dataReceived(octets)
            line.drop()
            self.assertEqual(self.house.leaks(), [], count)
        line = self.house.submission("")
        line.say("AUTH PLAIN")
        line.drop()
        self.assertEqual(self.house.leaks(), [])
        self.assertEqual(self.house.messages("bob"), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_error_type(self) -> None:
        """A refused header is a mail error with a code of its own."""
        self.assertTrue(issubclass(RefusedHeaderError, MailError))
