"""Commands about thousands of messages, and what happens between the turns that they take."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.protocol import IMAPServerFactory
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.imap.testing import counted_entropy

MESSAGES = 6000
MANY = 5500
_MESSAGE = b"Subject: x\r\n\r\nhello\r\n"
_LINE = re.compile(rb"\* (?:([0-9]+) (EXPUNGE|EXISTS|FETCH \(.*\))|VANISHED ([0-9:,]+))\r\n")


class _CreepingClock(Clock):
    """Time goes by whenever somebody looks at it."""

    def seconds(self) -> float:
        """The time, a little later than before."""
        self.rightNow += 0.02
        return super().seconds()

    def turn(self) -> None:
        """What is due now, and nothing that follows from it."""
        for call in [call for call in self.calls if call.getTime() <= self.rightNow]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class _Client:
    """Believes what it is told.

    :ivar uids: of the selected mailbox, as far as it knows; 0 for those that it was only told to be there.
    """

    def __init__(self, factory: IMAPServerFactory, enable: bytes = b"") -> None:
        self.protocol = factory.make_protocol()
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)
        self._number = 0
        self.uids: list[int] = []
        self.heard = b""
        self.clock: Any = factory.clock
        self.say(b"LOGIN alice secret")
        if enable:
            self.say(b"ENABLE " + enable)
        self.say(b"SELECT INBOX")
        self.uids = list(range(1, MESSAGES + 1))

    def begin(self, command: bytes) -> None:
        """Say it, and listen to what comes at once."""
        self._number += 1
        self.protocol.dataReceived(b"t%d %b\r\n" % (self._number, command))
        self.listen()

    @property
    def answered(self) -> bool:
        """Whether the last command was."""
        return b"\r\nt%d " % self._number in b"\r\n" + self.heard

    def finish(self) -> bytes:
        """All that is said until it is answered."""
        for _ in range(2000):
            if self.answered:
                break
            self.clock.turn()
            self.listen()
        heard, self.heard = self.heard, b""
        return heard

    def say(self, command: bytes) -> bytes:
        """Both."""
        self.begin(command)
        return self.finish()

    def listen(self) -> None:
        """Take in what was said; lines may come in parts."""
        said = self.transport.value()
        end = said.rfind(b"\r\n") + 2
        self.transport.clear()
        self.transport.write(said[end:])
        self.heard += said[:end]
        for number, what, vanished in _LINE.findall(said[:end]):
            if vanished:
                gone = {
                    uid
                    for part in vanished.split(b",")
                    for uid in range(int(part.split(b":")[0]), int(part.split(b":")[-1]) + 1)
                }
                self.uids = [uid for uid in self.uids if uid not in gone]
            elif what == b"EXPUNGE":
                del self.uids[int(number) - 1]
            elif what == b"EXISTS":
                self.uids += [0] * (int(number) - len(self.uids))
            elif uid := re.search(rb"UID ([0-9]+)", what):
                if self.uids[int(number) - 1] not in {0, int(uid[1])}:
                    raise AssertionError(what)
                self.uids[int(number) - 1] = int(uid[1])


class LongChangesTests(SynchronousTestCase):
    """A mailbox of some thousand messages, two sessions."""

    def setUp(self) -> None:
        self.mail = MemoryMail()
        self.mail.make("Other")
        for _ in range(MESSAGES):
            self.mail.add("INBOX", _MESSAGE)
        clock: Any = _CreepingClock()
        settings = ServerSettings(hostname="x.example", allow_plain_without_tls=True)
        authenticator = MemoryAuthenticator({"alice": ("secret", self.mail)}, counted_entropy())
        self.factory = IMAPServerFactory(settings, authenticator, clock)

    def there(self, name: str = "INBOX") -> list[int]:
        """UIDs in a mailbox."""
        return list(self.mail.find(name).uids)

    def agree(self, *clients: _Client) -> None:
        """All believe what is so."""
        for client in clients:
            client.say(b"NOOP")
            client.say(b"UID FETCH 1:* (UID)")
            self.assertEqual(client.uids, self.there())

    def meddle(self, other: _Client) -> None:
        """Another session changes flags, expunges, and something is delivered."""
        other.say(b"UID STORE %d:* +FLAGS (\\Flagged)" % (MANY + 1))
        other.say(b"UID STORE %d +FLAGS.SILENT (\\Deleted)" % (MANY + 7))
        other.say(b"EXPUNGE")
        self.mail.add("INBOX", _MESSAGE)

    def test_move(self) -> None:
        """COPYUID comes before EXPUNGE and that before OK; what others do between the turns is told as well."""
        for enable in (b"", b"QRESYNC"):
            with self.subTest(enable=enable):
                self.setUp()
                mover, other = _Client(self.factory, enable), _Client(self.factory)
                mover.begin(b"MOVE 1:%d Other" % MANY)
                self.assertFalse(mover.answered)
                self.meddle(other)
                self.assertFalse(mover.answered)
                said = mover.finish()
                self.assertLess(
                    said.index(b"[COPYUID "), said.index(b"* VANISHED" if enable else b" EXPUNGE")
                )
                self.assertRegex(said, rb"\r\nt[0-9]+ OK [^\r\n]*MOVE completed\r\n\Z")
                self.assertEqual(len(self.there("Other")), MANY)
                self.agree(mover, other)

    def test_expunge(self) -> None:
        """EXPUNGE and UID EXPUNGE likewise; nobody's message is lost."""
        for command in (b"EXPUNGE", b"UID EXPUNGE 1:*"):
            with self.subTest(command=command):
                self.setUp()
                one, other = _Client(self.factory), _Client(self.factory)
                one.say(b"STORE 1:%d +FLAGS.SILENT (\\Deleted)" % MANY)
                one.begin(command)
                self.assertFalse(one.answered)
                self.meddle(other)
                one.finish()
                self.assertEqual(len(self.there()), MESSAGES - MANY - 1 + 1)
                self.agree(one, other)

    def test_store(self) -> None:
        """Flags that another session changes meanwhile are told as they are in the end."""
        for silent in (b"", b".SILENT"):
            with self.subTest(silent=silent):
                self.setUp()
                one, other = _Client(self.factory, b"CONDSTORE"), _Client(self.factory)
                one.begin(b"UID STORE 1:* +FLAGS%b (\\Seen)" % silent)
                self.assertFalse(one.answered)
                other.say(b"UID STORE 17 -FLAGS (\\Seen)")
                said = one.finish() + one.say(b"NOOP")
                last = re.findall(rb"\* 17 FETCH \(UID 17 FLAGS \((.*?)\)", said)[-1]
                self.assertEqual(last, b"")
                self.agree(one, other)

    def test_others_are_told_in_turns(self) -> None:
        """Who is told of thousands of messages lets others have their turn, and is told what was so when it began."""
        one, other = _Client(self.factory), _Client(self.factory)
        one.say(b"STORE 1:%d +FLAGS.SILENT (\\Deleted)" % MANY)
        other.begin(b"NOOP")
        for _ in range(2):
            self.factory.clock.turn()
            other.listen()
            self.assertFalse(other.answered)
        # They go away before all was said of their flags.
        one.say(b"EXPUNGE")
        said = other.finish()
        self.assertEqual(said.count(b"FLAGS (\\Deleted)"), MANY)
        self.assertNotIn(b"EXPUNGE", said)
        self.agree(one, other)

    def test_while_idling(self) -> None:
        """IDLE tells it in pieces, too, and the end of IDLE waits until all was said."""
        one, other = _Client(self.factory), _Client(self.factory)
        other.begin(b"IDLE")
        one.say(b"STORE 1:%d +FLAGS.SILENT (\\Deleted)" % MANY)
        one.say(b"EXPUNGE")
        other.protocol.dataReceived(b"DONE\r\n")
        said = other.finish()
        self.assertEqual(said.count(b" EXPUNGE\r\n"), MANY)
        self.assertTrue(said.endswith(b" OK IDLE completed\r\n"))
        self.agree(one, other)

    def test_client_that_does_not_read(self) -> None:
        """Nothing of a long answer is made while the client does not read; afterwards it goes on where it was."""
        one, other = _Client(self.factory), _Client(self.factory)
        one.begin(b"MOVE 1:%d Other" % MANY)
        one.protocol.pauseProducing()
        for _ in range(20):
            self.factory.clock.turn()
        self.meddle(other)
        one.listen()
        self.assertFalse(one.answered)
        one.protocol.resumeProducing()
        self.assertEqual(one.finish().count(b" EXPUNGE\r\n"), MANY)
        self.agree(one, other)

    def test_lost_connection(self) -> None:
        """A connection that is lost in any turn of a MOVE leaves each message in one mailbox, and the other sessions right."""
        for turns in range(6):
            with self.subTest(turns=turns):
                self.setUp()
                mover, other = _Client(self.factory), _Client(self.factory)
                mover.begin(b"MOVE 1:%d Other" % MANY)
                for _ in range(turns):
                    self.factory.clock.turn()
                mover.protocol.connectionLost()
                self.factory.clock.advance(1)
                self.assertEqual((len(self.there()), len(self.there("Other"))), (MESSAGES - MANY, MANY))
                self.agree(other)

    def test_what_follows_waits(self) -> None:
        """Commands that were sent behind it are answered behind it."""
        one = _Client(self.factory)
        one.begin(b"UID STORE 1:* +FLAGS (\\Seen)\r\nx SEARCH UNSEEN\r\ny COMPRESS DEFLATE")
        self.assertFalse(one.answered)
        for _ in range(200):
            self.factory.clock.turn()
        one.listen()
        said = one.heard
        self.assertEqual(said.count(b" FETCH "), MESSAGES)
        self.assertLess(said.rindex(b" FETCH "), said.index(b"OK STORE completed"))
        self.assertIn(b"OK STORE completed\r\n* SEARCH\r\nx OK SEARCH completed\r\ny ", said)
