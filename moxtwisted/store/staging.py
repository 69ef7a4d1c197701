"""A message on its way in: octets are taken, scanned as they come, and wait for the commit.

The first megabyte stays in memory. A larger message goes to a temporary file that has no name (so nothing is left
after a crash) and is sealed with a key that only this process has and forgets::

    sink = Staging(Path("data/tmp"), os.urandom)
    sink.write(octets)
    staged = sink.finish()
    staged.rendered.envelope
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import StoreFullError, StoreUnavailableError
from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.message.products import Rendered, render
from moxtwisted.store.bodies import encode, iterate
from moxtwisted.store.interfaces import IStagedMessage, IStaging

__all__ = ["MEMORY_OCTETS", "SealedFile", "Staged", "Staging"]

#: A larger message goes to a file.
MEMORY_OCTETS: Final = 1 << 20
_BLOCK: Final = 64


class _Octets(Protocol):
    """Where octets are kept."""

    def read(self, offset: int, length: int) -> bytes: ...

    def close(self) -> None: ...


@define(eq=False)
class _InMemory:
    data: bytes

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def close(self) -> None:
        self.data = b""


class SealedFile:
    """An unnamed temporary file, enciphered with ChaCha20 under a key that dies with this object.

    It is written once from front to end and read anywhere; nobody else can open it, so nothing authenticates it.
    """

    def __init__(self, directory: Path, entropy: Callable[[int], bytes]) -> None:
        # Only large messages come here: the import takes 30 ms.
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

        secret = entropy(44)
        key, nonce = secret[:32], secret[32:]

        def cipher(block: int) -> Any:
            # RFC 8439 section 2.4: a 32-bit block counter, then the nonce: 256 GiB under one nonce.
            return Cipher(ChaCha20(key, block.to_bytes(4, "little") + nonce), mode=None).encryptor()

        self._cipher = cipher
        self._writer = cipher(0)
        self._lock = threading.Lock()
        self._file: BinaryIO = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by close
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append octets."""
        sealed = memoryview(self._writer.update(data))
        while sealed:
            written = os.pwrite(self._file.fileno(), sealed, self.size)
            self.size += written
            sealed = sealed[written:]

    def read(self, offset: int, length: int) -> bytes:
        """Octets from the middle; fewer at the end."""
        first = offset // _BLOCK
        before = offset - first * _BLOCK
        sealed = os.pread(self._file.fileno(), length + before, first * _BLOCK)
        octets: bytes = self._cipher(first).update(sealed)
        return octets[before:]

    def close(self) -> None:
        """Nothing is left of it."""
        self._file.close()


@implementer(IStaging)
class Staging:
    """Takes octets in; see ``IStaging``."""

    def __init__(self, directory: Path, entropy: Callable[[int], bytes]) -> None:
        self._directory = directory
        self._entropy = entropy
        self._pieces: list[bytes] = []
        self._sealed: SealedFile | None = None
        self._scanner: Scanner | None = Scanner()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Take more octets. :raises StoreFullError:"""
        if self._scanner is None:
            raise StoreUnavailableError("staging is finished")
        self._scanner.feed(data)
        self._size += len(data)
        if self._sealed is None:
            self._pieces.append(data)
            if self._size <= MEMORY_OCTETS:
                return
        try:
            if self._sealed is None:
                self._sealed = SealedFile(self._directory, self._entropy)
                pieces, self._pieces = self._pieces, []
                for piece in pieces:
                    self._sealed.write(piece)
            else:
                self._sealed.write(data)
        except OSError as e:
            self.abort()
            raise StoreFullError(f"staging: {e}") from e

    def finish(self) -> Staged:
        """Scan and render."""
        if self._scanner is None:
            raise StoreUnavailableError("staging is finished")
        scanner, self._scanner = self._scanner, None
        octets: _Octets = self._sealed or _InMemory(b"".join(self._pieces))
        self._pieces, self._sealed = [], None
        scanned = scanner.finish()
        return Staged(size=self._size, octets=octets, scanned=scanned, rendered=render(scanned, octets.read))

    def abort(self) -> None:
        """Forget everything."""
        self._scanner = None
        self._pieces = []
        if self._sealed is not None:
            self._sealed.close()
            self._sealed = None


@implementer(IStagedMessage)
@define(eq=False)
class Staged:
    """Octets that wait to be added; see ``IStagedMessage``."""

    size: int
    _octets: _Octets
    scanned: ScannedMessage
    rendered: Rendered
    _packed: list[tuple[int, bytes]] | None = field(default=None, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def chunks(self) -> Iterator[bytes]:
        """The octets, a chunk at a time."""
        return iterate(self._octets.read, self.size)

    def read(self, offset: int, length: int) -> bytes:
        """Octets from the middle."""
        return self._octets.read(offset, length)

    def packed(self) -> Iterable[tuple[int, bytes]]:
        """(codec, data) of the chunks, for any thread; a small message is compressed once for all accounts."""
        if self.size > MEMORY_OCTETS:
            return (encode(chunk) for chunk in self.chunks())
        with self._lock:
            if self._packed is None:
                self._packed = [encode(chunk) for chunk in self.chunks()]
            return self._packed

    def close(self) -> None:
        """Give memory and file back."""
        self._octets.close()
        self._packed = None
