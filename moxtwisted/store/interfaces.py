"""What the store promises: accounts, mailboxes, messages, changes, bodies.

The store speaks mail. It knows mailboxes, UIDs, modification sequences and bodies; IMAP and JMAP
are translations of it that live above. All calls are made in the reactor's thread. A call that
changes something returns an awaitable that fires after COMMIT returned: what it acknowledges is
on disk. Reading calls are plain functions, bounded by what they are asked for (ask in batches).

A message comes in like this::

    sink = store.stage()                       # IStaging; memory first, a sealed temporary file later
    sink.write(b"Subject: hello\\r\\n\\r\\nworld\\r\\n")
    staged = sink.finish()                     # IStagedMessage: size, chunks(), rendered
    message = NewMessage(staged, prefix=b"Return-Path: <a@b.example>\\r\\n", internaldate=now)
    added, = await account.add([Addition("INBOX", message)])
    added.uid, added.uidvalidity, added.modseq
    staged.close()
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from attrs import frozen
from zope.interface import Attribute, Interface

from moxtwisted.message.flags import NO_FLAGS, MessageFlags
from moxtwisted.message.products import Rendered


class Column(enum.IntFlag):
    """Which facts ``IAccount.rows`` returns; the tuple has them in the order of the bits, the uid first."""

    SIZE = 1  # int, octets, prefix included
    INTERNALDATE = 2  # int, seconds UTC
    SAVEDATE = 4  # int, seconds UTC
    BODY = 8  # int, id of the body: the same for copies
    THREAD = 16  # int, id of the thread
    ENVELOPE = 32  # bytes, IMAP ENVELOPE
    BODYSTRUCTURE = 64  # bytes, IMAP BODYSTRUCTURE
    FIELDS = 128  # bytes, raw header fields (message.structure.LIST_FIELDS)
    PREVIEW = 256  # str
    PARTS = 512  # bytes, encoded message.structure.PartIndex (offsets without the prefix)
    HEADER_SIZE = 1024  # int, octets, without the prefix
    PREFIX_SIZE = 2048  # int, octets


@frozen
class Mailbox:
    """A mailbox as it was at one moment; lists of them are cheap (kept in memory)."""

    id: int
    name: str
    uidvalidity: int
    uidnext: int
    special_use: tuple[str, ...]
    highestmodseq: int
    messages: int
    unseen: int
    deleted: int
    size: int
    deleted_size: int


@frozen
class NewMessage:
    """A message to be added.

    :ivar prefix: header fields to stand before the staged octets, each ending with CRLF.
    :ivar internaldate: seconds since 1970, UTC.
    :ivar sender: what is to be remembered of where it came from; None for what did not come in by SMTP.
    """

    staged: IStagedMessage
    prefix: bytes
    internaldate: int
    flags: MessageFlags = NO_FLAGS
    sender: Sender | None = None


@frozen
class Addition:
    """One message for one mailbox; a mailbox given by name is made if it is not there (with its parents)."""

    mailbox: int | str
    message: NewMessage


@frozen
class Added:
    """Where a message came to be."""

    mailbox: int
    uidvalidity: int
    uid: int
    modseq: int
    body: int
    thread: int


@frozen
class FlagsStored:
    """Outcome of a change of flags.

    :ivar changed: UIDs whose flags are different now, ascending.
    :ivar refused: UIDs left alone because they changed after ``unchanged_since`` (RFC 7162 section 3.1.3).
    :ivar modseq: of this change; 0 when nothing changed.
    """

    changed: tuple[int, ...]
    refused: tuple[int, ...]
    modseq: int


@frozen
class Copied:
    """Outcome of copy and move: pairs in the order of the source UIDs."""

    mailbox: int
    uidvalidity: int
    source_uids: tuple[int, ...]
    uids: tuple[int, ...]
    modseq: int


ChangeKind = Literal[
    "messages",
    "created",
    "removed",
    "renamed",
    "subscribed",
    "unsubscribed",
    "special_use",
    "annotated",
    "acl",
]
"""What happened to a mailbox."""


@frozen
class MailboxChange:
    """What happened to one mailbox in one commit.

    :ivar kind: ``messages`` for message changes, else what happened to the mailbox itself.
    :ivar added: UIDs that are new; ``expunged`` UIDs gone; ``flagged`` UIDs whose flags changed; all ascending.
    :ivar old_name: with ``renamed``.
    :ivar entries: with ``annotated``: the keys that were set or removed; the mailbox is 0 for the account itself.
    """

    kind: ChangeKind
    mailbox: int
    name: str
    modseq: int
    added: tuple[int, ...] = ()
    expunged: tuple[int, ...] = ()
    flagged: tuple[int, ...] = ()
    old_name: str = ""
    entries: tuple[str, ...] = ()


@frozen
class SearchTerm:
    """One text condition; ``field`` is ``text``, ``body``, ``header`` or a header field's name (``subject``).

    Substring match, without case (RFC 9051 section 6.4.4; i;unicode-casemap), on decoded text.
    """

    field: str
    needle: str


@frozen(kw_only=True)
class Sender:
    """What is remembered of where a message came from, for the reputation of the next one. Domains are A-labels in lower case;
    what is not known, or did not pass, is empty.

    :ivar localpart: in From.
    :ivar domain: in From.
    :ivar organizational_domain: of that.
    :ivar validated: whether that address was the sender's to use.
    :ivar dkim_domains: of signatures that passed.
    :ivar spf_localpart: and ``spf_domain``: the sender of the envelope, if it passed SPF.
    :ivar helo_domain: the name in EHLO, if that passed SPF.
    :ivar ip: of the client.
    :ivar origin: name of the mailbox that it was destined for, wherever it went.
    """

    localpart: str = ""
    domain: str = ""
    organizational_domain: str = ""
    validated: bool = False
    dkim_domains: tuple[str, ...] = ()
    spf_localpart: str = ""
    spf_domain: str = ""
    helo_domain: str = ""
    ip: str = ""
    origin: str = "INBOX"


ReputationKind = Literal[
    "address", "domain", "organization", "dkim", "spf-address", "spf-domain", "helo", "ip1", "ip2", "ip3"
]
"""By what messages of the past are found: the address in From, its domain, its organizational domain, a DKIM identity, the sender of
the envelope, its domain, the name in EHLO, and the client's address with its two networks."""


class Usage(NamedTuple):
    """How much an account has, and may have: None is no limit. It crosses to other processes."""

    octets: int
    messages: int
    quota_octets: int | None
    quota_messages: int | None

    @classmethod
    def of(cls, account: Any) -> Usage:
        """That of an open ``IAccount``."""
        octets, messages, quota = account.usage()
        return cls(octets, messages, quota, account.message_quota)


class PastMessage(NamedTuple):
    """One message that somebody called junk or not.

    :ivar at: when it came, seconds since 1970.
    :ivar localpart: tells local parts in From apart; a number made of it.
    """

    junk: bool
    at: int
    localpart: int


class IReputation(Interface):
    """What an account knows of senders. Each question costs the same however large the account is.

    What is junk is known shortly after the flags say so: milliseconds when the account is quiet, some seconds when it never is, minutes
    after an import of 100,000 messages with such flags. Whom it wrote to is known to a day.
    """

    def past(
        origin: str, kind: ReputationKind, key: str, validated: bool | None, since: int, limit: int
    ) -> Sequence[PastMessage]:
        """Messages with this key that were destined for this mailbox and are junk or not junk by their flags, the newest first.

        :param key: an address ``local@domain``, a domain, or a network; in lower case.
        :param validated: whether From was validated; None: both. Only for ``address``, ``domain`` and ``organization``.
        :param since: seconds since 1970; older ones do not count.
        """

    def wrote_to(kind: Literal["address", "domain", "organization"], key: str, since: int) -> bool:
        """Whether the account sent mail there."""

    def glance(
        origin: str,
        asked: Sequence[tuple[ReputationKind, str, bool]],
        written: Sequence[tuple[Literal["address", "domain", "organization"], str]],
    ) -> tuple[Sequence[bool], Sequence[bool]]:
        """Which of these questions have an answer at all, of any time: in one go, for who would ask many.

        :param asked: kind, key and whether From was validated, as for ``past``; False where that does not matter.
        :param written: as for ``wrote_to``.
        """


class IStaging(Interface):
    """Takes a message's octets in; lines end with CRLF. Memory use is bounded, the rest goes to a sealed file."""

    def write(data: bytes) -> None:
        """Take more octets.

        :raises StoreFullError: when the disk is full.
        """

    def finish() -> IStagedMessage:
        """All octets are in; scans and renders them (once, however many accounts get the message)."""

    def abort() -> None:
        """Forget everything; idempotent."""


class IGathering(Interface):
    """Places for messages that are added together. They come one after the other, and what all of them keep in memory is bounded."""

    def stage(size_hint: int = 0) -> IStaging:
        """A place for the next one; nothing more can be written to the one before.

        :raises StoreFullError: when the disk is full.
        """


class IStagedMessage(Interface):
    """Octets waiting to be added to one or more accounts."""

    size = Attribute("int: octets")
    rendered: Rendered = Attribute("moxtwisted.message.products.Rendered of these octets")
    scanned = Attribute("moxtwisted.message.mime.ScannedMessage of these octets")

    def chunks() -> Iterator[bytes]:
        """The octets, 262,144 at a time."""

    def read(offset: int, length: int) -> bytes:
        """Octets from the middle; fewer at the end."""

    def packed() -> Iterable[tuple[int, bytes]]:
        """(codec, data) of the chunks as the store keeps them; may be called from any thread, and more than once."""

    def close() -> None:
        """Give the memory and the file back; idempotent. Not before every ``add`` of it was answered."""


class IMailboxState(Interface):
    """One mailbox in memory, shared by all sessions; changes only in the reactor's thread, after commits.

    The arrays run in parallel and ascend by UID.
    """

    id = Attribute("int")
    name = Attribute("str: changes when it is renamed")
    uidvalidity = Attribute("int")
    uidnext = Attribute("int")
    highestmodseq = Attribute("int")
    exists = Attribute("bool: False once the mailbox was removed")
    unseen = Attribute("int: messages without \\\\Seen")
    version = Attribute("int: grows with every change; compare with a view's own")
    uids = Attribute("array('I') of UIDs; never mutated: a change makes a new one (keep it as a snapshot)")
    modseqs = Attribute("array('Q'), parallel to uids")
    flags = Attribute("list of MessageFlags, parallel to uids")

    def overview() -> tuple[Iterable[MessageFlags], int]:
        """(the combinations of flags that messages have, the number of the first message without \\Seen or 0)."""

    def changes_since(version: int) -> tuple[Sequence[int], Sequence[int]] | None:
        """(expunged UIDs, UIDs with changed flags) since that version, each ascending, new messages not among the latter;
        None when the bounded log does not reach back so far: compare with a snapshot then."""

    def listen(callback: Callable[[], None]) -> None:
        """Call it after every change (cheap: it must only take note)."""

    def unlisten(callback: Callable[[], None]) -> None:
        """Stop calling it."""


class IBodyReader(Interface):
    """The octets of one message, prefix included; stays readable until closed, even if the message is expunged."""

    size = Attribute("int: octets")

    def read(offset: int, length: int) -> bytes:
        """Octets; fewer at the end. Ask at most a megabyte at a time."""

    def close() -> None:
        """Let go; idempotent."""


class IAhead(Interface):
    """Bodies that a session will ask for, read by a thread meanwhile; see ``moxtwisted.store.readahead``."""

    def expect(uids: Sequence[int], limit_octets: int) -> None:
        """``take`` will be asked for these, after those that it expects already. It may forget it."""

    def take(
        uids: Sequence[int],
        limit_octets: int,
        read: Callable[[Sequence[int], int], list[tuple[int, bytes]]],
    ) -> list[tuple[int, bytes]] | None:
        """What ``bodies`` would give, or None: ask it. ``read`` is that; it may be asked for those after these."""

    def drop() -> None:
        """Nothing is wanted any more. Has to be called in the end."""


class IChangeQueue(Interface):
    """Changes of a whole account for one reader, bounded."""

    def take() -> tuple[Sequence[MailboxChange], bool]:
        """All changes since the last take, and whether some were dropped because the queue was full."""

    def close() -> None:
        """End it."""


class IAccessLists(Interface):
    """Who else may do what to the mailboxes of an account: rights, sets of letters, by identifier. An identifier is an account's
    name or ``anyone``; with ``-`` before it, what is taken away. The store does not weigh them."""

    def of(mailbox: int) -> Mapping[str, frozenset[str]]:
        """The list of a mailbox: the same object until it changes. It stays with the mailbox when that is renamed, goes with it,
        and a new mailbox has that of the one above it."""

    def all() -> Mapping[int, Mapping[str, frozenset[str]]]:
        """By mailbox, those that have any."""

    def identifiers() -> frozenset[str]:
        """Everybody who is named, without ``-``."""


class IGrants(Interface):
    """Which accounts share something with whom, server-wide; never short of what the lists have."""

    def owners(account: str) -> frozenset[str]:
        """Accounts whose lists name this one, or anyone: some may give it nothing in the end."""

    def listen(account: str, changed: Callable[[str], None]) -> Callable[[], None]:
        """Call it with an owner whose lists begin or cease to name this account, or anyone; what is returned stops that."""

    def change(
        account: IAccount,
        mailbox: int,
        identifier: str,
        mode: Literal["replace", "add", "remove"],
        rights: frozenset[str],
    ) -> Awaitable[None]:
        """Change an entry of a list; one without rights goes. :raises MailboxMissingError: , LimitError."""


class IAccount(Interface):
    """One account's mail."""

    name = Attribute("str: the account's name")
    access = Attribute("IAccessLists")
    reputation = Attribute("IReputation: what it knows of senders")
    closed = Attribute("bool: it was removed, or the store was closed")

    # -- mailboxes ---------------------------------------------------------------------------------------------
    def mailboxes() -> Sequence[Mailbox]:
        """All, by name."""

    def mailbox(name: str) -> Mailbox | None:
        """The one with that name (INBOX in any case)."""

    def mailbox_by_id(id: int) -> Mailbox | None:  # noqa: A002
        """The one with that id."""

    def subscriptions() -> frozenset[str]:
        """Names, also of mailboxes that are gone."""

    def create_mailbox(name: str, special_use: Sequence[str] = ()) -> Awaitable[Mailbox]:
        """Make it, and its missing parents; the new ones get subscribed (as mox does).

        :raises MailboxExistsError: , LimitError.
        """

    def rename_mailbox(old: str, new: str) -> Awaitable[Mailbox]:
        """With all below it. Renaming INBOX moves its messages into a new mailbox (RFC 9051 section 6.3.6)."""

    def delete_mailbox(name: str) -> Awaitable[None]:
        """With its messages. :raises MailError: with imap_code HASCHILDREN, CANNOT for INBOX; MailboxMissingError."""

    def subscribe(name: str) -> Awaitable[None]:
        """Subscribe a name, whether or not it exists."""

    def unsubscribe(name: str) -> Awaitable[None]:
        """No error when it was not subscribed."""

    def set_special_use(name: str, special_use: Sequence[str]) -> Awaitable[None]:
        """Replace; each use belongs to one mailbox at most, the older one loses it."""

    def annotations(mailbox: int) -> dict[str, bytes]:
        """By key; mailbox 0 is the account."""

    def annotate(
        mailbox: int, values: dict[str, bytes | None], special_use: Sequence[str] | None = None
    ) -> Awaitable[None]:
        """Set, or remove with None; with the special uses, if given, all or nothing.

        :raises LimitError: with the imap_code METADATA TOOMANY when there are too many, or their values too large together.
        """

    # -- messages ----------------------------------------------------------------------------------------------
    def add(additions: Sequence[Addition], *, check_quota: bool = True) -> Awaitable[Sequence[Added]]:
        """All of them in one commit, or none.

        :raises OverQuotaError: , StoreFullError, MailboxMissingError, StoreUnavailableError.
        """

    def replace(mailbox: int, uid: int, addition: Addition, *, check_quota: bool = True) -> Awaitable[Added]:
        """Remove a message and add another, in one commit; what goes counts for the quota.

        :raises MessageMissingError: , OverQuotaError, StoreFullError, MailboxMissingError, StoreUnavailableError.
        """

    def store_flags(
        mailbox: int,
        uids: Sequence[int],
        mode: Literal["add", "remove", "replace"],
        flags: MessageFlags,
        unchanged_since: int | None = None,
    ) -> Awaitable[FlagsStored]:
        """Change flags of those that (still) exist; one modseq for all that changed."""

    def copy(mailbox: int, uids: Sequence[int], target: int) -> Awaitable[Copied]:
        """Copy, with flags and dates; bodies are shared. Quota counts copies."""

    def move(mailbox: int, uids: Sequence[int], target: int) -> Awaitable[Copied]:
        """Move, atomically."""

    def expunge(
        mailbox: int, uids: Sequence[int] | None, *, only_deleted: bool = True
    ) -> Awaitable[tuple[int, ...]]:
        """Remove those with \\Deleted (of these UIDs, or of all); with ``only_deleted`` False all of these. What went."""

    # -- reading -----------------------------------------------------------------------------------------------
    def state(mailbox: int) -> IMailboxState:
        """The shared state (loaded at first use). :raises MailboxMissingError:"""

    def rows(mailbox: int, uids: Sequence[int], columns: Column) -> list[tuple[Any, ...]]:
        """(uid, column, column …) for those that exist, ascending; uids ascending, at most some 1,000 a call."""

    def open_body(mailbox: int, uid: int) -> IBodyReader | None:
        """None when there is no such message."""

    def open_by_id(body: int) -> IBodyReader | None:
        """The same by the id of the body, whatever mailboxes it is in; None when it is gone."""

    def bodies(mailbox: int, uids: Sequence[int], limit_octets: int) -> list[tuple[int, bytes]]:
        """(uid, all octets) of small messages in one go: as many of the first UIDs as fit the limit, at least one
        unless the first is larger by itself (then an empty list: use open_body)."""

    def ahead(mailbox: int) -> IAhead | None:
        """What reads ahead of ``bodies`` for one session; None when nothing does."""

    def expunged_since(mailbox: int, modseq: int) -> tuple[Sequence[int], bool]:
        """UIDs expunged after modseq, ascending, and whether the history reaches back so far (else: all UIDs that are
        not there now count as expunged; RFC 7162 section 3.2.5.2)."""

    def search(mailbox: int, term: SearchTerm, uids: Sequence[int]) -> Awaitable[set[int]]:
        """Those of uids whose text matches. Works in slices, so that the reactor stays responsive."""

    def search_fuzzy(mailbox: int, term: SearchTerm, uids: Sequence[int]) -> Awaitable[dict[int, int]]:
        """Those of uids whose text has words like those of the needle, half of them at least, with their relevancy (1 to 100;
        see ``moxtwisted.message.fuzzy``). The body is not told apart from the header."""

    # -- the account -------------------------------------------------------------------------------------------
    def usage() -> tuple[int, int, int | None]:
        """(octets used, messages, quota in octets or None)."""

    message_quota = Attribute("int | None: how many messages it may have")

    def set_quota(octets: int | None, messages: int | None = None) -> None:
        """The limits that ``add`` and ``copy`` keep, from the configuration; None is no limit."""

    def secret(name: str) -> bytes | None:
        """A kept secret (password verifiers), as given."""

    def set_secret(name: str, value: bytes | None) -> Awaitable[None]:
        """Keep or remove it."""

    def wrote(addresses: Sequence[tuple[str, str]], at: int) -> Awaitable[None]:
        """Remember that the owner wrote to these: (local part, domain). Messages that are put into the mailbox with the special use
        ``\\Sent`` say so themselves.

        :param at: seconds since 1970.
        """

    def watch(limit: int = 1000, changed: Callable[[], None] | None = None) -> IChangeQueue:
        """All changes of the account from now on.

        :param changed: called, in the reactor's thread, after changes were put into the queue.
        """

    def close() -> Awaitable[None]:
        """After pending commits."""


class IStore(Interface):
    """All accounts, the queue, and what is server-wide, below one data directory."""

    grants = Attribute("IGrants")

    def accounts() -> Sequence[str]:
        """Names that exist on disk."""

    def account(name: str) -> IAccount:
        """Open it (kept open until the store closes it for want of use). :raises StoreUnavailableError: if not there."""

    def create_account(name: str, mailboxes: Sequence[tuple[str, str]] = ()) -> Awaitable[IAccount]:
        """Make it, with these (name, special use) mailboxes, all subscribed; INBOX always."""

    def remove_account(name: str) -> Awaitable[None]:
        """With everything in it."""

    def stage(size_hint: int = 0) -> IStaging:
        """A place for a message that comes in."""

    def gathering() -> IGathering:
        """Places for messages that come in one after the other, and are added together."""

    def close() -> Awaitable[None]:
        """Finish pending commits, checkpoint, close all files."""
