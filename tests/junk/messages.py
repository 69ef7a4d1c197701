"""Messages for the tests of the junk filter."""

from __future__ import annotations

from moxtwisted.junk.tokens import Features, features
from moxtwisted.message.mime import Scanner


def found_in(octets: bytes) -> Features:
    """The tokens of a message."""
    scanner = Scanner()
    scanner.feed(octets)
    return features(scanner.finish(), lambda offset, length: octets[offset : offset + length])


def texts_of(octets: bytes) -> set[str]:
    """Its tokens in words."""
    found = found_in(octets)
    return set(found.texts(found.numbers()).values())


def message(text: str, *fields: str, html: bool = False) -> bytes:
    """A message with a text."""
    lines = [*fields, f"Content-Type: text/{'html' if html else 'plain'}; charset=utf-8", "", text, ""]
    return "\r\n".join(lines).encode()
