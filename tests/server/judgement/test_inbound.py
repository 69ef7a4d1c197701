"""From the dialogue to the mailbox, with the judge itself."""

from __future__ import annotations

import os
from typing import Any

from attrs import evolve

from moxtwisted.mailauth.dmarc.author import Author
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.mailauth.dmarc.record import Policy
from moxtwisted.message.headers import Header
from moxtwisted.server.inbound.outcome import reason_field
from moxtwisted.server.judgement.interfaces import Decision, JunkScore
from moxtwisted.server.judgement.judge import Judge, JudgeParts
from moxtwisted.server.judgement.rules import AccountRules, Rules, RulesHolder, ServerRules
from moxtwisted.server.ratelimit import DeliveryLimiter, DeliveryLimits
from tests.server.house import HouseCase
from tests.server.judgement.samples import dmarc
from tests.server.judgement.test_judge import Filter
from tests.server.judging import verified_by

LETTER = b"From: Mary <mary@a.example>\r\nTo: alice@example.org\r\nMessage-ID: <1@a.example>\r\nSubject: hi\r\n\r\nx\r\n"
FRIEND: dict[str, Any] = {
    "author": Author("a.example"),
    "organizational_domain": "a.example",
    "from_validated": True,
    "dmarc": dmarc(DMARCVerdict.PASS),
}


class Delivered(HouseCase):
    """Whole ways."""

    def setUp(self) -> None:
        """A house with a judge."""
        super().setUp()
        self.content = Filter()
        self.rules = RulesHolder(Rules(server=ServerRules(first_time_delay_seconds=0.0)))
        self.found = dict(FRIEND)
        parts = JudgeParts(
            limiter=DeliveryLimiter(DeliveryLimits(), self.house.clock),
            entropy=os.urandom,
            directory=self.house.holder,
            content=self.content,
        )
        verified_by(self.house, Judge(self.house.store, self.rules, parts), self.found)

    def send(
        self, letter: bytes = LETTER, recipient: str = "alice@example.org", sender: str = "mary@a.example"
    ) -> str:
        """The answer to a message."""
        line = self.house.inbound()
        line.begin(sender, recipient)
        answer = line.send(letter)
        for _ in range(300):
            # Who is refused becomes slow: it hears an octet at a time.
            self.house.clock.advance(1)
            heard = line.transport.value().decode()
            line.transport.clear()
            if not heard:
                break
            answer += heard
        line.drop()
        return answer.removesuffix("\r\n")

    def reason(self, mailbox: str = "INBOX") -> str:
        """The word in the field of the last message there."""
        octets = self.house.messages("alice", mailbox)[-1]
        return (
            Header.parse(octets.partition(b"\r\n\r\n")[0] + b"\r\n")
            .text(b"x-moxtwisted-reason")
            .partition(";")[0]
        )

    def flag(self, *keywords: str) -> None:
        """Say of all in INBOX what it is."""
        from moxtwisted.message.flags import MessageFlags

        account = self.house.store.account("alice")
        mailbox = account.mailbox("INBOX")
        assert mailbox is not None
        uids = list(account.state(mailbox.id).uids)
        self.successResultOf(account.store_flags(mailbox.id, uids, "add", MessageFlags.of(0, keywords)))

    def test_learns_who_is_a_friend(self) -> None:
        """What its owner says of a message decides about the next one of its sender."""
        self.assertEqual(self.send()[:3], "250")
        self.assertEqual(self.reason(), "no-bad-signals")
        self.flag("$NotJunk")
        self.content.says = JunkScore(1.0, significant=True)
        self.assertEqual(self.send(LETTER.replace(b"<1@", b"<2@"))[:3], "250")
        self.assertEqual(self.reason(), "msgfromfull")
        self.assertEqual(self.send(LETTER.replace(b"mary@", b"bob@"))[:3], "250")
        self.assertEqual(self.reason(), "msgfromdomain")

    def test_learns_who_is_none(self) -> None:
        """Who sent junk is refused, and the copy can be looked at."""
        self.send()
        self.flag("$Junk")
        answer = self.send(LETTER.replace(b"<1@", b"<2@"))
        self.assertEqual(answer, "451 4.3.0 error processing")
        self.assertEqual(self.reason("Rejects"), "msgfromfull")

    def test_policy(self) -> None:
        """A forged message is refused for good; where its owner asks for that, it goes into Junk."""
        self.found |= {"dmarc": dmarc(DMARCVerdict.FAIL, Policy.REJECT), "from_validated": False}
        self.assertEqual(self.send(), "550 5.7.26 refused by the DMARC policy of a.example")
        self.found["dmarc"] = dmarc(DMARCVerdict.FAIL, Policy.QUARANTINE)
        self.assertEqual(self.send()[:3], "250")
        self.assertEqual(self.reason("Junk"), "dmarc-quarantine")
        self.assertEqual(self.house.messages("alice"), [])

    def test_pass(self) -> None:
        """The pass in a refusal gets the next attempt through."""
        self.content.says = JunkScore(0.5, significant=True)
        self.rules.current = evolve(self.rules.current, accounts={"alice": AccountRules(junk_threshold=0.4)})
        self.assertEqual(self.send()[:3], "451")
        self.content.says = JunkScore(0.1, significant=False)
        self.assertEqual(self.send()[:3], "250")

    def test_contact(self) -> None:
        """The refusal has a line for people."""
        self.rules.current = Rules(server=ServerRules(contact="see https://example.org/mail"))
        self.content.says = JunkScore(1.0, significant=True)
        self.assertEqual(self.send(), "451-4.3.0 error processing\r\n451 4.3.0 see https://example.org/mail")

    def test_members_only(self) -> None:
        """Strangers hear after the message that a list is for members; a proved member gets in."""
        self.assertEqual(
            self.send(recipient="inner@example.org"), "550 5.7.2 only members may write to this address"
        )
        self.found["author"] = Author("example.org")
        letter = LETTER.replace(b"mary@a.example", b"alice@example.org")
        self.assertEqual(self.send(letter, "inner@example.org", "alice@example.org")[:3], "250")

    def test_delay(self) -> None:
        """Strangers wait a moment, and nobody has the message before."""
        self.rules.current = Rules()
        line = self.house.inbound()
        line.begin("mary@a.example", "alice@example.org")
        self.assertEqual(line.send(LETTER), "")
        self.assertEqual(self.house.messages("alice"), [])
        self.house.clock.advance(15)
        self.assertEqual(line.heard()[:3], "250")
        line.drop()

    def test_introbox(self) -> None:
        """Who is new goes into the mailbox for that; when the owner likes it, the next one goes into INBOX."""
        self.rules.current = Rules(
            accounts={"alice": AccountRules(introbox="Introbox")},
            server=ServerRules(first_time_delay_seconds=0.0),
        )
        self.send()
        self.assertEqual(self.reason("Introbox"), "no-bad-signals")
        account = self.house.store.account("alice")
        source, target = account.mailbox("Introbox"), account.mailbox("INBOX")
        assert source is not None
        assert target is not None
        self.successResultOf(account.move(source.id, list(account.state(source.id).uids), target.id))
        self.flag("$NotJunk")
        self.send(LETTER.replace(b"<1@", b"<2@"))
        self.assertEqual(self.reason(), "msgfromfull")


class Field(HouseCase):
    """X-Moxtwisted-Reason."""

    def test_bounded_and_ascii(self) -> None:
        """It is short lines of ASCII, below a kilobyte, whatever is to be said; what is ASCII can be read as it is."""
        for text in ("a" * 3000, "слово " * 400, "x\r\nBcc: y\r\n\r\n", "plain words"):
            decision = Decision(accept=True, reason="junk-content", explanation=text, mailbox="INBOX")
            octets = reason_field(decision)
            self.assertTrue(octets.isascii())
            self.assertLess(len(octets), 1024)
            self.assertTrue(octets.startswith(b"X-Moxtwisted-Reason: junk-content;"))
            header = Header.parse(octets + b"\r\n")
            self.assertEqual(len(header.fields), 1)
        mixed = reason_field(
            Decision(accept=True, reason="none", explanation="the word слово is bad", mailbox="")
        )
        self.assertIn(b"the word =?utf-8?", mixed)
        self.assertIn(b"is bad", mixed)
