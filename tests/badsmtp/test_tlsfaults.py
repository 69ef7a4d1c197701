"""TLS that goes wrong: every row of its how-to, by Python's ssl; and certificates by themselves."""

from __future__ import annotations

import smtplib
import socket
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from moxtwisted.badsmtp.certificates import FALLBACK_NAME, Authority, Defect, certificate_name
from moxtwisted.badsmtp.service import BadSMTPService
from moxtwisted.badsmtp.settings import Settings
from moxtwisted.badsmtp.tlsfaults import TLS_FAULTS, Expected, TLSContexts, tls_fault
from moxtwisted.errors import ConfigurationError
from tests.badsmtp.howto import SMTP, literals, table

PAGE = SMTP.with_name("tls.rst")
#: How long we wait where nothing will come, in seconds.
IMPATIENCE = 0.5
NOW = 1_700_000_000.0


class CertificateTests(SynchronousTestCase):
    def test_names(self) -> None:
        """A certificate is for the first name that is one."""
        for candidates, name in (
            (("", "Mail.Example.ORG."), "mail.example.org"),
            (("[127.0.0.1]", "b.example"), "b.example"),
            (("127.0.0.1",), FALLBACK_NAME),
            (("a b", "-x.example", "ä.example", "x" * 64, "a..b"), FALLBACK_NAME),
            ((".".join(["x" * 60] * 5),), FALLBACK_NAME),
            (("localhost",), "localhost"),
        ):
            self.assertEqual(certificate_name(*candidates), name, candidates)

    def test_names_and_addresses(self) -> None:
        """Name and addresses are in the certificate, but for those that are for another name or have it in the subject only."""
        authority = Authority(lambda: NOW)
        for defect in Defect:
            leaf = authority.chain(defect, "mail.example.org", ["127.0.0.1", "::1"]).certificates[0]
            try:
                extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            except x509.ExtensionNotFound:
                self.assertIs(defect, Defect.NO_ALTERNATIVE_NAME)
                continue
            names = extension.value.get_values_for_type(x509.DNSName)
            addresses = extension.value.get_values_for_type(x509.IPAddress)
            self.assertEqual(names == ["mail.example.org"], defect is not Defect.WRONG_NAME)
            self.assertEqual(len(addresses), 0 if defect is Defect.WRONG_NAME else 2)

    def test_validity(self) -> None:
        """All are valid for a day from an hour before now, but for the one that was and the one that will be."""
        authority = Authority(lambda: NOW)
        for defect in Defect:
            leaf = authority.chain(defect, "x.example").certificates[0]
            valid = leaf.not_valid_before_utc.timestamp() <= NOW <= leaf.not_valid_after_utc.timestamp()
            self.assertEqual(valid, defect not in {Defect.EXPIRED, Defect.NOT_YET_VALID}, defect)
            self.assertLessEqual(leaf.not_valid_after_utc - leaf.not_valid_before_utc, _DAY)

    def test_contexts_are_bounded(self) -> None:
        """Many names do not fill the memory; a name that was used lately is not made again."""
        contexts = TLSContexts(Authority(lambda: NOW))
        fault = tls_fault("good")
        first = contexts.context(fault, "first.example", ())
        for n in range(600):
            contexts.context(fault, f"n{n}.example", ())
            self.assertIs(contexts.context(fault, "first.example", ()), first)
        self.assertLessEqual(len(contexts._contexts), 512)

    def test_renewal(self) -> None:
        """A server that runs for long has valid certificates all the same."""
        now = [NOW]
        contexts = TLSContexts(Authority(lambda: now[0]))
        fault = tls_fault("good")
        first = contexts.context(fault, "x.example", ())
        now[0] += 11 * 3600
        self.assertIs(contexts.context(fault, "x.example", ()), first)
        now[0] += 2 * 3600
        self.assertIsNot(contexts.context(fault, "x.example", ()), first)

    def test_bad_files(self) -> None:
        """A certificate that cannot be used is said to be so, with its name."""
        path = Path(self.mktemp())
        path.write_text("nonsense")
        error = self.assertRaises(
            ConfigurationError, TLSContexts, Authority(lambda: NOW), "", str(path), str(path)
        )
        self.assertIn(str(path), error.problems[0])

    def test_table(self) -> None:
        """Each fault has its row, with its ports, words and what a client must do."""
        rows = table("Ports", PAGE)
        self.assertEqual(len(rows), len(TLS_FAULTS))
        for fault, row in zip(TLS_FAULTS, rows, strict=True):
            starttls, implicit, name, what, expected, _ = row
            self.assertEqual(starttls, str(25700 + fault.number) if fault.starttls else "–")
            self.assertEqual(implicit, str(25800 + fault.number) if fault.implicit else "–")
            self.assertEqual(
                (literals(name), what, expected), ([fault.name], fault.what, fault.expected.value)
            )


_DAY = timedelta(hours=24)


class Live(TestCase):
    """All ports with TLS."""

    timeout = 300

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        settings = Settings.only(
            port=0, tls_port=0, starttls_port=0, tls_fault_port_start=0, implicit_tls_fault_port_start=0,
            imap_port=0, pop3_port=0, imaps_port=0, pop3s_port=0, tls_root_out=str(self.root),
        )  # fmt: skip
        self.service = BadSMTPService(reactor, settings)
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.ports = dict(self.service.ports)

    def context(self, fault_name: str = "") -> ssl.SSLContext:
        """A client's that knows the root and nothing else."""
        context = ssl.create_default_context(cafile=str(self.root))
        # The default, which Debian leaves to OpenSSL.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if fault_name == "wrong-alpn":
            context.set_alpn_protocols(["smtp"])
        return context

    def connect(self, name: str, fault_name: str, *, implicit: bool) -> smtplib.SMTP:
        """A client after the handshake. :raise OSError: it did not come to that."""
        patient = not fault_name.endswith("stall")
        seconds = 60 if patient else IMPATIENCE
        context = self.context(fault_name)
        if implicit:
            return smtplib.SMTP_SSL(
                "localhost", self.ports[name], "c.example", timeout=seconds, context=context
            )
        client = smtplib.SMTP("localhost", self.ports[name], "c.example", timeout=seconds)
        try:
            client.starttls(context=context)
        except BaseException:
            client.close()
            raise
        return client

    def verdict(self, name: str, fault_name: str, *, implicit: bool) -> str:
        """Empty when a message can be sent; else why not."""
        try:
            client = self.connect(name, fault_name, implicit=implicit)
            try:
                client.sendmail("a@b.example", ["c@d.example"], "Subject: x\r\n\r\n")
                client.quit()
            finally:
                client.close()
        except (OSError, smtplib.SMTPException) as error:
            return str(error) or repr(error)
        return ""


class HowToTests(Live):
    """The table of the page."""

    def test_rows_come_true(self) -> Deferred[None]:
        """Python's ssl says what each row has it say, with STARTTLS and without; nothing is sent where a client must not."""

        def run() -> None:
            for fault, row in zip(TLS_FAULTS, table("Ports", PAGE), strict=True):
                for prefix, there in (("starttls", fault.starttls), ("tls", fault.implicit)):
                    if not there:
                        continue
                    name = f"{prefix}-{fault.name}"
                    said = self.verdict(name, fault.name, implicit=prefix == "tls")
                    if row[5]:
                        self.assertIn(row[5].lower(), said.lower(), name)
                        self.assertNotIn(fault.expected, {Expected.ACCEPT, Expected.IGNORE})
                    else:
                        self.assertEqual(said, "", name)

        return deferToThread(run)

    def test_nothing_was_sent(self) -> Deferred[None]:
        """Only where the handshake was accepted did a message come in."""

        def run() -> None:
            for name in ("starttls-expired", "tls-wrong-name", "starttls-half", "tls-close"):
                self.verdict(name, name.partition("-")[2], implicit=name.startswith("tls-"))
            self.assertEqual(self.service.captured.messages(), ())
            self.verdict("starttls-good", "good", implicit=False)
            self.assertEqual(len(self.service.captured.messages()), 1)

        return deferToThread(run)


class StartTLSTests(Live):
    """What happens in clear."""

    def begin(self, name: str) -> socket.socket:
        """A connection that was greeted and has said EHLO."""
        connection = socket.create_connection(("localhost", self.ports[name]), timeout=60)
        self.addCleanup(connection.close)
        self.read(connection, b"220 ")
        connection.sendall(b"EHLO c.example\r\n")
        self.read(connection, b"250 ")
        return connection

    def read(self, connection: Any, last: bytes) -> bytes:
        """Until a line begins so and ends."""
        said = b""
        while not (b"\n" + said).rpartition(b"\n" + last)[1] or not said.endswith(b"\n"):
            octets = connection.recv(4096)
            if not octets:
                break
            said += octets
        return said

    def test_injected_reply(self) -> Deferred[None]:
        """Behind the 220 stands a reply to an EHLO that nobody said."""

        def run() -> None:
            connection = self.begin("starttls-injected-reply")
            connection.sendall(b"STARTTLS\r\n")
            said = self.read(connection, b"250 INJECTED")
            self.assertTrue(said.startswith(b"220 "), said)
            self.assertIn(b"250-AUTH PLAIN LOGIN\r\n", said)

        return deferToThread(run)

    def test_pipelined_commands(self) -> Deferred[None]:
        """What stood behind STARTTLS in clear is answered inside TLS."""

        def run() -> None:
            connection = self.begin("starttls-pipelined")
            connection.sendall(b"STARTTLS\r\nVRFY exists@x.example\r\n")
            self.assertEqual(self.read(connection, b"220 ").count(b"\r\n"), 1)
            under = self.context().wrap_socket(connection, server_hostname="localhost")
            self.addCleanup(under.close)
            self.assertIn(b"User exists", self.read(under, b"250 "))

        return deferToThread(run)

    def test_honest_server(self) -> Deferred[None]:
        """Elsewhere what stands behind STARTTLS is refused."""

        def run() -> None:
            connection = self.begin("starttls")
            connection.sendall(b"STARTTLS\r\nVRFY exists@x.example\r\n")
            self.assertTrue(self.read(connection, b"501 ").startswith(b"501"))

        return deferToThread(run)


class NameTests(Live):
    """For whom the certificates are."""

    def names(self, name: str, hello: str, server_hostname: str | None) -> tuple[str, ...]:
        """Those in the certificate of a port."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = socket.create_connection(("127.0.0.1", self.ports[name]), timeout=60)
        with connection:
            if not name.startswith("tls"):
                connection.recv(999)
                connection.sendall(f"EHLO {hello}\r\n".encode())
                while b"250 " not in connection.recv(9999):
                    pass
                connection.sendall(b"STARTTLS\r\n")
                connection.recv(999)
            with context.wrap_socket(connection, server_hostname=server_hostname) as under:
                der = under.getpeercert(binary_form=True)
        leaf = x509.load_der_x509_certificate(der or b"")
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return tuple(extension.value.get_values_for_type(x509.DNSName))

    def test_names(self) -> Deferred[None]:
        """SNI decides, else the name of EHLO, else it is badsmtp.test."""

        def run() -> None:
            for name, hello, server_hostname, expected in (
                ("starttls", "hello.example", "sni.example", "sni.example"),
                ("starttls", "hello.example", None, "hello.example"),
                ("starttls", "[127.0.0.1]", None, "badsmtp.test"),
                ("tls", "", "sni.example", "sni.example"),
                ("tls", "", None, "badsmtp.test"),
                ("starttls-expired", "hello.example", "sni.example", "sni.example"),
                ("starttls-wrong-name", "hello.example", "sni.example", "wrong.host.badsmtp.test"),
            ):
                self.assertEqual(self.names(name, hello, server_hostname), (expected,), (name, hello))

        return deferToThread(run)
