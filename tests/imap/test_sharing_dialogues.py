"""Dialogues of two users who share, from text files; the form is that of ``test_dialogues``.

Client 1 is alice's and client 2 bob's program; ``M: bob:INBOX (flags) text`` says whose message it is.
"""

from __future__ import annotations

import random
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.memorysharing import SharedMemoryMail, SharingAuthenticator
from moxtwisted.imap.testing import Driver, counted_entropy
from moxtwisted.message.flags import MessageFlags
from tests.imap.test_dialogues import Dialogue, _cuts, _expected

FOLDER = Path(__file__).parent.parent / "dialogues" / "imap-sharing"
USERS = ("alice", "bob", "byron", "chris", "david", "john")


def authenticator(dialogue: Dialogue) -> SharingAuthenticator:
    """All users, and the messages that the dialogue puts in place."""
    mails = {name: SharedMemoryMail(lambda: 1_700_000_000.0) for name in USERS}
    for place, flags, text in dialogue.messages:
        user, _, mailbox = place.partition(":")
        octets = text.encode("utf-8").decode("unicode_escape").encode("latin-1")
        mails[user].add(mailbox, octets, MessageFlags.parse(flags.split()), 837_598_885)
    return SharingAuthenticator({name: ("secret", mail) for name, mail in mails.items()}, counted_entropy())


class SharingDialogueTests(SynchronousTestCase):
    def replay(self, dialogue: Dialogue, dice: random.Random | None = None, octetwise: bool = False) -> None:
        shared = authenticator(dialogue)
        drivers = {who: Driver.of(authenticator=shared) for who in "12"}
        for kind, who, lines in dialogue.turns:
            driver = drivers[who]
            if kind == "C":
                for piece in _cuts("".join(x + "\r\n" for x in lines).encode("utf-8"), dice, octetwise):
                    driver.send(piece)
                continue
            if kind == "W":
                driver.flush()
                continue
            said = driver.received()
            if _expected(lines).fullmatch(said) is None:
                self.fail(f"{dialogue.name}: expected\n" + "\n".join(lines) + f"\nbut:\n{said.decode()}")

    def test_all(self) -> None:
        """Each dialogue goes as written, whole, octet by octet, and with random cuts."""
        dialogues = [Dialogue.read(path) for path in sorted(FOLDER.glob("*.txt"))]
        self.assertEqual(len(dialogues), 4)
        for dialogue in dialogues:
            self.replay(dialogue)
            self.replay(dialogue, octetwise=True)
            for seed in range(5):
                self.replay(dialogue, random.Random(seed))
