"""Every file in examples/ is run, and does what its docstring says."""

from __future__ import annotations

import contextlib
import imaplib
import importlib.util
import io
import os
import poplib
import re
import runpy
import smtplib
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from imapclient import IMAPClient
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from moxtwisted.badsmtp.configuration import configure
from moxtwisted.compose.badsmtp import BadSMTP
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.protocol import IMAPServerFactory
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.milter.packets import PacketReader, encode
from tests.dns.servers import FakeServer, Zone
from tests.mailauth.reports.samples import dmarc_message, tls_message

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
README = EXAMPLES.parent / "README.rst"
ANY_PORT = "tcp:0:interface=127.0.0.1"


def load(name: str) -> ModuleType:
    """Import an example, which is no package."""
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    if spec is None or spec.loader is None:
        raise LookupError(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_files(name: str) -> Path:
    """A new folder with two text files."""
    folder = Path(name)
    folder.mkdir()
    (folder / "shopping.txt").write_text("milk\nbread\n")
    (folder / "other.txt").write_text("nothing\n")
    return folder


class EveryExampleTests(SynchronousTestCase):
    """What holds for all of them."""

    def test_each_has_a_test_here(self) -> None:
        """There is no example that this module does not run."""
        text = Path(__file__).read_text()
        missing = [path.name for path in EXAMPLES.glob("*.py") if f'"{path.stem}"' not in text]
        self.assertEqual(missing, [])

    def test_importing_one_starts_nothing(self) -> None:
        """An example can be imported without a reactor being chosen."""
        for path in sorted(EXAMPLES.glob("*.py")):
            program = (
                f"import runpy, sys; runpy.run_path({str(path)!r}, run_name='example')\n"
                "sys.exit('twisted.internet.reactor' in sys.modules)"
            )
            result = subprocess.run(
                [sys.executable, "-c", program],
                cwd=EXAMPLES.parent,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(result.returncode, 0, f"{path.name}: {result.stderr}")

    def test_usage(self) -> None:
        """Without the words that it needs, an example prints how it is called; servers need none."""
        for path in sorted(EXAMPLES.glob("*.py")):
            if path.stem.endswith("_server"):
                continue
            with self.subTest(path.name), patch.object(sys, "argv", [str(path)]):
                usage = self.assertRaises(SystemExit, runpy.run_path, str(path), run_name="__main__").code
                self.assertRegex(str(usage), rf"::\n\n(    )?python examples/{path.name} ")


class ExampleTestCase(TestCase):
    """Examples in this process, with blocking clients in a thread."""

    timeout = 60

    def setUp(self) -> None:
        """Catch what is printed."""
        self.printed = io.StringIO()
        stack = contextlib.ExitStack()
        stack.enter_context(contextlib.redirect_stdout(self.printed))
        self.addCleanup(stack.close)

    async def serve(self, name: str) -> int:
        """Start an example that serves; its port."""
        example = load(name)
        port = await example.main(reactor, ANY_PORT)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        example.announce(port)
        self.assertIn(f"at 127.0.0.1 port {number}", self.printed.getvalue())
        return number


class POP3ExampleTests(ExampleTestCase):
    """POP3 over an own backend."""

    async def test_pop3_server(self) -> None:
        """The POP3 server serves the files of a folder to poplib, and removes what is deleted."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for name in ("a", "b"):
            (folder / f"{name}.eml").write_text(f"Subject: {name}\n\n.\ntext\n")
        started: Deferred[Any] = Deferred()
        running = load("pop3_server").main(reactor, str(folder), ANY_PORT, started.callback)
        running.addErrback(started.errback)
        port = await started
        self.addCleanup(port.stopListening)
        load("pop3_server").announce(port)
        self.assertIn(f"port {port.getHost().port}, user reader, password reader", self.printed.getvalue())

        def read() -> list[bytes]:
            pop3 = poplib.POP3("127.0.0.1", port.getHost().port, timeout=30)
            pop3.user("reader")
            pop3.pass_("reader")
            self.assertEqual(pop3.stat()[0], 2)
            lines: list[bytes] = pop3.retr(2)[1]
            pop3.dele(1)
            pop3.quit()
            return lines

        self.assertEqual(await deferToThread(read), [b"Subject: b", b"", b".", b"text"])
        self.assertEqual([file.name for file in folder.iterdir()], ["b.eml"])


class IMAPExampleTests(ExampleTestCase):
    """IMAP over an own backend."""

    def test_readme_shows_it(self) -> None:
        """The README shows this example whole, but for its docstrings."""
        source = (EXAMPLES / "imap_server.py").read_text()
        code = re.sub(r'(?m)^ *"""[\s\S]*?"""\n+', "", source).strip()
        indented = textwrap.indent(code, "   ", lambda line: bool(line.strip()))
        self.assertTrue(indented in README.read_text(), indented)

    async def test_imap_server(self) -> None:
        """The IMAP server serves the text files of a folder to imaplib."""
        folder = text_files(self.mktemp())
        started: Deferred[Any] = Deferred()
        running = load("imap_server").main(reactor, str(folder), ANY_PORT, started.callback)
        running.addErrback(started.errback)
        port = await started
        self.addCleanup(port.stopListening)
        load("imap_server").announce(port)
        self.assertIn(f"port {port.getHost().port}, user reader, password reader", self.printed.getvalue())

        def read() -> bytes:
            with imaplib.IMAP4("127.0.0.1", port.getHost().port, timeout=30) as imap:
                imap.login("reader", "reader")
                self.assertEqual(imap.select("INBOX")[1], [b"2"])
                self.assertEqual(imap.search(None, "SUBJECT", "shopping")[1], [b"2"])
                sender = imap.fetch("2", "(BODY[HEADER.FIELDS (FROM)])")[1][0]
                expected = f"From: {folder.resolve().name} <reader@localhost>".encode()
                self.assertIn(expected, sender[1] if isinstance(sender, tuple) else b"")
                part = imap.fetch("2", "(BODY[TEXT])")[1][0]
                return part[1] if isinstance(part, tuple) else b""

        self.assertEqual(await deferToThread(read), b"milk\r\nbread\r\n")

    async def test_imap_backend(self) -> None:
        """A folder of files is a mailbox for IMAPClient: selected, searched, fetched, and written when it moves, appends and deletes."""
        folder = Path(self.mktemp())
        (folder / "Archive").mkdir(parents=True)
        for name in ("a", "b"):
            (folder / f"{name}.eml").write_text(f"Subject: {name}\n\ntext of {name}\n")
        os.utime(folder / "b.eml", (1_700_000_000, 1_700_000_000))
        started: Deferred[Any] = Deferred()
        running = load("imap_backend").main(reactor, str(folder), ANY_PORT, started.callback)
        running.addErrback(lambda failure: failure.trap(CancelledError))
        port = await started
        self.addCleanup(port.stopListening)
        self.addCleanup(running.cancel)
        load("imap_backend").announce(port)
        self.assertIn(f"port {port.getHost().port}, user reader, password reader", self.printed.getvalue())

        def talk() -> None:
            with IMAPClient("127.0.0.1", port.getHost().port, ssl=False, timeout=30) as imap:
                imap.login("reader", "reader")
                self.assertEqual([found for _, _, found in imap.list_folders()], ["Archive", "INBOX"])
                self.assertEqual(imap.select_folder("INBOX")[b"EXISTS"], 2)
                self.assertEqual(imap.search(["SUBJECT", "b"]), [2])
                found = imap.fetch([2], ["BODY.PEEK[]", "INTERNALDATE", "ENVELOPE"])[2]
                self.assertEqual(found[b"BODY[]"], b"Subject: b\r\n\r\ntext of b\r\n")
                self.assertEqual(found[b"INTERNALDATE"].timestamp(), 1_700_000_000)
                self.assertEqual(found[b"ENVELOPE"].subject, b"b")
                imap.move([2], "Archive")
                imap.delete_messages([1])
                imap.expunge()
                imap.append("INBOX", b"Subject: c\r\n\r\n", [rb"\Seen"])
                imap.idle()
                (folder / "d.eml").write_text("Subject: d\n\n")
                heard: list[Any] = []
                while (2, b"EXISTS") not in heard:
                    heard += imap.idle_check(timeout=30) or self.fail("nothing came")
                imap.idle_done()
                self.assertEqual(imap.search(["SEEN"]), [3])

        await deferToThread(talk)
        (moved,) = folder.glob("Archive/*.eml")
        self.assertEqual(
            (moved.read_bytes(), moved.stat().st_mtime), (b"Subject: b\r\n\r\ntext of b\r\n", 1_700_000_000)
        )
        kept = {file.read_bytes() for file in folder.glob("*.eml")}
        self.assertEqual(kept, {b"Subject: c\r\n\r\n", b"Subject: d\n\n"})
        with self.assertRaises(SystemExit) as refused:
            load("imap_backend").main(reactor, str(folder), ANY_PORT)
        self.assertIn(".index: another program has it", str(refused.exception))

    async def test_imap_client(self) -> None:
        """The client lists the newest messages of the example server, tells of those that come, and saves one."""
        mail = MemoryMail()
        mail.add("INBOX", b"From: bob@x.example\r\nSubject: first\r\n\r\n")
        letter = b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 20_000
        mail.add("INBOX", letter)
        authenticator = MemoryAuthenticator({"reader": ("reader", mail)}, os.urandom)
        settings = ServerSettings(hostname="localhost", allow_plain_without_tls=True)
        factory = IMAPServerFactory(settings, authenticator, reactor)
        port: Any = await serverFromString(reactor, ANY_PORT).listen(factory)
        self.addCleanup(port.stopListening)
        where = f"tcp:127.0.0.1:{port.getHost().port}"
        client = load("imap_client")
        late = deferLater(reactor, 0.1, mail.add, "INBOX", b"Subject: late\r\n\r\n")  # type: ignore[arg-type]
        await client.main(reactor, where, "reader", "reader", "0.3")
        await late
        printed = self.printed.getvalue()
        self.assertIn("INBOX: 2 messages", printed)
        self.assertIn("1 bob@x.example first", printed)
        self.assertIn("now 3 messages", printed)
        with self.assertRaises(SystemExit) as refused:
            await client.main(reactor, where, "reader", "wrong")
        self.assertIn(f"{where}: the IMAP server refused: AUTHENTICATE: NO", str(refused.exception))
        clock: Any = reactor
        clock.callLater(0.1, lambda: [one.transport.abortConnection() for one in factory.connections])
        with self.assertRaises(SystemExit) as refused:
            await client.main(reactor, where, "reader", "reader", "0.3")
        self.assertIn(f"{where}: connection to the IMAP server: lost", str(refused.exception))
        endpoint, settings = client.settings_for(where, "reader", "reader")
        session = await client.connect(reactor, client.clientFromString(reactor, endpoint), settings)
        await session.select("INBOX", examine=True)
        for uid, expected in ((2, letter), (3, b"Subject: late\r\n\r\n")):
            name = self.mktemp()
            await client.save(session, uid, name)
            self.assertEqual(Path(name).read_bytes(), expected)
        await session.close()
        await factory.shutdown()


class DNSExampleTests(ExampleTestCase):
    """The resolver."""

    async def test_dns_lookup(self) -> None:
        """The lookup prints the records that a server has, and that nothing proves them."""
        server = FakeServer(Zone({("example.org", "MX"): ["example.org. 300 MX 10 mail.example.org."]}))
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        example = load("dns_lookup")
        await example.main(reactor, "MX", "example.org", str(server.address), validate=False)
        printed = self.printed.getvalue()
        self.assertIn("example.org insecure exists", printed)
        self.assertIn("mail.example.org", printed)


class SMTPExampleTests(ExampleTestCase):
    """SMTP and LMTP."""

    async def test_readme(self) -> None:
        """The README's SMTP server, on a free port, takes a message and prints it."""
        (code,) = re.findall(
            r"(?m)^   from twisted.internet import reactor\n(?:(?:   .*)?\n)*?   reactor.run\(\)\n",
            README.read_text(),
        )
        code = (
            textwrap.dedent(code)
            .replace("from twisted.internet import reactor\n", "")
            .replace("reactor.run()\n", "")
        )
        code = re.sub(r"(?m)^serverFromString", "listening = serverFromString", code).replace(
            "tcp:2525:", "tcp:0:"
        )
        names: dict[str, Any] = {"reactor": reactor}
        exec(code, names)
        port = await names["listening"]
        self.addCleanup(port.stopListening)

        def send() -> None:
            with smtplib.SMTP("127.0.0.1", port.getHost().port, timeout=30) as smtp:
                smtp.sendmail(
                    "me@example.org", ["you@example.org"], b"Subject: hello\r\n\r\nFrom the README.\r\n"
                )

        await deferToThread(send)
        self.assertIn("From the README.", self.printed.getvalue())

    async def test_smtp_server(self) -> None:
        """The SMTP server prints what smtplib sends it."""
        port = await self.serve("smtp_server")

        def send() -> dict[str, Any]:
            with smtplib.SMTP("127.0.0.1", port, timeout=30) as smtp:
                return smtp.sendmail(
                    "me@example.org", ["you@example.org"], b"Subject: hello\r\n\r\nIs there anybody?\r\n"
                )

        self.assertEqual(await deferToThread(send), {})
        self.assertIn(
            "From me@example.org to you@example.org",
            self.printed.getvalue().replace("<", "").replace(">", ""),
        )
        self.assertIn("Is there anybody?", self.printed.getvalue())

    async def test_lmtp_server(self) -> None:
        """The LMTP server answers for each recipient: one is full, the other is not."""
        port = await self.serve("lmtp_server")

        def send() -> list[int]:
            with smtplib.LMTP("127.0.0.1", port) as lmtp:
                lmtp.ehlo()
                lmtp.mail("me@example.org")
                lmtp.rcpt("full@example.org")
                lmtp.rcpt("you@example.org")
                lmtp.docmd("DATA")
                lmtp.send(b"Subject: hello\r\n\r\nHello.\r\n.\r\n")
                # smtplib reads one answer to a message, LMTP has one for each recipient
                return [lmtp.getreply()[0], lmtp.getreply()[0]]

        self.assertEqual(await deferToThread(send), [452, 250])
        self.assertIn("for you@example.org", self.printed.getvalue().replace("<", "").replace(">", ""))

    async def test_smtp_client(self) -> None:
        """The client says of each recipient what became of it, here at the example server."""
        port = await self.serve("smtp_server")
        message = b"Subject: hello\r\n\r\nFrom the other example.\r\n"
        client = load("smtp_client")
        await client.main(
            reactor, f"tcp:127.0.0.1:{port}", "me@example.org", "you@example.org", message=message
        )
        self.assertIn("From the other example.", self.printed.getvalue())
        self.assertRegex(self.printed.getvalue(), r"you@example.org>? delivered at .*: 250")

    async def test_smtp_load(self) -> None:
        """The load maker reports what its own sink, and the example server at a rate, took, and how fast."""
        example = load("smtp_load")
        await example.main(reactor, "sink")
        printed = self.printed.getvalue()
        self.assertIn("100 delivered, 0 refused, 0 failed, ", printed)
        self.assertRegex(printed, r"\nmessage: half within [\d.]+ ms, 99 of 100 within [\d.]+ ms\n")
        self.assertTrue(printed.endswith("0 missing, 0 came twice\n"), printed)
        port = await self.serve("smtp_server")
        await example.main(reactor, f"tcp:127.0.0.1:{port}", "5", "100")
        self.assertRegex(self.printed.getvalue(), r"\nresponse: half within ")


class DKIMExampleTests(ExampleTestCase):
    """The example of signatures."""

    async def test_dkim_sign(self) -> None:
        """A message is signed, and its signature verified."""
        path = Path(self.mktemp())
        path.write_text("From: me@example.org\nSubject: hello\n\nHello.\n")
        await load("dkim_sign").main(path)
        self.assertIn("DKIM-Signature: v=1; d=example.org;", self.printed.getvalue())
        self.assertIn("pass example.org", self.printed.getvalue())

    async def test_arc_forward(self) -> None:
        """What a list changed is not the author's any more; its seals say what it was before."""
        path = Path(self.mktemp())
        path.write_text("From: me@example.org\nSubject: hello\n\nHello.\n")
        await load("arc_forward").run(path, 1_700_000_000.0)
        self.assertEqual(
            self.printed.getvalue(),
            "DKIM fail: example.org, body was changed\n"
            "ARC pass: lists.example.net, other.example.com\n"
            "lists.example.net saw that it passed DMARC\n",
        )


class SenderExampleTests(ExampleTestCase):
    """What the DNS says of clients and domains, from a dictionary of records."""

    async def test_spf_check(self) -> None:
        """The SPF example prints the records that decide, and the field for the message."""
        resolver = ZoneResolver({("example.com", "TXT"): [b"v=spf1 ip4:192.0.2.0/24 -all"]})
        await load("spf_check").check(resolver, Clock(), "192.0.2.1", "alice@example.com", "c.example.com")
        printed = self.printed.getvalue()
        self.assertIn("example.com: v=spf1 ip4:192.0.2.0/24 -all -> ip4:192.0.2.0/24\n", printed)
        self.assertIn("Received-SPF: pass (mx.example.org: domain of alice@example.com", printed)

    async def test_dmarc_policy(self) -> None:
        """The DMARC example says what is to be done, and who may be sent reports."""
        text = b"v=DMARC1; p=reject; rua=mailto:us@example.com,mailto:them@example.net"
        resolver = ZoneResolver({("_dmarc.example.com", "TXT"): [text]})
        await load("dmarc_policy").judge(resolver, "news.example.com", "mailer.example.net")
        printed = self.printed.getvalue()
        self.assertIn("fail: mailer.example.net passed and is not aligned", printed)
        self.assertIn("to be done: reject\n", printed)
        self.assertIn("mailto:us@example.com: may be sent reports", printed)
        self.assertIn("mailto:them@example.net: may not be sent reports", printed)

    def test_read_report(self) -> None:
        """The example on reports prints who failed, and says when there is nothing to read."""
        path = Path(self.mktemp())
        for octets, printed in (
            (dmarc_message(), "Reporter about example.org: 2 failed\n2 from 192.0.2.2, none\n"),
            (tls_message(), "Reporter about example.org: 3 failed\n3 by 192.0.2.1: certificate-expired\n"),
        ):
            path.write_bytes(octets)
            self.printed.seek(0)
            self.printed.truncate()
            self.assertEqual(load("read_report").main(str(path)), 0)
            self.assertEqual(self.printed.getvalue(), printed)
        path.write_bytes(b"Subject: hello\r\n\r\n")
        self.assertIn("not a report", load("read_report").main(str(path)))

    async def test_client_check(self) -> None:
        """The example on clients prints the name that leads back, and the list that has the client."""
        resolver = ZoneResolver(
            {
                ("1.2.0.192.in-addr.arpa", "PTR"): ["c.example.com"],
                ("c.example.com", "A"): ["192.0.2.1"],
                ("2.0.0.127.bl.example.org", "A"): ["127.0.0.2"],
                ("1.2.0.192.bl.example.org", "A"): ["127.0.0.2"],
                ("1.2.0.192.bl.example.org", "TXT"): [b"sends spam"],
            }
        )
        zones = ("gone.example.net", "bl.example.org")
        await load("client_check").check(resolver, Clock(), "192.0.2.1", *zones)
        self.assertEqual(
            self.printed.getvalue(),
            "iprev pass: c.example.com\n"
            "gone.example.net was not asked: does not list 127.0.0.2, which every list has\n"
            "bl.example.org lists it: sends spam\n",
        )


class _Milter(Protocol):
    """Says yes to everything, and adds a field at the end."""

    def connectionMade(self) -> None:
        """Begin."""
        self.reader = PacketReader(1 << 20)

    def dataReceived(self, data: bytes) -> None:
        """Answer each packet that wants one."""
        for command, _ in self.reader.feed(data):
            if command == b"O":
                self.answer(encode(b"O", (6).to_bytes(4) + (1).to_bytes(4) + (0).to_bytes(4)))
            elif command == b"E":
                self.answer(encode(b"h", b"X-Seen\0by the milter\0") + encode(b"c"))
            elif command not in {b"D", b"Q"}:
                self.answer(encode(b"c"))

    def answer(self, octets: bytes) -> None:
        """Send it."""
        assert self.transport is not None
        self.transport.write(octets)


class FilterExampleTests(ExampleTestCase):
    """The examples of filters."""

    async def test_milter_ask(self) -> None:
        """A milter is shown a message, and what it says is printed."""
        path = Path(self.mktemp())
        path.write_text("From: me@example.org\nSubject: folded\n subject\n\nHello.\n")
        port = await serverFromString(reactor, ANY_PORT).listen(Factory.forProtocol(_Milter))
        self.addCleanup(port.stopListening)
        await load("milter_ask").main(reactor, f"127.0.0.1:{port.getHost().port}", path)
        self.assertEqual(self.printed.getvalue(), "accept\nto be added: X-Seen: by the milter\n")

    def test_junk_filter(self) -> None:
        """What was seen in junk only speaks against a message, and the words are named."""
        folder = Path(self.mktemp())
        for name, text in (
            ("wanted", "the minutes of our meeting"),
            ("junk", "cheap watches, buy cheap watches now"),
        ):
            (folder / name).mkdir(parents=True)
            for number in range(60):
                octets = f"From: a{number}@{name}.example\nSubject: {text}\n\n{text} {number}\n"
                (folder / name / str(number)).write_text(octets)
        (folder / "new").write_text("From: x@y.example\nSubject: hello\n\nbuy cheap watches\n")
        load("junk_filter").main(folder / "wanted", folder / "junk", folder / "new")
        first, *words = self.printed.getvalue().splitlines()
        self.assertRegex(first, r"^junk with a probability of (0\.[5-9]|1\.0)\d\d$")
        self.assertIn("watches", "".join(words))


class BadSMTPExampleTests(ExampleTestCase):
    """A client of the server that misbehaves."""

    async def test_badsmtp_client(self) -> None:
        """Each thing that goes wrong is told apart."""
        configuration = configure({"log_output": "off"}, {}, os.devnull, free_ports=True)
        server = BadSMTP(reactor, configuration)
        server.startService()
        self.addCleanup(server.stopService)
        url = f"http://127.0.0.1:{server.ports['http']}"
        await deferToThread(load("badsmtp_client").main, "127.0.0.1", server.ports["smtp"], url)
        self.assertEqual(
            self.printed.getvalue().splitlines(),
            [
                "all is well: sent",
                "and came in as: hello",
                "sender refused: SMTPSenderRefused 550",
                "one recipient refused: sent, but rcpt551@example.org: 551",
                "all recipients refused: nobody: 551",
                "no data: SMTPDataError 451",
                "refused after the dot: SMTPDataError 554",
                "taken, and hung up without a word: cut off",
                "no EHLO, so HELO: sent",
                "log-in refused: SMTPAuthenticationError 535",
                "log-in: sent",
            ],
        )


class BadSMTPHooksTests(ExampleTestCase):
    """Hooks of every kind."""

    async def test_badsmtp_hooks_server(self) -> None:
        """Each hook has its say."""
        example = load("badsmtp_hooks_server")
        service = example.main(reactor, "0")
        self.addCleanup(service.stopService)
        example.announce(service)
        self.assertEqual(set(service.ports), {"smtp"})

        def talk() -> list[int]:
            with smtplib.SMTP("127.0.0.1", service.ports["smtp"], "bstk42.example.org", 30) as client:
                codes = [client.ehlo()[0]]
                self.assertEqual(client.esmtp_features, {"auth": " LOGIN"} | dict.fromkeys(self.FEATURES, ""))
                codes.append(client.docmd("BANA")[0])
                self.assertEqual(client.docmd("BANA"), (250, b"OK NA, the 2th"))
                with contextlib.suppress(smtplib.SMTPAuthenticationError):
                    client.login("bob", "secret")
                client.login("alice", "secret")
                codes.append(client.docmd("MAIL", "FROM:<mallory@example.org>")[0])
                client.sendmail("alice@example.org", ["bob@example.org"], b"Subject: hello\r\n\r\n")
                try:
                    client.sendmail("alice@example.org", ["bob@example.org"], b"Subject: spam\r\n\r\n")
                except smtplib.SMTPDataError as e:
                    codes.append(e.smtp_code)
                client.docmd("MAIL", "FROM:<alice@example.org>")
                codes.append(client.docmd("RCPT", "TO:<nobody@example.org>")[0])
                codes += [client.noop()[0], client.noop()[0]]
                client.putcmd("NOOP")
                self.assertEqual(client.file.read() if client.file is not None else b"", b"250 yaw")
                client.close()
                return codes

        self.assertEqual(await deferToThread(talk), [250, 250, 553, 452, 550, 250, 250])
        printed = self.printed.getvalue()
        for line in (
            "127.0.0.1 is here",
            "bob may not come in by LOGIN",
            "alice may come in by LOGIN",
            "message 1 from alice@example.org",
            "MAIL: 553",
        ):
            self.assertIn(line, printed)
        hooks = service.surroundings.hooks
        self.assertEqual(len(hooks.store.kept), 1)
        self.assertEqual(hooks.journal.counts["SMTP message stored successfully"], 1)

    FEATURES = (
        "8bitmime",
        "pipelining",
        "starttls",
        "chunking",
        "smtputf8",
        "enhancedstatuscodes",
        "gobananas",
        "ok",
    )
