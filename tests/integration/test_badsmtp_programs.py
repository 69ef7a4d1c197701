"""BadSMTP's TLS ports and its IMAP and POP3 twins, by openssl, curl, fetchmail, getmail and imaplib."""

from __future__ import annotations

import imaplib
import mailbox
import os
import poplib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from moxtwisted.badsmtp.service import BadSMTPService
from moxtwisted.badsmtp.settings import Settings
from moxtwisted.badsmtp.tlsfaults import TLS_FAULTS, Expected, TLSFault
from tests.badsmtp.imapclients import make_surroundings

from .peers import locate, needs

#: How long a second of a fault lasts here.
PACE = 1e-4
#: What OpenSSL says of a certificate, where that is what is wrong; else it is the handshake.
VERDICTS = {
    "expired": "certificate has expired",
    "not-yet-valid": "certificate is not yet valid",
    "wrong-name": "hostname mismatch",
    "self-signed": "self-signed certificate",
    "unknown-ca": "unable to get local issuer certificate",
    "incomplete": "unable to get local issuer certificate",
    "not-a-ca": "invalid CA certificate",
    "wrong-usage": "unsuitable certificate purpose",
    "weak-key": "EE certificate key too weak",
    "weak-signature": "CA signature digest algorithm too weak",
}
#: Where nothing comes: programs are told how long to wait.
SILENT = {"stall", "half-stall"}
FETCHMAILRC = """\
poll 127.0.0.1 protocol POP3 port {port} uidl
  username "bob@x.example" password "any"
  sslproto ""
  keep
  mda "cat >> {folder}/fetched"
"""
GETMAILRC = """\
[retriever]
type = SimplePOP3Retriever
server = 127.0.0.1
port = {port}
username = bob@x.example
password = any

[destination]
type = Maildir
path = {maildir}/
{user}

[options]
read_all = true
delete = true
delivered_to = false
received = false
"""


class ProgramTestCase(TestCase):
    """A BadSMTP server with three messages to bob@x.example."""

    timeout = 600

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.root = self.folder / "root.pem"
        settings = Settings.only(
            port=0, tls_port=0, starttls_port=0, tls_fault_port_start=0, implicit_tls_fault_port_start=0,
            imap_port=0, pop3_port=0, imaps_port=0, pop3s_port=0, imap_greeting_fault_port_start=0,
            pop3_greeting_fault_port_start=0, tls_root_out=str(self.root),
        )  # fmt: skip
        self.service = BadSMTPService(reactor, settings, pace=PACE)
        for message in make_surroundings(reactor).captured.messages():
            self.service.surroundings.captured.keep(message)
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.ports = dict(self.service.ports)

    async def run_program(self, *command: str, stdin: bytes = b"") -> tuple[int, str]:
        """Run it: exit code, and all that it said."""
        # trial tells its workers our whole path in PYTHONPATH, which is nothing for a program with another Python
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment = {**own, "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        out, err, code = await getProcessOutputAndValue(
            locate(command[0]) or "", command[1:], env=environment, path=str(self.folder), stdinBytes=stdin
        )
        return code, (out + err).decode("utf-8", "replace")

    def rows(self) -> list[tuple[TLSFault, str, bool]]:
        """Each fault with the name of each port that has it, and whether its TLS is implicit."""
        found = [(fault, f"starttls-{fault.name}", False) for fault in TLS_FAULTS if fault.starttls]
        return found + [(fault, f"tls-{fault.name}", True) for fault in TLS_FAULTS if fault.implicit]


@needs("openssl")
class OpenSSLTests(ProgramTestCase):
    async def test_verdicts(self) -> None:
        """What openssl s_client says: it finds what is wrong with each certificate, and nothing with the good ones."""
        for fault, name, implicit in self.rows():
            if fault.name in SILENT or fault.name == "wrong-alpn":
                continue
            options = () if implicit else ("-starttls", "smtp")
            code, said = await self.run_program(
                "openssl", "s_client", "-connect", f"localhost:{self.ports[name]}", "-servername", "localhost",
                "-CAfile", str(self.root), "-verify_return_error", "-verify_hostname", "localhost", "-brief", *options,
                stdin=b"QUIT\r\n",
            )  # fmt: skip
            verdict = VERDICTS.get(fault.name)
            if verdict is not None:
                self.assertIn(verdict.lower(), said.lower(), name)
            elif fault.expected is Expected.ACCEPT:
                self.assertEqual(code, 0, f"{name}: {said}")
                self.assertIn("Verification: OK", said, name)

    async def test_nothing_else_is_wrong(self) -> None:
        """Who does not mind the one thing that is wrong with a port finds it in order."""
        careless = ("-cipher", "ALL:@SECLEVEL=0")
        for name, options in (
            ("tls-1.0", ("-tls1", *careless)),
            ("tls-1.1", ("-tls1_1", *careless)),
            ("no-shared-cipher", ("-tls1_2", "-cipher", "eNULL:@SECLEVEL=0")),
            ("weak-key", careless),
            ("weak-signature", careless),
            ("wrong-alpn", ()),
        ):
            code, said = await self.run_program(
                "openssl", "s_client", "-connect", f"localhost:{self.ports['tls-' + name]}", "-servername", "localhost",
                "-CAfile", str(self.root), "-verify_return_error", "-verify_hostname", "localhost", "-brief", *options,
                stdin=b"QUIT\r\n",
            )  # fmt: skip
            self.assertEqual(code, 0, f"{name}: {said}")
            self.assertIn("Verification: OK", said, name)


@needs("curl")
class CurlTests(ProgramTestCase):
    def url(self, scheme: str, name: str, rest: str = "") -> str:
        """Of one of our ports."""
        return f"{scheme}://localhost:{self.ports[name]}/{rest}"

    async def test_tls(self) -> None:
        """A message is sent where it may, and nowhere else."""
        letter = self.folder / "letter"
        letter.write_bytes(b"Subject: from curl\r\n\r\n")
        before = len(self.service.captured.messages())
        for fault, name, implicit in self.rows():
            patience = ("--max-time", "1") if fault.name in SILENT else ("--max-time", "60")
            code, said = await self.run_program(
                "curl", "--silent", "--show-error", "--cacert", str(self.root), "--ssl-reqd", *patience,
                self.url("smtps" if implicit else "smtp", name), "--mail-from", "a@b.example", "--mail-rcpt", "c@d.example",
                "--upload-file", str(letter),
            )  # fmt: skip
            count = len(self.service.captured.messages()) - before
            before += count
            if fault.name in {"no-san", "wrong-alpn"} or fault.expected is Expected.IGNORE:
                continue  # libraries differ, curl asks for no protocol, and who hangs up is right, too
            accepted = fault.expected is Expected.ACCEPT
            self.assertEqual((code == 0, count), (accepted, int(accepted)), f"{name}: {code} {said}")

    async def test_imap(self) -> None:
        """A message is read by IMAP, also with TLS; curl tells the faults that lose something from others."""
        expected = self.service.captured.messages()[0].content.decode()
        for scheme, name in (("imap", "imap"), ("imaps", "imaps")):
            code, said = await self.run_program(
                "curl",
                "--silent",
                "--show-error",
                "--insecure",
                "--user",
                "bob@x.example:any",
                self.url(scheme, name, "INBOX;UID=1"),
            )
            self.assertEqual((code, said.replace("\r\n", "\n")), (0, expected.replace("\r\n", "\n")), name)
        for fault, survives in (
            ("no", False), ("bye", False), ("lost", False), ("cut", False), ("close", False), ("literallong", False), ("drip", True),
            ("unknown", True),
        ):  # fmt: skip
            user = f"bob+fetch.{fault}@x.example:any"
            code, said = await self.run_program(
                "curl",
                "--silent",
                "--show-error",
                "--max-time",
                "60",
                "--user",
                user,
                self.url("imap", "imap", "INBOX;UID=1"),
            )
            self.assertEqual(code == 0, survives, f"{fault}: {said}")

    async def test_pop3(self) -> None:
        """A message is read by POP3, also with TLS; curl tells the faults that lose something from others."""
        expected = self.service.captured.messages()[0].content.decode()
        for scheme, name in (("pop3", "pop3"), ("pop3s", "pop3s")):
            code, said = await self.run_program(
                "curl",
                "--silent",
                "--show-error",
                "--insecure",
                "--user",
                "bob@x.example:any",
                self.url(scheme, name, "1"),
            )
            self.assertEqual((code, said.replace("\r\n", "\n")), (0, expected.replace("\r\n", "\n")), name)
        for wish, survives in (
            ("retr.err", False), ("retr.lost", False), ("retr.close", False), ("retr.drip", True), ("list.count", True),
            ("pass.badlogin+auth.badlogin", False),
        ):  # fmt: skip
            user = f"bob+{wish}@x.example:any"
            code, said = await self.run_program(
                "curl",
                "--silent",
                "--show-error",
                "--max-time",
                "60",
                "--user",
                user,
                self.url("pop3", "pop3", "1"),
            )
            self.assertEqual(code == 0, survives, f"{wish}: {said}")


@needs("fetchmail")
class FetchmailTests(ProgramTestCase):
    async def test_pop3(self) -> None:
        """It fetches each message once, by its unique identifier."""
        path = self.folder / "fetchmailrc"
        path.write_text(FETCHMAILRC.format(port=self.ports["pop3"], folder=self.folder))
        path.chmod(0o600)
        options = (
            "--nodetach",
            "--nosyslog",
            "--pidfile",
            str(self.folder / "pid"),
            "--idfile",
            str(self.folder / "ids"),
        )
        code, said = await self.run_program("fetchmail", "--fetchmailrc", str(path), *options)
        self.assertEqual(code, 0, said)
        fetched = (self.folder / "fetched").read_bytes()
        for number in range(3):
            self.assertEqual(fetched.count(f"hello {number}".encode()), 1, said)
        code, said = await self.run_program("fetchmail", "--fetchmailrc", str(path), *options)
        self.assertEqual(code, 1, said)


@needs("getmail")
class GetmailTests(ProgramTestCase):
    async def test_pop3(self) -> None:
        """It fetches all messages, and deletes them."""
        above = Path(tempfile.mkdtemp(prefix="moxtwisted-"))
        self.addCleanup(shutil.rmtree, above)
        maildir = mailbox.Maildir(above / "Maildir")
        user = ""
        if os.geteuid() == 0:
            # It refuses to write as root.
            user = "user = nobody"
            for path in (above, above / "Maildir", *(above / "Maildir").iterdir()):
                shutil.chown(path, "nobody")
        values = {"port": self.ports["pop3"], "maildir": above / "Maildir", "user": user}
        (self.folder / "getmailrc").write_text(GETMAILRC.format(**values))
        code, said = await self.run_program(
            "getmail", "--getmaildir", str(self.folder), "--rcfile", "getmailrc"
        )
        self.assertEqual(code, 0, said)
        self.assertEqual(len(maildir), 3, said)
        self.assertEqual(self.service.captured.messages(), ())


class ImaplibTests(ProgramTestCase):
    async def test_greetings(self) -> None:
        """The ports with other greetings are there: the first of IMAP says BYE, the first of POP3 -ERR."""

        def run() -> None:
            with self.assertRaisesRegex(imaplib.IMAP4.error, "pulled the plug"):
                imaplib.IMAP4("127.0.0.1", self.ports["imap-greeting-fault-0"], timeout=60)
            with self.assertRaisesRegex(poplib.error_proto, "SYS/TEMP"):
                poplib.POP3("127.0.0.1", self.ports["pop3-greeting-fault-0"], timeout=60)

        await deferToThread(run)

    async def test_imap(self) -> None:
        """Python's imaplib reads, marks and waits."""

        def run() -> None:
            with imaplib.IMAP4("127.0.0.1", self.ports["imap"], timeout=60) as client:
                client.starttls()
                client.login("bob@x.example", "any")
                self.assertEqual(client.select("INBOX")[1], [b"3"])
                found: Any = client.fetch("1", "(BODY.PEEK[])")[1]
                self.assertEqual(found[0][1], self.service.captured.messages()[0].content)
                self.assertEqual(client.store("1", "+FLAGS", "\\Seen")[0], "OK")
                self.assertEqual(client.search(None, "UNSEEN")[1], [b"2 3"])

        await deferToThread(run)
