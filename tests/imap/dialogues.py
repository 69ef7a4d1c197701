r"""Dialogues from text files: reading and replaying them.

A file has lines that begin with

- ``R:`` an RFC whose examples are replayed here, and the capabilities that they show: ``R: 9208 QUOTA QUOTA=RES-STORAGE``
- ``O:`` an option of the server or of an account, see below
- ``M:`` a message to put in place before, ``M: mailbox (flags) text`` with ``\r\n`` written out; ``bob:INBOX`` is bob's
- ``C:`` what the client sends; ``C1:``, ``C2:`` when there are several clients, whose greetings are passed over but for the first
- ``S:`` what the server says, exactly, but for ``...`` that stands for anything within a line, and ``<<name>>`` that stands for a
  word which the server chose; where the name comes again, also in what a client sends, it is the same word
- ``T:`` the client has begun TLS, as the server said that it may
- ``W:`` a client that idles, or said NOTIFY, is told what changed now
- ``#`` a comment

``O:`` and ``M:`` come before all that is said, and are carried out in their order. The options are

- ``users NAME …`` who has an account (password "secret"), and can share; messages without a name are the first one's. Without it alice is
  alone, and cannot share
- ``client-key NAME`` whose TLS client certificate the clients show
- ``submitter NAME`` a user who may read URLs for submission (RFC 4467)
- ``uids MAILBOX UIDVALIDITY UIDNEXT`` a mailbox, made if missing: the message that comes next has that UID
- ``quota OCTETS MESSAGES`` limits of the account, ``-`` for none
- ``annotations NUMBER`` how many a mailbox of the account may have
- ``append-limit OCTETS`` the largest message that the account may save
- ``limit NAME NUMBER`` one of ``moxtwisted.imap.settings.Limits``
- ``setting NAME yes|no`` one of ``moxtwisted.imap.settings.ServerSettings``
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from moxtwisted.imap.connection import Transport
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.memorysharing import SharedMemoryMail, SharingAuthenticator
from moxtwisted.imap.settings import ServerSettings, Timeouts
from moxtwisted.imap.testing import Driver, counted_entropy
from moxtwisted.message.flags import MessageFlags
from moxtwisted.sasl.outcome import Accepted, Failure, Outcome, Reason
from moxtwisted.sasl.server import MECHANISMS

__all__ = ["Dialogue", "DialogueError", "all_dialogues", "replay"]

FOLDERS = [Path(__file__).parent.parent / "dialogues" / name for name in ("imap", "imap-sharing")]

_MESSAGE = re.compile(r"(\S+) \(([^)]*)\) (.*)")
_LINE = re.compile(r"([ROMCSTW])([1-9]?): ?(.*)")
_NAMED = re.compile(r"<<(\w+)>>")


class _KeyAuthenticator(MemoryAuthenticator):
    """Clients have the key of one user.

    :ivar owner: his name.
    """

    owner = ""

    async def external(self, username: str) -> Outcome:
        """See ``ISASLBackend``."""
        if username in {"", self.owner}:
            return Accepted(self.owner, self.owner)
        return Failure(Reason.BAD_CREDENTIALS, username)


class DialogueError(AssertionError):
    """A file is not a dialogue, or the server says something else."""


@define
class Dialogue:
    """A file, read.

    :ivar examples: number of an RFC, and capabilities that its examples show.
    :ivar place: options and messages, in their order, as (kind, text).
    :ivar turns: what is said in turn: (kind, client, lines).
    """

    name: str
    examples: list[tuple[int, tuple[str, ...]]] = field(factory=list)
    place: list[tuple[str, str]] = field(factory=list)
    turns: list[tuple[str, str, list[str]]] = field(factory=list)

    @classmethod
    def read(cls, path: Path) -> Dialogue:
        """A file. :raises DialogueError: with the line that is none."""
        dialogue = cls(path.name)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                raise DialogueError(f"{path.name}:{number}: {line}")
            dialogue._take(match[1], match[2] or "1", match[3])
        return dialogue

    def _take(self, kind: str, who: str, text: str) -> None:
        if kind == "R":
            rfc, *capabilities = text.split()
            self.examples.append((int(rfc), tuple(capabilities)))
        elif kind in "OM":
            if self.turns:
                raise DialogueError(f"{self.name}: {kind} comes before all that is said: {text}")
            self.place.append((kind, text))
        elif self.turns and self.turns[-1][:2] == (kind, who):
            self.turns[-1][2].append(text)
        else:
            self.turns.append((kind, who, [text]))


def all_dialogues() -> list[Dialogue]:
    """Every file there is."""
    return [Dialogue.read(path) for folder in FOLDERS for path in sorted(folder.glob("*.txt"))]


@define
class _Place:
    """The server, and the mail of its users, as a dialogue wants them."""

    settings: ServerSettings = field(
        factory=lambda: ServerSettings(
            hostname="mail.example.org",
            allow_plain_without_tls=True,
            timeouts=Timeouts(login_failure_pause=0.0),
        )
    )
    mails: dict[str, MemoryMail] = field(factory=dict)
    submitters: set[str] = field(factory=set)
    client_key: str = ""

    @classmethod
    def of(cls, dialogue: Dialogue) -> _Place:
        place = cls()
        for kind, text in dialogue.place:
            if kind == "M":
                place.message(text)
            else:
                option, *values = text.split()
                getattr(place, "option_" + option.replace("-", "_"))(*values)
        return place

    def mailbox(self, name: str) -> tuple[MemoryMail, str]:
        """Whose a mailbox is, and its name there; it is made if missing."""
        if not self.mails:
            self.mails["alice"] = MemoryMail(lambda: 1_700_000_000.0)
        user, colon, rest = name.partition(":")
        mail = self.mails[user] if colon else next(iter(self.mails.values()))
        mailbox = rest if colon else name
        if mail.session().mailbox(mailbox) is None:
            mail.make(mailbox)
        return mail, mailbox

    def message(self, line: str) -> None:
        match = _MESSAGE.fullmatch(line)
        if match is None:
            raise DialogueError(line)
        mail, mailbox = self.mailbox(match[1])
        octets = match[3].encode("utf-8").decode("unicode_escape").encode("latin-1")
        mail.add(mailbox, octets, MessageFlags.parse(match[2].split()), 837_598_885)

    def option_users(self, *names: str) -> None:
        self.mails = {name: SharedMemoryMail(lambda: 1_700_000_000.0) for name in names}

    def option_client_key(self, name: str) -> None:
        self.client_key = name

    def option_submitter(self, name: str) -> None:
        self.submitters.add(name)

    def option_uids(self, mailbox: str, uidvalidity: str, uidnext: str) -> None:
        mail, name = self.mailbox(mailbox)
        box = mail.find(name)
        box.uidvalidity, box.uidnext = int(uidvalidity), int(uidnext)

    def option_quota(self, octets: str, messages: str) -> None:
        mail, _ = self.mailbox("INBOX")
        mail.annotations.limits = (
            None if octets == "-" else int(octets),
            None if messages == "-" else int(messages),
        )

    def option_annotations(self, number: str) -> None:
        self.mailbox("INBOX")[0].annotations.most = int(number)

    def option_append_limit(self, octets: str) -> None:
        self.mailbox("INBOX")[0].append_limit = int(octets)

    def option_limit(self, name: str, number: str) -> None:
        limits: dict[str, Any] = {name: int(number)}
        self.settings = evolve(self.settings, limits=evolve(self.settings.limits, **limits))

    def option_setting(self, name: str, value: str) -> None:
        changed: dict[str, Any] = {name: {"yes": True, "no": False}[value]}
        self.settings = evolve(self.settings, **changed)

    def connecting(self) -> Callable[[], Driver]:
        """What makes a client of the server."""
        mail, _ = self.mailbox("INBOX")
        users = {name: ("secret", one) for name, one in self.mails.items()}
        if self.client_key:
            keys = _KeyAuthenticator(users, counted_entropy(), MECHANISMS)
            keys.owner = self.client_key
            return partial(Driver.of, authenticator=keys, settings=self.settings)
        if not isinstance(mail, SharedMemoryMail):
            return partial(Driver.of, mail, settings=self.settings)
        authenticator = SharingAuthenticator(users, counted_entropy())
        authenticator.submitters = frozenset(self.submitters)
        return partial(Driver.of, authenticator=authenticator, settings=self.settings)


def _expected(lines: list[str], known: dict[str, str]) -> re.Pattern[bytes]:
    """What matches these lines of the server; a name that is not known yet becomes a group."""
    named: set[str] = set()

    def word(match: re.Match[str]) -> str:
        name = match[1]
        if name in known:
            return re.escape(known[name])
        if name in named:
            return f"(?P={name})"
        named.add(name)
        return rf'(?P<{name}>[^\s"()]+)'

    text = "".join(line + "\r\n" for line in lines)
    pieces = re.split(r"(\.\.\.|<<\w+>>)", text)
    pattern = "".join(
        r"[^\r\n]*"
        if piece == "..."
        else _NAMED.sub(word, piece)
        if _NAMED.fullmatch(piece)
        else re.escape(piece)
        for piece in pieces
    )
    return re.compile(pattern.encode("utf-8"))


def _cuts(octets: bytes, dice: random.Random | None, *, octetwise: bool) -> Iterator[bytes]:
    """What a client sends, as it may arrive: one octet at a time, in pieces by the dice, or whole."""
    while octets:
        count = 1 if octetwise else dice.randint(1, 20) if dice is not None else len(octets)
        yield octets[:count]
        octets = octets[count:]


def replay(dialogue: Dialogue, dice: random.Random | None = None, *, octetwise: bool = False) -> None:
    """Say what the clients say, and compare what the server says.

    :param dice: cuts what is sent into pieces.
    :param octetwise: send one octet at a time.
    :raises DialogueError: the server says something else.
    """
    place = _Place.of(dialogue)
    connect = place.connecting()
    drivers: dict[str, Driver] = {}
    known: dict[str, str] = {}
    for kind, who, lines in dialogue.turns:
        if who not in drivers:
            drivers[who] = connect()
            if who != "1":
                drivers[who].received()
        driver = drivers[who]
        if kind == "C":
            text = "".join(line + "\r\n" for line in lines)
            for name, word in known.items():
                text = text.replace(f"<<{name}>>", word)
            for piece in _cuts(text.encode("utf-8"), dice, octetwise=octetwise):
                driver.send(piece)
        elif kind == "T":
            driver.handshake(Transport(tls=True, client_key=bool(place.client_key)))
        elif kind == "W":
            driver.flush()
        else:
            said = driver.received()
            match = _expected(lines, known).fullmatch(said)
            if match is None:
                expected, text = "\n".join(lines), said.decode("utf-8", "replace")
                raise DialogueError(f"{dialogue.name}: expected\n{expected}\nbut the server said\n{text}")
            known |= {name: word.decode("utf-8") for name, word in match.groupdict().items()}
    for who, driver in drivers.items():
        if said := driver.received():
            raise DialogueError(f"{dialogue.name}: more for client {who}:\n{said.decode('utf-8', 'replace')}")
