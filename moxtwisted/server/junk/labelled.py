"""Messages out of files whose place says what they are: directories, Maildirs, mbox files.

::

    for message in read_messages(Path("/srv/spam")):
        message.name, message.octets, message.problem
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from moxtwisted.errors import MailError
from moxtwisted.message.mbox import read_mbox

__all__ = ["MAX_OCTETS", "LabelledMessage", "count_messages", "read_messages"]

MAX_OCTETS: Final = 64 * 1024 * 1024
"""A longer message is left out."""
_HEADER: Final = re.compile(rb"(?:From |>From |[!-9;-~]+[ \t]*:)")
_LONE_LF: Final = re.compile(rb"(?<!\r)\n")
#: What lies beside the messages of a Maildir, and what is on its way into it.
_NO_MESSAGES: Final = ("dovecot", "courier", "maildir", "subscriptions")
_MAILDIR: Final = frozenset(("cur", "new", "tmp"))


@frozen
class LabelledMessage:
    """A message from a file, or why there is none.

    :ivar octets: lines end in CRLF.
    :ivar problem: why it is left out; empty when it is not.
    """

    name: str
    octets: bytes = b""
    problem: str = ""


def _files(path: Path) -> Iterator[Path]:
    """The files of a tree, in order; what is hidden, half written or no message of a Maildir is left out."""
    if not path.is_dir():
        yield path
        return
    for directory, below, names in os.walk(path):
        maildir = bool(_MAILDIR & set(below))
        below[:] = sorted(name for name in below if not (maildir and name == "tmp"))
        for name in sorted(names):
            if not maildir and not name.startswith((".", *_NO_MESSAGES)):
                yield Path(directory) / name


def count_messages(path: Path) -> int:
    """How many files there are: of messages, if each has one.

    :raises MailError: when there is nothing of that name.
    """
    if not path.exists():
        raise MailError(f"{path}: there is no such file or directory")
    return sum(1 for _ in _files(path))


def read_messages(path: Path) -> Iterator[LabelledMessage]:
    """The messages of a file or of all files below a directory; an mbox file has many."""
    for file in _files(path):
        try:
            yield from _messages_of(file)
        except OSError as e:
            yield LabelledMessage(str(file), problem=e.strerror or "cannot be read")


def _messages_of(file: Path) -> Iterator[LabelledMessage]:
    with file.open("rb") as opened:
        beginning = opened.read(1000)
        if _HEADER.match(beginning) is None:
            yield LabelledMessage(str(file), problem="does not begin as a message does")
            return
        opened.seek(0)
        if not beginning.startswith(b"From "):
            yield _message(str(file), opened.read(MAX_OCTETS + 1))
            return
        for number, entry in enumerate(read_mbox(opened), 1):
            octets = b""
            for chunk in entry.chunks:
                if len(octets) <= MAX_OCTETS:
                    octets += chunk
            yield _message(f"{file} ({number})" if number > 1 else str(file), octets)


def _message(name: str, octets: bytes) -> LabelledMessage:
    if len(octets) > MAX_OCTETS:
        return LabelledMessage(name, problem=f"is longer than {MAX_OCTETS:,} octets")
    return LabelledMessage(name, _LONE_LF.sub(b"\r\n", octets))
