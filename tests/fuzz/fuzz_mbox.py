"""Fuzz the reader of mbox files, and read again what the writer wrote.

However the file's octets arrive, the messages are the same, and not longer than the file but for their line ends. A message that
was written comes back as it was, whatever its lines begin with.
"""

from __future__ import annotations

import io
import re

from attrs import define

from moxtwisted.message.mbox import MboxWriter, Quoting, read_mbox
from tests.fuzz.run import alone
from tests.fuzz.watching import within

_LONE_CR = re.compile(rb"\r(?!\n)")


@define
class Slow:
    """A file that gives a few octets at a time."""

    octets: bytes
    size: int
    at: int = 0

    def read(self, size: int, /) -> bytes:
        """The next octets."""
        piece = self.octets[self.at : self.at + min(size, self.size)]
        self.at += len(piece)
        return piece


def messages(octets: bytes, size: int, quoting: Quoting) -> list[tuple[bytes, int | None, bytes]]:
    """What is in a file that comes in pieces of ``size``."""
    return [
        (entry.sender, entry.seconds, b"".join(entry.chunks))
        for entry in read_mbox(Slow(octets, size), quoting=quoting)
    ]


def written(parts: list[bytes], size: int) -> None:
    """Messages come back."""
    file = io.BytesIO()
    writer = MboxWriter(file)
    wanted = []
    for part in parts:
        octets = _LONE_CR.sub(b"", part)
        writer.add(
            (octets[i : i + size] for i in range(0, len(octets), size)),
            sender="a b\n@c.example",
            seconds=1_700_000_000,
        )
        ended = octets if not octets or octets.endswith(b"\n") else octets + b"\n"
        wanted.append((b"ab@c.example", 1_700_000_000, ended.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")))
    file.seek(0)
    found = [(entry.sender, entry.seconds, b"".join(entry.chunks)) for entry in read_mbox(file)]
    if found != wanted:
        raise AssertionError((found, wanted))


def one(data: bytes) -> None:
    """Try one input: an octet for the quoting, one for the cuts, and the file."""
    if len(data) < 2:
        return
    quoting: Quoting = "mboxo" if data[0] & 1 else "mboxrd"
    size, octets = data[1] + 1, data[2:]
    found = within(
        500 + 60 * (1 + octets.count(b"\n")), data, lambda: messages(octets, len(octets) or 1, quoting)
    )
    if sum(len(entry[2]) for entry in found) > len(octets) + octets.count(b"\n") + 2 * len(found):
        raise AssertionError("more than there was")
    if messages(octets, size, quoting) != found:
        raise AssertionError("the cuts change the messages")
    written(octets.split(b"\0", 9), size)


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
