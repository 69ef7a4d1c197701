"""The procedure: every reason, and which comes first."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any
from unittest.mock import patch

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.arc import SealedResults
from moxtwisted.mailauth.authres import parse_results
from moxtwisted.mailauth.dkim.verify import Status as DKIMStatus
from moxtwisted.mailauth.dmarc.author import Author
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.mailauth.dmarc.record import Policy
from moxtwisted.mailauth.dnsbl import Listing
from moxtwisted.mailauth.iprev import Verdict as IPRevVerdict
from moxtwisted.mailauth.spf.evaluation import Identity
from moxtwisted.mailauth.spf.evaluation import Verdict as SPFVerdict
from moxtwisted.message.addresslist import mailboxes
from moxtwisted.message.flags import SEEN
from moxtwisted.server.judgement.case import SourceError
from moxtwisted.server.judgement.interfaces import Decision, JunkScore
from moxtwisted.server.judgement.reasons import SENTENCES, Reason
from moxtwisted.server.judgement.rules import (
    AccountRules,
    DestinationRules,
    Ruleset,
    ServerRules,
    Strictness,
)
from moxtwisted.server.judgement.steps import STEPS, decide
from moxtwisted.server.judgement.subjectpass import make_pass
from moxtwisted.server.verification.interfaces import Verified
from moxtwisted.store.interfaces import Sender
from tests.server.judgement.samples import (
    GOOD,
    HEADER,
    NOW,
    FakeReputation,
    FakeSources,
    Remembered,
    case,
    dkim,
    dmarc,
    incoming,
    iprev,
    path,
    run,
    spf,
)

LISTED = Listing("bl.example", ("127.0.0.2",), "seen sending spam")
#: A sender who can prove nothing, and has a name.
PLAIN = evolve(GOOD, spf=spf(SPFVerdict.NONE), helo_spf=None, dkim=(), dmarc=dmarc(DMARCVerdict.NONE), from_validated=False)  # fmt: skip
FAILS = evolve(PLAIN, dmarc=dmarc(DMARCVerdict.FAIL, Policy.REJECT))
QUARANTINED = evolve(PLAIN, dmarc=dmarc(DMARCVerdict.FAIL, Policy.QUARANTINE))
FRIEND = Sender(localpart="mary", domain="a.example", organizational_domain="a.example", validated=True)
NAMELESS = evolve(PLAIN, iprev=iprev(IPRevVerdict.PERMERROR))


def knows(*messages: Remembered) -> FakeSources:
    """Sources with a past."""
    return FakeSources(memory=FakeReputation(list(messages)))


def score(probability: float, *, significant: bool = True) -> FakeSources:
    """Sources with a content filter."""
    return FakeSources(junk=JunkScore(probability, significant, (("viagra", 0.99, 3.0), ("hello", 0.1, 1.0))))


def decision(
    verified: Verified = GOOD, sources: FakeSources | None = None, *, message: Any = None, **changes: Any
) -> Decision:
    """What becomes of a message."""
    found = run(decide(case(message or incoming(verified), sources, **changes)))
    assert found.reason in SENTENCES
    return found


def ruled(ruleset: Ruleset, **changes: Any) -> dict[str, Any]:
    """An account with one ruleset."""
    rules = AccountRules(destinations={"alice@example.org": DestinationRules(rulesets=(ruleset,))}, **changes)
    return {"rules": rules}


class Reasons(SynchronousTestCase):
    """Each reason can be reached, and does what it should."""

    def accepted(self, found: Decision, reason: Reason, mailbox: str = "INBOX") -> None:
        """It is taken."""
        self.assertEqual(
            (found.reason, found.accept, found.mailbox), (reason, True, mailbox), found.explanation
        )
        self.assertIsNone(found.reply)
        self.assertTrue(found.explanation.startswith(SENTENCES[reason]))

    def refused(self, found: Decision, reason: Reason, code: int, *, kept: bool = True) -> None:
        """It is not."""
        self.assertEqual((found.reason, found.accept), (reason, False), found.explanation)
        assert found.reply is not None
        self.assertEqual((found.reply.code, found.keep_in_rejects), (code, kept))
        self.assertTrue(found.explanation.startswith(SENTENCES[reason]))

    def test_high_rate(self) -> None:
        """Too much from one network has to wait, and leaves no copy."""
        self.refused(decision(sources=FakeSources(rates=False)), Reason.HIGH_RATE, 452, kept=False)

    def test_members_only(self) -> None:
        """To a list for members only proved members may write."""
        self.accepted(decision(sources=FakeSources(member=True)), Reason.NO_BAD_SIGNALS)
        self.refused(decision(sources=FakeSources(member=False)), Reason.MEMBERS_ONLY, 550, kept=False)
        self.refused(decision(PLAIN, FakeSources(member=True)), Reason.MEMBERS_ONLY, 550, kept=False)
        unsure = evolve(PLAIN, dmarc=dmarc(DMARCVerdict.TEMPERROR))
        self.refused(decision(unsure, FakeSources(member=True)), Reason.MEMBERS_ONLY, 451, kept=False)
        self.refused(decision(unsure, FakeSources(member=False)), Reason.MEMBERS_ONLY, 550, kept=False)

    def test_list_allow(self) -> None:
        """A list that a rule lets in needs no DMARC and no filter."""
        verified = evolve(FAILS, dkim=(dkim("list.example"),))
        found = decision(
            verified,
            score(1.0),
            **ruled(Ruleset(message_from=re.compile("mary"), list_allow_domain="list.example")),
        )
        self.accepted(found, Reason.LIST_ALLOW)
        self.assertEqual(found.overridden, "mailing_list")

    def test_list_allow_exactly(self) -> None:
        """A domain below that of the list is not the list."""
        verified = evolve(FAILS, dkim=(dkim("x.list.example"),))
        ruleset = Ruleset(message_from=re.compile("mary"), list_allow_domain="list.example")
        self.refused(decision(verified, **ruled(ruleset)), Reason.DMARC_POLICY, 550)

    def test_forwarded(self) -> None:
        """DMARC is not for what is forwarded, and the forwarder is forgotten."""
        verified = evolve(
            FAILS, spf=spf(SPFVerdict.PASS, "fwd.example"), dkim=(dkim("fwd.example"), dkim("b.example"))
        )
        ruleset = Ruleset(smtp_mail_from=re.compile("@"), verified_domain="fwd.example", forward=True)
        found = decision(verified, **ruled(ruleset, introbox="Introbox"))
        self.accepted(found, Reason.NO_BAD_SIGNALS)
        self.assertEqual((found.overridden, found.delay_seconds), ("forwarded", 0.0))
        self.assertEqual(
            found.sender,
            Sender(
                localpart="mary",
                domain="a.example",
                organizational_domain="a.example",
                dkim_domains=("b.example",),
            ),
        )

    def test_dmarc_policy(self) -> None:
        """What fails a policy of reject is refused for good, and its copy can be looked at."""
        found = decision(FAILS, knows(Remembered(FRIEND, junk=False)))
        self.refused(found, Reason.DMARC_POLICY, 550)
        assert found.reply is not None
        self.assertEqual(found.reply.enhanced, "5.7.26")

    def test_no_author(self) -> None:
        """Who names two authors is refused, unless the recipient wants no DMARC; who names none is not."""
        for problem, header in (
            ("the message has 2 From fields", b"From: a@bank.example\r\nFrom: b@a.example\r\n\r\n"),
            ("From has addresses of several domains", b"From: a@bank.example, nobody\r\n\r\n"),
            ("From is too long", b"From: " + b"(x)" * 6000 + b"a@bank.example\r\n\r\n"),
        ):
            verified = evolve(GOOD, author=Author("", problem), dmarc=None, from_validated=False)
            message = incoming(verified, header=header)
            found = decision(message=message)
            self.refused(found, Reason.NO_AUTHOR, 550)
            self.assertIn(problem[1:], found.explanation)
            self.accepted(decision(message=message, strictness=Strictness("ignore")), Reason.NO_BAD_SIGNALS)
        for header in (b"From: nobody\r\n\r\n", b"Subject: x\r\n\r\n"):
            verified = evolve(GOOD, author=Author("", "none"), dmarc=None, from_validated=False)
            self.accepted(decision(message=incoming(verified, header=header)), Reason.NO_BAD_SIGNALS)

    def test_dmarc_quarantine(self) -> None:
        """What fails a policy of quarantine is set aside, and may still be refused."""
        self.accepted(decision(QUARANTINED), Reason.DMARC_QUARANTINE, "Junk")
        self.refused(decision(QUARANTINED, score(0.99)), Reason.JUNK_CONTENT, 451)

    def test_dmarc_strictness(self) -> None:
        """How strictly policies are applied is up to the recipient."""
        self.refused(decision(QUARANTINED, strictness=Strictness("strict")), Reason.DMARC_POLICY, 550)
        found = decision(QUARANTINED, strictness=Strictness("reject-only"))
        self.accepted(found, Reason.NO_BAD_SIGNALS)
        self.assertEqual(found.overridden, "local_policy")
        self.refused(decision(FAILS, strictness=Strictness("reject-only")), Reason.DMARC_POLICY, 550)
        found = decision(FAILS, strictness=Strictness("ignore"))
        self.accepted(found, Reason.NO_BAD_SIGNALS)
        self.assertEqual(found.overridden, "local_policy")

    def test_trusted_sealer(self) -> None:
        """A trusted sealer who saw DMARC pass is believed; one who saw it fail changes nothing."""
        for result, reason in (("pass", Reason.NO_BAD_SIGNALS), ("fail", Reason.DMARC_POLICY)):
            results = parse_results(b"mx.list.example; dmarc=" + result.encode() + b" header.from=a.example")
            assert results is not None
            found = decision(evolve(FAILS, sealed=SealedResults(1, "list.example", results)))
            self.assertEqual(found.reason, reason)
            self.assertEqual(found.overridden, "trusted_forwarder" if result == "pass" else "")

    def test_second_opinion(self) -> None:
        """Nothing is refused because of a failure that the second opinion does not share."""
        found = decision(evolve(FAILS, unconfirmed=frozenset({"dkim"})))
        self.accepted(found, Reason.NO_BAD_SIGNALS)
        self.assertEqual(found.overridden, "local_policy")
        failed = evolve(PLAIN, spf=spf(SPFVerdict.FAIL), unconfirmed=frozenset({"spf"}))
        for strictness in (Strictness(), Strictness(spf="strict")):
            self.accepted(decision(failed, strictness=strictness), Reason.NO_BAD_SIGNALS)

    def test_sampled_out(self) -> None:
        """What the policy's percentage leaves out is said to be so."""
        verified = evolve(PLAIN, dmarc=dmarc(DMARCVerdict.FAIL, Policy.NONE, sampled_out=True))
        self.assertEqual(decision(verified).overridden, "sampled_out")

    def test_dmarc_temporary(self) -> None:
        """Trouble of the DNS is not the sender's."""
        self.accepted(decision(evolve(PLAIN, dmarc=dmarc(DMARCVerdict.TEMPERROR))), Reason.NO_BAD_SIGNALS)

    def test_spf_refused(self) -> None:
        """For who wants it SPF holds for friends, too."""
        verified = evolve(GOOD, spf=spf(SPFVerdict.FAIL))
        friend = knows(Remembered(FRIEND, junk=False))
        self.refused(decision(verified, friend, strictness=Strictness(spf="strict")), Reason.SPF_POLICY, 550)
        self.accepted(decision(verified, friend), Reason.MSGFROMFULL)

    def test_authentication_required(self) -> None:
        """An address may want proof of From; while that cannot be had, the sender is to come again."""
        destination = DestinationRules(authentication_required="sign your mail")
        rules = AccountRules(destinations={"alice@example.org": destination})
        found = decision(PLAIN, rules=rules)
        self.refused(found, Reason.MSG_AUTH_REQUIRED, 550)
        assert found.reply is not None
        self.assertEqual(found.reply.lines, ("sign your mail",))
        unsure = evolve(PLAIN, spf=spf(SPFVerdict.TEMPERROR))
        self.refused(decision(unsure, rules=rules), Reason.MSG_AUTH_REQUIRED, 451, kept=False)
        self.accepted(decision(GOOD, rules=rules), Reason.NO_BAD_SIGNALS)

    def test_reputation_error(self) -> None:
        """An account that cannot remember takes the mail later."""
        found = decision(sources=FakeSources(memory=SourceError("disk")))
        self.refused(found, Reason.REPUTATION_ERROR, 451, kept=False)
        self.assertIn("disk", found.explanation)

    def test_known(self) -> None:
        """Friends are let in whatever the filter says, who sent junk is not."""
        good, bad = Remembered(FRIEND, junk=False), Remembered(FRIEND, junk=True)
        sources = score(1.0)
        sources.memory = FakeReputation([good])
        found = decision(sources=sources)
        self.accepted(found, Reason.MSGFROMFULL)
        self.assertNotIn("score", sources.asked)
        self.assertEqual(found.delay_seconds, 0.0)
        self.refused(decision(sources=knows(bad)), Reason.MSGFROMFULL, 451)

    def test_methods(self) -> None:
        """Each way of being known can decide."""
        domain = Remembered(evolve(FRIEND, localpart="x"), junk=False)
        organization = Remembered(evolve(FRIEND, domain="b.a.example"), junk=False)
        signed = Remembered(Sender(dkim_domains=("a.example",)), junk=False)
        self.accepted(decision(sources=knows(domain)), Reason.MSGFROMDOMAIN)
        self.accepted(decision(sources=knows(organization)), Reason.MSGFROMORGDOMAIN)
        self.accepted(decision(sources=knows(signed)), Reason.DKIMSPF)
        for ip, number, reason in (
            ("192.0.2.1", 2, Reason.IP1),
            ("192.0.2.2", 5, Reason.IP2),
            ("192.0.3.2", 10, Reason.IP3),
        ):
            messages = [Remembered(Sender(ip=ip), junk=False)] * number
            self.accepted(decision(sources=knows(*messages)), reason)
        for place, reason in enumerate((Reason.MSGTOFULL, Reason.MSGTODOMAIN, Reason.MSGTOORGDOMAIN)):
            written: Any = ["", "", ""]
            written[place] = "mary@a.example" if place == 0 else "a.example"
            self.accepted(decision(sources=FakeSources(memory=FakeReputation([], [(*written, NOW)]))), reason)

    def test_introbox(self) -> None:
        """New authors go into the mailbox for them, until the recipient knows them."""
        rules = AccountRules(introbox="Introbox")
        found = decision(rules=rules)
        self.accepted(found, Reason.NO_BAD_SIGNALS, "Introbox")
        self.assertEqual(found.sender.origin, "INBOX")
        self.accepted(
            decision(sources=knows(Remembered(FRIEND, junk=False)), rules=rules), Reason.MSGFROMFULL
        )
        domain = Remembered(evolve(FRIEND, localpart="x"), junk=False)
        self.accepted(decision(sources=knows(domain), rules=rules), Reason.MSGFROMDOMAIN, "Introbox")

    def test_spf_policy(self) -> None:
        """Strangers whose SPF fails are refused, temporarily, unless the recipient does not care."""
        for verdict in (SPFVerdict.FAIL, SPFVerdict.SOFTFAIL):
            verified = evolve(PLAIN, spf=spf(verdict))
            self.refused(decision(verified), Reason.SPF_POLICY, 451)
            self.accepted(decision(verified, strictness=Strictness(spf="ignore")), Reason.NO_BAD_SIGNALS)
        local = evolve(PLAIN, ip=ip_address("127.0.0.1"), spf=spf(SPFVerdict.FAIL))
        for strictness in (Strictness(), Strictness(spf="strict")):
            self.accepted(decision(local, strictness=strictness), Reason.NO_BAD_SIGNALS)
        null = evolve(PLAIN, spf=spf(SPFVerdict.FAIL, identity=Identity.HELO))
        self.accepted(decision(null), Reason.NO_BAD_SIGNALS)
        self.accepted(decision(evolve(PLAIN, spf=spf(SPFVerdict.TEMPERROR))), Reason.NO_BAD_SIGNALS)

    def test_iprev(self) -> None:
        """A client without a name is refused when there is a mild sign of junk besides."""
        found = decision(NAMELESS, knows(Remembered(Sender(ip="192.0.2.1"), junk=True)))
        self.refused(found, Reason.IPREV, 451)
        self.accepted(decision(NAMELESS), Reason.NO_BAD_SIGNALS)
        unsure = evolve(PLAIN, iprev=iprev(IPRevVerdict.TEMPERROR))
        found = decision(unsure, knows(Remembered(Sender(ip="192.0.2.1"), junk=True)))
        self.accepted(found, Reason.NO_BAD_SIGNALS)

    def test_subjectpass(self) -> None:
        """A pass in the subject lets a message through; that of another author does not."""
        for author, reason in (("mary", Reason.SUBJECTPASS), ("bob", Reason.JUNK_CONTENT)):
            token = make_pass(b"k" * 32, f"{author}@a.example", "alice@example.org", NOW - 3600)
            header = HEADER.replace(b"hello", f"hello (pass:{token})".encode())
            found = decision(message=incoming(header=header), sources=score(1.0))
            self.assertEqual(found.reason, reason)

    def test_subjectpass_error(self) -> None:
        """Without the key it is told later."""
        header = HEADER.replace(b"hello", b"(pass:" + b"A" * 22 + b")")
        sources = FakeSources(key=SourceError("no key"))
        self.refused(
            decision(message=incoming(header=header), sources=sources),
            Reason.SUBJECTPASS_ERROR,
            451,
            kept=False,
        )
        sources = FakeSources(key=SourceError("no key"), blocked=LISTED)
        self.refused(decision(sources=sources), Reason.SUBJECTPASS_ERROR, 451, kept=False)

    def test_junk_content(self) -> None:
        """What is above the limit is refused, with the words that weighed most in the explanation."""
        found = decision(sources=score(0.951))
        self.refused(found, Reason.JUNK_CONTENT, 451)
        self.assertIn("says 0.951, the limit is 0.950", found.explanation)
        self.assertIn("viagra 0.99, hello 0.10", found.explanation)
        self.accepted(decision(sources=score(0.95)), Reason.NO_BAD_SIGNALS)
        self.accepted(decision(sources=score(1.0, significant=False)), Reason.NO_BAD_SIGNALS)
        self.refused(
            decision(sources=score(0.81), rules=AccountRules(junk_threshold=0.8)), Reason.JUNK_CONTENT, 451
        )

    def test_jitter(self) -> None:
        """The limit moves a little."""
        sources = score(0.97)
        sources.wobble = 0.03
        self.accepted(decision(sources=sources), Reason.NO_BAD_SIGNALS)

    def test_junk_content_strict(self) -> None:
        """The limit is lower for clients without a name, without TLS, and for mail that is not addressed to the recipient."""
        for message in (
            incoming(NAMELESS),
            incoming(tls=False),
            incoming(header=HEADER.replace(b"alice@", b"bob@")),
        ):
            self.refused(decision(message=message, sources=score(0.3)), Reason.JUNK_CONTENT_STRICT, 451)
            self.accepted(decision(message=message, sources=score(0.2)), Reason.NO_BAD_SIGNALS)
        self.accepted(decision(sources=score(0.3)), Reason.NO_BAD_SIGNALS)
        copied = HEADER.replace(b"To: alice", b"To: bob").replace(
            b"Subject", b"Cc: Alice <ALICE@Example.ORG>\r\nSubject"
        )
        self.accepted(decision(message=incoming(header=copied), sources=score(0.3)), Reason.NO_BAD_SIGNALS)

    def test_endless_recipients(self) -> None:
        """A To of a megabyte is not read to its end for each recipient."""
        header = HEADER.replace(b"To: alice@example.org", b"To: " + b"(a) b@c.d;" * 90_000)
        with patch("moxtwisted.server.judgement.steps.mailboxes", wraps=mailboxes) as reads:
            decision(message=incoming(header=header), sources=score(0.3))
        self.assertLess(sum(len(call[0][0]) for call in reads.call_args_list), 40_000)

    def test_suspicious_and_ignorant(self) -> None:
        """For clients without a name even a filter that learned little counts."""
        self.refused(decision(NAMELESS, score(0.3, significant=False)), Reason.JUNK_CONTENT_STRICT, 451)
        found = decision(message=incoming(tls=False), sources=score(0.3, significant=False))
        self.accepted(found, Reason.NO_BAD_SIGNALS)

    def test_allow_list(self) -> None:
        """A client in a list of those to let in is not held to the stricter limit."""
        sources = score(0.3)
        sources.allowed = Listing("wl.example", ("127.0.0.2",))
        self.accepted(decision(message=incoming(tls=False), sources=sources), Reason.NO_BAD_SIGNALS)

    def test_filter_error(self) -> None:
        """A filter that does not answer is our trouble."""
        found = decision(sources=FakeSources(junk=SourceError("filter")))
        self.refused(found, Reason.JUNK_FILTER_ERROR, 451, kept=False)

    def test_blocklisted(self) -> None:
        """A list of clients to block is asked when nothing else speaks against the message."""
        sources = FakeSources(blocked=LISTED)
        found = decision(PLAIN, sources)
        self.refused(found, Reason.DNS_BLOCKLISTED, 451)
        self.assertIn("bl.example (127.0.0.2): seen sending spam", found.explanation)
        sources = score(1.0)
        sources.blocked = LISTED
        decision(PLAIN, sources)
        self.assertNotIn("block", sources.asked)

    def test_no_bad_signals(self) -> None:
        """Mail of strangers is taken after a moment, unless the recipient or the client needs none."""
        found = decision()
        self.accepted(found, Reason.NO_BAD_SIGNALS)
        self.assertEqual(found.delay_seconds, 15.0)
        self.assertEqual(decision(rules=AccountRules(first_time_delay=False)).delay_seconds, 0.0)
        self.assertEqual(decision(server=ServerRules(first_time_delay_seconds=3.0)).delay_seconds, 3.0)
        self.assertEqual(decision(evolve(GOOD, ip=ip_address("127.0.0.1"))).delay_seconds, 0.0)
        self.assertEqual(decision(evolve(GOOD, ip=None)).delay_seconds, 0.0)

    def test_give_subjectpass(self) -> None:
        """An unknown author whose From is proved is told a pass when the message is not hopeless."""
        sources = FakeSources(blocked=LISTED)
        found = decision(sources=sources)
        self.refused(found, Reason.GIVE_SUBJECTPASS, 550)
        assert found.reply is not None
        token = re.search(r"\(pass:(.*)\)", found.reply.text)
        assert token is not None
        header = HEADER.replace(b"hello", token[0].encode())
        self.accepted(decision(message=incoming(header=header), sources=sources), Reason.SUBJECTPASS)
        off = AccountRules(subject_pass_seconds=0)
        self.refused(decision(sources=sources, rules=off), Reason.DNS_BLOCKLISTED, 451)
        self.refused(decision(PLAIN, sources), Reason.DNS_BLOCKLISTED, 451)
        self.refused(decision(sources=score(1.0)), Reason.JUNK_CONTENT, 451)

    def test_contact(self) -> None:
        """Each refusal says whom to ask."""
        found = decision(FAILS, server=ServerRules(contact="see https://example.org/mail"))
        assert found.reply is not None
        self.assertEqual(found.reply.lines[-1], "see https://example.org/mail")

    def test_accept_rejects(self) -> None:
        """A rule may have what would be refused in a mailbox, seen; but not what is our trouble."""
        rules = ruled(Ruleset(message_from=re.compile("mary"), accept_rejects_to="Refused"))
        found = decision(FAILS, **rules)
        self.accepted(found, Reason.DMARC_POLICY, "Refused")
        self.assertEqual(found.flags.system, SEEN)
        self.refused(decision(sources=FakeSources(rates=False), **rules), Reason.HIGH_RATE, 452, kept=False)
        trouble = FakeSources(junk=SourceError("filter"))
        self.refused(decision(sources=trouble, **rules), Reason.JUNK_FILTER_ERROR, 451, kept=False)

    def test_ruleset_mailbox(self) -> None:
        """A rule says where the mail goes, and reputation goes by that."""
        rules = ruled(Ruleset(message_from=re.compile("mary"), mailbox="Fans"))
        found = decision(sources=knows(Remembered(FRIEND, junk=False)), **rules)
        self.accepted(found, Reason.NO_BAD_SIGNALS, "Fans")
        self.assertEqual(found.sender.origin, "Fans")

    def test_no_rejects(self) -> None:
        """Without a mailbox for them no copies of refused messages are kept."""
        self.refused(
            decision(FAILS, rules=AccountRules(rejects_mailbox="")), Reason.DMARC_POLICY, 550, kept=False
        )

    def test_no_memory_no_dns(self) -> None:
        """A server without DNS, memory and filter takes mail."""
        verified = Verified(ip=ip_address("127.0.0.1"), author=GOOD.author)
        self.accepted(decision(verified, FakeSources(memory=None)), Reason.NO_BAD_SIGNALS)

    def test_sender(self) -> None:
        """What is remembered is what was proved."""
        self.assertEqual(
            decision().sender,
            Sender(
                localpart="mary",
                domain="a.example",
                organizational_domain="a.example",
                validated=True,
                dkim_domains=("a.example",),
                spf_localpart="mary",
                spf_domain="a.example",
                helo_domain="mx.a.example",
                ip="192.0.2.1",
            ),
        )
        failing = evolve(
            GOOD, dkim=(dkim("a.example", DKIMStatus.FAIL),), spf=spf(SPFVerdict.FAIL), helo_spf=None
        )
        found = decision(failing, strictness=Strictness(spf="ignore")).sender
        self.assertEqual((found.dkim_domains, found.spf_domain, found.helo_domain), ((), "", ""))


class Order(SynchronousTestCase):
    """What comes first."""

    def test_order(self) -> None:
        """The steps stand in the order of the procedure."""
        numbers = [int((step.__doc__ or "Step 0:").partition(":")[0].removeprefix("Step ")) for step in STEPS]
        self.assertEqual(numbers, list(range(1, len(STEPS) + 1)))

    def test_precedence(self) -> None:
        """Of all that is wrong at once the first of the procedure decides, then the next when that is mended."""
        destination = DestinationRules(authentication_required="no")
        rules = AccountRules(destinations={"alice@example.org": destination})
        bad = evolve(FAILS, spf=spf(SPFVerdict.FAIL), iprev=iprev(IPRevVerdict.FAIL))
        junk = JunkScore(1.0, True)
        known = FakeReputation([Remembered(Sender(ip="192.0.2.1"), junk=True)])
        sources = FakeSources(rates=False, memory=SourceError(""), junk=junk, blocked=LISTED)
        wanted = []
        strictness = Strictness(spf="strict")
        changes: list[dict[str, Any]] = [
            {}, {"rates": True}, {"dmarc": None}, {"spf_strict": False}, {"rules": False}, {"memory": known},
            {"spf": None}, {"memory": FakeReputation()}, {"junk": JunkScore(0.0, True)}, {"blocked": None},
        ]  # fmt: skip
        for change in changes:
            for name, value in change.items():
                if name in ("rates", "memory", "junk", "blocked"):
                    setattr(sources, name, value)
                elif name in ("dmarc", "spf"):
                    bad = evolve(bad, **{name: value})
                elif name == "rules":
                    rules = AccountRules()
                else:
                    strictness = Strictness()
            wanted.append(decision(bad, sources, rules=rules, strictness=strictness).reason)
        self.assertEqual(
            wanted,
            [
                Reason.HIGH_RATE, Reason.DMARC_POLICY, Reason.SPF_POLICY, Reason.MSG_AUTH_REQUIRED,
                Reason.REPUTATION_ERROR, Reason.SPF_POLICY, Reason.IPREV, Reason.JUNK_CONTENT_STRICT,
                Reason.DNS_BLOCKLISTED, Reason.NO_BAD_SIGNALS,
            ],
        )  # fmt: skip

    def test_lazy(self) -> None:
        """Nothing is asked that is not needed."""
        sources = FakeSources()
        decision(FAILS, sources)
        self.assertEqual(sources.asked, ["rates"])
        sources = FakeSources()
        decision(sources=sources)
        self.assertEqual(sources.asked, ["rates", "reputation", "score", "block"])


verdicts = st.builds(
    Verified,
    ip=st.sampled_from([None, ip_address("192.0.2.1"), ip_address("2001:db8::1"), ip_address("127.0.0.1")]),
    iprev=st.sampled_from([None, *[iprev(v) for v in IPRevVerdict]]),
    spf=st.sampled_from([None, *[spf(v) for v in SPFVerdict], spf(SPFVerdict.FAIL, identity=Identity.HELO)]),
    helo_spf=st.sampled_from([None, spf(SPFVerdict.PASS, "mx.a.example", Identity.HELO)]),
    dkim=st.lists(st.sampled_from([dkim("a.example", v) for v in DKIMStatus]), max_size=2).map(tuple),
    author=st.sampled_from([GOOD.author, Author("", "two")]),
    dmarc=st.sampled_from([None, *[dmarc(v, p) for v in DMARCVerdict for p in Policy]]),
    unconfirmed=st.sampled_from([frozenset[str](), frozenset({"dkim"}), frozenset({"spf"})]),
    organizational_domain=st.sampled_from(["", "a.example"]),
    from_validated=st.booleans(),
)
values = st.one_of(st.none(), st.just(SourceError("no")))
memories = st.sampled_from(
    [None, SourceError("no"), *[FakeReputation([Remembered(FRIEND, junk)] * 2) for junk in (True, False)]]
)
scores = st.builds(JunkScore, st.floats(0, 1), st.booleans())
facts = st.builds(
    FakeSources,
    rates=st.integers(0, 9).map(bool),
    memory=memories,
    key=st.sampled_from([b"k" * 32, SourceError("no")]),
    junk=st.one_of(values, scores),
    wobble=st.floats(-0.05, 0.05),
    blocked=st.sampled_from([None, LISTED]),
    allowed=st.sampled_from([None, LISTED]),
)
rulesets = st.builds(
    Ruleset,
    smtp_mail_from=st.sampled_from([None, re.compile("mary")]),
    message_from=st.sampled_from([None, re.compile("x")]),
    verified_domain=st.sampled_from(["", "a.example"]),
    forward=st.booleans(),
    list_allow_domain=st.sampled_from(["", "a.example"]),
    accept_rejects_to=st.sampled_from(["", "Refused"]),
    mailbox=st.sampled_from(["", "Inbox", "Lists"]),
)
headers = st.one_of(st.just(HEADER), st.binary(max_size=60), st.binary(max_size=60).map(lambda b: b"From: " + b + b"\r\n\r\n"))  # fmt: skip


class Whatever(SynchronousTestCase):
    """Anything that can be put together."""

    @settings(max_examples=200)
    @given(
        verdicts, facts, rulesets, headers, st.sampled_from(["", "mary@a.example"]), st.booleans(),
        st.builds(Strictness, st.sampled_from(["strict", "enforce", "reject-only", "ignore"]),
                  st.sampled_from(["strict", "strangers", "ignore"])),
    )  # fmt: skip
    def test_always_a_decision(
        self, verified: Verified, sources: FakeSources, ruleset: Ruleset, header: bytes, sender: str, tls: bool,
        strictness: Strictness,
    ) -> None:  # fmt: skip  # budget: Hypothesis gives each argument
        """There is a decision with a known reason, a mailbox or a reply, and our own trouble is never for good."""
        message = incoming(verified, header=header, reverse_path=path(sender), tls=tls)
        found = decision(message=message, sources=sources, strictness=strictness, **ruled(ruleset))
        if found.accept:
            self.assertTrue(found.mailbox)
            self.assertIsNone(found.reply)
            return
        assert found.reply is not None
        self.assertGreaterEqual(found.reply.code, 400)
        if found.reason.endswith("-error") or found.reason == Reason.HIGH_RATE:
            self.assertTrue(found.reply.temporary)
        if "dkim" in verified.unconfirmed:
            self.assertNotIn(found.reason, (Reason.DMARC_POLICY,))
