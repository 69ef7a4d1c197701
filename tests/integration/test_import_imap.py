"""The move from an old server: ``moxmail import imap`` from a real Dovecot, killed and begun again, and from a server like ours."""

from __future__ import annotations

import imaplib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .live import ACCOUNT, IMAPS, PASSWORD, ROOT, LiveServer, LiveTestCase, own_address, unverified
from .peers import locate, needs

MESSAGES = 5000
PROGRAM = "import sys; from moxtwisted.cli.main import main; sys.exit(main())"

DOVECOT = """\
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
listen = {ip}
protocols = imap
ssl = required
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
mail_location = maildir:{folder}/Maildir
first_valid_uid = 1
mail_max_userip_connections = 20
namespace inbox {{
  inbox = yes
  separator = .
  prefix = INBOX.
  mailbox Sent {{
    special_use = \\Sent
  }}
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={user} home={folder}/home
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
"""

#: What a message is, but for its octets: its Message-ID, flags, date and size.
Facts = tuple[bytes, frozenset[str], str, int]


def free_port(ip: str) -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((ip, 0))
        port: int = probe.getsockname()[1]
        return port


class Account:
    """A data directory with one account, and no server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run("localserve", "--dir", str(folder), "--ip", own_address(os.getpid() + 7), "--init-only")

    def command(self, *words: str) -> list[str]:
        """A command on it."""
        return [sys.executable, "-c", PROGRAM, *words]

    def run(self, *words: str, expect: int = 0) -> str:
        """Run a command to its end; what it printed."""
        done = subprocess.run(
            self.command(*words), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode != expect:
            raise AssertionError(f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def words(self, url: str, password_file: Path, *more: str) -> list[str]:
        """An import into it."""
        config = str(self.folder / "mox.conf")
        return ["-c", config, "import", "imap", "mox", url, "--password-file", str(password_file), *more]

    def stopped(self, seconds: float, *words: str) -> int:
        """Begin a command and interrupt it after some time; its status, after which nobody works on it any more."""
        child = subprocess.Popen(
            self.command(*words), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            return child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
            return child.wait(30)

    def killed(self, seconds: float, *words: str) -> bool:
        """Begin a command and kill it after some time; whether it was not done yet."""
        child = subprocess.Popen(
            self.command(*words), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            return True
        return False


def facts(connection: imaplib.IMAP4, mailbox: str) -> list[Facts]:
    """All messages of a mailbox, sorted."""
    connection.select(f'"{mailbox}"', readonly=True)
    _, answers = connection.uid(
        "FETCH", "1:*", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"
    )
    found = []
    for answer in answers:
        if isinstance(answer, tuple):
            head, field = answer
            flags = re.search(rb"FLAGS \(([^)]*)\)", head)
            date = imaplib.Internaldate2tuple(head)
            size = re.search(rb"RFC822.SIZE (\d+)", head)
            assert flags and date and size, head
            # Mail that is brought in is not junk by the account's own rules.
            names = frozenset(name.lower() for name in flags.group(1).decode().split()) - {
                "\\recent",
                "$notjunk",
            }
            found.append((field.strip(), names, time.strftime("%Y%m%d%H%M%S", date), int(size.group(1))))
    return sorted(found, key=lambda one: one[0])


class ImportCase(LiveTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.home = Path(tempfile.mkdtemp(prefix="moxtwisted-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.home.chmod(0o755)
        self.password = self.home / "password"
        self.password.write_text(PASSWORD + "\n")
        self.account = Account(self.home / "data")

    def serve(self) -> imaplib.IMAP4:
        """Start a server on the account; a connection."""
        return self.connection(self.started(self.account.folder, 7))

    def started(self, folder: Path, number: int) -> LiveServer:
        """Start a server on a data directory, at the address of this number."""
        server = LiveServer(folder, own_address(os.getpid() + number))
        self.addCleanup(server.stop)
        server.start()
        return server

    def connection(self, server: LiveServer) -> imaplib.IMAP4:
        connection = server.imap()
        self.addCleanup(connection.shutdown)
        return connection


@needs("dovecot", "openssl")
class DovecotTests(ImportCase):
    """An account at a running Dovecot, behind TLS, with a prefix and another separator."""

    def setUp(self) -> None:
        """Write a Maildir with many messages, and start Dovecot on it."""
        super().setUp()
        self.ip = own_address(os.getpid() + 3)
        self.port = free_port(self.ip)
        self.user = "mail" if os.geteuid() == 0 else str(os.getuid())
        maildir = self.home / "Maildir"
        self.fill(maildir, MESSAGES, 0)
        self.fill(maildir / ".Sent", 20, 10_000)
        self.fill(maildir / ".Work.2024", 30, 20_000)
        (maildir / "subscriptions").write_text("INBOX.Work.2024\nINBOX.Sent\n".replace("INBOX.", ""))
        (self.home / "home").mkdir()
        self.succeeds(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=old.example",
            "-addext", f"subjectAltName=IP:{self.ip}", "-keyout", str(self.home / "key.pem"), "-out", str(self.home / "cert.pem"),
        )  # fmt: skip
        (self.home / "dovecot.conf").write_text(
            DOVECOT.format(folder=self.home, ip=self.ip, port=self.port, password=PASSWORD, user=self.user)
        )
        if os.geteuid() == 0:
            for path in (maildir, *maildir.rglob("*"), self.home / "home"):
                shutil.chown(path, self.user, self.user)
        self.start()

    def start(self) -> None:
        child = subprocess.Popen(
            [locate("dovecot") or "dovecot", "-F", "-c", str(self.home / "dovecot.conf")]
        )
        self.addCleanup(child.wait, 20)
        self.addCleanup(child.terminate)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.dovecot()
            except OSError as e:
                log = self.home / "log"
                if time.monotonic() > deadline:
                    self.fail(f"{e}: {log.read_text() if log.exists() else 'no log'}")
                time.sleep(0.05)
            else:
                return

    def dovecot(self) -> imaplib.IMAP4:
        connection = imaplib.IMAP4_SSL(self.ip, self.port, ssl_context=unverified(), timeout=60)
        self.addCleanup(connection.shutdown)
        connection.login("alice", PASSWORD)
        return connection

    def fill(self, maildir: Path, count: int, start: int) -> None:
        """Messages with all kinds of flags and keywords, and dates of their own."""
        for name in ("cur", "new", "tmp"):
            (maildir / name).mkdir(parents=True)
        (maildir / "dovecot-keywords").write_text("0 work\n1 $Forwarded\n2 $label1\n")
        for number in range(start, start + count):
            letters = "".join(letter for bit, letter in enumerate("DFRSTabc") if number >> bit & 1)
            path = maildir / "cur" / f"{1_400_000_000 + number}.{number}.x:2,{letters}"
            path.write_bytes(self.letter(b"text %d\n" % number * (number % 50 + 1)).replace(b"\r\n", b"\n"))
            os.utime(path, (1_400_000_000 + number * 61, 1_400_000_000 + number * 61))

    def test_killed_and_begun_again(self) -> None:
        """5,000 messages come with the same flags, keywords, dates and sizes, each once, though the import was killed on its way."""
        url = f"imaps://alice@{self.ip}:{self.port}/"
        words = self.account.words(url, self.password, "--trust", str(self.home / "cert.pem"))
        plan = json.loads(self.account.run(*words, "--dry-run", "--json"))
        self.assertEqual(
            {(row["there"], row["here"], row["new"]) for row in plan["mailboxes"]},
            {("INBOX", "INBOX", MESSAGES), ("INBOX.Sent", "Sent", 20), ("INBOX.Work.2024", "Work/2024", 30)},
        )
        # How far each comes depends on the machine: on a quick one the last are through before they can be killed.
        # On a busy machine Python may not have come to the command yet, and the signal itself ends it.
        self.assertIn(self.account.stopped(0.6, *words), {130, -signal.SIGINT})
        killed = [self.account.killed(seconds, *words) for seconds in (0.8, 1.0, 1.2, 1.6, 2.0)]
        self.assertIn(True, killed)
        report = json.loads(self.account.run(*words, "--again", "--json"))
        self.assertEqual((report["skipped"], report["failed"]), (0, []))
        ours, theirs = self.serve(), self.dovecot()
        for there, here in {"INBOX": "INBOX", "INBOX.Sent": "Sent", "INBOX.Work.2024": "Work/2024"}.items():
            self.assertEqual(facts(ours, here), facts(theirs, there))
        subscribed = b"".join(line for line in ours.lsub()[1] if isinstance(line, bytes))
        self.assertIn(b"Work/2024", subscribed)
        self.changes_come_later(words, ours, theirs)

    def changes_come_later(self, words: list[str], ours: imaplib.IMAP4, theirs: imaplib.IMAP4) -> None:
        """A later run, now by the running server, takes over what has changed."""
        theirs.select("INBOX")
        theirs.uid("STORE", "5:8", "+FLAGS", r"(\Flagged later)")
        theirs.append("INBOX", r"(\Seen)", imaplib.Time2Internaldate(1_500_000_000), self.letter())
        theirs.uid("STORE", "9:10", "+FLAGS", r"(\Deleted)")
        theirs.uid("EXPUNGE", "9:10")
        report = json.loads(self.account.run(*words, "--delete", "--json"))
        self.assertEqual((report["messages"], report["removed"]), (1, 2))
        ours.noop()
        self.assertEqual(facts(ours, "INBOX"), facts(theirs, "INBOX"))

    def test_a_wrong_certificate_is_refused(self) -> None:
        """Without the authority of its certificate the server gets no password."""
        url = f"imaps://alice@{self.ip}:{self.port}/"
        self.account.run(*self.account.words(url, self.password), expect=1)


class OwnServerTests(ImportCase):
    """From a server like ours."""

    def test_from_our_own_server(self) -> None:
        """Names beyond ASCII, large and odd messages come over with their flags."""
        source = self.server.imap()
        self.addCleanup(source.shutdown)
        mailbox = f"import-{os.getpid()}"
        for name in (mailbox, f"{mailbox}/Entw&APw-rfe"):
            source.create(name)
            for number in range(40):
                letter = self.letter(b"x" * 70 + b"\r\n" * (number * 2000))
                self.assertEqual(source.append(name, r"(\Seen $MDNSent)", "", letter)[0], "OK")
        url = f"imaps://{ACCOUNT.replace('@', '%40')}@{self.server.ip}:{IMAPS}/"
        words = self.account.words(url, self.password, "--insecure-no-verify", "--json")
        wanted = ("--only", mailbox, "--only", f"{mailbox}/Entwürfe")
        report = json.loads(self.account.run(*words, *wanted))
        self.assertEqual((report["messages"], report["failed"], report["skipped"]), (80, [], 0))
        self.assertEqual(json.loads(self.account.run(*words, *wanted))["messages"], 0)
        ours = self.serve()
        for name in (mailbox, f"{mailbox}/Entw&APw-rfe"):
            self.assertEqual(facts(ours, name), facts(source, name))

    def test_from_itself(self) -> None:
        """An account is not fetched from itself; from a copy of it on another machine it is, by the running server and without one."""
        server = self.started(self.account.folder, 7)
        connection = self.connection(server)
        connection.append("INBOX", "", "", self.letter())
        subscribed = connection.lsub()
        url = f"imaps://{ACCOUNT.replace('@', '%40')}@{server.ip}:{IMAPS}/"
        words = self.account.words(url, self.password, "--insecure-no-verify")
        for more in ((), ("--dry-run",)):
            done = subprocess.run(
                self.account.command(*words, *more),
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(
                done.stderr, r"^moxmail: mox@localhost@.*:1993 is the account mox of this server itself: "
            )
        # With keepers, sessions end when the account comes home for an import.
        connection = self.connection(server)
        self.assertEqual(connection.select("INBOX", readonly=True), ("OK", [b"1"]))
        self.assertEqual(connection.lsub(), subscribed)
        server.stop()

        copy = self.home / "copy"
        shutil.copytree(self.account.folder, copy)
        old = self.connection(self.started(self.account.folder, 7))
        old.append("INBOX", "", "", self.letter())
        self.account.folder = copy
        words = self.account.words(url, self.password, "--insecure-no-verify", "--json")
        # Without a server, and then by the server that runs.
        self.assertEqual(json.loads(self.account.run(*words))["messages"], 2)
        running = self.started(copy, 11)
        old.append("INBOX", "", "", self.letter())
        self.assertEqual(json.loads(self.account.run(*words))["messages"], 1)
        ours = self.connection(running)
        self.assertEqual(ours.select("INBOX", readonly=True), ("OK", [b"4"]))
        self.assertEqual((ours.lsub(), old.lsub()), (subscribed, subscribed))
