"""What a server says, as values: one frozen class per response (RFC 9051 section 7 and the extensions).

``moxtwisted.imap.wire.responses`` makes them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from attrs import field, frozen

from moxtwisted.imap.wire.sequence import SequenceSet

__all__ = [
    "AclData",
    "AppendUid",
    "BadResponse",
    "BadUrl",
    "Capabilities",
    "CodeValue",
    "ContextChange",
    "Continuation",
    "CopyUid",
    "Enabled",
    "EsearchData",
    "Exists",
    "Expunged",
    "Fetched",
    "FlagsData",
    "IdData",
    "InProgress",
    "JmapAccessData",
    "LanguageData",
    "ListData",
    "ListRightsData",
    "LiteralData",
    "LiteralEnd",
    "LiteralStart",
    "LongEntries",
    "MessageLimit",
    "MetadataData",
    "MetadataRefusal",
    "MyRightsData",
    "NamespaceData",
    "NoUpdate",
    "OtherData",
    "QuotaData",
    "QuotaRootData",
    "Recent",
    "ResourceUse",
    "Response",
    "ResponseCode",
    "SearchData",
    "SortData",
    "StatusData",
    "StatusResponse",
    "Streamed",
    "SupportedEvents",
    "ThreadData",
    "UndefinedFilter",
    "UrlData",
    "UrlMechanism",
    "UrlMechanisms",
    "UrlsData",
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
class MessageLimit:
    """Of the code MESSAGELIMIT (RFC 9738): the command was about the newest of the messages only, or about none when it was refused.

    :ivar most: how many messages a command may be about.
    :ivar lowest: the lowest UID that it was about; one goes on with those below. ``None`` when it was said of all or nothing.
    """

    most: int
    lowest: int | None = None


@frozen
class LongEntries:
    """Of the code METADATA LONGENTRIES (RFC 5464 section 4.2.1): values above MAXSIZE were left out.

    :ivar size_octets: of the largest of them.
    """

    size_octets: int


@frozen
class MetadataRefusal:
    """Of the code METADATA of a refusal (RFC 5464 section 4.3).

    :ivar reason: ``"MAXSIZE"`` (a value is too large), ``"TOOMANY"`` (entries), ``"NOPRIVATE"`` (the server keeps no private ones here).
    :ivar size_octets: with MAXSIZE, the most that a value may have.
    """

    reason: str
    size_octets: int | None = None


@frozen
class InProgress:
    """Of the code INPROGRESS (RFC 9585 section 4).

    :ivar tag: of the command, if the server said it.
    :ivar done: so much of ``goal``, if the server counts and knows.
    """

    tag: str | None = None
    done: int | None = None
    goal: int | None = None


@frozen
class BadUrl:
    """Of the code BADURL (RFC 4469 section 5): this part of the message cannot be had."""

    url: str


@frozen
class UrlMechanism:
    """A mechanism that authorises URLs (RFC 4467).

    :ivar name: in upper case, as ``"INTERNAL"``.
    :ivar data: what a mechanism that the client works out itself wants to be known of its key; else ``None``.
    """

    name: str
    data: bytes | None = None


@frozen
class UrlMechanisms:
    """Of the code URLMECH (RFC 4467 section 8): those there are for this mailbox."""

    mechanisms: tuple[UrlMechanism, ...]


@frozen
class NoUpdate:
    """Of the code NOUPDATE (RFC 5267 section 4.3.1): the results of the search with this tag are not kept up to date."""

    tag: bytes


@frozen
class SupportedEvents:
    """Of the code BADEVENT (RFC 5465 section 8): the events that the server knows, as it spells them."""

    names: tuple[str, ...]


@frozen
class UndefinedFilter:
    """Of the code UNDEFINED-FILTER (RFC 5466 section 3.1): there is no filter of this name that can be used."""

    name: str


CodeValue = (
    int
    | str
    | tuple[str, ...]
    | SequenceSet
    | AppendUid
    | CopyUid
    | MessageLimit
    | LongEntries
    | MetadataRefusal
    | InProgress
    | BadUrl
    | UrlMechanisms
    | NoUpdate
    | SupportedEvents
    | UndefinedFilter
    | None
)


@frozen
class ResponseCode:
    """What stands in brackets.

    :ivar name: in upper case.
    :ivar value: an ``int``, a ``SequenceSet``, one of the classes above, a tuple of ``str`` for a list, ``str`` for other arguments;
        ``None`` without arguments.
    """

    name: str
    value: CodeValue = None


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
    :ivar extended: extended items by their name in upper case (RFC 5258); OLDNAME is decoded names, as ``str``.
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
class ContextChange:
    """How the result of a search has changed (RFC 5267 sections 4.3.3 and 4.3.4).

    :ivar added: whether these came to it (ADDTO) or went (REMOVEFROM).
    :ivar position: where the first of them is then, or was: 1 is the first result. 0 means that the order is the mailbox's.
    :ivar numbers: in the order of the result; ``None`` for none.
    """

    added: bool
    position: int
    numbers: SequenceSet | None


@frozen
class EsearchData(Response):
    """ESEARCH.

    :ivar tag: of the command, or ``None``.
    :ivar uid: whether the numbers are UIDs.
    :ivar items: by name in upper case: ``int``, ``SequenceSet`` (ALL), for PARTIAL (range as ``str``, ``SequenceSet`` or
        ``None``).
    :ivar mailbox: which one was searched, in the answers of a search in several (RFC 7377), decoded.
    :ivar uidvalidity: of that mailbox.
    :ivar changes: what ADDTO and REMOVEFROM say, in their order.
    """

    tag: bytes | None
    uid: bool
    items: dict[str, int | SequenceSet | Value]
    mailbox: str | None = None
    uidvalidity: int | None = None
    changes: tuple[ContextChange, ...] = ()


@frozen
class NamespaceData(Response):
    """NAMESPACE: (prefix, separator) pairs of each kind.

    :ivar translations: what people shall see instead of a prefix, in the language that was chosen (RFC 5255 section 3.4).
    """

    personal: tuple[tuple[str, str | None], ...]
    other: tuple[tuple[str, str | None], ...]
    shared: tuple[tuple[str, str | None], ...]
    translations: dict[str, str] = field(factory=dict)


@frozen
class IdData(Response):
    """ID."""

    fields: dict[str, str | None]


@frozen
class Fetched(Response):
    """FETCH, or UIDFETCH (RFC 9586).

    :ivar number: the sequence number; 0 in a UIDFETCH, which has only the UID.
    :ivar items: values by name in upper case (``BODY[HEADER.FIELDS (SUBJECT)]``): FLAGS is a tuple of ``str``, UID,
        RFC822.SIZE, MODSEQ and BINARY.SIZE[…] are ``int``, INTERNALDATE and SAVEDATE a ``datetime``, sections ``bytes``
        or ``None``, EMAILID and THREADID ``str``, others as ``Value``.
    """

    number: int
    items: dict[str, Value]


@frozen
class SortData(Response):
    """SORT (RFC 5256): in the order of the server.

    :ivar modseq: the highest of them, if the server said it.
    """

    numbers: tuple[int, ...]
    modseq: int | None = None


@frozen
class ThreadData(Response):
    """THREAD (RFC 5256): nested tuples as they came; ``moxtwisted.imap.client.results.threads`` makes trees of them."""

    threads: tuple[Value, ...]


class ResourceUse(NamedTuple):
    """How much of a resource is used, and how much may be (RFC 9208 section 5); STORAGE is in units of 1024 octets."""

    usage: int
    limit: int


@frozen
class QuotaData(Response):
    """QUOTA (RFC 9208), by resource in upper case."""

    root: str
    resources: dict[str, ResourceUse]


@frozen
class QuotaRootData(Response):
    """QUOTAROOT (RFC 9208)."""

    mailbox: str
    roots: tuple[str, ...]


@frozen
class AclData(Response):
    """ACL (RFC 4314): (identifier, rights) pairs."""

    mailbox: str
    entries: tuple[tuple[str, str], ...]


@frozen
class ListRightsData(Response):
    """LISTRIGHTS (RFC 4314): those always granted, and groups that are granted together."""

    mailbox: str
    identifier: str
    required: str
    optional: tuple[str, ...]


@frozen
class MyRightsData(Response):
    """MYRIGHTS (RFC 4314)."""

    mailbox: str
    rights: str


@frozen
class MetadataData(Response):
    """METADATA (RFC 5464).

    :ivar mailbox: empty for the server.
    :ivar entries: values by name; ``None`` for NIL.
    :ivar changed: names without values: these entries have changed.
    """

    mailbox: str
    entries: dict[str, bytes | None]
    changed: tuple[str, ...] = ()


@frozen
class UrlsData(Response):
    """GENURLAUTH (RFC 4467)."""

    urls: tuple[str, ...]


@frozen
class UrlData(Response):
    """URLFETCH (RFC 4467): octets by URL, ``None`` where there is none."""

    values: tuple[tuple[str, bytes | None], ...]


@frozen
class LanguageData(Response):
    """LANGUAGE (RFC 5255)."""

    tags: tuple[str, ...]


@frozen
class JmapAccessData(Response):
    """JMAPACCESS (RFC 9698): the URL of the JMAP session resource."""

    url: str


@frozen
class Streamed:
    """Stands in ``Fetched.items`` for a literal that was handed out in pieces."""

    size_octets: int


@frozen
class LiteralStart(Response):
    """A large literal begins, in a FETCH response whose ``Fetched`` follows it.

    :ivar number: the sequence number, or the UID in a UIDFETCH.
    :ivar uid: if the server has said it already.
    :ivar label: of the item, as ``BODY[]``.
    """

    number: int
    uid: int | None
    label: str
    size_octets: int


@frozen
class LiteralData(Response):
    """Octets of the literal that began last."""

    octets: bytes = field(repr=False)


@frozen
class LiteralEnd(Response):
    """It has ended."""


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
