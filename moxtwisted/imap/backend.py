"""What an IMAP server asks of whoever keeps the mail.

The server machine and its commands know mail only through these interfaces, so that any program can put its own
mail behind them. A small one need not write all of it: ``moxtwisted.imap.simple`` asks for three methods
(see ``examples/imap_backend.py``). Calls come one at a time per session. Where "may be awaitable"
stands, the method may return the value itself or an awaitable of it; a plain value costs no coroutine.

Errors are ``moxtwisted.errors.MailError``: its ``imap_code`` and ``public_text`` go into the tagged NO.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from attrs import frozen
from zope.interface import Attribute, Interface

from moxtwisted.message.flags import MessageFlags


@frozen
class MailboxInfo:
    """A mailbox as LIST and STATUS show it.

    :ivar special_use: RFC 6154 attributes, as ``\\Sent``.
    :ivar objectid: RFC 8474 MAILBOXID, without parentheses.
    :ivar rights: what the user may do, letters of RFC 4314; None for everything, as in one's own mailboxes.
    """

    name: str
    uidvalidity: int
    uidnext: int
    highestmodseq: int
    messages: int
    unseen: int
    deleted: int
    size: int
    deleted_size: int
    special_use: tuple[str, ...] = ()
    objectid: str = ""
    rights: frozenset[str] | None = None


@frozen
class MessageText:
    """A text condition of SEARCH: ``field`` is ``text``, ``body``, ``header`` or a header field's name in lower case."""

    field: str
    needle: str


@frozen
class Appended:
    """For APPENDUID and COPYUID."""

    uidvalidity: int
    uids: tuple[int, ...]
    source_uids: tuple[int, ...] = ()


@frozen
class Stored:
    """Outcome of STORE: UIDs that changed, UIDs refused by UNCHANGEDSINCE, the new modseq (0: nothing changed)."""

    changed: tuple[int, ...]
    refused: tuple[int, ...]
    modseq: int


@frozen
class Incoming:
    """A message of APPEND whose octets went into ``sink``; ``internaldate`` in seconds UTC or None for now."""

    sink: Any
    flags: MessageFlags
    internaldate: int | None


class IMailboxView(Interface):
    """The live state of a mailbox, shared by all its sessions; arrays run in parallel, ascending by UID.

    It may have a method ``overview()`` that gives (the combinations of flags that messages have, the number of the first message without
    \\Seen or 0), for SELECT, which otherwise looks through all flags.
    """

    uidvalidity = Attribute("int")
    uidnext = Attribute("int")
    highestmodseq = Attribute("int")
    exists = Attribute("bool: False once the mailbox was removed")
    version = Attribute("int: grows with every change")
    uids = Attribute("array('I'): immutable; a change puts a new array here")
    modseqs = Attribute("array('Q')")
    flags = Attribute("list of MessageFlags (interned: use identity as a key for what was rendered)")

    def changes_since(version: int) -> tuple[Sequence[int], Sequence[int]] | None:
        """(expunged UIDs, UIDs with changed flags) since then, ascending, or None: compare with a snapshot."""

    def listen(callback: Callable[[], None]) -> None:
        """Call it after each change; it only takes note."""

    def unlisten(callback: Callable[[], None]) -> None:
        """Stop that."""


class IMessageBody(Interface):
    """One message's octets, readable until closed even if expunged meanwhile."""

    size = Attribute("int")

    def read(offset: int, length: int) -> bytes:
        """Octets; fewer at the end. At most a megabyte a call."""

    def close() -> None:
        """Let go."""


class ISelectedMailbox(Interface):
    """A mailbox that a session has selected.

    It may have an attribute ``rights``, letters of RFC 4314: what the user may do in it. With ``frozenset("lr")`` clients are told that
    it is READ-ONLY; without the attribute he may do everything.
    """

    view = Attribute("IMailboxView")
    objectid = Attribute("str: MAILBOXID")

    def rows(uids: Sequence[int], columns: int) -> list[tuple[Any, ...]]:
        """(uid, column, …) ascending, for those that exist; columns is a sum of the constants below, the tuple
        in the order of the bits. At most some 1,000 UIDs a call."""

    def bodies(uids: Sequence[int], limit_octets: int) -> list[tuple[int, bytes]]:
        """(uid, octets) of as many of the first UIDs as fit; an empty list: the first is too large, use open_body."""

    def open_body(uid: int) -> IMessageBody | None:
        """None when it is gone."""

    def search_text(term: MessageText, uids: Sequence[int]) -> Awaitable[set[int]]:
        """Those whose decoded text contains the needle, without case."""

    def store(
        uids: Sequence[int],
        mode: Literal["add", "remove", "replace"],
        flags: MessageFlags,
        unchanged_since: int | None,
    ) -> Awaitable[Stored]:
        """Change flags."""

    def expunge(uids: Sequence[int] | None) -> Awaitable[tuple[int, ...]]:
        """Remove those with \\Deleted among these (None: all); the UIDs that went."""

    def copy(uids: Sequence[int], target: str) -> Awaitable[Appended]:
        """:raises MailboxMissingError: the server answers TRYCREATE."""

    def move(uids: Sequence[int], target: str) -> Awaitable[Appended]:
        """Atomically; the UIDs leave this mailbox."""

    def expunged_since(modseq: int) -> tuple[Sequence[int], bool]:
        """UIDs expunged after modseq, and whether the history reaches back so far."""

    def close() -> None:
        """The session leaves the mailbox."""


# Columns of ISelectedMailbox.rows, in the order of the tuple.
(
    SIZE,
    INTERNALDATE,
    SAVEDATE,
    EMAIL,
    THREAD,
    ENVELOPE,
    BODYSTRUCTURE,
    FIELDS,
    PREVIEW,
    PARTS,
    HEADER_SIZE,
    PREFIX_SIZE,
) = (1 << n for n in range(12))
"""octets (int); seconds UTC (int); seconds UTC (int); id of the content (int); id of the thread (int); IMAP text (bytes);
IMAP text (bytes); raw header fields of message.structure.LIST_FIELDS (bytes); str; message.structure.PartIndex encoded,
offsets without the prefix (bytes); octets of the header without the prefix (int); octets of header fields put before
the message at delivery (int)."""


class IAppendSink(Interface):
    """Takes one APPEND literal."""

    def write(data: bytes) -> None:
        """Octets as the client sent them. :raises MailError:"""

    def abort() -> None:
        """The command failed; idempotent."""


class ISession(Interface):
    """The mail of the user that logged in."""

    account = Attribute("str: for the log")
    disabled_capabilities = Attribute("frozenset of str: hidden after login")
    append_limit = Attribute("int: octets, APPENDLIMIT")

    def mailboxes() -> Sequence[MailboxInfo]:
        """All, by name; the separator is '/'."""

    def mailbox(name: str) -> MailboxInfo | None:
        """One; INBOX in any case."""

    def subscriptions() -> frozenset[str]:
        """Names, also of what is gone."""

    def select(name: str, *, read_only: bool) -> ISelectedMailbox | Awaitable[ISelectedMailbox]:
        """:raises MailboxMissingError:"""

    def create(name: str, special_use: Sequence[str]) -> Awaitable[MailboxInfo]:
        """With missing parents."""

    def delete(name: str) -> Awaitable[None]:
        """:raises MailError:"""

    def rename(old: str, new: str) -> Awaitable[None]:
        """With all below it."""

    def subscribe(name: str) -> Awaitable[None]:
        """Any name."""

    def unsubscribe(name: str) -> Awaitable[None]:
        """Any name."""

    def append_sink(mailbox: str, size_octets: int) -> IAppendSink:
        """A place for one literal of that size. :raises MailError: (TRYCREATE is added for a missing mailbox, OVERQUOTA,
        TOOBIG) before any octet is taken."""

    def append(mailbox: str, messages: Sequence[Incoming]) -> Awaitable[Appended]:
        """All or none."""

    def logout() -> None:
        """The session ended, in whatever way."""


class IAuthenticator(Interface):
    """How a user gets a session."""

    sasl_backend = Attribute("moxtwisted.sasl backend that knows the users' secrets")
    mechanisms = Attribute("sequence of str: SASL mechanisms on offer, strongest first")
    extensions = Attribute(
        "frozenset of str: capabilities of moxtwisted.imap.capabilities.OPTIONAL whose interfaces its sessions provide"
    )

    def login(username: str, password: str, peer: Any) -> Awaitable[str | None]:
        """LOGIN: the identity, or None when refused. :raises MailError: with text for the user (disabled, rate)."""

    def session(identity: str, peer: Any) -> ISession | Awaitable[ISession]:
        """The mail of an identity that was authenticated."""


class IOwnMechanisms(Interface):
    """An authenticator that also provides this makes the exchanges of its mechanisms itself, those that we know as well as others."""

    def begin_exchange(mechanism: str) -> Any:
        """Begin one.

        :param mechanism: one of ``IAuthenticator.mechanisms``, upper case.
        :return: an ``IServerExchange``, or None: it is not on offer.
        """
