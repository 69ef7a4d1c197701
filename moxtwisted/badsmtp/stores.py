"""Where messages go besides memory: Maildirs, one for all or one for each host name, or nowhere.

::

    store = MaildirStore(Routing.of(settings), in_thread)     # in_thread(function) -> awaitable of its result
    await store.store(message)                                # raises StorageError

A file is the message with what the envelope said in front of it, as BadSMTP writes it::

    From: alice@example.org
    To: bob@example.net, carol@example.net
    Received: by badsmtp.test; Sun, 22 Nov 2026 08:30:00 +0000
    Subject: the message, from here on as it came

When what came does not begin with a header field, an empty line stands between. The files are written by ``in_thread``, away from
the reactor, within directories that are held open: no link that somebody puts there leads out of them.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import format_datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from zope.interface import implementer

from moxtwisted.badsmtp.interfaces import CapturedMessage, IMessageStore, StorageError
from moxtwisted.badsmtp.settings import Settings

__all__ = [
    "DiscardStore",
    "InThread",
    "Maildir",
    "MaildirStore",
    "Routing",
    "envelope_header",
    "file_name",
    "host_name",
    "make_store",
]

#: Runs a function away from the reactor: an awaitable of what it returns or raises.
InThread = Callable[[Callable[[], None]], Awaitable[None]]

_DIRECTORY_MODE: Final = 0o750
_FILE_MODE: Final = 0o600
_PARTS: Final = ("tmp", "new", "cur")
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# RFC 5322 section 2.2: what a header field begins with.
_FIELD: Final = re.compile(rb"[!-9;-~]+[ \t]*:")
# RFC 5322 section 2.1.1: lines should have no more characters.
_LINE_CHARACTERS: Final = 78
# Where the disk says "full": the reply is that of a quota, 452.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_HOST_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,253}[a-z0-9_])?")

# Of one process: makes names of files its own within a microsecond.
_numbers = count(1)


@frozen(kw_only=True)
class Routing:
    """Which Maildir a message goes to.

    :ivar mailbox_dir: for all, without routing; empty: nowhere.
    :ivar enabled: whether host names decide.
    :ivar mapped: host name, lower case, to the Maildir.
    :ivar default_dir: for the messages that no mapped name is in; empty: ``mailbox_dir``.
    """

    mailbox_dir: str = ""
    enabled: bool = False
    mapped: Mapping[str, str]
    default_dir: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Routing:
        """What the settings say."""
        return cls(
            mailbox_dir=settings.mailbox_dir,
            enabled=settings.enable_hostname_routing,
            mapped={
                known: path
                for name, path in settings.hostname_mailbox_map.items()
                if (known := host_name(name))
            },
            default_dir=settings.default_mailbox_dir,
        )

    @property
    def directories(self) -> tuple[str, ...]:
        """All Maildirs that there can be, each once."""
        default = self.default_dir or self.mailbox_dir
        found = [*self.mapped.values(), default] if self.enabled else [self.mailbox_dir]
        return tuple(dict.fromkeys(path for path in found if path))

    def directory(self, message: CapturedMessage) -> str:
        """The Maildir of a message; empty: nowhere.

        The first host name that is mapped decides: of SNI, of the recipients in their order, of EHLO. Names that clients send are
        only looked up, and never become part of a path.
        """
        if not self.enabled:
            return self.mailbox_dir
        for name in (
            message.server_name,
            *(path.rpartition("@")[2] for path in message.forward_paths),
            message.hello_name,
        ):
            found = self.mapped.get(host_name(name))
            if found is not None:
                return found
        return self.default_dir or self.mailbox_dir


def host_name(text: str) -> str:
    """A host name as it is compared: lower case, without a port and the root's dot; empty for what is none."""
    name = text.partition(":")[0].lower().removesuffix(".")
    return name if _HOST_NAME.fullmatch(name) else ""


def envelope_header(message: CapturedMessage) -> bytes:
    """What stands in front of a message, with an empty line when the message has no header that it could be part of."""
    date = format_datetime(message.received)
    lines = [f"From: {_plain(message.reverse_path)}"]
    if message.forward_paths:
        lines += _folded("To: ", [_plain(path) for path in message.forward_paths])
    lines.append(f"Received: by badsmtp.test; {date}")
    # Surrogates are octets that were no UTF-8 where they came from.
    header = ("\r\n".join(lines) + "\r\n").encode("utf-8", "surrogateescape")
    return header if _FIELD.match(message.content) else header + b"\r\n"


def _plain(path: str) -> str:
    """A path without what would begin another line."""
    return "".join(c for c in path if c >= " " and c != "\x7f")


def _folded(name: str, items: list[str]) -> list[str]:
    """A list in as few lines as there must be."""
    lines = [name + items[0]]
    for item in items[1:]:
        if len(lines[-1]) + 2 + len(item) <= _LINE_CHARACTERS:
            lines[-1] += ", " + item
        else:
            lines[-1] += ","
            lines.append(" " + item)
    return lines


def file_name(now: float, pid: int, number: int, hostname: str) -> str:
    """The name of a file in ``new``: ``<unix>.<unixmicro>_<pid>_<n>.<hostname>``.

    :param now: in seconds since 1970.
    :param hostname: what must not be in a file's name is written as the Maildir specification wants it.
    """
    host = hostname.replace("/", "\\057").replace(":", "\\072")
    return f"{int(now)}.{int(now * 1_000_000)}_{pid}_{number}.{host}"


class Maildir:
    """A directory of messages, a file each (https://cr.yp.to/proto/maildir.html).

    :param seconds: the time since 1970; by default of the machine.
    :param hostname: for the names of files; by default what this machine calls itself.
    """

    def __init__(
        self, path: Path | str, seconds: Callable[[], float] = time.time, hostname: str = ""
    ) -> None:
        self.path = Path(path)
        self._seconds = seconds
        self._hostname = hostname or os.uname().nodename or "badsmtp.test"

    def prepare(self) -> None:
        """Make what is not there yet.

        :raises StorageError: it cannot be made, or something else is in its place.
        """
        with self._failures(), self._opened():
            pass

    def write(self, message: CapturedMessage) -> str:
        """Keep a message; the name of its file in ``new``.

        :raises StorageError: it cannot be kept; nothing of it is left.
        """
        with self._failures(), self._opened() as parts:
            temporary = "msg-" + secrets.token_hex(8)
            try:
                _write_new(parts["tmp"], temporary, (envelope_header(message), message.content))
                name = file_name(self._seconds(), os.getpid(), next(_numbers), self._hostname)
                os.rename(temporary, name, src_dir_fd=parts["tmp"], dst_dir_fd=parts["new"])
            except OSError:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=parts["tmp"])
                raise
            return name

    @contextmanager
    def _opened(self) -> Iterator[dict[str, int]]:
        """Descriptors of the parts. Where they are is said by the operator; within, links are not followed."""
        self.path.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        descriptors: dict[str, int] = {}
        top = os.open(self.path, _OPEN_DIRECTORY)
        try:
            for name in _PARTS:
                with suppress(FileExistsError):
                    os.mkdir(name, mode=_DIRECTORY_MODE, dir_fd=top)
                descriptors[name] = os.open(name, _OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
            yield descriptors
        finally:
            for descriptor in (top, *descriptors.values()):
                os.close(descriptor)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What the disk says, as ``StorageError``."""
        try:
            yield
        except OSError as e:
            quota = "over quota: " if e.errno in _FULL else ""
            part = f" ({e.filename})" if e.filename and str(e.filename) != str(self.path) else ""
            raise StorageError(f"{quota}{self.path}{part}: {e.strerror or e}") from e


def _write_new(directory: int, name: str, pieces: tuple[bytes, ...]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, _FILE_MODE, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as file:
        for piece in pieces:
            file.write(piece)


@implementer(IMessageStore)
class DiscardStore:
    """Keeps nothing: what is captured in memory is all there is.

    :ivar kind: as the log calls it.
    """

    kind = "discard"

    def store(self, message: CapturedMessage) -> None:
        """Nothing is done."""


@implementer(IMessageStore)
class MaildirStore:
    """Writes messages to Maildirs.

    :ivar kind: as the log calls it.
    """

    kind = "maildir"

    def __init__(self, routing: Routing, in_thread: InThread) -> None:
        self._routing = routing
        self._in_thread = in_thread

    def prepare(self) -> None:
        """Make all Maildirs, so that what is wrong with them is known before the first message. Blocks.

        :raises StorageError: one of them cannot be made.
        """
        for path in self._routing.directories:
            Maildir(path).prepare()

    async def store(self, message: CapturedMessage) -> None:
        """Keep a message in the Maildir that the routing names.

        :raises StorageError: it could not be written.
        """
        path = message.directory or self._routing.directory(message)
        if path:

            def write() -> None:
                Maildir(path).write(message)

            await self._in_thread(write)


def make_store(settings: Settings, in_thread: InThread) -> Any:
    """The store that the settings name, an ``IMessageStore``."""
    routing = Routing.of(settings)
    return MaildirStore(routing, in_thread) if routing.directories else DiscardStore()
