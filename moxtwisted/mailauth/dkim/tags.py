"""Tag lists, of which signatures, key records and their like are made (RFC 6376 section 3.2).

::

    tags = TagList.parse(b"v=DKIM1; k=rsa;\\r\\n p=MIGf MA0G")
    tags.get(b"k")                          # b"rsa"
    tags.base64(b"p")                       # the octets
    tags.number(b"t", digits=12)            # None: there is none

Errors say which tag is wrong and at which octet of the list it stands. Names and values are case-sensitive.
"""

from __future__ import annotations

import binascii
import re
from typing import Final, Self

from attrs import frozen

from moxtwisted.errors import MailError

__all__ = ["MAX_LIST_OCTETS", "MAX_TAGS", "TagList", "TagListError"]

#: A signature by RSA of 8192 bits has 1368 characters, and h= of mail in the wild stays below 1000.
MAX_LIST_OCTETS: Final = 16 * 1024
MAX_TAGS: Final = 64

# RFC 6376 section 3.2: letters, digits and underscores, a letter first. White space is FWS; folds were made by the header's writer.
_NAME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9_]*+\Z")
_USUAL: Final = frozenset((b"v", b"a", b"c", b"d", b"s", b"t", b"x", b"h", b"bh", b"b", b"i", b"k", b"p"))
# RFC 6376 section 3.2 has VALCHAR without controls; RFC 8616 section 5 lets UTF-8 in.
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\r\n")) + b"\x7f"
_WSP: Final = b" \t\r\n"
_NUMBER: Final = re.compile(rb"[0-9]++\Z")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*+={0,2}\Z")


class TagListError(MailError):
    """The list, or one of its values, is not to the standard.

    :ivar offset: the octet of the list where the tag begins that is wrong.
    :ivar tag: its name, or empty.
    :ivar problem: what is wrong with it.
    """

    reply_code = 550
    enhanced_code = "5.7.20"
    public_text = "tag list cannot be read"

    def __init__(self, offset: int, tag: bytes, problem: str) -> None:
        self.offset, self.tag, self.problem = offset, tag.decode("ascii", "replace"), problem
        super().__init__(
            f"{self.tag}= at octet {offset}: {problem}" if tag else f"at octet {offset}: {problem}"
        )


def _offset(pieces: list[bytes], number: int) -> int:
    """Where one of the pieces begins."""
    return sum(map(len, pieces[:number])) + number


@frozen
class TagList:
    """Tags in order.

    :ivar values: by name; white space at their ends is gone, that within (folds, too) is not.
    :ivar octets: the list.
    """

    values: dict[bytes, bytes]
    octets: bytes = b""

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Read a list.

        :raises TagListError: when it is none, has a tag twice, or is over ``MAX_LIST_OCTETS`` or ``MAX_TAGS``.
        """
        if len(octets) > MAX_LIST_OCTETS:
            raise TagListError(MAX_LIST_OCTETS, b"", f"longer than {MAX_LIST_OCTETS} octets")
        if len(octets.translate(None, _CONTROLS)) != len(octets):
            offset = next(i for i, octet in enumerate(octets) if octet in _CONTROLS)
            raise TagListError(offset, b"", "a control character")
        values: dict[bytes, bytes] = {}
        pieces = octets.split(b";", MAX_TAGS + 1)
        # RFC 6376 section 3.2: a semicolon may end the list, two in a row are an error.
        if len(pieces) > 1 and not pieces[-1].strip(_WSP):
            pieces.pop()
        if len(pieces) > MAX_TAGS:
            raise TagListError(len(octets), b"", f"more than {MAX_TAGS} tags")
        for number, piece in enumerate(pieces):
            name, equals, value = piece.partition(b"=")
            # Most signers have a space or a fold between two tags.
            if name not in _USUAL:
                name = name.strip(_WSP)
            if not equals or (name not in _USUAL and _NAME.match(name) is None):
                raise TagListError(_offset(pieces, number), b"", "no tag=value")
            # RFC 6376 section 3.2: with a duplicate, the whole list is not valid.
            if name in values:
                raise TagListError(_offset(pieces, number), name, "twice")
            values[name] = value.strip(_WSP)
        return cls(values, octets)

    def get(self, name: bytes) -> bytes | None:
        """A value; None when there is no such tag."""
        return self.values.get(name)

    def required(self, name: bytes) -> bytes:
        """A value that must be there, and must not be empty.

        :raises TagListError: otherwise.
        """
        value = self.values.get(name)
        if not value:
            raise self.wrong(name, "missing" if value is None else "empty")
        return value

    def wrong(self, name: bytes, problem: str) -> TagListError:
        """An error about a tag, which the caller raises."""
        return TagListError(self.offset(name), name, problem)

    def offset(self, name: bytes) -> int:
        """Where a tag begins; 0 when there is none."""
        pieces = self.octets.split(b";")
        names = [piece.partition(b"=")[0].strip(_WSP) for piece in pieces]
        return _offset(pieces, names.index(name)) if name in names else 0

    def packed(self, name: bytes) -> bytes:
        """A value without any white space, empty when it is missing."""
        return b"".join(self.values.get(name, b"").split())

    def base64(self, name: bytes) -> bytes:
        """The octets of a value in base64 that must be there (RFC 6376 section 2.10: white space in it is ignored).

        :raises TagListError: when it is missing, empty or no base64.
        """
        packed = b"".join(self.required(name).split())
        if _BASE64.match(packed) is None or len(packed) % 4:
            raise self.wrong(name, "no base64")
        try:
            return binascii.a2b_base64(packed)
        except binascii.Error:
            raise self.wrong(name, "no base64") from None

    def number(self, name: bytes, *, digits: int) -> int | None:
        """A decimal number; None when there is no such tag.

        :param digits: how many it may have at most.
        :raises TagListError: when it is no number.
        """
        value = self.values.get(name)
        if value is None:
            return None
        if _NUMBER.match(value) is None:
            raise self.wrong(name, "no decimal number")
        if len(value) > digits:
            raise self.wrong(name, f"more than {digits} digits")
        return int(value)

    def names(self, name: bytes) -> tuple[bytes, ...]:
        """A value that is names with colons between, white space around them gone; empty when it is missing."""
        value = self.values.get(name)
        return tuple(part.strip(_WSP) for part in value.split(b":")) if value else ()
