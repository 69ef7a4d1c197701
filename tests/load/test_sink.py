"""The sink, asked by hand and by Python's own client of the standard library's grammar."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.load.authentication import AnybodyOr
from moxtwisted.load.keeping import DumpAppended, DumpEach, Maildir
from moxtwisted.load.numbers import message_id
from moxtwisted.load.rules import Fate, Rules
from moxtwisted.load.sink import Sink, SinkSettings
from moxtwisted.sasl.client import Credentials
from tests.load.wire import dice

MESSAGE = b"Subject: x\r\n\r\n..dot\r\n"


class Client:
    """A connection to a sink, that says octets and hears replies."""

    def __init__(self, sink: Sink) -> None:
        self.protocol = sink.factory.buildProtocol(None)
        self.transport = StringTransportWithDisconnection()
        self.transport.protocol = self.protocol
        self.transport.abortConnection = self.transport.loseConnection  # type: ignore[method-assign]
        self.protocol.makeConnection(self.transport)

    def say(self, *lines: bytes) -> bytes:
        """What is heard after these lines."""
        self.protocol.dataReceived(b"".join(line + b"\r\n" for line in lines))
        return self.heard()

    def heard(self) -> bytes:
        """What was said since this was last asked."""
        octets = self.transport.value()
        self.transport.clear()
        return octets

    def codes(self, *lines: bytes) -> list[int]:
        """The codes of the replies."""
        return [int(line[:3]) for line in self.say(*lines).splitlines() if line[3:4] != b"-"]

    def send(self, message: bytes = MESSAGE, *recipients: bytes) -> list[int]:
        """Codes of one message."""
        rcpt = [b"RCPT TO:<%s>" % recipient for recipient in recipients or (b"you@sink.example",)]
        return self.codes(b"MAIL FROM:<me@x.example>", *rcpt, b"DATA") + self.codes(message + b".")

    @property
    def connected(self) -> bool:
        """Whether the sink has not closed."""
        return self.transport.connected


class SinkTestCase(SynchronousTestCase):
    """A sink on a clock."""

    def sink(self, **settings: Any) -> Sink:
        """One."""
        self.clock = Clock()
        return Sink(
            SinkSettings(**settings), self.clock, random=dice(0.0, 0.25, 0.5, 0.75), entropy=os.urandom
        )

    def client(self, sink: Sink, hello: bytes = b"EHLO client.example") -> Client:
        """Who has said hello."""
        client = Client(sink)
        client.say(hello)
        return client

    def rules(self, fate: Fate, text: str) -> Rules:
        """Rules with one."""
        rules = Rules()
        rules.refuse(fate, text)
        return rules


class TakingTests(SinkTestCase):
    """What it takes."""

    def test_everything_is_taken_and_counted(self) -> None:
        """Messages are accepted and counted, with their recipients and octets."""
        sink = self.sink()
        client = self.client(sink)
        self.assertEqual(client.send(MESSAGE, b"a@x.example", b"b@x.example"), [250, 250, 250, 354, 250])
        facts = sink.figures()
        self.assertEqual(
            (facts["messages"]["accepted"], facts["recipients"], facts["octets"]), (1, 2, len(MESSAGE) - 1)
        )
        self.assertEqual((facts["unnumbered"], facts["sessions"]["open"]), (1, 1))
        self.assertEqual(client.codes(b"QUIT"), [221])
        self.assertEqual(sink.figures()["sessions"]["open"], 0)

    def test_numbers_are_checked(self) -> None:
        """What is missing of a numbered run, and what came twice, is said."""
        sink = self.sink()
        client = self.client(sink)
        for number in (1, 2, 2, 4):
            client.send(f"Message-ID: <{message_id('aa', number, 5, 'x')}>\r\n\r\n".encode())
        facts = sink.figures()
        self.assertEqual((facts["missing"], facts["doubled"], facts["unnumbered"]), (2, 1, 0))
        self.assertEqual(facts["runs"][0]["first_missing"], [3, 5])

    def test_a_number_in_pieces(self) -> None:
        """The number is found however the message is cut."""
        sink = self.sink()
        client = self.client(sink)
        client.say(b"MAIL FROM:<>", b"RCPT TO:<a@x.example>", b"DATA")
        for octet in f"Received: x\r\nMessage-ID: <{message_id('aa', 1, 1, 'x')}>\r\n\r\nx\r\n.\r\n".encode():
            client.protocol.dataReceived(bytes([octet]))
        self.assertEqual(sink.figures()["runs"][0]["received"], 1)

    def test_broken_off(self) -> None:
        """A message that does not end is counted apart."""
        sink = self.sink()
        client = self.client(sink)
        client.say(b"MAIL FROM:<>", b"RCPT TO:<a@x.example>", b"DATA", b"Subject: x")
        client.transport.loseConnection()
        self.assertEqual(sink.figures()["messages"], {"accepted": 0, "refused": 0, "broken_off": 1})

    def test_many_errors_are_borne(self) -> None:
        """However often a client errs, it is not turned away."""
        client = self.client(self.sink(rules=self.rules(Fate.HARD, "MAIL")))
        self.assertEqual(set(client.codes(*[b"NONSENSE"] * 100)), {500})
        self.assertEqual(set(client.codes(*[b"MAIL FROM:<>"] * 100)), {550})
        self.assertTrue(client.connected)

    def test_limits_end_it(self) -> None:
        """After so many messages, or sessions, it has enough."""
        sink = self.sink(stop_messages=2)
        client = self.client(sink)
        client.send()
        self.assertNoResult(sink.stopped)
        client.send()
        self.successResultOf(sink.stopped)
        sink = self.sink(stop_sessions=1)
        client = self.client(sink)
        self.assertNoResult(sink.stopped)
        client.say(b"QUIT")
        self.successResultOf(sink.stopped)

    def test_connections_are_limited(self) -> None:
        """Beyond the limit nothing is accepted until somebody leaves; who slipped in is greeted then, in turn."""

        class Port:
            reading = True

            def stopReading(self) -> None:
                self.reading = False

            def startReading(self) -> None:
                self.reading = True

        sink = self.sink(connections=2)
        sink.port = port = Port()
        first = self.client(sink)
        self.assertTrue(port.reading)
        self.client(sink)
        self.assertFalse(port.reading)
        others = [Client(sink) for _ in range(3)]
        self.assertEqual([other.heard() for other in others], [b"", b"", b""])
        others[1].transport.loseConnection()
        first.say(b"QUIT")
        self.assertEqual([others[0].heard()[:3], others[2].heard()], [b"220", b""])
        self.assertFalse(port.reading)
        others[0].say(b"QUIT")
        others[2].say(b"QUIT")
        self.assertTrue(port.reading)
        self.assertEqual(sink.figures()["sessions"], {"all": 4, "open": 1, "most_open": 2})

    def test_what_is_not_offered(self) -> None:
        """Extensions can be left out, and EHLO itself."""
        everything = Client(self.sink()).say(b"EHLO x.example")
        less = Client(self.sink(not_offered=frozenset({"PIPELINING", "DSN"}))).say(b"EHLO x.example")
        self.assertEqual(set(everything.split()) - set(less.split()), {b"250-PIPELINING", b"250-DSN"})
        client = Client(self.sink(not_offered=frozenset({"ESMTP"})))
        client.heard()
        self.assertEqual(client.codes(b"EHLO x.example", b"HELO x.example"), [502, 250])


class RefusingTests(SinkTestCase):
    """What it refuses, as it is told."""

    def test_each_command(self) -> None:
        """Each command can be refused softly or hardly, and is counted."""
        lines = {
            "EHLO": [b"EHLO x.example"], "HELO": [b"HELO x.example"], "MAIL": [b"MAIL FROM:<>"],
            "RCPT": [b"MAIL FROM:<>", b"RCPT TO:<a@x.example>"],
            "DATA": [b"MAIL FROM:<>", b"RCPT TO:<a@x.example>", b"DATA"],
            ".": [b"MAIL FROM:<>", b"RCPT TO:<a@x.example>", b"DATA", b"."],
            "RSET": [b"RSET"], "NOOP": [b"NOOP"], "VRFY": [b"VRFY a"], "QUIT": [b"QUIT"],
        }  # fmt: skip
        for command, said in lines.items():
            for fate, code in ((Fate.SOFT, 450), (Fate.HARD, 550), (Fate.GOODBYE, 421)):
                sink = self.sink(rules=self.rules(fate, command))
                client = Client(sink) if command in {"EHLO", "HELO"} else self.client(sink)
                client.heard()
                self.assertEqual(client.codes(*said)[-1], code, command)
                self.assertEqual(dict(sink.counted.refusals), {command: 1})
                self.assertEqual(client.connected, fate is not Fate.GOODBYE, command)
            self.assertEqual(sink.counted.messages, 0)

    def test_closing_without_a_word(self) -> None:
        """The connection can be closed without a reply."""
        for command in ("MAIL", "."):
            client = self.client(self.sink(rules=self.rules(Fate.CLOSE, command)))
            said = client.send()
            self.assertEqual(said, [] if command == "MAIL" else [250, 250, 354])
            self.assertFalse(client.connected)

    def test_connections(self) -> None:
        """Connections can be refused; those are not counted as open."""
        for fate, heard in ((Fate.SOFT, b"450"), (Fate.HARD, b"550"), (Fate.CLOSE, b"")):
            sink = self.sink(rules=self.rules(fate, "CONNECT"))
            client = Client(sink)
            self.assertEqual(client.heard()[:3], heard)
            self.assertFalse(client.connected)
            self.assertEqual(sink.counted.open, 0)

    def test_some_of_them(self) -> None:
        """A percentage is that of the dice."""
        client = self.client(self.sink(rules=self.rules(Fate.SOFT, ".:50")))
        self.assertEqual([client.send()[-1] for _ in range(4)], [450, 450, 250, 250])

    def test_recipients_of_lmtp(self) -> None:
        """In LMTP each recipient has its own luck; a message refused for all is not counted as taken."""
        sink = self.sink(lmtp=True, rules=self.rules(Fate.SOFT, ".:50"))
        client = self.client(sink, b"LHLO x.example")
        names = [b"%d@x.example" % number for number in range(3)]
        self.assertEqual(client.send(MESSAGE, *names)[5:], [450, 450, 250])
        self.assertEqual(client.send(MESSAGE, *names)[5:], [250, 450, 450])
        self.assertEqual((sink.counted.messages, sink.counted.recipients, sink.counted.refused), (2, 2, 0))
        self.assertEqual(client.send(MESSAGE, b"a@x.example", b"b@x.example")[4:], [250, 250])
        self.assertEqual(client.send(MESSAGE, b"a@x.example", b"b@x.example")[4:], [450, 450])
        self.assertEqual(sink.counted.refused, 1)

    def test_delays(self) -> None:
        """An answer comes after its delay, and not before."""
        rules = Rules()
        for command in ("CONNECT", "MAIL", "."):
            rules.delay(f"{command}:2")
        sink = self.sink(rules=rules)
        client = Client(sink)
        for said, code in (
            (b"", b"220"),
            (b"EHLO x.example\r\nMAIL FROM:<>\r\n", b"250"),
            (b"RCPT TO:<a@x.example>\r\nDATA\r\n", b"250"),
            (b".\r\n", b"250"),
        ):
            client.protocol.dataReceived(said)
            if code == b"220" or said == b".\r\n":
                self.assertEqual(client.heard(), b"")
            self.clock.advance(2.0)
            self.assertEqual(client.heard().splitlines()[0][:3], code)
        self.assertEqual(sink.counted.messages, 1)

    def test_who_does_not_wait_for_the_greeting(self) -> None:
        """A client that leaves before a delayed greeting is not counted as open for ever."""
        rules = Rules()
        rules.delay("CONNECT:5")
        sink = self.sink(rules=rules)
        client = Client(sink)
        self.assertEqual(sink.counted.open, 1)
        client.transport.loseConnection()
        self.clock.advance(10.0)
        self.assertEqual(sink.counted.open, 0)
        self.flushLoggedErrors()


class AuthenticationTests(SinkTestCase):
    """Who may log in."""

    def test_nobody(self) -> None:
        """Without being told, AUTH is not offered."""
        self.assertNotIn(b"AUTH", Client(self.sink()).say(b"EHLO x.example"))

    def test_anybody(self) -> None:
        """Anybody is believed."""
        sink = self.sink(authentication=AnybodyOr())
        client = Client(sink)
        self.assertIn(b"250-AUTH PLAIN LOGIN\r\n", client.say(b"EHLO x.example"))
        self.assertEqual(client.codes(b"AUTH PLAIN AGEAYg=="), [235])
        self.assertEqual(sink.counted.authenticated, 1)

    def test_one_user(self) -> None:
        """One user has one password."""
        sink = self.sink(authentication=AnybodyOr(Credentials("a", "b")))
        client = self.client(sink)
        self.assertEqual(client.codes(b"AUTH PLAIN AGEAYw=="), [535])
        self.assertEqual(client.codes(b"AUTH PLAIN AGIAYg=="), [535])
        self.assertEqual(client.codes(b"AUTH PLAIN AGEAYg=="), [235])
        self.assertEqual(sink.counted.authenticated, 1)


class KeepingTests(SinkTestCase):
    """What is kept."""

    def kept(self, keeper: Any, folder: Path) -> list[bytes]:
        """The files in a folder, after one message, a refused one and one that is broken off."""
        rules = self.rules(Fate.HARD, ".:50")
        sink = self.sink(keeper=keeper, rules=rules)
        client = self.client(sink)
        for code in (550, 550, 250):
            self.assertEqual(client.send(MESSAGE, b"a@x.example", b"b@x.example")[-1], code)
        client.say(b"MAIL FROM:<>", b"RCPT TO:<a@x.example>", b"DATA", b"Subject: x")
        client.transport.loseConnection()
        return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]

    EXPECTED = (
        b"X-Client-Addr: 192.168.1.1\nX-Client-Proto: ESMTP\nX-Helo-Args: client.example\nX-Mail-Args: <me@x.example>\n"
        b"X-Rcpt-Args: <a@x.example>\nX-Rcpt-Args: <b@x.example>\nSubject: x\n\n.dot\n"
    )

    def test_maildir(self) -> None:
        """Accepted messages are in the Maildir, with their envelope, and nothing else is."""
        folder = Path(self.mktemp())
        self.assertEqual(self.kept(Maildir(folder, iter("abcd").__next__), folder), [self.EXPECTED])
        self.assertEqual(len(list((folder / "new").iterdir())), 1)

    def test_files(self) -> None:
        """Accepted messages are each in a file."""
        folder = Path(self.mktemp())
        names = iter("abcd")
        keeper = DumpEach(lambda: f"{folder}/day/msg.", lambda: next(names))
        self.assertEqual(self.kept(keeper, folder), [self.EXPECTED])

    def test_one_file(self) -> None:
        """Accepted messages are one after the other in a file, with an empty line behind each."""
        folder = Path(self.mktemp())
        keeper = DumpAppended(lambda: f"{folder}/all")
        self.assertEqual(self.kept(keeper, folder), [self.EXPECTED + b"\n"])
        self.assertEqual(self.kept(keeper, folder), [(self.EXPECTED + b"\n") * 2])

    def test_disk_that_cannot_be_written(self) -> None:
        """What cannot be kept is refused, so that nobody thinks it was."""
        file = Path(self.mktemp())
        file.write_bytes(b"")
        sink = self.sink(keeper=DumpAppended(lambda: f"{file}/all"))
        self.assertEqual(self.client(sink).send()[-1], 452)
        self.assertEqual(sink.figures()["messages"], {"accepted": 0, "refused": 1, "broken_off": 0})
        sink = self.sink(keeper=DumpEach(lambda: f"{file}/x", lambda: "y"))
        self.assertEqual(
            self.client(sink).codes(b"MAIL FROM:<>", b"RCPT TO:<a@x.example>", b"DATA"), [250, 250, 452]
        )
