"""Recipients whose judges do not agree, of senders that take one answer for all.

A message for several recipients has one answer in SMTP (RFC 5321 section 4.1.1.4). When one account takes it and another refuses it,
neither "yes" (the sender would not know, or a report would go to a forged one) nor "no" (those that take it would lose it) is
true. So those who take it get it, the client is told to try again, and then it may not come for all at once::

    splitting.remember(sender, {b"<a@x>": Label.TAKEN, b"<b@x>": Label.REFUSED}, now)
    splitting.apart(sender, b"<b@x>", [b"<a@x>"], now)     # True: 452 at RCPT, "in another transaction"
    splitting.all_of(sender, [b"<a@x>"], now)               # all recipients of the first attempt

RFC 5321 section 4.5.3.1.10 has clients send the other recipients in another transaction after a 452. Each of these is uniform, and its
one answer is true for all in it; those who have the message are known by their note (``moxtwisted.server.delivery``) and get no second
copy. Who never comes again has delivered what could be delivered.

Clients list their recipients in the same order each time. Were those who may take it later the first, the others would never have
their turn; so these are the last, for some attempts.

All this is kept in memory: forgotten at a restart, it is found out once more, for the price of another attempt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from attrs import define, field

__all__ = ["Label", "Splitting"]

#: Recipients that are remembered, of all senders; those that were not asked about for longest go.
_MOST: Final = 10_000
# RFC 5321 section 4.5.4.1: senders give up after 4 to 5 days.
_SECONDS: Final = 5 * 86400.0
#: Recipients that are taken for those of one message, if no attempt had more.
_MOST_TOGETHER: Final = 200
#: How often in a row those who may take it later let others go first.
_YIELDS: Final = 3


class Label(Enum):
    """What became of a message for one recipient."""

    TAKEN = "taken"
    LATER = "later"
    REFUSED = "refused"


@define
class _Part:
    label: Label
    everybody: frozenset[bytes]
    until: float
    yielded: int = 0


@define(eq=False)
class Splitting:
    """What is remembered of attempts."""

    _most: int = _MOST
    _parts: OrderedDict[tuple[bytes, bytes], _Part] = field(factory=OrderedDict, init=False)

    def remember(self, sender: bytes, labels: Mapping[bytes, Label], now: float) -> None:
        """An attempt was answered with "try again" because its recipients differ.

        :param sender: the reverse-path as on the wire.
        :param labels: of each recipient (as on the wire); those with the same one may come together.
        :param now: seconds.
        """
        everybody = self.all_of(sender, labels, now) | frozenset(labels)
        if len(everybody) > max(len(labels), _MOST_TOGETHER):
            # Those of many messages: what they have in common is an enemy who makes them overlap.
            everybody = frozenset(labels)
        for recipient, label in labels.items():
            before = self._parts.get((sender, recipient))
            yielded = before.yielded if before is not None else 0
            self._parts[sender, recipient] = _Part(label, everybody, now + _SECONDS, yielded)
            self._parts.move_to_end((sender, recipient))
        while len(self._parts) > self._most:
            self._parts.popitem(last=False)

    def apart(self, sender: bytes, recipient: bytes, others: Iterable[bytes], now: float) -> bool:
        """Whether a recipient has to come in another transaction.

        :param others: those that were accepted in this one.
        """
        mine = self._part(sender, recipient, now) if self._parts else None
        if mine is None:
            return False
        found = [part for other in others if (part := self._part(sender, other, now)) is not None]
        if found:
            return any(part.label is not mine.label for part in found)
        if mine.label is not Label.LATER:
            return False
        if mine.yielded >= _YIELDS:
            # Their turn, and then that of the others again: the next message finds the same memory.
            mine.yielded = 0
            return False
        parts = [self._part(sender, other, now) for other in mine.everybody]
        if all(part is None or part.label is Label.LATER for part in parts):
            return False
        mine.yielded += 1
        return True

    def label(self, sender: bytes, recipient: bytes, now: float) -> Label | None:
        """What became of it for a recipient in the last attempt."""
        part = self._part(sender, recipient, now) if self._parts else None
        return part.label if part is not None else None

    def all_of(self, sender: bytes, recipients: Iterable[bytes], now: float) -> frozenset[bytes]:
        """Everybody who was a recipient in the first attempt for one of these; nobody when there was none."""
        if not self._parts:
            return frozenset()
        found = [part.everybody for r in recipients if (part := self._part(sender, r, now)) is not None]
        return frozenset[bytes]().union(*found)

    def forget(self, sender: bytes, recipients: Iterable[bytes]) -> None:
        """These were answered for good."""
        for recipient in recipients:
            self._parts.pop((sender, recipient), None)

    def __len__(self) -> int:
        return len(self._parts)

    def _part(self, sender: bytes, recipient: bytes, now: float) -> _Part | None:
        part = self._parts.get((sender, recipient))
        if part is None:
            return None
        if part.until < now:
            del self._parts[sender, recipient]
            return None
        return part
