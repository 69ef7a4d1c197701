"""What becomes of messages whose recipients decide one by one: nothing is lost, doubled, or answered with what is not true."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import StoreFullError, StoreUnavailableError
from moxtwisted.message.flags import MessageFlags
from moxtwisted.server.delivery import LocalDelivery
from moxtwisted.server.inbound.rejects import RejectsPolicy
from moxtwisted.server.inbound.splitting import Label, Splitting
from moxtwisted.server.judgement.interfaces import Opinion
from moxtwisted.smtp.replies import Reply
from moxtwisted.store.accounts import Account
from tests.server.house import ACCOUNTS, HouseCase, Line
from tests.server.judging import LATER, NEVER, Judging, verified_by

LETTER = b"From: a@client.example\r\nMessage-ID: <1@client.example>\r\nSubject: hi\r\n\r\nhello\r\n"
SENDER = "a@client.example"
ADDRESSES = {"alice": "alice@example.org", "bob": "bob@example.org", "carol": "carol@all.example"}


class OutcomeCase(HouseCase):
    def setUp(self) -> None:
        super().setUp()
        self.judge = Judging()
        self.outcome = verified_by(self.house, self.judge)

    def decide(self, **says: str) -> None:
        """``alice="yes", bob="later", carol="never"``."""
        for account, word in says.items():
            if word == "yes":
                self.judge.accept(account)
            else:
                self.judge.refuse(account, LATER if word == "later" else NEVER)

    def count(self, mailbox: str = "INBOX") -> tuple[int, ...]:
        return tuple(len(self.house.messages(account, mailbox)) for account in ADDRESSES)


class OneAnswerTests(OutcomeCase):
    """SMTP without PRDR."""

    def attempt(self, recipients: list[str], letter: bytes = LETTER) -> dict[str, str]:
        """One transaction: the answer for each recipient."""
        line = self.house.inbound()
        line.say(f"MAIL FROM:<{SENDER}>")
        answers = {r: line.say(f"RCPT TO:<{ADDRESSES[r]}>")[:9] for r in recipients}
        accepted = [r for r, answer in answers.items() if answer.startswith("250")]
        if accepted:
            final = line.send(letter)[:9]
            answers.update(dict.fromkeys(accepted, final))
        line.drop()
        return answers

    def deliver(self, recipients: list[str], letter: bytes = LETTER) -> dict[str, str]:
        """As a sending server does: try again for those with 4yz, in the same order; the last answer for each."""
        final: dict[str, str] = {}
        left = list(recipients)
        for _ in range(8):
            answers = self.attempt(left, letter)
            final.update(answers)
            left = [r for r in left if answers[r][0] == "4"]
            if not left:
                break
            self.house.clock.advance(300)
        return final

    def test_matrix(self) -> None:
        """Whatever three accounts say, in the end each recipient has the answer of its account and a copy just if that is yes."""
        expected = {"yes": "250 2.6.0", "later": "451 4.7.1", "never": "550 5.7.1"}
        sent = [0, 0, 0]
        for number, words in enumerate(itertools.product(expected, repeat=3)):
            says = dict(zip(ADDRESSES, words, strict=True))
            self.decide(**says)
            letter = LETTER.replace(b"<1@", b"<%d@" % number)
            with self.subTest(says):
                final = self.deliver(list(ADDRESSES), letter)
                for account, word in says.items():
                    self.assertEqual(final[account], expected[word], (says, final))
                sent = [n + (w == "yes") for n, w in zip(sent, words, strict=True)]
                self.assertEqual(list(self.count()), sent, says)
            self.house.clock.advance(6 * 86400)

    def test_matrix_of_one_account(self) -> None:
        """The same when two of three addresses are of one account, each with rules of its own, in any order."""
        expected = {"yes": "250 2.6.0", "later": "451 4.7.1", "never": "550 5.7.1"}
        places = (("bob", "INBOX"), ("bob", "Lists"), ("alice", "INBOX"))
        names = ("bob", "list", "alice")
        count = 0
        with patch.dict(ADDRESSES, {"list": "bob.list@example.org"}):
            for words in itertools.product(expected, repeat=3):
                for order in itertools.permutations(names):
                    count += 1
                    says = dict(zip(names, words, strict=True))
                    self.judge.by_address = {
                        ADDRESSES[name]: Judging.decision(word) for name, word in says.items()
                    }
                    letter = LETTER.replace(b"<1@", b"<%d@" % count)
                    wanted = b"<%d@" % count
                    with self.subTest(says=says, order=order):
                        final = self.deliver(list(order), letter)
                        self.assertEqual(final, {name: expected[word] for name, word in says.items()})
                        there = [
                            sum(wanted in message for message in self.house.messages(*place))
                            for place in places
                        ]
                        self.assertEqual(there, [int(word == "yes") for word in words])

    def test_log(self) -> None:
        """Each decision stands in the log once: in the line about the message when its only recipient takes it."""
        for says in ({"alice": "yes"}, {"alice": "never"}, {"alice": "yes", "bob": "yes"}):
            self.decide(**says)
            with capturedLogs() as events:
                self.attempt(list(says), LETTER.replace(b"<1@", b"<%d@" % len(str(says))))
            decided = [e for e in events if "decision" in e]
            words = {"yes": "accepted", "never": "refused"}
            self.assertEqual(
                [(e["account"], e["decision"], bool(e["reason"])) for e in decided],
                [(account, words[word], True) for account, word in says.items()],
            )
            lines = [e for e in events if "octets" in e]
            self.assertEqual(len(lines), 1)
            self.assertEqual("decision" in lines[0], says == {"alice": "yes"})

    def test_first_attempt(self) -> None:
        """Those who take it have it at once, though the client is told to come again; the second attempt comes in parts."""
        self.decide(bob="never")
        self.assertEqual(set(self.attempt(["alice", "bob"]).values()), {"451 4.5.3"})
        self.assertEqual(self.count(), (1, 0, 0))
        self.assertEqual(self.attempt(["alice", "bob"]), {"alice": "250 2.6.0", "bob": "452 4.5.3"})
        self.assertEqual(self.count(), (1, 0, 0))
        self.assertEqual(self.attempt(["bob"]), {"bob": "550 5.7.1"})

    def test_never_permanent_for_later(self) -> None:
        """When nobody takes it the answer is temporary if one of them may take it later."""
        self.decide(alice="never", bob="later")
        self.assertEqual(set(self.attempt(["alice", "bob"]).values()), {"451 4.7.1"})

    def test_all_refuse(self) -> None:
        """When all refuse it for good the answer is theirs."""
        self.decide(alice="never", bob="never")
        self.assertEqual(set(self.attempt(["alice", "bob"]).values()), {"550 5.7.1"})
        self.assertEqual(self.count(), (0, 0, 0))

    def test_forgotten(self) -> None:
        """After a restart the recipients come together again: still no second copy, and the same end."""
        self.decide(bob="never")
        self.attempt(["alice", "bob"])
        self.outcome = verified_by(self.house, self.judge)
        self.assertEqual(set(self.attempt(["alice", "bob"]).values()), {"451 4.5.3"})
        self.assertEqual(self.count(), (1, 0, 0))
        self.assertEqual(self.deliver(["bob", "alice"]), {"bob": "550 5.7.1", "alice": "250 2.6.0"})
        self.assertEqual(self.count(), (1, 0, 0))

    def test_changed_mind(self) -> None:
        """Who has the message already is not asked again."""
        self.decide(bob="later")
        self.attempt(["alice", "bob"])
        self.decide(alice="never", bob="yes")
        self.assertEqual(self.deliver(["alice", "bob"]), {"alice": "250 2.6.0", "bob": "250 2.6.0"})
        self.assertEqual(self.count(), (1, 1, 0))

    def test_another_message_meanwhile(self) -> None:
        """Another message of the same sender to the same people is only delayed."""
        self.decide(bob="never")
        self.attempt(["alice", "bob"])
        self.decide(bob="yes")
        other = LETTER.replace(b"<1@", b"<2@")
        self.assertEqual(self.attempt(["alice", "bob"], other), {"alice": "250 2.6.0", "bob": "452 4.5.3"})
        self.assertEqual(self.attempt(["bob"], other), {"bob": "250 2.6.0"})
        self.assertEqual(self.count(), (2, 1, 0))

    def test_full(self) -> None:
        """A recipient whose store fails is tried again together with those who have it, as ever."""
        self.house.quotas["bob"] = 10
        self.house.store.refresh_quotas()
        self.assertEqual(set(self.attempt(["alice", "bob"]).values()), {"452 4.2.2"})
        self.assertEqual(self.count(), (1, 0, 0))
        del self.house.quotas["bob"]
        self.house.store.refresh_quotas()
        self.assertEqual(set(self.attempt(["alice", "bob"]).values()), {"250 2.6.0"})
        self.assertEqual(self.count(), (1, 1, 0))

    def test_alias(self) -> None:
        """An alias takes what one member takes; a message that none takes is refused."""
        line = self.house.inbound()
        self.judge.refuse("bob", keep=True)
        line.begin(SENDER, "team@example.org")
        self.assertIn("250 2.6.0", line.send(LETTER))
        self.assertEqual(self.count(), (1, 0, 0))
        self.assertEqual(self.count("Rejects"), (0, 1, 0))
        self.assertTrue(all(r.alias for r in self.judge.asked))
        self.judge.refuse("alice", LATER)
        line.begin(SENDER, "team@example.org")
        answer = line.send(LETTER)
        self.house.clock.advance(0)  # it is slow
        self.assertIn("451 4.7.1", answer + line.heard())

    def test_one_question_for_an_account(self) -> None:
        """An account is asked once for an address of it, by alias or not; one copy for each mailbox names all addresses."""
        line = self.house.inbound()
        line.begin(
            SENDER, "team@example.org", "alice@example.org", "alice+x@example.org", "bob.list@example.org"
        )
        self.assertIn("250 2.6.0", line.send(LETTER))
        asked = sorted((r.account, r.destination, r.alias) for r in self.judge.asked)
        self.assertEqual(
            asked,
            [
                ("alice", "alice@example.org", False),
                ("bob", "bob.list@example.org", False),
                ("bob", "bob@example.org", True),
            ],
        )
        (octets,) = self.house.messages("alice")
        self.assertEqual(octets.count(b"Delivered-To: "), 3)
        self.assertEqual(len(self.house.messages("bob")), 1)
        self.assertEqual(len(self.house.messages("bob", "Lists")), 1)


class SplittingTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        """Attempts that overlap without end do not grow into one."""
        splitting = Splitting()
        for n in range(1000):
            splitting.remember(
                b"s",
                {b"<common>": Label.LATER, b"<%d>" % n: Label.TAKEN, b"<%d>" % (n + 1): Label.TAKEN},
                0.0,
            )
        self.assertLess(len(splitting.all_of(b"s", [b"<common>"], 0.0)), 210)


class SeparateAnswersTests(OutcomeCase):
    """PRDR and LMTP."""

    def answers(self, line: Line, parameter: str = "") -> list[str]:
        line.say(f"MAIL FROM:<{SENDER}>{parameter}")
        for address in ADDRESSES.values():
            line.say(f"RCPT TO:<{address}>")
        return [answer[:9] for answer in line.send(LETTER).split("\r\n")]

    def test_matrix(self) -> None:
        """Each recipient has the answer of its account, and a copy just if that is yes; for all of them, in one transaction."""
        expected = {"yes": "250 2.6.0", "later": "451 4.7.1", "never": "550 5.7.1"}
        sent = [0, 0, 0]
        for words in itertools.product(expected, repeat=3):
            self.decide(**dict(zip(ADDRESSES, words, strict=True)))
            each = [expected[w] for w in words]
            overall = next((e for e in each if e[0] == "2"), next((e for e in each if e[0] == "4"), each[0]))
            prdr, lmtp = self.house.inbound(prdr=True), self.house.inbound(lmtp=True)
            self.assertEqual(self.answers(prdr, " PRDR")[1:], [*each, overall], words)
            self.assertEqual(self.answers(lmtp), each, words)
            prdr.drop()
            lmtp.drop()
            sent = [n + 2 * (w == "yes") for n, w in zip(sent, words, strict=True)]
            self.assertEqual(list(self.count()), sent, words)
        self.assertEqual(len(self.outcome._splitting), 0)

    def test_full(self) -> None:
        """What a store cannot take is the answer of its recipient."""
        line = self.house.inbound(prdr=True)
        line.say(f"MAIL FROM:<{SENDER}> PRDR")
        for address in ADDRESSES.values():
            line.say(f"RCPT TO:<{address}>")
        self.house.quotas["bob"] = 10
        self.house.store.refresh_quotas()
        answers = [answer[:9] for answer in line.send(LETTER).split("\r\n")]
        self.assertEqual(answers[1:], ["250 2.6.0", "452 4.2.2", "250 2.6.0", "250 2.6.0"])


class CopyTests(OutcomeCase):
    def send(self, *recipients: str) -> str:
        line = self.house.inbound()
        line.begin(SENDER, *(recipients or ("alice@example.org",)))
        return line.send(LETTER)[:9]

    def test_fields(self) -> None:
        """Above the message stand where it came from, for whom, why it was taken, what was verified, and our trace."""
        self.send()
        (octets,) = self.house.messages("alice")
        names = [
            line.partition(b":")[0]
            for line in octets.partition(b"From:")[0].split(b"\r\n")
            if line[:1] > b" "
        ]
        self.assertEqual(
            names,
            [b"Return-Path", b"Delivered-To", b"X-Moxtwisted-Reason", b"Authentication-Results", b"Received"],
        )
        self.assertIn(b"X-Moxtwisted-Reason: no-bad-signals; nothing bad\r\n", octets)

    def test_forged_reason(self) -> None:
        """Words of the message in an explanation make no header fields and no control characters."""
        self.judge.accept("alice", explanation="saw grün\r\nX-Evil: 1\x00\x1b[m " + "long " * 100)
        self.send()
        (octets,) = self.house.messages("alice")
        self.assertNotIn(b"\nX-Evil", octets)
        self.assertNotIn(b"\x1b", octets)
        self.assertTrue(octets.partition(b"From:")[0].isascii())

    def test_mailbox_and_flags(self) -> None:
        """A copy goes where the decision says, with its flags."""
        self.judge.accept("alice", mailbox="Lists", flags=MessageFlags.of(0, ("$Junk",)))
        self.send()
        mine = self.house.store.account("alice")
        mailbox = mine.mailbox("Lists")
        assert mailbox is not None
        self.assertEqual(mine.state(mailbox.id).flags[0].names, ("$Junk",))

    def test_broken_judge(self) -> None:
        """A judge that fails refuses for now, and others are not concerned."""
        self.judge.says["alice"] = RuntimeError("bug")
        self.assertEqual(self.send(), "451 4.3.0")
        self.flushLoggedErrors(RuntimeError)
        self.judge.says["alice"] = StoreUnavailableError("away")
        self.assertEqual(self.send()[0], "4")
        self.assertEqual(self.send("bob@example.org"), "250 2.6.0")

    def test_refusal_without_reply(self) -> None:
        """A refusal that says nothing is temporary."""
        self.judge.refuse("alice")
        self.judge.says["alice"] = evolve(self.judge.says["alice"], reply=None)
        self.assertEqual(self.send(), "451 4.3.0")

    def test_counts(self) -> None:
        """Decisions are counted by reason."""
        self.send()
        self.judge.refuse("alice")
        self.send()
        bench = self.outcome._bench
        self.assertEqual(bench.counts, {("accepted", "no-bad-signals"): 1, ("refused", "junk-content"): 1})


class Looking:
    """An external judge."""

    def __init__(self, opinion: Opinion | Exception | None, key: str = "rspamd") -> None:
        self.opinion = opinion
        self.key = key
        self.looked = 0
        self.recipients: list[str] = []

    async def look(self, incoming: Any) -> Opinion | None:
        self.looked += 1
        self.recipients = [str(path) for path in incoming.recipients]
        if isinstance(self.opinion, Exception):
            raise self.opinion
        return self.opinion


class ExternalTests(HouseCase):
    def setUp(self) -> None:
        super().setUp()
        self.judge = Judging()

    def send(self, *externals: Looking, without: Mapping[str, frozenset[str]] | None = None) -> str:
        verified_by(
            self.house,
            self.judge,
            externals=externals,
            do_without=lambda recipient: (without or {}).get(recipient.account, frozenset()),
        )
        line = self.house.inbound()
        line.begin(SENDER, "alice@example.org", "bob@example.org")
        answer = line.send(LETTER)
        line.drop()
        return answer[:9]

    def test_refusal(self) -> None:
        """What one refuses is refused to all, and nobody else is asked."""
        clean = Looking(Opinion(source="rspamd"))
        virus = Looking(Opinion(source="clamd", reply=Reply(554, "5.7.1", "a virus")))
        self.assertEqual(self.send(clean, virus), "554 5.7.1")
        self.assertEqual((clean.looked, virus.looked, self.judge.asked), (1, 1, []))

    def test_junk_and_fields(self) -> None:
        """What one calls junk is marked so, and its fields stand above the message."""
        opinion = Opinion(source="rspamd", junk=True, fields=b"X-Spam: yes\r\n", explanation="score 12")
        self.assertEqual(self.send(Looking(opinion)), "250 2.6.0")
        mine = self.house.store.account("alice")
        inbox = mine.mailbox("INBOX")
        assert inbox is not None
        self.assertEqual(mine.state(inbox.id).flags[0].names, ("$Junk",))
        (octets,) = self.house.messages("alice")
        self.assertIn(b"X-Spam: yes\r\n", octets)
        self.assertIn(b"rspamd: score 12", octets)

    def test_junk_mailbox(self) -> None:
        """Where the account wants junk it goes there, unless it is wanted whatever its content is."""
        junk = Looking(Opinion(source="rspamd", junk=True))
        verified_by(self.house, self.judge, externals=[junk], junk_mailbox=lambda _: "Spam")
        line = self.house.inbound()
        for reason in ("no-bad-signals", "msgtofull"):
            self.judge.accept("alice", reason=reason)
            line.begin(SENDER, "alice@example.org")
            self.assertIn("250 2.6.0", line.send(LETTER))
        self.assertEqual(len(self.house.messages("alice", "Spam")), 1)
        self.assertEqual(len(self.house.messages("alice")), 1)

    def test_changes(self) -> None:
        """What scanners change of the header is changed in the copies of those who do not do without; of two the later one counts."""
        first = Looking(Opinion(source="a", changes={0: b"From: a@x.example\r\n", 1: b""}), "milters.a")
        second = Looking(Opinion(source="b", changes={0: b"From: b@x.example\r\n"}), "milters.b")
        self.assertEqual(
            self.send(first, second, without={"bob": frozenset({"milters.a", "milters.b"})}), "250 2.6.0"
        )
        (alice,), (bob,) = self.house.messages("alice"), self.house.messages("bob")
        self.assertTrue(alice.endswith(b"\r\nFrom: b@x.example\r\nSubject: hi\r\n\r\nhello\r\n"), alice)
        self.assertTrue(bob.endswith(LETTER))

    def test_changes_of_a_large_message(self) -> None:
        """A large body is copied in pieces, between which others have their turn."""
        body = b"".join(b"line %d\r\n" % number for number in range(60_000))
        judge = Looking(Opinion(source="a", changes={2: b""}))
        verified_by(self.house, self.judge, externals=[judge])
        line = self.house.inbound()
        line.begin(SENDER, "alice@example.org")
        answer = line.send(LETTER + body)
        for _ in range(20):
            self.house.clock.advance(0)
        self.assertIn("250 2.6.0", answer + line.heard())
        (octets,) = self.house.messages("alice")
        self.assertTrue(octets.endswith(b"\r\n\r\nhello\r\n" + body))
        self.assertNotIn(b"Subject", octets)

    def test_no_room_for_changes(self) -> None:
        """When the altered message cannot be kept, the client is to come again."""
        judge = Looking(Opinion(source="a", changes={2: b""}))
        verified_by(self.house, self.judge, externals=[judge])
        line = self.house.inbound()
        line.begin(SENDER, "alice@example.org")
        with patch.object(LocalDelivery, "stage", side_effect=StoreFullError("no space")):
            self.assertIn("452 4.3.1", line.send(LETTER))
        self.assertEqual(self.house.messages("alice"), [])

    def test_done_without(self) -> None:
        """What one says does not count for who does without it, and it is not told of that recipient."""
        judge = Looking(Opinion(source="rspamd", junk=True, fields=b"X-Rspamd-Score: 9\r\n"))
        self.assertEqual(self.send(judge, without={"bob": frozenset({"rspamd"})}), "250 2.6.0")
        self.assertEqual(judge.recipients, ["alice@example.org"])
        (alice,), (bob,) = self.house.messages("alice"), self.house.messages("bob")
        self.assertIn(b"X-Rspamd-Score: 9\r\n", alice)
        self.assertNotIn(b"X-Rspamd-Score", bob)
        self.assertEqual([str(r.path) for r in self.judge.asked], ["alice@example.org", "bob@example.org"])

    def test_refusal_of_some(self) -> None:
        """A refusal is not that of who does without it: the client is to come again in parts."""
        virus = Looking(Opinion(source="clamd", reply=Reply(554, "5.7.1", "a virus")), "clamd")
        self.assertEqual(self.send(virus, without={"bob": frozenset({"clamd"})}), "451 4.5.3")
        self.assertEqual((len(self.house.messages("alice")), len(self.house.messages("bob"))), (0, 1))

    def test_nobody_wants_it(self) -> None:
        """One that all recipients do without is not asked at all."""
        judge = Looking(Opinion(source="rspamd", junk=True))
        off = frozenset({"rspamd", "clamd"})
        self.assertEqual(self.send(judge, without={"alice": off, "bob": off}), "250 2.6.0")
        self.assertEqual(judge.looked, 0)

    def test_failing(self) -> None:
        """One that breaks is as if it were not there."""
        self.assertEqual(self.send(Looking(RuntimeError("bug")), Looking(None)), "250 2.6.0")
        self.flushLoggedErrors(RuntimeError)


class DelayTests(OutcomeCase):
    def setUp(self) -> None:
        super().setUp()
        self.judge.accept("alice", delay_seconds=15.0)

    def begin(self) -> Line:
        line = self.house.inbound()
        line.begin(SENDER, "alice@example.org")
        self.assertEqual(line.send(LETTER), "")
        return line

    def test_waits(self) -> None:
        """Mail of a stranger is taken after a while."""
        line = self.begin()
        self.house.clock.advance(14.9)
        self.assertEqual((line.heard(), self.count()), ("", (0, 0, 0)))
        self.house.clock.advance(0.2)
        self.assertIn("250 2.6.0", line.heard())
        self.assertEqual(self.count(), (1, 0, 0))

    def test_gone(self) -> None:
        """A client that leaves meanwhile was promised nothing: nothing is delivered, and its next attempt makes the one copy."""
        line = self.begin()
        line.drop()
        self.house.clock.advance(20)
        self.assertEqual(self.count(), (0, 0, 0))
        line = self.begin()
        self.house.clock.advance(15)
        self.assertIn("250 2.6.0", line.heard())
        self.assertEqual(self.count(), (1, 0, 0))
        line.drop()
        self.assertEqual(self.house.leaks(), [])

    def test_at_most_so_many(self) -> None:
        """When all places are taken a message is taken at once."""
        self.outcome._room._places = 1
        first = self.begin()
        second = self.house.inbound()
        second.begin(SENDER, "alice@example.org")
        self.assertIn("250 2.6.0", second.send(LETTER))
        self.house.clock.advance(15)
        self.assertIn("250 2.6.0", first.heard())

    def test_not_in_lmtp(self) -> None:
        """Programs of ours do not wait."""
        line = self.house.inbound(lmtp=True)
        line.begin(SENDER, "alice@example.org")
        self.assertIn("250 2.6.0", line.send(LETTER))


class RejectsTests(OutcomeCase):
    def setUp(self) -> None:
        super().setUp()
        self.judge.refuse("alice", keep=True)

    def send(self, letter: bytes = LETTER) -> str:
        line = self.house.inbound()
        line.begin(SENDER, "alice@example.org")
        answer = line.send(letter)
        self.house.clock.advance(0)  # it is slow
        answer += line.heard()
        line.drop()
        return answer[:9]

    def rejects(self) -> int:
        return len(self.house.messages("alice", "Rejects"))

    def test_kept(self) -> None:
        """A refused message can be looked at: it is read already, says why it was refused, and is no mail otherwise."""
        self.assertEqual(self.send(), "550 5.7.1")
        (octets,) = self.house.messages("alice", "Rejects")
        self.assertIn(b"X-Moxtwisted-Reason: junk-content; it looks bad\r\n", octets)
        self.assertTrue(octets.endswith(LETTER))
        self.assertEqual(self.count(), (0, 0, 0))
        mine = self.house.store.account("alice")
        mailbox = mine.mailbox("Rejects")
        assert mailbox is not None
        self.assertEqual(mine.state(mailbox.id).flags[0].names, ("\\Seen",))

    def test_once(self) -> None:
        """The same message is there once, by its Message-ID or by its octets, also after a restart."""
        nameless = LETTER.replace(b"Message-ID: <1@client.example>\r\n", b"")
        for _ in range(2):
            for _ in range(2):
                self.send()
                self.send(LETTER.replace(b"hello", b"other words, same identifier"))
                self.send(nameless)
                self.send(nameless.replace(b"hello", b"another"))
            self.assertEqual(self.rejects(), 3)
            self.outcome = verified_by(self.house, self.judge)

    def test_taken_after_all(self) -> None:
        """When the same message gets in its copy goes."""
        self.send()
        self.send(LETTER.replace(b"<1@", b"<2@"))
        self.judge.accept("alice")
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual((self.rejects(), self.count()[0]), (1, 1))
        self.assertIn(b"<2@", self.house.messages("alice", "Rejects")[0])

    def test_removed_by_its_reader(self) -> None:
        """What its reader removed may come again."""
        self.send()
        mine = self.house.store.account("alice")
        mailbox = mine.mailbox("Rejects")
        assert mailbox is not None
        mine.expunge(mailbox.id, None, only_deleted=False)
        self.send()
        self.assertEqual(self.rejects(), 1)

    def test_too_many_and_too_old(self) -> None:
        """Beyond the limit the oldest go, and so do those of two weeks ago."""
        self.house.rejects._most = 3
        for number in range(5):
            self.send(LETTER.replace(b"<1@", b"<%d@" % number))
        self.assertEqual(self.rejects(), 3)
        self.house.clock.advance(14 * 86400 + 1)
        self.send()
        self.assertEqual(self.rejects(), 1)

    def test_too_many_octets(self) -> None:
        """Beyond so many octets the oldest go, and what is very large is not copied."""
        self.house.rejects._most_octets = 10_000
        for number in range(8):
            self.send(LETTER.replace(b"<1@", b"<%d@" % number) + b"x" * 2000 + b"\r\n")
        self.assertEqual(self.rejects(), 4)
        self.send(LETTER.replace(b"<1@", b"<9@") + b"x" * 2600 + b"\r\n")
        self.assertEqual(self.rejects(), 4)

    def test_too_old_without_new_ones(self) -> None:
        """Those that are too old go also when no message is refused any more, when others get in."""
        self.send()
        self.judge.accept("alice")
        self.send(LETTER.replace(b"<1@", b"<2@"))
        self.assertEqual(self.rejects(), 1)
        self.house.clock.advance(14 * 86400 + 1)
        self.send(LETTER.replace(b"<1@", b"<3@"))
        self.assertEqual(self.rejects(), 0)

    def test_not_kept(self) -> None:
        """What is not to be kept is not."""
        self.judge.refuse("alice", keep=False)
        self.send()
        self.assertEqual(self.rejects(), 0)

    def test_no_room(self) -> None:
        """A copy never takes the room that mail may need; the answer is the same."""
        self.house.quotas["alice"] = 300
        self.house.store.refresh_quotas()
        self.assertEqual(self.send(), "550 5.7.1")
        self.assertEqual(self.rejects(), 0)
        self.assertEqual(self.house.rejects.counts["full"], 1)

    def test_gives_way(self) -> None:
        """Copies give way to mail: at RCPT their room counts as free, and at delivery the oldest go."""
        for number in range(4):
            self.send(LETTER.replace(b"<1@", b"<%d@" % number))
        self.assertEqual(self.rejects(), 4)
        used, _, _ = self.house.store.account("alice").usage()
        self.house.quotas["alice"] = used + 10
        self.house.store.refresh_quotas()
        self.judge.accept("alice")
        self.assertEqual(self.send(LETTER.replace(b"<1@", b"<9@")), "250 2.6.0")
        self.assertEqual(self.count()[0], 1)
        self.assertLess(self.rejects(), 4)
        self.house.quotas["alice"] = 10
        self.house.store.refresh_quotas()
        line = self.house.inbound()
        self.assertIn("452 4.2.2", line.begin(SENDER, "alice@example.org"))
        line.drop()

    def test_keep(self) -> None:
        """An account that wants to keep them keeps them, whatever else wants the room."""
        self.policy = RejectsPolicy(keep=True)
        self.house.rejects._policy = lambda _: self.policy
        self.send()
        self.house.clock.advance(30 * 86400)
        self.send(LETTER.replace(b"<1@", b"<2@"))
        self.judge.accept("alice")
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.rejects(), 2)
        self.assertEqual(self.house.rejects.room(self.house.store.account("alice")), (0, 0))
        self.policy = RejectsPolicy("")
        self.judge.refuse("alice", keep=True)
        self.send(LETTER.replace(b"<1@", b"<3@"))
        self.assertEqual(self.rejects(), 2)

    def test_trouble(self) -> None:
        """What goes wrong there changes no answer, and is logged."""
        with patch.object(Account, "add", side_effect=StoreUnavailableError("away")):
            self.assertEqual(self.send(), "550 5.7.1")
        self.flushLoggedErrors(StoreUnavailableError)
        self.assertEqual(self.send(), "550 5.7.1")
        self.assertEqual(self.rejects(), 1)

    def test_slow(self) -> None:
        """A client whose message was refused so is slow from then on."""
        line = self.house.inbound()
        line.begin(SENDER, "alice@example.org")
        line.send(LETTER)
        self.assertIsNotNone(line.protocol._drip)
        line.drop()

    def test_leaks_nothing(self) -> None:
        """The octets of refused messages are given back."""
        self.send()
        self.send(b"X: " + b"x" * 3_000_000 + b"\r\n\r\n")
        self.assertEqual(self.house.leaks(), [])
        self.successResultOf(Deferred.fromCoroutine(self.house.rejects.make_room("alice", 10**9)))
        self.assertEqual(self.rejects(), 0)
        self.assertEqual(len(ACCOUNTS), 3)
