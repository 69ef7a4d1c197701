"""Real sockets on loopback: smtplib as a stranger, our agent, TLS of both kinds, and the examples."""

from __future__ import annotations

import os
import runpy
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import StringIO
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unittest.mock import patch

from attrs import evolve
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from moxtwisted.address import parse_path
from moxtwisted.sasl.client import Credentials, choose
from moxtwisted.sasl.credentials import PasswordVerifiers, scram_verifier
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.sasl.exchange import ServerContext
from moxtwisted.sasl.interfaces import ISASLBackend
from moxtwisted.sasl.outcome import Accepted, Outcome, Reason
from moxtwisted.sasl.outcome import Failure as SASLFailure
from moxtwisted.sasl.server import begin
from moxtwisted.smtp.agent import BytesSource, ClientSettings, ClientTimeouts, ClientTLS, connect, send_mail
from moxtwisted.smtp.envelope import MailParameters, Recipient
from moxtwisted.smtp.protocol import ServerTLS, SMTPServerFactory
from moxtwisted.smtp.settings import Mode, ServerSettings
from moxtwisted.smtp.testing import MemoryHandlers
from moxtwisted.smtp.transmission import Envelope, RecipientResult
from tests.smtp.certificate import certificate, client_creator, server_context
from tests.smtp.test_dialogues import OneUser

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
reactor: Any = global_reactor


def envelope(*recipients: bytes, sender: bytes = b"<a@example.org>", **parameters: Any) -> Envelope:
    """From octets."""
    paths = [parse_path(r, smtputf8=True) for r in recipients or (b"<b@example.net>",)]
    return Envelope(
        parse_path(sender, smtputf8=True), [Recipient(p) for p in paths], MailParameters(**parameters)
    )


class SocketTestCase(TestCase):
    """A server on a port of its own."""

    timeout = 60

    async def serve(self, tls: ServerTLS | None = None, handlers: Any = None, **settings: Any) -> int:
        self.handlers = handlers or MemoryHandlers()
        self.factory = SMTPServerFactory(
            ServerSettings(hostname="mx.example", **settings), self.handlers, reactor, tls
        )
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self.factory)

        def clean_up() -> Deferred[Any]:
            stopped = port.stopListening()
            return stopped.addCallback(lambda _: self.factory.shutdown())

        self.addCleanup(clean_up)
        number: int = port.getHost().port
        return number

    def endpoint(self, port: int) -> TCP4ClientEndpoint:
        return TCP4ClientEndpoint(reactor, "127.0.0.1", port)


class StrangerTests(SocketTestCase):
    """Python's smtplib."""

    async def test_smtplib(self) -> None:
        """It sends messages of several sizes, with dots at line begins, and 8-bit ones."""
        port = await self.serve()
        texts = [
            b"",
            b"\r\n",
            b"Subject: x\r\n\r\n.\r\n..\r\n",
            "Grüße\r\n".encode() * 100,
            b"x" * 5000000 + b"\r\n",
        ]

        def talk() -> None:
            with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
                for text in texts:
                    client.sendmail("a@example.org", ["b@example.net"], text, ["body=8bitmime"])

        await deferToThread(talk)
        got = [m.octets for m in self.handlers.messages]
        self.assertEqual(
            [sha256(m).hexdigest() for m in got], [sha256(t or b"\r\n").hexdigest() for t in texts]
        )

    async def test_smtplib_with_tls(self) -> None:
        """STARTTLS, then AUTH and mail; what the handshake tells reaches the handler."""
        tls = ServerTLS(server_context())
        handlers = MemoryHandlers(sasl_start=lambda *_: OneUser())
        port = await self.serve(tls, handlers, mode=Mode.SUBMISSION, mechanisms=("PLAIN",))

        def talk() -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
                client.starttls(context=context)
                client.login("mjl", "secret")
                client.sendmail("a@example.org", ["b@example.net"], b"Subject: x\r\n\r\n")

        await deferToThread(talk)
        self.assertEqual(len(self.handlers.messages), 1)
        info = next(c[1] for c in self.handlers.handlers[0].calls if c[0] == "tls_started")
        self.assertEqual(info.version, "TLSv1.3")
        self.assertEqual(len(info.channel_bindings["tls-exporter"][0]), 32)
        self.assertIsNone(info.client_key_sha256)

    async def test_injection_behind_starttls(self) -> None:
        """Commands in the segment of STARTTLS are refused, and the connection ends (CVE-2011-0411)."""
        port = await self.serve(ServerTLS(server_context()))

        def talk() -> bytes:
            with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
                client.ehlo()
                sock: Any = client.sock
                sock.sendall(b"STARTTLS\r\nRSET\r\n")
                said = b""
                while block := sock.recv(4096):
                    said += block
                client.close()
                return said

        said = await deferToThread(talk)
        self.assertEqual(said, b"501 5.5.1 nothing may follow STARTTLS before the handshake\r\n")


@implementer(ISASLBackend)
class Backend:
    """Knows mjl, whose password is secret."""

    def __init__(self) -> None:
        self.refusals: list[Reason | None] = []
        keys = scram_verifier(b"secret", b"salt" * 4, 4096, "SHA-256")
        self._verifiers = PasswordVerifiers("", scram_sha_256=keys)

    async def verifiers(self, username: str, mechanism: str) -> PasswordVerifiers | None:
        return self._verifiers if username == "mjl" else None

    async def conclude(self, username: str, mechanism: str, refusal: Reason | None) -> Outcome:
        self.refusals.append(refusal)
        return Accepted("mjl@example.org", "mjl") if refusal is None else SASLFailure(refusal)

    async def check_password(self, username: str, password: str, mechanism: str) -> Outcome:
        return SASLFailure(Reason.BAD_CREDENTIALS)

    async def external(self, username: str) -> Outcome:
        return SASLFailure(Reason.BAD_CREDENTIALS)


class AgentTests(SocketTestCase):
    """Our agent against our server."""

    def show(self, results: list[RecipientResult]) -> list[tuple[int, str]]:
        return [(r.reply.code, r.stage) for r in results]

    async def test_starttls_client_key_and_plain(self) -> None:
        """STARTTLS with a verified name, a client key, and AUTH PLAIN."""
        handlers = MemoryHandlers(sasl_start=lambda *_: OneUser())
        port = await self.serve(
            ServerTLS(server_context()), handlers, mode=Mode.SUBMISSION, mechanisms=("PLAIN",)
        )
        settings = ClientSettings(
            hello_name="client.example",
            tls=ClientTLS(client_creator(key=True)),
            exchange=lambda names, _: choose(
                names, Credentials("mjl", "secret"), bytes, preference=("PLAIN",)
            ),
        )
        results = await send_mail(
            reactor, self.endpoint(port), settings, envelope(require_tls=True), BytesSource(b"x\r\n")
        )
        self.assertEqual(self.show(results), [(250, ".")])
        self.assertTrue(handlers.messages[0].transaction.parameters.require_tls)
        info = next(c[1] for c in handlers.handlers[0].calls if c[0] == "tls_started")
        key = certificate().original.to_cryptography().public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.assertEqual(info.client_key_sha256, sha256(spki).digest())
        self.assertEqual(info.server_name, "mx.example")

    async def test_scram_bound_to_the_connection(self) -> None:
        """SCRAM-SHA-256-PLUS with our own SASL on both sides; a wrong password is 535 at AUTH."""
        backend = Backend()
        context = ServerContext(backend, os.urandom, Decoys(b"0123456789abcdef"), plus_offered=True)

        def start(mechanism: str, tls: Any) -> Any:
            return begin(mechanism, (mechanism,), evolve(context, bindings=tls.channel_bindings))

        handlers = MemoryHandlers(sasl_start=start)
        mechanisms = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN")
        port = await self.serve(
            ServerTLS(server_context()), handlers, mode=Mode.SUBMISSION, mechanisms=mechanisms
        )

        def exchange_with(password: str) -> Any:
            def exchange(names: list[str], tls: Any) -> Any:
                bindings = {k: v[0] for k, v in tls.channel_bindings.items()}
                return choose(names, Credentials("mjl", password), os.urandom, bindings=bindings)

            return exchange

        for password, expected in (("secret", [(250, ".")]), ("wrong", [(535, "AUTH")])):
            settings = ClientSettings(
                hello_name="client.example", tls=ClientTLS(client_creator()), exchange=exchange_with(password)
            )
            results = await send_mail(
                reactor, self.endpoint(port), settings, envelope(), BytesSource(b"x\r\n")
            )
            self.assertEqual(self.show(results), expected)
        self.assertEqual(
            [c[1] for c in handlers.handlers[0].calls if c[0] == "sasl_start"], ["SCRAM-SHA-256-PLUS"]
        )
        self.assertEqual(backend.refusals, [None, Reason.BAD_CREDENTIALS])

    async def test_implicit_tls_behind_a_proxy(self) -> None:
        """The PROXY header comes before the handshake, even in one segment with it."""
        port = await self.serve(
            ServerTLS(server_context(), implicit=True), proxy_networks=(ip_network("127.0.0.0/8"),)
        )

        class Proxied(TCP4ClientEndpoint):
            def connect(self, factory: Any) -> Any:
                def header(protocol: Any) -> Any:
                    return protocol

                make = factory.buildProtocol

                def build(address: Any) -> Any:
                    protocol = make(address)
                    made = protocol.connectionMade

                    def connection_made() -> None:
                        protocol.transport.write(b"PROXY TCP4 203.0.113.9 198.51.100.2 4660 25\r\n")
                        made()

                    protocol.connectionMade = connection_made
                    return protocol

                factory.buildProtocol = build
                return super().connect(factory).addCallback(header)

        settings = ClientSettings(hello_name="client.example", tls=ClientTLS(client_creator(), implicit=True))
        seen: list[Any] = []
        self.handlers.answers["connected"] = seen.append
        results = await send_mail(
            reactor, Proxied(reactor, "127.0.0.1", port), settings, envelope(), BytesSource(b"x\r\n")
        )
        self.assertEqual(self.show(results), [(250, ".")])
        self.assertEqual(str(seen[0].ip), "203.0.113.9")

    async def test_a_certificate_that_is_not_trusted(self) -> None:
        """It is a temporary failure at the stage TLS, and nothing is sent."""
        port = await self.serve(ServerTLS(server_context()))
        settings = ClientSettings(hello_name="client.example", tls=ClientTLS(client_creator(trust=False)))
        results = await send_mail(reactor, self.endpoint(port), settings, envelope(), BytesSource(b"x\r\n"))
        self.assertEqual(self.show(results), [(451, "TLS")])
        self.assertEqual(self.handlers.messages, [])

    async def test_tls_that_is_not_offered(self) -> None:
        """Required TLS fails, opportunistic TLS goes on in clear."""
        port = await self.serve()
        for required, expected in ((True, [(451, "TLS")]), (False, [(250, ".")])):
            settings = ClientSettings(
                hello_name="client.example", tls=ClientTLS(client_creator(), required=required)
            )
            results = await send_mail(
                reactor, self.endpoint(port), settings, envelope(), BytesSource(b"x\r\n")
            )
            self.assertEqual(self.show(results), expected)

    async def test_several_messages_in_a_session(self) -> None:
        """A session sends one message after the other, by DATA and by BDAT, large ones too, with back-pressure."""
        port = await self.serve()
        large = b"0123456789abcdef\r\n" * 500000
        for chunking in (False, True):
            settings = ClientSettings(hello_name="client.example", prefer_chunking=chunking)
            session = await connect(reactor, self.endpoint(port), settings)
            for message in (large, b"", b".\r\n", b"no line end"):
                results = await session.send(envelope(), BytesSource(message))
                self.assertEqual([r.reply.code for r in results], [250])
            results = await session.send(envelope(body="BINARYMIME"), BytesSource(b"a\nb\0\r"))
            self.assertEqual(self.show(results), [(250, "BDAT")])
            await session.quit()
        got = [m.octets for m in self.handlers.messages]
        self.assertEqual(got[0], large)
        self.assertEqual(got[5], large)
        self.assertEqual(got[1:5], [b"", b".\r\n", b"no line end\r\n", b"a\nb\0\r"])
        self.assertEqual(got[6:], [b"", b".\r\n", b"no line end", b"a\nb\0\r"])

    async def test_nobody_listens(self) -> None:
        """No connection is a temporary failure of every recipient at the stage CONNECT."""
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
            SMTPServerFactory(ServerSettings(hostname="x.example"), MemoryHandlers(), reactor)
        )
        number = port.getHost().port
        await port.stopListening()
        settings = ClientSettings(hello_name="c.example", timeouts=ClientTimeouts(connect=5))
        results = await send_mail(reactor, self.endpoint(number), settings, envelope(), BytesSource(b""))
        self.assertEqual(self.show(results), [(451, "CONNECT")])


@contextmanager
def output() -> Iterator[StringIO]:
    """What is printed."""
    with patch("sys.stdout", new_callable=StringIO) as out:
        yield out


class ExampleTests(SocketTestCase):
    """The examples run."""

    async def test_server_and_client(self) -> None:
        """The client sends to the server, which prints."""
        server = runpy.run_path(str(EXAMPLES / "smtp_server.py"))
        client = runpy.run_path(str(EXAMPLES / "smtp_client.py"))
        port = await server["main"](reactor, "tcp:0:interface=127.0.0.1")
        try:
            with output() as out:
                where = f"tcp:127.0.0.1:{port.getHost().port}"
                await client["main"](
                    reactor, where, "me@example.org", "you@example.org", message=b"Subject: hello\n\n"
                )
        finally:
            await port.stopListening()
        self.assertIn("From me@example.org to you@example.org\nSubject: hello", out.getvalue())
        self.assertIn("you@example.org delivered at .: 250 message accepted", out.getvalue())

    async def test_lmtp_server(self) -> None:
        """The LMTP server answers for each recipient."""
        server = runpy.run_path(str(EXAMPLES / "lmtp_server.py"))
        port = await server["main"](reactor, "tcp:0:interface=127.0.0.1")
        try:
            with output() as out:
                results = await send_mail(
                    reactor,
                    self.endpoint(port.getHost().port),
                    ClientSettings(hello_name="c.example", lmtp=True),
                    envelope(b"<a@example.net>", b"<full@example.net>", b"<b@example.net>"),
                    BytesSource(b"x\r\n"),
                )
        finally:
            await port.stopListening()
        self.assertEqual([r.reply.code for r in results], [250, 452, 250])
        self.assertEqual(out.getvalue(), "for a@example.net: 3 octets\nfor b@example.net: 3 octets\n")
