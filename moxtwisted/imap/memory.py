r"""Mail in memory, behind the interfaces of ``moxtwisted.imap.backend``: for tests, examples and small programs.

It keeps every rule that the real store keeps (UIDs, modseqs, expunge history, shared views), so that what works here
works there; nothing is on disk::

    mail = MemoryMail()
    mail.add("INBOX", b"Subject: hello\r\n\r\nworld\r\n")
    authenticator = MemoryAuthenticator({"alice": ("secret", mail)}, os.urandom)
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import LimitError, MailboxExistsError, MailboxMissingError, MailError, OverQuotaError
from moxtwisted.identifiers import INBOX, parse_mailbox_name
from moxtwisted.imap import backend as b
from moxtwisted.imap.memoryfuzzy import MemoryFuzzy
from moxtwisted.imap.memorymetadata import ANNOTATED, MemoryAnnotatedSession, MemoryAnnotations
from moxtwisted.imap.memorynotify import MemoryWatch, NotifyingSession, telling
from moxtwisted.imap.memoryreplace import ReplacingSession
from moxtwisted.message.casemap import casemap
from moxtwisted.message.flags import DELETED, NO_FLAGS, SEEN, MessageFlags
from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.message.products import Rendered, render
from moxtwisted.message.text import body_text, header_text
from moxtwisted.sasl.memory import MemoryUsers
from moxtwisted.sasl.scram import SCRAM_MECHANISMS

__all__ = ["MemoryAuthenticator", "MemoryBody", "MemoryMail", "MemoryMailbox", "MemorySink", "contains"]


_MODES: Final[dict[str, Callable[[MessageFlags, MessageFlags], MessageFlags]]] = {
    "add": MessageFlags.adding,
    "remove": MessageFlags.removing,
    "replace": lambda old, new: new,
}


@define(eq=False)
class _Message:
    octets: bytes
    internaldate: int
    savedate: int
    number: int
    rendered: Rendered
    scanned: ScannedMessage


def _row(message: _Message) -> tuple[Any, ...]:
    r = message.rendered
    return (
        r.size,
        message.internaldate,
        message.savedate,
        message.number,
        message.number,
        r.envelope,
        r.bodystructure,
        r.fields,
        r.preview,
        r.parts,
        r.header_size,
        0,
    )


@implementer(b.IMailboxView)
@define(eq=False)
class MemoryMailbox:
    """One mailbox: its live state, and its messages by UID."""

    name: str
    uidvalidity: int
    objectid: str
    special_use: tuple[str, ...] = ()
    uidnext: int = 1
    highestmodseq: int = 1
    exists: bool = True
    version: int = 0
    uids: array[int] = field(factory=lambda: array("I"))
    modseqs: array[int] = field(factory=lambda: array("Q"))
    flags: list[MessageFlags] = field(factory=list)
    messages: dict[int, Any] = field(factory=dict)
    expunged: list[tuple[int, int]] = field(factory=list)
    _log: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = field(factory=list)
    _listeners: list[Callable[[], None]] = field(factory=list)
    log_limit: int = 1000

    def changes_since(self, version: int) -> tuple[Sequence[int], Sequence[int]] | None:
        """See `IMailboxView <moxtwisted.imap.backend.IMailboxView>`."""
        if version < self.version - len(self._log):
            return None
        gone: set[int] = set()
        flagged: set[int] = set()
        for at, expunged, changed in self._log:
            if at > version:
                gone.update(expunged)
                flagged.update(changed)
        return sorted(gone), sorted(flagged - gone)

    def listen(self, callback: Callable[[], None]) -> None:
        """See `IMailboxView <moxtwisted.imap.backend.IMailboxView>`."""
        self._listeners.append(callback)

    def unlisten(self, callback: Callable[[], None]) -> None:
        """See `IMailboxView <moxtwisted.imap.backend.IMailboxView>`."""
        if callback in self._listeners:
            self._listeners.remove(callback)

    def at(self, uid: int) -> int | None:
        """The position of a UID."""
        i = bisect_left(self.uids, uid)
        return i if i < len(self.uids) and self.uids[i] == uid else None

    def changed(self, expunged: Sequence[int] = (), flagged: Sequence[int] = ()) -> None:
        """Something happened: the version grows and everybody who listens hears of it."""
        self.version += 1
        self._log.append((self.version, tuple(expunged), tuple(flagged)))
        del self._log[: -self.log_limit]
        for callback in list(self._listeners):
            callback()

    def add(self, message: _Message, flags: MessageFlags, modseq: int) -> int:
        """Give a message the next UID."""
        uid = self.uidnext
        self.uidnext += 1
        self.messages[uid] = message
        self.uids = self.uids + array("I", [uid])
        self.modseqs = self.modseqs + array("Q", [modseq])
        self.flags = [*self.flags, flags]
        self.highestmodseq = modseq
        return uid

    def remove(self, uids: Sequence[int], modseq: int) -> tuple[int, ...]:
        """Take messages out."""
        gone = tuple(uid for uid in uids if uid in self.messages)
        if gone:
            lost = set(gone)
            kept = [i for i, uid in enumerate(self.uids) if uid not in lost]
            self.uids = array("I", [self.uids[i] for i in kept])
            self.modseqs = array("Q", [self.modseqs[i] for i in kept])
            self.flags = [self.flags[i] for i in kept]
            for uid in gone:
                del self.messages[uid]
                self.expunged.append((modseq, uid))
            self.highestmodseq = modseq
            self.changed(expunged=gone)
        return gone

    def store(
        self,
        uids: Sequence[int],
        mode: Literal["add", "remove", "replace"],
        flags: MessageFlags,
        unchanged_since: int | None,
        modseq: int,
    ) -> b.Stored:
        """Change flags; see `ISelectedMailbox <moxtwisted.imap.backend.ISelectedMailbox>`. ``modseq`` is what a change gets."""
        changed, refused = [], []
        all_flags, modseqs = list(self.flags), array("Q", self.modseqs)
        for uid in uids:
            at = self.at(uid)
            if at is None:
                continue
            if unchanged_since is not None and modseqs[at] > unchanged_since:
                refused.append(uid)
                continue
            old = all_flags[at]
            new = _MODES[mode](old, flags)
            if new is not old:
                all_flags[at], modseqs[at] = new, modseq
                changed.append(uid)
        if changed:
            self.flags, self.modseqs, self.highestmodseq = all_flags, modseqs, modseq
            self.changed(flagged=changed)
        return b.Stored(tuple(changed), tuple(refused), modseq if changed else 0)

    def deleted(self, uids: Sequence[int] | None) -> list[int]:
        r"""Those with \Deleted, of these or (None) of all."""
        wanted = None if uids is None else set(uids)
        return [
            uid
            for uid, f in zip(self.uids, self.flags, strict=True)
            if f.system & DELETED and (wanted is None or uid in wanted)
        ]

    def info(self) -> b.MailboxInfo:
        """As LIST and STATUS show it."""
        sizes = [len(self.messages[uid].octets) for uid in self.uids]
        return b.MailboxInfo(
            self.name,
            self.uidvalidity,
            self.uidnext,
            self.highestmodseq,
            len(self.uids),
            sum(not f.system & SEEN for f in self.flags),
            sum(bool(f.system & DELETED) for f in self.flags),
            sum(sizes),
            sum(s for s, f in zip(sizes, self.flags, strict=True) if f.system & DELETED),
            self.special_use,
            self.objectid,
        )


@implementer(b.IMessageBody)
@define(eq=False)
class MemoryBody:
    """Octets at hand."""

    _octets: bytes
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """See `IMessageBody <moxtwisted.imap.backend.IMessageBody>`."""
        return self._octets[offset : offset + length]

    def close(self) -> None:
        """Nothing is held."""


@implementer(b.ISelectedMailbox)
@define(eq=False)
class _Selected(MemoryFuzzy):
    """One session in one mailbox."""

    _mail: MemoryMail
    view: MemoryMailbox

    @property
    def objectid(self) -> str:
        return self.view.objectid

    def _check(self) -> None:
        if not self.view.exists:
            raise MailboxMissingError(self.view.name)

    def rows(self, uids: Sequence[int], columns: int) -> list[tuple[Any, ...]]:
        wanted = [n for n in range(12) if columns & 1 << n]
        found = []
        for uid in uids:
            message = self.view.messages.get(uid)
            if message is not None:
                row = _row(message)
                found.append((uid, *(row[n] for n in wanted)))
        return found

    def bodies(self, uids: Sequence[int], limit_octets: int) -> list[tuple[int, bytes]]:
        found = []
        for uid in uids:
            message = self.view.messages.get(uid)
            if message is None:
                continue
            limit_octets -= len(message.octets)
            if limit_octets < 0:
                break
            found.append((uid, message.octets))
        return found

    def open_body(self, uid: int) -> MemoryBody | None:
        message = self.view.messages.get(uid)
        return None if message is None else MemoryBody(message.octets, len(message.octets))

    async def search_text(self, term: b.MessageText, uids: Sequence[int]) -> set[int]:
        needle = casemap(term.needle)
        return {
            uid
            for uid in uids
            if (message := self.view.messages.get(uid)) is not None
            and contains(message.octets, message.scanned, term.field, needle)
        }

    async def store(
        self,
        uids: Sequence[int],
        mode: Literal["add", "remove", "replace"],
        flags: MessageFlags,
        unchanged_since: int | None,
    ) -> b.Stored:
        self._check()
        done = self.view.store(uids, mode, flags, unchanged_since, self._mail.modseq + 1)
        self._mail.modseq = max(self._mail.modseq, done.modseq)
        return done

    async def expunge(self, uids: Sequence[int] | None) -> tuple[int, ...]:
        self._check()
        gone = self.view.deleted(uids)
        return self.view.remove(gone, self._mail.next_modseq()) if gone else ()

    async def copy(self, uids: Sequence[int], target: str) -> b.Appended:
        self._check()
        sizes = [len(self.view.messages[uid].octets) for uid in uids if uid in self.view.messages]
        self._mail.check_room(sum(sizes), len(sizes))
        return self._copy(uids, target)

    def _copy(self, uids: Sequence[int], target: str) -> b.Appended:
        to, view = self._mail.find(target), self.view
        source = [uid for uid in uids if uid in view.messages]
        modseq = self._mail.next_modseq()
        made = []
        for uid in source:
            flags = view.flags[view.at(uid) or 0]
            made.append(to.add(view.messages[uid], flags, modseq))
        if made:
            to.changed()
        return b.Appended(to.uidvalidity, tuple(made), tuple(source))

    async def move(self, uids: Sequence[int], target: str) -> b.Appended:
        self._check()
        done = self._copy(uids, target)
        self.view.remove(done.source_uids, self._mail.next_modseq())
        return done

    def expunged_since(self, modseq: int) -> tuple[Sequence[int], bool]:
        return sorted(uid for at, uid in self.view.expunged if at > modseq), True

    def close(self) -> None:
        """Nothing is held."""


def contains(octets: bytes, scanned: ScannedMessage, field_name: str, needle: str) -> bool:
    """Whether a message's decoded text has the needle, which `casemap` made.

    :param field_name: as in `MessageText <moxtwisted.imap.backend.MessageText>`.
    """

    def read(offset: int, length: int) -> bytes:
        return octets[offset : offset + length]

    if field_name in {"text", "header"} and needle in casemap(header_text(scanned.header)):
        return True
    if field_name in {"text", "body"}:
        return any(needle in casemap(text) for text in body_text(scanned, read))
    if field_name == "header":
        return False
    name = field_name.encode("utf-8")
    return name in scanned.header.values and needle in casemap(header_text(scanned.header, frozenset([name])))


@implementer(b.IAppendSink)
@define(eq=False)
class MemorySink:
    """Keeps what comes: ``parts``."""

    parts: list[bytes] = field(factory=list)

    def write(self, data: bytes) -> None:
        """See `IAppendSink <moxtwisted.imap.backend.IAppendSink>`."""
        self.parts.append(data)

    def abort(self) -> None:
        """See `IAppendSink <moxtwisted.imap.backend.IAppendSink>`."""
        self.parts.clear()


@define(eq=False)
class MemoryMail:
    """One user's mail; ``session`` gives what an authenticator hands out.

    :ivar seconds: the clock, seconds since 1970.
    """

    seconds: Callable[[], float] = field(default=lambda: 0.0)
    append_limit: int = 100 * 1024 * 1024
    disabled_capabilities: frozenset[str] = frozenset()
    modseq: int = 1
    _boxes: dict[str, MemoryMailbox] = field(factory=dict)
    _subscribed: set[str] = field(factory=set)
    _uidvalidity: int = 0
    _messages: int = 0
    sessions: int = 0
    annotations: MemoryAnnotations = field(factory=MemoryAnnotations)
    watch: MemoryWatch = field(factory=MemoryWatch)

    def __attrs_post_init__(self) -> None:
        self.make(INBOX)

    def next_modseq(self) -> int:
        """One more for a change."""
        self.modseq = self.watch.told(self.modseq + 1)
        return self.modseq

    def make(self, name: str, special_use: Sequence[str] = ()) -> MemoryMailbox:
        """Make a mailbox, and its missing parents."""
        name = parse_mailbox_name(name)
        if name in self._boxes:
            raise MailboxExistsError(name)
        parent = name.rpartition("/")[0]
        if parent and parent not in self._boxes:
            self.make(parent)
        self._uidvalidity += 1
        box = MemoryMailbox(
            name,
            self._uidvalidity,
            f"F{self._uidvalidity}",
            tuple(special_use),
            highestmodseq=self.modseq,
        )
        self._boxes[name] = box
        self._subscribed.add(name)
        return box

    def find(self, name: str) -> MemoryMailbox:
        """A mailbox. :raises MailboxMissingError:"""
        box = self._boxes.get(parse_mailbox_name(name))
        if box is None:
            raise MailboxMissingError(name)
        return box

    def add(
        self, mailbox: str, octets: bytes, flags: MessageFlags = NO_FLAGS, internaldate: int | None = None
    ) -> int:
        """Deliver a message. :return: its UID."""
        box = self.find(mailbox)
        uid = self._put(box, octets, flags, internaldate, self.next_modseq())
        box.changed()
        return uid

    def _put(
        self, box: MemoryMailbox, octets: bytes, flags: MessageFlags, internaldate: int | None, modseq: int
    ) -> int:
        scanner = Scanner()
        scanner.feed(octets)
        scanned = scanner.finish()
        rendered = render(scanned, lambda offset, length: octets[offset : offset + length])
        now = int(self.seconds())
        self._messages += 1
        date = now if internaldate is None else internaldate
        return box.add(_Message(octets, date, now, self._messages, rendered, scanned), flags, modseq)

    def session(self, account: str = "memory") -> _Session:
        """An `ISession <moxtwisted.imap.backend.ISession>`."""
        self.sessions += 1
        return _Session(self, account)

    def check_room(self, octets: int, messages: int) -> None:
        """Whether that much more may be saved. :raises OverQuotaError:"""
        most_octets, most_messages = self.annotations.limits
        infos = self.infos()
        if most_octets is not None and sum(i.size for i in infos) + octets > most_octets:
            raise OverQuotaError(f"{octets} octets more")
        if most_messages is not None and sum(i.messages for i in infos) + messages > most_messages:
            raise OverQuotaError(f"{messages} messages more")

    # -- what a session does -----------------------------------------------------------------------------------
    def infos(self) -> list[b.MailboxInfo]:
        """All mailboxes, by name."""
        return [self._boxes[name].info() for name in sorted(self._boxes)]

    def subscribed(self) -> set[str]:
        """Names, which may be changed."""
        return self._subscribed

    def append(self, mailbox: str, messages: Sequence[b.Incoming]) -> b.Appended:
        """All or none."""
        box = self.find(mailbox)
        modseq = self.next_modseq()
        uids = tuple(
            self._put(box, b"".join(m.sink.parts), m.flags, m.internaldate, modseq) for m in messages
        )
        box.changed()
        return b.Appended(box.uidvalidity, uids)

    def remove(self, name: str) -> None:
        """A mailbox with its messages."""
        box = self.find(name)
        if box.name == INBOX:
            raise _RefusedError("INBOX stays", "CANNOT")
        if any(other.startswith(box.name + "/") for other in self._boxes):
            raise _RefusedError("there are mailboxes below", "HASCHILDREN")
        del self._boxes[box.name]
        box.exists = False
        box.remove(list(box.uids), self.next_modseq())
        box.changed()

    def rename(self, old: str, new: str) -> None:
        """With all below; INBOX loses its messages to a new mailbox (RFC 9051 section 6.3.6)."""
        box, new = self.find(old), parse_mailbox_name(new)
        if new in self._boxes:
            raise MailboxExistsError(new)
        if box.name == INBOX:
            to = self.make(new)
            modseq = self.next_modseq()
            for uid, flags in zip(box.uids, box.flags, strict=True):
                to.add(box.messages[uid], flags, modseq)
            box.remove(list(box.uids), self.next_modseq())
            to.changed()
            return
        if new.startswith(box.name + "/"):
            raise _RefusedError("a mailbox cannot be put below itself", "CANNOT")
        parent = new.rpartition("/")[0]
        if parent and parent not in self._boxes:
            self.make(parent)
        for name in [n for n in self._boxes if n == box.name or n.startswith(box.name + "/")]:
            moved = self._boxes.pop(name)
            moved.name = new + name[len(old) :]
            self._boxes[moved.name] = moved
        self._subscribed.add(new)


class _RefusedError(MailError):
    def __init__(self, text: str, code: str) -> None:
        super().__init__(text, public_text=text)
        self.imap_code = code


@telling
@implementer(b.ISession)
@define(eq=False)
class _Session(NotifyingSession, ReplacingSession, MemoryAnnotatedSession):
    _mail: MemoryMail
    account: str

    @property
    def disabled_capabilities(self) -> frozenset[str]:
        return self._mail.disabled_capabilities

    @property
    def append_limit(self) -> int:
        return self._mail.append_limit

    def mailboxes(self) -> Sequence[b.MailboxInfo]:
        return self._mail.infos()

    def mailbox(self, name: str) -> b.MailboxInfo | None:
        try:
            return self._mail.find(name).info()
        except MailboxMissingError:
            return None

    def subscriptions(self) -> frozenset[str]:
        return frozenset(self._mail.subscribed())

    def select(self, name: str, *, read_only: bool) -> _Selected:
        return _Selected(self._mail, self._mail.find(name))

    async def create(self, name: str, special_use: Sequence[str]) -> b.MailboxInfo:
        return self._mail.make(name, special_use).info()

    async def delete(self, name: str) -> None:
        self._mail.remove(name)

    async def rename(self, old: str, new: str) -> None:
        self._mail.rename(old, new)

    async def subscribe(self, name: str) -> None:
        self._mail.subscribed().add(name)

    async def unsubscribe(self, name: str) -> None:
        self._mail.subscribed().discard(name)

    def append_sink(self, mailbox: str, size_octets: int) -> MemorySink:
        sink = self._sink(mailbox, size_octets)
        self._mail.check_room(size_octets, 1)
        return sink

    def _sink(self, mailbox: str, size_octets: int) -> MemorySink:
        self._mail.find(mailbox)
        if size_octets > self._mail.append_limit:
            error = LimitError(mailbox, public_text="message is too large")
            error.imap_code = "TOOBIG"
            raise error
        return MemorySink()

    async def append(self, mailbox: str, messages: Sequence[b.Incoming]) -> b.Appended:
        self._mail.check_room(sum(len(part) for m in messages for part in m.sink.parts), len(messages))
        return self._mail.append(mailbox, messages)

    def logout(self) -> None:
        self._mail.sessions -= 1


@implementer(b.IAuthenticator)
class MemoryAuthenticator(MemoryUsers):
    """Users with their passwords and mail, in memory.

    :param users: (password, mail) by user name.
    :param entropy: ``entropy(n)`` gives n random octets, as ``os.urandom``.
    :param mechanisms: SASL mechanisms on offer.
    """

    extensions: frozenset[str] = frozenset({"REPLACE", "NOTIFY", "SEARCH=FUZZY"}) | ANNOTATED

    def __init__(
        self,
        users: Mapping[str, tuple[str, MemoryMail]],
        entropy: Callable[[int], bytes],
        mechanisms: Sequence[str] = (*SCRAM_MECHANISMS, "PLAIN"),
    ) -> None:
        super().__init__({name: password for name, (password, _) in users.items()}, entropy, mechanisms)
        self._users = dict(users)

    def session(self, identity: str, peer: Any) -> _Session:
        """See `IAuthenticator <moxtwisted.imap.backend.IAuthenticator>`."""
        return self._users[identity][1].session(identity)
