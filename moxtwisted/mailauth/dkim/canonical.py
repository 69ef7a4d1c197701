"""What is hashed: header fields and the body in the forms that survive transport (RFC 6376 section 3.4).

::

    relaxed_field(b"Subject:  Hello \\r\\n world\\r\\n")        # b"subject:Hello world\\r\\n"
    hasher = BodyHasher([BodyForm(Canonicalization.RELAXED), BodyForm(Canonicalization.SIMPLE, length=100)])
    hasher.feed(octets)                                      # any pieces; one pass for all forms
    hashes = hasher.finish()
    hashes.digest(BodyForm(Canonicalization.RELAXED))        # SHA-256, 32 octets
    hashes.size(Canonicalization.RELAXED)                    # octets of the whole body in that form

Memory does not grow with the body; all work on octets is done by ``bytes`` methods, so that 100 MB are a matter of hashing them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, NamedTuple

from attrs import define, field, frozen

__all__ = ["BodyForm", "BodyHasher", "BodyHashes", "Canonicalization", "relaxed_field"]

#: Held-back line ends are fed in blocks of this many.
_BLOCK: Final = 8192
_LINE_ENDS: Final = b"\r\n" * _BLOCK
#: The most that is worked on at once, so that a caller with a whole message does not make us hold copies of it.
_PIECE: Final = 256 * 1024
_WSP_RUN: Final = re.compile(rb"[ \t]+")
_FOLD: Final = re.compile(rb"\r\n(?=[ \t])|\n(?=[ \t])")


class Canonicalization(Enum):
    """RFC 6376 section 3.4: how much may change on the way."""

    SIMPLE = "simple"
    RELAXED = "relaxed"

    __hash__ = object.__hash__  # Enum's is written in Python


class BodyForm(NamedTuple):
    """One thing to hash.

    :ivar length: only so many octets of the canonical body (``l=``); None is all.
    """

    canonicalization: Canonicalization
    length: int | None = None


def relaxed_field(raw: bytes) -> bytes:
    """A header field in relaxed form, with its line end (RFC 6376 section 3.4.2).

    :param raw: name, colon, value, folds, and the line end unless it was taken off.
    """
    name, _, value = raw.partition(b":")
    ends = value.count(b"\r\n")
    if value.count(b"\r") != ends or value.count(b"\n") != ends or 0x0B in value or 0x0C in value:
        # What split() takes for white space and the standard does not.
        value = _WSP_RUN.sub(b" ", _FOLD.sub(b"", value.removesuffix(b"\n").removesuffix(b"\r"))).strip(b" ")
    else:
        value = b" ".join(value.split())
    return name.rstrip(b" \t").lower() + b":" + value + b"\r\n"


@frozen
class BodyHashes:
    """What came of a body.

    :ivar digests: SHA-256 by form.
    :ivar sizes: octets of the canonical body, by canonicalization.
    """

    digests: dict[BodyForm, bytes]
    sizes: dict[Canonicalization, int]

    def digest(self, form: BodyForm) -> bytes | None:
        """The hash of a form; None when it was not asked for in time."""
        return self.digests.get(form)

    def size(self, canonicalization: Canonicalization) -> int:
        """Octets of the whole body in that form; -1 when it was not asked for."""
        return self.sizes.get(canonicalization, -1)


@define(eq=False)
class _Limited:
    """A hash that takes so many octets and no more."""

    left: int
    hash: Any = field(factory=hashlib.sha256, init=False)

    def update(self, octets: bytes) -> None:
        if self.left >= len(octets):
            self.hash.update(octets)
            self.left -= len(octets)
        elif self.left > 0:
            self.hash.update(octets[: self.left])
            self.left = 0


@define(eq=False)
class _Stream:
    """One canonicalization of the body, and all hashes of it.

    Empty lines at the end do not count (RFC 6376 section 3.4.3), so line ends are held back, as a number, until something follows.
    """

    relaxed: bool
    whole: Any = field(factory=hashlib.sha256, init=False)
    limited: dict[int, _Limited] = field(factory=dict, init=False)
    size: int = field(default=0, init=False)
    _line_ends: int = field(default=0, init=False)
    _rest: bytes = field(default=b"", init=False)

    def feed(self, octets: bytes) -> None:
        if self._rest:
            octets = self._rest + octets
            self._rest = b""
        if octets.endswith(b"\r"):
            self._rest = b"\r"
            octets = octets[:-1]
        if self.relaxed:
            kept = octets.rstrip(b" \t")
            if len(kept) != len(octets):
                # What the white space comes to depends on what follows.
                self._rest = b" " + self._rest
                octets = kept
            octets = _collapsed(octets)
        if octets:
            self._settle(octets)

    def finish(self) -> None:
        # White space at the end of the last line is removed in relaxed form, also without a line end; CR alone is text.
        rest = self._rest.lstrip(b" ") if self.relaxed and self._rest == b" " else self._rest
        if rest:
            self._settle(rest)
        # RFC 6376 sections 3.4.3 and 3.4.4: a body that ends without a line end gets one; an empty body is a line end in simple
        # form and nothing in relaxed form.
        if self.size or not self.relaxed:
            self._put(b"\r\n")

    def _settle(self, octets: bytes) -> None:
        ends = _trailing_line_ends(octets)
        text = octets[: len(octets) - 2 * ends] if ends else octets
        if text:
            while self._line_ends > 0:
                self._put(_LINE_ENDS[: 2 * self._line_ends])
                self._line_ends = max(0, self._line_ends - _BLOCK)
            self._put(text)
        self._line_ends += ends

    def _put(self, octets: bytes) -> None:
        self.size += len(octets)
        self.whole.update(octets)
        for limited in self.limited.values():
            limited.update(octets)


def _collapsed(octets: bytes) -> bytes:
    """Runs of white space to one space, none before line ends; each step is one pass of C."""
    if 0x09 in octets:
        octets = octets.replace(b"\t", b" ")
    while octets.find(b"  ") >= 0:
        octets = octets.replace(b"  ", b" ")
    return octets.replace(b" \r\n", b"\r\n")


def _trailing_line_ends(octets: bytes) -> int:
    """How many whole CRLF stand at the end."""
    if not octets.endswith(b"\r\n"):
        return 0
    tail = octets[len(octets.rstrip(b"\r\n")) :]
    # They alternate behind the last place where one of them stands twice.
    start = max(tail.rfind(b"\r\r"), tail.rfind(b"\n\n")) + 1
    return (len(tail) - start) // 2


@define(eq=False)
class BodyHasher:
    """Hashes a body in several forms at once: those that will be asked for. The caller bounds their number."""

    _forms: Iterable[BodyForm]
    _streams: dict[Canonicalization, _Stream] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        streams, self._forms = self._streams, frozenset(self._forms)
        for canonicalization, length in self._forms:
            if canonicalization not in streams:
                streams[canonicalization] = _Stream(canonicalization is Canonicalization.RELAXED)
            if length is not None:
                streams[canonicalization].limited[length] = _Limited(length)

    def feed(self, octets: bytes) -> None:
        """Take more of the body, with line ends CRLF."""
        for start in range(0, len(octets), _PIECE):
            piece = octets[start : start + _PIECE] if len(octets) > _PIECE else octets
            for stream in self._streams.values():
                stream.feed(piece)

    def finish(self) -> BodyHashes:
        """The body is whole."""
        for stream in self._streams.values():
            stream.finish()
        digests = {}
        for form in self._forms:
            stream = self._streams[form.canonicalization]
            digests[form] = (
                stream.whole if form.length is None else stream.limited[form.length].hash
            ).digest()
        return BodyHashes(digests, {name: stream.size for name, stream in self._streams.items()})
