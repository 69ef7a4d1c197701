"""A whole BadSMTP server: service, page, store and log out of one configuration."""

from __future__ import annotations

import json
import smtplib
import socket
import urllib.request
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from moxtwisted.badsmtp.configuration import Configuration
from moxtwisted.badsmtp.interfaces import Hooks, IJournal, Level
from moxtwisted.badsmtp.settings import LogSettings, Settings
from moxtwisted.compose.badsmtp import BadSMTP
from moxtwisted.errors import MailError

_LIGHT = Settings(
    port=0,
    greeting_delay_port_start=None,
    drop_delay_port_start=None,
    greeting_fault_port_start=None,
    tls_port=None,
    starttls_port=None,
    tls_fault_port_start=None,
    implicit_tls_fault_port_start=None,
    lmtp_port=None,
    imap_port=None,
    pop3_port=None,
    imaps_port=None,
    pop3s_port=None,
    http_port=0,
)
_PATIENCE = 60.0


@implementer(IJournal)
class MemoryJournal:
    """Keeps lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[Level, str, dict[str, Any]]] = []

    def write(self, level: Level, message: str, fields: Any, error: str = "") -> None:
        self.lines.append((level, message, dict(fields)))


def _send(port: int, sender: str = "a@x.example", recipient: str = "b@x.example") -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=_PATIENCE) as smtp:
        smtp.sendmail(sender, [recipient], b"Subject: x\r\n\r\nhello\r\n")


def _fetched(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=_PATIENCE) as response:
        return json.load(response)


class ComposeTests(TestCase):
    """``BadSMTP``."""

    def server(self, settings: Settings = _LIGHT, hooks: Hooks | None = None) -> BadSMTP:
        configuration = Configuration(settings=settings, log=LogSettings(log_output="off"))
        server = BadSMTP(reactor, configuration, hooks)
        server.startService()
        self.addCleanup(server.stopService)
        return server

    async def test_together(self) -> None:
        """A message that comes in is in memory, in the Maildir, in the log and on the page."""
        mailbox = Path(self.mktemp()).absolute()
        journal = MemoryJournal()
        server = self.server(attrs.evolve(_LIGHT, mailbox_dir=str(mailbox)), Hooks(journal=journal))
        await deferToThread(_send, server.ports["smtp"])
        [message] = server.captured.messages()
        self.assertEqual(message.forward_paths, ("b@x.example",))
        [file] = (mailbox / "new").iterdir()
        self.assertTrue(file.read_bytes().endswith(message.content))
        [stored] = [fields for _, text, fields in journal.lines if text == "SMTP message stored successfully"]
        self.assertEqual(stored["storage_type"], "maildir")
        listed = await deferToThread(_fetched, server.ports["http"], "/api/messages")
        self.assertEqual([m["number"] for m in listed["messages"]], [message.number])
        ports = await deferToThread(_fetched, server.ports["http"], "/api/ports")
        self.assertEqual({port["name"]: port["port"] for port in ports["ports"]}, dict(server.ports))

    async def test_failing_transaction(self) -> None:
        """Nothing of a transaction that fails is stored, whatever went wrong."""
        mailbox = Path(self.mktemp()).absolute()
        server = self.server(attrs.evolve(_LIGHT, mailbox_dir=str(mailbox)))
        for sender, recipient in (
            ("mail550@x.example", "b@x.example"),
            ("a@x.example", "rcpt550@x.example"),
            ("data550@x.example", "b@x.example"),
            ("dend550@x.example", "b@x.example"),
        ):
            with self.assertRaises(smtplib.SMTPException):
                await deferToThread(_send, server.ports["smtp"], sender, recipient)
        self.assertEqual(server.captured.messages(), ())
        self.assertEqual(list((mailbox / "new").iterdir()), [])

    async def test_unwritable(self) -> None:
        """A message that cannot be written is refused for now, and not captured either."""
        mailbox = Path(self.mktemp()).absolute()
        server = self.server(attrs.evolve(_LIGHT, mailbox_dir=str(mailbox)))
        (mailbox / "new").rmdir()
        (mailbox / "new").symlink_to(mailbox.parent)
        with self.assertRaises(smtplib.SMTPDataError) as caught:
            await deferToThread(_send, server.ports["smtp"])
        self.assertEqual(caught.exception.smtp_code, 450)
        self.assertEqual(server.captured.messages(), ())

    async def test_end(self) -> None:
        """At the end all ports are closed, of the page as well, and it can begin again."""
        server = self.server()
        ports = dict(server.ports)
        self.assertEqual(set(ports), {"smtp", "http"})
        await maybeDeferred(server.stopService)
        self.assertEqual(dict(server.ports), {})
        for port in ports.values():
            with socket.create_server(("127.0.0.1", port)):
                pass
        server.startService()
        await deferToThread(_send, server.ports["smtp"])

    async def test_taken(self) -> None:
        """When a port is taken, be it that of the page, a sentence says which, and nothing stays open."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for name in ("port", "http_port"):
                settings = attrs.evolve(_LIGHT, **{name: port})
                server = BadSMTP(reactor, Configuration(settings=settings, log=LogSettings(log_output="off")))
                error = self.assertRaises(MailError, server.startService)
                self.assertEqual(error.explanation, f"127.0.0.1:{port}: another program listens there")
                self.assertEqual(dict(server.ports), {})
                await maybeDeferred(server.stopService)

    async def test_no_maildir(self) -> None:
        """A Maildir that cannot be made is told before anything listens."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(b"")
        settings = attrs.evolve(_LIGHT, mailbox_dir=str(path))
        server = BadSMTP(reactor, Configuration(settings=settings, log=LogSettings(log_output="off")))
        self.assertIn(str(path), self.assertRaises(MailError, server.startService).explanation)
        self.assertEqual(dict(server.ports), {})
