"""Certificates: choice by name, reload, tickets, client keys, channel binding; over real TLS in memory."""

from __future__ import annotations

import contextlib
import hashlib
import ssl as standard_ssl
import time
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test.iosim import FakeTransport, connect
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxtwisted.errors import ConfigurationError
from moxtwisted.sasl.agent import end_point_binding, public_key_sha256
from moxtwisted.server.certificates.binding import (
    channel_bindings,
    client_key_fingerprint,
    tls_description,
)
from moxtwisted.server.certificates.contexts import TLSProfile
from moxtwisted.server.certificates.files import CertificateFiles, load_pair, make_pair
from moxtwisted.server.certificates.handed import HandedCertificates
from moxtwisted.server.certificates.selfsigned import self_signed
from moxtwisted.server.certificates.store import CertificateStore, CertificateWatch, ServerTLS

NOW = 1_800_000_000.0

CLIENT_PEM, CLIENT_KEY_PEM = self_signed(("client.example",), now=NOW)
CLIENT = x509.load_pem_x509_certificate(CLIENT_PEM)


class _Talk(Protocol):
    """Says nothing; keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data


def _new_context() -> Any:
    return SSL.Context(SSL.TLS_CLIENT_METHOD)


@implementer(IOpenSSLClientConnectionCreator)
class _Client:
    """A client that trusts everybody and may show a certificate or resume a session."""

    def __init__(self, name: str | None, **options: Any) -> None:
        self.name = name
        self.session = options.get("session")
        self.context: Any = options.get("context") or _new_context()
        if options.get("context") is not None:
            return
        if options.get("version") == "1.2":
            self.context.set_max_proto_version(SSL.TLS1_2_VERSION)
        if options.get("version") == "1.1":
            self.context.set_max_proto_version(SSL.TLS1_1_VERSION)
            self.context.set_cipher_list(b"ALL:@SECLEVEL=0")
        if options.get("ciphers"):
            self.context.set_cipher_list(options["ciphers"])
        if options.get("alpn"):
            self.context.set_alpn_protos(options["alpn"])
        if options.get("certificate"):
            self.context.use_certificate(CLIENT)
            self.context.use_privatekey(load_pem_private_key(CLIENT_KEY_PEM, None))

    def clientConnectionForTLS(self, tlsProtocol: object) -> Any:
        """See L{IOpenSSLClientConnectionCreator}."""
        connection = SSL.Connection(self.context, None)
        if self.name is not None:
            connection.set_tlsext_host_name(self.name.encode())
        if self.session is not None:
            connection.set_session(self.session)
        return connection


class _Link:
    """A server and a client with a TLS handshake behind them."""

    def __init__(self, server: ServerTLS, client: _Client) -> None:
        clock = Clock()
        self.server = _Talk()
        self.client = _Talk()
        server_factory = TLSMemoryBIOFactory(server, False, Factory.forProtocol(lambda: self.server), clock)
        client_factory = TLSMemoryBIOFactory(client, True, Factory.forProtocol(lambda: self.client), clock)
        server_side: Any = server_factory.buildProtocol(None)
        client_side: Any = client_factory.buildProtocol(None)
        self.pump = connect(
            server_side,
            FakeTransport(server_side, isServer=True),
            client_side,
            FakeTransport(client_side, isServer=False),
        )
        self.pump.flush()
        # Something must have passed before both sides know that they are through, and for tickets to arrive.
        self.clock = clock
        self.client.transport.write(b"hello")  # type: ignore[union-attr]
        self.server.transport.write(b"welcome")  # type: ignore[union-attr]
        clock.advance(0.1)
        self.pump.flush()

    @property
    def certificate(self) -> x509.Certificate:
        """What the server showed."""
        handle: Any = self.client.transport.getHandle()  # type: ignore[union-attr]
        certificate: x509.Certificate = handle.get_peer_certificate(as_cryptography=True)
        return certificate

    @property
    def handle(self) -> Any:
        """The client's OpenSSL connection."""
        return self.client.transport.getHandle()  # type: ignore[union-attr]


@implementer(ILogObserver)
class _Events:
    """What was logged meanwhile."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.texts: list[str] = []
        globalLogPublisher.addObserver(self)
        case.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: Any) -> None:
        """Keep the text of our own events."""
        if str(event.get("log_namespace", "")).startswith("moxtwisted."):
            self.texts.append(event["log_format"].format(**event))


class CertificateTestCase(SynchronousTestCase):
    """A directory with certificates."""

    def setUp(self) -> None:
        """An empty directory and a clock."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.clock = Clock()
        self.clock.advance(NOW)

    def write(self, stem: str, *names: str, **options: Any) -> CertificateFiles:
        """A pair of files for these names."""
        options.setdefault("now", NOW)
        certificate, key = self_signed(names, **options)
        files = CertificateFiles(str(self.directory / f"{stem}.crt"), str(self.directory / f"{stem}.key"))
        Path(files.certificate).write_bytes(certificate)
        Path(files.key).write_bytes(key)
        return files

    def write_signed(self, stem: str, name: str, key_type: str) -> CertificateFiles:
        """A pair of files whose certificate is signed by an authority of its own, which follows it in the file."""
        files = self.write(stem, name, key_type=key_type)
        authority_pem, authority_key_pem = self_signed((f"authority of {stem}",), now=NOW)
        authority = x509.load_pem_x509_certificate(authority_pem)
        leaf = x509.load_pem_x509_certificate(Path(files.certificate).read_bytes())
        builder = (
            x509.CertificateBuilder()
            .subject_name(leaf.subject)
            .issuer_name(authority.subject)
            .public_key(leaf.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(leaf.not_valid_before_utc)
            .not_valid_after(leaf.not_valid_after_utc)
        )
        for extension in leaf.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        key: Any = load_pem_private_key(authority_key_pem, None)
        signed = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        Path(files.certificate).write_bytes(signed + authority_pem)
        return files

    def store(self, *files: CertificateFiles, **options: Any) -> CertificateStore:
        """A loaded store."""
        store = CertificateStore(files, self.clock, **options)
        store.load()
        return store


class HandshakeTests(CertificateTestCase):
    """What a connection gets."""

    def _shown(self, server: ServerTLS, name: str | None, **options: Any) -> tuple[str, ...]:
        certificate = _Link(server, _Client(name, **options)).certificate
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return tuple(extension.value.get_values_for_type(x509.DNSName))

    def test_names(self) -> None:
        """The certificate is chosen by the exact name, else by the wildcard, else it is the first."""
        server = self.store(
            self.write("first", "mail.example.org"),
            self.write("wild", "*.example.net"),
            self.write("exact", "a.example.net"),
        ).server(TLSProfile())
        verifyObject(IOpenSSLServerConnectionCreator, server)
        cases = {
            "mail.example.org": ("mail.example.org",),
            "A.Example.Net": ("a.example.net",),
            "b.example.net": ("*.example.net",),
            "c.b.example.net": ("mail.example.org",),
            "example.net": ("mail.example.org",),
            "elsewhere.example": ("mail.example.org",),
        }
        for name, want in cases.items():
            self.assertEqual(self._shown(server, name), want, name)
        self.assertEqual(self._shown(server, None), ("mail.example.org",))

    def test_both_kinds_of_key(self) -> None:
        """With an RSA and an ECDSA certificate for a name, a client gets the one that it can use."""
        server = self.store(
            self.write("rsa", "mail.example.org", key_type="rsa"), self.write("ec", "mail.example.org")
        ).server(TLSProfile())
        for ciphers, kind in (
            (b"ECDHE-RSA-AES128-GCM-SHA256", "RSA"),
            (b"ECDHE-ECDSA-AES128-GCM-SHA256", "EC"),
        ):
            link = _Link(server, _Client("mail.example.org", version="1.2", ciphers=ciphers))
            self.assertIn(kind, type(link.certificate.public_key()).__name__)
            both = [
                channel_bindings(link.server.transport),
                channel_bindings(link.client.transport, server=False),
            ]
            self.assertEqual(both[0], both[1])
            self.assertEqual(both[0]["tls-server-end-point"], (end_point_binding(link.certificate),))

    def test_versions(self) -> None:
        """TLS 1.3 and 1.2 work, 1.1 does not, and 1.3 can be made the least."""
        store = self.store(self.write("a", "mail.example.org"))
        server = store.server(TLSProfile())
        link = _Link(server, _Client(None))
        self.assertEqual(link.server.heard, b"hello")
        self.assertEqual(tls_description(link.server.transport), "TLSv1.3 TLS_AES_256_GCM_SHA384")
        self.assertTrue(
            tls_description(_Link(server, _Client(None, version="1.2")).server.transport).startswith(
                "TLSv1.2 "
            )
        )
        self.assertEqual(_Link(server, _Client(None, version="1.1")).server.heard, b"")
        strict = store.server(TLSProfile(minimum_version="1.3"))
        self.assertEqual(_Link(strict, _Client(None, version="1.2")).server.heard, b"")

    def test_ciphers(self) -> None:
        """A suite without forward secrecy is refused to users and taken on port 25."""
        store = self.store(self.write("a", "mail.example.org", key_type="rsa"))
        client = {"version": "1.2", "ciphers": b"AES128-GCM-SHA256"}
        self.assertEqual(_Link(store.server(TLSProfile()), _Client(None, **client)).server.heard, b"")
        self.assertEqual(
            _Link(store.server(TLSProfile.inbound()), _Client(None, **client)).server.heard, b"hello"
        )
        self.assertRaises(ConfigurationError, store.server, TLSProfile(ciphers="nonsense"))

    def test_application_protocol(self) -> None:
        """ALPN picks our first common protocol, and none in common is no failure."""
        server = self.store(self.write("a", "mail.example.org")).server(TLSProfile(alpn=(b"imap",)))
        link = _Link(server, _Client(None, alpn=[b"h2", b"imap"]))
        self.assertEqual(link.handle.get_alpn_proto_negotiated(), b"imap")
        link = _Link(server, _Client(None, alpn=[b"h2"]))
        self.assertEqual((link.handle.get_alpn_proto_negotiated(), link.server.heard), (b"", b"hello"))

    def test_client_key(self) -> None:
        """A client's key is known by its fingerprint, whoever signed it; without a certificate it is empty."""
        store = self.store(self.write("a", "mail.example.org"))
        asking = store.server(TLSProfile(request_client_certificate=True))
        for version in ("1.3", "1.2"):
            link = _Link(asking, _Client(None, certificate=True, version=version))
            self.assertEqual(client_key_fingerprint(link.server.transport), public_key_sha256(CLIENT).hex())
            link = _Link(asking, _Client(None, version=version))
            self.assertEqual(
                (client_key_fingerprint(link.server.transport), link.server.heard), ("", b"hello")
            )
        silent = store.server(TLSProfile())
        link = _Link(silent, _Client(None, certificate=True))
        self.assertEqual(client_key_fingerprint(link.server.transport), "")

    def test_channel_binding(self) -> None:
        """Both ends compute the same data, of the types that belong to the version, different for each connection."""
        server = self.store(self.write("a", "mail.example.org")).server(TLSProfile())
        types = {"1.3": "tls-exporter", "1.2": "tls-unique"}
        for version, name in types.items():
            links = [_Link(server, _Client(None, version=version)) for _ in range(2)]
            ends = [channel_bindings(link.server.transport) for link in links]
            for link, end in zip(links, ends, strict=True):
                self.assertEqual(end, channel_bindings(link.client.transport, server=False))
                self.assertEqual(set(end), {name, "tls-server-end-point"})
            self.assertNotEqual(ends[0][name], ends[1][name])
            self.assertEqual(ends[0]["tls-server-end-point"], ends[1]["tls-server-end-point"])

    def test_without_extended_master_secret(self) -> None:
        """A TLS 1.2 client without the extended master secret gets no tls-unique."""
        server = self.store(self.write("a", "mail.example.org")).server(TLSProfile())
        client = _Client(None, version="1.2")
        client.context.set_options(1)  # SSL_OP_NO_EXTENDED_MASTER_SECRET
        link = _Link(server, client)
        self.assertEqual(link.server.heard, b"hello")
        self.assertEqual(set(channel_bindings(link.server.transport)), {"tls-server-end-point"})

    def test_end_point_hash(self) -> None:
        """tls-server-end-point is the SHA-256 of a certificate signed with SHA-256."""
        self.assertEqual(
            end_point_binding(CLIENT), hashlib.sha256(CLIENT.public_bytes(Encoding.DER)).digest()
        )

    def test_without_tls(self) -> None:
        """A transport in clear has no bindings, no key and no description."""
        transport = FakeTransport(Protocol(), isServer=True)
        self.assertEqual(channel_bindings(transport), {})
        self.assertEqual(client_key_fingerprint(transport), "")
        self.assertEqual(tls_description(transport), "")

    def _resumes(
        self, server: ServerTLS, again: ServerTLS, version: str, *, certificate: bool = False
    ) -> bool:
        client = _Client("mail.example.org", version=version, certificate=certificate)
        first = _Link(server, client)
        session = first.handle.get_session()
        second = _Link(again, _Client("mail.example.org", context=client.context, session=session))
        self.assertEqual(second.server.heard, b"hello")
        if certificate:
            self.assertEqual(client_key_fingerprint(second.server.transport), public_key_sha256(CLIENT).hex())
        ends = [
            channel_bindings(second.server.transport),
            channel_bindings(second.client.transport, server=False),
        ]
        self.assertEqual(ends[0], ends[1])
        return bool(vars(SSL)["_lib"].SSL_session_reused(second.handle._ssl) == 1)

    def test_session_tickets(self) -> None:
        """Sessions resume where tickets are on, with a client key too, and not where they are off."""
        store = self.store(self.write("a", "mail.example.org"))
        on = store.server(TLSProfile(request_client_certificate=True))
        off = store.server(TLSProfile.inbound())
        for version in ("1.3", "1.2"):
            self.assertTrue(self._resumes(on, on, version))
            self.assertTrue(self._resumes(on, on, version, certificate=True))
            self.assertFalse(self._resumes(off, off, version))

    def test_resumed_with_two_certificates(self) -> None:
        """After resuming, both ends still agree about the server's certificate, whichever of two it was."""
        server = self.store(
            self.write("rsa", "mail.example.org", key_type="rsa"), self.write("ec", "mail.example.org")
        ).server(TLSProfile())
        for version, ciphers in (
            ("1.3", None),
            ("1.2", b"ECDHE-RSA-AES128-GCM-SHA256"),
            ("1.2", b"ECDHE-ECDSA-AES128-GCM-SHA256"),
        ):
            client = _Client("mail.example.org", version=version, ciphers=ciphers)
            # The first link must outlive the second: OpenSSL forbids to resume the session of a connection that was freed
            # without a shutdown.
            first = _Link(server, client)
            session = first.handle.get_session()
            link = _Link(server, _Client("mail.example.org", context=client.context, session=session))
            self.assertEqual(vars(SSL)["_lib"].SSL_session_reused(link.handle._ssl), 1)
            ours = channel_bindings(link.server.transport)
            theirs = channel_bindings(link.client.transport, server=False)
            self.assertEqual(set(ours), set(theirs))
            for name, (data,) in theirs.items():
                self.assertIn(data, ours[name])

    def test_chains(self) -> None:
        """Each certificate is sent with its own chain, alone or beside one of another kind."""
        files = [
            self.write_signed("rsa", "mail.example.org", "rsa"),
            self.write_signed("ec", "mail.example.org", "ecdsa"),
        ]
        suites = (b"ECDHE-RSA-AES128-GCM-SHA256", b"ECDHE-ECDSA-AES128-GCM-SHA256")
        for used in ([files[0]], [files[1]], files):
            server = self.store(*used).server(TLSProfile())
            for pair, ciphers in zip(files, suites, strict=True):
                if pair not in used:
                    continue
                link = _Link(server, _Client("mail.example.org", version="1.2", ciphers=ciphers))
                shown = link.handle.get_peer_cert_chain(as_cryptography=True)
                self.assertEqual(shown, x509.load_pem_x509_certificates(Path(pair.certificate).read_bytes()))
                self.assertEqual(len(shown), 2)

    def test_ticket_keys_are_renewed(self) -> None:
        """After the ticket time an old ticket leads to a full handshake."""
        store = self.store(self.write("a", "mail.example.org"), ticket_seconds=3600)
        server = store.server(TLSProfile())
        client = _Client("mail.example.org")
        first = _Link(server, client)
        session = first.handle.get_session()
        before = store.initial_context(server.profile)
        self.assertFalse(store.check())
        self.assertIs(store.initial_context(server.profile), before)
        self.clock.advance(3600)
        self.assertFalse(store.check())
        link = _Link(server, _Client("mail.example.org", context=client.context, session=session))
        self.assertEqual(vars(SSL)["_lib"].SSL_session_reused(link.handle._ssl), 0)
        self.assertEqual(link.server.heard, b"hello")

    def test_the_standard_library_as_client(self) -> None:
        """A verifying client of another make accepts a self-signed certificate that it trusts, by name and address."""
        files = self.write("a", "localhost", "127.0.0.1", now=time.time())
        server = self.store(files).server(TLSProfile())
        for name in ("localhost", "127.0.0.1"):
            context = standard_ssl.create_default_context(cafile=files.certificate)
            incoming, outgoing = standard_ssl.MemoryBIO(), standard_ssl.MemoryBIO()
            client = context.wrap_bio(incoming, outgoing, server_hostname=name)
            connection = server.serverConnectionForTLS(None)  # type: ignore[arg-type]
            connection.set_accept_state()
            for _ in range(4):
                with contextlib.suppress(standard_ssl.SSLWantReadError):
                    client.do_handshake()
                if outgoing.pending:
                    connection.bio_write(outgoing.read())
                with contextlib.suppress(SSL.WantReadError):
                    connection.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    incoming.write(connection.bio_read(65536))
            self.assertEqual(client.version(), "TLSv1.3")


class ReloadTests(CertificateTestCase):
    """Files that change while the server runs."""

    def test_new_files(self) -> None:
        """New files come into use for new connections, without a new creator; the old connection lives on."""
        files = self.write("a", "old.example")
        store = self.store(files)
        server = store.server(TLSProfile())
        old = _Link(server, _Client(None))
        self.assertFalse(store.check())
        self.write("a", "new.example")
        self.assertTrue(store.check())
        self.assertEqual(store.describe()[0].names, ("new.example",))
        self.assertIn("new.example", str(_Link(server, _Client(None)).certificate.subject))
        old.client.transport.write(b" again")  # type: ignore[union-attr]
        old.clock.advance(0.1)
        old.pump.flush()
        self.assertEqual(old.server.heard, b"hello again")

    def test_broken_files(self) -> None:
        """Broken new files leave the old certificate in use and are logged once for each change."""
        files = self.write("a", "old.example")
        store = self.store(files)
        server = store.server(TLSProfile())
        events = _Events(self)
        good = Path(files.certificate).read_bytes()
        Path(files.certificate).write_bytes(good[:100])
        self.assertFalse(store.check())
        self.assertFalse(store.check())
        self.assertEqual(len(events.texts), 1)
        self.assertIn(files.certificate, events.texts[0])
        self.assertIn("old.example", str(_Link(server, _Client(None)).certificate.subject))
        Path(files.certificate).unlink()
        self.assertFalse(store.check())
        self.assertEqual(len(events.texts), 2)
        Path(files.certificate).write_bytes(good)
        self.assertTrue(store.check())

    def test_only_one_file_replaced(self) -> None:
        """Between the replacement of the certificate and of the key nothing changes."""
        files = self.write("a", "old.example")
        store = self.store(files)
        certificate, key = self_signed(("new.example",), now=NOW)
        Path(files.certificate).write_bytes(certificate)
        self.assertFalse(store.check())
        self.assertEqual(store.describe()[0].names, ("old.example",))
        Path(files.key).write_bytes(key)
        self.assertTrue(store.check())
        self.assertEqual(store.describe()[0].names, ("new.example",))
        self.assertEqual(len(_Events(self).texts), 0)

    def test_expired_replacement(self) -> None:
        """An expired certificate does not replace a valid one."""
        files = self.write("a", "old.example")
        store = self.store(files)
        events = _Events(self)
        self.write("a", "old.example", now=NOW - 10 * 86400, days=1)
        self.assertFalse(store.check())
        self.assertIn("expired", events.texts[0])
        self.assertEqual(store.describe()[0].warning, "")

    def test_tickets_without_files(self) -> None:
        """Ticket keys are renewed from memory, even when the files are gone."""
        files = [self.write("a", "mail.example", key_type="rsa"), self.write("b", "mail.example")]
        store = self.store(*files, ticket_seconds=60)
        server = store.server(TLSProfile())
        for pair in files:
            Path(pair.certificate).unlink()
        store.check()
        before = store.initial_context(server.profile)
        self.clock.advance(60)
        store.check()
        self.assertIsNot(store.initial_context(server.profile), before)
        self.assertEqual(_Link(server, _Client(None)).server.heard, b"hello")

    def test_watch(self) -> None:
        """The watch looks at each interval while it runs, and an accident does not end it."""
        files = self.write("a", "old.example")
        store = self.store(files)
        watch = CertificateWatch(store, self.clock, interval_seconds=60)
        watch.startService()
        self.write("a", "new.example")
        self.clock.advance(59)
        self.assertEqual(store.describe()[0].names, ("old.example",))
        self.clock.advance(1)
        self.assertEqual(store.describe()[0].names, ("new.example",))
        self.patch(store, "check", lambda: 1 / 0)
        self.clock.advance(60)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(60)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class HandedTests(CertificateTestCase):
    """Certificates in a process that cannot read the files."""

    def receiver(self, owner: CertificateStore, **options: Any) -> HandedCertificates:
        """What a receiver has that was given the certificates over a socket; the files are gone."""
        handed = HandedCertificates(self.clock, **options)
        handed.use(self.passed_on(owner))
        for path in self.directory.iterdir():
            path.unlink()
        return handed

    def passed_on(self, owner: CertificateStore) -> Any:
        """As it comes out of MessagePack."""
        return msgspec.msgpack.decode(msgspec.msgpack.encode(owner.handed()))

    def test_handshake(self) -> None:
        """Connections have the same certificates, by name and with their chains, as in the process that read the files."""
        owner = self.store(
            self.write_signed("a", "mail.example.org", "ecdsa"),
            self.write("b", "*.example.net", key_type="rsa"),
            self.write_signed("c", "mail.example.org", "rsa"),
        )
        handed = self.receiver(owner)
        handed.load()
        self.assertEqual(handed.describe(), owner.describe())
        profile = TLSProfile()
        by_rsa, by_ecdsa = b"ECDHE-RSA-AES128-GCM-SHA256", b"ECDHE-ECDSA-AES128-GCM-SHA256"
        for name, ciphers, length in (
            ("mail.example.org", by_rsa, 2),
            ("mail.example.org", by_ecdsa, 2),
            ("x.example.net", by_rsa, 1),
            (None, by_ecdsa, 2),
        ):
            chains = []
            for store in (owner, handed):
                link = _Link(store.server(profile), _Client(name, version="1.2", ciphers=ciphers))
                chains.append(link.handle.get_peer_cert_chain(as_cryptography=True))
            self.assertEqual(chains[0], chains[1])
            self.assertEqual(len(chains[0]), length)

    def test_exchange(self) -> None:
        """New ones come into use for new connections, without a new creator; the old connection lives on."""
        owner = self.store(self.write("a", "old.example"))
        handed = HandedCertificates(self.clock)
        handed.use(self.passed_on(owner))
        owner.adopted.append(lambda: handed.use(self.passed_on(owner)))
        server = handed.server(TLSProfile())
        old = _Link(server, _Client(None))
        self.write("a", "new.example")
        self.assertFalse(handed.check())
        self.assertTrue(owner.check())
        self.assertEqual(handed.describe()[0].names, ("new.example",))
        self.assertIn("new.example", str(_Link(server, _Client(None)).certificate.subject))
        old.client.transport.write(b" again")  # type: ignore[union-attr]
        old.clock.advance(0.1)
        old.pump.flush()
        self.assertEqual(old.server.heard, b"hello again")

    def test_told(self) -> None:
        """Who wants to know is told when certificates came into use, and not when nothing or only ticket keys did."""
        files = self.write("a", "old.example")
        store = CertificateStore((files,), self.clock, ticket_seconds=60)
        told: list[str] = []
        store.adopted.append(lambda: told.append(store.describe()[0].names[0]))
        store.load()
        self.clock.advance(60)
        store.check()
        Path(files.certificate).write_bytes(b"broken")
        store.check()
        self.assertEqual(told, ["old.example"])
        self.write("a", "new.example")
        store.check()
        self.assertEqual(told, ["old.example", "new.example"])

    def test_tickets(self) -> None:
        """Ticket keys are renewed in time, and nothing else happens when it looks."""
        handed = self.receiver(self.store(self.write("a", "mail.example")), ticket_seconds=60)
        server = handed.server(TLSProfile())
        before = handed.initial_context(server.profile)
        self.clock.advance(59)
        self.assertFalse(handed.check())
        self.assertIs(handed.initial_context(server.profile), before)
        self.clock.advance(1)
        self.assertFalse(handed.check())
        self.assertIsNot(handed.initial_context(server.profile), before)
        self.assertEqual(_Link(server, _Client(None)).server.heard, b"hello")

    def test_before(self) -> None:
        """Before certificates were handed over there are no connections, and nothing is there to hand on."""
        handed = HandedCertificates(self.clock)
        self.assertFalse(handed.check())
        for call in (handed.load, handed.handed, lambda: handed.server(TLSProfile()), lambda: handed.use([])):
            self.assertRaises(ConfigurationError, call)

    def test_broken(self) -> None:
        """What cannot be used is refused by the names of its files, without a key; the old ones stay in use."""
        owner = self.store(self.write("a", "a.example"), self.write("b", "b.example"))
        (crt, key, certificate_pem, key_pem), other = owner.handed()
        handed = self.receiver(owner)
        server = handed.server(TLSProfile())
        for wrong in (
            (crt, key, other[2], key_pem),
            (crt, key, key_pem, key_pem),
            (crt, key, certificate_pem, certificate_pem),
            (crt, key, certificate_pem, key_pem[:-60]),
            (crt, key, b"", b""),
        ):
            error: ConfigurationError = self.assertRaises(ConfigurationError, handed.use, [wrong])
            self.assertTrue(crt in str(error) or key in str(error))
            for line in key_pem.decode().splitlines():
                self.assertNotIn(line, str(error))
            self.assertEqual(handed.describe(), owner.describe())
        self.assertIn("a.example", str(_Link(server, _Client(None)).certificate.subject))

    def test_pair_without_files(self) -> None:
        """A pair can be made of what another one tells of itself, and does not show its key."""
        pair = load_pair(self.write_signed("a", "a.example", "rsa"))
        same = make_pair(pair.files, pair.certificate_pem(), pair.key_pem())
        self.assertEqual(
            (same.leaf, same.chain, same.names, same.signature), (pair.leaf, pair.chain, pair.names, ())
        )
        self.assertNotIn("private_key", repr(same))


class FileTests(CertificateTestCase):
    """What is said of bad files."""

    def _problems(self, *files: CertificateFiles) -> tuple[str, ...]:
        error: ConfigurationError = self.assertRaises(
            ConfigurationError, CertificateStore(files, self.clock).load
        )
        return error.problems

    def test_all_problems_at_once(self) -> None:
        """Every bad file is named, with what is wrong with it."""
        good, other = self.write("good", "a.example"), self.write("other", "b.example")
        empty = self.directory / "empty"
        empty.write_bytes(b"nothing\n")
        missing = str(self.directory / "missing")
        problems = self._problems(
            good,
            CertificateFiles(missing, good.key),
            CertificateFiles(good.certificate, other.key),
            CertificateFiles(str(empty), good.key),
            CertificateFiles(good.certificate, str(empty)),
        )
        self.assertEqual(
            problems,
            (
                f"{missing}: certificate file cannot be read: No such file or directory",
                f"{other.key}: the private key does not belong to the certificate in {good.certificate}",
                f"{empty}: no PEM certificate in the file, or a damaged one",
                f"{empty}: no PEM private key in the file, or a damaged one",
            ),
        )

    def test_nothing_configured(self) -> None:
        """A store without files cannot be loaded, and one that was not loaded makes no connections."""
        self.assertEqual(self._problems(), ("TLS is wanted, but no certificate files are configured",))
        store = CertificateStore((self.write("a", "a.example"),), self.clock)
        self.assertEqual(store.describe(), ())
        self.assertRaises(ConfigurationError, store.server, TLSProfile())

    def test_keys_that_are_refused(self) -> None:
        """Encrypted keys and short RSA keys are refused in words."""
        files = self.write("a", "a.example")
        key = load_pem_private_key(Path(files.key).read_bytes(), None)
        form = (Encoding.PEM, serialization.PrivateFormat.PKCS8)
        Path(files.key).write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"x")))
        self.assertIn("encrypted", self._problems(files)[0])
        other = dsa.generate_private_key(2048)
        Path(files.key).write_bytes(other.private_bytes(*form, serialization.NoEncryption()))
        self.assertIn("neither RSA nor ECDSA", self._problems(files)[0])

    def test_other_refusals(self) -> None:
        """Short RSA keys and files that are far too large are refused in words."""
        files = self.write("a", "a.example")
        short = rsa.generate_private_key(65537, 1024)  # noqa: S505 it is to be refused
        form = (Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        Path(files.key).write_bytes(short.private_bytes(*form))
        self.assertIn("1024 bits", self._problems(files)[0])
        Path(files.key).write_bytes(b"x" * (1 << 20) + b"x")
        self.assertIn("larger than", self._problems(files)[0])

    def test_common_name(self) -> None:
        """A certificate without alternative names goes by its common name; Ed25519 keys work and have no end-point data."""
        key = ed25519.Ed25519PrivateKey.generate()
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Old.Example")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(CLIENT.not_valid_before_utc)
            .not_valid_after(CLIENT.not_valid_after_utc)
            .sign(key, None)
        )
        files = CertificateFiles(str(self.directory / "old.crt"), str(self.directory / "old.key"))
        Path(files.certificate).write_bytes(certificate.public_bytes(Encoding.PEM))
        form = (Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        Path(files.key).write_bytes(key.private_bytes(*form))
        server = self.store(self.write("a", "a.example"), files).server(TLSProfile())
        link = _Link(server, _Client("old.example"))
        self.assertEqual(link.certificate, certificate)
        self.assertEqual(set(channel_bindings(link.server.transport)), {"tls-exporter"})

    def test_one_file(self) -> None:
        """Certificate, chain and key may be in one file."""
        files = self.write("a", "a.example")
        both = self.directory / "both.pem"
        both.write_bytes(Path(files.certificate).read_bytes() + Path(files.key).read_bytes())
        pair = load_pair(CertificateFiles(str(both), str(both)))
        self.assertEqual((pair.names, pair.kind, pair.chain), (("a.example",), "ecdsa", ()))

    def test_expired_at_start(self) -> None:
        """An expired certificate is used at start, with a warning in the log and in the description."""
        events = _Events(self)
        store = self.store(self.write("a", "a.example", now=NOW - 10 * 86400, days=1))
        self.assertIn("the certificate has expired", store.describe()[0].warning)
        self.assertIn("the certificate has expired", events.texts[0])
        early = self.store(self.write("b", "a.example", now=NOW + 10 * 86400))
        self.assertIn("not valid yet", early.describe()[0].warning)

    def test_valid_one_preferred(self) -> None:
        """Of two certificates of a kind for a name the valid one is shown, whatever the order."""
        store = self.store(
            self.write("old", "a.example", now=NOW - 10 * 86400, days=1), self.write("new", "a.example")
        )
        certificate = _Link(store.server(TLSProfile()), _Client("a.example")).certificate
        self.assertGreater(certificate.not_valid_after_utc.timestamp(), NOW)

    def test_self_signed(self) -> None:
        """A self-signed certificate needs a name and a known type of key."""
        self.assertRaises(ValueError, self_signed, (), now=NOW)
        self.assertRaises(ValueError, self_signed, ("a",), now=NOW, key_type="dsa")
        self.assertEqual(load_pair(self.write("r", "a.example", key_type="rsa")).kind, "rsa")
