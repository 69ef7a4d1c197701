"""What a host can change without forking: offers, commands, replies, decisions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxtwisted.smtp.body import BodyReader
from moxtwisted.smtp.events import Event, Mail, Plain, Refused
from moxtwisted.smtp.extensions import Extension, Facts, Offers, standard_extensions
from moxtwisted.smtp.grammar import ParameterRule
from moxtwisted.smtp.interfaces import (
    ISMTPAttached,
    ISMTPCommandHandler,
    ISMTPConnection,
    ISMTPInterceptor,
    ISMTPTagged,
)
from moxtwisted.smtp.protocol import SMTPServerFactory
from moxtwisted.smtp.replies import RawReply, Reply, StandardReplies
from moxtwisted.smtp.server import ServerMachine
from moxtwisted.smtp.settings import ServerSettings
from moxtwisted.smtp.states import State
from moxtwisted.smtp.testing import MemoryHandler, MemoryHandlers, MemoryLink

SETTINGS = ServerSettings(hostname="bad.example")


class Bananas(Extension):
    """An extension with a command and a parameter."""

    keyword = "GOBANANAS"
    commands = {"BANA": frozenset({State.READY})}
    mail_parameters = {
        b"RIPE": ParameterRule("", lambda value: None if value is None else value.decode("ascii"))
    }

    def offered(self, facts: Facts) -> str:
        return "2"


class ByName(Offers):
    """The client's name says what is left out."""

    def extensions(self, facts: Facts) -> Sequence[Extension]:
        label = facts.name.lower().partition(".")[0]
        return [e for e in super().extensions(facts) if f"no{e.keyword.lower()}" not in label.split("-")]


@implementer(ISMTPInterceptor, ISMTPCommandHandler)
class Unreliable(MemoryHandler):
    """Errors on demand, in the sender's address."""

    wait: Deferred[Reply] | None = None

    def intercept(self, event: Event, reply: Reply) -> Any:
        if isinstance(event, Mail):
            code = re.match(r"mail(\d{3})@", str(event.path))
            if code:
                return Reply(int(code[1]), "", "as you like it")
        if event.verb == "RSET":
            self.wait = Deferred()
            return self.wait
        return RawReply(250, octets=b"250 half a li", close=True) if event.verb == "HELP" else None

    def command(self, verb: str, argument: str) -> Reply | None:
        return Reply(250, "", "NA") if verb == "BANA" else None


class LenientMachine(ServerMachine):
    """Another answer to an unknown command, and one to TURN."""

    def on_unknown(self, verb: str, argument: bytes) -> Event:
        if verb == "TURN":
            return Plain(verb, self.replies.ok, "")
        return Refused(verb, Reply(500, "5.5.1", f"{verb}?"))


@implementer(ISMTPTagged)
class Tagged(MemoryHandler):
    """A handler whose refusals lead to the log."""

    reply_tag = "x7k2"


@implementer(ISMTPAttached, ISMTPInterceptor)
class Attached(MemoryHandler):
    """A handler that knows its connection."""

    connection: Any = None
    gone = False

    def attached(self, connection: Any) -> None:
        self.connection = connection

    def intercept(self, event: Event, reply: Reply) -> Any:
        if event.verb == "HELP":
            self.connection.write(b"214-out of turn\r\n")
        elif event.verb == "RSET":
            return self.later(reply)
        elif event.verb == "EXPN":
            self.connection.abort()
        return None

    async def later(self, reply: Reply) -> Reply:
        self.connection.listen()
        try:
            await self.connection.sleep(60)
        finally:
            self.gone = self.connection.machine.state is State.CLOSED
        self.connection.write(b"250-at last\r\n")
        return reply


class EarlyEnd(BodyReader):
    """A message ends with its first line that says so."""

    def feed(self, octets: bytes) -> bytes:
        message, end, rest = octets.partition(b"THE END\r\n")
        self.done, self.rest = bool(end), rest
        return message


class EarlyMachine(ServerMachine):
    """Another end of data."""

    def body_reader(self) -> BodyReader:
        return EarlyEnd(self.settings.bare_line_ends)


class PatientMachine(ServerMachine):
    """Ignores what begins with a hash."""

    def next_line(self) -> bytes | Event | None:
        while True:
            line = super().next_line()
            if not isinstance(line, bytes) or not line.startswith(b"#"):
                return line


class LineTests(SynchronousTestCase):
    """Lines that a host wants to be treated otherwise."""

    def setUp(self) -> None:
        replies = evolve(
            StandardReplies(), line_too_long=Reply(500, "", "long"), auth_too_long=Reply(500, "", "secret")
        )
        settings = evolve(SETTINGS, mechanisms=("PLAIN",), auth_without_tls=True)
        utc_now = SMTPServerFactory(settings, MemoryHandlers(), Clock()).utc_now
        self.link = MemoryLink(
            settings, MemoryHandlers(), PatientMachine(settings, utc_now=utc_now, replies=replies)
        )
        self.link.say(b"EHLO a.example\r\n")

    def test_long_lines(self) -> None:
        """A reply to a line that is too long need not close: the rest of the line is thrown away, wherever it is cut."""
        for octets in (b"NOOP " + b"x" * 3000, b"NOOP " + b"x" * 9000, b"AUTH " + b"x" * 20000):
            for size in (700, 2048, 100_000):
                whole = octets + b"\r\nNOOP\r\n"
                said = self.link.say_each(whole[i : i + size] for i in range(0, len(whole), size))
                word = b"secret" if octets.startswith(b"AUTH") else b"long"
                with self.subTest(octets=len(octets), size=size):
                    self.assertEqual(said, b"500 " + word + b"\r\n250 2.0.0 ok\r\n")

    def test_left_out(self) -> None:
        """A machine can leave lines out."""
        self.assertEqual(self.link.say(b"# what is this\r\nNOOP\r\n# done\r\n"), b"250 2.0.0 ok\r\n")


class Aborting(StringTransport):
    """A transport that can be reset."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class AttachedTests(SynchronousTestCase):
    """What a handler does with its connection besides answering."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.handlers = MemoryHandlers()
        self.handlers.make = Attached
        self.protocol = SMTPServerFactory(SETTINGS, self.handlers, self.clock).buildProtocol(None)
        self.transport = Aborting()
        self.protocol.makeConnection(self.transport)
        self.transport.clear()

    def say(self, octets: bytes) -> bytes:
        self.protocol.dataReceived(octets)
        said: bytes = self.transport.value()
        self.transport.clear()
        return said

    def test_interface(self) -> None:
        """What it gets is an ISMTPConnection, before the first reply."""
        handler: Any = self.handlers.handlers[0]
        self.assertTrue(verifyObject(ISMTPConnection, handler.connection))
        self.assertIs(handler.connection.machine, self.protocol.machine)

    def test_out_of_turn(self) -> None:
        """Octets out of turn stand behind the replies that are ready, before the next one."""
        self.assertEqual(
            self.say(b"NOOP\r\nHELP\r\nNOOP\r\n"),
            b"250 2.0.0 ok\r\n214-out of turn\r\n214 2.0.0 see RFC 5321\r\n250 2.0.0 ok\r\n",
        )

    def test_listening(self) -> None:
        """It can wait and hear the client leave: then it is cancelled; what the client says meanwhile is kept, and stops the reading."""
        self.assertEqual(self.say(b"NOOP\r\nRSET\r\n"), b"250 2.0.0 ok\r\n")
        self.assertEqual(self.transport.producerState, "producing")
        self.assertEqual(self.say(b"NOOP\r\n"), b"")
        self.assertEqual(self.transport.producerState, "paused")
        self.clock.advance(60)
        self.assertEqual(self.transport.value(), b"250-at last\r\n250 2.0.0 ok\r\n250 2.0.0 ok\r\n")
        self.assertEqual(self.transport.producerState, "producing")
        self.say(b"RSET\r\n")
        handler: Any = self.handlers.handlers[0]
        self.assertFalse(handler.gone)
        self.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(handler.gone)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abort(self) -> None:
        """It can drop the connection; nothing is said any more."""
        self.assertNotIn(b"250", self.say(b"EXPN x\r\nNOOP\r\n"))
        self.assertTrue(self.transport.aborted)

    def test_another_end_of_data(self) -> None:
        """A machine can have its own idea of where a message ends."""
        utc_now = SMTPServerFactory(SETTINGS, self.handlers, self.clock).utc_now
        handlers = MemoryHandlers()
        link = MemoryLink(SETTINGS, handlers, EarlyMachine(SETTINGS, utc_now=utc_now))
        link.say(b"EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
        said = link.say(b"hello\r\nTHE END\r\nNOOP\r\n")
        self.assertEqual(said, b"250 2.6.0 message accepted\r\n250 2.0.0 ok\r\n")
        self.assertEqual(handlers.messages[0].octets, b"hello\r\n")


class TagTests(SynchronousTestCase):
    """Refusals that can be found in the log."""

    def test_tags(self) -> None:
        """Every 4yz and 5yz has the tag once, whoever refused; others have none."""
        handlers = MemoryHandlers(rcpt=Reply(550, "5.1.1", ("no such", "user")))
        handlers.make = Tagged
        link = MemoryLink(SETTINGS, handlers)
        said = link.say(
            b"EHLO a.example\r\nMAIL FROM:<a@b.example> X\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
        )
        self.assertTrue(
            said.endswith(
                b"555 5.5.4 parameter X not recognized (x7k2)\r\n250 2.1.0 sender ok\r\n"
                b"550-5.1.1 no such\r\n550 5.1.1 user (x7k2)\r\n"
            ),
            said,
        )


class BendingTests(SynchronousTestCase):
    """A server that behaves as its host wants it to."""

    def setUp(self) -> None:
        self.handlers = MemoryHandlers()
        self.handlers.make = Unreliable
        offers = ByName([*standard_extensions(SETTINGS), Bananas()])
        replies = evolve(StandardReplies(), rcpt_ok=Reply(250, "2.1.5", "why not"))
        factory = SMTPServerFactory(SETTINGS, self.handlers, Clock(), offers=offers, replies=replies)
        factory.make_machine = lambda: LenientMachine(  # type: ignore[method-assign]
            SETTINGS, utc_now=factory.utc_now, offers=offers, replies=replies
        )
        self.protocol = factory.buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)
        self.transport.clear()

    def say(self, octets: bytes) -> bytes:
        self.protocol.dataReceived(octets)
        said: bytes = self.transport.value()
        self.transport.clear()
        return said

    def test_offers_by_name(self) -> None:
        """The EHLO reply depends on the name, and what is not offered is not understood."""
        self.assertIn(b"PIPELINING", self.say(b"EHLO x.example\r\n"))
        said = self.say(b"EHLO nopipelining-nosize.example\r\n")
        self.assertNotIn(b"PIPELINING", said)
        self.assertNotIn(b"SIZE", said)
        self.assertIn(
            b"250-GOBANANAS 2\r\n",
            said + b"250-GOBANANAS 2\r\n" if said.endswith(b"250 GOBANANAS 2\r\n") else said,
        )
        self.assertTrue(self.say(b"MAIL FROM:<a@example.org> SIZE=1\r\n").startswith(b"555"))

    def test_commands_and_parameters_of_extensions(self) -> None:
        """They work in their states and while they are offered."""
        self.assertEqual(self.say(b"BANA\r\n"), b"500 5.5.1 BANA?\r\n")
        self.say(b"EHLO x.example\r\n")
        self.assertEqual(self.say(b"BANA now\r\n"), b"250 NA\r\n")
        self.assertTrue(self.say(b"MAIL FROM:<a@example.org> RIPE=yes\r\n").startswith(b"250"))
        self.assertEqual(self.handlers.handlers[0].calls[-1][2].extra, {"RIPE": "yes"})
        self.assertTrue(self.say(b"BANA\r\n").startswith(b"503"))
        self.say(b"EHLO nogobananas\r\n")
        self.assertEqual(self.say(b"BANA\r\n"), b"500 5.5.1 BANA?\r\n")

    def test_replies_decide(self) -> None:
        """The state goes where the interceptor's reply leads; 421 closes."""
        self.say(b"EHLO x.example\r\n")
        self.assertEqual(self.say(b"MAIL FROM:<mail452@x.example>\r\n"), b"452 as you like it\r\n")
        self.assertTrue(self.say(b"RCPT TO:<b@x.example>\r\n").startswith(b"503"))
        self.say(b"MAIL FROM:<a@x.example>\r\n")
        self.assertEqual(self.say(b"RCPT TO:<b@x.example>\r\n"), b"250 2.1.5 why not\r\n")
        self.assertEqual(self.say(b"TURN\r\n"), b"250 2.0.0 ok\r\n")
        self.say(b"EHLO x.example\r\n")
        self.say(b"MAIL FROM:<mail421@x.example>\r\n")
        self.assertTrue(self.transport.disconnecting)

    def test_delayed_replies(self) -> None:
        """An interceptor may take its time."""
        self.assertEqual(self.say(b"RSET\r\nNOOP\r\n"), b"")
        handler: Any = self.handlers.handlers[0]
        handler.wait.callback(Reply(452, "", "finally"))
        self.assertEqual(self.transport.value(), b"452 finally\r\n250 2.0.0 ok\r\n")

    def test_closing_in_the_middle_of_a_line(self) -> None:
        """Raw octets, then the end."""
        self.assertEqual(self.say(b"HELP\r\nNOOP\r\n"), b"250 half a li")
        self.assertTrue(self.transport.disconnecting)
