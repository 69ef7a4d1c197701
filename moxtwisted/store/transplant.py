"""Messages that go from one account to another, or change their flags on the way within one.

Between accounts a copy is a copy of the octets: each account keeps all of its own mail in its own database. They are gathered in
slices, in memory up to a megabyte and behind that in one sealed temporary file, and added in one commit::

    copied = await transplant(source, mailbox, uids, Destination(target, mailbox, kept))

A move is that commit, and after it the removal from the source in another. When the process dies between the two, the messages are
in both accounts; they are never in neither.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
from attrs import define, frozen
from twisted.internet.task import deferLater
from zope.interface import implementer

from moxtwisted.errors import LimitError, MailboxMissingError, OverQuotaError, StoreFullError
from moxtwisted.message.flags import SYSTEM_FLAGS, MessageFlags
from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.message.products import Rendered, render
from moxtwisted.store import messages
from moxtwisted.store.accounts import Account
from moxtwisted.store.bodies import encode, iterate
from moxtwisted.store.interfaces import Addition, Column, Copied, IStagedMessage, NewMessage
from moxtwisted.store.ledger import Ledger
from moxtwisted.store.room import Room
from moxtwisted.store.staging import MEMORY_OCTETS, SealedFile

__all__ = ["MAX_MESSAGES", "Destination", "Workplace", "copy_within", "transplant"]

#: Messages of one copy between accounts: they are one transaction there, which others that share its writer wait for.
MAX_MESSAGES: Final = 10_000
#: How long the gathering holds the reactor's thread, seconds.
_SLICE_SECONDS: Final = 0.01
_READ_OCTETS: Final = 262_144
_ROWS: Final = 1_000


@define(eq=False)
class _Spool:
    """Octets of many messages one after the other."""

    _directory: Path
    _entropy: Callable[[int], bytes]
    _memory: bytearray
    _file: SealedFile | None = None

    @property
    def size(self) -> int:
        return len(self._memory) if self._file is None else self._file.size

    def write(self, data: bytes) -> None:
        try:
            if self._file is None and len(self._memory) + len(data) <= MEMORY_OCTETS:
                self._memory += data
                return
            if self._file is None:
                self._file = SealedFile.make(self._directory, self._entropy)
                self._file.write(bytes(self._memory))
                self._memory = bytearray()
            self._file.write(data)
        except OSError as e:
            raise StoreFullError(f"copying between accounts: {e}") from e

    def read(self, offset: int, length: int) -> bytes:
        """Octets from the middle; for any thread, once all are written."""
        if self._file is None:
            return bytes(self._memory[offset : offset + length])
        return self._file.read(offset, length)

    def close(self) -> None:
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()


@implementer(IStagedMessage)
@define(eq=False)
class _Part:
    """One message in a spool."""

    _spool: _Spool
    _start: int
    size: int
    rendered: Rendered

    @property
    def scanned(self) -> ScannedMessage:
        """Scanned anew: nobody asks for it, and ten thousand of them would be large."""
        scanner = Scanner()
        for chunk in self.chunks():
            scanner.feed(chunk)
        return scanner.finish()

    def read(self, offset: int, length: int) -> bytes:
        return self._spool.read(self._start + offset, max(0, min(length, self.size - offset)))

    def chunks(self) -> Iterator[bytes]:
        return iterate(self.read, self.size)

    def packed(self) -> Iterable[tuple[int, bytes]]:
        return (encode(chunk) for chunk in self.chunks())

    def close(self) -> None:
        """The spool is closed as a whole."""


@frozen
class Destination:
    """Where messages go.

    :ivar kept: system flags that they keep, and whether they keep their keywords.
    """

    account: Account
    mailbox: int
    kept: tuple[int, bool]

    def flags(self, flags: MessageFlags) -> MessageFlags:
        """Those that stay."""
        system, keywords = self.kept
        return MessageFlags.of(flags.system & system, flags.keywords if keywords else ())


@frozen
class Workplace:
    """What gathering needs of the store.

    :ivar clock: has ``seconds()`` and ``callLater``.
    :ivar directory: for the temporary file.
    """

    clock: Any
    room: Room
    directory: Path
    entropy: Callable[[int], bytes]


async def transplant(
    source: Account, mailbox: int, uids: Sequence[int], to: Destination, place: Workplace
) -> Copied:
    """Copy messages into another account: all that are there, in one commit, or none.

    :raises LimitError: when there are too many.
    :raises OverQuotaError: , StoreFullError, MailboxMissingError.
    """
    target = to.account.mailbox_by_id(to.mailbox)
    if target is None:
        raise MailboxMissingError(f"mailbox {to.mailbox}")
    if len(uids) > MAX_MESSAGES:
        raise LimitError(
            f"{len(uids)} messages between accounts",
            public_text=f"between accounts at most {MAX_MESSAGES} messages go at once",
        )
    sizes = {
        uid: (size, internaldate)
        for start in range(0, len(uids), _ROWS)
        for uid, size, internaldate in source.rows(
            mailbox, uids[start : start + _ROWS], Column.SIZE | Column.INTERNALDATE
        )
    }
    octets = sum(size for size, _ in sizes.values())
    used, _, quota = to.account.usage()
    if quota is not None and used + octets > quota:
        raise OverQuotaError(f"{used} + {octets} of {quota} octets")
    if octets > MEMORY_OCTETS and not place.room.allows(3 * octets):
        # In the temporary file, in the log, and from there in the database.
        raise StoreFullError(f"no room for {octets} octets")
    spool = _Spool(place.directory, place.entropy, bytearray())
    try:
        parts = await _gather(source, mailbox, list(sizes), spool, place.clock)
        if not parts:
            return Copied(to.mailbox, target.uidvalidity, (), (), 0)
        state = source.state(mailbox)
        flags = dict(zip(state.uids, state.flags, strict=True))
        additions = [
            Addition(to.mailbox, NewMessage(part, b"", sizes[uid][1], to.flags(flags[uid])))
            for uid, part in parts.items()
            if uid in flags
        ]
        kept = tuple(uid for uid in parts if uid in flags)
        if not additions:
            return Copied(to.mailbox, target.uidvalidity, (), (), 0)
        added = await to.account.add(additions)
    finally:
        spool.close()
    return Copied(to.mailbox, added[0].uidvalidity, kept, tuple(a.uid for a in added), added[-1].modseq)


async def _gather(
    source: Account, mailbox: int, uids: Sequence[int], spool: _Spool, clock: Any
) -> dict[int, _Part]:
    """Read these messages; those that went meanwhile are left out."""
    parts: dict[int, _Part] = {}
    began = clock.seconds()
    for uid in uids:
        reader = source.open_body(mailbox, uid)
        if reader is None:
            continue
        try:
            scanner, start = Scanner(), spool.size
            for offset in range(0, reader.size, _READ_OCTETS):
                data = reader.read(offset, _READ_OCTETS)
                scanner.feed(data)
                spool.write(data)
                if clock.seconds() - began > _SLICE_SECONDS:
                    await deferLater(clock, 0)
                    began = clock.seconds()
        finally:
            reader.close()

        def read(offset: int, length: int, start: int = start) -> bytes:
            return spool.read(start + offset, length)

        parts[uid] = _Part(spool, start, spool.size - start, render(scanner.finish(), read))
    return parts


def copy_within(
    ledger: Ledger, mailbox: int, uids: Sequence[int], target: int, kept: tuple[int, bool], move: bool
) -> Copied:
    """A job: copy or move messages within the account, without the flags that are not to be kept.

    :param kept: as in ``Destination``.
    """
    copied = (messages.move if move else messages.copy)(ledger, mailbox, uids, target)
    system, keywords = kept
    lost: set[str] = set()
    if not copied.uids:
        return copied
    ledger.flush()
    if not keywords:
        for (names,) in ledger.connection.execute(
            "SELECT DISTINCT m.keywords FROM carray(?) k CROSS JOIN message m ON m.mailbox = ? AND m.uid = k.value",
            (apsw.carray(array("q", copied.uids)), target),
        ):
            lost.update(names.split())
    gone = MessageFlags.of(sum(SYSTEM_FLAGS) & ~system, lost)
    messages.store_flags(ledger, target, copied.uids, "remove", gone, None)
    return copied
