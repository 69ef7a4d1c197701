"""What is asked for where accounts are, and what happens when nobody answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from moxtwisted.errors import MailboxMissingError, OverQuotaError, StoreFullError, StoreUnavailableError
from moxtwisted.mailauth.reports.message import report_of
from moxtwisted.message.flags import MessageFlags
from moxtwisted.server.control.interfaces import NotRunningError
from moxtwisted.server.inbound.rejects import RejectsPolicy
from moxtwisted.server.judgement.interfaces import JunkScore, Recipient
from moxtwisted.server.judgement.judge import Judge
from moxtwisted.server.judgement.reasons import Reason
from moxtwisted.server.lending.crossing import write
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
from moxtwisted.server.lending.operations import Operations, understand
from moxtwisted.server.ratelimit import DeliveryLimiter, DeliveryLimits
from moxtwisted.smtp.replies import Reply
from moxtwisted.store.accounts import Account
from tests.mailauth.reports.samples import dmarc_message
from tests.server.house import HouseCase
from tests.server.judgement import test_inbound as judged
from tests.server.judgement import test_judge
from tests.server.judgement.samples import ALICE, IP, incoming, path
from tests.server.judging import verified_by
from tests.server.lending.places import Lent
from tests.server.test_outcome import LETTER, SENDER, OutcomeCase

GONE = StoreUnavailableError("the keeper is gone")
BOTH = ("alice@example.org", "bob@example.org")


def _warnings(events: Iterable[Any]) -> list[str]:
    return [event["log_format"] for event in events if event["log_level"] is LogLevel.warn]


class Asked(test_judge.Judging):
    """The judge of an account that is away decides as one that is here."""

    lent = True

    def make(self, **parts: Any) -> Judge:
        """The one for here; the other is where the account is, and counts nothing."""
        there = super().make(**parts)
        lent = self.lending
        front = lent.give(there)
        quiet = evolve(there._parts, limiter=DeliveryLimiter(self.limits, self.house.clock))
        self.there = lent._judge = evolve(there, parts=quiet)
        found: Judge = front
        return found

    @property
    def lending(self) -> Lent:
        """Where the accounts are."""
        lent = self.house.lent
        assert lent is not None
        return lent

    def setUp(self) -> None:
        """A judge there, and one here."""
        self.addCleanup(lambda: self.assertEqual({o for _, o in self.lending.asked} - {"judge"}, set()))
        super().setUp()

    def test_counted_here(self) -> None:
        """What is delivered is counted where mail comes in, and there alone; there they go by what they are told."""
        self.judge = self.make(
            limiter=DeliveryLimiter(DeliveryLimits(messages_per_minute=(1, 1, 1)), self.house.clock)
        )
        self.assertTrue(self.ask().accept)
        self.assertEqual(self.ask().reason, Reason.HIGH_RATE)
        self.assertEqual(len(self.there._parts.limiter), 0)
        self.assertTrue(self.judge._parts.limiter.allows("bob", IP, 1))
        self.assertEqual(self.ask(incoming(ip="")).accept, True)

    def test_flags_and_report(self) -> None:
        """All that is decided comes back."""
        report = report_of(dmarc_message())
        decision = evolve(self.ask(), flags=MessageFlags.of(0, ("$Junk",)), report=report)
        with patch.object(Judge, "judge_told", return_value=None) as told:

            async def judge_told(*_: Any) -> Any:
                return decision

            told.side_effect = judge_told
            self.assertEqual(self.ask(), decision)

    def test_nobody_answers(self) -> None:
        """When the other process ends before it has decided, the message is to come again; nothing is counted."""
        self.lending.failing["judge"] = GONE
        with capturedLogs() as events:
            decision = self.ask()
        self.assertEqual((decision.accept, decision.reason), (False, Reason.JUDGEMENT_ERROR))
        assert decision.reply is not None
        self.assertEqual((decision.reply.code, len(self.judge._parts.limiter)), (451, 0))
        self.assertEqual(_warnings(events), ["no judgement of a message for {account}: {problem}"])

    def test_recipient(self) -> None:
        """Who has no account there is judged here."""
        self.ask(
            recipient=Recipient(
                path=path("x@example.org"), account="nobody", mailbox="INBOX", destination="x"
            )
        )
        self.assertEqual(self.lending.asked, [])
        self.ask(recipient=ALICE)
        self.assertEqual(self.lending.asked, [("alice", "judge")])


class Ways(OutcomeCase):
    """Mail for accounts that are away, and nobody there."""

    lent = True

    def setUp(self) -> None:
        """Alice takes what comes."""
        super().setUp()
        assert self.house.lent is not None
        self.lending = self.house.lent

    def send(self, *recipients: str, letter: bytes = LETTER) -> str:
        """The answer to a message."""
        line = self.house.inbound()
        line.begin(SENDER, *(recipients or ("alice@example.org",)))
        answer = line.send(letter)
        for _ in range(10):
            # Who is refused becomes slow: it hears an octet at a time.
            self.house.clock.advance(1)
            answer += line.heard()
        line.drop()
        return answer[:9]

    def room(self, *recipients: str) -> str:
        """The answer to the last recipient."""
        line = self.house.inbound()
        answer = line.begin(SENDER, *recipients)
        line.drop()
        return answer[:9]

    def test_interfaces(self) -> None:
        """Places are places."""
        verifyObject(IPlaces, self.lending)
        verifyObject(IPlaces, AllHere())

    def test_what_is_asked(self) -> None:
        """A message is one delivery, and what becomes of its copy among the rejects."""
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.lending.asked, [("alice", o) for o in ("full", "deliver", "accepted")])
        self.judge.refuse("alice", keep=True)
        self.assertEqual(self.send(), "550 5.7.1")
        self.assertEqual(self.lending.asked[3:], [("alice", o) for o in ("full", "keep_reject")])
        self.assertEqual((self.count(), self.count("Rejects")), ((1, 0, 0), (1, 0, 0)))

    def test_delivery_fails(self) -> None:
        """Whether nothing was done or nobody says that it was: the client comes again. It gets no permanent answer."""
        self.lending.failing["deliver"] = GONE
        self.assertEqual(self.send(), "451 4.3.0")
        self.lending.failing["deliver"] = MailboxMissingError("x")
        self.assertEqual(self.send(), "451 4.3.0")
        self.lending.failing["deliver"] = RuntimeError("odd")
        self.assertEqual(self.send(), "451 4.3.0")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.count(), (0, 0, 0))
        self.lending.failing.clear()
        self.lending.lost["deliver"] = GONE
        self.assertEqual(self.send(), "451 4.3.0")
        self.assertEqual(self.count(), (1, 0, 0))

    def test_delivery_fails_there(self) -> None:
        """What goes wrong there is answered as if it had gone wrong here."""
        for error, expected in (
            (OverQuotaError("alice"), "452 4.2.2"),
            (StoreFullError("disk"), "452 4.3.1"),
            (RuntimeError("odd"), "451 4.3.0"),
        ):
            with patch.object(Account, "add", side_effect=error):
                self.assertEqual(self.send(), expected)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_one_of_two(self) -> None:
        """Who has the message gets no second copy when the other's process is back; nobody has a note left then."""
        there = self.lending.ask

        async def ask(account: str, operation: str, *values: Any) -> Any:
            if (account, operation) == ("bob", "deliver"):
                raise GONE
            return await there(account, operation, *values)

        with patch.object(self.lending, "ask", ask):
            self.assertEqual(self.send(*BOTH), "451 4.3.0")
        self.assertEqual(self.count(), (1, 0, 0))
        self.assertIsNotNone(self.house.store.account("alice").secret("partly-delivered"))
        self.assertEqual(self.send(*BOTH), "250 2.6.0")
        self.assertEqual(self.count(), (1, 1, 0))
        self.assertIsNone(self.house.store.account("alice").secret("partly-delivered"))

    def test_notes_fail(self) -> None:
        """Without notes there may be a second copy, and no message is lost."""
        self.lending.failing["notes"] = self.lending.failing["write_notes"] = GONE
        self.house.quotas["bob"] = 10
        self.house.store.refresh_quotas()
        with patch.object(Operations, "full", return_value=None) as full:

            async def nothing(*_: Any) -> None:
                return None

            full.side_effect = nothing
            self.assertEqual(self.send(*BOTH), "452 4.2.2")
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailableError)), 1)
        del self.house.quotas["bob"]
        self.house.store.refresh_quotas()
        self.assertEqual(self.send(*BOTH), "250 2.6.0")
        self.assertEqual(self.count(), (2, 1, 0))

    def test_room_fails(self) -> None:
        """Who cannot say whether there is room has none now; an alias has another member."""
        self.lending.failing["full"] = GONE
        with capturedLogs() as events:
            self.assertEqual(self.room("alice@example.org"), "451 4.3.0")
        self.assertIn("StoreUnavailableError", [event.get("problem") for event in events])
        self.lending.failing.clear()
        self.house.quotas["alice"] = 0
        self.house.store.refresh_quotas()
        self.assertEqual(self.room("alice@example.org"), "452 4.2.2")
        self.assertEqual(self.room("team@example.org"), "250 2.1.5")

    def test_some_are_here(self) -> None:
        """An alias may have members here and away."""
        self.house.taking.create_account("bob").addErrback(lambda failure: failure.raiseException())
        self.house.quotas["alice"] = 0
        self.house.store.refresh_quotas()
        with patch.object(self.lending, "is_away", lambda account: account == "alice"):
            self.assertEqual(self.room("team@example.org"), "250 2.1.5")
            self.assertEqual(self.room("alice@example.org"), "452 4.2.2")
            self.assertEqual(self.send("bob@example.org"), "250 2.6.0")
        self.assertEqual(self.count(), (0, 0, 0))
        self.assertEqual({account for account, _ in self.lending.asked}, {"alice"})

    def test_gone_in_between(self) -> None:
        """An account that just left, and is not known to be away yet, is answered as one that cannot be read."""
        with patch.object(self.lending, "is_away", lambda _: False):
            self.assertEqual(self.room("alice@example.org"), "451 4.3.0")
        line = self.house.inbound()
        line.begin(SENDER, "alice@example.org")
        with patch.object(self.lending, "is_away", lambda _: False):
            self.assertEqual(line.send(LETTER)[:9], "451 4.3.0")
        line.drop()

    def test_rejects_fail(self) -> None:
        """Trouble with rejects changes no answer, and is logged."""
        self.judge.refuse("alice", keep=True)
        self.lending.failing["keep_reject"] = self.lending.failing["accepted"] = GONE
        with capturedLogs() as events:
            self.assertEqual(self.send(), "550 5.7.1")
            self.judge.accept("alice")
            self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(_warnings(events), ["rejects of {account} could not be changed: {problem}"] * 2)

    def test_rejects_are_waited_for(self) -> None:
        """The message that is to be copied stays until the other process has it, though the client was answered."""
        waiting: Deferred[None] = Deferred()
        kept: list[Any] = []

        async def ask(account: str, operation: str, *values: Any) -> Any:
            if operation == "keep_reject":
                kept.append(values[0])
                await waiting
                kept.append(b"".join(values[0].chunks()))

        self.judge.refuse("alice", keep=True)
        with patch.object(self.lending, "ask", ask):
            self.assertEqual(self.send(), "550 5.7.1")
        waiting.callback(None)
        self.assertEqual(kept[1], LETTER)
        self.assertRaises(StoreUnavailableError, kept[0].read, 0, 1)

    def test_rejects_elsewhere(self) -> None:
        """What another process put among the rejects is known here, once the account is at home."""
        self.judge.refuse("alice", keep=True)
        here = self.house.rejects
        self.send()
        self.send(letter=LETTER.replace(b"<1@", b"<2@"))
        there = evolve(here)
        staging = self.house.store.stage()
        staging.write(LETTER.replace(b"<1@", b"<3@"))
        staged = staging.finish()
        self.successResultOf(Deferred.fromCoroutine(there.keep_here("alice", staged, b"", None)))
        self.assertEqual(self.count("Rejects")[0], 3)
        self.send(letter=LETTER.replace(b"<1@", b"<3@"))
        self.assertEqual((self.count("Rejects")[0], here.counts["known"]), (3, 1))
        there._policy = lambda _: RejectsPolicy("")
        self.successResultOf(Deferred.fromCoroutine(there.keep_here("alice", staged, b"", None)))
        self.successResultOf(Deferred.fromCoroutine(there.accepted_here("alice", b"3@client.example")))
        self.assertEqual(self.count("Rejects")[0], 3)
        staged.close()

    def test_large(self) -> None:
        """A message in a file crosses as one; nothing is left of it on either side."""
        letter = LETTER + b"x" * 3_000_000 + b"\r\n"
        self.assertEqual(self.send(letter=letter), "250 2.6.0")
        self.assertTrue(self.house.messages("alice")[0].endswith(letter))
        self.lending.failing["deliver"] = GONE
        self.assertEqual(self.send(letter=letter), "451 4.3.0")
        self.assertEqual(self.house.leaks(), [])


class ReceiverWays(OutcomeCase):
    """The same by way of a receiver."""

    lent = far = True

    def test_room(self) -> None:
        """A receiver is told when it is known whether there is room, and when nobody can say."""
        assert self.house.lent is not None
        waiting: Deferred[Any] = Deferred()

        async def ask(*_: Any) -> Any:
            return await waiting

        self.house.quotas["alice"] = 10
        for result, expected in (
            (None, "250 2.1.5"),
            (Reply(452, "4.2.2", "full"), "452 4.2.2"),
            (GONE, "451 4.3.0"),
            (RuntimeError("odd"), "451 4.3.0"),
        ):
            waiting = Deferred()
            line = self.house.inbound()
            with patch.object(self.house.lent, "ask", ask):
                self.assertEqual(line.begin(SENDER, "alice@example.org"), "")
            if isinstance(result, Exception):
                waiting.errback(result)
            else:
                waiting.callback(result)
            self.assertEqual(line.heard()[:9], expected)
            line.drop()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class Judged(judged.Delivered):
    """From the dialogue to the mailbox, with a judge that is asked."""

    lent = True

    def test_nobody_answers(self) -> None:
        """When nobody judges, the client comes again."""
        assert self.house.lent is not None
        self.house.lent.failing["judge"] = GONE
        self.assertEqual(self.send()[:9], "451 4.3.0")
        self.flushLoggedErrors(StoreUnavailableError)
        self.house.lent.failing.clear()
        self.content.says = JunkScore(0.99, significant=True)
        self.assertEqual(self.send()[:3], "451")
        self.assertEqual(len(self.house.messages("alice", "Rejects")), 1)


class Users(HouseCase):
    """Those of an account that is away."""

    lent = True

    def setUp(self) -> None:
        """A password for everybody."""
        super().setUp()
        self.house.give_passwords()
        assert self.house.lent is not None
        self.lending = self.house.lent

    def run_there(self, operation: str, *values: Any) -> Any:
        """What an operation gives."""
        asking = Deferred.fromCoroutine(self.lending.ask("alice", operation, *values))
        return self.successResultOf(asking)

    def test_log_in(self) -> None:
        """The password is where the account is; without it nobody logs in, for now."""
        self.assertEqual(self.house.submission().login_answer[:9], "235 2.7.0")
        self.assertIn(("alice", "secret"), self.lending.asked)
        self.lending.failing["secret"] = GONE
        self.house.authenticator.forget_all()
        self.assertEqual(self.house.submission().login_answer[:3], "454")
        self.flushLoggedErrors(StoreUnavailableError)

    def test_correspondents_fail(self) -> None:
        """That nobody remembers to whom somebody wrote changes no answer."""
        self.lending.failing["wrote"] = GONE
        line = self.house.submission()
        line.begin("alice@example.org", "friend@elsewhere.example")
        self.assertEqual(line.send(b"From: alice@example.org\r\n\r\nhello\r\n")[:3], "250")
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailableError)), 1)

    def test_upkeep(self) -> None:
        """An account says how full it is, and forgets what was expunged."""
        self.house.quotas["alice"] = 1000
        self.house.store.refresh_quotas()
        self.assertEqual(self.run_there("usage"), (0, 0, 1000, None))
        self.assertIsNone(self.run_there("retire", 86400, 1_700_000_000))

    def test_unknown(self) -> None:
        """What is no operation is not done, whatever it is called."""
        for name in ("run", "_store", "__init__", "answer", ""):
            asking = Deferred.fromCoroutine(self.lending.ask("alice", name))
            self.failureResultOf(asking, StoreUnavailableError)

    def test_no_account(self) -> None:
        """An account that is not there is told as such; the error crosses as it is."""
        asking = Deferred.fromCoroutine(self.lending.ask("nobody", "secret", "password"))
        self.failureResultOf(asking, StoreUnavailableError)

    def test_errors(self) -> None:
        """An error of ours crosses as it is, any other is told as trouble and logged there."""
        with patch.object(Account, "usage", side_effect=NotRunningError("x")):
            asking = Deferred.fromCoroutine(self.lending.ask("alice", "usage"))
            self.assertEqual(self.failureResultOf(asking, NotRunningError).value.detail, "x")
        with patch.object(Account, "usage", side_effect=ValueError("x")):
            asking = Deferred.fromCoroutine(self.lending.ask("alice", "usage"))
            self.failureResultOf(asking, StoreUnavailableError)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_garbage(self) -> None:
        """What cannot be read is answered, too."""
        answer = self.successResultOf(Deferred.fromCoroutine(self.lending.operations.answer(b"x", ())))
        self.assertRaises(StoreUnavailableError, understand, answer)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.assertEqual(understand(write((True, 5))[0]), 5)


class Outcomes(HouseCase):
    """What needs no judge."""

    lent = True

    def test_lmtp(self) -> None:
        """Each recipient of LMTP has the answer of its account, wherever that is."""
        assert self.house.lent is not None
        there = self.house.lent.ask

        async def ask(account: str, operation: str, *values: Any) -> Any:
            if (account, operation) == ("bob", "deliver"):
                raise GONE
            return await there(account, operation, *values)

        line = self.house.inbound(lmtp=True)
        line.begin("a@client.example", *BOTH, "x@all.example")
        with patch.object(self.house.lent, "ask", ask):
            answers = line.send(LETTER).split("\r\n")
        line.drop()
        self.assertEqual([a[:9] for a in answers], ["250 2.6.0", "451 4.3.0", "250 2.6.0"])

    def test_judge_is_made_for_here(self) -> None:
        """A judge that is no judge of ours decides where mail comes in."""
        outcome = verified_by(self.house, object())
        self.assertIs(self.house.outcome(), outcome)
