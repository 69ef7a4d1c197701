"""The dialogues under tests/dialogues/smtp, replayed whole, octet by octet and in random cuts."""

from __future__ import annotations

import ast
import random
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxtwisted.sasl.interfaces import IServerExchange
from moxtwisted.sasl.outcome import Challenge, Failure, Reason, Success
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.settings import BareLineEnds, Limits, Mode, ServerSettings
from moxtwisted.smtp.testing import MemoryHandlers, MemoryLink

DIRECTORY = Path(__file__).resolve().parent.parent / "dialogues" / "smtp"


@define
class Turn:
    """What the client says, and what has happened when the server is done with it."""

    client: bytes = b""
    server: list[str] = field(factory=list)
    messages: list[bytes] = field(factory=list)
    closed: str | None = None


def parse(text: str) -> tuple[dict[str, str], list[Turn]]:
    """A dialogue file to its settings and turns."""
    settings, turns = {}, [Turn()]
    for line in text.splitlines():
        mark, _, rest = line.partition(": ") if not line.endswith(":") else (line[:-1], "", "")
        if mark.startswith("# ") and " " not in mark[2:]:
            settings[mark[2:]] = rest
        elif mark in {"C", "c"}:
            octets = rest.encode().decode("unicode_escape").encode("latin-1")
            if turns[-1].server or turns[-1].messages:
                turns.append(Turn())
            turns[-1].client += octets + (b"\r\n" if mark == "C" else b"")
        elif mark == "S":
            turns[-1].server.append(rest)
        elif mark == "M":
            turns[-1].messages.append(ast.literal_eval(rest))
        elif mark == "X":
            turns[-1].closed = rest
        elif line.strip() and not line.startswith("#"):
            raise ValueError(line)
    return settings, turns


@implementer(IServerExchange)
class OneUser:
    """PLAIN for mjl, whose password is secret."""

    mechanism = "PLAIN"
    username = ""

    async def respond(self, data: bytes | None) -> Any:
        if data is None:
            return Challenge(b"")
        if data == b"\0mjl\0secret":
            return Success("mjl@example.org", "mjl")
        return Failure(Reason.BAD_CREDENTIALS)

    async def abort(self) -> Failure:
        return Failure(Reason.ABORTED)


def rcpt(path: Any, parameters: Any) -> Reply | None:
    """One local part is unknown."""
    return Reply(550, "5.1.1", "no such user") if str(path).startswith("unknown@") else None


def data_done(sink: Any) -> list[Reply | None] | None:
    """One local part is over its quota, where each recipient may have a reply."""
    full = [str(r.path).startswith("full@") for r in sink.transaction.recipients]
    return (
        [Reply(452, "4.2.2", "mailbox is over its quota") if f else None for f in full] if any(full) else None
    )


def link_for(settings: dict[str, str]) -> tuple[MemoryLink, MemoryHandlers]:
    """A connection as the file wants it."""
    many = 1000
    limits = Limits(bad_commands=many, bad_transactions=many) if "lenient" in settings else Limits()
    server = ServerSettings(
        limits=limits,
        hostname="mx.example",
        mode=Mode(settings.get("mode", "mx")),
        size_limit=int(settings.get("size", 100 * 1024 * 1024)),
        bare_line_ends=BareLineEnds(settings.get("bare", "normalise")),
        mechanisms=tuple(settings.get("mechanisms", "").split()),
        auth_without_tls="auth_without_tls" in settings,
        prdr="prdr" in settings,
    )
    handlers = MemoryHandlers(rcpt=rcpt, data_done=data_done, sasl_start=lambda *_: OneUser())
    link = MemoryLink(server, handlers)
    link.machine.tls_available = settings.get("tls") == "starttls"
    return link, handlers


def cuts(octets: bytes, dice: random.Random) -> list[bytes]:
    """The octets in pieces of any size."""
    pieces = []
    while octets:
        n = dice.randint(1, 7)
        pieces.append(octets[:n])
        octets = octets[n:]
    return pieces


class DialogueTests(SynchronousTestCase):
    """Whatever the cuts are, the server says and receives the same."""

    def replay(self, name: str, cut: Any) -> None:
        settings, turns = parse((DIRECTORY / name).read_text(encoding="utf-8"))
        link, handlers = link_for(settings)
        seen = 0
        for number, turn in enumerate(turns):
            said = link.say_each(cut(turn.client)) if turn.client else link.say()
            self.compare(
                f"{name}, turn {number}: {turn.client!r}",
                said.decode("utf-8").split("\r\n")[:-1],
                turn.server,
            )
            if turn.messages or turn.closed:
                got = [m.octets for m in handlers.messages[seen:]]
                self.assertEqual(got, turn.messages, f"{name}, turn {number}")
                seen = len(handlers.messages)
            self.assertEqual(link.ended, turn.closed, f"{name}, turn {number}")
        self.assertEqual(link.failures, [])

    def compare(self, where: str, said: list[str], expected: list[str]) -> None:
        """A line that ends in dots stands for the rest of a multi-line reply."""
        want = list(expected)
        for line in said:
            if want and want[0].endswith("-..."):
                self.assertTrue(line.startswith(want[0][:3]), f"{where}: {line}")
                if line[3:4] == " ":
                    want.pop(0)
                continue
            self.assertTrue(want, f"{where}: unexpected {line}")
            self.assertEqual(line, want.pop(0), where)
        self.assertEqual(want, [], where)

    def test_there_are_dialogues(self) -> None:
        """The directory has not been moved away."""
        self.assertGreater(len(list(DIRECTORY.glob("*.txt"))), 10)

    def test_whole(self) -> None:
        """Each turn in one piece."""
        for path in sorted(DIRECTORY.glob("*.txt")):
            self.replay(path.name, lambda octets: [octets])

    def test_octet_by_octet(self) -> None:
        """Each octet by itself."""
        for path in sorted(DIRECTORY.glob("*.txt")):
            self.replay(path.name, lambda octets: [octets[i : i + 1] for i in range(len(octets))])

    def test_in_random_cuts(self) -> None:
        """Twenty times in pieces of one to seven octets."""
        dice = random.Random(5321)
        for path in sorted(DIRECTORY.glob("*.txt")):
            for _ in range(20):
                self.replay(path.name, lambda octets: cuts(octets, dice))
