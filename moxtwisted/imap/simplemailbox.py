"""One mailbox of a program, of which ``moxtwisted.imap.simple`` tells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal

from attrs import define
from zope.interface import implementer

from moxtwisted.errors import MailboxMissingError, MailError
from moxtwisted.identifiers import parse_mailbox_name
from moxtwisted.imap import backend as b
from moxtwisted.imap.memorymailbox import MemoryBody, MemoryMailbox, contains
from moxtwisted.imap.rights import Rights, kept_flags, replaced
from moxtwisted.imap.sharing import NotPermittedError
from moxtwisted.imap.simpleindex import MailboxIndex
from moxtwisted.message.casemap import casemap
from moxtwisted.message.flags import NO_FLAGS, SEEN, MessageFlags
from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.message.products import Rendered, render

__all__ = ["SimpleMailbox"]

_READING: Final[Rights] = frozenset("lrsw")
_REMOVING: Final[Rights] = _READING | frozenset("te")
_ADDING: Final[Rights] = _REMOVING | frozenset("i")

#: Columns for which nobody has to know what a message consists of.
_KNOWN: Final = b.SIZE | b.INTERNALDATE | b.SAVEDATE | b.EMAIL | b.THREAD | b.PREFIX_SIZE

#: What a program's methods may raise for a message that went without notice.
_GONE: Final = (LookupError, FileNotFoundError)


class _KeyTakenError(MailError):
    """``add`` gave a key that is another message's."""

    reply_code = 550
    enhanced_code = "5.7.0"
    imap_code = "CANNOT"
    public_text = "this message is there already"


@define(eq=False)
class _Message:
    """What is known of a message.

    :ivar size: octets, once somebody has asked.
    :ivar rendered: what lists show, likewise.
    """

    key: Any
    size: int | None = None
    rendered: Rendered | None = None


def _scanned(octets: bytes) -> ScannedMessage:
    scanner = Scanner()
    scanner.feed(octets)
    return scanner.finish()


def _stored(
    view: MemoryMailbox,
    rights: Rights,
    uids: Sequence[int],
    mode: Literal["add", "remove", "replace"],
    kept: MessageFlags,
    unchanged_since: int | None,
) -> b.Stored:
    """Change flags as far as the rights go."""
    modseq = view.highestmodseq + 1
    if mode != "replace" or rights.issuperset("swt"):
        return view.store(uids, mode, kept, unchanged_since, modseq)
    # Those of one outcome together.
    outcomes: dict[MessageFlags, list[int]] = {}
    for uid in uids:
        at = view.at(uid)
        if at is not None:
            outcomes.setdefault(replaced(view.flags[at], kept, rights), []).append(uid)
    done = [view.store(some, mode, flags, unchanged_since, modseq) for flags, some in outcomes.items()]
    return b.Stored(
        tuple(sorted(uid for one in done for uid in one.changed)),
        tuple(sorted(uid for one in done for uid in one.refused)),
        max((one.modseq for one in done), default=0),
    )


@implementer(b.ISelectedMailbox)
class SimpleMailbox(ABC):
    r"""One mailbox of a program, for all who look into it.

    :param uidvalidity: a ``MailboxIndex``, with which UIDs and flags outlast the program. Or 1 to 4,294,967,295: UIDs are given in
        the order of ``keys``, anew in each run of the program, so take the time of the start; clients then fetch all messages again.
        A constant is right only if the keys are in the order in which messages came, none ever goes, and no flag changes.
    :ivar rights: what clients may do, letters of RFC 4314: of what the class can do all. ``frozenset("lr")`` is a mailbox in which nothing
        can be changed, not even \Seen.
    :ivar view: the live state, an `IMailboxView <moxtwisted.imap.backend.IMailboxView>`.
    :ivar siblings: the mailboxes that messages can be copied to, by name; ``SimpleMail`` says which.
    """

    objectid = ""
    special_use: tuple[str, ...] = ()

    def __init__(self, uidvalidity: int | MailboxIndex) -> None:
        index = self._index = uidvalidity if isinstance(uidvalidity, MailboxIndex) else None
        self.view = MemoryMailbox(
            "", uidvalidity if isinstance(uidvalidity, int) else uidvalidity.uidvalidity, ""
        )
        self._first_modseq = 0
        #: What the last run of the program left, until ``keys`` was asked for the first time.
        self._left: Mapping[Any, tuple[int, MessageFlags]] = {}
        if index is not None:
            self.view.uidnext, self._left = index.uidnext, index.left()
            self.view.highestmodseq = self._first_modseq = index.first_modseq
        self.siblings: Mapping[str, SimpleMailbox] = {}
        self.rights = _READING
        if type(self).remove is not SimpleMailbox.remove:
            # RFC 3502 section 6.3.11 wants all messages of an APPEND or none, so what was added must be removable.
            self.rights = _REMOVING if type(self).add is SimpleMailbox.add else _ADDING
        self._uids: dict[Hashable, int] = {}
        self._changing = self._again = False

    # -- what the program says -------------------------------------------------------------------------------------
    @abstractmethod
    def keys(self) -> Iterable[Any]:
        """What names the messages that are there now, in the order in which they shall have UIDs."""

    @abstractmethod
    def octets(self, key: Any) -> bytes | None:
        """A message as it goes over the wire, lines end with CRLF: always the same for a key. None when it is gone; this and the other
        methods that are asked about one may also raise ``LookupError`` or ``FileNotFoundError`` then."""

    @abstractmethod
    def date(self, key: Any) -> int | None:
        """When it came, seconds UTC. None when it is gone."""

    def size(self, key: Any) -> int:
        """How many octets it has, with CRLF; asked once, also by those who only list mailboxes. Write it where that can be told without
        reading the message."""
        return len(self.octets(key) or b"")

    def flags(self, key: Any) -> MessageFlags:
        """The flags of a message that was not there before in this run of the program; of names, ``MessageFlags.parse(names)`` makes them.
        Who writes it writes ``keep_flags``, too; flags are not in the index then."""
        return NO_FLAGS

    def keep_flags(self, key: Any, flags: MessageFlags) -> None:  # noqa: B027  # a program need not keep them
        """A client has changed its flags to these; ``flags.names`` are what ``MessageFlags.parse`` reads.

        :raises MailError: they cannot be kept; they stay as they were, and the client gets its text.
        """

    def remove(self, key: Any) -> None:
        """A client has expunged it, or moved it away. No error when it is gone already."""
        raise NotPermittedError(f"removing {key}")

    def add(self, octets: bytes, flags: MessageFlags, date: int) -> Any:
        """Keep a message that a client brings.

        :return: its key, a new one, that ``keys`` has from now on. With the key of a message that is there the client is refused, and that
            message stays.
        :raises MailError: when it cannot be kept; the client gets its text. Anything else ends the connection, as with all these methods.
        """
        raise NotPermittedError("adding")

    # -- what is made of it ----------------------------------------------------------------------------------------
    def refresh(self) -> None:
        """Look what came and went; who has the mailbox open is told. In the middle of a change that a client makes (``add`` or ``remove``
        may call this) it is done after that."""
        if self._changing:
            self._again = True
            return
        keys = dict.fromkeys(self.keys())
        self._forget([uid for key, uid in self._uids.items() if key not in keys])
        self._return(keys)
        new = {
            key: flags
            for key in keys
            if key not in self._uids and (flags := self._own_flags(key)) is not None
        }
        self._admit(list(new), list(new.values()))

    def _own_flags(self, key: Any) -> MessageFlags | None:
        """What the program says of a message; None when it is gone."""
        try:
            return self.flags(key)
        except _GONE:
            return None

    @contextmanager
    def _change(self) -> Iterator[None]:
        """A client's change, in the middle of which nobody looks what came and went."""
        self._changing = True
        try:
            yield
        finally:
            self._changing = False
        if self._again:
            self._again = False
            self.refresh()

    def _admit(self, keys: Sequence[Any], flags: Sequence[MessageFlags]) -> tuple[int, ...]:
        """Give new messages UIDs."""
        if not keys:
            return ()
        uids = tuple(range(self.view.uidnext, self.view.uidnext + len(keys)))
        if self._index is not None:
            self._index.add(zip(uids, keys, flags, strict=True))
        self._enter(uids, keys, flags)
        return uids

    def _return(self, keys: Mapping[Any, None]) -> None:
        """What is there since the last run of the program has its UIDs again."""
        if self._index is None or not self._left:
            return
        back: dict[Any, MessageFlags] = {}
        for key, (_, known) in self._left.items():
            flags = known if self._flags_in_index or key not in keys else self._own_flags(key)
            if flags is not None and key in keys:
                back[key] = flags
        self._index.remove([uid for key, (uid, _) in self._left.items() if key not in back])
        self._enter([self._left[key][0] for key in back], list(back), list(back.values()))
        self._left = {}

    @property
    def _flags_in_index(self) -> bool:
        return all(
            getattr(type(self), name) is getattr(SimpleMailbox, name) for name in ("flags", "keep_flags")
        )

    def _enter(self, uids: Sequence[int], keys: Sequence[Any], flags: Sequence[MessageFlags]) -> None:
        if not uids:
            return
        view = self.view
        view.messages.update((uid, _Message(key)) for uid, key in zip(uids, keys, strict=True))
        self._uids.update(zip(keys, uids, strict=True))
        view.uidnext, view.highestmodseq = max(view.uidnext, uids[-1] + 1), view.highestmodseq + 1
        view.uids = view.uids + array("I", uids)
        view.modseqs = view.modseqs + array("Q", [view.highestmodseq]) * len(keys)
        view.flags = [*view.flags, *flags]
        view.changed()

    def _forget(self, uids: Sequence[int]) -> tuple[int, ...]:
        """These are gone."""
        for uid in uids:
            del self._uids[self.view.messages[uid].key]
        gone = self.view.remove(uids, self.view.highestmodseq + 1)
        if gone and self._index is not None:
            self._index.remove(gone)
        return gone

    def take(self, messages: Iterable[tuple[bytes, MessageFlags, int]]) -> b.Appended:
        """Add messages, all or none: octets, flags and dates.

        :raises MailError: what ``add`` raises.
        """
        self._need("i")
        self.refresh()
        keys: dict[Any, MessageFlags] = {}
        with self._change():
            try:
                for octets, flags, date in messages:
                    key = self.add(octets, flags, date)
                    if key in keys or key in self._uids:
                        # MOVE would remove the message together with what it takes for its other copy.
                        raise _KeyTakenError(f"add gave {key!r} again")
                    keys[key] = flags
                return b.Appended(self.view.uidvalidity, self._admit(list(keys), list(keys.values())))
            except BaseException:
                for key in keys:
                    self.remove(key)
                raise

    def info(self, name: str) -> b.MailboxInfo:
        """As LIST and STATUS show it, under this name."""
        self.refresh()
        view = self.view
        sizes = [self._known_size(view.messages[uid]) for uid in view.uids]
        deleted = set(view.deleted(None))
        return b.MailboxInfo(
            name,
            view.uidvalidity,
            view.uidnext,
            view.highestmodseq,
            len(view.uids),
            sum(not flags.system & SEEN for flags in view.flags),
            len(deleted),
            sum(sizes),
            sum(size for uid, size in zip(view.uids, sizes, strict=True) if uid in deleted),
            self.special_use,
            self.objectid,
            self.rights,
        )

    def _size(self, message: _Message) -> int | None:
        """Its octets; None when it is gone."""
        if message.size is None:
            try:
                message.size = self.size(message.key)
            except _GONE:
                return None
        return message.size

    def _known_size(self, message: _Message) -> int:
        """Its octets; 0 when it is gone or cannot be read, for which the mailbox can be opened all the same."""
        try:
            return self._size(message) or 0
        except MailError:
            return 0

    def _date(self, key: Any) -> int | None:
        """When it came; None when it is gone."""
        try:
            return self.date(key)
        except _GONE:
            return None

    def _need(self, rights: str) -> None:
        if not self.rights.issuperset(rights):
            raise NotPermittedError(f"without the rights {rights}")

    # -- ISelectedMailbox ------------------------------------------------------------------------------------------
    def rows(self, uids: Sequence[int], columns: int) -> list[tuple[Any, ...]]:
        """See `ISelectedMailbox <moxtwisted.imap.backend.ISelectedMailbox>`."""
        wanted = [n for n in range(12) if columns & 1 << n]
        found = []
        for uid in uids:
            message = self.view.messages.get(uid)
            row = None if message is None else self._row(uid, message, rendered=bool(columns & ~_KNOWN))
            if row is not None:
                found.append((uid, *(row[n] for n in wanted)))
        return found

    def _row(self, uid: int, message: _Message, *, rendered: bool) -> tuple[Any, ...] | None:
        """All columns; None when it is gone."""
        date, size = self._date(message.key), self._size(message)
        if date is None or size is None:
            return None
        known = (size, date, date, uid, uid)
        if not rendered:
            return (*known, *[None] * 6, 0)
        r = message.rendered
        if r is None:
            octets = self._octets(uid)
            if octets is None:
                return None
            r = message.rendered = render(_scanned(octets), MemoryBody(octets, len(octets)).read)
        return (*known, r.envelope, r.bodystructure, r.fields, r.preview, r.parts, r.header_size, 0)

    def _octets(self, uid: int) -> bytes | None:
        message = self.view.messages.get(uid)
        try:
            return None if message is None else self.octets(message.key)
        except _GONE:
            return None

    def bodies(self, uids: Sequence[int], limit_octets: int) -> list[tuple[int, bytes]]:
        """See `ISelectedMailbox <moxtwisted.imap.backend.ISelectedMailbox>`."""
        found = []
        for uid in uids:
            octets = self._octets(uid)
            if octets is None:
                continue
            limit_octets -= len(octets)
            if limit_octets < 0:
                break
            found.append((uid, octets))
        return found

    def open_body(self, uid: int) -> MemoryBody | None:
        """See `ISelectedMailbox <moxtwisted.imap.backend.ISelectedMailbox>`."""
        octets = self._octets(uid)
        return None if octets is None else MemoryBody(octets, len(octets))

    async def search_text(self, term: b.MessageText, uids: Sequence[int]) -> set[int]:
        """See `ISelectedMailbox <moxtwisted.imap.backend.ISelectedMailbox>`: all messages are read."""
        needle = casemap(term.needle)
        found = set()
        for uid in uids:
            octets = self._octets(uid)
            if octets is not None and contains(octets, _scanned(octets), term.field, needle):
                found.add(uid)
        return found

    async def store(
        self,
        uids: Sequence[int],
        mode: Literal["add", "remove", "replace"],
        flags: MessageFlags,
        unchanged_since: int | None,
    ) -> b.Stored:
        """See `ISelectedMailbox <moxtwisted.imap.backend.ISelectedMailbox>`."""
        kept = kept_flags(flags, self.rights)
        # RFC 4314 section 4: flags that may not be changed stay as they are; NO only when nothing is left to do.
        if flags.names and not kept.names:
            raise NotPermittedError(f"STORE of {' '.join(flags.names)}")
        view = self.view
        before = view.flags
        done = _stored(view, self.rights, uids, mode, kept, unchanged_since)
        left = dict.fromkeys(done.changed)
        with self._change():
            try:
                if self._index is not None and self._flags_in_index:
                    self._index.set_flags({uid: view.flags[view.at(uid) or 0] for uid in left})
                for uid in done.changed:
                    # That of a message that went nobody has to keep.
                    with suppress(*_GONE):
                        self.keep_flags(view.messages[uid].key, view.flags[view.at(uid) or 0])
                    del left[uid]
            finally:
                self._unstore(tuple(left), before)
        return done

    def _unstore(self, uids: Sequence[int], before: Sequence[MessageFlags]) -> None:
        """The program could not keep the flags of these, which have those of before again."""
        if not uids:
            return
        view = self.view
        gone_back = set(uids)
        view.highestmodseq += 1
        view.flags = [
            old if uid in gone_back else new
            for uid, old, new in zip(view.uids, before, view.flags, strict=True)
        ]
        view.modseqs = array(
            "Q",
            [
                view.highestmodseq if uid in gone_back else modseq
                for uid, modseq in zip(view.uids, view.modseqs, strict=True)
            ],
        )
        view.changed(flagged=uids)

    async def expunge(self, uids: Sequence[int] | None) -> tuple[int, ...]:
        """See `ISelectedMailbox <moxtwisted.imap.backend.ISelectedMailbox>`."""
        return self._expunge(self.view.deleted(uids))

    def _expunge(self, uids: Sequence[int]) -> tuple[int, ...]:
        gone = []
        with self._change():
            try:
                for uid in uids:
                    message = self.view.messages.get(uid)
                    if message is not None:
                        self.remove(message.key)
                        gone.append(uid)
            finally:
                # Those before an error are gone, too.
                self._forget(gone)
        return tuple(gone)

    async def copy(self, uids: Sequence[int], target: str) -> b.Appended:
        """See `ISelectedMailbox <moxtwisted.imap.backend.ISelectedMailbox>`."""
        return self._copy(uids, target)

    def _copy(self, uids: Sequence[int], target: str) -> b.Appended:
        view, to = self.view, self.siblings.get(parse_mailbox_name(target))
        if to is None:
            raise MailboxMissingError(target)
        copied = []

        def messages() -> Iterator[tuple[bytes, MessageFlags, int]]:
            for uid in uids:
                octets, at = self._octets(uid), view.at(uid)
                if octets is None or at is None:
                    continue
                date = self._date(view.messages[uid].key)
                if date is not None:
                    copied.append(uid)
                    yield octets, view.flags[at], date

        made = to.take(messages())
        return b.Appended(made.uidvalidity, made.uids, tuple(copied))

    async def move(self, uids: Sequence[int], target: str) -> b.Appended:
        """See `ISelectedMailbox <moxtwisted.imap.backend.ISelectedMailbox>`."""
        self._need("te")
        done = self._copy(uids, target)
        self._expunge(done.source_uids)
        return done

    def expunged_since(self, modseq: int) -> tuple[Sequence[int], bool]:
        """See `ISelectedMailbox <moxtwisted.imap.backend.ISelectedMailbox>`."""
        gone = sorted(uid for at, uid in self.view.expunged if at > modseq)
        return gone, modseq >= self._first_modseq

    def close(self) -> None:  # noqa: B027  # nor need it be told of that
        """Nothing is held."""
