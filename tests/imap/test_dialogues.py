"""Dialogues from text files: whole, octet by octet and with random cuts. ``tests.imap.dialogues`` says what is in a file."""

import random
import re
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.capabilities import AFTER_LOGIN, CAPABILITIES, OPTIONAL
from tests.imap.dialogues import Dialogue, all_dialogues, replay

PAGE = Path(__file__).parents[2] / "docs" / "imap.rst"

TESTS = {
    "INPROGRESS": ("tests.imap.test_inprogress.ExampleTests",),
    "AUTH=SCRAM-SHA-1": ("tests.sasl.test_scram.VectorTests.test_server_rfc5802",),
    "AUTH=SCRAM-SHA-1-PLUS": ("tests.sasl.test_scram.ExchangeTests.test_every_mechanism",),
    "AUTH=SCRAM-SHA-256": ("tests.sasl.test_scram.VectorTests.test_server_rfc7677",),
    "AUTH=SCRAM-SHA-256-PLUS": ("tests.imap.test_tls.TLSTests.test_scram_with_tls_exporter",),
}
"""Capabilities whose RFC has examples that no dialogue can say, with tests that do: time goes by in them, or a client computes its
answer. What is bound to TLS has none in its RFC."""


class DialogueTests(SynchronousTestCase):
    def each(self) -> list[Dialogue]:
        dialogues = all_dialogues()
        self.assertGreater(len(dialogues), 60)
        return dialogues

    def test_whole(self) -> None:
        """Each dialogue goes as written."""
        for dialogue in self.each():
            replay(dialogue)

    def test_octet_by_octet(self) -> None:
        """Nothing depends on how the client's octets are cut: one at a time."""
        for dialogue in self.each():
            replay(dialogue, octetwise=True)

    def test_random_cuts(self) -> None:
        """Nothing depends on how the client's octets are cut: anywhere."""
        for seed in range(10):
            for dialogue in self.each():
                replay(dialogue, random.Random(seed))


class ExampleTests(SynchronousTestCase):
    """The examples of the RFC of each capability are replayed."""

    def setUp(self) -> None:
        self.page = PAGE.read_text("utf-8")
        self.examples: dict[str, set[int]] = {}
        for dialogue in all_dialogues():
            for rfc, capabilities in dialogue.examples:
                for capability in capabilities:
                    self.examples.setdefault(capability, set()).add(rfc)

    def announced(self) -> set[str]:
        """All that there is; what depends on the configuration, by the page that a live server is compared with."""
        on_page = set(re.findall(r"AUTH=[A-Z0-9-]+|STARTTLS|LOGINDISABLED", self.page))
        return {*CAPABILITIES, *OPTIONAL, *AFTER_LOGIN, *on_page}

    def test_each_capability(self) -> None:
        """Each capability has a dialogue with the examples of its RFC, or a test that says them."""
        self.assertLess({"AUTH=PLAIN", "AUTH=SCRAM-SHA-256", "STARTTLS", "URLAUTH"}, self.announced())
        missing = self.announced() - self.examples.keys() - TESTS.keys()
        self.assertEqual(missing, set(), "write a dialogue with its RFC's examples, and an R: line")

    def test_no_others(self) -> None:
        """What dialogues and tests are said to show is announced."""
        self.assertEqual((self.examples.keys() | TESTS.keys()) - self.announced(), set())

    def test_right_rfc(self) -> None:
        """A dialogue is of the RFC that the page names for the capability."""
        rows = re.findall(r"(?m)^   ([^|\n]+) \| ([\d, ]+) \| ", self.page)
        self.assertGreater(len(rows), 20)
        named = {
            name: {int(rfc) for rfc in rfcs.split(", ")} for names, rfcs in rows for name in names.split(", ")
        }
        for capability, rfcs in self.examples.items():
            if not capability.startswith("AUTH="):
                self.assertTrue(named[capability] & rfcs, (capability, rfcs))

    def test_tests_are_there(self) -> None:
        """The tests that stand for dialogues exist."""
        for names in TESTS.values():
            for name in names:
                self.assertIsNotNone(namedAny(name))
