"""The messages of a BadSMTP server that are kept in memory, the newest of them.

::

    captured = Captured(1000, 64 * 1024 * 1024)
    stop = captured.subscribe(lambda message: print(message.number, message.reverse_path))
    captured.keep(message)                                # by the session; gives it its number
    captured.messages(recipient="bob@example.org", after=3)

All of it is for the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.badsmtp.interfaces import CapturedMessage, ICaptured

__all__ = ["Captured", "cost"]

# What a message costs besides its content and a transcript line besides its text: about what Python objects weigh.
_MESSAGE_OCTETS = 1024
_LINE_OCTETS = 128


def cost(message: CapturedMessage) -> int:
    """About how many octets of memory a message takes: content, paths and transcript."""
    paths = sum(len(path) for path in message.forward_paths) + len(message.reverse_path)
    transcript = sum(len(line.text) + _LINE_OCTETS for line in message.transcript)
    return _MESSAGE_OCTETS + len(message.content) + paths + transcript


@implementer(ICaptured)
class Captured:
    """The newest messages, no more than so many and so large.

    A message that alone is larger than the bound is not kept, though it has a number.

    :ivar count_limit: how many.
    :ivar octets_limit: how many octets, as ``cost`` counts.
    """

    _log = Logger()

    def __init__(self, count_limit: int, octets_limit: int) -> None:
        self.count_limit = count_limit
        self.octets_limit = octets_limit
        # In the order of their numbers: a dict keeps that.
        self._messages: dict[int, CapturedMessage] = {}
        self._octets = 0
        self._number = 0
        self._listeners: dict[int, Callable[[CapturedMessage], None]] = {}
        self._subscriptions = 0
        self._watchers: list[Callable[[Sequence[int]], None]] = []

    def __len__(self) -> int:
        """How many are there."""
        return len(self._messages)

    @property
    def octets(self) -> int:
        """How many octets are kept, as ``cost`` counts."""
        return self._octets

    def keep(self, message: CapturedMessage) -> CapturedMessage:
        """Keep a message; the oldest make room for it.

        :return: the message with its number.
        """
        self._number += 1
        kept = attrs.evolve(message, number=self._number)
        octets = cost(kept)
        if octets > self.octets_limit or self.count_limit < 1:
            return kept
        while self._messages and (
            len(self._messages) >= self.count_limit or self._octets + octets > self.octets_limit
        ):
            self.remove(next(iter(self._messages)))
        self._messages[kept.number] = kept
        self._octets += octets
        for listener in tuple(self._listeners.values()):
            self._tell(listener, kept)
        return kept

    def _tell(self, listener: Callable[[CapturedMessage], None], message: CapturedMessage) -> None:
        try:
            listener(message)
        except Exception:  # noqa: BLE001  a boundary: a listener's failure is not the session's
            self._log.failure("a listener failed on message {number}", number=message.number)

    def messages(self, recipient: str = "", after: int = 0) -> tuple[CapturedMessage, ...]:
        """What is there, the oldest first; see ``ICaptured``."""
        wanted = recipient.casefold()
        return tuple(
            message
            for message in self._messages.values()
            if message.number > after
            and (not wanted or any(path.casefold() == wanted for path in message.forward_paths))
        )

    def message(self, number: int) -> CapturedMessage | None:
        """The message of this number."""
        return self._messages.get(number)

    def remove(self, number: int) -> bool:
        """Forget a message; whether it was there."""
        message = self._messages.pop(number, None)
        if message is None:
            return False
        self._octets -= cost(message)
        self._tell_removed([number])
        return True

    def _tell_removed(self, numbers: Sequence[int]) -> None:
        for watcher in self._watchers:
            watcher(numbers)

    def clear(self) -> int:
        """Forget all; how many there were. Numbers go on."""
        numbers = tuple(self._messages)
        self._messages.clear()
        self._octets = 0
        self._tell_removed(numbers)
        return len(numbers)

    def watch_removed(self, watcher: Callable[[Sequence[int]], None]) -> None:
        """Call this with the numbers of messages when they are forgotten, for as long as there is this object."""
        self._watchers.append(watcher)

    def subscribe(self, listener: Callable[[CapturedMessage], None]) -> Callable[[], None]:
        """Be called with each message that is kept from now on, until the returned function is called."""
        self._subscriptions += 1
        subscription = self._subscriptions
        self._listeners[subscription] = listener

        def unsubscribe() -> None:
            self._listeners.pop(subscription, None)

        return unsubscribe
