"""Fuzz the POP3 machine, before and after log-in.

Whatever a client says, it hears lines of POP3, cuts change nothing, nothing is removed without QUIT, and when the connection is gone the
maildrop is free.
"""

from __future__ import annotations

import re

from moxtwisted.pop3.commands import SyntaxProblem, parse
from moxtwisted.pop3.memory import BytesBody
from moxtwisted.pop3.replies import stuffed, top
from tests.fuzz.run import alone
from tests.fuzz.watching import within
from tests.pop3.sessions import Session

#: A status line, a line of a list or of a message; the texts of the messages there are plain.
_LINES = re.compile(rb"(?:(?:\+OK|-ERR|\+) [^\r\n]*\r\n|[^\r\n]*\r\n)*\Z")


def dialogue(choice: int, octets: bytes, size: int) -> bytes:
    """What the server says to octets in pieces of ``size``."""
    session = Session()
    if choice & 1:
        session.log_in()
    said = []
    for at in range(0, len(octets), size):
        said.append(session.send(octets[at : at + size]))
        if session.closed or session.tls_wanted:
            break
    session.server.lost()
    if session.maildrop.locked:
        raise AssertionError("the maildrop is not free")
    if len(session.maildrop.kept) < 3 and b"QUIT" not in octets.upper():
        raise AssertionError("a message is gone")
    return b"".join(said)


def messages(octets: bytes, size: int) -> None:
    """Any octets are a message whose lines do not end it."""
    wire = b"".join(stuffed(BytesBody(octets), size))
    if b"\n.\r\n" in b"\n" + wire[:-3] or not (b"\r\n" + wire).endswith(b"\r\n.\r\n"):
        raise AssertionError(wire)
    head = b"".join(top(BytesBody(octets), size % 3, size))
    if b"\n.\r\n" in b"\n" + head[:-3]:
        raise AssertionError(head)


def one(data: bytes) -> None:
    """Try one input: an octet for the state to begin in, one for the cuts, and what the client says."""
    if len(data) < 2:
        return
    choice, size, octets = data[0], data[1] % 64 + 1, data[2:]
    said = within(20_000 + 300 * len(octets), data, lambda: dialogue(choice, octets, len(octets) or 1))
    if not _LINES.match(said):
        raise AssertionError(said)
    # What is in the packet of STLS is refused.
    if b"STLS" not in octets.upper() and dialogue(choice, octets, size) != said:
        raise AssertionError("the cuts change what is said")
    messages(octets, size)
    for line in octets.split(b"\n"):
        try:
            parse(line)
        except SyntaxProblem as problem:
            if not problem.text.isascii():
                raise AssertionError(problem) from problem


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
