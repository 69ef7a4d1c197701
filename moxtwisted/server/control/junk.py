"""What an operator does with junk filters: ``moxmail junk``.

The administration of the server derives from ``JunkOperations``. What a filter knows is always the account's own mail with its flags: to
train it is to put messages into the account, to make it forget is to take them out again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.task import deferLater

from moxtwisted.errors import MailError
from moxtwisted.message.flags import SEEN, MessageFlags
from moxtwisted.server.control.interfaces import JSON, Progress, Report
from moxtwisted.store.accounts import Account
from moxtwisted.store.interfaces import Addition, Column, NewMessage
from moxtwisted.store.junkwords import counts
from moxtwisted.store.toend import to_end

if TYPE_CHECKING:
    from moxtwisted.server.administration import Administered

__all__ = ["JunkOperations"]

_BATCH_MESSAGES: Final = 100
_BATCH_OCTETS: Final = 16 * 1024 * 1024
_ROWS: Final = 1000
#: After so many messages the reactor gets its turn.
_TURN_MESSAGES: Final = 10
_LOOK_SECONDS: Final = 0.1
#: So often nothing may have been learned between two looks.
_PATIENCE: Final = 600


class JunkOperations:
    """Status, training, retraining, and what a filter thinks."""

    _on: Administered

    async def _existing(self, name: str) -> Account:
        """An account at home, as long as it is held. :raises MailError: when there is none."""
        raise NotImplementedError

    def _chosen(self, account: str) -> Sequence[str]:
        """The name of one, or all when it is empty. :raises MailError: when there is none."""
        raise NotImplementedError

    async def junk_status(self, account: str) -> Report:
        """See ``IAdministration``."""
        return [_status(await self._existing(name)) for name in self._chosen(account)]

    async def junk_check(self, account: str, message: str) -> dict[str, JSON]:
        """See ``IAdministration``."""
        # The filter is imported when somebody asks for it.
        from moxtwisted.junk.tokens import ENOUGH_OCTETS, features
        from moxtwisted.message.mime import Scanner
        from moxtwisted.server.junk.contentfilter import judge_features

        try:
            octets = base64.b64decode(message, validate=True)
        except binascii.Error:
            raise MailError("the message is not in base64") from None
        target = await self._existing(account)
        scanner = Scanner()
        scanner.feed(octets[:ENOUGH_OCTETS])
        found = features(scanner.finish(), lambda offset, length: octets[offset : offset + length])
        verdict = judge_features(target.reader, found, explain=30)
        return {
            "probability": verdict.probability,
            "sum": verdict.sum,
            "significant": verdict.significant,
            "words": [
                {"word": word.token, "probability": word.probability, "weight": word.weight}
                for word in verdict.words
            ],
            "learned": _status(target),
        }

    async def junk_train(
        self, account: str, path: str, junk: bool, mailbox: str, progress: Progress
    ) -> dict[str, JSON]:
        """See ``IAdministration``."""
        from moxtwisted.server.junk.labelled import count_messages, read_messages

        target = await self._existing(account)
        total = count_messages(Path(path))
        done: dict[str, Any] = {"messages": 0, "known": 0, "left_out": []}
        work = _Training(self._on, target, mailbox, junk)
        await work.begin()
        try:
            for number, message in enumerate(read_messages(Path(path)), 1):
                if message.problem:
                    done["left_out"].append(f"{message.name}: {message.problem}")
                elif work.known(message.octets):
                    done["known"] += 1
                else:
                    await work.add(message.octets)
                progress(number, max(total, number), "messages")
                if number % _TURN_MESSAGES == 0:
                    await deferLater(self._on.reactor, 0)
            await work.flush()
        finally:
            work.drop()
        done["messages"] = work.added
        await self._learned(target, progress)
        return {**done, "learned": _status(target)}

    async def junk_retrain(self, account: str, progress: Progress) -> Report:
        """See ``IAdministration``."""
        return [await self._retrain(name, progress) for name in self._chosen(account)]

    async def _retrain(self, account: str, progress: Progress) -> dict[str, JSON]:
        self._needs_learner()
        target = await self._existing(account)
        await target.relearn()
        await self._learned(target, progress)
        return _status(target)

    def _needs_learner(self) -> None:
        if self._on.store.learner is None:
            raise MailError("this server learns nothing of junk")

    async def _learned(self, account: Account, progress: Progress) -> None:
        """Wait until all that is noted was looked at."""
        before, patience = -1, _PATIENCE
        total = _waiting(account)
        while (waiting := _waiting(account)) and patience:
            total = max(total, waiting)
            progress(total - waiting, total, "messages learned")
            patience = _PATIENCE if waiting != before else patience - 1
            before = waiting
            await deferLater(self._on.reactor, _LOOK_SECONDS)
        if waiting:
            raise MailError(f"{waiting} messages still wait to be learned; that goes on behind")


def _waiting(account: Account) -> int:
    return int(account.reader.execute("SELECT count(*) FROM unjudged").get)


def _status(account: Account) -> dict[str, JSON]:
    learned, _ = counts(account.reader, ())
    from moxtwisted.junk.scoring import MIN_HAM, MIN_JUNK

    return {
        "account": account.name,
        "ham": learned.ham,
        "junk": learned.junk,
        "words": int(account.reader.execute("SELECT count(*) FROM junk_word WHERE id >= 0").get),
        "waiting": _waiting(account),
        "judges": learned.ham >= MIN_HAM and learned.junk >= MIN_JUNK,
    }


def _digest(octets: bytes) -> bytes:
    return hashlib.blake2b(octets, digest_size=16).digest()


class _Training:
    """Puts labelled messages into a mailbox, each once."""

    def __init__(self, on: Administered, account: Account, mailbox: str, junk: bool) -> None:
        self._on = on
        self._account = account
        self._mailbox = mailbox
        self._flags = MessageFlags.of(SEEN, ["$Junk" if junk else "$NotJunk"])
        self._sizes: dict[int, list[int]] = {}
        self._fresh: set[bytes] = set()
        self._pending: list[Addition] = []
        self._octets = 0
        self.added = 0

    async def begin(self) -> None:
        """Make the mailbox if it is not there, and see what is in it."""
        found = self._account.mailbox(self._mailbox)
        if found is None:
            found = await self._account.create_mailbox(self._mailbox)
        self._number = found.id
        state = self._account.state(found.id)
        for at in range(0, len(state.uids), _ROWS):
            for uid, size in self._account.rows(found.id, state.uids[at : at + _ROWS], Column.SIZE):
                self._sizes.setdefault(size, []).append(uid)

    def known(self, octets: bytes) -> bool:
        """Whether it is in the mailbox already."""
        if _digest(octets) in self._fresh:
            return True
        for uid in self._sizes.get(len(octets), ()):
            reader = self._account.open_body(self._number, uid)
            if reader is None:
                continue
            try:
                if all(
                    reader.read(at, 1 << 18) == octets[at : at + (1 << 18)]
                    for at in range(0, len(octets), 1 << 18)
                ):
                    return True
            finally:
                reader.close()
        return False

    async def add(self, octets: bytes) -> None:
        """Put one in, with its neighbours."""
        staging = self._on.store.stage()
        try:
            staging.write(octets)
            staged = staging.finish()
        except BaseException:
            staging.abort()
            raise
        now = int(self._on.reactor.seconds())
        self._pending.append(Addition(self._number, NewMessage(staged, b"", now, self._flags)))
        self._fresh.add(_digest(octets))
        self._octets += len(octets)
        if len(self._pending) >= _BATCH_MESSAGES or self._octets >= _BATCH_OCTETS:
            await self.flush()

    async def flush(self) -> None:
        """Commit what is pending."""
        pending, self._pending, self._octets = self._pending, [], 0
        if pending:
            await to_end(self._commit(pending), partial(_close, pending))

    async def _commit(self, pending: Sequence[Addition]) -> None:
        added = await self._account.add(pending)
        # What the mailbox makes of messages by its name may be something else.
        await self._account.store_flags(self._number, [one.uid for one in added], "replace", self._flags)
        self.added += len(pending)

    def drop(self) -> None:
        """Let go of what is pending."""
        pending, self._pending = self._pending, []
        _close(pending)


def _close(additions: Iterable[Addition]) -> None:
    for addition in additions:
        addition.message.staged.close()
