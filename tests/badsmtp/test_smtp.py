"""Every row of the how-to for SMTP, against a server on a socket, by raw sockets, smtplib, curl and swaks."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
import subprocess
import tempfile
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from moxtwisted.badsmtp.faults import DESCRIPTIONS, LONG_OCTETS
from moxtwisted.badsmtp.grammar import FAULTS, TEXTS
from moxtwisted.badsmtp.service import BadSMTPService
from moxtwisted.badsmtp.settings import DELAYS_SECONDS, GREETING_FAULTS, Settings
from tests.badsmtp.howto import literals, table
from tests.badsmtp.inmemory import ListJournal
from tests.integration.peers import needs

#: All ports of SMTP, any free one, and no others.
SETTINGS = Settings.only(
    port=0, greeting_delay_port_start=0, drop_delay_port_start=0, greeting_fault_port_start=0, lmtp_port=0
)
#: How long a second lasts here.
PACE = 1e-5
GREETING = b"220 localhost ESMTP BadSMTP - The Reliably Unreliable Mail Server https://badsmtp.com\r\n"
#: Nothing takes so long; it only keeps a broken server from stopping the tests for good.
PATIENCE = 60.0
MESSAGE = b"Subject: hello\r\n\r\nhow are you\r\n"


class Raw:
    """A client that knows no SMTP."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def reply(self) -> bytes:
        """One reply, or what there is of it at the end of the connection."""
        lines = []
        while line := self.file.readline():
            lines.append(line)
            if line[3:4] != b"-":
                break
        return b"".join(lines)

    def say(self, line: str) -> bytes:
        """The reply to a line."""
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def rest(self) -> bytes:
        """All that still comes; ``(reset)`` at the end when the connection was reset."""
        octets = b""
        try:
            while piece := self.socket.recv(65536):
                octets += piece
        except ConnectionResetError:
            octets += b"(reset)"
        return octets


def last_reply(port: int, lines: list[str]) -> bytes:
    """What these lines lead to, said one after the other; ``(closed)`` behind it when that was the end."""
    with Raw(port) as client:
        client.reply()
        if not lines[0].startswith(("EHLO", "HELO")):
            client.say("EHLO any.example")
        for line in lines:
            reply = client.say(line)
        if reply[:3] in {b"221", b"421"}:
            reply += b"(closed)" if not client.rest() else b"(open)"
        return reply


class OverSockets(TestCase):
    """A server for each test."""

    settings = SETTINGS

    def setUp(self) -> None:
        # Nothing is ever relayed: a connection from here to anybody would fail the test.
        self.patch(reactor, "connectTCP", self.fail)
        self.service = BadSMTPService(reactor, self.settings, pace=PACE)
        self.service.startService()
        self.addCleanup(self.service.stopService)

    @property
    def port(self) -> int:
        return self.service.ports["smtp"]

    def contents(self, recipient: str) -> list[bytes]:
        return [m.content for m in self.service.captured.messages(recipient=recipient)]


class TableTests(OverSockets):
    def rows(self, title: str) -> Deferred[None]:
        rows = [(literals(said), literals(heard)[0]) for said, heard in table(title)]
        self.assertGreater(len(rows), 10)

        def ask() -> list[bytes]:
            return [last_reply(self.port, said) for said, _ in rows]

        def compare(replies: list[bytes]) -> None:
            for (said, heard), reply in zip(rows, replies, strict=True):
                closed = b"(closed)" if heard[:3] in {"221", "421"} else b""
                with self.subTest(said=said):
                    self.assertEqual(reply.replace(b"\r\n", b"").rstrip(b" "), heard.encode() + closed)

        return deferToThread(ask).addCallback(compare)

    def test_errors_by_address(self) -> Deferred[None]:
        """What the table of errors by address says is what the server says."""
        return self.rows("Errors by address")

    def test_everything_else(self) -> Deferred[None]:
        """So is what the last table says."""
        return self.rows("Everything else")

    def test_codes(self) -> Deferred[None]:
        """Each code has its text, and those of the how-to are all."""
        rows = {int(code): text for code, text in table("What the codes say")}
        self.assertEqual(rows, dict(TEXTS))

        def ask() -> dict[int, bytes]:
            return {code: last_reply(self.port, [f"MAIL FROM:<mail{code}@any.example>"]) for code in rows}

        def compare(replies: dict[int, bytes]) -> None:
            for code, reply in replies.items():
                self.assertEqual(reply.removesuffix(b"(closed)").decode("ascii"), f"{code} {rows[code]}\r\n")

        return deferToThread(ask).addCallback(compare)

    def test_ports(self) -> None:
        """The listeners are those of the table, as many as there are delays and faults."""
        names = {row[1] for row in table("Ports and what they do")}
        self.assertIn(f"``greeting-fault-0`` to ``greeting-fault-{len(GREETING_FAULTS) - 1}``", names)
        expected = {"smtp", "lmtp"}
        for n in range(len(DELAYS_SECONDS)):
            expected |= {f"greeting-{n}", f"drop-{n}"}
        expected |= {f"greeting-fault-{n}" for n in range(len(GREETING_FAULTS))}
        self.assertEqual(set(self.service.ports), expected)

    def test_standard_ports(self) -> None:
        """The numbers of the how-to are those of the settings."""
        standard = Settings()
        numbers = [row[0].split(" ")[0] for row in table("Ports and what they do")]
        self.assertEqual(
            [int(number) for number in numbers],
            [
                standard.port,
                standard.greeting_delay_port_start,
                standard.drop_delay_port_start,
                standard.greeting_fault_port_start,
                standard.lmtp_port,
            ],
        )
        rows = table("Greetings")
        self.assertEqual([literals(row[1])[0] for row in rows], list(GREETING_FAULTS))
        self.assertEqual([int(row[0]) for row in rows], list(range(26000, 26000 + len(rows))))

    def test_delay_ports(self) -> Deferred[None]:
        """All greet, and the others hang up; how late is a matter of the clock, see test_session."""

        def ask() -> None:
            for n in range(len(DELAYS_SECONDS)):
                with Raw(self.service.ports[f"greeting-{n}"]) as client:
                    self.assertEqual(client.reply(), GREETING)
                    self.assertEqual(client.say("QUIT"), b"221 Goodbye\r\n")
                with Raw(self.service.ports[f"drop-{n}"]) as client:
                    self.assertEqual(client.rest(), b"")

        return deferToThread(ask)

    def test_greeting_faults(self) -> Deferred[None]:
        """Each of the ports greets wrongly in its way."""
        text = GREETING[4:-2]
        expected = {
            "greeting554": b"554 Transaction failed\r\n",
            "greeting421": b"421 Service not available, closing transmission channel\r\n",
            "greeting.stall": b"",
            "greeting.cut": GREETING[: len(GREETING[:-2]) // 2],
            "greeting.continued": b"220-" + text + b"\r\n",
            "greeting.reset": b"(reset)",
        }
        stays = {
            "greeting.drip10": GREETING,
            "greeting.many3": (b"220-" + text + b"\r\n") * 2 + GREETING,
            "greeting.garbage": b"\x15\x03\x01 ?! lorem ipsum\r\n",
            "greeting.long": b"220 " + text + b" " + b"x" * (LONG_OCTETS - len(GREETING) - 1) + b"\r\n",
            "greeting.eightbit": b"220 " + text + b" \xe9\xff\xfe\x80\xc3\r\n",
            "greeting.barelf": GREETING.replace(b"\r\n", b"\n"),
            "greeting.codes": b"220-" + text + b"\r\n550 " + text + b"\r\n",
            "greeting.twice": GREETING * 2,
            "greeting.empty": b"\r\n",
            "greeting.nul": b"220 \0" + text + b"\r\n",
            "greeting.split": GREETING,
        }
        self.assertEqual(set(expected) | set(stays), set(GREETING_FAULTS))

        def ask() -> None:
            for n, name in enumerate(GREETING_FAULTS):
                with self.subTest(name), Raw(self.service.ports[f"greeting-fault-{n}"]) as client:
                    if name in stays:
                        wanted = stays[name]
                        self.assertEqual(client.file.read(len(wanted)), wanted)
                        self.assertEqual(client.say("QUIT"), b"221 Goodbye\r\n")
                    elif name == "greeting.continued":
                        got = client.rest()
                        self.assertEqual(got, expected[name] * (len(got) // len(expected[name])))
                        self.assertGreater(len(got), 100_000)
                    else:
                        self.assertEqual(client.rest(), expected[name])

        return deferToThread(ask)

    def test_faults(self) -> Deferred[None]:
        """Each fault does to the reply of NOOP what the table says, whoever asks for it, and the faults of the table are all."""
        rows = {literals(fault)[0]: text for fault, text in table("Faults")}
        self.assertEqual(rows, dict(DESCRIPTIONS))
        self.assertEqual(set(rows), set(FAULTS))
        ok = b"250 OK\r\n"
        bye = b"221 Goodbye\r\n"
        expected = {
            "stall": b"",
            "stall2": ok + bye,
            "drip": ok + bye,
            "split": ok + bye,
            "cut": b"250",
            "cut5": b"250 O",
            "close": b"",
            "closeafter": ok,
            "midway": ok,
            "reset": b"(reset)",
            "barelf": b"250 OK\n" + bye,
            "codes": b"250-OK\r\n550 OK\r\n" + bye,
            "codes354": b"250-OK\r\n354 OK\r\n" + bye,
            "eightbit": b"250 OK \xe9\xff\xfe\x80\xc3\r\n" + bye,
            "long": b"250 OK " + b"x" * (LONG_OCTETS - 9) + b"\r\n" + bye,
            "long1000": b"250 OK " + b"x" * 991 + b"\r\n" + bye,
            "garbage": b"\x15\x03\x01 ?! lorem ipsum\r\n" + bye,
            "twice": ok * 2 + bye,
            "empty": b"\r\n" + bye,
            "nul": b"250 \0OK\r\n" + bye,
            "many": b"250-OK\r\n" * 999 + ok + bye,
            "many2": b"250-OK\r\n" + ok + bye,
            "continued": b"250-OK\r\n" * 3601,
            "inject": ok + b"250-injected.invalid\r\n250 AUTH PLAIN LOGIN\r\n" + bye,
        }
        self.assertEqual({re.sub(r"\d+$", "", name) for name in expected}, set(FAULTS))

        def ask() -> None:
            for name, octets in expected.items():
                with self.subTest(name), Raw(self.port) as client:
                    client.reply()
                    client.say(f"EHLO badnoop{name}.example")
                    client.socket.sendall(b"NOOP\r\nQUIT\r\n")
                    self.assertEqual(client.rest(), octets)
                with self.subTest(name, by="address"), Raw(self.port) as client:
                    client.reply()
                    client.say("EHLO any.example")
                    client.say(f"MAIL FROM:<noop.{name}@any.example>")
                    client.socket.sendall(b"NOOP\r\nQUIT\r\n")
                    self.assertEqual(client.rest(), octets)

        return deferToThread(ask)

    def test_tokens(self) -> Deferred[None]:
        """Each token changes the reply to EHLO as the table says; the tokens of the table are all."""
        usual = [
            b"badsmtp.test",
            b"AUTH PLAIN LOGIN CRAM-MD5 CRAM-SHA256 XOAUTH2",
            b"8BITMIME",
            b"SIZE 10485760",
            b"PIPELINING",
            b"STARTTLS",
            b"CHUNKING",
            b"SMTPUTF8",
            b"ENHANCEDSTATUSCODES",
            b"OK",
        ]

        def but(old: bytes, new: bytes = b"") -> list[bytes]:
            return [new if line == old else line for line in usual if line != old or new]

        auth, size = usual[1], usual[3]
        expected: dict[str, list[bytes] | bytes] = {
            "sizeN": but(size, b"SIZE 20000"),
            "nosize": but(size),
            "no8bit": but(b"8BITMIME"),
            "nopipelining": but(b"PIPELINING"),
            "nostarttls": but(b"STARTTLS"),
            "nochunking": but(b"CHUNKING"),
            "nosmtputf8": but(b"SMTPUTF8"),
            "noenhancedstatuscodes": but(b"ENHANCEDSTATUSCODES"),
            "noauth": but(auth),
            "authplain": but(auth, b"AUTH PLAIN"),
            "authlogin": but(auth, b"AUTH LOGIN"),
            "authcram": but(auth, b"AUTH CRAM-MD5 CRAM-SHA256"),
            "authoauth": but(auth, b"AUTH XOAUTH2"),
            "authscram": but(auth, b"AUTH SCRAM-SHA-256 SCRAM-SHA-1"),
            "authbearer": but(auth, b"AUTH OAUTHBEARER"),
            "authntlm": but(auth, b"AUTH NTLM"),
            "reject": b"502 Command not implemented\r\n",
            "noehl": b"502 Command not implemented\r\n",
            "dlayN": usual,
            "helo500.": b"500 Syntax error, command unrecognized\r\n",
            "badVERBnnn": usual,
            "badVERBfault": usual,
            "eodlf": usual,
            "eodlfcrlf": usual,
            "eodcrlflf": usual,
            "eodcr": usual,
            "strictlines": usual,
        }
        names = {
            "sizeN": "size20000",
            "dlayN": "dlay3",
            "badVERBnnn": "badquit421",
            "badVERBfault": "badrcptcut",
        }
        self.assertEqual([literals(row[0])[0] for row in table("Tokens")], list(expected))

        def ask() -> None:
            for token, lines in expected.items():
                name = names.get(token, token).rstrip(".")
                whole = (
                    lines if isinstance(lines, bytes) else b"".join(b"250-%s\r\n" % line for line in lines)
                )
                wanted = whole if isinstance(lines, bytes) else whole[:-8] + b"250 OK\r\n"
                with self.subTest(token):
                    self.assertEqual(last_reply(self.port, [f"EHLO {name}.example.com"]), wanted)

        return deferToThread(ask)


class ConversationTests(OverSockets):
    """What takes more than lines."""

    async def test_limit(self) -> None:
        """A message that is too large is refused at the end, by DATA and by BDAT, and the connection goes on."""

        def talk() -> list[bytes]:
            with Raw(self.port) as client:
                client.reply()
                for line in (
                    "EHLO size1000.example",
                    "MAIL FROM:<a@x.example>",
                    "RCPT TO:<b@x.example>",
                    "DATA",
                ):
                    client.say(line)
                first = client.say("x" * 2000 + "\r\n.")
                client.say("MAIL FROM:<a@x.example>")
                client.say("RCPT TO:<b@x.example>")
                second = client.say("BDAT 2000 LAST\r\n" + "x" * 1998)
                return [first, second, client.say("NOOP")]

        too_big = b"552 Message size exceeds fixed maximum of 1000 bytes\r\n"
        self.assertEqual(await deferToThread(talk), [too_big, too_big, b"250 OK\r\n"])
        self.assertEqual(self.contents("b@x.example"), [])

    async def test_bdat(self) -> None:
        """A message in chunks is one message; an error of a chunk ends it; what has no place is read and thrown away."""

        def talk() -> list[bytes]:
            with Raw(self.port) as client:
                client.reply()
                client.say("EHLO any.example")
                said = [client.say("BDAT 8 LAST\r\nNOT ME")]
                client.say("MAIL FROM:<a@x.example>")
                client.say("RCPT TO:<b@x.example>")
                said.append(client.say("BDAT 6\r\nline"))
                said.append(client.say("BDAT 7 LAST\r\nline2"))
                client.say("MAIL FROM:<bdat450@x.example>")
                client.say("RCPT TO:<b@x.example>")
                said.append(client.say("BDAT 6\r\nline"))
                return [*said, client.say("NOOP")]

        self.assertEqual(
            await deferToThread(talk),
            [
                b"503 Bad sequence - BDAT not allowed in MAIL state\r\n",
                b"250 OK\r\n",
                b"250 OK Message accepted for delivery\r\n",
                b"450 Requested mail action not taken: mailbox unavailable\r\n",
                b"250 OK\r\n",
            ],
        )
        self.assertEqual(self.contents("b@x.example"), [b"line\r\nline2\r\n"])

    async def test_lines(self) -> None:
        """Empty lines are ignored, those that are too long are refused, and what is pipelined is answered in its order."""

        def talk() -> bytes:
            with Raw(self.port) as client:
                client.reply()
                client.socket.sendall(
                    b"\r\n\r\nNOOP\r\n" + b"x" * 9000 + b"\r\nNOOP " + b"x" * 4089 + b"\r\nRSET\r\nQUIT\r\n"
                )
                return client.rest()

        self.assertEqual(
            await deferToThread(talk),
            b"250 OK\r\n500 Command too long\r\n250 OK\r\n250 OK\r\n221 Goodbye\r\n",
        )

    async def test_lmtp(self) -> None:
        """Each recipient has its outcome, and the message is kept for those that took it."""

        def talk(*recipients: str) -> list[bytes]:
            with Raw(self.service.ports["lmtp"]) as client:
                greeting = client.reply()
                self.assertEqual(greeting, GREETING.replace(b"ESMTP", b"LMTP"))
                self.assertEqual(client.say("EHLO x.example"), b"500 Command not recognised\r\n")
                client.say("LHLO x.example")
                client.say("MAIL FROM:<a@x.example>")
                said = [client.say(f"RCPT TO:<{recipient}>") for recipient in recipients]
                client.say("DATA")
                client.socket.sendall(MESSAGE + b".\r\nQUIT\r\n")
                return [*said, client.rest()]

        ok, taken = b"250 OK\r\n", b"250 OK Message accepted for delivery\r\n"
        refused = b"550 Requested action not taken: mailbox unavailable\r\n"
        said = await deferToThread(
            talk,
            "b@x.example",
            "rcpt550@x.example",
            "dend550@x.example",
            "dend.drip5@x.example",
            "c@x.example",
        )
        self.assertEqual(said[:-1], [ok, refused, ok, ok, ok])
        self.assertEqual(said[-1], taken + refused + taken + taken + b"221 Goodbye\r\n")
        [message] = self.service.captured.messages()
        self.assertEqual(message.forward_paths, ("b@x.example", "dend.drip5@x.example", "c@x.example"))
        self.assertEqual((message.protocol, message.content), ("LMTP", MESSAGE))
        said = await deferToThread(talk, "b@x.example", "dend.cut3@x.example", "c@x.example")
        self.assertEqual(said[-1], taken + b"250")
        said = await deferToThread(talk, "b@x.example", "dend421@x.example", "c@x.example")
        self.assertEqual(said[-1], taken + b"421 Service not available, closing transmission channel\r\n")

    async def test_smuggling(self) -> None:
        """A lone dot between other line ends is refused, and where the name asks for it, believed."""
        ends = {"eodlf": b"\n.\n", "eodlfcrlf": b"\n.\r\n", "eodcrlflf": b"\r\n.\n", "eodcr": b"\r.\r"}
        smuggled = (
            b"MAIL FROM:<smuggled@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\nhidden\r\n.\r\nQUIT\r\n"
        )

        def talk(name: str, octets: bytes) -> bytes:
            with Raw(self.port) as client:
                client.reply()
                for line in (
                    f"EHLO {name}.example",
                    "MAIL FROM:<a@x.example>",
                    "RCPT TO:<b@x.example>",
                    "DATA",
                ):
                    client.say(line)
                client.socket.sendall(octets)
                return client.rest()

        for token, end in ends.items():
            before = len(self.service.captured.messages())
            said = await deferToThread(talk, "any", b"seen" + end + smuggled)
            self.assertIn(b"500 A CR or LF stands alone: this may be SMTP smuggling\r\n", said)
            self.assertEqual(len(self.service.captured.messages()), before)
            said = await deferToThread(talk, token, b"seen" + end + smuggled)
            self.assertTrue(said.endswith(b"accepted for delivery\r\n221 Goodbye\r\n"), said)
            new = [(m.reverse_path, m.content) for m in self.service.captured.messages()[before:]]
            self.assertEqual(new, [("a@x.example", b"seen\r\n"), ("smuggled@x.example", b"hidden\r\n")])
            said = await deferToThread(talk, token, b"seen\r\n.\r\nQUIT\r\n")
            self.assertEqual(said, b"250 OK Message accepted for delivery\r\n221 Goodbye\r\n")
        said = await deferToThread(talk, "strictlines", b"a lone\nLF\r\n.\r\nQUIT\r\n")
        self.assertIn(b"500 A CR or LF stands alone", said)

    async def test_midway(self) -> None:
        """A connection can be reset in the middle of a message; nothing of it is kept."""

        def talk() -> bytes:
            with Raw(self.port) as client:
                client.reply()
                for line in ("EHLO x", "MAIL FROM:<data.midway@x.example>", "RCPT TO:<b@x.example>", "DATA"):
                    client.say(line)
                client.socket.sendall(b"first\r\n")
                return client.rest()

        self.assertEqual(await deferToThread(talk), b"(reset)")
        self.assertEqual(self.contents("b@x.example"), [])

    async def test_faults_after_the_dot(self) -> None:
        """With a code the message is not kept; with a fault alone it is, though the client cannot know."""

        def talk(sender: str) -> bytes:
            with Raw(self.port) as client:
                client.reply()
                for line in (
                    "EHLO x",
                    f"MAIL FROM:<{sender}@x.example>",
                    f"RCPT TO:<{sender}@y.example>",
                    "DATA",
                ):
                    client.say(line)
                client.socket.sendall(MESSAGE + b".\r\nQUIT\r\n")
                return client.rest()

        for sender, kept in (
            ("dend250", False),
            ("dend451", False),
            ("dend451.drip3", False),
            ("dend.close", True),
            ("dend.cut", True),
            ("dend.stall", True),
            ("dend.reset", True),
        ):
            await deferToThread(talk, sender)
            with self.subTest(sender):
                self.assertEqual(self.contents(f"{sender}@y.example"), [MESSAGE] if kept else [])

    async def test_the_end_of_the_service(self) -> None:
        """Whoever is there hears 421, and nobody is let in any more."""
        with Raw(self.port) as client:
            await deferToThread(client.reply)
            port = self.port
            await self.service.stopService()
            self.assertEqual(await deferToThread(client.rest), b"421 Service shutting down\r\n")
            self.assertRaises(ConnectionRefusedError, Raw, port)
        self.service.startService()


class TLSTests(OverSockets):
    """STARTTLS, and what goes wrong with it besides TLS itself."""

    settings = evolve(SETTINGS, tls_port=0)

    def setUp(self) -> None:
        super().setUp()
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    async def test_starttls(self) -> None:
        """What comes then is a new dialogue under TLS; wishes of MAIL FROM are not forgotten."""

        def talk() -> list[Any]:
            with smtplib.SMTP("127.0.0.1", self.port, "client.example", PATIENCE) as client:
                client.docmd("EHLO", "authplain.example")
                client.docmd("MAIL", "FROM:<noop450@x.example>")
                client.docmd("RSET")
                client.starttls(context=self.context)
                self.assertNotIn("starttls", client.esmtp_features)
                again = client.docmd("STARTTLS")
                client.login("goodauth", "x")
                client.sendmail("a@x.example", ["b@x.example"], MESSAGE)
                return [again, client.noop()[0]]

        self.assertEqual(await deferToThread(talk), [(503, b"Bad sequence of commands"), 450])
        [message] = self.service.captured.messages()
        self.assertEqual((message.protocol, message.username), ("ESMTPSA", "goodauth"))
        self.assertIn("TLS began: TLSv1.3", "".join(line.text for line in message.transcript))

    async def test_faults(self) -> None:
        """220 and then the end; 220 and no TLS; 220 and words in clear; commands in clear behind it."""
        ready = b"220 Ready to start TLS\r\n"

        def talk(sender: str, *, wrap: bytes | None = None, more: bytes = b"") -> bytes:
            with Raw(self.port) as client:
                client.reply()
                client.say("EHLO any.example")
                client.say(f"MAIL FROM:<{sender}@x.example>")
                client.say("RSET")
                client.socket.sendall(b"STARTTLS\r\n" + more)
                if wrap is None:
                    first = client.reply()
                    if sender == "starttls220":
                        client.socket.sendall(b"QUIT\r\n")
                    return first + client.rest()
                octets = client.file.read(len(wrap))
                with self.context.wrap_socket(client.socket) as inside:
                    inside.sendall(b"NOOP\r\n")
                    return octets + inside.recv(100)

        self.assertEqual(await deferToThread(talk, "starttls.closeafter"), ready)
        lie = b"220 Unknown error\r\n"
        self.assertEqual(await deferToThread(talk, "starttls220"), lie + b"221 Goodbye\r\n")
        injected = ready + b"250-injected.invalid\r\n250 AUTH PLAIN LOGIN\r\n"
        said = await deferToThread(talk, "starttls.inject", wrap=injected)
        self.assertEqual(said, injected + b"250 OK\r\n")
        self.assertEqual(await deferToThread(talk, "nothing", wrap=ready), ready + b"250 OK\r\n")
        self.assertEqual(
            await deferToThread(talk, "nothing", more=b"NOOP\r\n"),
            b"501 Nothing may follow STARTTLS before the handshake\r\n",
        )

    async def test_implicit(self) -> None:
        """TLS from the first octet; a handshake that fails is written down."""

        def talk() -> bytes:
            port = self.service.ports["tls"]
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
                plain.sendall(b"EHLO x\r\n")
                with contextlib.suppress(ConnectionResetError):
                    while plain.recv(1000):
                        pass
            with smtplib.SMTP_SSL("127.0.0.1", port, "x", timeout=PATIENCE, context=self.context) as client:
                client.sendmail("a@x.example", ["b@x.example"], MESSAGE)
            return MESSAGE

        journal = self.service.surroundings.journal = ListJournal()
        self.assertEqual(await deferToThread(talk), MESSAGE)
        self.assertEqual(self.contents("b@x.example"), [MESSAGE])
        self.assertEqual(len(journal.fields("TLS handshake failed")), 1)
        self.assertEqual(journal.fields("TLS handshake successful")[0]["tls_version"], "TLSv1.3")


class StrangerTests(OverSockets):
    """Programs of others."""

    def swaks(self, *arguments: str) -> str:
        """What swaks writes down of the dialogue."""
        command = ["swaks", "--server", "127.0.0.1", "--port", str(self.port), "--suppress-data", *arguments]
        result = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
        return result.stdout.decode("utf-8", "replace")

    @needs("swaks")
    async def test_swaks(self) -> None:
        """Swaks sees each error at its command."""
        rows = (
            ("mail550@x.example", "b@x.example", "<** 550 Requested action not taken: mailbox unavailable"),
            (
                "a@x.example",
                "rcpt452_4.2.2@x.example",
                "<** 452 4.2.2 Requested action not taken: insufficient",
            ),
            (
                "data451@x.example",
                "b@x.example",
                "<** 451 Requested action aborted: local error in processing",
            ),
            ("dend554@x.example", "b@x.example", "<** 554 Transaction failed"),
            ("dend.twice@x.example", "b@x.example", "<-  250 OK Message accepted for delivery"),
            (
                "quit421@x.example",
                "b@x.example",
                "<** 421 Service not available, closing transmission channel",
            ),
        )
        for sender, recipient, line in rows:
            said = await deferToThread(self.swaks, "--from", sender, "--to", recipient)
            with self.subTest(sender, recipient=recipient):
                self.assertIn(line, said)

    @needs("swaks")
    async def test_swaks_logs_in(self) -> None:
        """By name or not, as the name says."""
        common = (
            "--from",
            "a@x.example",
            "--to",
            "b@x.example",
            "--auth-password",
            "x",
            "--quit-after",
            "AUTH",
        )
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
            said = await deferToThread(
                self.swaks, *common, "--auth", mechanism, "--auth-user", "goodauth", "--ehlo", "x.example"
            )
            self.assertIn("<-  235 Authentication successful", said)
            said = await deferToThread(
                self.swaks, *common, "--auth", mechanism, "--auth-user", "badauth", "--ehlo", "x.example"
            )
            self.assertIn("<** 535 Authentication failed", said)

    @needs("swaks")
    async def test_swaks_speaks_lmtp(self) -> None:
        """Each recipient has its reply, as swaks sees it."""
        port = str(self.service.ports["lmtp"])
        said = await deferToThread(
            self.swaks,
            *("--protocol", "LMTP", "--port", port, "--from", "a@x.example"),
            *("--to", "b@x.example,dend450@x.example,dend552_5.2.2@x.example"),
        )
        self.assertIn(
            "<-  250 OK Message accepted for delivery\n"
            "<** 450 Requested mail action not taken: mailbox unavailable\n"
            "<** 552 5.2.2 Requested mail action aborted: exceeded storage allocation\n",
            said,
        )

    def curl(self, sender: str, recipient: str, *arguments: str) -> int:
        """How curl ends."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "message")
            path.write_bytes(MESSAGE)
            url = f"smtp://127.0.0.1:{self.port}/client.example"
            command = ["curl", "-sS", url, "--mail-from", sender, "--mail-rcpt", recipient, "-T", str(path)]
            return subprocess.run(
                [*command, *arguments], capture_output=True, check=False, timeout=PATIENCE
            ).returncode

    @needs("curl")
    async def test_curl(self) -> None:
        """Curl sends, and fails as it should."""
        # 0: sent; 52: nothing came; 55: cannot send; 56: cannot receive; 8: a strange reply; 67: log-in denied.
        rows: tuple[tuple[str, str, set[int]], ...] = (
            ("a@x.example", "b@x.example", {0}),
            ("mail550@x.example", "b@x.example", {55}),
            ("a@x.example", "rcpt550@x.example", {55}),
            ("data451@x.example", "b@x.example", {55}),
            ("dend554@x.example", "b@x.example", {8, 55, 56}),
            ("dend.drip5@x.example", "b@x.example", {0}),
            ("dend.split@x.example", "b@x.example", {0}),
        )
        for sender, recipient, ends in rows:
            code = await deferToThread(self.curl, sender, recipient)
            with self.subTest(sender, recipient=recipient):
                self.assertIn(code, ends)
        self.assertEqual(
            [m.reverse_path for m in self.service.captured.messages()],
            ["a@x.example", "dend.drip5@x.example", "dend.split@x.example"],
        )
        arguments = ("--user", "badauth:x", "--login-options", "AUTH=PLAIN")
        self.assertEqual(await deferToThread(self.curl, "a@x.example", "b@x.example", *arguments), 67)

    async def test_smtplib(self) -> None:
        """Python's own client sends, is refused, and survives."""
        message = EmailMessage()
        message["Subject"] = "hello"
        message.set_content("how are you\n")

        def send(sender: str, *recipients: str, hello: str = "client.example") -> Any:
            try:
                with smtplib.SMTP("127.0.0.1", self.port, hello, PATIENCE) as client:
                    return client.send_message(message, sender, list(recipients))
            except smtplib.SMTPResponseException as e:
                return e.smtp_code
            except smtplib.SMTPException as e:
                return type(e).__name__

        b = "b@x.example"
        for arguments, hello, wanted in (
            (("a@x.example", b), "", {}),
            (("a@x.example", b, "rcpt550@x.example"), "", {"rcpt550@x.example"}),
            (("a@x.example", "rcpt550@x.example"), "", "SMTPRecipientsRefused"),
            (("mail451_4.7.1@x.example", b), "", 451),
            (("data552@x.example", b), "", 552),
            (("dend450@x.example", b), "", 450),
            (("dend.close@x.example", b), "", "SMTPServerDisconnected"),
            (("mail.close@x.example", b), "", "SMTPServerDisconnected"),
            (("mail.long@x.example", b), "", 500),
            (("a@x.example", b), "reject.example", {}),
            (("a@x.example", b), "dlay600.example", {}),
            (("a@x.example", b), "helo554.example", 554),
        ):
            got = await deferToThread(send, *arguments, hello=hello or "client.example")
            with self.subTest(arguments, hello=hello):
                self.assertEqual(set(got) if isinstance(wanted, set) else got, wanted)


class NothingGoesOutTests(SynchronousTestCase):
    def test_nothing_connects(self) -> None:
        """No module of the package can make a connection: it has no client, and asks no reactor for one."""
        import moxtwisted.badsmtp

        folder = Path(moxtwisted.badsmtp.__file__).parent
        words = re.compile(
            r"connectTCP|connectSSL|ClientEndpoint|create_connection|clientFromString|smtp\.agent|smtp\.client|smtplib"
        )
        found = [
            path.name
            for path in folder.glob("*.py")
            if path.name != "logsinks.py" and words.search(path.read_text())
        ]
        self.assertEqual(found, [])
