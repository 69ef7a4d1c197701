"""A running server with a resolver that lies, loops, floods or says nothing, and messages made to hurt.

It answers, stays small, and refuses nothing for good because of the DNS.
"""

from __future__ import annotations

import base64
import os
import re
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.dns.servers import FakeServer, reply_to
from tests.integration.live import SMTP, end_with_parent

#: A loopback address that no other test process has: 127.130.0.1 to 127.190.255.254.
IP = f"127.{130 + os.getpid() // 64516 % 60}.{os.getpid() // 254 % 254}.{os.getpid() % 254 + 1}"
ROOT = Path(__file__).resolve().parent.parent.parent
#: What the checks of a message may take, as the configuration below has it, and how long a client waits for all else.
TOTAL_SECONDS, PATIENCE_SECONDS = 4.0, 30.0
#: Each question twice to the one server, and once more by TCP.
MAX_QUERIES = 200
CONFIGURATION = """
[resolver]
servers = ["%s"]
validate = false
trust_ad = true

[verification]
method_seconds = 2
total_seconds = 4

[judgement]
first_time_sender_delay_seconds = 0
"""


class HostileDNS:
    """Answers as the last label but one of the name says."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def __call__(self, query: dns.message.Message, octets: bytes, stream: bool) -> Iterable[bytes]:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        rrtype = question.rdtype.name
        kind = name.split(".")[-2] if name.count(".") else ""
        if rrtype == "MX" and name.count(".") == 1:
            return [reply_to(query, octets, [f"{name}. 60 MX 10 mail.{name}."])]
        behave: Callable[..., Iterable[bytes]] = getattr(self, f"_{kind}", self._nothing)
        return behave(query, octets, name, rrtype, stream)

    @staticmethod
    def _nothing(query: Any, octets: bytes, *_: Any) -> Iterable[bytes]:
        return [reply_to(query, octets, rcode=3)]

    @staticmethod
    def _silent(*_: Any) -> Iterable[bytes]:
        return []

    @staticmethod
    def _servfail(query: Any, octets: bytes, *_: Any) -> Iterable[bytes]:
        return [reply_to(query, octets, rcode=2)]

    @staticmethod
    def _wrongid(query: Any, octets: bytes, name: str, *_: Any) -> Iterable[bytes]:
        reply = reply_to(query, octets, [f'{name}. 60 TXT "v=spf1 +all"'])
        return [bytes([reply[0] ^ n, reply[1]]) + reply[2:] for n in range(1, 60)]

    @staticmethod
    def _wrongname(query: Any, octets: bytes, name: str, *_: Any) -> Iterable[bytes]:
        """The right id, and another question."""
        other = dns.message.make_query(f"x{name}", "TXT")
        other.id = query.id
        reply = dns.message.make_response(other).to_wire()
        return [reply] * 20

    @staticmethod
    def _other(query: Any, octets: bytes, name: str, *_: Any) -> Iterable[bytes]:
        """Records of others beside the answer, which must not be believed."""
        lines = [
            f'{name}. 60 TXT "v=spf1 -all"',
            'good.example. 60 TXT "v=spf1 -all"',
            "good.example. 60 MX 0 .",
        ]
        return [reply_to(query, octets, lines)]

    @staticmethod
    def _garbage(query: Any, octets: bytes, *_: Any) -> Iterable[bytes]:
        return [octets[:2] + os.urandom(n) for n in (0, 9, 10, 200, 600)]

    @staticmethod
    def _round(query: Any, octets: bytes, name: str, *_: Any) -> Iterable[bytes]:
        target = name.removeprefix("again.") if name.startswith("again.") else f"again.{name}"
        return [reply_to(query, octets, [f"{name}. 60 CNAME {target}."])]

    @staticmethod
    def _endless(query: Any, octets: bytes, name: str, *_: Any) -> Iterable[bytes]:
        """A chain of aliases, each at a new name."""
        first, dot, rest = name.partition(".")
        at = int(first) if first.isdigit() else 0
        rest = rest if first.isdigit() and dot else name
        return [reply_to(query, octets, [f"{name}. 60 CNAME {at + 1}.{rest}."])]

    @staticmethod
    def _huge(query: Any, octets: bytes, name: str, rrtype: str, stream: bool) -> Iterable[bytes]:
        """64 KB of TXT."""
        if not stream:
            return [reply_to(query, octets, flags=dns.flags.TC)]
        if rrtype != "TXT":
            return [reply_to(query, octets)]
        texts = " ".join(['"' + "v=spf1 a:x.%{d}.huge.example " * 8 + '"'] * 240)
        return [reply_to(query, octets, [f"{name}. 60 TXT {texts}"])]

    @staticmethod
    def _truncated(query: Any, octets: bytes, *_: Any) -> Iterable[bytes]:
        return [reply_to(query, octets, flags=dns.flags.TC)]

    @staticmethod
    def _bomb(query: Any, octets: bytes, name: str, rrtype: str, stream: bool) -> Iterable[bytes]:
        """Ten includes below each name."""
        if rrtype != "TXT":
            return [reply_to(query, octets)]
        record = "v=spf1 " + " ".join(f"include:{n}.{name}" for n in range(7)) + " -all"
        return [reply_to(query, octets, [f'{name}. 60 TXT "{record[:250]}"'])]

    @staticmethod
    def _good(query: Any, octets: bytes, name: str, rrtype: str, stream: bool) -> Iterable[bytes]:
        if rrtype == "TXT" and name.count(".") == 1:
            return [reply_to(query, octets, [f'{name}. 60 TXT "v=spf1 ip4:127.0.0.0/8 -all"'])]
        return [reply_to(query, octets, rcode=0 if name.count(".") == 1 else 3)]

    #: Another like it, of which lies are told beside other answers.
    _fine = _good


KINDS = (
    "silent", "servfail", "wrongid", "wrongname", "other", "garbage", "round", "endless", "huge", "truncated", "bomb",
)  # fmt: skip


def letter(domain: str, more: bytes = b"") -> bytes:
    """A message with a signature whose key has to be asked for."""
    body_hash = "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="  # of an empty body, in simple form
    signature = (
        f"DKIM-Signature: v=1; a=rsa-sha256; d={domain}; s=s; h=from:subject; l=0; bh={base64.b64encode(b'0' * 32).decode()}; b=AAAA\r\n"
        f"DKIM-Signature: v=1; a=rsa-sha256; d={domain}; s=t; c=simple; h=from:subject; bh={body_hash}; b=AAAA\r\n"
    )
    header = f"From: a@{domain}\r\nTo: mox@localhost\r\nSubject: hello\r\nMessage-ID: <{time.time_ns()}@{domain}>\r\n\r\n"
    return signature.encode() + more + header.encode()


class HostileTests(TestCase):
    timeout = 240

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """A server that asks us."""
        self.dns = FakeServer(HostileDNS())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.dns.stop()))
        self.folder = Path(self.mktemp()).absolute()
        self.ip = IP
        return deferToThread(self._prepare)

    def _moxmail(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "moxtwisted.cli", *arguments]

    def _prepare(self) -> None:
        subprocess.run(
            self._moxmail("localserve", "--dir", str(self.folder), "--ip", self.ip, "--init-only"),
            cwd=ROOT, check=True, capture_output=True,
        )  # fmt: skip
        path = self.folder / "mox.conf"
        text = path.read_text().replace("[verification]\nenabled = false\n", CONFIGURATION % self.dns.address)
        text = text.replace("[limits.smtp]\n", "[limits.smtp]\nslow_mode = false\n")
        path.write_text(text)
        self.output = self.folder / "log"
        self.addCleanup(deferToThread, self._end)
        with self.output.open("ab") as log:
            self.child = subprocess.Popen(
                self._moxmail("-c", str(path), "serve"),
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_parent,  # noqa: PLW1509
            )  # fmt: skip
        for _ in range(600):
            try:
                smtplib.SMTP(self.ip, SMTP, timeout=PATIENCE_SECONDS).quit()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"the server does not start:\n{self.output.read_text()}")

    def _end(self) -> None:
        self.child.terminate()
        self.child.wait(PATIENCE_SECONDS)

    def _send(self, sender: str, message: bytes) -> tuple[int, bytes]:
        """The answer that decides."""
        with smtplib.SMTP(self.ip, SMTP, "client.example", timeout=PATIENCE_SECONDS) as client:
            client.ehlo(sender.rpartition("@")[2])
            for command in (
                lambda: client.mail(sender),
                lambda: client.rcpt("mox@localhost"),
                lambda: client.data(message),
            ):
                code, text = command()
                if code >= 400:
                    break
            return code, bytes(text)

    def memory(self) -> int:
        """The most that the server ever had, in octets."""
        found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{self.child.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def no_tracebacks(self) -> None:
        self.assertNotIn("Traceback", self.output.read_text())

    async def test_dns(self) -> None:
        """Whatever the DNS does, the message is taken or wanted later, after a bounded number of queries and in the time for all."""
        await deferToThread(self._send, "a@good.example", letter("good.example"))
        for kind in KINDS:
            before, started = len(self.dns.queries), time.monotonic()
            domain = f"{kind}.example"
            code, text = await deferToThread(self._send, f"a@{domain}", letter(domain))
            self.assertTrue(code == 250 or 400 <= code < 500, f"{kind}: {code} {text!r}")
            self.assertLess(time.monotonic() - started, 2 * TOTAL_SECONDS + PATIENCE_SECONDS / 2, kind)
            self.assertLessEqual(len(self.dns.queries) - before, MAX_QUERIES, kind)
        for domain in ("good.example", "fine.example"):
            code, text = await deferToThread(self._send, f"a@{domain}", letter(domain))
            self.assertEqual(code, 250, text)
        self.no_tracebacks()

    async def test_messages(self) -> None:
        """Thousands of signatures, a header without end, 95 MB with l=0: taken or refused, one after the other, without growing much."""
        await deferToThread(self._send, "a@good.example", letter("good.example"))
        start = self.memory()
        many = b"".join(
            b"DKIM-Signature: v=1; a=rsa-sha256; d=d%d.silent.example; s=s; h=from; bh=%s; b=AAAA\r\n"
            % (n, base64.b64encode(b"0" * 32))
            for n in range(10_000)
        )
        for message, expected in (
            (letter("good.example", many), 552),
            (letter("good.example", many[:400_000].rpartition(b"DKIM-Signature")[0]), 250),
            (b"From: a@good.example\r\n" + b"X: y\r\n" * 9_000 + b"\r\nx\r\n", 250),
            (b"From: a@good.example\r\nX:" + b"\r\n y" * 400_000 + b"\r\n\r\nx\r\n", 552),
            # Nobody is shown as the author of a field without end.
            (b"From:" + b"\r\n " * 100_000 + b"a@good.example\r\n\r\nx\r\n", 550),
        ):
            code, text = await deferToThread(self._send, "a@good.example", message)
            self.assertEqual(code, expected, text)
        grown = self.memory() - start
        self.assertLess(grown, 64 * 2**20)
        large = letter("good.example") + (b"x" * 74 + b" \t\r\n") * 1_210_000
        code, text = await deferToThread(self._send, "a@good.example", large)
        self.assertEqual(code, 250, text)
        self.assertLess(self.memory() - start, 96 * 2**20)
        self.no_tracebacks()
