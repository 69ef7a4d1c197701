"""A message on its way in: octets are taken, scanned as they come, and wait for the commit.

The first megabyte stays in memory. A larger message is cut into the store's chunks, which another thread packs while more
of it comes in; they go to a temporary file that has no name (so nothing is left after a crash) and is sealed with a key
that only this process has and forgets::

    sink = Staging(Path("data/tmp"), os.urandom, packer)
    sink.write(octets)
    staged = sink.finish()
    staged.rendered.envelope
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, Self

from attrs import define, frozen
from zope.interface import implementer

from moxtwisted.errors import ConsistencyError, StoreFullError, StoreUnavailableError
from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.message.products import Rendered, render
from moxtwisted.store.bodies import CHUNK_OCTETS, decode, encode, iterate
from moxtwisted.store.interfaces import IStagedMessage, IStaging

if TYPE_CHECKING:
    from moxtwisted.store.gathering import Gathering

__all__ = [
    "MEMORY_OCTETS",
    "SECRET_OCTETS",
    "Handed",
    "HandedOctets",
    "SealedFile",
    "Staged",
    "Staging",
]

#: A larger message goes to a file.
MEMORY_OCTETS: Final = 1 << 20
#: Of a scan: for each octet of a header (it is kept whole, in fields, and in their values), and for each part.
_SCAN_FACTOR: Final = 3
_PART_OCTETS: Final = 1000
#: A key of ChaCha20 and a nonce.
SECRET_OCTETS: Final = 44
_BLOCK: Final = 64
#: Chunks of a message that wait to be packed, at most.
_WAITING_CHUNKS: Final = 4


class _Octets(Protocol):
    """Where octets are kept."""

    def read(self, offset: int, length: int) -> bytes: ...

    def packed(self) -> Iterable[tuple[int, bytes]]: ...

    def hand_over(self) -> Handed: ...

    def close(self) -> None: ...


@frozen
class Handed:
    """The octets of a message on their way to another process.

    :ivar chunks: (codec, data) of each; empty if they are in a file.
    :ivar places: (codec, offset, octets) of each in the file.
    :ivar descriptor: of that file; -1 without. It stays the message's.
    :ivar secret: what the file is sealed with; empty without.
    """

    chunks: tuple[tuple[int, bytes], ...] = ()
    places: tuple[tuple[int, int, int], ...] = ()
    descriptor: int = -1
    secret: bytes = b""


_CLOSED: Final = "a message was closed before it was added"


class _InMemory:
    def __init__(self, data: bytes) -> None:
        self._data: bytes | None = data
        self._packed: list[tuple[int, bytes]] | None = None
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        return self._open()[offset : offset + length]

    def _open(self) -> bytes:
        data = self._data
        if data is None:
            raise StoreUnavailableError(_CLOSED)
        return data

    def packed(self) -> Iterable[tuple[int, bytes]]:
        # Once for all accounts, whichever writer comes first.
        with self._lock:
            if self._packed is None:
                data = self._open()  # ours: the reactor's thread may close it now
                chunks = range(0, len(data), CHUNK_OCTETS)
                self._packed = [encode(data[start : start + CHUNK_OCTETS]) for start in chunks]
            return self._packed

    def hand_over(self) -> Handed:
        return Handed(chunks=tuple(self.packed()))

    def close(self) -> None:
        self._data = None


class SealedFile:
    """An unnamed temporary file, enciphered with ChaCha20 under a key that dies with this object.

    It is written once from front to end and read anywhere; nobody else can open it, so nothing authenticates it.

    :param file: empty, or one of another process, to be read.
    :param secret: ``SECRET_OCTETS``; key and nonce, for this file alone.
    """

    def __init__(self, file: BinaryIO, secret: bytes) -> None:
        # Only large messages come here: the import takes 30 ms.
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

        key, nonce = secret[:32], secret[32:]

        def cipher(block: int) -> Any:
            # RFC 8439 section 2.4: a 32-bit block counter, then the nonce: 256 GiB under one nonce.
            return Cipher(ChaCha20(key, block.to_bytes(4, "little") + nonce), mode=None).encryptor()

        self._cipher = cipher
        self._writer = cipher(0)
        self._lock = threading.Lock()
        self._file = file
        self.secret = secret
        self.size = 0

    @classmethod
    def make(cls, directory: Path, entropy: Callable[[int], bytes]) -> Self:
        """A new one. :raises OSError:"""
        file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by close
        return cls(file, entropy(SECRET_OCTETS))

    def fileno(self) -> int:
        """The descriptor."""
        return self._file.fileno()

    def write(self, data: bytes) -> int:
        """Append octets, from any thread; where they begin."""
        with self._lock:
            start = self.size
            sealed = memoryview(self._writer.update(data))
            while sealed:
                written = os.pwrite(self._file.fileno(), sealed, self.size)
                self.size += written
                sealed = sealed[written:]
        return start

    def read(self, offset: int, length: int) -> bytes:
        """Octets from the middle; fewer at the end."""
        first = offset // _BLOCK
        before = offset - first * _BLOCK
        sealed = os.pread(self._file.fileno(), length + before, first * _BLOCK)
        octets: bytes = self._cipher(first).update(sealed)
        return octets[before:]

    def close(self) -> None:
        """Nothing is left of it."""
        # Not while another thread writes: the descriptor's number may be another file's a moment later.
        with self._lock:
            self._file.close()


@define(eq=False)
class _Chunk:
    """One chunk: as it came until it was packed, then where it lies in the file."""

    octets: bytes | None
    codec: int = 0
    offset: int = 0
    length: int = 0


def _read(unpacked: Callable[[int], bytes], end: int, offset: int, length: int) -> bytes:
    """Octets from the middle of what lies in chunks; fewer at the end.

    :param unpacked: gives the octets of a chunk by its number.
    :param end: where no chunk is any more.
    """
    pieces = []
    while length > 0 and offset < end:
        number, start = divmod(offset, CHUNK_OCTETS)
        piece = unpacked(number)[start : start + length]
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _Packed:
    """The chunks of a large message.

    :param file: where they go.
    :param close: called once, when they are not wanted any more.
    :param packer: packs them, one after the other; None: the caller's thread does.
    """

    def __init__(self, file: SealedFile, close: Callable[[], None], packer: Executor | None) -> None:
        self._file = file
        self._close: Callable[[], None] | None = close
        self._packer = packer
        self._chunks: list[_Chunk] = []
        self._waiting: deque[tuple[Future[None], _Chunk]] = deque()
        self._last: tuple[int, bytes] = (-1, b"")

    def add(self, octets: bytes) -> None:
        """The next chunk. :raises OSError: without a packer, when it cannot be written."""
        chunk = _Chunk(octets)
        self._chunks.append(chunk)
        if self._packer is None:
            self._pack(chunk)
            return
        try:
            self._waiting.append((self._packer.submit(self._pack, chunk), chunk))
        except RuntimeError:
            raise StoreUnavailableError("the store is closed") from None

    def wait(self) -> None:
        """Until not too many chunks wait. :raises OSError: when one could not be written."""
        while self._waiting and (len(self._waiting) > _WAITING_CHUNKS or self._waiting[0][0].done()):
            packing, chunk = self._waiting.popleft()
            if packing.cancel():
                # The thread is busy with others' messages: a millisecond here is better than waiting for all of them.
                self._pack(chunk)
            else:
                packing.result()

    def settle(self) -> None:
        """Until none waits. :raises OSError: when one could not be written."""
        while self._waiting:
            packing, chunk = self._waiting.popleft()
            if packing.cancel():
                self._pack(chunk)
            else:
                packing.result()

    def _pack(self, chunk: _Chunk) -> None:
        octets = chunk.octets
        if octets is not None:
            chunk.codec, data = encode(octets)
            chunk.offset, chunk.length = self._file.write(data), len(data)
            chunk.octets = None

    def read(self, offset: int, length: int) -> bytes:
        """Octets from the middle; fewer at the end."""
        return _read(self._unpacked, len(self._chunks) * CHUNK_OCTETS, offset, length)

    def _unpacked(self, number: int) -> bytes:
        if self._last[0] != number:
            chunk = self._chunks[number]
            octets = chunk.octets
            if octets is None:
                octets = decode(chunk.codec, self._file.read(chunk.offset, chunk.length))
            self._last = (number, octets)
        return self._last[1]

    def forget(self) -> None:
        """Do not keep the chunk that was read last: a thousand messages may be finished before the first of them is added."""
        self._last = (-1, b"")

    def packed(self) -> Iterable[tuple[int, bytes]]:
        """(codec, data), for any thread. :raises OSError: when one could not be written."""
        chunks = self._chunks
        for packing, _ in tuple(self._waiting):
            packing.result()
        self._need_open()
        for chunk in chunks:
            self._need_open()
            data = self._file.read(chunk.offset, chunk.length)
            # The reactor's thread may have closed it meanwhile.
            self._need_open()
            yield chunk.codec, data

    def _need_open(self) -> None:
        if self._close is None:
            raise StoreUnavailableError(_CLOSED)

    def hand_over(self) -> Handed:
        """Where they are, once all are packed. :raises OSError: when one could not be written."""
        for packing, _ in tuple(self._waiting):
            packing.result()
        places = tuple([(chunk.codec, chunk.offset, chunk.length) for chunk in self._chunks])
        return Handed(places=places, descriptor=self._file.fileno(), secret=self._file.secret)

    def close(self) -> None:
        """Nothing is left of it."""
        for packing, _ in self._waiting:
            packing.cancel()
        self._chunks = []
        self._last = (-1, b"")
        close, self._close = self._close, None
        if close is not None:
            close()


class HandedOctets:
    """The octets of a message that another process took in. It is not trusted: what it says is looked at, and what is in a file each time
    that it is read.

    :param handed: with a descriptor that is ours now.
    :raises ConsistencyError: when the chunks are not those of a message of that size.
    """

    def __init__(self, handed: Handed, size: int) -> None:
        self._size = size
        self._chunks = handed.chunks
        self._places = handed.places
        self._file: SealedFile | None = None
        self._octets: list[bytes] = []
        self._last: tuple[int, bytes] = (-1, b"")
        count = -(-size // CHUNK_OCTETS)
        if handed.descriptor >= 0:
            self._file = _opened(handed.descriptor, handed.secret)
        if len(handed.places if self._file is not None else handed.chunks) != count:
            self.close()
            raise ConsistencyError(f"a message of {size} octets has {count} chunks")
        if self._file is None:
            # Little can be packed that is much: a larger one is in a file, and read when it is asked for.
            if size > MEMORY_OCTETS:
                raise ConsistencyError(f"a message of {size} octets is in no file")
            self._octets = [self._checked(n, *chunk) for n, chunk in enumerate(handed.chunks)]

    def _checked(self, number: int, codec: int, data: bytes) -> bytes:
        octets = decode(codec, data)
        if len(octets) != min(CHUNK_OCTETS, self._size - number * CHUNK_OCTETS):
            raise ConsistencyError(f"chunk {number} has {len(octets)} octets")
        return octets

    def _from_file(self, number: int) -> tuple[int, bytes, bytes]:
        """(codec, data, octets)."""
        codec, offset, length = self._places[number]
        if (
            self._file is None
            or not 0 <= length <= CHUNK_OCTETS
            or not 0 <= offset <= len(self._places) * CHUNK_OCTETS
        ):
            raise ConsistencyError(f"chunk {number} is nowhere")
        try:
            data = self._file.read(offset, length)
        except OSError as e:
            raise ConsistencyError(f"chunk {number} cannot be read: {e.strerror}") from e
        return codec, data, self._checked(number, codec, data)

    def read(self, offset: int, length: int) -> bytes:
        """Octets from the middle; fewer at the end."""
        return _read(self._unpacked, self._size, offset, length)

    def _unpacked(self, number: int) -> bytes:
        if self._file is None:
            return self._octets[number]
        if self._last[0] != number:
            self._last = (number, self._from_file(number)[2])
        return self._last[1]

    def packed(self) -> Iterable[tuple[int, bytes]]:
        """(codec, data), for any thread. :raises ConsistencyError:"""
        if self._file is None:
            if self._size and not self._chunks:
                raise StoreUnavailableError(_CLOSED)
            return self._chunks
        return ((codec, data) for codec, data, _ in map(self._from_file, range(len(self._places))))

    def hand_over(self) -> Handed:
        """The same, for a third process, which is to look at it as well."""
        if self._file is None:
            return Handed(chunks=tuple(self.packed()))
        return Handed(places=self._places, descriptor=self._file.fileno(), secret=self._file.secret)

    def close(self) -> None:
        """Give memory and file back."""
        self._octets, self._chunks = [], ()
        if self._file is not None:
            self._file.close()


def _opened(descriptor: int, secret: bytes) -> SealedFile:
    """The file of another process, which is looked at first: what blocks, or never ends, is no file."""
    if not S_ISREG(os.fstat(descriptor).st_mode) or len(secret) != SECRET_OCTETS:
        os.close(descriptor)
        raise ConsistencyError("no file of a message")
    return SealedFile(os.fdopen(descriptor, "rb", buffering=0), secret)


@implementer(IStaging)
class Staging:
    """Takes octets in; see ``IStaging``.

    :param packer: with one thread, which packs large messages while they come in; None: it is done in the caller's.
    :param gathering: of the messages that are added together with this one.
    """

    def __init__(
        self,
        directory: Path,
        entropy: Callable[[int], bytes],
        packer: Executor | None = None,
        gathering: Gathering | None = None,
    ) -> None:
        self._directory = directory
        self._entropy = entropy
        self._packer = packer
        self._gathering = gathering
        self._aside = False
        self._scanned: ScannedMessage | None = None
        self._held = (0, 0)
        self._pieces: list[bytes] = []
        self._pieces_octets = 0
        self._large: _Packed | None = None
        self._scanner: Scanner | None = Scanner()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Take more octets. :raises StoreFullError:"""
        if self._scanner is None:
            raise StoreUnavailableError("staging is finished")
        self._scanner.feed(data)
        self._size += len(data)
        self._pieces.append(data)
        self._pieces_octets += len(data)
        if self._pieces_octets < (MEMORY_OCTETS + 1 if self._large is None else CHUNK_OCTETS):
            return
        try:
            if self._large is None:
                self._large = self._packed()
            octets = b"".join(self._pieces)
            whole = len(octets) - len(octets) % CHUNK_OCTETS
            for start in range(0, whole, CHUNK_OCTETS):
                self._large.add(octets[start : start + CHUNK_OCTETS])
                self._large.wait()
        except OSError as e:
            raise self._failed(e) from e
        self._pieces = [octets[whole:]]
        self._pieces_octets = len(octets) - whole

    def _packed(self) -> _Packed:
        if self._gathering is not None:
            return _Packed(self._gathering.open_file(), self._gathering.close_file, self._packer)
        file = SealedFile.make(self._directory, self._entropy)
        return _Packed(file, file.close, self._packer)

    def put_aside(self) -> None:
        """All octets are in, but it is not finished yet: keep little of it in memory. :raises StoreFullError:"""
        gathering, scanner = self._gathering, self._scanner
        if scanner is None or gathering is None:
            return
        self._scanner, self._aside = None, True
        scanned = scanner.finish()
        scan_octets = scanner.headers_octets * _SCAN_FACTOR + scanned.part_count * _PART_OCTETS
        octets = 0 if self._large is not None else self._pieces_octets
        octets, scan_octets = self._held = gathering.hold(octets, scan_octets)
        if scan_octets:
            self._scanned = scanned
        if self._large is None and (octets or not self._size):
            self._pieces = [b"".join(self._pieces)]
            return
        try:
            if self._large is None:
                self._large = self._packed()
            rest, self._pieces = b"".join(self._pieces), []
            for start in range(0, len(rest), CHUNK_OCTETS):
                self._large.add(rest[start : start + CHUNK_OCTETS])
            # The packer may be behind: a thousand messages must not wait for it in memory.
            self._large.settle()
        except OSError as e:
            raise self._failed(e) from e

    def _let_go(self) -> None:
        if self._gathering is not None:
            self._gathering.let_go(*self._held)
        self._held = (0, 0)

    def _failed(self, error: OSError) -> StoreFullError:
        self.abort()
        return StoreFullError(f"staging: {error}")

    def finish(self) -> Staged:
        """Scan and render. :raises StoreFullError:"""
        if self._scanner is None and not self._aside:
            raise StoreUnavailableError("staging is finished")
        self._let_go()
        self._aside = False
        octets: _Octets
        rest = b"".join(self._pieces)
        if self._large is None:
            octets = _InMemory(rest)
        else:
            try:
                if rest:
                    self._large.add(rest)
            except OSError as e:
                raise self._failed(e) from e
            octets = self._large
        large, self._pieces, self._large = self._large, [], None
        scanned = self._scan(octets)
        rendered = render(scanned, octets.read)
        if large is not None:
            large.forget()
        # Many may be finished before the first of them is added, which needs no scan.
        kept = scanned if self._gathering is None else None
        return Staged(size=self._size, octets=octets, scanned=kept, rendered=rendered)

    def _scan(self, octets: _Octets) -> ScannedMessage:
        scanned, self._scanned = self._scanned, None
        if scanned is not None:
            return scanned
        scanner, self._scanner = self._scanner, None
        return scanner.finish() if scanner is not None else _scanned(octets, self._size)

    def abort(self) -> None:
        """Forget everything."""
        self._let_go()
        self._scanner = self._scanned = None
        self._aside = False
        self._pieces = []
        if self._large is not None:
            self._large.close()
            self._large = None


def _scanned(octets: _Octets, size: int) -> ScannedMessage:
    scanner = Scanner()
    for chunk in iterate(octets.read, size):
        scanner.feed(chunk)
    return scanner.finish()


@implementer(IStagedMessage)
@define(eq=False)
class Staged:
    """Octets that wait to be added; see ``IStagedMessage``."""

    size: int
    _octets: _Octets
    _scanned: ScannedMessage | None
    rendered: Rendered

    @property
    def scanned(self) -> ScannedMessage:
        """What was found in them, or is now."""
        return self._scanned if self._scanned is not None else _scanned(self._octets, self.size)

    def chunks(self) -> Iterator[bytes]:
        """The octets, a chunk at a time."""
        return iterate(self._octets.read, self.size)

    def read(self, offset: int, length: int) -> bytes:
        """Octets from the middle."""
        return self._octets.read(offset, length)

    def packed(self) -> Iterable[tuple[int, bytes]]:
        """(codec, data) of the chunks, for any thread."""
        return self._octets.packed()

    def hand_over(self) -> Handed:
        """The octets, for another process; valid until ``close``. :raises StoreFullError:"""
        try:
            return self._octets.hand_over()
        except OSError as e:
            raise StoreFullError(f"staging: {e}") from e

    def close(self) -> None:
        """Give memory and file back."""
        self._octets.close()
