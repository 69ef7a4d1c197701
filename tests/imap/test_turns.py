"""Long searches let others have their turn, whatever they consist of."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.commands import fetchbodies
from moxtwisted.imap.commands.fetchbodies import write_bodies
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.protocol import IMAPServerFactory
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.imap.testing import Driver, FixedClock, counted_entropy
from moxtwisted.message.transferencoding import decoded


class SlowClock(FixedClock):
    """Time goes by whenever somebody looks at it."""

    def seconds(self) -> float:
        """The time, a little later than before."""
        self.now += 0.004
        return self.now


def counted_pauses(driver: Driver) -> list[float]:
    """What its commands wait for others from now on."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    driver.server.connection.pause = pause
    return pauses


def selected(messages: int, clock: FixedClock | None = None) -> Driver:
    """A client that has selected an INBOX with so many messages."""
    mail = MemoryMail()
    for n in range(messages):
        mail.add("INBOX", b"Subject: %d\r\n\r\nhello\r\n" % n)
    driver = Driver.of(mail, clock=clock)
    driver.login()
    driver.command("SELECT INBOX")
    return driver


class TurnsTests(SynchronousTestCase):
    def turns(self, messages: int, command: str, answer: bytes, clock: FixedClock | None = None) -> int:
        """How often others had their turn before a command was answered."""
        driver = selected(messages, clock)
        driver.command("UID SEARCH RETURN (SAVE) NOT UID 2")
        pauses = counted_pauses(driver)
        answers = driver.command(command)
        self.assertIn(answer, b"\r\n".join(answers)[:4000], command)
        return len(pauses)

    def test_many_keys_of_flags(self) -> None:
        """A program with a thousand flags over some hundred messages is carried out in steps."""
        keys = " ".join(f"NOT KEYWORD k{n}" for n in range(800))
        self.assertGreater(self.turns(500, f"SEARCH {keys}", b"* SEARCH 1 2 3"), 10)

    def test_many_saved_results(self) -> None:
        """So is one that names the saved result very often."""
        self.assertGreater(self.turns(400, f"SEARCH {' '.join(['$'] * 1500)}", b"* SEARCH 1 3 4"), 10)

    def test_text_that_is_known_at_once(self) -> None:
        """Text conditions that the backend answers from memory do not hold the reactor one after the other."""
        keys = " ".join(["SUBJECT 1"] * 400)
        self.assertGreater(self.turns(20, f"SEARCH {keys}", b"* SEARCH 2 11 12", SlowClock()), 50)

    def test_results_that_are_kept_up_to_date(self) -> None:
        """What a change means for a result with a long program is found out in steps, before the tagged response."""
        driver = selected(300)
        keys = " ".join(f"NOT KEYWORD k{n}" for n in range(300))
        driver.command(f"UID SEARCH RETURN (UPDATE COUNT) {keys}")
        pauses = counted_pauses(driver)
        answers = driver.command("UID STORE 1:* +FLAGS.SILENT (k299)")
        self.assertIn(b'* ESEARCH (TAG "a3") UID REMOVEFROM (0 1:300)', answers)
        self.assertGreater(len(pauses), 4)

    def test_many_sections(self) -> None:
        """An answer of many small sections goes out in pieces by its work, not by its octets alone."""
        pieces: list[bytes] = []

        def kept(*given: Any) -> Iterator[bytes]:
            for piece in write_bodies(*given):
                pieces.append(piece)
                yield piece

        driver = selected(40)
        sections = " ".join(f"BODY.PEEK[HEADER.FIELDS (X-{n})]" for n in range(300))
        with patch("moxtwisted.imap.commands.fetch.write_bodies", kept):
            answers = driver.command(f"FETCH 1:* ({sections})")
        self.assertEqual(b"".join(answers).count(b" FETCH ("), 40)
        self.assertGreaterEqual(len(pieces), 40)

    def test_short_programs(self) -> None:
        """A usual search waits for nobody."""
        self.assertEqual(self.turns(500, "SEARCH UNSEEN NOT DELETED LARGER 1", b"* SEARCH 1 2 3"), 0)

    def test_results_in_order_that_go(self) -> None:
        """Messages that are moved away leave one long result after the other, a turn for each, before they are told to be gone."""
        mail = MemoryMail()
        mail.make("Other")
        for n in range(2500):
            mail.add("INBOX", b"Subject: %d\r\n\r\nhello\r\n" % n)
        driver = Driver.of(mail)
        driver.login()
        driver.command("SELECT INBOX")
        for _ in range(9):
            driver.command("UID SORT RETURN (UPDATE COUNT) (REVERSE SIZE) UTF-8 ALL")
        said: list[int] = []

        async def pause(seconds: float) -> None:
            said.append(len(driver.server.connection.out))

        driver.server.connection.pause = pause
        answers = driver.command("MOVE 1:2000 Other")
        # COPYUID, then a result a turn, then EXPUNGE.
        self.assertEqual(said, list(range(1, 11)))
        self.assertEqual(len([line for line in answers[1:10] if b"REMOVEFROM" in line]), 9)
        self.assertEqual(len([line for line in answers[10:] if line.endswith(b" EXPUNGE")]), 2000)

    def test_results_in_order_that_are_new(self) -> None:
        """Messages that come are put among long results in an order in steps."""
        mail = MemoryMail()
        for n in range(9000):
            mail.add("INBOX", b"Subject: %d\r\n\r\n\r\n" % n)
        driver = Driver.of(mail)
        driver.login()
        driver.command("SELECT INBOX")
        driver.command("UID SORT RETURN (UPDATE COUNT) (SIZE REVERSE ARRIVAL) UTF-8 ALL")
        pauses = counted_pauses(driver)
        mail.add("INBOX", b"Subject: 1\r\n\r\n\r\n")
        self.assertIn(b'* ESEARCH (TAG "a3") UID ADDTO (11 9001)', driver.command("NOOP"))
        self.assertGreater(len(pauses), 4)

    def test_many_patterns(self) -> None:
        """So does a LIST of a hundred patterns in an account of many long names, and LSUB."""
        mail = MemoryMail()
        for n in range(200):
            mail.make(f"{n:03}" + "x" * 200)
        driver = Driver.of(mail)
        driver.login()
        for n in range(1100):
            mail.subscribed().add(f"{n:04}" + "x" * 200)
        patterns = " ".join(f'"*x*x*{n}"' for n in range(98))
        pauses = counted_pauses(driver)
        answers = driver.command(f'LIST "" ("001*" {patterns} "19%")')
        self.assertEqual(
            [a.split()[-1][:3] for a in answers[:-1]], [b"001", *(b"19%d" % n for n in range(10))]
        )
        self.assertGreater(len(pauses), 10)
        del pauses[:]
        self.assertEqual(len(driver.command('LSUB "" "*x*x*z"')), 1)
        self.assertGreater(len(pauses), 0)
        del pauses[:]
        # What most clients ask is answered at once.
        self.assertEqual(len(driver.command('LIST "" "*"')), 202)
        self.assertEqual(pauses, [])


class _CreepingClock(Clock):
    """Time goes by whenever somebody looks at it.

    :ivar turns: how often somebody waits for the reactor's next turn.
    """

    turns = 0

    def seconds(self) -> float:
        """The time, a little later than before."""
        self.rightNow += 0.004
        return super().seconds()

    def callLater(self, delay: float, *arguments: Any, **named: Any) -> Any:
        """See ``IReactorTime``."""
        self.turns += not delay
        return super().callLater(delay, *arguments, **named)


class DecodingTests(SynchronousTestCase):
    """Parts that have to be decoded to know how long they are."""

    SIZE = 8_000_000

    def setUp(self) -> None:
        self.mail = MemoryMail()
        data = base64.encodebytes(bytes(self.SIZE)).replace(b"\n", b"\r\n")
        self.octets = b"Content-Transfer-Encoding: base64\r\n\r\n" + data
        self.mail.add("INBOX", self.octets)

    def protocol(self) -> tuple[Any, StringTransport, _CreepingClock]:
        """Of a client that has selected the mailbox."""
        clock: Any = _CreepingClock()
        settings = ServerSettings(hostname="x.example", allow_plain_without_tls=True)
        authenticator = MemoryAuthenticator({"alice": ("secret", self.mail)}, counted_entropy())
        protocol, transport = (
            IMAPServerFactory(settings, authenticator, clock).make_protocol(),
            StringTransport(),
        )
        protocol.makeConnection(transport)
        protocol.dataReceived(b"a LOGIN alice secret\r\nb SELECT INBOX\r\n")
        clock.advance(0)
        transport.clear()
        clock.turns = 0
        return protocol, transport, clock

    def test_others_have_their_turn(self) -> None:
        """Sizes of decoded parts, and pieces from far behind, are found in several turns of the reactor."""
        part = f"BINARY.PEEK[1]<{self.SIZE - 5}.9>"
        for item, told in (
            ("BINARY.SIZE[1]", b"BINARY.SIZE[1] %d)" % self.SIZE),
            (part, b"BINARY[1]<%d> ~{5}" % (self.SIZE - 5)),
        ):
            protocol, transport, clock = self.protocol()
            protocol.dataReceived(b"c FETCH 1 %b\r\n" % item.encode())
            self.assertEqual(transport.value(), b"")
            clock.advance(0)
            self.assertGreater(clock.turns, 3, item)
            self.assertIn(told, transport.value())

    def test_unasked(self) -> None:
        """So it is with the data items that a client wants of new messages."""
        protocol, transport, clock = self.protocol()
        protocol.dataReceived(b"c NOTIFY SET (selected (MessageNew (BINARY.SIZE[1]) MessageExpunge))\r\n")
        clock.advance(0)
        self.mail.add("INBOX", self.octets)
        before = clock.turns
        clock.advance(0)
        self.assertIn(b"* 2 FETCH (UID 2 BINARY.SIZE[1] %d)" % self.SIZE, transport.value())
        self.assertGreater(clock.turns - before, 3)

    def test_decoded_once(self) -> None:
        """To say how long a part is it is decoded once, however many pieces of it are wanted."""
        begun = []

        def counted(*arguments: Any) -> Any:
            begun.append(arguments[1])
            return decoded(*arguments)

        self.patch(fetchbodies, "decoded", counted)
        driver = Driver.of(self.mail)
        driver.login()
        driver.command("SELECT INBOX")
        pieces = " ".join(f"BINARY.PEEK[1]<{self.SIZE + n}.1>" for n in range(100))
        answer = driver.command(f"FETCH 1 (BINARY.SIZE[1] {pieces})")[0]
        self.assertEqual(answer.count(b"> {0}"), 100)
        self.assertEqual(begun, ["base64"])
