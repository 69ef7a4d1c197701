"""Dialogues from text files: whole, octet by octet and with random cuts.

A file has lines that begin with

- ``M:`` a message to put in place before, ``M: mailbox (flags) text`` with ``\\r\\n`` written out
- ``C:`` what the client sends; ``C1:``, ``C2:`` when there are two clients, the second of them after the first logged in
- ``S:`` what the server says, exactly, but for ``...`` that stands for anything within a line
- ``W:`` a client that idles, or said NOTIFY, is told what changed now
- ``#`` a comment

Alice's password is "secret".
"""

import random
import re
from pathlib import Path

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.testing import Driver
from moxtwisted.message.flags import MessageFlags

FOLDER = Path(__file__).parent.parent / "dialogues" / "imap"

_MESSAGE = re.compile(r"(\S+) \(([^)]*)\) (.*)")
_LINE = re.compile(r"([MCSW#])([12]?): ?(.*)")


@define
class Dialogue:
    """A file, read: what is said in turn."""

    name: str
    messages: list[tuple[str, str, str]] = field(factory=list)
    turns: list[tuple[str, str, list[str]]] = field(factory=list)

    @classmethod
    def read(cls, path: Path) -> "Dialogue":
        dialogue = cls(path.name)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{path.name}:{number}: {line}")
            kind, who, text = match.groups()
            who = who or "1"
            if kind == "M":
                message = _MESSAGE.fullmatch(text)
                if message is None:
                    raise ValueError(f"{path.name}:{number}: {line}")
                dialogue.messages.append(message.groups())  # type: ignore[arg-type]
            elif dialogue.turns and dialogue.turns[-1][:2] == (kind, who):
                dialogue.turns[-1][2].append(text)
            else:
                dialogue.turns.append((kind, who, [text]))
        return dialogue

    def mail(self) -> MemoryMail:
        mail = MemoryMail(lambda: 1_700_000_000.0)
        for mailbox, flags, text in self.messages:
            if mail.session().mailbox(mailbox) is None:
                mail.make(mailbox)
            octets = text.encode("utf-8").decode("unicode_escape").encode("latin-1")
            mail.add(mailbox, octets, MessageFlags.parse(flags.split()), 837_598_885)
        return mail


def _expected(lines: list[str]) -> re.Pattern[bytes]:
    text = "".join(line + "\r\n" for line in lines).encode("utf-8")
    return re.compile(re.escape(text).replace(rb"\.\.\.", rb"[^\r\n]*"))


def _cuts(octets: bytes, dice: random.Random | None, octetwise: bool) -> list[bytes]:
    if octetwise:
        return [octets[i : i + 1] for i in range(len(octets))]
    if dice is None:
        return [octets]
    pieces = []
    while octets:
        n = dice.randint(1, 20)
        pieces.append(octets[:n])
        octets = octets[n:]
    return pieces


class DialogueTests(SynchronousTestCase):
    def replay(self, dialogue: Dialogue, dice: random.Random | None = None, octetwise: bool = False) -> None:
        mail = dialogue.mail()
        drivers: dict[str, Driver] = {}
        for kind, who, lines in dialogue.turns:
            if who not in drivers:
                drivers[who] = Driver.of(mail)
                if who == "2":
                    drivers[who].received()
            driver = drivers[who]
            if kind == "C":
                for piece in _cuts("".join(x + "\r\n" for x in lines).encode("utf-8"), dice, octetwise):
                    driver.send(piece)
            elif kind == "W":
                driver.flush()
            else:
                said = driver.received()
                if _expected(lines).fullmatch(said) is None:
                    self.fail(
                        f"{dialogue.name}: expected\n"
                        + "\n".join(lines)
                        + "\nbut the server said\n"
                        + said.decode("utf-8", "replace")
                    )
        for driver in drivers.values():
            self.assertEqual(driver.received(), b"", dialogue.name)

    def each(self) -> list[Dialogue]:
        dialogues = [Dialogue.read(path) for path in sorted(FOLDER.glob("*.txt"))]
        self.assertGreater(len(dialogues), 5)
        return dialogues

    def test_whole(self) -> None:
        """Each dialogue goes as written."""
        for dialogue in self.each():
            self.replay(dialogue)

    def test_octet_by_octet(self) -> None:
        """Nothing depends on how the client's octets are cut: one at a time."""
        for dialogue in self.each():
            self.replay(dialogue, octetwise=True)

    def test_random_cuts(self) -> None:
        """Nothing depends on how the client's octets are cut: anywhere."""
        for seed in range(10):
            for dialogue in self.each():
                self.replay(dialogue, random.Random(seed))
