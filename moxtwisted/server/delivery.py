"""Putting one message into the accounts that it is for: one commit per account, all at the same time.

::

    outcome = await LocalDelivery(store).deliver(staged, copies, prefix, now)
    outcome["alice"] is None            # safe on disk
    outcome["bob"].reply_code == 452    # a MailError: nothing of it is in bob's account

When some accounts took the message and others could not, the sender is told to try again for all. So that those who have it
get no second copy, a note is kept in each of their databases: a digest of the whole attempt (the octets as the client sent
them, the sender, all recipients). The very same attempt takes the note away (on disk) and leaves that account out; whatever
differs in anything is another message. The same holds when some recipients' judges refuse the message and others do not
(``moxtwisted.server.inbound.outcome``). So a message is never answered 250 without being stored; what goes wrong with the
notes, such as a crash between the message's commit and the note's, makes a second copy at most.
"""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from moxtwisted.errors import MailError, OverQuotaError, StoreUnavailableError
from moxtwisted.message.flags import NO_FLAGS, MessageFlags
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
from moxtwisted.store.interfaces import Addition, IStagedMessage, IStaging, IStore, NewMessage, Sender

__all__ = ["Attempt", "Copy", "LocalDelivery"]

_log = Logger()

#: Notes that one account keeps; the oldest go.
_NOTES: Final = 500
# RFC 5321 section 4.5.4.1: senders give up after 4 to 5 days.
_NOTE_SECONDS: Final = 6 * 86400
#: Under this name, out of the reach of IMAP.
_NOTES_NAME: Final = "partly-delivered"
_NOTE: Final = struct.Struct(">Q32s")  # when, seconds since 1970; digest of the attempt


@frozen
class Copy:
    """One copy of the message: into a mailbox of an account, with these header fields before it (each ends with CRLF).

    :ivar flags: it gets.
    :ivar sender: what is remembered of where it came from; None: nothing.
    :ivar altered: its octets, when they are not those that came.
    """

    account: str
    mailbox: str
    prefix: bytes
    flags: MessageFlags = NO_FLAGS
    sender: Sender | None = None
    altered: IStagedMessage | None = None


@frozen
class Attempt:
    """What makes two transactions the same one, tried again.

    :ivar sender: the reverse-path as on the wire.
    :ivar recipients: all forward-paths that were accepted, as on the wire.
    :ivar digest: SHA-256 of the octets as the client sent them; None: the staged octets are those.
    :ivar split: whether it is not all of the recipients that come this time.
    """

    sender: bytes
    recipients: frozenset[bytes]
    digest: bytes | None = None
    split: bool = False

    def key(self, staged: IStagedMessage) -> bytes:
        """32 octets; reads the whole message when there is no digest of it yet."""
        parts = hashlib.sha256()
        for part in (self.digest or _digest(staged), self.sender, *sorted(self.recipients)):
            parts.update(len(part).to_bytes(4, "big") + part)
        return parts.digest()


@define(eq=False)
class LocalDelivery:
    """Delivers to accounts of the store, and has it done for those that are with a keeper."""

    _store: IStore
    _seconds: Callable[[], float] = time.time
    places: IPlaces = field(factory=AllHere)
    #: (account, octets): makes room in an account over its quota; says whether it did.
    make_room: Callable[[str, int], Awaitable[bool]] | None = field(default=None, init=False)
    # Notes are read, changed and written back: one at a time.
    _notes_lock: DeferredLock = field(factory=DeferredLock, init=False)

    async def deliver(
        self,
        staged: IStagedMessage,
        copies: Sequence[Copy],
        internaldate: int,
        *,
        attempt: Attempt | None = None,
        incomplete: bool = False,
    ) -> Mapping[str, MailError | None]:
        """Add the copies, one commit per account.

        :param internaldate: seconds since 1970, UTC.
        :param attempt: when the sender gets one answer for all and so tries again for all; None in LMTP, where each has
            its own.
        :param incomplete: the sender will be told to try again even if all of these succeed: there are recipients without a copy.
        :returns: by account, None or why it has nothing of it.
        """
        if len(copies) == 1 and attempt is None:
            return {copies[0].account: await self._add(copies[0].account, copies, staged, internaldate)}
        by_account: dict[str, list[Copy]] = {}
        for copy in copies:
            by_account.setdefault(copy.account, []).append(copy)
        if len(by_account) < 2 and not (incomplete or (attempt is not None and attempt.split)):
            attempt = None  # one commit: all or nothing
        outcome: dict[str, MailError | None] = {}
        if attempt is not None:
            outcome.update(await self._take_notes(by_account, attempt, staged))
        adding = [
            (account, self._add(account, mine, staged, internaldate))
            for account, mine in by_account.items()
            if account not in outcome
        ]
        if len(adding) == 1:
            outcome[adding[0][0]] = await adding[0][1]
        else:
            pending = [(account, Deferred.fromCoroutine(work)) for account, work in adding]
            for account, deferred in pending:
                outcome[account] = await deferred
        if attempt is not None:
            have = [account for account, error in outcome.items() if error is None]
            if have and (incomplete or len(have) < len(outcome)):
                await self._leave_notes(have, attempt.key(staged))
        return outcome

    def stage(self, size_hint: int) -> IStaging:
        """A place for other octets of a message."""
        staging: IStaging = self._store.stage(size_hint)
        return staging

    async def noted(self, names: Iterable[str], attempt: Attempt, staged: IStagedMessage) -> frozenset[str]:
        """Those accounts that have the message from an earlier attempt; their notes stay."""
        notes = {name: found for name in names if (found := await self._notes(name))}
        if not notes:
            return frozenset()
        key = attempt.key(staged)
        return frozenset(name for name, found in notes.items() if any(known == key for _, known in found))

    def _add(
        self, name: str, copies: Sequence[Copy], staged: IStagedMessage, internaldate: int
    ) -> Coroutine[Deferred[Any], Any, MailError | None]:
        where = self._add_away if self.places.is_away(name) else self.add
        return where(name, copies, staged, internaldate)

    async def _add_away(
        self, name: str, copies: Sequence[Copy], staged: IStagedMessage, internaldate: int
    ) -> MailError | None:
        try:
            error: MailError | None = await self.places.ask(
                name, "deliver", tuple(copies), staged, internaldate
            )
        except MailError as e:
            return _failed(name, e)
        except Exception:  # noqa: BLE001  a boundary, as in adding here
            _log.failure("delivery to {account} failed", account=name)
            return StoreUnavailableError(f"delivery to {name} failed")
        return error

    # -- in the process that has the account ----------------------------------------------------------------------

    async def add(
        self, name: str, copies: Sequence[Copy], staged: IStagedMessage, internaldate: int
    ) -> MailError | None:
        """Add the copies to an account that is here: None, or why it has nothing of it."""
        additions = [
            Addition(c.mailbox, NewMessage(c.altered or staged, c.prefix, internaldate, c.flags, c.sender))
            for c in copies
        ]
        try:
            account = self._store.account(name)
            try:
                await account.add(additions)
            except OverQuotaError:
                wanted = sum((c.altered or staged).size + len(c.prefix) for c in copies)
                if self.make_room is None or not await self.make_room(name, wanted):
                    raise
                await account.add(additions)
        except MailError as e:
            return _failed(name, e)
        except Exception:  # noqa: BLE001  a boundary: one account's trouble must not take the others' answer away
            _log.failure("delivery to {account} failed", account=name)
            return StoreUnavailableError(f"delivery to {name} failed")
        return None

    def notes(self, name: str) -> list[tuple[int, bytes]]:
        """The notes of an account that is here, those that still count; none when it cannot be read: adding to it will fail as well."""
        try:
            octets = self._store.account(name).secret(_NOTES_NAME)
        except Exception:  # noqa: BLE001  a boundary: whatever is wrong there, the others get their mail
            return []
        if not octets or len(octets) % _NOTE.size:
            return []
        oldest = self._seconds() - _NOTE_SECONDS
        return [(at, key) for at, key in _NOTE.iter_unpack(octets) if at >= oldest]

    async def write_notes(self, name: str, notes: Sequence[tuple[int, bytes]]) -> MailError | None:
        """Replace the notes of an account that is here: None, or why they are as they were."""
        octets = b"".join([_NOTE.pack(*note) for note in notes[-_NOTES:]])
        try:
            await self._store.account(name).set_secret(_NOTES_NAME, octets or None)
        except Exception as e:  # noqa: BLE001  a boundary, as in adding
            return _not_noted(name, e)
        return None

    # -- notes ---------------------------------------------------------------------------------------------------

    async def _take_notes(
        self, names: Iterable[str], attempt: Attempt, staged: IStagedMessage
    ) -> dict[str, MailError | None]:
        """The accounts that have the message from an earlier attempt; their notes are gone from the disk, or else they are
        not to be asked now."""
        noted = [name for name in names if await self._notes(name)]
        if not noted:
            return {}
        key = attempt.key(staged)
        outcome: dict[str, MailError | None] = {}
        await self._notes_lock.acquire()
        try:
            for name in noted:
                notes = await self._notes(name)
                place = next((i for i, (_, known) in enumerate(notes) if known == key), None)
                if place is not None:
                    del notes[place]
                    # If it stayed there, a later message with the same octets might be taken for this one.
                    outcome[name] = await self._write_notes(name, notes)
        finally:
            self._notes_lock.release()
        return outcome

    async def _leave_notes(self, names: Iterable[str], key: bytes) -> None:
        await self._notes_lock.acquire()
        try:
            for name in names:
                await self._write_notes(name, [*await self._notes(name), (int(self._seconds()), key)])
        finally:
            self._notes_lock.release()

    async def _notes(self, name: str) -> list[tuple[int, bytes]]:
        if not self.places.is_away(name):
            return self.notes(name)
        try:
            notes: list[tuple[int, bytes]] = await self.places.ask(name, "notes")
        except Exception:  # noqa: BLE001  a boundary, as in reading them here
            return []
        return notes

    async def _write_notes(self, name: str, notes: Sequence[tuple[int, bytes]]) -> MailError | None:
        if not self.places.is_away(name):
            return await self.write_notes(name, notes)
        try:
            error: MailError | None = await self.places.ask(name, "write_notes", list(notes))
        except Exception as e:  # noqa: BLE001  a boundary, as in writing them here
            return _not_noted(name, e)
        return error


def _failed(name: str, error: MailError) -> MailError:
    """What is answered to who delivers."""
    detail = error.detail or error.public_text
    _log.warn("delivery to {account} failed: {error}", account=name, error=detail)
    # A name that no mailbox can have, or too many of them: nothing that the sender could do anything about for good.
    return error if error.temporary else StoreUnavailableError(f"delivery to {name}: {detail}")


def _not_noted(name: str, error: Exception) -> MailError:
    _log.failure("notes about a message that only some have could not be kept for {account}", account=name)
    return error if isinstance(error, MailError) else StoreUnavailableError(f"notes of {name}")


def _digest(staged: IStagedMessage) -> bytes:
    digest = hashlib.sha256()
    for chunk in staged.chunks():
        digest.update(chunk)
    return digest.digest()
