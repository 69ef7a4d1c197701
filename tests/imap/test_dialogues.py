"""Dialogues from text files: whole, octet by octet and with random cuts. ``tests.imap.dialogues`` says what is in a file."""

import random

from twisted.trial.unittest import SynchronousTestCase

from tests.imap.dialogues import Dialogue, all_dialogues, replay


class DialogueTests(SynchronousTestCase):
    def each(self) -> list[Dialogue]:
        dialogues = all_dialogues()
        self.assertGreater(len(dialogues), 30)
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
