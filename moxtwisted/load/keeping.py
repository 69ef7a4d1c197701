"""Where a sink puts messages that are to be kept: a Maildir, a file for each, or one file for all.

::

    keeper = Maildir(Path("/tmp/caught"), names)
    kept = keeper.begin(envelope)
    kept.write(octets)                             # again and again
    kept.finish()                                  # or kept.abort()

Files have the message as it came, with ``X-`` fields in front that say what the envelope was, as Postfix's smtp-sink writes them. Line
ends are LF. The reactor waits for each write: keep where the disk is fast.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Final, Protocol

from attrs import frozen

__all__ = ["DumpAppended", "DumpEach", "Envelope", "Keeper", "Kept", "Maildir"]

#: A message that is to be appended waits in memory until it is longer than this.
_SPOOL_OCTETS: Final = 1024 * 1024


@frozen(kw_only=True)
class Envelope:
    """What is written in front of a message.

    :ivar client: its address; empty for a unix socket.
    :ivar protocol: ``"SMTP"``, ``"ESMTP"`` or ``"LMTP"``.
    :ivar hello: the name the client gave.
    :ivar sender: the reverse-path with its brackets.
    :ivar recipients: forward-paths with their brackets.
    """

    client: str
    protocol: str
    hello: str
    sender: str
    recipients: Sequence[str]

    def fields(self) -> bytes:
        """The fields, each line ended by LF."""
        client = f"ipv6:{self.client}" if ":" in self.client else self.client
        lines = [f"X-Client-Addr: {client or 'unix'}", f"X-Client-Proto: {self.protocol}"]
        lines += [f"X-Helo-Args: {self.hello}"] if self.hello else []
        lines += [
            f"X-Mail-Args: {self.sender}",
            *(f"X-Rcpt-Args: {recipient}" for recipient in self.recipients),
        ]
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


class Kept(Protocol):
    """One message on its way to the disk."""

    def write(self, octets: bytes) -> None:
        """The next octets, line ends CRLF, which may be cut."""

    def finish(self) -> None:
        """It is complete."""

    def abort(self) -> None:
        """It is not."""


class Keeper(Protocol):
    """Begins what is kept."""

    def begin(self, envelope: Envelope) -> Kept:
        """A message.

        :raise OSError: nothing can be written.
        """


class _Lines:
    """CRLF to LF, wherever it is cut."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._held = b""

    def write(self, octets: bytes) -> None:
        """The next octets."""
        octets = self._held + octets
        self._held = b"\r" if octets.endswith(b"\r") else b""
        if self._held:
            octets = octets[:-1]
        self._file.write(octets.replace(b"\r\n", b"\n"))

    def close(self) -> None:
        """The end."""
        self._file.write(self._held)


class _File:
    """A message in a file of its own, that gets its name when it is complete."""

    def __init__(self, envelope: Envelope, temporary: Path, final: Path) -> None:
        self._temporary, self._final = temporary, final
        self._file = temporary.open("xb")
        self._file.write(envelope.fields())
        self._lines = _Lines(self._file)

    def write(self, octets: bytes) -> None:
        """See ``Kept``."""
        self._lines.write(octets)

    def finish(self) -> None:
        """See ``Kept``."""
        with self._file:
            self._lines.close()
        self._temporary.rename(self._final)

    def abort(self) -> None:
        """See ``Kept``."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


class Maildir:
    """Each message in ``new/`` of a Maildir."""

    def __init__(self, path: Path, unique: Callable[[], str]) -> None:
        """:param unique: makes a name that was never used there."""
        self._path = path
        self._unique = unique
        for name in ("tmp", "new", "cur"):
            (path / name).mkdir(parents=True, exist_ok=True)

    def begin(self, envelope: Envelope) -> Kept:
        """See ``Keeper``."""
        name = self._unique()
        return _File(envelope, self._path / "tmp" / name, self._path / "new" / name)


class DumpEach:
    """Each message in a file named after the time and a number."""

    def __init__(self, expand: Callable[[], str], unique: Callable[[], str]) -> None:
        """

        :param expand: gives the begin of the name, as of a template for ``strftime``.
        :param unique: gives its end.
        """
        self._expand = expand
        self._unique = unique

    def begin(self, envelope: Envelope) -> Kept:
        """See ``Keeper``."""
        path = Path(self._expand() + self._unique())
        path.parent.mkdir(parents=True, exist_ok=True)
        return _File(envelope, path.with_name(f".{path.name}"), path)


class DumpAppended:
    """Messages one after the other in a file named after the time, an empty line behind each."""

    def __init__(self, expand: Callable[[], str]) -> None:
        self._expand = expand

    def begin(self, envelope: Envelope) -> Kept:
        """See ``Keeper``."""
        return _Appended(envelope, Path(self._expand()))


class _Appended:
    def __init__(self, envelope: Envelope, path: Path) -> None:
        self._path = path
        self._file = tempfile.SpooledTemporaryFile(_SPOOL_OCTETS)  # noqa: SIM115  (closed by finish or abort)
        self._file.write(envelope.fields())
        self._lines = _Lines(self._file)

    def write(self, octets: bytes) -> None:
        """See ``Kept``."""
        self._lines.write(octets)

    def finish(self) -> None:
        """See ``Kept``."""
        with self._file as file:
            self._lines.close()
            file.write(b"\n")
            file.seek(0, os.SEEK_SET)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as target:
                copyfileobj(file, target)

    def abort(self) -> None:
        """See ``Kept``."""
        self._file.close()
