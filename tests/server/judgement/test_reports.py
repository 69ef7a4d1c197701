"""Reports of other servers, at addresses for them and elsewhere."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import StoreUnavailableError
from moxtwisted.mailauth.dkim.record import KeyRecord
from moxtwisted.mailauth.dkim.signature import Signature
from moxtwisted.mailauth.dkim.verify import Reason as DKIMReason
from moxtwisted.mailauth.dkim.verify import Status, Verification
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.mailauth.dmarc.record import Policy
from moxtwisted.mailauth.reports.message import report_of
from moxtwisted.mailauth.spf.evaluation import Verdict as SPFVerdict
from moxtwisted.message.mime import Scanner
from moxtwisted.server.judgement.case import SourceError
from moxtwisted.server.judgement.interfaces import Decision, JunkScore
from moxtwisted.server.judgement.reasons import SENTENCES, Reason
from moxtwisted.server.judgement.rules import AccountRules, DestinationRules
from moxtwisted.server.judgement.steps import decide
from moxtwisted.server.reports import reading
from moxtwisted.server.reports.reading import ReportReader
from moxtwisted.server.verification.interfaces import Verified
from moxtwisted.store.interfaces import Sender
from tests.mailauth.reports.samples import END, dmarc_message, tls_json, tls_message, xml
from tests.server.judgement.samples import (
    GOOD,
    NOW,
    FakeReputation,
    FakeSources,
    Remembered,
    case,
    dmarc,
    incoming,
    run,
    spf,
)

REPORT = report_of(dmarc_message())
TLS = report_of(tls_message())
SPAM = JunkScore(1.0, True, (("viagra", 0.99, 3.0),))


def signed(tags: str = "", domain: str = "a.example", key: str = "", **changes: Any) -> Verification:
    """A signature with a key record."""
    field = f"DKIM-Signature: v=1; a=rsa-sha256; d={domain}; s=x; h=from; bh={'A' * 43}=; b=AAAA{tags}\r\n"
    record = KeyRecord.parse(f"v=DKIM1; {key}p=AAAA".encode())
    return evolve(
        Verification(Status.PASS, signature=Signature.parse(field.encode()), record=record), **changes
    )


def judged(verified: Verified = GOOD, kinds: str = "dmarc", **sources: Any) -> tuple[Decision, list[str]]:
    """What becomes of a message at an address for reports, and what was asked."""
    destination = DestinationRules(reports=frozenset(kinds.split()))
    rules = AccountRules(destinations={"alice@example.org": destination}, introbox="Introbox")
    asked = FakeSources(**{"junk": SPAM, **sources})
    return run(decide(case(incoming(verified), asked, rules=rules))), asked.asked


class Steps(SynchronousTestCase):
    """What counts as a report."""

    def taken(self, verified: Verified = GOOD, kinds: str = "dmarc", **sources: Any) -> None:
        """It is taken for a report, whatever its content looks like."""
        found, asked = judged(verified, kinds, **sources)
        self.assertEqual((found.reason, found.accept), (Reason.REPORTING, True), found.explanation)
        self.assertIs(found.report, sources["reported"])
        self.assertEqual((found.mailbox, found.delay_seconds), ("INBOX", 0.0))
        self.assertTrue(found.explanation.startswith(SENTENCES[Reason.REPORTING]))
        self.assertIn("It is a report of Reporter about example.org, 2027-01-1", found.explanation)
        self.assertNotIn("score", asked)

    def not_taken(self, why: str, verified: Verified = GOOD, kinds: str = "dmarc", **sources: Any) -> None:
        """It is judged as other mail."""
        found, _ = judged(verified, kinds, **sources)
        self.assertIn(found.reason, (Reason.JUNK_CONTENT, Reason.JUNK_CONTENT_STRICT), found.explanation)
        self.assertIsNone(found.report)
        self.assertIn(f"It is taken for no report: {why}", found.explanation)

    def test_dmarc(self) -> None:
        """A report about DMARC in mail whose own DMARC passes is one; without, nobody even looks."""
        self.taken(reported=REPORT)
        for verdict in (DMARCVerdict.NONE, DMARCVerdict.TEMPERROR, DMARCVerdict.FAIL):
            verified = evolve(GOOD, dmarc=dmarc(verdict))
            self.not_taken("DMARC did not pass", verified, reported=REPORT)
            self.assertNotIn("report dmarc", judged(verified, reported=REPORT)[1])

    def test_elsewhere(self) -> None:
        """At an ordinary address nothing is looked for."""
        found, asked = judged(kinds="", reported=REPORT)
        self.assertEqual((found.reason, found.report), (Reason.JUNK_CONTENT, None))
        self.assertNotIn("report", " ".join(asked))

    def test_policy_first(self) -> None:
        """What DMARC refuses is not read."""
        verified = evolve(GOOD, dkim=(signed(),), dmarc=dmarc(DMARCVerdict.FAIL, Policy.REJECT))
        found, asked = judged(verified, "dmarc tls", reported=TLS)
        self.assertEqual((found.reason, asked), (Reason.DMARC_POLICY, ["rates"]))

    def test_tls(self) -> None:
        """A report about TLS needs a signature of its sender's domain, with a key for such reports, over all of the body."""
        plain = evolve(GOOD, dmarc=dmarc(DMARCVerdict.NONE), dkim=())
        why = "no signature of the domain in From is good"
        for good in (
            signed(),
            signed(key="s=*; "),
            signed(key="s=tlsrpt:email; "),
            signed(key="s=tlsrpt; ", status=Status.POLICY, reason=DKIMReason.KEY_FOR_REPORTS),
        ):
            self.taken(evolve(plain, dkim=(good,)), "tls", reported=TLS)
        for bad in (
            signed(status=Status.FAIL, reason=DKIMReason.BODY),
            signed(tags="; l=10"),
            signed(key="s=email; "),
            signed(key="t=y; "),
            signed(key="s=tlsrpt; t=y; ", status=Status.POLICY, reason=DKIMReason.KEY_FOR_REPORTS),
            signed(domain="b.example"),
            signed(domain="x.a.example"),
            signed(domain="ple.example"),
        ):
            self.not_taken(why, evolve(plain, dkim=(bad,)), "tls", reported=TLS)
        self.not_taken(why, plain, "tls", reported=TLS)
        parent = evolve(plain, author=evolve(GOOD.author, domain="mail.a.example"), dkim=(signed(),))
        self.taken(parent, "tls", reported=TLS)

    def test_both(self) -> None:
        """At an address for both kinds, those are looked for that may be."""
        verified = evolve(GOOD, dkim=(signed(),))
        self.assertIn("report dmarc tls", judged(verified, "dmarc tls", reported=REPORT)[1])
        verified = evolve(verified, dmarc=dmarc(DMARCVerdict.NONE))
        self.assertIn("report tls", judged(verified, "dmarc tls", reported=TLS)[1])

    def test_not_about_us(self) -> None:
        """A report about somebody else's domain, or about the future, is none."""
        self.not_taken("it is about else.example", reported=report_of(dmarc_message(xml("else.example"))))
        verified = evolve(GOOD, dkim=(signed(),))
        self.not_taken(
            "it is about no domain", verified, "tls", reported=report_of(tls_message(tls_json(policies=[])))
        )
        self.taken(reported=report_of(dmarc_message(xml(end=NOW + 60))))
        self.not_taken("it ends in the future", reported=report_of(dmarc_message(xml(end=NOW + 61))))

    def test_unreadable(self) -> None:
        """What cannot be read is judged as other mail, with the reason in words."""
        self.not_taken("damaged when unpacked", reported="damaged when unpacked: invalid")

    def test_trouble(self) -> None:
        """When it cannot be looked now, the sender is to come again."""

        class Broken(FakeSources):
            async def report(self, kinds: frozenset[str]) -> Any:  # type: ignore[override]  # it waits
                raise SourceError("too many reports at once")

        rules = AccountRules(
            destinations={"alice@example.org": DestinationRules(reports=frozenset({"dmarc"}))}
        )
        found = run(decide(case(incoming(), Broken(), rules=rules)))
        self.assertEqual(
            (found.reason, found.accept, found.keep_in_rejects), (Reason.REPORT_ERROR, False, False)
        )
        assert found.reply is not None
        self.assertEqual(found.reply.code, 451)

    def test_known_senders(self) -> None:
        """Who is known for good mail is taken for that, and the report counts; who is known for junk is refused with it."""
        mary = Sender(localpart="mary", domain="a.example", organizational_domain="a.example", validated=True)
        for junk, reason in ((False, True), (True, False)):
            memory = FakeReputation([Remembered(mary, junk), Remembered(mary, junk)])
            found, _ = judged(reported=REPORT, memory=memory)
            self.assertEqual((found.reason, found.accept), (Reason.MSGFROMFULL, reason))
            self.assertIs(found.report, REPORT if reason else None)

    def test_spf(self) -> None:
        """A report is not refused because its client is not in the SPF record."""
        self.taken(evolve(GOOD, spf=spf(SPFVerdict.SOFTFAIL)), reported=REPORT)


class Message:
    """What a reader asks of a staged message."""

    def __init__(self, octets: bytes) -> None:
        scanner = Scanner()
        scanner.feed(octets)
        self.scanned = scanner.finish()
        self._octets = octets

    def read(self, offset: int, length: int) -> bytes:
        """Octets from the middle."""
        return self._octets[offset : offset + length]


class Reading(SynchronousTestCase):
    """Reports are read in turns."""

    def setUp(self) -> None:
        """A reader."""
        self.clock = Clock()
        self.reader = ReportReader(self.clock)

    def read(self, octets: bytes, kinds: str = "dmarc tls") -> Deferred[Any]:
        """Begin to read."""
        message: Any = Message(octets)
        return ensureDeferred(self.reader.read(message, frozenset(kinds.split())))

    def test_found(self) -> None:
        """A report is read after a turn or two, or it is said why there is none."""
        for octets, kinds, expected in (
            (dmarc_message(), "dmarc tls", REPORT),
            (tls_message(), "dmarc tls", TLS),
            (dmarc_message(), "tls", "not a report about TLS"),
            (b"Subject: hello\r\n\r\n", "dmarc", "no part of the message could be a report"),
        ):
            found = self.read(octets, kinds)
            self.clock.advance(0)
            self.assertEqual(self.successResultOf(found), expected)

    def test_turns(self) -> None:
        """Between the pieces of a large one others have their turn, and so do messages one after the other."""
        large = dmarc_message(xml(rows=" " * 200_000))
        reports = [self.read(large), self.read(dmarc_message())]
        for one in reports:
            self.assertNoResult(one)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(reports[0]).rows, ())
        self.assertEqual(self.successResultOf(reports[1]), REPORT)

    def test_too_many(self) -> None:
        """Beyond a number that wait, it is said so."""
        self.patch(reading, "_MOST_WAITING", 2)
        large = dmarc_message(xml(rows=" " * 100_000))
        reports = [self.read(large) for _ in range(4)]
        self.failureResultOf(reports.pop(), StoreUnavailableError)
        self.clock.advance(0)
        for one in reports:
            self.assertEqual(self.successResultOf(one).end, END)
