"""PRDR (draft-hall-prdr) between our machines, and against servers that do it their own way."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.testing import MemoryHandlers
from moxtwisted.smtp.transmission import Transmission
from tests.smtp.test_client import Pair, envelope

THREE = (b"<a@x.example>", b"<b@x.example>", b"<c@x.example>")


def answers(*codes: int) -> Any:
    """A handler's answers after the message."""
    return lambda _: [Reply(code, "", str(code)) for code in codes]


class PRDRCase(SynchronousTestCase):
    def codes(self, job: Transmission) -> list[int]:
        return [r.reply.code for r in job.results]

    def pair(self, *codes: int, prdr: bool = True) -> Pair:
        return Pair(handlers=MemoryHandlers(data_done=answers(*codes)), prdr=prdr, size=7)


class BetweenOurMachinesTests(PRDRCase):
    def test_each_has_its_own(self) -> None:
        """Each recipient gets its reply, by DATA and by BDAT, and the connection goes on."""
        for chunking in (False, True):
            for codes in (
                (250, 550, 451),
                (550, 451, 250),
                (550, 550, 550),
                (451, 550, 550),
                (250, 250, 250),
            ):
                pair = self.pair(*codes)
                for _ in range(2):
                    job = pair.carry(envelope(*THREE, prdr=True), b"x" * 250, prefer_chunking=chunking)
                    self.assertEqual(self.codes(job), list(codes), codes)

    def test_refused_at_rcpt(self) -> None:
        """Who was refused at RCPT has no reply after the message."""
        pair = self.pair(250, 550)
        pair.handlers.answers["rcpt"] = lambda p, _: Reply(550, "", "no") if str(p).startswith("b") else None
        job = pair.carry(envelope(*THREE, prdr=True), b"x")
        self.assertEqual(
            [(r.reply.code, r.stage) for r in job.results], [(250, "."), (550, "RCPT"), (550, ".")]
        )

    def test_not_asked_for(self) -> None:
        """Where the server does not offer it, it is not asked for."""
        pair = Pair(handlers=MemoryHandlers(data_done=Reply(451, "4.3.0", "later")))
        job = pair.carry(envelope(*THREE, prdr=True), b"x")
        self.assertEqual(self.codes(job), [451, 451, 451])
        self.assertFalse(any(b"PRDR" in octets for octets in pair.said))

    def test_one_reply_for_all(self) -> None:
        """A server that offers it may answer for all at once."""
        for code in (250, 451, 550):
            pair = Pair(handlers=MemoryHandlers(data_done=Reply(code, "", "all")), prdr=True)
            self.assertEqual(self.codes(pair.carry(envelope(*THREE, prdr=True), b"x")), [code] * 3)
            job = pair.carry(envelope(THREE[0], prdr=True), b"x")
            self.assertEqual(self.codes(job), [code])


class StrangeServerTests(PRDRCase):
    def begin(self) -> tuple[Pair, Transmission]:
        """Up to the end of the message, whose replies are ours to say."""
        pair = self.pair(250, 250, 250)
        job = Transmission(pair.client, envelope(*THREE, prdr=True), tls=False)
        for event in pair.say(job.start()):
            job.replied(event)
        self.assertTrue(job.body_due)
        job.encode(b"x")
        job.finish()
        return pair, job

    def hear(self, pair: Pair, job: Transmission, *codes: int) -> list[int]:
        pair.client.receive(b"".join(b"%d it\r\n" % code for code in codes))
        while (event := pair.client.next_event()) is not None:
            job.replied(event)  # type: ignore[arg-type]  # a Replied: something is outstanding
        return self.codes(job)

    def test_took_nothing_after_all(self) -> None:
        """When the reply for the whole is negative, what was said to single recipients before does not count."""
        pair, job = self.begin()
        self.assertEqual(self.hear(pair, job, 353, 250, 550, 250, 451), [451, 550, 451])
        self.assertTrue(job.done)

    def test_lost_before_the_last(self) -> None:
        """A connection that is lost before the reply for the whole has confirmed nothing."""
        pair, job = self.begin()
        self.assertEqual(self.hear(pair, job, 353, 250, 550), [250, 550])
        self.assertFalse(job.done)
        self.assertTrue(job.uncertain)
        job.abandon(Reply(451, "4.4.2", "lost"), ".")
        self.assertEqual(self.codes(job), [451, 550, 451])

    def test_announced_twice(self) -> None:
        """A second 353 is a recipient's reply like any other: the count of replies stays."""
        pair, job = self.begin()
        self.hear(pair, job, 353, 353, 250, 250, 250)
        self.assertTrue(job.done)
