"""What follows from messages being junk or not is right at any moment, whatever was done to them and whenever it stopped."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import Any, ClassVar
from unittest.mock import patch

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import ConsistencyError
from moxtwisted.message.flags import ANSWERED, NO_FLAGS, SEEN, MessageFlags
from moxtwisted.store import judgements
from moxtwisted.store.bodies import decode
from moxtwisted.store.consistency import check
from moxtwisted.store.database import connect
from moxtwisted.store.interfaces import Addition, NewMessage, PastMessage, Sender
from moxtwisted.store.judgements import combined, verdict
from moxtwisted.store.junkflags import JunkFlags
from moxtwisted.store.lanes import Lane
from moxtwisted.store.maintenance import reparse
from moxtwisted.store.reputation import Answers, Reputation
from moxtwisted.store.senders import history_keys, networks, pack_sender, unpack_sender
from tests.store.mail import KEY, StoreTestCase, go_back

JUNK = MessageFlags.of(0, ["$Junk"])
NOT_JUNK = MessageFlags.of(0, ["$NotJunk"])
MARY = Sender(
    localpart="mary",
    domain="a.example.org",
    organizational_domain="example.org",
    validated=True,
    dkim_domains=("example.org", "relay.example"),
    spf_localpart="bounces",
    spf_domain="a.example.org",
    helo_domain="mx.example.org",
    ip="192.0.2.77",
)
NOW = 1_700_000_000


class VerdictTests(SynchronousTestCase):
    def test_words(self) -> None:
        """All spellings count, in any case; both words together are neither, and an answer counts where there is no word."""
        for flags, keywords, expected in (
            (0, "", None),
            (SEEN, "todo", None),
            (0, "$Junk", True),
            (0, "Junk", True),
            (0, "a junk z", True),
            (0, "$NotJunk", False),
            (0, "NotJunk", False),
            (0, "NonJunk", False),
            (0, "$Junk NonJunk", None),
            (0, "Junky", None),
            (ANSWERED, "", False),
            (ANSWERED, "$Junk", True),
            (ANSWERED, "$Junk $NotJunk", None),
        ):
            self.assertIs(verdict(flags, keywords), expected, (flags, keywords))

    def test_copies(self) -> None:
        """Copies of a message that say something say it together, or nothing."""
        self.assertIsNone(combined([]))
        self.assertIs(combined([None, True, True]), True)
        self.assertIs(combined([False, None]), False)
        self.assertIsNone(combined([False, True]))


class SenderTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """What is kept of a sender comes out again, with the mailbox by its id or its name."""
        self.assertIsNone(unpack_sender(pack_sender(None, 1)))
        found = unpack_sender(pack_sender(MARY, 7))
        self.assertEqual(found, (evolve(MARY, origin=""), 7))
        self.assertEqual(unpack_sender(pack_sender(MARY, "INBOX")), (MARY, None))

    text = st.text(max_size=20)

    @settings(max_examples=100)
    @given(
        st.builds(
            Sender,
            localpart=text,
            domain=text,
            dkim_domains=st.lists(text).map(tuple),
            ip=text,
            spf_domain=text,
        )
    )
    def test_anything(self, sender: Sender) -> None:
        """Whatever a sender is said to be can be kept and found."""
        found = unpack_sender(pack_sender(sender, 1))
        assert found is not None
        self.assertEqual(history_keys(found[0], 1), history_keys(found[0], 1))
        self.assertLessEqual(len(found[0].dkim_domains), 10)

    def test_damaged(self) -> None:
        """Octets that are no sender are damage."""
        for kept in (b"x", b"\xff" * 20, b"\0x" + b"\0" * 10):
            self.assertRaises(ConsistencyError, unpack_sender, kept)

    def test_networks(self) -> None:
        """Addresses are known by three networks, IPv4 in IPv6 as IPv4, and with or without a length."""
        self.assertEqual(networks("192.0.2.77"), ("192.0.2.77/32", "192.0.2.64/26", "192.0.0.0/21"))
        self.assertEqual(networks("192.0.2.64/26"), ("192.0.2.64/32", "192.0.2.64/26", "192.0.0.0/21"))
        self.assertEqual(networks("::ffff:192.0.2.77"), networks("192.0.2.77"))
        self.assertEqual(
            networks("2001:db8:1:2:3::1"), ("2001:db8:1:2::/64", "2001:db8:1::/48", "2001:db8::/32")
        )
        self.assertIsNone(networks("unix"))


class Words:
    """A learner that counts words in the account's database, and remembers nothing else."""

    version = 1
    fails: ClassVar[set[bytes]] = set()

    def learn(self, connection: Any, body: int, octets: Any, junk: bool, sign: int) -> None:
        """Count."""
        connection.execute("CREATE TABLE IF NOT EXISTS tried (word, junk, count, PRIMARY KEY (word, junk))")
        text = octets.read(0, octets.size)
        for word in re.findall(rb"word\d+", text):
            connection.execute(
                "INSERT INTO tried VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
                (word.decode(), junk, sign),
            )
        if any(word in text for word in self.fails):
            raise ValueError(text)

    def forget(self, connection: Any) -> None:
        """Forget."""
        connection.execute("DROP TABLE IF EXISTS tried")


class JudgementCase(StoreTestCase):
    def deliver(
        self,
        flags: MessageFlags = NO_FLAGS,
        sender: Sender | None = MARY,
        mailbox: str = "INBOX",
        text: bytes = b"",
    ) -> int:
        """Deliver a message; its UID."""
        octets = b"Subject: x\r\n\r\n" + text + b"\r\n"
        new = self.new(octets)
        message = NewMessage(new.staged, b"Return-Path: <>\r\n", int(self.clock.seconds()), flags, sender)
        [added] = self.successResultOf(self.account.add([Addition(mailbox, message)]))
        uid: int = added.uid
        return uid

    def flag(self, uid: int, flags: MessageFlags, mode: str = "replace", mailbox: str = "INBOX") -> None:
        """Change flags."""
        identifier = self.account.mailbox(mailbox).id
        self.successResultOf(self.account.store_flags(identifier, [uid], mode, flags))

    def past(
        self,
        kind: Any = "address",
        key: str = "mary@a.example.org",
        origin: str = "INBOX",
        validated: bool | None = True,
    ) -> list[bool]:
        """Whether those of the past were junk, the newest first; what is remembered of it is what the database says."""
        question = (origin, kind, key, validated, 0, 50)
        found = self.account.reputation.past(*question)
        anew = Reputation(lambda: self.account.reader, self.account.mailbox, Answers())
        self.assertEqual(found, anew.past(*question))
        return [message.junk for message in found]

    def words(self) -> dict[tuple[str, bool], int]:
        """What ``Words`` has counted."""
        if not self.account.reader.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'tried'").get:
            return {}
        rows = self.account.reader.execute("SELECT word, junk, count FROM tried WHERE count <> 0")
        return {(word, bool(junk)): count for word, junk, count in rows}

    def problems(self) -> list[str]:
        """What the checker finds."""
        return check(self.account.reader, deep=True, decode=decode)


class HistoryTests(JudgementCase):
    """A sender's history is what users said of its messages."""

    def test_flags(self) -> None:
        """It follows the flags: set, turned over, cleared, and by an answer."""
        uid = self.deliver()
        self.assertEqual(self.past(), [])
        for flags, expected in (
            (JUNK, [True]),
            (NOT_JUNK, [False]),
            (MessageFlags.of(ANSWERED), [False]),
            (MessageFlags.of(ANSWERED, ["Junk"]), [True]),
            (MessageFlags.of(0, ["$Junk", "NonJunk"]), []),
            (NO_FLAGS, []),
        ):
            self.flag(uid, flags)
            self.assertEqual(self.past(), expected, flags)
            self.assertEqual(self.problems(), [])

    def test_kinds(self) -> None:
        """It is found by all that is known of the sender, and by nothing else."""
        self.deliver(JUNK)
        for kind, key in (
            ("address", "mary@a.example.org"),
            ("address", "Mary@A.example.org"),
            ("domain", "a.example.org"),
            ("organization", "example.org"),
            ("dkim", "example.org"),
            ("dkim", "relay.example"),
            ("spf-address", "bounces@a.example.org"),
            ("spf-domain", "a.example.org"),
            ("helo", "mx.example.org"),
            ("ip1", "192.0.2.77"),
            ("ip2", "192.0.2.64/26"),
            ("ip2", "192.0.2.90"),
            ("ip3", "192.0.0.0/21"),
        ):
            self.assertEqual(self.past(kind, key), [True], (kind, key))
        for kind, key in (
            ("domain", "example.org"),
            ("ip1", "192.0.2.78"),
            ("dkim", "a.example.org"),
            ("helo", ""),
        ):
            self.assertEqual(self.past(kind, key), [], (kind, key))

    def test_validated(self) -> None:
        """What was validated and what was not are told apart for From, and only there."""
        self.deliver(JUNK)
        self.clock.advance(1)
        self.deliver(NOT_JUNK, evolve(MARY, validated=False))
        self.assertEqual(self.past(), [True])
        self.assertEqual(self.past(validated=False), [False])
        self.assertEqual(self.past(validated=None), [False, True])
        self.assertEqual(self.past("ip1", "192.0.2.77", validated=True), [False, True])
        self.assertEqual(self.past("ip1", "192.0.2.77", validated=False), [False, True])

    def test_window(self) -> None:
        """The newest come first, those from before do not count, and no more than asked for."""
        for n in range(5):
            self.deliver(JUNK if n % 2 else NOT_JUNK)
            self.clock.advance(10)
        past = self.account.reputation.past("INBOX", "domain", "a.example.org", True, NOW + 10, 3)
        self.assertEqual([(p.junk, p.at - NOW) for p in past], [(False, 40), (True, 30), (False, 20)])
        self.assertEqual(len({p.localpart for p in past}), 1)
        self.assertIsInstance(past[0], PastMessage)
        self.assertEqual(
            len(self.account.reputation.past("INBOX", "domain", "a.example.org", True, NOW + 41, 3)), 0
        )

    def test_origin(self) -> None:
        """Each mailbox that mail is destined for has a history of its own, wherever its messages go."""
        self.deliver(JUNK, evolve(MARY, origin="inbox"), mailbox="Sent")
        self.assertEqual(self.past(), [True])
        self.assertEqual(self.past(origin="Sent"), [])

    def test_rename(self) -> None:
        """A mailbox keeps its history when it is renamed; one of its old name begins anew."""
        self.successResultOf(self.account.create_mailbox("Lists"))
        uid = self.deliver(sender=evolve(MARY, origin="Lists"), mailbox="Lists")
        self.successResultOf(self.account.rename_mailbox("Lists", "Old"))
        self.flag(uid, JUNK, mailbox="Old")
        self.assertEqual(self.past(origin="Old"), [True])
        self.successResultOf(self.account.create_mailbox("Lists"))
        self.assertEqual(self.past(origin="Lists"), [])

    def test_mailbox_that_is_not_there(self) -> None:
        """What was destined for a mailbox that comes later counts for it then, with what came since."""
        sender = evolve(MARY, origin="Lists")
        self.deliver(JUNK, sender)
        self.assertEqual(self.past(origin="Lists"), [True])
        self.successResultOf(self.account.create_mailbox("Lists"))
        self.clock.advance(1)
        self.deliver(NOT_JUNK, sender)
        self.assertEqual(self.past(origin="Lists"), [False, True])
        self.assertEqual(self.past(origin="lists"), [])
        self.assertEqual(self.problems(), [])

    def test_mailbox_renamed_to_it(self) -> None:
        """The same when another is renamed to that name."""
        self.deliver(JUNK, evolve(MARY, origin="Lists/é"))
        self.successResultOf(self.account.create_mailbox("Work"))
        self.successResultOf(self.account.rename_mailbox("Work", "Lists/e\u0301"))
        self.assertEqual(self.past(origin="Lists/é"), [True])
        self.successResultOf(self.account.rename_mailbox("Lists", "Old"))
        self.assertEqual(self.past(origin="Old/é"), [True])

    def test_copies(self) -> None:
        """A message counts once, however often it is copied; when its copies contradict each other it counts not at all."""
        sent = self.account.mailbox("Sent").id
        uid = self.deliver(JUNK)
        copied = self.successResultOf(self.account.copy(self.inbox, [uid], sent))
        self.assertEqual(self.past(), [True])
        self.flag(copied.uids[0], NOT_JUNK, mailbox="Sent")
        self.assertEqual(self.past(), [])
        self.successResultOf(self.account.expunge(self.inbox, [uid], only_deleted=False))
        self.assertEqual(self.past(), [False])
        self.successResultOf(self.account.move(sent, copied.uids, self.inbox))
        self.assertEqual(self.past(), [False])

    def test_expunged(self) -> None:
        """What is expunged, or goes with its mailbox, does not count any more."""
        self.successResultOf(self.account.create_mailbox("Work"))
        uid = self.deliver(JUNK)
        self.deliver(NOT_JUNK, mailbox="Work")
        self.assertEqual(sorted(self.past()), [False, True])
        self.successResultOf(self.account.expunge(self.inbox, [uid], only_deleted=False))
        self.assertEqual(self.past(), [False])
        self.successResultOf(self.account.delete_mailbox("Work"))
        self.assertEqual(self.past(), [])
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM history").get, 0)
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM body").get, 0)

    def test_many(self) -> None:
        """Flags of many messages at once, all there are or some, count for each."""
        for _ in range(60):
            self.deliver()
        self.successResultOf(self.account.store_flags(self.inbox, range(1, 61), "add", JUNK))
        self.assertEqual(self.past("ip1", "192.0.2.77"), [True] * 50)
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM judged WHERE junk").get, 60)
        self.successResultOf(self.account.store_flags(self.inbox, range(1, 61, 2), "replace", NOT_JUNK))
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM judged WHERE junk").get, 30)
        self.assertEqual(self.problems(), [])

    def test_remembered(self) -> None:
        """What was asked is not asked again until there may be another answer, whatever else is delivered meanwhile."""
        asked: list[str] = []
        self.account.reader.trace_v2(1, lambda event: asked.append(event["sql"]))
        self.addCleanup(self.account.reader.trace_v2, 0, None)
        glance: Any = partial(
            self.account.reputation.glance,
            "INBOX",
            [
                ("domain", "a.example.org", True),
                ("ip1", "192.0.2.77", False),
                ("helo", "other.example", False),
            ],
            [("domain", "a.example.org")],
        )
        self.assertEqual(glance(), ([False, False, False], [False]))
        self.assertEqual(self.past(), [])
        uid = self.deliver()
        self.flag(uid, JUNK)
        self.assertEqual(glance(), ([True, True, False], [False]))
        self.assertEqual(self.past(), [True])
        self.deliver()
        self.account.reputation.wrote_to("address", "mary@a.example.org", 0)
        asked.clear()
        reputation = self.account.reputation
        self.assertEqual(glance(), ([True, True, False], [False]))
        self.assertEqual(len(reputation.past("INBOX", "address", "mary@a.example.org", True, 0, 50)), 1)
        self.assertFalse(reputation.wrote_to("address", "mary@a.example.org", 0))
        self.assertEqual(asked, [])
        self.successResultOf(self.account.wrote([("mary", "a.example.org")], NOW))
        self.assertEqual(glance(), ([True, True, False], [True]))
        self.assertTrue(reputation.wrote_to("address", "mary@a.example.org", 0))

    def test_remembered_of_many(self) -> None:
        """However many are asked about, what is remembered is bounded, and right."""
        self.deliver(JUNK)
        reputation, answers = self.account.reputation, self.account._answers
        for n in range(3000):
            found = reputation.glance(
                "INBOX", [("domain", f"{n}.example", True), ("ip1", "192.0.2.77", False)], []
            )
            self.assertEqual(found, ([False, True], []))
            self.assertEqual(reputation.past("INBOX", "address", f"{n}@a.example", True, 0, 2), [])
        self.assertLess(len(answers.judged), 2002)
        self.assertLess(len(answers.past), 502)

    def test_rendered_again(self) -> None:
        """Messages that are rendered again keep their senders."""
        uid = self.deliver(JUNK)
        done = Deferred.fromCoroutine(reparse(self.account, self.clock, lambda *_: None))
        self.clock.pump([0.1] * 10)
        self.assertEqual(self.successResultOf(done), 1)
        self.assertEqual(self.problems(), [])
        self.flag(uid, NOT_JUNK)
        self.assertEqual(self.past(), [False])

    def test_without_sender(self) -> None:
        """What did not come in by SMTP has no history, and is judged all the same."""
        self.deliver(JUNK, None)
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM judged").get, 1)
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM history").get, 0)

    def test_same_octets(self) -> None:
        """The same octets for the same mailbox from two senders are two messages."""
        new = self.new(b"Subject: x\r\n\r\nx\r\n")
        other = evolve(MARY, localpart="ann")
        messages = [NewMessage(new.staged, b"", NOW, JUNK, sender) for sender in (MARY, MARY, other)]
        added = self.successResultOf(self.account.add([Addition(self.inbox, m) for m in messages]))
        self.assertEqual(len({a.body for a in added}), 2)
        self.assertEqual(self.past(), [True])
        self.assertEqual(self.past(key="ann@a.example.org"), [True])


class InterruptedTests(JudgementCase):
    """What was not done when the process ended is done by the next one."""

    def test_crash(self) -> None:
        """Flags that were acknowledged have their consequences after a crash, once."""
        uid = self.deliver(JUNK, text=b"word1")
        self.successResultOf(self.account.use_learner(Words()))
        idle = []
        self.patch(Lane, "idle", lambda lane, job: idle.append(job))
        self.flag(uid, NOT_JUNK)
        self.deliver(JUNK, text=b"word2")
        self.assertEqual(self.past(), [True])
        self.assertEqual(self.problems(), [])
        self.patch(Lane, "idle", _idle)
        self.reopen()
        self.assertEqual(self.words(), {("word1", True): 1})
        self.successResultOf(self.account.use_learner(Words()))
        self.assertEqual(sorted(self.past()), [False, True])
        self.assertEqual(self.words(), {("word1", False): 1, ("word2", True): 1})

    def test_account_of_before(self) -> None:
        """The messages of an account from before are judged by the flags that they have."""
        self.deliver(JUNK)
        self.deliver()
        self.deliver(MessageFlags.of(ANSWERED))
        self.deliver(MessageFlags.of(0, ["NonJunk"]))
        self.successResultOf(self.store.close())
        connection = connect(self.directory / "accounts" / "bob.db", KEY.derive("accounts/bob"))
        go_back(connection, 4)
        connection.close()
        self.store = self.open()
        self.account = self.store.account("bob")
        judged = self.account.reader.execute("SELECT body, junk FROM judged").fetchall()
        self.assertEqual(judged, [(1, 1), (3, 0), (4, 0)])
        self.assertEqual(sorted(self.past()), [False, False, True])

    def test_slices(self) -> None:
        """Many messages are judged in slices, each a transaction, and what comes meanwhile is not forgotten."""
        slices = []
        judge_some = judgements._judge_some

        def counted(ledger: Any) -> bool:
            slices.append(ledger.connection.execute("SELECT count(*) FROM unjudged").get)
            return judge_some(ledger)

        self.patch(judgements, "_judge_some", counted)
        self.patch(judgements, "_SLICE_BODIES", 20)
        for _ in range(50):
            self.deliver()
        self.successResultOf(self.account.store_flags(self.inbox, range(1, 51), "add", JUNK))
        self.assertEqual(slices[0], 50)
        self.assertGreater(len(slices), 2)
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM judged").get, 50)

    def test_slice_that_fails(self) -> None:
        """When a slice fails, what it was about is done with what comes next."""
        self.patch(judgements, "_judge_some", lambda ledger: 1 / 0)
        self.deliver(JUNK)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.patch(judgements, "_judge_some", _judge_some)
        self.deliver(NOT_JUNK)
        self.assertEqual(sorted(self.past()), [False, True])


_idle = Lane.idle
_judge_some = judgements._judge_some


class LearnerTests(JudgementCase):
    """What is junk is learned and unlearned, exactly."""

    def setUp(self) -> None:
        """With a learner."""
        super().setUp()
        self.learner = Words()
        self.successResultOf(self.account.use_learner(self.learner))
        self.addCleanup(Words.fails.clear)

    def test_exact(self) -> None:
        """Each message is learned as what it is, and unlearned when it is that no longer."""
        uid = self.deliver(JUNK, text=b"word1 word2 word1")
        self.assertEqual(self.words(), {("word1", True): 2, ("word2", True): 1})
        self.flag(uid, MessageFlags.of(SEEN, ["$Junk", "other"]))
        self.assertEqual(self.words(), {("word1", True): 2, ("word2", True): 1})
        self.flag(uid, NOT_JUNK)
        self.assertEqual(self.words(), {("word1", False): 2, ("word2", False): 1})
        self.successResultOf(self.account.expunge(self.inbox, [uid], only_deleted=False))
        self.assertEqual(self.words(), {})
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM body").get, 0)

    def test_octets(self) -> None:
        """The learner sees the message as it came, all of a large one, without what was put above it."""
        text = b"".join(b"word%d and what is between them\r\n" % n for n in range(20_000))
        seen = []

        class Reader(Words):
            def learn(self, connection: Any, body: int, octets: Any, junk: bool, sign: int) -> None:
                seen.append(b"".join(octets.read(at, 100_000) for at in range(0, octets.size, 100_000)))

        self.successResultOf(self.account.use_learner(Reader()))
        self.deliver(JUNK, text=text)
        self.assertEqual(seen, [b"Subject: x\r\n\r\n" + text + b"\r\n"])

    def test_other_version(self) -> None:
        """A learner of another version forgets and learns all anew."""
        self.deliver(JUNK, text=b"word1")
        self.deliver(text=b"word2")

        class Second(Words):
            version = 2

            def learn(self, connection: Any, body: int, octets: Any, junk: bool, sign: int) -> None:
                super().learn(connection, body, octets, junk, 10 * sign)

        self.successResultOf(self.account.use_learner(Second()))
        self.assertEqual(self.words(), {("word1", True): 10})
        self.assertEqual(self.problems(), [])

    def test_relearn(self) -> None:
        """What was learned can be thrown away and learned anew."""
        self.deliver(JUNK, text=b"word1")
        self.successResultOf(
            self.account.submit(lambda ledger: ledger.connection.execute("UPDATE tried SET count = 77"))
        )
        self.successResultOf(self.account.relearn())
        self.assertEqual(self.words(), {("word1", True): 1})

    def test_absent(self) -> None:
        """A program without a learner changes nothing of what was learned: all that waits until one with it comes."""
        kept = self.deliver(JUNK, text=b"word1")
        gone = self.deliver(JUNK, text=b"word2")
        self.reopen()
        self.flag(kept, NOT_JUNK)
        self.successResultOf(self.account.expunge(self.inbox, [gone], only_deleted=False))
        self.assertEqual(self.words(), {("word1", True): 1, ("word2", True): 1})
        self.assertEqual(self.problems(), [])
        self.reopen()
        self.successResultOf(self.account.use_learner(self.learner))
        self.assertEqual(self.words(), {("word1", False): 1})
        self.assertEqual(self.problems(), [])
        self.reopen()
        self.successResultOf(self.account.use_learner(self.learner))
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM body").get, 1)

    def test_message_that_cannot_be_learned(self) -> None:
        """A message that the learner fails at changes nothing, and the others are learned."""
        Words.fails.add(b"bad")
        self.deliver(JUNK, text=b"word1 bad")
        self.deliver(JUNK, text=b"word2")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.words(), {("word2", True): 1})
        self.assertEqual(self.past(), [True, True])
        Words.fails.clear()
        self.flag(1, NOT_JUNK)
        self.assertEqual(self.words(), {("word2", True): 1, ("word1", False): 1})

    def test_from_the_store(self) -> None:
        """Accounts learn with the store's learner."""
        self.successResultOf(self.store.close())
        self.store = self.open()
        self.store.learner = Words()
        self.account = self.store.account("bob")
        self.deliver(NOT_JUNK, text=b"word7")
        self.assertEqual(self.words(), {("word7", False): 1})


MAILBOXES = ("INBOX", "Junk", "Work")
SENDERS = (
    None,
    MARY,
    Sender(localpart="bob", domain="b.example", organizational_domain="b.example", ip="2001:db8::1"),
    Sender(localpart="bob", domain="b.example", origin="Work", helo_domain="b.example"),
)
FLAGS = [
    MessageFlags.parse(names)
    for names in (
        [],
        ["\\Seen"],
        ["$Junk"],
        ["$NotJunk"],
        ["\\Answered"],
        ["\\Answered", "Junk"],
        ["NonJunk", "x"],
    )
]
_mailbox = st.sampled_from(MAILBOXES)
_some = st.lists(st.integers(1, 12), min_size=1, max_size=6, unique=True).map(sorted)
STEPS = st.one_of(
    st.tuples(st.just("add"), _mailbox, st.sampled_from(SENDERS), st.sampled_from(FLAGS)),
    st.tuples(
        st.just("flags"),
        _mailbox,
        _some,
        st.tuples(st.sampled_from(("add", "remove", "replace")), st.sampled_from(FLAGS)),
    ),
    st.tuples(st.just("copy"), _mailbox, _some, _mailbox),
    st.tuples(st.just("move"), _mailbox, _some, _mailbox),
    st.tuples(st.just("expunge"), _mailbox, _some, st.none()),
    st.tuples(st.just("delete"), st.just("Work"), st.none(), st.none()),
    st.tuples(st.just("rename"), st.just("Work"), st.none(), st.none()),
    st.tuples(st.just("pause"), st.none(), st.none(), st.none()),
)


class RandomTests(JudgementCase):
    """Whatever is done, what follows from it is what a recount finds."""

    def setUp(self) -> None:
        """Every example has a store of its own."""
        self.idle: list[Any] = []

    def _do(self, what: str, name: Any, how: Any, more: Any) -> None:
        mailbox = self.account.mailbox(name) if name is not None else None
        if what == "pause":
            self._pause()
        elif what == "add":
            self.count += 1
            self.deliver(more, how, mailbox=name, text=b"word%d word%d" % (self.count, self.count % 3))
        elif mailbox is None:
            return
        elif what == "flags":
            self.successResultOf(self.account.store_flags(mailbox.id, how, *more))
        elif what == "expunge":
            self.successResultOf(self.account.expunge(mailbox.id, how, only_deleted=False))
        elif what == "delete":
            self.successResultOf(self.account.delete_mailbox(name))
        elif what == "rename":
            self.count += 1
            self.successResultOf(self.account.rename_mailbox(name, f"Was {self.count}"))
        elif self.account.mailbox(more) is not None:
            target = self.account.mailbox(more).id
            self.successResultOf(getattr(self.account, what)(mailbox.id, how, target))

    def _pause(self) -> None:
        """Have everything done that waits, or half of it."""
        jobs, self.idle[:] = list(self.idle), []
        for lane, job in jobs:
            _idle(lane, job)

    def _recount(self) -> tuple[Counter[Any], Counter[Any]]:
        """The history and the words that there have to be, from the messages alone."""
        connection = self.account.reader
        history: Counter[Any] = Counter()
        words: Counter[Any] = Counter()
        for (body,) in connection.execute("SELECT DISTINCT body FROM message").fetchall():
            rows = connection.execute(
                "SELECT flags, keywords FROM message WHERE body = ?", (body,)
            ).fetchall()
            junk = combined([verdict(*row) for row in rows])
            if junk is None:
                continue
            history[junk] += 1
            reader = self.account.open_by_id(body)
            octets = reader.read(reader.prefix_size, reader.size)
            reader.close()
            words.update((word.decode(), junk) for word in re.findall(rb"word\d+", octets))
        return history, words

    def example(self, steps: list[Any], rules: JunkFlags | None) -> None:
        super().setUp()
        try:
            self.idle.clear()
            self.count = 0
            self.account.set_junk_flags(rules)
            self.successResultOf(self.account.use_learner(Words()))
            for name in MAILBOXES[1:]:
                self.successResultOf(self.account.create_mailbox(name))
            with patch.object(Lane, "idle", lambda lane, job: self.idle.append((lane, job))):
                for step in steps:
                    self._do(*step)
                    self.assertEqual(self.problems(), [])
            while self.idle:
                self._pause()
            self.assertEqual(self.account.reader.execute("SELECT count(*) FROM unjudged").get, 0)
            self.assertEqual(self.problems(), [])
            history, words = self._recount()
            judged = self.account.reader.execute("SELECT junk, count(*) FROM judged GROUP BY junk").fetchall()
            self.assertEqual({bool(junk): count for junk, count in judged}, dict(history))
            self.assertEqual(self.words(), dict(words))
        finally:
            self.doCleanups()

    @settings(max_examples=40)
    @given(st.lists(STEPS, max_size=40))
    def test_recount(self, steps: list[Any]) -> None:
        """After any steps, with pauses anywhere, judgements, history and words are what the messages' flags say."""
        self.example(steps, None)

    @settings(max_examples=40)
    @given(st.lists(STEPS, max_size=40))
    def test_recount_with_rules(self, steps: list[Any]) -> None:
        """The same where mailboxes change flags."""
        self.example(steps, JunkFlags())


class DecidedTests(JudgementCase):
    """Who teaches others is told what people decided, and not what came with the message."""

    def setUp(self) -> None:
        """An account that tells."""
        super().setUp()
        self.told: list[tuple[str, int, bool]] = []
        self.account.decided = lambda name, messages: self.told.extend((name, *one) for one in messages)

    def test_flags(self) -> None:
        """A flag set, and set otherwise, is told each time; other flags are not, and no decision is not."""
        uid = self.deliver()
        self.flag(uid, MessageFlags.of(SEEN, []))
        self.assertEqual(self.told, [])
        self.flag(uid, JUNK)
        self.flag(uid, NOT_JUNK)
        self.flag(uid, NO_FLAGS)
        body = self.told[0][1]
        self.assertEqual(self.told, [("bob", body, True), ("bob", body, False)])

    def test_delivered_as_junk(self) -> None:
        """A message that was junk when it came is nobody's decision; that it is not junk after all is."""
        uid = self.deliver(JUNK)
        self.assertEqual(self.told, [])
        self.flag(uid, NOT_JUNK)
        self.assertEqual([junk for _, _, junk in self.told], [False])

    def test_moved(self) -> None:
        """Moving a message into the mailbox for junk is a decision."""
        self.account.set_junk_flags(JunkFlags())
        self.successResultOf(self.account.create_mailbox("Junk"))
        uid = self.deliver()
        self.clock.advance(3600)
        inbox, junk = (self.account.mailbox(name).id for name in ("INBOX", "Junk"))
        self.successResultOf(self.account.move(inbox, [uid], junk))
        self.assertEqual([junk for _, _, junk in self.told], [True])
