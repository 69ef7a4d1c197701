"""A whole server with receivers, whose clients have addresses of their own and whose DNS is ours.

The limits and bans that spare this machine's own addresses do not spare them here: the clients are strangers, for all that the server
can see. The log is JSON, so that tests can ask which process said what.
"""

from __future__ import annotations

import imaplib
import json
import os
import re
import signal
import smtplib
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tests.integration import test_verification
from tests.integration.live import LiveServer, message_id, unverified
from tests.integration.test_verification import NameServer
from tests.test_compose import IP, WAIT_SECONDS, ComposeCase, Conversation

__all__ = [
    "CLIENT",
    "FORGER",
    "OTHER",
    "SENDER",
    "SMTP",
    "ReceiversCase",
    "Stranger",
    "children",
    "letter",
    "reply",
]

SMTP, IMAPS = 1025, 1993
#: SPF of sender.example passes for the first, and fails for the second; the third is in another network.
CLIENT, FORGER, OTHER = "127.1.0.1", "127.99.0.2", "127.77.0.1"
SENDER = "a@sender.example"
ZONE = {
    ("1.0.1.127.in-addr.arpa.", "PTR"): "out.sender.example.",
    ("out.sender.example.", "A"): CLIENT,
    ("out.sender.example.", "TXT"): '"v=spf1 a -all"',
    ("sender.example.", "MX"): "10 out.sender.example.",
    ("sender.example.", "TXT"): '"v=spf1 -ip4:127.99.0.0/16 ip4:127.0.0.0/8 -all"',
    ("_dmarc.sender.example.", "TXT"): '"v=DMARC1; p=reject"',
    ("unwanted.example.", "TXT"): '"v=spf1 ip4:127.1.0.1 -all"',
}
#: What spares clients on this machine is gone; the rest is as it is.
UNSPARED = """
from functools import partial
from ipaddress import IPv4Address
from moxtwisted.server import bans, ratelimit
bans._LOOPBACK = ()
IPv4Address.is_loopback = False
ratelimit.ConnectionLimits = partial(ratelimit.ConnectionLimits, exempt=())
"""


def letter(name: str, body: bytes = b"It works.\r\n", *, author: str = SENDER, head: bytes = b"") -> bytes:
    """A message with this Message-ID; ``head`` are whole lines."""
    fields = f"From: A <{author}>\r\nTo: mox@localhost\r\nSubject: hello\r\nMessage-ID: <{name}@sender.example>\r\n"
    return fields.encode() + head + b"\r\n" + body


def reply(client: Conversation) -> str:
    """The last line of the next answer."""
    while (line := client.line())[3:4] == "-":
        pass
    return line


def children(pid: int) -> dict[int, list[str]]:
    """The processes that a process started and that have not ended, but for keepers: their arguments."""
    found = {}
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            try:
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"moxtwisted.tap.keeper" not in words:
                found[int(child)] = [os.fsdecode(word) for word in words]
    return found


class Stranger(smtplib.SMTP):
    """Python's client, from an address."""

    def __init__(self, ip: str = CLIENT) -> None:
        super().__init__(IP, SMTP, "out.sender.example", timeout=WAIT_SECONDS, source_address=(ip, 0))


class ReceiversCase(ComposeCase):
    """Each test has a server of its own; afterwards its log has no traceback, and its store is whole.

    :cvar processes: how many receivers.
    :cvar settings: of ``mox.conf`` besides.
    :cvar accounts: of ``domains.conf`` besides.
    :ivar child: the server.
    :ivar tracebacks: whether the log may have some.
    """

    processes: ClassVar[int] = 1
    settings: ClassVar[str] = ""
    accounts: ClassVar[str] = ""

    def setUp(self) -> None:
        """Configured, and not started."""
        super().setUp()
        self.tracebacks = False
        self.patch(test_verification, "ZONE", ZONE)
        self.dns = NameServer(IP)
        self.addCleanup(self.dns.stop)
        settings = (
            f'[resolver]\nservers = ["{self.dns.address}"]\nvalidate = false\n\n'
            f'[receivers]\nprocesses = {self.processes}\n\n[log]\nformat = "json"\n\n[bans]\nnever = []\n\n{self.settings}'
        )
        if "[judgement]" not in settings:
            settings += "[judgement]\nfirst_time_sender_delay_seconds = 0\n"
        self.edit("[verification]\nenabled = false\n", settings)
        self.edit("[limits]\n", "[limits]\ndeliveries_per_minute = [100000, 100000, 100000]\n")
        self.edit("[limits.smtp]\n", "[limits.smtp]\nslow_mode = false\n")
        domains = self.home / "domains.conf"
        domains.write_text(domains.read_text() + self.accounts)

    # -- the server ----------------------------------------------------------------------------------------------

    def serve(self, before: str = UNSPARED) -> subprocess.Popen[bytes]:
        """Start it; its receivers take in mail then."""
        if not hasattr(self, "log"):
            self.log = self.directory / "log"
            self.log.touch()
            self.addCleanup(self.check)
        already = [len(self.started(n + 1)) for n in range(self.processes)]
        listening = self.log.read_text().count("listening: imaps")
        self.child = self.start(before)
        self.has_receivers(*[often + 1 for often in already])
        self.until(lambda: self.log.read_text().count("listening: imaps") > listening, "it does not listen")
        return self.child

    def until(self, condition: Any, what: str) -> None:
        """Wait, and say not too much if it does not come to be."""
        self.assertTrue(settled(condition), f"{what}:\n{self.log.read_text()[-3000:]}")

    def has_receivers(self, *times: int) -> None:
        """Wait until each was started so often."""
        self.until(
            lambda: all(len(self.started(n + 1)) >= often for n, often in enumerate(times)),
            f"no receivers, or not often enough: {times}",
        )

    def check(self) -> None:
        """Nothing is broken."""
        if not self.tracebacks:
            self.assertNotIn("Traceback", self.log.read_text())
        self.assertEqual(LiveServer(self.home, IP).problems(), [])

    def events(self, words: str = "") -> list[dict[str, Any]]:
        """What the log says in lines with these words."""
        # The last line may not be whole yet.
        lines = self.log.read_text().rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and words in line]

    def took(self) -> list[int]:
        """For each message that was decided on, which receiver took it in; 0: the owner itself."""
        handler = "moxtwisted.server.inbound.handler"
        return [event.get("receiver", 0) for event in self.events(handler) if "octets" in event]

    def taken_in(self, expected: list[int]) -> None:
        """So many messages were decided on, taken in by these; the log has it a moment after the client."""
        self.until(lambda: len(self.took()) >= len(expected), f"not so many: {expected}")
        self.assertEqual(sorted(self.took()), expected)

    def started(self, number: int = 1) -> list[int]:
        """The processes that were this receiver."""
        return [
            event["pid"]
            for event in self.events(" takes in mail")
            if "pid" in event and event["receiver"] == number
        ]

    def receiver(self, number: int = 1) -> int:
        """The process that it is now."""
        return self.started(number)[-1]

    def kill(self, number: int = 1) -> None:
        """End a receiver without warning."""
        pid = self.receiver(number)
        self.assertIn(pid, children(self.child.pid))
        os.kill(pid, signal.SIGKILL)

    def ended(self, pid: int) -> bool:
        """Whether a process is no more."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    # -- clients -------------------------------------------------------------------------------------------------

    def client(self, ip: str = CLIENT) -> tuple[Conversation, str]:
        """A connection from there; the greeting."""
        there = socket.create_connection((IP, SMTP), timeout=WAIT_SECONDS, source_address=(ip, 0))
        client = Conversation(there)
        self.addCleanup(there.close)
        return client, client.line()

    def begin(self, ip: str = CLIENT, *recipients: str) -> Conversation:
        """A connection that has said MAIL, RCPT and DATA."""
        client, greeting = self.client(ip)
        self.assertEqual(greeting[:4], "220 ")
        client.smtp("EHLO out.sender.example")
        client.smtp(f"MAIL FROM:<{SENDER}>")
        for name in recipients or ("mox",):
            self.assertEqual(client.smtp(f"RCPT TO:<{name}@localhost>")[:4], "250 ")
        self.assertEqual(client.smtp("DATA")[:4], "354 ")
        return client

    def send(self, octets: bytes, *recipients: str, ip: str = CLIENT, parameters: str = "") -> list[str]:
        """The beginnings of the answers to RCPT, and of those to the message."""
        client, _ = self.client(ip)
        client.smtp("EHLO out.sender.example")
        answers = [client.smtp(f"MAIL FROM:<{SENDER}>{parameters}")[:9]]
        if answers.pop()[0] == "2":
            answers = [client.smtp(f"RCPT TO:<{name}@localhost>")[:9] for name in recipients]
        if any(answer[0] == "2" for answer in answers):
            client.smtp("DATA")
            client.connection.sendall(octets + b".\r\n")
            answers.append(reply(client)[:9])
            if answers[-1].startswith("353"):
                answers[-1] = "353"
                answers += [reply(client)[:9] for _ in range(len(recipients) + 1)]
        client.smtp("QUIT")
        client.connection.close()
        return answers

    def swaks(self, octets: bytes, *options: str, recipient: str = "mox@localhost") -> str:
        """Send a message; what swaks printed."""
        command = [
            "swaks", "--server", IP, "--port", str(SMTP), "--local-interface", CLIENT, "--helo", "out.sender.example",
            "--from", SENDER, "--to", recipient, "--data", "-", "--timeout", "60", *options,
        ]  # fmt: skip
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            command, input=octets.removesuffix(b"\r\n").replace(b"\r\n", b"\n"), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=own, timeout=WAIT_SECONDS, check=False,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout[-2000:].decode(errors="replace"))
        return done.stdout.decode(errors="replace")

    # -- mailboxes -----------------------------------------------------------------------------------------------

    def imap(self) -> imaplib.IMAP4:
        """Logged in."""
        there = imaplib.IMAP4_SSL(IP, IMAPS, ssl_context=unverified(), timeout=WAIT_SECONDS)
        there.login("mox@localhost", "moxmoxmox")
        return there

    def kept(self, mailbox: str = "INBOX") -> dict[str, list[bytes]]:
        """The messages there by their names."""
        there = self.imap()
        found: dict[str, list[bytes]] = {}
        try:
            status, (count, *_) = there.select(mailbox, readonly=True)
            if status != "OK" or not int(count or 0):
                return found
            for part in there.uid("FETCH", "1:*", "(BODY.PEEK[])")[1]:
                if isinstance(part, tuple):
                    name = message_id(part[1]).strip("<>").partition("@")[0]
                    found.setdefault(name, []).append(part[1])
        finally:
            there.logout()
        return found


def fields(octets: bytes) -> list[str]:
    """The header fields of a message, without what differs from one to the next."""
    head = octets.partition(b"\r\n\r\n")[0].decode()
    unfolded = re.sub(r"\r\n[ \t]+", " ", head)
    return [
        re.sub(r"id \S+|\w{3}, \d+ \w{3} \d{4} [\d:]+|<\w+@|\b[01]\.\d{3}\b", "~", line)
        for line in unfolded.split("\r\n")
    ]


def settled(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> bool:
    """Whether it comes to be so in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def descriptors(pid: int) -> Sequence[str]:
    """What a process has open; nothing that anybody but root sees of a receiver, which lets nobody look."""
    found: list[str] = []
    try:
        paths = list(Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        return found
    for path in paths:
        try:
            found.append(str(path.readlink()))
        except OSError:
            continue
    return found
