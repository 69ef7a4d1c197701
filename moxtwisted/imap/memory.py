r"""Mail in memory, behind the interfaces of ``moxtwisted.imap.backend``: for tests, examples and small programs.

It keeps every rule that the real store keeps (UIDs, modseqs, expunge history, shared views), so that what works here
works there; nothing is on disk::

    mail = MemoryMail()
    mail.add("INBOX", b"Subject: hello\r\n\r\nworld\r\n")
    authenticator = MemoryAuthenticator({"alice": ("secret", mail)}, os.urandom)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import LimitError, MailboxExistsError, MailboxMissingError, MailError, OverQuotaError
from moxtwisted.identifiers import INBOX, parse_mailbox_name
from moxtwisted.imap import backend as b
from moxtwisted.imap.memoryfuzzy import MemoryFuzzy
from moxtwisted.imap.memorymailbox import MemoryBody, MemoryMailbox, MemorySink, contains
from moxtwisted.imap.memorymetadata import ANNOTATED, MemoryAnnotatedSession, MemoryAnnotations
from moxtwisted.imap.memorynotify import MemoryWatch, NotifyingSession, telling
from moxtwisted.imap.memoryreplace import ReplacingSession
from moxtwisted.message.casemap import casemap
from moxtwisted.message.flags import NO_FLAGS, MessageFlags
from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.message.products import Rendered, render
from moxtwisted.sasl.memory import MemoryUsers
from moxtwisted.sasl.scram import SCRAM_MECHANISMS

__all__ = ["MemoryAuthenticator", "MemoryMail", "MemoryMailbox"]


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
        self.watch.name("created", name)
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
        self.watch.name("removed", box.name)
        self.annotations.values.pop(box.objectid, None)
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
            self.annotations.copy(box.objectid, to.objectid)
            return
        if new.startswith(box.name + "/"):
            raise _RefusedError("a mailbox cannot be put below itself", "CANNOT")
        parent = new.rpartition("/")[0]
        if parent and parent not in self._boxes:
            self.make(parent)
        old = box.name
        for name in sorted(n for n in self._boxes if n == old or n.startswith(old + "/")):
            moved = self._boxes.pop(name)
            moved.name = new + name[len(old) :]
            self._boxes[moved.name] = moved
            self.watch.name("renamed", moved.name, name)
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
