"""Fuzz what the junk filter takes a message apart into: never an error, the same every time, each token has a name, and time is bounded."""

from __future__ import annotations

from functools import partial

from moxtwisted.junk.tokens import MAX_TOKENS, features
from moxtwisted.message.mime import Scanner
from tests.fuzz.run import alone
from tests.fuzz.watching import within

_HEADS = (
    b"",
    b"Content-Type: text/html; charset=utf-8\r\n\r\n",
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n",
    b"Subject: ",
)


def apart(octets: bytes) -> None:
    """Take a message apart twice."""
    scanner = Scanner()
    scanner.feed(octets)
    scanned = scanner.finish()
    found, again = (
        features(scanned, lambda offset, length: octets[offset : offset + length]) for _ in range(2)
    )
    numbers = found.numbers()
    if numbers != again.numbers():
        raise RuntimeError("other tokens the second time")
    if len(numbers) > MAX_TOKENS or any(not 0 <= number < 1 << 63 for number in numbers):
        raise RuntimeError("tokens out of bounds")
    if found.texts(numbers).keys() != numbers:
        raise RuntimeError("tokens without names")


def one(data: bytes) -> None:
    """Try one input."""
    for head in _HEADS:
        within(3000 + 200 * len(data), data, partial(apart, head + data))


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
