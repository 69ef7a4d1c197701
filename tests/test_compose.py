"""The composed server in a process of its own, as twistd runs it."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import rmtree
from typing import Any, ClassVar, Self

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.server.certificates.selfsigned import self_signed
from tests.keepers import KEEPERS, write_keepers

ROOT = Path(__file__).resolve().parent.parent
#: A loopback address that no other test process has: 127.192.0.1 to 127.254.255.254.
IP = f"127.{192 + os.getpid() // 64516 % 62}.{os.getpid() // 254 % 254}.{os.getpid() % 254 + 1}"
WAIT_SECONDS = 30.0
TWISTD = "from twisted.scripts.twistd import run; run()"
#: All that a server may import later: for a Python that lies where only root can read (pyenv below /root).
PRELOAD = """
import importlib, pkgutil
import encodings.ascii, encodings.idna, encodings.latin_1, encodings.punycode, encodings.utf_8, moxtwisted
import argon2.low_level, cryptography.x509, idna, stringprep, uuid
for module in pkgutil.walk_packages(moxtwisted.__path__, "moxtwisted."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
LETTER = b"From: a@client.example\r\nSubject: hello\r\n\r\nIt works.\r\n"


def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _others_can_read(path: Path) -> bool:
    return all(above.stat().st_mode & 0o001 for above in path.parents)


class Conversation:
    """A client that reads and writes lines."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(WAIT_SECONDS)
        self.connection = connection
        self.octets = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()

    def tls(self) -> bytes:
        """Begin TLS; the server's certificate."""
        wrapped = unverified().wrap_socket(self.connection)
        self.connection = wrapped
        return wrapped.getpeercert(binary_form=True) or b""

    def line(self) -> str:
        """The next line; empty at the end."""
        while b"\n" not in self.octets:
            more = self.connection.recv(65536)
            if not more:
                break
            self.octets += more
        line, _, self.octets = self.octets.partition(b"\n")
        return line.decode().rstrip("\r")

    def say(self, *lines: str) -> None:
        """Send lines."""
        self.connection.sendall("".join(line + "\r\n" for line in lines).encode())

    def smtp(self, *lines: str) -> str:
        """Send a command; the last line of its answer."""
        self.say(*lines)
        while (answer := self.line())[3:4] == "-":
            pass
        return answer

    def imap(self, command: str) -> str:
        """Send a command; the whole answer."""
        self.say(f"t {command}")
        lines = [self.line()]
        while lines[-1] and not lines[-1].startswith("t "):
            lines.append(self.line())
        return "\n".join(lines)


class ComposeCase(SynchronousTestCase):
    """A server of its own.

    :cvar keepers: how many it has.
    :cvar process_group: 0: its processes are a group of their own.
    """

    keepers: ClassVar[int] = KEEPERS
    process_group: ClassVar[int | None] = None
    more = ""

    def setUp(self) -> None:
        """A configuration, made by localserve."""
        self.directory = Path(tempfile.mkdtemp(prefix="moxmail-"))
        self.addCleanup(rmtree, self.directory, True)
        self.home = self.directory / "server"
        self.path = self.home / "mox.conf"
        self.moxmail("localserve", "--dir", str(self.home), "--ip", IP, "--init-only")
        if self.keepers:
            write_keepers(self.path, self.keepers)

    def moxmail(self, *arguments: str, said: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "moxtwisted.cli", "-c", str(self.path), *arguments],
            cwd=ROOT, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False, input=said,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def edit(self, old: str, new: str, path: Path | None = None) -> None:
        path = path or self.path
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new, 1))

    def messages(self, account: str, mailbox: str = "INBOX") -> int:
        """How many an account has there, by its own database."""
        from moxtwisted.config.load import load
        from moxtwisted.config.storekey import configured_key
        from moxtwisted.store.database import connect
        from moxtwisted.store.keys import MasterKey

        loaded = load(self.path)
        secret = configured_key(loaded)
        key = MasterKey(secret).derive(f"accounts/{account}") if secret is not None else None
        connection = connect(loaded.data_directory / "accounts" / f"{account}.db", key)
        try:
            sql = "SELECT count(*) FROM message JOIN mailbox ON mailbox.id = message.mailbox WHERE mailbox.name = ?"
            ((count,),) = connection.execute(sql, (mailbox,)).fetchall()
        finally:
            connection.close()
        return int(count)

    def start(self, before: str = "") -> subprocess.Popen[bytes]:
        """Run twistd, after some code."""
        return self.run_python("-c", before + TWISTD, "-n", "--pidfile=", "moxmail", "-c", str(self.path))

    def run_python(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Run a server; what it prints is in ``log``."""
        self.log = self.directory / "log"
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT, stdin=stdin, stdout=log, stderr=subprocess.STDOUT, process_group=self.process_group,
            )  # fmt: skip
        self.addCleanup(self.end, child)
        return child

    def end(self, child: subprocess.Popen[bytes]) -> int:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        try:
            return child.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()

    def connect(self, port: int, child: subprocess.Popen[bytes]) -> Conversation:
        """A connection, once the server listens."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline and child.poll() is None:
            try:
                return Conversation(socket.create_connection((IP, port), timeout=WAIT_SECONDS))
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"nobody listens on port {port}:\n{self.log.read_text()}")

    def until(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}:\n{self.log.read_text()}")
            time.sleep(0.05)


class ServerTests(ComposeCase):
    def test_balancer_and_lmtp(self) -> None:
        """Behind a load balancer SMTP and IMAP, also with TLS from the first octet, see the client; LMTP is on a unix socket;
        the log has the form that was chosen."""
        self.edit('ips = ["', 'proxy_protocol_from = ["127.0.0.0/8"]\nips = ["')
        self.edit("[listeners.local.lmtp]\nport = 1024", '[listeners.local.lmtp]\npath = "lmtp"')
        self.edit("[listeners.local]\n", '[log]\nformat = "json"\n\n[listeners.local]\n')
        child = self.start()
        header = f"PROXY TCP4 203.0.113.9 {IP} 4711 25"
        with self.connect(1025, child) as client:
            client.say(header)
            self.assertTrue(client.line().startswith("220 "))
            client.smtp("EHLO client.example")
            client.smtp("MAIL FROM:<a@client.example>")
            self.assertIn("250", client.smtp("RCPT TO:<mox@localhost>"))
            client.smtp("DATA")
            self.assertIn("250 2.", client.smtp(LETTER.decode() + "."))
        path = self.home / "data" / "lmtp"
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o660)
        local = socket.socket(socket.AF_UNIX)
        local.connect(str(path))
        with Conversation(local) as client:
            self.assertTrue(client.line().startswith("220 "))
            client.smtp("LHLO me")
            client.smtp("MAIL FROM:<>")
            client.smtp("RCPT TO:<mox@localhost>")
            client.smtp("DATA")
            self.assertIn("250 2.", client.smtp(LETTER.decode() + "."))
        for port in (1143, 1993):
            with self.connect(port, child) as client:
                client.say(header)
                if port == 1993:
                    client.tls()
                self.assertTrue(client.line().startswith("* OK"))
                if port == 1143:
                    self.assertIn("t OK", client.imap("STARTTLS"))
                    client.tls()
                self.assertIn("t OK", client.imap("LOGIN mox@localhost moxmoxmox"))
                answer = client.imap("STATUS INBOX (MESSAGES)")
                self.assertIn("MESSAGES 2", answer)
                client.imap("SELECT INBOX")
                self.assertIn("[203.0.113.9]", client.imap("FETCH 1 BODY.PEEK[HEADER]"))
        with self.connect(1143, child) as client:
            client.say("t CAPABILITY")
            with self.assertRaises((ConnectionError, AssertionError)):
                self.assertNotEqual(client.line(), "")
        self.assertIn(self.end(child), (0, -signal.SIGTERM))
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        self.assertGreater(len(lines), 5)
        self.assertNotIn("Traceback", self.log.read_text())

    def test_localserve(self) -> None:
        """That it serves is said when all ports are, IMAP too."""
        child = self.run_python("-m", "moxtwisted.cli", "localserve", "--dir", str(self.home))
        self.until(lambda: "moxmail is serving" in self.log.read_text(), "it does not serve")
        before = self.log.read_text().partition("moxmail is serving")[0]
        for what in ("smtp", "submission", "submissions", "lmtp", "imap", "imaps"):
            self.assertIn(f"listening: {what} (local)", before)
        self.assertEqual(self.end(child), 0)

    def test_reload_and_stop(self) -> None:
        """A new certificate is shown after SIGHUP; an account that is switched off loses its sessions; a message in transfer is
        finished before the server stops."""
        child = self.start()
        with self.connect(1993, child) as client:
            first = client.tls()
        certificate, key = self_signed(["localhost"], now=time.time())
        (self.home / "tls" / "localhost.key").write_bytes(key)
        (self.home / "tls" / "localhost.crt").write_bytes(certificate)
        child.send_signal(signal.SIGHUP)

        def shown() -> bytes:
            with self.connect(1993, child) as other:
                return other.tls()

        self.until(lambda: shown() != first, "no new certificate")
        self.assertEqual(ssl.DER_cert_to_PEM_cert(shown()).split(), certificate.decode().split())

        with self.connect(1993, child) as client:
            client.tls()
            client.line()
            self.assertIn("t OK", client.imap("LOGIN mox@localhost moxmoxmox"))
            self.edit(
                'domain = "localhost"\n',
                'domain = "localhost"\ndisabled = "closed today"\n',
                self.home / "domains.conf",
            )
            self.assertIn("* BYE", client.line())
        with self.connect(1993, child) as client:
            client.tls()
            client.line()
            self.assertIn("closed today", client.imap("LOGIN mox@localhost moxmoxmox"))

        with self.connect(1025, child) as busy, self.connect(1025, child) as idle:
            for client in (busy, idle):
                client.line()
                client.smtp("EHLO client.example")
            busy.smtp("MAIL FROM:<a@client.example>")
            busy.smtp("RCPT TO:<mox@localhost>")
            busy.smtp("DATA")
            busy.say("Subject: at the last moment", "")
            child.send_signal(signal.SIGTERM)
            self.assertTrue(idle.line().startswith("421"))
            self.assertIn("250 2.", busy.smtp("text", "."))
            self.assertTrue(busy.line().startswith("421"))
        self.assertIn(child.wait(WAIT_SECONDS), (0, -signal.SIGTERM))
        self.assertNotIn("Traceback", self.log.read_text())
        self.assertIn('"messages": 1', self.moxmail("account", "list", "--json"))

    def test_other_user(self) -> None:
        """Started as root with another user in the configuration, all new files are that user's."""
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        nobody = pwd.getpwnam("nobody")
        rmtree(self.home / "data")
        self.directory.chmod(0o755)
        self.home.chmod(0o755)
        for path in (self.path, self.home / "domains.conf"):
            path.chmod(0o644)
        self.edit('hostname = "localhost"\n', 'hostname = "localhost"\nuser = "nobody"\n')
        self.edit("[listeners.local.lmtp]\nport = 1024", '[listeners.local.lmtp]\npath = "lmtp"')
        child = self.start("" if _others_can_read(Path(sys.executable).resolve()) else PRELOAD)
        self.until(
            lambda: "listening: imaps" in self.log.read_text() or child.poll() is not None, "not listening"
        )
        with self.connect(1025, child) as client:
            client.line()
            client.smtp("EHLO client.example")
            client.smtp("MAIL FROM:<a@client.example>")
            self.assertIn("250", client.smtp("RCPT TO:<mox@localhost>"))
            client.smtp("DATA")
            self.assertIn("250 2.", client.smtp(LETTER.decode() + "."))
        files = [self.home / "data", *(self.home / "data").rglob("*")]
        self.assertGreater(len(files), 6)
        self.assertEqual({path.stat().st_uid for path in files if path.exists()}, {nobody.pw_uid})
        self.assertEqual({path.stat().st_mode & 0o007 for path in files if path.exists()}, {0})
        self.assertIn(self.end(child), (0, -signal.SIGTERM))
        self.assertNotIn("Traceback", self.log.read_text())


class RefusalTests(ComposeCase):
    def refuses(self, *words: str, status: int = 78) -> None:
        """The server ends with a status, says why in a line, and changes nothing."""
        data = self.home / "data"
        before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in data.rglob("*")}
        child = self.start()
        self.assertEqual(child.wait(WAIT_SECONDS), status)
        log = self.log.read_text()
        for word in words:
            self.assertIn(word, log)
        self.assertNotIn("Traceback", log)
        self.assertLess(len(log.splitlines()), 6, log)
        after = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in data.rglob("*")}
        self.assertEqual(before, after)
        self.log.unlink()

    def test_key(self) -> None:
        """A wrong key, and none, are refused."""
        key = self.home / "store.key"
        text = key.read_text()
        key.unlink()
        self.refuses("store.key")
        word = text.split()[-1]
        key.write_text(text.replace(word, word[::-1]))
        self.refuses("key")

    def test_other_key(self) -> None:
        """The refusal of another key names its file and the data directory."""
        from moxtwisted.config.storekey import file_text, new_key

        (self.home / "store.key").write_bytes(file_text(new_key()))
        self.refuses(str(self.home / "store.key"), f"{self.home / 'data'}:", "another key")

    def test_user_and_data_directory(self) -> None:
        """A user that does not exist and a data directory that is none are refused."""
        self.edit('hostname = "localhost"\n', 'hostname = "localhost"\nuser = "nobody-of-that-name"\n')
        self.refuses("user:", "no user nobody-of-that-name")
        self.edit('user = "nobody-of-that-name"\n', "")
        self.edit('data_directory = "data"', 'data_directory = "/etc/passwd"')
        self.refuses("data_directory", "/etc/passwd is no directory")

    def test_in_use(self) -> None:
        """A port that is taken and a certificate that cannot be read are refused; so is a data directory that another process uses, with a
        status for which a service manager tries again: a command may have it while a server that was killed is started."""
        import fcntl

        with (self.home / "data" / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refuses("in use by another process", status=75)
        with socket.create_server((IP, 1143)):
            self.refuses("1143")
        (self.home / "tls" / "localhost.crt").write_text("no certificate")
        self.refuses("localhost.crt")
