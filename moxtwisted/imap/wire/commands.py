r"""The commands of a client, one frozen class each.

``tag`` is the octets to send back. Arguments are decoded: mailbox names are ``str`` without modified UTF-7 (and
``INBOX`` in that spelling whatever the client's), flags ``str`` with the case of system flags put right, dates
``datetime``. ``name`` is the command's word; the UID forms of COPY, FETCH, MOVE, SEARCH and STORE are the same
class
with ``uid=True``::

    a7 UID STORE 5:9 +FLAGS.SILENT (\seen)
      -> Store(tag=b"a7", numbers=SequenceSet(((5, 9),)), mode=StoreMode.ADD, flags=("\Seen",),
               silent=True, unchanged_since=None, uid=True)
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Final

from attrs import field, frozen

from moxtwisted.imap.wire.appendgrammar import CatenateStep
from moxtwisted.imap.wire.command import Command
from moxtwisted.imap.wire.events import EventGroup
from moxtwisted.imap.wire.fetchattributes import FetchAttribute
from moxtwisted.imap.wire.returnoptions import Partial, SearchReturn
from moxtwisted.imap.wire.searchcommands import CancelUpdate, MultiSearch, Search, Sort, Thread
from moxtwisted.imap.wire.sequence import SequenceSet

__all__ = [
    "MAX_ID_FIELDS",
    "MAX_ID_FIELD_OCTETS",
    "MAX_ID_VALUE_OCTETS",
    "Append",
    "AppendMessage",
    "Authenticate",
    "CancelUpdate",
    "Capability",
    "Check",
    "Close",
    "Command",
    "Compress",
    "Copy",
    "Create",
    "Delete",
    "Done",
    "Enable",
    "Expunge",
    "Fetch",
    "Id",
    "Idle",
    "List",
    "ListReturn",
    "ListSelection",
    "Login",
    "Logout",
    "Lsub",
    "Move",
    "MultiSearch",
    "Namespace",
    "Noop",
    "Notify",
    "QResync",
    "Rename",
    "Replace",
    "Search",
    "SearchReturn",
    "Select",
    "Sort",
    "StartTLS",
    "Status",
    "StatusItem",
    "Store",
    "StoreMode",
    "Subscribe",
    "Thread",
    "UIDExpunge",
    "Unauthenticate",
    "Unselect",
    "Unsubscribe",
]


# -- any state -------------------------------------------------------------------------------------


@frozen
class Capability(Command):
    """CAPABILITY."""

    name = "CAPABILITY"


@frozen
class Noop(Command):
    """NOOP."""

    name = "NOOP"


@frozen
class Logout(Command):
    """LOGOUT."""

    name = "LOGOUT"


# RFC 2971 section 3.3
MAX_ID_FIELDS: Final = 30
MAX_ID_FIELD_OCTETS: Final = 30
MAX_ID_VALUE_OCTETS: Final = 1024


@frozen
class Id(Command):
    """ID (RFC 2971).

    :ivar parameters: (field, value) pairs in the client's order, at most 30; ``None`` for ``ID NIL``. A value
        is ``None`` for NIL.
    """

    parameters: tuple[tuple[str, str | None], ...] | None = None
    name = "ID"


# -- not authenticated -----------------------------------------------------------------------------


@frozen
class StartTLS(Command):
    """STARTTLS. What the reader has buffered behind it must be refused (``CommandReader.buffered_octets``)."""

    name = "STARTTLS"


@frozen
class Login(Command):
    """LOGIN.

    :ivar username: decoded from UTF-8.
    :ivar password: decoded from UTF-8; not part of ``repr``.
    """

    username: str
    password: str = field(repr=False)
    name = "LOGIN"


@frozen
class Authenticate(Command):
    """AUTHENTICATE. Whoever handles it calls ``CommandReader.expect_sasl`` for each further response of the
    client.

    :ivar mechanism: in upper case.
    :ivar initial_response: decoded from base64, empty for ``=``; ``None`` when there is none (RFC 4959). Not
        part of ``repr``.
    """

    mechanism: str
    initial_response: bytes | None = field(default=None, repr=False)
    name = "AUTHENTICATE"


# -- authenticated ---------------------------------------------------------------------------------


@frozen
class Enable(Command):
    """ENABLE (RFC 5161).

    :ivar capabilities: in upper case, in the client's order, known or not.
    """

    capabilities: tuple[str, ...]
    name = "ENABLE"


@frozen
class QResync:
    """The QRESYNC parameter of SELECT (RFC 7162 section 3.2.5).

    :ivar uidvalidity: the last known one.
    :ivar modseq: the last known one, at least 1.
    :ivar known_uids: the UIDs the client has, without ``*`` and ``$``; ``None`` for all.
    :ivar match: sequence numbers and the UIDs that belonged to them, both ascending and equally many, or
        ``None``.
    """

    uidvalidity: int
    modseq: int
    known_uids: SequenceSet | None = None
    match: tuple[SequenceSet, SequenceSet] | None = None


@frozen
class Select(Command):
    """SELECT and EXAMINE.

    :ivar examine: whether the mailbox is to be opened read-only (EXAMINE).
    :ivar condstore: whether the parameter CONDSTORE was given (RFC 7162 section 3.1.8).
    """

    mailbox: str
    examine: bool = False
    condstore: bool = False
    qresync: QResync | None = None
    name = "SELECT"


@frozen
class Create(Command):
    r"""CREATE.

    :ivar mailbox: as given: a trailing hierarchy separator only says that names below it will follow (RFC
        9051 section 6.3.4).
    :ivar use: special-use attributes as ``"\Sent"`` (RFC 6154 section 3), known ones in that spelling;
        ``None`` without USE.
    """

    mailbox: str
    use: tuple[str, ...] | None = None
    name = "CREATE"


@frozen
class Delete(Command):
    """DELETE."""

    mailbox: str
    name = "DELETE"


@frozen
class Rename(Command):
    """RENAME."""

    mailbox: str
    new_name: str
    name = "RENAME"


@frozen
class Subscribe(Command):
    """SUBSCRIBE."""

    mailbox: str
    name = "SUBSCRIBE"


@frozen
class Unsubscribe(Command):
    """UNSUBSCRIBE."""

    mailbox: str
    name = "UNSUBSCRIBE"


class StatusItem(Enum):
    """What STATUS can ask for; the value is the wire's word."""

    MESSAGES = "MESSAGES"
    UIDNEXT = "UIDNEXT"
    UIDVALIDITY = "UIDVALIDITY"
    UNSEEN = "UNSEEN"
    DELETED = "DELETED"
    SIZE = "SIZE"
    RECENT = "RECENT"
    APPENDLIMIT = "APPENDLIMIT"
    HIGHESTMODSEQ = "HIGHESTMODSEQ"
    MAILBOXID = "MAILBOXID"
    DELETED_STORAGE = "DELETED-STORAGE"


class ListSelection(Enum):
    """Selection options of LIST (RFC 5258 section 3.1, RFC 6154 section 2)."""

    SUBSCRIBED = "SUBSCRIBED"
    REMOTE = "REMOTE"
    RECURSIVEMATCH = "RECURSIVEMATCH"
    SPECIAL_USE = "SPECIAL-USE"


class ListReturn(Enum):
    """Return options of LIST without arguments (RFC 5258 section 3.2, RFC 6154 section 2, RFC 8440)."""

    SUBSCRIBED = "SUBSCRIBED"
    CHILDREN = "CHILDREN"
    SPECIAL_USE = "SPECIAL-USE"
    MYRIGHTS = "MYRIGHTS"


@frozen
class List(Command):
    """LIST.

    :ivar reference: decoded.
    :ivar patterns: decoded, with their ``*`` and ``%``; one or more. The one pattern ``""`` asks for the
        separator.
    :ivar selection: RECURSIVEMATCH only together with another one.
    :ivar returns: return options; STATUS is in ``status``.
    :ivar status: items of the return option STATUS (RFC 5819) in the client's order, or empty.
    :ivar metadata: entries of the return option METADATA (RFC 9590), or empty.
    :ivar extended: whether any syntax of RFC 5258 was used; a plain LIST wants CHILDREN information as well
        under IMAP4rev2.
    """

    reference: str
    patterns: tuple[str, ...]
    selection: frozenset[ListSelection] = frozenset()
    returns: frozenset[ListReturn] = frozenset()
    status: tuple[StatusItem, ...] = ()
    extended: bool = False
    metadata: tuple[str, ...] = ()
    name = "LIST"


@frozen
class Lsub(Command):
    """LSUB (RFC 3501 section 6.3.9)."""

    reference: str
    pattern: str
    name = "LSUB"


@frozen
class Namespace(Command):
    """NAMESPACE."""

    name = "NAMESPACE"


@frozen
class Status(Command):
    """STATUS.

    :ivar items: in the client's order, without repetitions.
    """

    mailbox: str
    items: tuple[StatusItem, ...]
    name = "STATUS"


@frozen
class AppendMessage:
    """One message of APPEND, announced before its octets.

    The reader waits after it for ``CommandReader.accept_message`` or ``CommandReader.refuse_message``.

    :ivar tag: the tag of the APPEND.
    :ivar mailbox: where it shall go (the same for all messages of one APPEND).
    :ivar flags: system flags and keywords, in the client's order.
    :ivar received: the date-time given, aware of its zone, or ``None``: now.
    :ivar size_octets: how many octets follow. 0 cancels a MULTIAPPEND (RFC 3502 section 6.3.11).
    :ivar binary: whether it is a literal8: may contain NUL (RFC 3516), or wrapped in UTF8 (…).
    :ivar utf8: whether it came as ``UTF8 (~{…})`` (RFC 9755 section 4).
    :ivar synchronising: whether the client waits for a continuation; otherwise the octets come whether
        wanted or not.
    :ivar index: 0 for the first message of the command, 1 for the second (MULTIAPPEND), …
    :ivar steps: what stands before the literal of messages that are put together (RFC 4469).
    :ivar is_part: whether the literal is a part of such a message.
    :ivar replaces: with REPLACE (RFC 8508) the sequence number of the message that goes, with ``uid`` its UID, ``STAR`` for
        the last one; ``None`` with APPEND.
    """

    tag: bytes
    mailbox: str
    size_octets: int
    flags: tuple[str, ...] = ()
    received: datetime | None = None
    binary: bool = False
    utf8: bool = False
    synchronising: bool = True
    index: int = 0
    replaces: int | None = None
    uid: bool = False
    steps: tuple[CatenateStep, ...] = ()
    is_part: bool = False


@frozen
class Append(Command):
    """APPEND, after the last octet: all messages were handed out and may be committed.

    :ivar messages: what was announced, in order.
    :ivar steps: what stands behind the last literal, or without one, of messages that are put together (RFC 4469).
    """

    mailbox: str
    messages: tuple[AppendMessage, ...]
    steps: tuple[CatenateStep, ...] = ()
    name = "APPEND"


@frozen
class Replace(Command):
    """REPLACE and UID REPLACE (RFC 8508), after the last octet of the message that was announced.

    :ivar number: what goes, a sequence number or UID; ``STAR`` for the last message.
    :ivar message: as it was announced; ``None`` when it is put together of URLs alone.
    :ivar steps: as with APPEND.
    """

    number: int
    mailbox: str
    message: AppendMessage | None
    uid: bool = False
    steps: tuple[CatenateStep, ...] = ()
    name = "REPLACE"


@frozen
class Notify(Command):
    """NOTIFY (RFC 5465).

    :ivar groups: what to tell of from now on; ``None`` for NOTIFY NONE.
    :ivar status: whether STATUS was given.
    """

    groups: tuple[EventGroup, ...] | None = None
    status: bool = False
    name = "NOTIFY"


@frozen
class Idle(Command):
    """IDLE (RFC 2177). Whoever grants it calls ``CommandReader.expect_done``."""

    name = "IDLE"


@frozen
class Done(Command):
    """DONE, the end of IDLE.

    :ivar tag: the tag of the IDLE.
    """

    name = "DONE"


@frozen
class Compress(Command):
    """COMPRESS (RFC 4978).

    :ivar algorithm: in upper case.
    """

    algorithm: str
    name = "COMPRESS"


@frozen
class Unauthenticate(Command):
    """UNAUTHENTICATE (RFC 8437)."""

    name = "UNAUTHENTICATE"


# -- selected --------------------------------------------------------------------------------------


@frozen
class Check(Command):
    """CHECK (RFC 3501 section 6.4.1)."""

    name = "CHECK"


@frozen
class Close(Command):
    """CLOSE."""

    name = "CLOSE"


@frozen
class Unselect(Command):
    """UNSELECT."""

    name = "UNSELECT"


@frozen
class Expunge(Command):
    """EXPUNGE."""

    name = "EXPUNGE"


@frozen
class UIDExpunge(Command):
    """UID EXPUNGE (RFC 4315 section 2.1).

    :ivar numbers: UIDs.
    """

    numbers: SequenceSet
    name = "UID EXPUNGE"


@frozen
class Fetch(Command):
    """FETCH and UID FETCH.

    :ivar attributes: data items in the client's order, macros expanded, one or more. UID FETCH does not add
        UID by itself.
    :ivar changed_since: CHANGEDSINCE (RFC 7162 section 3.1.4.1), at least 1, or ``None``.
    :ivar vanished: VANISHED (RFC 7162 section 3.2.6): only with ``changed_since`` and ``uid``.
    :ivar partial: PARTIAL (RFC 9394 section 3.3): only with ``uid``.
    """

    numbers: SequenceSet
    attributes: tuple[FetchAttribute, ...]
    changed_since: int | None = None
    vanished: bool = False
    uid: bool = False
    partial: Partial | None = None
    name = "FETCH"


class StoreMode(Enum):
    """What STORE does with the flags; the value is the sign on the wire."""

    REPLACE = ""
    ADD = "+"
    REMOVE = "-"


@frozen
class Store(Command):
    """STORE and UID STORE.

    :ivar flags: in the client's order, without repetitions; may be empty.
    :ivar silent: whether ``.SILENT`` was given.
    :ivar unchanged_since: UNCHANGEDSINCE (RFC 7162 section 3.1.3), may be 0, or ``None``.
    """

    numbers: SequenceSet
    mode: StoreMode
    flags: tuple[str, ...]
    silent: bool = False
    unchanged_since: int | None = None
    uid: bool = False
    name = "STORE"


@frozen
class Copy(Command):
    """COPY and UID COPY."""

    numbers: SequenceSet
    mailbox: str
    uid: bool = False
    name = "COPY"


@frozen
class Move(Command):
    """MOVE and UID MOVE (RFC 6851)."""

    numbers: SequenceSet
    mailbox: str
    uid: bool = False
    name = "MOVE"
