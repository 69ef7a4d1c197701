"""Greylisting: who is asked to come again, who is known, and that nobody is asked for ever."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, fail

from moxtwisted.errors import StoreFullError
from moxtwisted.server.inbound.greylisting import Greylisting
from moxtwisted.server.judgement.interfaces import Incoming
from moxtwisted.store.greylist import GreylistRecords
from tests.server.house import HouseCase
from tests.server.judging import Judging, verified_by

LETTER = b"From: a@client.example\r\nSubject: hi\r\n\r\nhello\r\n"


class GreylistingCase(HouseCase):
    def setUp(self) -> None:
        super().setUp()
        self.judge = Judging()
        self.wanted = True
        self.exempt: Any = None
        self.open()

    def open(self) -> None:
        self.records = GreylistRecords(self.house.path / "greylist.db", None, self.house.store.pool)
        self.greylisting = Greylisting(self.records, lambda _: self.wanted, self.exempt)
        verified_by(self.house, self.judge, adjustments=(self.greylisting.adjust,))

    def close(self) -> None:
        self.successResultOf(self.records.close())

    def tear_down(self) -> None:
        self.close()
        super().tear_down()

    def send(
        self, sender: str = "a@client.example", to: str = "alice@example.org", ip: str = "192.0.2.1"
    ) -> str:
        line = self.house.inbound(ip)
        line.begin(sender, to)
        answer = line.send(LETTER)
        line.drop()
        return answer[:9]

    def later(self, seconds: float) -> None:
        self.house.clock.advance(seconds)


class StrangerTests(GreylistingCase):
    def test_comes_again(self) -> None:
        """A stranger is refused for now, also when it comes again at once; a minute later it is taken, and is no stranger any more."""
        self.assertEqual(self.send(), "450 4.7.1")
        self.later(59)
        self.assertEqual(self.send(), "450 4.7.1")
        self.later(2)
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.send(to="bob@example.org"), "250 2.6.0")
        self.assertEqual(dict(self.greylisting.counts), {"asked": 1, "early": 1, "came-again": 1, "known": 1})

    def test_restart(self) -> None:
        """What was noted outlives the process."""
        self.send()
        self.later(61)
        self.close()
        self.open()
        self.assertEqual(self.send(), "250 2.6.0")
        self.close()
        self.open()
        self.assertEqual(self.send(to="bob@example.org"), "250 2.6.0")

    def test_too_late(self) -> None:
        """After a day it begins anew."""
        self.send()
        self.later(86401)
        self.assertEqual(self.send(), "450 4.7.1")
        self.later(61)
        self.assertEqual(self.send(), "250 2.6.0")

    def test_forgotten(self) -> None:
        """Who does not come for five weeks is a stranger again; who comes is not."""
        self.send()
        self.later(61)
        self.send()
        self.later(34 * 86400)
        self.assertEqual(self.send(), "250 2.6.0")
        self.later(34 * 86400)
        self.assertEqual(self.send(), "250 2.6.0")
        self.later(36 * 86400)
        self.assertEqual(self.send(), "450 4.7.1")

    def test_who_is_who(self) -> None:
        """Without proof of its domain a sender is its network with the domain that it says."""
        self.send()
        self.later(61)
        self.assertEqual(self.send("other@client.example", ip="192.0.2.200"), "250 2.6.0")
        self.assertEqual(self.send(ip="192.0.3.1"), "450 4.7.1")
        self.assertEqual(self.send("a@other.example"), "450 4.7.1")
        self.assertEqual(self.send(""), "450 4.7.1")

    def test_another_recipient(self) -> None:
        """Coming for somebody else is not coming again."""
        self.send()
        self.later(61)
        self.assertEqual(self.send(to="bob@example.org"), "450 4.7.1")


class OthersTests(GreylistingCase):
    def test_known_to_the_account(self) -> None:
        """Whom the account knows is not asked."""
        self.judge.accept("alice", reason="msgtofull")
        self.assertEqual(self.send(), "250 2.6.0")

    def test_refused_anyway(self) -> None:
        """A refusal stays what it is."""
        self.judge.refuse("alice")
        self.assertEqual(self.send(), "550 5.7.1")

    def test_not_wanted(self) -> None:
        """Where it is not wanted nothing happens, and no file is made."""
        self.wanted = False
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertFalse((self.house.path / "greylist.db").exists())

    def test_exempt(self) -> None:
        """Lists of those to let in are asked before."""

        async def listed(incoming: Incoming) -> bool:
            return str(incoming.verified.ip) == "192.0.2.1"

        self.exempt = listed
        self.close()
        self.open()
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.send(ip="198.51.100.1"), "450 4.7.1")

    def test_no_room(self) -> None:
        """When nothing can be noted mail is taken: it would be asked to come again for ever."""
        with patch.object(GreylistRecords, "put", return_value=fail(StoreFullError("no space"))):
            self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.greylisting.counts["trouble"], 1)


class RecordsTests(GreylistingCase):
    def put(self, rows: list[tuple[bytes, int, int]], *forget: int) -> None:
        """Write, and tidy up."""
        self.records._writes = 0
        self.successResultOf(self.records.put(rows, *forget))

    def kept(self, *keys: bytes) -> list[bytes]:
        """Which of them are there."""
        return [key for key in keys if self.records.find(key) is not None]

    def test_never_came_again(self) -> None:
        """Those who were asked and did not come again go earlier than the others, by age and when there are too many."""
        asked, came = (
            [(b"%d" % n, 10 + n, 10 + n) for n in range(5)],
            [(b"%d" % n, 0, n) for n in range(5, 10)],
        )
        keys = [key for key, _, _ in asked + came]
        self.put(asked + came, 6, 12)
        self.assertEqual(self.kept(*keys), [b"2", b"3", b"4", b"6", b"7", b"8", b"9"])
        self.records._most = 5
        self.put([(b"new", 20, 20)], 0, 0)
        self.assertEqual(self.kept(*keys, b"new"), [b"6", b"7", b"8", b"9", b"new"])
        self.records._most = 3
        self.put([(b"new", 20, 20)], 0, 0)
        self.assertEqual(self.kept(*keys, b"new"), [b"7", b"8", b"9"])
        self.records._most = 2
        self.put([(b"9", 0, 21)], 0, 0)
        self.assertEqual(self.kept(*keys), [b"8", b"9"])

    def test_how_long(self) -> None:
        """A day after it was asked nothing is kept of a stranger; of who came again, for five weeks."""
        for ip in ("192.0.2.1", "198.51.100.1"):
            self.send(ip=ip)
        self.later(61)
        self.send()
        self.later(86400)
        self.records._writes = 0
        self.send(ip="203.0.113.1")
        rows = self.records._attach()[0].reader.execute("SELECT first < last FROM known ORDER BY 1")
        self.assertEqual([came for (came,) in rows], [0, 1])

    def test_bounded(self) -> None:
        """What is too old goes, and then the oldest."""
        self.records._most = 5
        for number in range(1001):
            done: Deferred[None] = self.records.put([(b"%016d" % number, number, number)], 997)
            self.successResultOf(done)
        kept = [n for n in range(1001) if self.records.find(b"%016d" % n)]
        self.assertEqual(kept, [997, 998, 999, 1000])
        self.records._writes = 0
        self.successResultOf(self.records.put([(b"%016d" % n, n, n) for n in range(2000, 2010)], 0))
        self.assertEqual(sum(self.records.find(b"%016d" % n) is not None for n in range(2010)), 5)
