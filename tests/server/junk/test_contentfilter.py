"""The filter of an account: learns by flags, says what it thinks and why."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from moxtwisted.message.flags import MessageFlags
from moxtwisted.server.judgement.interfaces import IContentFilter, JunkScore
from moxtwisted.server.junk.contentfilter import STALE_SECONDS, ContentFilter
from moxtwisted.server.junk.learning import LEARNER
from moxtwisted.store.interfaces import Addition
from moxtwisted.store.junkwords import recount
from tests.junk.messages import message
from tests.server.junk.letters import junk, wanted
from tests.store.mail import StoreTestCase


class FilterTests(StoreTestCase):
    def setUp(self) -> None:
        """An account that has a learner."""
        super().setUp()
        self.successResultOf(self.account.use_learner(LEARNER))
        self.content = ContentFilter(self.store.account, self.clock)

    def put(self, octets: bytes, keyword: str) -> int:
        """Deliver something that is labelled."""
        new = self.new(octets, MessageFlags.of(0, [keyword]))
        [added] = self.successResultOf(self.account.add([Addition("INBOX", new)]))
        uid: int = added.uid
        return uid

    def learn(self, count: int = 60) -> None:
        """So many of each."""
        for number in range(count):
            self.put(wanted(number), "$NotJunk")
            self.put(junk(number), "$Junk")

    def score(self, octets: bytes) -> JunkScore:
        """What the filter says."""
        staged = self.new(octets).staged
        found: Any = self.content.score("bob", staged, staged.scanned.header)
        try:
            found.send(None)
        except StopIteration as e:
            score: JunkScore = e.value
            return score
        raise AssertionError("waits")

    def test_interface(self) -> None:
        """It is a content filter."""
        verifyObject(IContentFilter, self.content)

    def test_nothing_learned_is_remembered(self) -> None:
        """Whether anything was learned is asked once, until something was."""
        asked: list[str] = []
        reader = self.store.account("bob").reader
        self.score(junk(1))
        reader.trace_v2(1, lambda event: asked.append(event["sql"]))
        self.addCleanup(reader.trace_v2, 0, None)
        self.put(wanted(1), "todo")
        self.assertEqual(self.score(junk(1)), JunkScore(0.5, significant=False))
        self.assertEqual(asked, [])
        self.learn()
        self.assertGreater(self.score(junk(1)).probability, 0.9)

    def test_nothing_learned(self) -> None:
        """Who has learned nothing, or one kind only, has no opinion."""
        self.assertEqual(self.score(junk(1)), JunkScore(0.5, significant=False))
        self.put(junk(1), "$Junk")
        self.assertEqual(self.score(junk(1)), JunkScore(0.5, significant=False))

    def test_scores(self) -> None:
        """After 60 messages of each kind it tells them apart, and names the words."""
        self.learn()
        bad, good = self.score(junk(777)), self.score(wanted(777))
        self.assertGreater(bad.probability, 0.99)
        self.assertLess(good.probability, 0.01)
        self.assertTrue(bad.significant)
        self.assertIn("subject:CHEAP", [word for word, _, _ in bad.words])
        self.assertIn("subject:minutes", [word for word, _, _ in good.words])
        self.assertEqual(list(recount(self.account.reader, LEARNER)), [])

    def test_few(self) -> None:
        """With few messages it has an opinion that does not count."""
        self.learn(5)
        self.assertFalse(self.score(junk(7)).significant)

    def test_remembered(self) -> None:
        """The same message gets the same score; what is learned meanwhile counts after a while, or when it is told."""
        self.learn()
        strange = message("Quarterly widgets and gadgets for everybody", "Subject: widgets")
        before = self.score(strange)
        self.assertEqual(self.score(strange), before)
        for _ in range(5):
            self.put(strange, "$Junk")
        self.assertEqual(self.score(strange), before)
        self.clock.advance(STALE_SECONDS + 1)
        after = self.score(strange)
        self.assertGreater(after.probability, before.probability)
        for _ in range(5):
            self.put(strange, "$NotJunk")
        self.content.forget(["bob", "nobody"])
        self.assertLess(self.score(strange).probability, after.probability)

    def test_another_account_of_the_name(self) -> None:
        """An account that is made anew under a name learns and judges by itself, though as much was learned in the one before."""
        self.learn()
        strange = message("Quarterly widgets and gadgets for everybody", "Subject: widgets")
        for _ in range(5):
            self.put(strange, "$Junk")
        self.assertGreater(self.score(strange).probability, 0.9)
        self.successResultOf(self.store.remove_account("bob"))
        self.account = self.successResultOf(self.store.create_account("bob"))
        self.inbox = self.account.mailbox("INBOX").id
        self.successResultOf(self.account.use_learner(LEARNER))
        self.assertEqual(self.score(strange), JunkScore(0.5, significant=False))
        self.learn()
        for _ in range(5):
            self.put(strange, "$NotJunk")
        self.assertLess(self.score(strange).probability, 0.1)

    def test_moved_and_expunged(self) -> None:
        """What is expunged is unlearned."""
        self.learn(3)
        uid = self.put(junk(4), "$Junk")
        self.successResultOf(self.account.expunge(self.inbox, [uid]))
        self.assertEqual(list(recount(self.account.reader, LEARNER)), [])
