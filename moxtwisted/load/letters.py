"""What a source sends: letters made up, or those of files.

::

    letters = MadeUpLetters(Numbering(run="1f2e3d4c", total=1000, host="client.example"), ...)
    letter = letters.letter(17)
    letter.head + letter.stuffed               # what goes out after DATA, without the final dot
    letter.head + letter.body                  # what goes out in BDAT

The body of most letters is the same object, so that a letter costs its head only.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from attrs import field, frozen

from moxtwisted.errors import MailError
from moxtwisted.load.numbers import message_id
from moxtwisted.smtp.body import BodyWriter

__all__ = ["FileLetters", "Letter", "Letters", "MadeUpLetters", "Numbering", "message_files"]

#: The longest payload that is made up.
MAX_OCTETS: Final = 1 << 30

_WORDS: Final = (
    "the", "of", "a", "message", "server", "from", "to", "with", "and", "is", "in", "on", "that",
    "for", "it", "was", "as", "be", "by", "this", "have", "are", "at", "or", "not", "but", "what",
    "all", "were", "when", "there", "can", "an", "your", "which", "their", "said", "if", "do", "will",
    "each", "about", "how", "up", "out", "them", "then", "she", "many", "some", "so", "these", "would",
    "other", "into", "has", "more", "her", "two", "like", "him", "see", "time", "could", "no", "make",
    "than", "first", "been", "its", "who", "now", "people", "my", "made", "over", "did", "down",
    "only", "way", "find", "use", "may", "water", "long", "little", "very", "after", "words", "called",
    "just", "where", "most", "know",
)  # fmt: skip
_WORDS_8BIT: Final = (
    "größer",
    "naïve",
    "œuvre",
    "Straße",
    "письмо",
    "почта",
    "手紙",
    "señor",
    "déjà",
    "łódź",
)
_LINE_CHARACTERS: Final = 72

_MESSAGE_ID = re.compile(rb"^Message-ID:.*\r\n(?:[ \t].*\r\n)*", re.IGNORECASE | re.MULTILINE)

_MOST_KEPT_OCTETS: Final = 64 * 1024 * 1024
_MOST_FILES: Final = 1_000_000


class NoLettersError(MailError):
    """There is nothing to send; ``detail`` says what was looked at."""

    public_text = "there is no message to send"


@frozen
class Letter:
    """One message.

    :ivar head: octets that are its own, no line beginning with a dot.
    :ivar body: what follows; line ends are CRLF, at its end, too.
    :ivar stuffed: the same with its dots stuffed: the same object where there are none.
    :ivar eight_bit: whether there are octets beyond ASCII.
    """

    head: bytes
    body: bytes = field(repr=False)
    stuffed: bytes = field(repr=False)
    eight_bit: bool = False

    @property
    def octets(self) -> int:
        """How large it is."""
        return len(self.head) + len(self.body)


class Letters(Protocol):
    """Where letters come from."""

    def letter(self, number: int) -> Letter:
        """The letter of this number, from 1."""


@frozen
class Numbering:
    """What makes a run's messages tell who they are.

    :ivar run: hexadecimal digits, as of ``entropy(4).hex()``.
    :ivar total: how many there will be; 0 = not known.
    :ivar host: the domain of Message-IDs.
    """

    run: str
    total: int
    host: str

    def message_id(self, number: int) -> str:
        """See ``moxtwisted.load.numbers.message_id``."""
        return message_id(self.run, number, self.total, self.host)


class MadeUpLetters:
    """Letters with a header and a payload of words."""

    def __init__(
        self,
        numbering: Numbering,
        fields: Sequence[tuple[str, str]],
        *,
        octets: tuple[int, int] = (4096, 4096),
        random: Callable[[], float],
        date: Callable[[], str],
        eight_bit: bool = False,
    ) -> None:
        """

        :param fields: of the header, besides Message-ID and Date; the Subject gets the number behind it.
        :param octets: of the payload, without the header: from, to. Which, is random for each letter.
        :param random: gives numbers from 0 to below 1.
        :param date: the value of the field Date, now.
        :param eight_bit: put words of other alphabets in, and say so in the header.
        """
        self._numbering = numbering
        self._octets = octets
        self._random = random
        self._date = date
        self._eight_bit = eight_bit
        kind = "utf-8\r\nContent-Transfer-Encoding: 8bit" if eight_bit else "us-ascii"
        lines = [f"{name}: {value}\r\n" for name, value in fields if name != "Subject"]
        lines += ["MIME-Version: 1.0\r\n", f"Content-Type: text/plain; charset={kind}\r\n"]
        self._subject = next((value for name, value in fields if name == "Subject"), "load test")
        self._fields = "".join(lines)
        self._text = self._words(octets[1])
        self._whole = self._payload(octets[1])
        self._beyond_ascii = eight_bit or not (self._fields + self._subject).isascii()

    def _words(self, octets: int) -> bytes:
        """At least so many octets of words, all lines whole; a block of it again and again when they are many."""
        words = (*_WORDS, *_WORDS_8BIT) if self._eight_bit else _WORDS
        lines, line, size = [], "", 0
        while size < min(octets, 65536) + 2:
            word = words[int(self._random() * len(words))]
            if len(line) + len(word) >= _LINE_CHARACTERS:
                lines.append(line.rstrip().encode() + b"\r\n")
                size += len(lines[-1])
                line = ""
            line += word + " "
        text = b"".join(lines)
        return text * (octets // len(text) + 1)

    def _payload(self, octets: int) -> bytes:
        """So many octets, the last two being a line end."""
        if octets < 2:
            return b""
        piece = self._text[: octets - 2]
        if self._eight_bit:
            piece = piece.decode("utf-8", "ignore").encode()
        if piece.endswith(b"\r"):
            piece = piece[:-1]
        return piece + b"x" * (octets - 2 - len(piece)) + b"\r\n"

    def letter(self, number: int) -> Letter:
        """See ``Letters``."""
        least, most = self._octets
        body = self._whole
        if least != most:
            body = self._payload(least + int(self._random() * (most - least + 1)))
        numbering = self._numbering
        count = f"{number} of {numbering.total}" if numbering.total else str(number)
        head = (
            f"Message-ID: <{numbering.message_id(number)}>\r\nDate: {self._date()}\r\n"
            f"Subject: {self._subject} {numbering.run} {count}\r\n{self._fields}\r\n"
        ).encode()
        return Letter(head, body, body, self._beyond_ascii)


def message_files(path: Path) -> list[Path]:
    """The messages of a file (one), a directory (each file one) or a Maildir.

    :raise NoLettersError: there is none.
    """
    if not path.is_dir():
        return [path]
    folders = [path / "cur", path / "new"] if (path / "cur").is_dir() else [path]
    found: list[Path] = []
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                found.append(file)
                if len(found) == _MOST_FILES:
                    return found
    if not found:
        raise NoLettersError(f"{path} has no files")
    return found


class FileLetters:
    """Letters that are files, sent one after the other, again and again. Line ends may be LF; a lone CR becomes a space.

    Some 64 MB of them are kept in memory; what goes beyond is read each time.
    """

    def __init__(self, files: Sequence[Path], numbering: Numbering | None = None) -> None:
        """:param numbering: give each message a Message-ID of this run in place of its own, so that a sink can count; None = leave it."""
        self._files = files
        self._numbering = numbering
        self._kept: OrderedDict[Path, Letter] = OrderedDict()
        self._kept_octets = 0

    def letter(self, number: int) -> Letter:
        """See ``Letters``.

        :raise OSError: the file cannot be read any more.
        """
        path = self._files[(number - 1) % len(self._files)]
        letter = self._kept.get(path)
        if letter is None:
            letter = self._read(path)
            self._keep(path, letter)
        if self._numbering is None:
            return letter
        head = f"Message-ID: <{self._numbering.message_id(number)}>\r\n".encode()
        return Letter(head, letter.body, letter.stuffed, letter.eight_bit)

    def _read(self, path: Path) -> Letter:
        writer = BodyWriter()
        stuffed = writer.feed(path.read_bytes())
        stuffed += writer.finish()[:-3]  # without the final dot
        body = stuffed
        if stuffed.startswith(b".") or b"\r\n." in stuffed:
            body = (b"\r\n" + stuffed).replace(b"\r\n.", b"\r\n")[2:]
        if self._numbering is not None:
            body, stuffed = _without_message_id(body), _without_message_id(stuffed)
        return Letter(b"", body, stuffed, not body.isascii())

    def _keep(self, path: Path, letter: Letter) -> None:
        size = len(letter.body)
        if size > _MOST_KEPT_OCTETS:
            return
        self._kept[path] = letter
        self._kept_octets += size
        while self._kept_octets > _MOST_KEPT_OCTETS:
            _, gone = self._kept.popitem(last=False)
            self._kept_octets -= len(gone.body)


def _without_message_id(message: bytes) -> bytes:
    end = message.find(b"\r\n\r\n")
    header = message if end < 0 else message[: end + 2]
    return _MESSAGE_ID.sub(b"", header) + message[len(header) :]
