"""A real server for real clients: ``moxmail localserve`` in a child process, on a loopback address that no other test process uses.

A test case gets the server of its process, started on first use and ended with the process::

    class MyTests(LiveTestCase):
        def test_it(self) -> None:
            '''A sentence that is the fact.'''
            letter = self.letter()
            self.succeeds("swaks", "--server", self.server.ip, "--port", "1025", ..., stdin=letter)
            self.arrived(letter)

Mail for any address goes to ``mox@localhost``, so a test finds its own by the Message-ID that ``letter`` made up. After each test
the server's output is read for tracebacks: a server that answered well and logged one has failed. And the consistency checker
looks at its databases.
"""

from __future__ import annotations

import atexit
import ctypes
import imaplib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from shutil import rmtree

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.load import load
from moxtwisted.config.storekey import configured_key
from moxtwisted.store.consistency import check
from moxtwisted.store.database import connect, databases
from moxtwisted.store.keys import MasterKey
from tests.keepers import ALSO_LOCALSERVE, KEEPERS, write_keepers

ROOT = Path(__file__).resolve().parent.parent.parent
ACCOUNT = "mox@localhost"
PASSWORD = "moxmoxmox"

SMTP, SUBMISSION, SUBMISSIONS, LMTP = 1025, 1587, 1465, 1024
IMAP, IMAPS = 1143, 1993

#: How long the server may take to greet, and a client to do its work, before the test gives up.
START_SECONDS = 30.0
CLIENT_SECONDS = 120.0

PR_SET_PDEATHSIG = 1
PROGRAM = "import sys; from moxtwisted.cli.main import main; sys.exit(main())"


def own_address(process: int) -> str:
    """A loopback address that belongs to this process number alone: 127.64.0.1 to 127.127.255.254."""
    high, low = divmod(process, 254)
    upper, middle = divmod(high, 256)
    return f"127.{64 + upper % 64}.{middle}.{low + 1}"


def end_with_parent() -> None:
    """Run in the child: have the kernel end it when the test process dies, however that dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class LiveServer:
    """One running ``moxmail localserve``.

    :ivar ip: the address it listens on.
    :ivar folder: its data and configuration.
    :ivar keepers: how many it has.
    """

    def __init__(self, folder: Path, ip: str, keepers: int = KEEPERS) -> None:
        self.folder = folder
        self.ip = ip
        self.keepers = keepers
        self.output = folder.with_suffix(".log")
        self.child: subprocess.Popen[bytes] | None = None
        self.seen = 0
        self.refused = ""

    def start(self) -> None:
        """Start it and wait until every port greets; once that has failed, it fails at once."""
        if self.refused:
            raise AssertionError(self.refused)
        command = [sys.executable, "-c", PROGRAM, "localserve", "--dir", str(self.folder), "--ip", self.ip]
        if self.keepers:
            if not (self.folder / "mox.conf").exists():
                subprocess.run([*command, "--init-only"], cwd=ROOT, check=True, capture_output=True)
            write_keepers(self.folder / "mox.conf", self.keepers)
            command[2] = ALSO_LOCALSERVE + PROGRAM
        with self.output.open("ab") as output:
            self.child = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, and no locks are held
            )
        served = self.log().count(" serves IMAP")
        deadline = time.monotonic() + START_SECONDS
        for port in (SMTP, SUBMISSION, SUBMISSIONS, LMTP, IMAP, IMAPS):
            while not self.greets(port):
                if self.child.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    self.refused = f"the server does not greet on port {port}:\n{self.log()}"
                    raise AssertionError(self.refused)
                time.sleep(0.05)
        # Who logs in earlier has the account stay with the server.
        while self.log().count(" serves IMAP") < served + self.keepers and time.monotonic() < deadline:
            time.sleep(0.05)

    def greets(self, port: int) -> bool:
        """Whether a connection to this port is answered with a banner (after a handshake, on the ports with TLS)."""
        try:
            with socket.create_connection((self.ip, port), timeout=5) as plain:
                connection: socket.socket = plain
                if port in {SUBMISSIONS, IMAPS}:
                    connection = unverified().wrap_socket(plain)
                return bool(connection.recv(512))
        except OSError:
            return False

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> None:
        """End it, by its process number, and wait for that."""
        if self.child is None:
            return
        if self.child.poll() is None:
            self.child.send_signal(sent)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(20)
        self.child = None

    def log(self) -> str:
        """What it has printed since it was first started."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def new_tracebacks(self) -> list[str]:
        """The tracebacks it printed since this was last asked."""
        text = self.log()
        fresh, self.seen = text[self.seen :], len(text)
        return re.findall(r"Traceback \(most recent call last\)[\s\S]{0,4000}", fresh)

    def problems(self) -> list[str]:
        """What the consistency checker finds in the databases of its accounts, while it runs."""
        loaded = load(self.folder / "mox.conf")
        secret = configured_key(loaded)
        key = MasterKey(secret) if secret is not None else None
        found = []
        for path, name in databases(loaded.data_directory):
            if not name.startswith("accounts/"):
                continue
            connection = connect(path, key.derive(name) if key is not None else None)
            try:
                connection.set_busy_timeout(10_000)
                connection.pragma("query_only", True)
                found += [f"{name}: {problem}" for problem in check(connection)]
            finally:
                connection.close()
        return found

    def certificate(self) -> str:
        """The certificate it shows, as PEM."""
        with (
            socket.create_connection((self.ip, IMAPS), timeout=5) as plain,
            unverified().wrap_socket(plain) as connection,
        ):
            shown = connection.getpeercert(binary_form=True)
        if shown is None:
            raise LookupError("no certificate")
        return ssl.DER_cert_to_PEM_cert(shown)

    def imap(self) -> imaplib.IMAP4:
        """A logged-in IMAP connection over TLS."""
        connection = imaplib.IMAP4_SSL(self.ip, IMAPS, ssl_context=unverified(), timeout=CLIENT_SECONDS)
        connection.login(ACCOUNT, PASSWORD)
        return connection


def unverified() -> ssl.SSLContext:
    """A TLS context for a self-signed certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@cache
def shared() -> LiveServer:
    """The server of this test process."""
    folder = Path(tempfile.mkdtemp(prefix="moxtwisted-live-"))
    server = LiveServer(folder / "data", own_address(os.getpid()))

    def end() -> None:
        server.stop()
        rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return server


class LiveTestCase(SynchronousTestCase):
    """Tests that talk to the shared server."""

    def setUp(self) -> None:
        """Have the server, and a folder for this test."""
        self.server = shared()
        if self.server.child is None or self.server.child.poll() is not None:
            self.server.start()
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)
        self.addCleanup(self.check_log)
        self.addCleanup(self.check_store)

    def check_log(self) -> None:
        """Fail when the server printed a traceback meanwhile."""
        self.assertEqual(self.server.new_tracebacks(), [])

    def check_store(self) -> None:
        """Fail when the server's databases do not add up."""
        self.assertEqual(self.server.problems(), [])

    def letter(
        self, body: bytes = b"It works.\r\n", *, headers: bytes = b"", author: str = "sender@client.example"
    ) -> bytes:
        """A message with a Message-ID of its own; ``headers`` are whole lines with their CRLF."""
        name = f"{os.getpid()}.{time.monotonic_ns()}@client.example".encode()
        return (
            b"From: Sender <" + author.encode() + b">\r\nTo: mox@localhost\r\nSubject: integration\r\n"
            b"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <"
            + name
            + b">\r\n"
            + headers
            + b"\r\n"
            + body
        )

    def succeeds(
        self,
        *command: str,
        stdin: bytes = b"",
        environment: dict[str, str] | None = None,
        seconds: float = CLIENT_SECONDS,
    ) -> bytes:
        """Run a program to its end, which must be a good one; its output, both streams."""
        code, output = self.ends(*command, stdin=stdin, environment=environment, seconds=seconds)
        self.assertEqual(
            code,
            0,
            f"{' '.join(command)}\n{output[-4000:].decode(errors='replace')}\n{self.server.log()[-2000:]}",
        )
        return output

    def ends(
        self,
        *command: str,
        stdin: bytes = b"",
        environment: dict[str, str] | None = None,
        seconds: float = CLIENT_SECONDS,
    ) -> tuple[int, bytes]:
        """Run a program to its end, whatever that is; its exit code and output."""
        # trial tells its workers our whole path in PYTHONPATH, which is nothing for a program with another Python
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        quiet = {**own, "LC_ALL": "C.UTF-8", "HOME": str(self.folder), **(environment or {})}
        done = subprocess.run(
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=quiet,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout

    def found(self, letter: bytes, mailbox: str = "INBOX") -> list[bytes]:
        """Every message in the mailbox with this one's Message-ID, as octets."""
        name = message_id(letter)
        connection = self.server.imap()
        try:
            status, _ = connection.select(mailbox, readonly=True)
            self.assertEqual(status, "OK")
            _, (uids,) = connection.uid("SEARCH", "HEADER", "Message-ID", name)
            bodies = []
            for uid in (uids or b"").split():
                _, parts = connection.uid("FETCH", uid.decode(), "(BODY.PEEK[])")
                bodies += [part[1] for part in parts if isinstance(part, tuple)]
            return bodies
        finally:
            connection.logout()

    def arrived(self, letter: bytes, *, times: int = 1, mailbox: str = "INBOX") -> list[bytes]:
        """Assert that the message is there, so many times, with every octet after the header fields we put before it."""
        bodies = self.found(letter, mailbox)
        self.assertEqual(len(bodies), times)
        for body in bodies:
            # not assertTrue(endswith): trial would print 50 MB
            if not body.endswith(letter):
                self.fail(f"other octets: {len(letter)} sent, {len(body)} kept, begins {body[:600]!r}")
        return bodies


def message_id(letter: bytes) -> str:
    """The Message-ID of a message, with its angle brackets."""
    found = re.search(rb"(?im)^Message-ID: (<[^>]+>)", letter)
    if found is None:
        raise LookupError("no Message-ID")
    return found[1].decode()


def base64_lines(octets: int) -> bytes:
    """So many octets of lines, as an attachment has them: 76 characters and CRLF, different throughout."""
    count = octets // 78 + 1
    text = b"".join(b"%075d+\r\n" % number for number in range(count))
    return text[: octets - 2] + b"\r\n" if octets >= 2 else b""
