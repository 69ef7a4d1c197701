"""What a server says, as values: one frozen class per response (RFC 9051 section 7 and the extensions).

``moxtwisted.imap.wire.responses`` makes them.
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from moxtwisted.imap.wire.sequence import SequenceSet

__all__ = [
    "AppendUid",
    "BadResponse",
    "Capabilities",
    "Continuation",
    "CopyUid",
    "Enabled",
    "EsearchData",
    "Exists",
    "Expunged",
    "Fetched",
    "FlagsData",
    "IdData",
    "ListData",
    "NamespaceData",
    "OtherData",
    "Recent",
    "Response",
    "ResponseCode",
    "SearchData",
    "StatusData",
    "StatusResponse",
    "Value",
    "VanishedData",
]

Value = Any
"""Of a parenthesized list: ``bytes`` of a string or atom, ``None`` for NIL, ``int``, or a tuple of these."""


@frozen
class Response:
    """Base of all responses."""


@frozen
class AppendUid:
    """Of the code APPENDUID."""

    uidvalidity: int
    uids: SequenceSet


@frozen
class CopyUid:
    """Of the code COPYUID: UIDs of the source and, in the same order, of the target."""

    uidvalidity: int
    source: SequenceSet
    target: SequenceSet


@frozen
class ResponseCode:
    """What stands in brackets.

    :ivar name: in upper case.
    :ivar value: an ``int``, ``AppendUid``, ``CopyUid``, a tuple of ``str`` for a list, ``str`` for other arguments, or ``None``.
    """

    name: str
    value: int | str | tuple[str, ...] | AppendUid | CopyUid | SequenceSet | None = None


@frozen
class StatusResponse(Response):
    """OK, NO, BAD, BYE, PREAUTH.

    :ivar tag: ``None`` when untagged.
    :ivar condition: in upper case.
    """

    tag: bytes | None
    condition: str
    text: str
    code: ResponseCode | None = None


@frozen
class Continuation(Response):
    """``+ text``."""

    text: bytes


@frozen
class Capabilities(Response):
    """CAPABILITY, in upper case."""

    names: tuple[str, ...]


@frozen
class Enabled(Response):
    """ENABLED, in upper case."""

    names: tuple[str, ...]


@frozen
class Exists(Response):
    """EXISTS."""

    count: int


@frozen
class Recent(Response):
    """RECENT."""

    count: int


@frozen
class Expunged(Response):
    """EXPUNGE."""

    number: int


@frozen
class VanishedData(Response):
    """VANISHED."""

    uids: SequenceSet
    earlier: bool = False


@frozen
class FlagsData(Response):
    """FLAGS."""

    flags: tuple[str, ...]


@frozen
class ListData(Response):
    """LIST and LSUB.

    :ivar attributes: as sent.
    :ivar separator: one character, or ``None`` for NIL.
    :ivar mailbox: decoded.
    :ivar extended: extended items by their name in upper case (RFC 5258).
    :ivar lsub: whether it was LSUB.
    """

    attributes: tuple[str, ...]
    separator: str | None
    mailbox: str
    extended: dict[str, Value] = field(factory=dict)
    lsub: bool = False


@frozen
class StatusData(Response):
    """STATUS: values by item name in upper case."""

    mailbox: str
    items: dict[str, Value]


@frozen
class SearchData(Response):
    """SEARCH.

    :ivar modseq: the highest of them, if the server said it.
    """

    numbers: tuple[int, ...]
    modseq: int | None = None


@frozen
class EsearchData(Response):
    """ESEARCH.

    :ivar tag: of the command, or ``None``.
    :ivar uid: whether the numbers are UIDs.
    :ivar items: ``int`` or ``SequenceSet`` (ALL) by name in upper case.
    """

    tag: bytes | None
    uid: bool
    items: dict[str, int | SequenceSet | Value]


@frozen
class NamespaceData(Response):
    """NAMESPACE: (prefix, separator) pairs of each kind."""

    personal: tuple[tuple[str, str | None], ...]
    other: tuple[tuple[str, str | None], ...]
    shared: tuple[tuple[str, str | None], ...]


@frozen
class IdData(Response):
    """ID."""

    fields: dict[str, str | None]


@frozen
class Fetched(Response):
    """FETCH.

    :ivar number: the sequence number.
    :ivar items: values by name in upper case (``BODY[HEADER.FIELDS (SUBJECT)]``): FLAGS is a tuple of ``str``, UID,
        RFC822.SIZE, MODSEQ and BINARY.SIZE[…] are ``int``, INTERNALDATE and SAVEDATE a ``datetime``, sections ``bytes``
        or ``None``, EMAILID and THREADID ``str``, others as ``Value``.
    """

    number: int
    items: dict[str, Value]


@frozen
class OtherData(Response):
    """Data of a name that is not known here.

    :ivar name: in upper case.
    :ivar text: what followed, without the octets of literals.
    """

    name: str
    text: bytes


@frozen
class BadResponse(Response):
    """A response that could not be read.

    :ivar text: why.
    :ivar line: its beginning.
    """

    text: str
    line: bytes
