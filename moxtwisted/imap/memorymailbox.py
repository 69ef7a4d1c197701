"""One mailbox in memory: what changes in it, and how messages come in and are read; see ``moxtwisted.imap.memory``."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from attrs import define, field
from zope.interface import implementer

from moxtwisted.imap import backend as b
from moxtwisted.message.casemap import casemap
from moxtwisted.message.flags import DELETED, SEEN, MessageFlags
from moxtwisted.message.mime import ScannedMessage
from moxtwisted.message.text import body_text, header_text

__all__ = ["MemoryBody", "MemoryMailbox", "MemorySink", "contains"]

_MODES: Final[dict[str, Callable[[MessageFlags, MessageFlags], MessageFlags]]] = {
    "add": MessageFlags.adding,
    "remove": MessageFlags.removing,
    "replace": lambda old, new: new,
}


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

    def add(self, message: Any, flags: MessageFlags, modseq: int) -> int:
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


def contains(octets: bytes, scanned: ScannedMessage, field_name: str, needle: str) -> bool:
    """Whether a message's decoded text has the needle, which `casemap` made.

    :param field_name: as in `MessageText <moxtwisted.imap.backend.MessageText>`.
    """

    def read(offset: int, length: int) -> bytes:
        return octets[offset : offset + length]

    if field_name in {"text", "header"} and needle in casemap(header_text(scanned.header)):
        return True
    if field_name in {"text", "body"}:
        # RFC 9051 section 6.4.4: the empty string is in everything, also where there is no text.
        return not needle or any(needle in casemap(text) for text in body_text(scanned, read))
    if field_name == "header":
        return False
    name = field_name.encode("utf-8")
    return name in scanned.header.values and needle in casemap(header_text(scanned.header, frozenset([name])))
