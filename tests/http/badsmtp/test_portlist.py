"""What the page says of ports and faults is so."""

from __future__ import annotations

import re

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.badsmtp import imapfaults, pop3faults
from moxtwisted.badsmtp.grammar import parse_local_part
from moxtwisted.badsmtp.service import BadSMTPService
from moxtwisted.badsmtp.settings import Settings
from moxtwisted.badsmtp.tokens import Wishes, parse_hello_name
from moxtwisted.badsmtp.visitors import parse_user
from moxtwisted.http.badsmtp.portlist import describe_ports


class PortTests(SynchronousTestCase):
    """Ports."""

    def test_every_listener_is_described(self) -> None:
        """Each port that the standard settings open says what it speaks and what it does, and like ports stand together."""
        service = BadSMTPService(MemoryReactorClock(), Settings())
        ports = {name: port for name, port, _ in service.factories()}
        described = describe_ports({**ports, "http": 25080}, "127.0.0.1")
        self.assertEqual({port.name: port.port for port in described.ports}, {**ports, "http": 25080})
        self.assertEqual([port.name for port in described.ports if not port.protocol or not port.does], [])
        families = [
            re.sub(r"-.*", "", port.name.replace("greeting-fault", "fault")) for port in described.ports
        ]
        changes = [
            family for family, before in zip(families, ["", *families], strict=False) if family != before
        ]
        self.assertEqual(len(changes), len(set(changes)))


class WordingTests(SynchronousTestCase):
    """What a client can say."""

    def test_every_wording_is_understood(self) -> None:
        """What is given as a way to ask for something does ask for it, by the grammar that the server uses."""
        for wording in describe_ports({}, "127.0.0.1").wordings:
            say = wording.say
            if found := re.fullmatch(r"(?:MAIL FROM|RCPT TO):<(.+)@x\.example>", say):
                self.assertIsNotNone(parse_local_part(found[1]), say)
            elif say.startswith("EHLO "):
                self.assertNotEqual(parse_hello_name(say[5:]), Wishes(), say)
            elif wording.kind.endswith("IMAP"):
                self.assertTrue(parse_user(say, imapfaults.IMAP_VERBS, imapfaults.DESCRIPTIONS).wishes, say)
            elif wording.kind.endswith("POP3"):
                self.assertTrue(parse_user(say, pop3faults.POP3_VERBS, pop3faults.DESCRIPTIONS).wishes, say)
            else:
                self.assertTrue(say.isdigit() or say == "badauth", say)

    def test_examples_are_lines(self) -> None:
        """Each example is lines of SMTP that begin with a greeting."""
        for example in describe_ports({}, "127.0.0.1").examples:
            self.assertTrue(example.lines[0].startswith("EHLO "))
            self.assertTrue(all("\n" not in line for line in example.lines))
