"""Where the client gets a message from, block by block."""

from __future__ import annotations

from typing import Any

from zope.interface import Interface, implementer

__all__ = ["BytesSource", "FileSource", "IMessageSource"]


class IMessageSource(Interface):
    """A message to be sent, read once from its begin to its end."""

    def read(octets: int) -> Any:
        """The next octets, at most so many; ``b""`` at the end; or an awaitable of them."""

    def size() -> int | None:
        """Octets of the message, or None when that is not known."""


@implementer(IMessageSource)
class BytesSource:
    """A message in memory."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._at = 0

    def read(self, octets: int) -> bytes:
        """The next octets."""
        block = self._message[self._at : self._at + octets]
        self._at += len(block)
        return block

    def size(self) -> int:
        """Octets of the message."""
        return len(self._message)


@implementer(IMessageSource)
class FileSource:
    """A message in a binary file, or in anything with ``read(n)``."""

    def __init__(self, file: Any, size: int | None = None) -> None:
        self._file = file
        self._size = size

    def read(self, octets: int) -> Any:
        """The next octets."""
        return self._file.read(octets)

    def size(self) -> int | None:
        """What the caller said."""
        return self._size
