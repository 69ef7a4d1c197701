"""TLS over real sockets: STARTTLS, implicit TLS, SCRAM with channel binding."""

import imaplib
import os
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.ssl import CertificateOptions
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.protocol import IMAPServerFactory, ServerTLS
from moxtwisted.imap.settings import ServerSettings, Timeouts
from moxtwisted.sasl.client import Credentials, choose


def context() -> CertificateOptions:
    """A TLS context with a certificate that was made just now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return CertificateOptions(
        privateKey=PKey.from_cryptography_key(key),  # type: ignore[arg-type]  # its stubs forget EC
        certificate=X509.from_cryptography(certificate),
    )


class TLSTests(TestCase):
    timeout = 30

    async def serve(self, *, implicit: bool) -> int:
        mail = MemoryMail()
        for n in range(300):
            mail.add("INBOX", b"Subject: %d\r\n\r\n" % n + b"x" * 5000)
        self.factory = IMAPServerFactory(
            ServerSettings(hostname="localhost", timeouts=Timeouts(login_failure_pause=0.0, linger=0.2)),
            MemoryAuthenticator({"alice": ("secret", mail)}, os.urandom),
            reactor,
            ServerTLS(context(), implicit=implicit),
        )
        port: Any = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(self.factory)

        async def stop() -> None:
            await port.stopListening()
            await self.factory.shutdown()

        self.addCleanup(stop)
        number: int = port.getHost().port
        return number

    def client_context(self) -> ssl.SSLContext:
        made = ssl.create_default_context()
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made

    async def test_starttls(self) -> None:
        """Before STARTTLS there is no LOGIN; after it imaplib logs in and reads a mailbox of 1.5 MB."""
        port = await self.serve(implicit=False)

        def talk() -> tuple[Any, ...]:
            client = imaplib.IMAP4("127.0.0.1", port, timeout=20)
            before = client.capabilities
            try:
                client.login("alice", "secret")
                refused = ""
            except imaplib.IMAP4.error as e:
                refused = str(e)
            client.starttls(self.client_context())
            after = client.capabilities
            client.login("alice", "secret")
            client.select("INBOX")
            bodies = client.fetch("1:*", "(BODY.PEEK[])")[1]
            client.logout()
            return before, refused, after, bodies

        before, refused, after, bodies = await deferToThread(talk)
        self.assertIn("STARTTLS", before)
        self.assertIn("LOGINDISABLED", before)
        self.assertNotIn("AUTH=PLAIN", before)
        self.assertNotIn("AUTH=SCRAM-SHA-256-PLUS", before)
        self.assertIn("PRIVACYREQUIRED", refused)
        self.assertNotIn("STARTTLS", after)
        self.assertNotIn("LOGINDISABLED", after)
        self.assertIn("AUTH=PLAIN", after)
        self.assertIn("AUTH=SCRAM-SHA-256-PLUS", after)
        self.assertEqual(sum(isinstance(b, tuple) for b in bodies), 300)

    async def test_implicit(self) -> None:
        """With implicit TLS the greeting comes after the handshake, and LOGIN is there at once."""
        port = await self.serve(implicit=True)

        def talk() -> str:
            client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=self.client_context(), timeout=20)
            client.login("alice", "secret")
            return client.select("INBOX")[0]

        self.assertEqual(await deferToThread(talk), "OK")

    async def test_client_that_stays(self) -> None:
        """The end of the server does not wait for a client that has read BYE and keeps its connection: TLS could wait for ever."""
        port = await self.serve(implicit=True)
        client = await deferToThread(
            lambda: imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=self.client_context(), timeout=20)
        )
        self.addCleanup(client.shutdown)
        await deferToThread(client.login, "alice", "secret")
        await self.factory.shutdown()
        self.assertEqual(self.factory.connections, set())
        self.assertIn(b"BYE", await deferToThread(client.readline))

    async def test_injection(self) -> None:
        """What was sent in clear behind STARTTLS is not carried out under TLS: the connection ends."""
        port = await self.serve(implicit=False)

        def talk() -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
                sock.recv(65536)
                sock.sendall(b"a STARTTLS\r\nb LOGIN alice secret\r\n")
                received = b""
                while data := sock.recv(65536):
                    received += data
                return received

        received = await deferToThread(talk)
        self.assertIn(b"a BAD commands after STARTTLS must wait for TLS", received)
        self.assertNotIn(b"a OK", received)

    async def scram_plus(self, bindings: Callable[[Any], dict[str, bytes]], version: int) -> bytes:
        port = await self.serve(implicit=True)

        def talk() -> bytes:
            made = SSL.Context(SSL.TLS_METHOD)
            made.set_min_proto_version(version)
            made.set_max_proto_version(version)
            sock = socket.create_connection(("127.0.0.1", port), timeout=20)
            sock.settimeout(None)
            tls = SSL.Connection(made, sock)
            tls.set_connect_state()
            tls.do_handshake()
            tls.recv(65536)
            credentials = Credentials("alice", "secret")
            names = ("SCRAM-SHA-256-PLUS",)
            client = choose(names, credentials, os.urandom, bindings=bindings(tls))
            assert client is not None
            initial = b64encode(client.start() or b"")
            tls.sendall(b"a AUTHENTICATE SCRAM-SHA-256-PLUS " + initial + b"\r\n")
            answer = tls.recv(65536)
            while answer.startswith(b"+"):
                tls.sendall(b64encode(client.step(b64decode(answer[2:]))) + b"\r\n")
                answer = tls.recv(65536)
            sock.close()
            return answer

        answer: bytes = await deferToThread(talk)
        return answer

    async def test_scram_with_tls_exporter(self) -> None:
        """SCRAM-SHA-256-PLUS is bound to a TLS 1.3 connection by tls-exporter (RFC 9266)."""
        answer = await self.scram_plus(
            lambda tls: {"tls-exporter": tls.export_keying_material(b"EXPORTER-Channel-Binding", 32)},
            SSL.TLS1_3_VERSION,
        )
        self.assertTrue(answer.startswith(b"a OK [CAPABILITY"), answer)

    async def test_scram_with_tls_unique(self) -> None:
        """SCRAM-SHA-256-PLUS is bound to a TLS 1.2 connection by tls-unique (RFC 5929)."""
        answer = await self.scram_plus(lambda tls: {"tls-unique": tls.get_finished()}, SSL.TLS1_2_VERSION)
        self.assertTrue(answer.startswith(b"a OK [CAPABILITY"), answer)

    async def test_scram_bound_to_another(self) -> None:
        """Bound to another connection it is refused: somebody is in between."""
        answer = await self.scram_plus(lambda tls: {"tls-exporter": b"x" * 32}, SSL.TLS1_3_VERSION)
        self.assertTrue(answer.startswith(b"a NO [AUTHENTICATIONFAILED]"), answer)
