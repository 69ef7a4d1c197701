"""Messages, and a site over them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.badsmtp.captured import Captured
from moxtwisted.badsmtp.interfaces import CapturedMessage, Direction, TranscriptLine
from moxtwisted.http.badsmtp.site import BadSMTPSite, make_site
from moxtwisted.smtp.envelope import Transaction
from moxtwisted.smtp.handlers import WholeMessages
from moxtwisted.smtp.protocol import SMTPServerFactory
from moxtwisted.smtp.settings import ServerSettings
from tests.http.memory import Client

LETTER = b"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello Bob.\r\n"

MIXED = (
    b"From: alice@example.org\r\nSubject: pictures\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="m"\r\n\r\n'
    b'--m\r\nContent-Type: multipart/related; boundary="r"\r\n\r\n'
    b'--r\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hi <img src="cid:dot@x"></p>\r\n'
    b"--r\r\nContent-Type: image/png\r\nContent-ID: <dot@x>\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--r--\r\n"
    b'--m\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename="../../etc/passwd"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n"
    b"--m\r\nContent-Type: message/rfc822\r\n\r\nSubject: inside\r\n\r\ninner text\r\n--m--\r\n"
)


def message(content: bytes = LETTER, **more: Any) -> CapturedMessage:
    """A message that nobody keeps yet."""
    given: dict[str, Any] = {
        "received": datetime(2026, 11, 22, 8, 30, tzinfo=UTC),
        "reverse_path": "alice@example.org",
        "forward_paths": ("bob@example.org",),
        "content": content,
        "hello_name": "client.example",
        "client": "127.0.0.1:40000",
        "port": 2525,
        "session": "sess_0123456789abcdef01234567",
        "transcript": (
            TranscriptLine(0.0, Direction.EVENT, "connected"),
            TranscriptLine(0.001, Direction.SERVER, "220 badsmtp.test ESMTP"),
            TranscriptLine(0.002, Direction.CLIENT, "EHLO client.example"),
        ),
    }
    return CapturedMessage(**{**given, **more})


class Fixture:
    """A site with its clock, its messages and a client.

    :ivar case: the test that it is for, at whose end all connections go away.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        self.clock = Clock()
        self.captured = Captured(1000, 64 * 1024 * 1024)
        self.smtp = SMTPServerFactory(
            ServerSettings(hostname="badsmtp.test"), WholeMessages(self._deliver), self.clock
        )
        self.site: BadSMTPSite = make_site(
            self.captured,
            lambda: {"smtp": 2525, "greeting-2": 25202},
            self.clock,
            smtp=self.smtp,
            names=["ci.example"],
        )
        self.client = Client(self.site, self.clock)
        case.addCleanup(self.client.close)

    def keep(self, content: bytes = LETTER, **more: Any) -> CapturedMessage:
        """A message comes in."""
        return self.captured.keep(message(content, **more))

    def _deliver(self, transaction: Transaction, content: bytes) -> None:
        paths = tuple(str(recipient.path) for recipient in transaction.recipients)
        self.keep(content, reverse_path=str(transaction.reverse_path), forward_paths=paths)
