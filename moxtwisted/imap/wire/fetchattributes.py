"""What FETCH can ask for: one class per data item (RFC 9051 section 6.4.5 and the extensions).

Items without arguments are classes without fields; the sections of a message are three::

    BODY.PEEK[1.2.HEADER.FIELDS (Subject From)]<0.100>
      -> BodySection(part=(1, 2), text=SectionText.HEADER_FIELDS, fields=("Subject", "From"),
                     partial=(0, 100), peek=True)
    BINARY[1]       -> BinarySection(part=(1,))
    BINARY.SIZE[1]  -> BinarySize(part=(1,))

The macros ALL, FAST and FULL are not here: the parser replaces them with what they stand for.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import ClassVar

from attrs import frozen

__all__ = [
    "ALL",
    "FAST",
    "FULL",
    "SIMPLE",
    "BinarySection",
    "BinarySize",
    "Body",
    "BodySection",
    "BodyStructure",
    "EmailId",
    "Envelope",
    "FetchAttribute",
    "Flags",
    "InternalDate",
    "ModSeq",
    "Preview",
    "Rfc822",
    "Rfc822Header",
    "Rfc822Size",
    "Rfc822Text",
    "SaveDate",
    "SectionText",
    "ThreadId",
    "Uid",
]


@frozen
class FetchAttribute:
    r"""Base of all data items.

    :cvar wire_name: the item as in the command and, without ``.PEEK``, in the response.
    :cvar sets_seen: whether a FETCH of it sets the flag ``\Seen``.
    """

    wire_name: ClassVar[bytes] = b""

    @property
    def sets_seen(self) -> bool:
        r"""Whether asking for this item sets ``\Seen`` (unless the mailbox is read-only)."""
        return False

    def response_label(self) -> bytes:
        """The item's name in a FETCH response."""
        return self.wire_name

    def request(self) -> bytes:
        """The item as a client asks for it."""
        return self.wire_name


@frozen
class Flags(FetchAttribute):
    """FLAGS."""

    wire_name = b"FLAGS"


@frozen
class InternalDate(FetchAttribute):
    """INTERNALDATE."""

    wire_name = b"INTERNALDATE"


@frozen
class Envelope(FetchAttribute):
    """ENVELOPE."""

    wire_name = b"ENVELOPE"


@frozen
class Body(FetchAttribute):
    """BODY without a section: the structure without extension data."""

    wire_name = b"BODY"


@frozen
class BodyStructure(FetchAttribute):
    """BODYSTRUCTURE, with extension data."""

    wire_name = b"BODYSTRUCTURE"


@frozen
class Uid(FetchAttribute):
    """UID."""

    wire_name = b"UID"


@frozen
class Rfc822(FetchAttribute):
    """RFC822: like BODY[], answered under this name (RFC 3501 section 6.4.5)."""

    wire_name = b"RFC822"

    @property
    def sets_seen(self) -> bool:
        """It does."""
        return True


@frozen
class Rfc822Header(FetchAttribute):
    """RFC822.HEADER: like BODY.PEEK[HEADER]."""

    wire_name = b"RFC822.HEADER"


@frozen
class Rfc822Text(FetchAttribute):
    """RFC822.TEXT: like BODY[TEXT]."""

    wire_name = b"RFC822.TEXT"

    @property
    def sets_seen(self) -> bool:
        """It does."""
        return True


@frozen
class Rfc822Size(FetchAttribute):
    """RFC822.SIZE, in octets."""

    wire_name = b"RFC822.SIZE"


@frozen
class ModSeq(FetchAttribute):
    """MODSEQ (RFC 7162 section 3.1.5); asking for it enables CONDSTORE."""

    wire_name = b"MODSEQ"


@frozen
class SaveDate(FetchAttribute):
    """SAVEDATE (RFC 8514)."""

    wire_name = b"SAVEDATE"


@frozen
class Preview(FetchAttribute):
    """PREVIEW (RFC 8970).

    :ivar lazy: whether NIL will do when it takes long (``PREVIEW (LAZY)``).
    """

    lazy: bool = False

    wire_name = b"PREVIEW"

    def request(self) -> bytes:
        """``PREVIEW`` or ``PREVIEW (LAZY)``."""
        return b"PREVIEW (LAZY)" if self.lazy else b"PREVIEW"


@frozen
class EmailId(FetchAttribute):
    """EMAILID (RFC 8474 section 5.1)."""

    wire_name = b"EMAILID"


@frozen
class ThreadId(FetchAttribute):
    """THREADID (RFC 8474 section 5.2)."""

    wire_name = b"THREADID"


class SectionText(Enum):
    """The part of a (sub)message that a section names; the value is the wire's word."""

    HEADER = "HEADER"
    HEADER_FIELDS = "HEADER.FIELDS"
    HEADER_FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"


# A "]" could stand here as well (RFC 9051 section 9, ASTRING-CHAR), but who looks for the end of BODY[…] may stop at it.
_ASTRING = re.compile(r"[!#$&'*+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")


def _field_name(name: str) -> str:
    """A header field name as an astring; field names have neither CR nor LF nor NUL."""
    if _ASTRING.fullmatch(name) and "*" not in name:
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _part(part: tuple[int, ...]) -> str:
    return ".".join(map(str, part))


@frozen
class BodySection(FetchAttribute):
    r"""BODY[section]<partial> and BODY.PEEK[…].

    :ivar part: the part path, each at least 1; empty for the message itself.
    :ivar text: what of the part; ``None`` for its whole body (of the message: header and text).
    :ivar fields: field names as the client spelled them, for ``HEADER_FIELDS`` and ``HEADER_FIELDS_NOT``.
    :ivar partial: (offset, count) in octets, count at least 1, or ``None`` for all.
    :ivar peek: whether ``\Seen`` stays as it is.
    """

    part: tuple[int, ...] = ()
    text: SectionText | None = None
    fields: tuple[str, ...] = ()
    partial: tuple[int, int] | None = None
    peek: bool = False

    wire_name = b"BODY"

    @property
    def sets_seen(self) -> bool:
        """Unless it is a PEEK."""
        return not self.peek

    def _section(self) -> str:
        section = _part(self.part)
        if self.text is not None:
            section = f"{section}.{self.text.value}" if section else self.text.value
        if self.fields:
            section += f" ({' '.join(map(_field_name, self.fields))})"
        return f"[{section}]"

    def response_label(self) -> bytes:
        """``BODY[…]``, with ``<offset>`` when a part of it was asked for."""
        origin = f"<{self.partial[0]}>" if self.partial else ""
        return f"BODY{self._section()}{origin}".encode()

    def request(self) -> bytes:
        """``BODY[…]`` or ``BODY.PEEK[…]`` with ``<offset.count>``."""
        partial = f"<{self.partial[0]}.{self.partial[1]}>" if self.partial else ""
        return f"BODY{'.PEEK' if self.peek else ''}{self._section()}{partial}".encode()


@frozen
class BinarySection(FetchAttribute):
    r"""BINARY[part]<partial> and BINARY.PEEK[…]: a part without its transfer encoding (RFC 3516 section 4.2).

    :ivar part: the part path; empty for the whole message.
    :ivar partial: (offset, count) in decoded octets, or ``None`` for all.
    :ivar peek: whether ``\Seen`` stays as it is.
    """

    part: tuple[int, ...] = ()
    partial: tuple[int, int] | None = None
    peek: bool = False

    wire_name = b"BINARY"

    @property
    def sets_seen(self) -> bool:
        """Unless it is a PEEK."""
        return not self.peek

    def response_label(self) -> bytes:
        """``BINARY[…]``, with ``<offset>`` when a part of it was asked for."""
        origin = f"<{self.partial[0]}>" if self.partial else ""
        return f"BINARY[{_part(self.part)}]{origin}".encode("ascii")

    def request(self) -> bytes:
        """``BINARY[…]`` or ``BINARY.PEEK[…]`` with ``<offset.count>``."""
        partial = f"<{self.partial[0]}.{self.partial[1]}>" if self.partial else ""
        return f"BINARY{'.PEEK' if self.peek else ''}[{_part(self.part)}]{partial}".encode("ascii")


@frozen
class BinarySize(FetchAttribute):
    """BINARY.SIZE[part]: the size in octets of what BINARY[part] would return.

    :ivar part: the part path; empty for the whole message.
    """

    part: tuple[int, ...] = ()

    wire_name = b"BINARY.SIZE"

    def response_label(self) -> bytes:
        """``BINARY.SIZE[…]``."""
        return f"BINARY.SIZE[{_part(self.part)}]".encode("ascii")

    request = response_label


SIMPLE: dict[bytes, FetchAttribute] = {
    item.wire_name: item
    for item in (
        Flags(),
        InternalDate(),
        Envelope(),
        Body(),
        BodyStructure(),
        Uid(),
        Rfc822(),
        Rfc822Header(),
        Rfc822Text(),
        Rfc822Size(),
        ModSeq(),
        SaveDate(),
        EmailId(),
        ThreadId(),
    )
}
"""The items without arguments, by their name in upper case."""

FAST: tuple[FetchAttribute, ...] = (Flags(), InternalDate(), Rfc822Size())
ALL: tuple[FetchAttribute, ...] = (*FAST, Envelope())
FULL: tuple[FetchAttribute, ...] = (*ALL, Body())
