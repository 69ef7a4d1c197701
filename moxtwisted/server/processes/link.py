"""What two processes say to each other: frames over a pair of unix sockets, some with descriptors.

::

    link = Link(Word, heard, lost)               # Word is an IntEnum; heard(word, values); lost()
    adopt_link(reactor, descriptor, link)
    link.say(Word.GONE, 17)
    link.say_with(descriptor, Word.CONNECTION, 3, 0)      # the descriptor is the other's now

A frame is its length, four octets, and an array in MessagePack: a word, then what belongs to it. Neither end waits for the other: who
asks something gives it a number, and the answer names it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Final, Generic, TypeVar

import msgspec
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Link"]

_log = Logger()

W = TypeVar("W", bound=IntEnum)

#: A message that is not in a file has a mebibyte at most; a header half of one, and what is rendered of it some more.
_FRAME_OCTETS: Final = 64 * 1024 * 1024
#: Descriptors that came before the frames that they belong to.
_DESCRIPTORS: Final = 10_000


@implementer(IFileDescriptorReceiver)
class Link(Protocol, Generic[W]):
    """One end.

    :param words: that there are; any other number ends the connection.
    :param heard: called with what each frame says; what it raises ends the connection.
    :param lost: called once, when the other is gone.
    :ivar up: whether the other is there.
    """

    def __init__(
        self, words: type[W], heard: Callable[[W, list[Any]], None], lost: Callable[[], None]
    ) -> None:
        self._words: Callable[[int], W] = words
        self._heard = heard
        self._lost = lost
        self._pieces: list[bytes] = []
        self._octets = 0
        self._wanted = 4
        self._descriptors: deque[int] = deque()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(list[Any]).decode
        self.up = False

    @property
    def _transport(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        """The other end is there."""
        self.up = True

    def say(self, word: W, *values: Any) -> None:
        """Send a frame; nothing happens when the other is gone."""
        if self.up:
            octets = self._encode((int(word), *values))
            self._transport.write(len(octets).to_bytes(4, "big") + octets)

    def say_with(self, descriptors: int | Sequence[int], word: W, *values: Any) -> None:
        """Send a frame with a descriptor or several, which are not ours any more.

        :raises ValueError: the frame has fewer octets than descriptors, each of which goes with an octet.
        """
        given = (descriptors,) if isinstance(descriptors, int) else descriptors
        if not self.up:
            _close(given)
            return
        try:
            octets = self._encode((int(word), *values))
            if len(given) > len(octets):
                raise ValueError(f"{len(given)} descriptors with {len(octets)} octets")
        except BaseException:
            _close(given)
            raise
        self._transport.send_with(given, len(octets).to_bytes(4, "big") + octets)

    @property
    def waiting(self) -> int:
        """Descriptors that were not sent yet: the other does not listen, or has too much to do."""
        return len(self._transport.waiting_descriptors) if self.up else 0

    def close(self) -> None:
        """Say what was said, and no more."""
        if self.up:
            self._transport.loseConnection()

    def abort(self) -> None:
        """Be gone."""
        if self.up:
            self._transport.abortConnection()

    def descriptor(self) -> int:
        """The next descriptor of the frame that was just heard; the caller's now. :raises ValueError: there is none."""
        if not self._descriptors:
            raise ValueError("a frame without its descriptor")
        return self._descriptors.popleft()

    def descriptors(self, count: int) -> list[int]:
        """The next ones, all of them or none. :raises ValueError: there are not so many."""
        if not 0 <= count <= len(self._descriptors):
            raise ValueError(f"a frame without its {count} descriptors")
        return [self._descriptors.popleft() for _ in range(count)]

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """It comes before the frame that it belongs to is whole."""
        if len(self._descriptors) >= _DESCRIPTORS:
            os.close(descriptor)
            self.abort()
            return
        os.set_inheritable(descriptor, False)
        self._descriptors.append(descriptor)

    def dataReceived(self, data: bytes) -> None:
        """Octets."""
        self._pieces.append(data)
        self._octets += len(data)
        if self._octets < self._wanted:
            return
        try:
            self._take(b"".join(self._pieces) if len(self._pieces) > 1 else data)
        except Exception:  # noqa: BLE001 - a boundary: who says what cannot be is not listened to any more
            _log.failure("the other process said what cannot be")
            self._pieces, self._octets, self._wanted = [], 0, _FRAME_OCTETS
            self.abort()

    def _take(self, buffer: bytes) -> None:
        at, size = 0, len(buffer)
        self._pieces, self._octets, self._wanted = [], 0, 4
        while size - at >= 4:
            length = int.from_bytes(buffer[at : at + 4], "big")
            if length > _FRAME_OCTETS:
                raise ValueError(f"a frame of {length} octets")
            end = at + 4 + length
            if end > size:
                self._wanted = 4 + length
                break
            word, *values = self._decode(buffer[at + 4 : end])
            at = end
            self._heard(self._words(word), values)
        if at < size:
            self._pieces, self._octets = [buffer[at:]], size - at

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The other is gone."""
        self.up = False
        while self._descriptors:
            os.close(self._descriptors.popleft())
        self._lost()


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
