"""The program that the page on the library shows, run as it stands."""

from __future__ import annotations

import contextlib
import imaplib
import io
import os
import re
import smtplib
import textwrap
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from OpenSSL import crypto
from twisted.internet import reactor
from twisted.internet.ssl import Certificate
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.imap.client.session import ConnectionFailedError
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.protocol import IMAPServerFactory, ServerTLS
from moxtwisted.imap.settings import ServerSettings as IMAPSettings
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.message.flags import SEEN, MessageFlags
from tests.smtp.certificate import certificate

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "howto" / "library.rst"
BLOCK = re.compile(r"(?m)^\.\. code-block:: python\n\n((?:(?:   .*)?\n)+)")
ANY_PORT = "tcp:0:interface=127.0.0.1"
LETTER = b"Subject: hello\r\n\r\nIs there anybody?\r\n"


def program() -> dict[str, Any]:
    """The names that all blocks together define."""
    names: dict[str, Any] = {}
    for block in BLOCK.findall(PAGE.read_text()):
        exec(textwrap.dedent(block), names)
    return names


class LibraryPageTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.printed = io.StringIO()
        stack = contextlib.ExitStack()
        stack.enter_context(contextlib.redirect_stdout(self.printed))
        self.addCleanup(stack.close)
        self.names = program()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    async def listening(self, port: Any) -> int:
        """The number of a port that is closed at the end."""
        opened = await port
        self.addCleanup(opened.stopListening)
        number: int = opened.getHost().port
        return number

    async def test_some_recipients(self) -> None:
        """The first server takes mail for its friends and refuses others."""
        port = await self.listening(self.names["serve_friends"](reactor, ANY_PORT))

        def send() -> dict[str, Any]:
            with smtplib.SMTP("127.0.0.1", port, timeout=30) as smtp:
                return smtp.sendmail("me@example.org", ["alice@example.org", "eve@example.org"], LETTER)

        refused = await deferToThread(send)
        self.assertEqual({name: reply[0] for name, reply in refused.items()}, {"eve@example.org": 550})
        self.assertIn(f"me@example.org sent {len(LETTER)} octets", self.printed.getvalue())

    async def submission(self) -> int:
        """The server with STARTTLS and AUTH."""
        ours = certificate()
        pem = self.folder / "server.pem"
        key = crypto.dump_privatekey(crypto.FILETYPE_PEM, ours.privateKey.original)
        pem.write_bytes(key + ours.dumpPEM())
        users = self.names["Users"]({"alice": "correct horse"})
        return await self.listening(
            self.names["serve_submission"](reactor, self.folder, users, pem, ANY_PORT)
        )

    async def send(self, port: int, password: str) -> Any:
        """By the page's client, which trusts the server's certificate."""
        source = Path(PAGE).read_text()
        self.assertIn('optionsForClientTLS("mail.example.org"', source)
        real = self.names["optionsForClientTLS"]
        self.names["optionsForClientTLS"] = lambda name, **kw: real(
            "mx.example", **kw
        )  # whose certificate it is
        return await self.names["send"](
            reactor,
            f"tcp:127.0.0.1:{port}",
            self.names["Credentials"]("alice", password),
            "alice@example.org",
            ["bob@example.org"],
            LETTER,
            Certificate(certificate().original),
        )

    async def test_submission(self) -> None:
        """The client gets in by STARTTLS and SCRAM, and the message is in a file; nothing unfinished is left."""
        port = await self.submission()
        ((delivered, code, text),) = (await self.send(port, "correct horse")).values()
        self.assertEqual((delivered, code), (True, 250), text)
        (kept,) = self.folder.glob("*.eml")
        self.assertEqual(kept.read_bytes(), LETTER)
        self.assertIn(kept.stem, text)
        self.assertEqual(list(self.folder.glob("*.part")), [])
        self.assertIn("alice logged in by SCRAM-SHA-256", self.printed.getvalue())

    async def test_wrong_password(self) -> None:
        """With a wrong password the recipients have the refusal as result."""
        port = await self.submission()
        ((delivered, code, _),) = (await self.send(port, "wrong")).values()
        self.assertEqual((delivered, code), (False, 535))
        self.assertEqual(list(self.folder.glob("*.eml")), [])

    async def test_gone_in_the_middle(self) -> None:
        """A client that leaves within a message leaves no file."""
        handlers = self.names["Connections"](lambda: self.names["IntoFolder"](self.folder))
        factory = self.names["SMTPServerFactory"](
            self.names["ServerSettings"](hostname="x.example"), handlers, reactor
        )
        port = await self.listening(self.names["serverFromString"](reactor, ANY_PORT).listen(factory))

        def begin() -> None:
            smtp = smtplib.SMTP("127.0.0.1", port, timeout=30)
            smtp.ehlo()
            smtp.mail("a@example.org")
            smtp.rcpt("b@example.org")
            smtp.docmd("DATA")
            smtp.send(LETTER)
            smtp.close()

        await deferToThread(begin)
        await factory.shutdown()
        self.assertEqual(list(self.folder.iterdir()), [])

    async def test_notes(self) -> None:
        """A dictionary is a mailbox that imaplib reads and marks."""
        port = await self.listening(self.names["serve_notes"](reactor, {"shopping": "milk"}, ANY_PORT))

        def read() -> None:
            with imaplib.IMAP4("127.0.0.1", port, timeout=30) as imap:
                imap.login("alice", "correct horse")
                self.assertEqual(imap.select("INBOX")[1], [b"1"])
                part = imap.fetch("1", "(BODY[])")[1][0]
                assert isinstance(part, tuple)
                self.assertEqual(part[1], b"Subject: shopping\r\n\r\nmilk\r\n")
                self.assertEqual(imap.search(None, "SEEN")[1], [b"1"])
                self.assertEqual(imap.append("INBOX", "", "", LETTER)[0], "NO")

        await deferToThread(read)

    async def test_archive(self) -> None:
        """The IMAP backend is listed, read and searched by imaplib, and refuses changes."""
        (self.folder / "1.eml").write_bytes(LETTER)
        again = LETTER.replace(b"hello", b"again")
        (self.folder / "2.eml").write_bytes(again.replace(b"\r\n", b"\n"))
        readers = self.names["Readers"]({"alice": "correct horse"}, self.folder)
        port = await self.listening(self.names["serve_archive"](reactor, readers, ANY_PORT))

        def read() -> None:
            with imaplib.IMAP4("127.0.0.1", port, timeout=30) as imap:
                self.assertRaises(imaplib.IMAP4.error, imap.login, "alice", "wrong")
                imap.login("alice", "correct horse")
                self.assertEqual(imap.list()[1], [b'(\\HasNoChildren) "/" INBOX'])
                self.assertRaises(imaplib.IMAP4.readonly, imap.select, "INBOX")
                self.assertEqual(imap.select("INBOX", readonly=True)[1], [b"2"])
                self.assertEqual(imap.search(None, "SUBJECT", "again")[1], [b"2"])
                self.assertEqual(imap.status("INBOX", "(SIZE)")[1], [b"INBOX (SIZE %d)" % (2 * len(LETTER))])
                self.assertEqual(imap.fetch("2", "(BODY[])")[1][0][1], again)  # type: ignore[index]
                part = imap.fetch("1", "(UID FLAGS ENVELOPE BODYSTRUCTURE BODY[])")[1][0]
                assert isinstance(part, tuple)
                self.assertEqual(part[1], LETTER)
                self.assertIn(b'"hello"', part[0])
                self.assertEqual(imap.store("1", "+FLAGS", "\\Flagged")[0], "NO")
                self.assertEqual(imap.create("x")[0], "NO")
                self.assertEqual(imap.append("INBOX", "", "", LETTER)[0], "NO")

        await deferToThread(read)

    async def test_unseen(self) -> None:
        """The IMAP client of the page reads what it has not seen yet, over TLS with SCRAM."""
        mail = MemoryMail()
        mail.add("INBOX", LETTER)
        mail.add("INBOX", LETTER.replace(b"hello", b"old"), MessageFlags.of(SEEN))
        factory = IMAPServerFactory(
            IMAPSettings(hostname="mx.example"),
            MemoryAuthenticator({"alice": ("correct horse", mail)}, os.urandom),
            reactor,
            ServerTLS(certificate().options(), implicit=True),
        )
        port = await self.listening(self.names["serverFromString"](reactor, ANY_PORT).listen(factory))
        found = await self.names["unseen"](
            reactor,
            f"tcp:127.0.0.1:{port}",
            self.names["Credentials"]("alice", "correct horse"),
            "mx.example",
            Certificate(certificate().original),
        )
        self.assertEqual(found, [(1, "hello", ["text/plain"])])
        await factory.shutdown()

    async def test_coming_back(self) -> None:
        """A client that comes back is told what came and went, and keeps the rest."""
        clock: Any = reactor
        mail = MemoryMail(clock.seconds)
        for subject in (b"one", b"=?utf-8?q?zw=C3=B6lf?="):
            mail.add("INBOX", b"Subject: " + subject + b"\r\n\r\n")
        authenticator = MemoryAuthenticator({"alice": ("secret", mail)}, os.urandom)
        settings = IMAPSettings(hostname="x.example", allow_plain_without_tls=True)
        factory = IMAPServerFactory(settings, authenticator, reactor)
        port = await self.listening(self.names["serverFromString"](reactor, ANY_PORT).listen(factory))
        ours = self.names["IMAPClientSettings"](
            credentials=self.names["Credentials"]("alice", "secret"),
            allow_clear_password=True,
            enable=("QRESYNC",),
        )
        subjects: dict[int, str] = {}
        known = None
        for subject, found in (
            (b"new", {1: "one", 2: "zwölf", 3: "new"}),
            (b"more", {2: "zwölf", 3: "new", 4: "more"}),
        ):
            clock.callLater(0.5, mail.add, "INBOX", b"Subject: " + subject + b"\r\n\r\n")
            known = await self.names["wait_for_mail"](reactor, f"tcp:127.0.0.1:{port}", ours, subjects, known)
            self.assertEqual(subjects, found)
            mail.find("INBOX").remove([1], mail.next_modseq())
        clock.callLater(0.5, lambda: [one.transport.abortConnection() for one in factory.connections])
        with self.assertRaises(ConnectionFailedError):
            await self.names["wait_for_mail"](reactor, f"tcp:127.0.0.1:{port}", ours, subjects, known)
        await factory.shutdown()

    async def test_driver(self) -> None:
        """A backend is tried without reactor and socket."""
        found = self.names["what_a_client_finds"]({"shopping": "milk"}, "milk")
        self.assertEqual(found, [b"* SEARCH 1", b"a3 OK SEARCH completed"])

    async def test_overview(self) -> None:
        """With types a program sees sizes, keeps a search, and sorts what it finds by it."""
        clock: Any = reactor
        mail = MemoryMail(clock.seconds)
        for sender in ("boss", "friend"):
            mail.add("INBOX", b"From: %b@example.org\r\n\r\nto work\r\n" % sender.encode())
        authenticator = MemoryAuthenticator({"alice": ("secret", mail)}, os.urandom)
        settings = IMAPSettings(hostname="x.example", allow_plain_without_tls=True)
        factory = IMAPServerFactory(settings, authenticator, reactor)
        port = await self.listening(self.names["serverFromString"](reactor, ANY_PORT).listen(factory))
        client = await self.names["connect"](
            reactor,
            self.names["clientFromString"](reactor, f"tcp:127.0.0.1:{port}"),
            self.names["IMAPClientSettings"](
                credentials=self.names["Credentials"]("alice", "secret"), allow_clear_password=True
            ),
        )
        sizes, previews = await self.names["overview"](client)
        await client.close()
        self.assertEqual((list(sizes), previews), (["INBOX"], {1: "to work"}))
        self.assertGreater(sizes["INBOX"], 50)
        await factory.shutdown()

    async def test_misbehaving(self) -> None:
        """The server that refuses first attempts takes the second, and its hook has heard both."""
        hook = self.names["ComeAgain"]()
        server = self.names["misbehave"](reactor, hook)
        self.addCleanup(server.stopService)

        def send() -> None:
            with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=30) as smtp:
                for attempt in range(2):
                    with contextlib.suppress(smtplib.SMTPSenderRefused):
                        smtp.sendmail("me@example.org", ["bob@example.org"], LETTER)
                        self.assertEqual(attempt, 1)

        await deferToThread(send)
        self.assertEqual(list(server.ports), ["smtp"])
        self.assertEqual(hook.refused, [("MAIL", 451)])
        self.assertEqual(len(server.captured.messages(recipient="bob@example.org")), 1)

    async def test_signing_and_verifying(self) -> None:
        """What the page signs it verifies, and without a chain nobody vouches for it."""
        key = SigningKey.from_pem("example.org", "2026a", pem := new_private_key("ed25519"))
        resolver = ZoneResolver({(key.name, "TXT"): [key.record_text().encode()]})
        clock = Clock()
        clock.advance(1_700_000_000)
        message = self.names["sign_message"](b"From: a@example.org\r\n" + LETTER, pem, clock.seconds())
        received = self.names["Authenticated"](resolver, clock)
        received.write(message[:100])
        received.write(message[100:])
        results = await received.results("mx.example.net")
        self.assertIn(b"dkim=pass (256-bit key) header.d=example.org header.s=2026a", results.field())
        self.assertIn(b"arc=none", results.field())
        self.assertEqual(received.domains, {"example.org"})
        self.assertFalse(received.vouched_for({"example.org"}))

    async def test_gate(self) -> None:
        """The gate asks for all that the DNS says of a sender."""
        resolver = ZoneResolver(
            {
                ("example.com", "TXT"): [b"v=spf1 ip4:198.51.100.0/24 -all"],
                ("_dmarc.example.com", "TXT"): [b"v=DMARC1; p=reject"],
                ("2.0.0.127.bl.example", "A"): ["127.0.0.2"],
                ("1.2.0.192.bl.example", "A"): ["127.0.0.2"],
            }
        )
        gate = self.names["Gate"](resolver, Clock(), "mx.example.org", ["bl.example"])
        field, disposition, reverse, listed = await gate.judge(
            ip_address("192.0.2.1"), "c.example.com", "joe@example.com", "example.com", ()
        )
        self.assertTrue(field.startswith(b"Received-SPF: fail (mx.example.org: domain of joe@example.com"))
        self.assertEqual(
            (disposition.value, reverse.value, listed.zone), ("reject", "permerror", "bl.example")
        )
