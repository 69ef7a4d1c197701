"""What a receiver and the owner say to each other: frames over a pair of unix sockets, some with a descriptor.

::

    link = Link(heard, lost)                     # heard(word, values); lost()
    adopt_link(reactor, descriptor, link)
    link.say(Word.GONE, 17)
    link.say_with(descriptor, Word.CONNECTION, 3, 0)      # the descriptor is the other's now

A frame is its length, four octets, and an array in MessagePack: a word, then what belongs to it. Neither end waits for the other: who
asks something gives it a number, and the answer names it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Link", "Word"]

_log = Logger()

#: A message that is not in a file has a mebibyte at most; a header half of one, and what is rendered of it some more.
_FRAME_OCTETS: Final = 64 * 1024 * 1024
#: Descriptors that came before the frames that they belong to.
_DESCRIPTORS: Final = 10_000


class Word(IntEnum):
    """What a frame says. In brackets what follows."""

    # The owner's.
    SET_UP = 1
    """Begin (configuration; see ``settings``)."""
    CONNECTION = 2
    """A client (number, listener), with its connection."""
    ANSWER = 3
    """To TAKE or ROOM (number, answer, remarks)."""
    END = 4
    """End a connection (number): the client is banned."""
    USE = 5
    """Another configuration of domains is in force."""
    CERTIFICATES = 6
    """Other certificates are in use (for each listener)."""
    LEVELS = 7
    """Other levels of the log are."""
    SPLITTING = 8
    """Whether recipients are remembered that have to come apart (bool)."""
    SHUT_DOWN = 9
    """Take no more, finish what is under way."""
    ASK = 10
    """Is there anybody?"""
    LIST = 11
    """A list of senders is there or has changed (its path), with the file; or is not there (path, False)."""

    # The receiver's.
    READY = 20
    """It has begun."""
    TAKE = 21
    """A message (number, message, octets), perhaps with its file."""
    GONE = 22
    """The client of a message is gone (number)."""
    ROOM = 23
    """May this recipient be taken (number, question)?"""
    CLOSED = 24
    """A connection is gone (number, whether it made too many errors)."""
    EVENT = 25
    """Of the log."""
    HERE = 26
    """To ASK."""


@implementer(IFileDescriptorReceiver)
class Link(Protocol):
    """One end.

    :param heard: called with what each frame says; what it raises ends the connection.
    :param lost: called once, when the other is gone.
    :ivar up: whether the other is there.
    """

    def __init__(self, heard: Callable[[Word, list[Any]], None], lost: Callable[[], None]) -> None:
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

    def say(self, word: Word, *values: Any) -> None:
        """Send a frame; nothing happens when the other is gone."""
        if self.up:
            octets = self._encode((int(word), *values))
            self._transport.write(len(octets).to_bytes(4, "big") + octets)

    def say_with(self, descriptor: int, word: Word, *values: Any) -> None:
        """Send a frame with a descriptor, which is not ours any more."""
        if not self.up:
            os.close(descriptor)
            return
        octets = self._encode((int(word), *values))
        self._transport.send_with(descriptor, len(octets).to_bytes(4, "big") + octets)

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
        """The descriptor of the frame that was just heard; the caller's now. :raises ValueError: there is none."""
        if not self._descriptors:
            raise ValueError("a frame without its descriptor")
        return self._descriptors.popleft()

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
            self._heard(Word(word), values)
        if at < size:
            self._pieces, self._octets = [buffer[at:]], size - at

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The other is gone."""
        self.up = False
        while self._descriptors:
            os.close(self._descriptors.popleft())
        self._lost()
