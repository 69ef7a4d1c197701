"""Messages that are added together wait for the last of them, and what they keep in memory is bounded.

When the next one begins, the one before goes to a file that they share, if there is no room::

    gathering = Gathering(Path("data/tmp"), os.urandom, packer)
    first = gathering.stage()
    first.write(octets)
    second = gathering.stage()         # first can only be finished now
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from zope.interface import implementer

from moxtwisted.store.interfaces import IGathering
from moxtwisted.store.staging import MEMORY_OCTETS, SealedFile, Staging

__all__ = ["SCANS_OCTETS", "Gathering"]

#: What scans found in messages that wait, about; those of others are done again.
SCANS_OCTETS: Final = 8 << 20


@implementer(IGathering)
class Gathering:
    """Places for messages that wait for each other; see ``IGathering``.

    In memory are: ``MEMORY_OCTETS`` of those that wait and as much of the one that comes in, what was found in them
    (``SCANS_OCTETS``), and the file's directory of chunks.
    """

    def __init__(
        self, directory: Path, entropy: Callable[[int], bytes], packer: Executor | None = None
    ) -> None:
        self._directory = directory
        self._entropy = entropy
        self._packer = packer
        self._last: Staging | None = None
        self._file: SealedFile | None = None
        self._users = 0
        self._octets = 0
        self._scans = 0

    def stage(self, size_hint: int = 0) -> Staging:
        """A place for the next one. :raises StoreFullError:"""
        last, self._last = self._last, None
        if last is not None:
            last.put_aside()
        self._last = Staging(self._directory, self._entropy, self._packer, self)
        return self._last

    # -- for its stagings ----------------------------------------------------------------------------------------------

    def open_file(self) -> SealedFile:
        """The file, made if there is none; ``close_file`` must be called once. :raises OSError:"""
        if self._file is None:
            self._file = SealedFile.make(self._directory, self._entropy)
        self._users += 1
        return self._file

    def close_file(self) -> None:
        """It is not needed any more by one of those who opened it."""
        self._users -= 1
        if not self._users and self._file is not None:
            self._file.close()
            self._file = None

    def hold(self, octets: int, scan_octets: int) -> tuple[int, int]:
        """What may stay in memory of a message and of its scan: all or nothing of each."""
        if self._octets + octets > MEMORY_OCTETS:
            octets = 0
        if self._scans + scan_octets > SCANS_OCTETS:
            scan_octets = 0
        self._octets += octets
        self._scans += scan_octets
        return octets, scan_octets

    def let_go(self, octets: int, scan_octets: int) -> None:
        """It does not stay any longer."""
        self._octets -= octets
        self._scans -= scan_octets
