"""The page for those who test mail software says what is true."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import subprocess
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from moxtwisted.badsmtp.configuration import configure
from moxtwisted.badsmtp.interfaces import Hooks, StorageError
from moxtwisted.badsmtp.journal import formed
from moxtwisted.badsmtp.options import OFF, Option, options
from moxtwisted.badsmtp.settings import Settings
from moxtwisted.cli.companion import environment
from moxtwisted.compose.badsmtp import BadSMTP
from tests.badsmtp.howto import SMTP, literals, table
from tests.integration.peers import needs
from tests.test_badsmtp import MemoryJournal

PAGE = SMTP.parent.parent / "badsmtp.rst"
_PATIENCE = 60.0


def _shown(option: Option) -> str:
    default: Any = OFF if option.default is None else option.default
    if isinstance(default, bool):
        default = str(default).lower()
    return f"``{default}``" if default not in ("", {}) else ""


class TableTests(SynchronousTestCase):
    """Tables that repeat what the program knows."""

    def test_settings(self) -> None:
        """Each setting has its row, with its names, its default and its sentence."""
        expected = [
            [f"``{o.name}``", f"``{o.flag}``", f"``{o.variable}``", _shown(o), o.text] for o in options()
        ]
        self.assertEqual(table("Settings", PAGE), expected)

    def test_variables(self) -> None:
        """What a command is told is what the table says, besides the beginnings of ranges and the address."""
        listed = {name for row in table("What the command is told", PAGE) for name in literals(row[0])}
        told = set(environment(Settings(tls_root_out="x"), {"http": 1}))
        ranges = {name for name in told if name.endswith("_PORT_START")}
        self.assertEqual(told - ranges - {"BADSMTP_LISTEN_ADDRESS"}, listed)


class _Refusing:
    """A store that is full for one recipient."""

    def store(self, message: Any) -> None:
        if "full@x.example" in message.forward_paths:
            raise StorageError("over quota")


class LiveTests(TestCase):
    maxDiff = None
    """What the page promises of a server that runs."""

    def setUp(self) -> None:
        """A server on free ports, with its log in memory."""
        self.journal = MemoryJournal()
        configuration = configure({"log_output": "off"}, {}, "/dev/null", free_ports=True)
        self.server = BadSMTP(reactor, configuration, Hooks(journal=self.journal, store=_Refusing()))
        self.server.startService()
        self.addCleanup(self.server.stopService)

    def _talk(self) -> None:
        """Bring about one of each."""
        ports = self.server.ports
        with smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=_PATIENCE) as smtp:
            smtp.starttls()
            smtp.login("alice", "any")
            smtp.sendmail("a@x.example", ["b@x.example"], b"Subject: x\r\n\r\nx\r\n")
            smtp.mail("mail550@x.example")
        with smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=_PATIENCE) as smtp:
            for act in (
                lambda: smtp.sendmail("a@x.example", ["full@x.example"], b"x"),
                lambda: smtp.login("badauth", "any"),
            ):
                try:
                    act()
                except smtplib.SMTPException:
                    continue
        for name, said in (("drop-0", b""), ("tls", b"this is no ClientHello\r\n")):
            # Hung up on, politely or not.
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", ports[name]), _PATIENCE) as client,
            ):
                client.sendall(said)
                client.recv(1)

    async def test_log(self) -> None:
        """The lines of the log are those of the table: message, level and fields."""
        await deferToThread(self._talk)
        await self.server.stopService()
        listed = {
            literals(row[0])[0]: (row[1], set(literals(re.sub(r"\([^)]*\)", "", row[2]))))
            for row in table("Messages of the log", PAGE)
        }
        del listed["Log lines lost"]
        found: dict[str, tuple[str, set[str]]] = {}
        for level, message, fields in self.journal.lines:
            names = set(formed(fields)) - {"session_id", "client_ip"}
            before = found.get(message, (level.value, set()))
            self.assertEqual(before[0], level.value)
            found[message] = (level.value, before[1] | names)
        self.assertEqual(found, listed)

    @needs("swaks", "curl")
    async def test_begin(self) -> None:
        """The first commands of the page do what is said of them."""
        block = PAGE.read_text().partition("In a second terminal:")[2].partition("shows the messages")[0]
        commands = re.findall(r"^   ((?:swaks|printf) .*)$", block, re.MULTILINE)
        statuses = []
        for command in commands[:-1]:
            local = command.replace("127.0.0.1:2525", f"127.0.0.1:{self.server.ports['smtp']}")
            self.assertNotEqual(local, command)
            done = await deferToThread(
                subprocess.run, ["sh", "-c", local], capture_output=True, timeout=_PATIENCE, check=False
            )
            statuses.append(done.returncode)
        # swaks: 23 the sender was refused, 24 all recipients were; curl: 8 the server answered what it must not.
        self.assertEqual(statuses, [0, 23, 24, 8, 0])
        self.assertIn(":25203 ", commands[-1])
        self.assertEqual(Settings().greeting_delay_port_start, 25200)
        self.assertEqual(len(self.server.captured.messages()), 2)
