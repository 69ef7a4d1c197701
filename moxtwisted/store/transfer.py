"""Mail in and out of an account: mbox files and Maildirs.

::

    done = await import_mbox(store, account, "Archive", Path("old.mbox"), progress)
    done.messages, done.skipped
    await export_maildir(account, "", Path("/backup/me"), clock, progress)     # all mailboxes, a Maildir each

Messages go in in batches, each one commit; memory is bounded by a batch, whatever the size of the file. An import that was
broken off has kept what its finished batches brought.

Flags: Maildir has them in the file names (and ``dovecot-keywords`` for keywords). mbox has none; we write, and take, the fields
``Status``, ``X-Status`` and ``X-Keywords`` at the very top of a message, as mail programs do.

Folders of a Maildir (Maildir++: ``.Work.2024`` beside its ``cur``) become mailboxes below the target, ``Target/Work/2024``. What we
write is for the owner alone: files 0600, directories 0700.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Final

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from moxtwisted.errors import LimitError, MailboxMissingError, MailError
from moxtwisted.message import modifiedutf7
from moxtwisted.message.dates import bounded_instant
from moxtwisted.message.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, MessageFlags
from moxtwisted.message.mbox import MboxWriter, read_mbox
from moxtwisted.store.accounts import Account
from moxtwisted.store.interfaces import Addition, Column, IStagedMessage, IStore, Mailbox, NewMessage
from moxtwisted.store.mailboxes import canonical_name

__all__ = ["Transferred", "export_maildir", "export_mbox", "import_maildir", "import_mbox"]

Progress = Callable[[int, int, str], None]

_BATCH_MESSAGES: Final = 100
_BATCH_OCTETS: Final = 16 * 1024 * 1024
#: A larger file in a Maildir is no message.
_MESSAGE_OCTETS: Final = 1024 * 1024 * 1024
_READ_OCTETS: Final = 262_144
#: How long an import works before the reactor gets its turn, seconds.
_TURN_SECONDS: Final = 0.005

_MAILDIR_FLAGS: Final = {"S": SEEN, "R": ANSWERED, "F": FLAGGED, "T": DELETED, "D": DRAFT}
_STATUS_FLAGS: Final = {"R": SEEN, "A": ANSWERED, "F": FLAGGED, "D": DELETED, "T": DRAFT}
# Each once and in this order, as we write them: a field of the same name behind them is the message's own.
_MBOX_FLAGS: Final = re.compile(
    rb"(?:Status:[^\r\n]{0,1000}\r?\n)?(?:X-Status:[^\r\n]{0,1000}\r?\n)?(?:X-Keywords:[^\r\n]{0,4000}\r?\n)?",
    re.IGNORECASE,
)
_MBOX_FLAGS_OCTETS: Final = 8192
_KEYWORD: Final = re.compile(r"[!#$&'+,./0-9:;<=>?@A-Z^_`a-z|}~-]{1,100}\Z")


@frozen
class Transferred:
    """How it went.

    :ivar messages: of all mailboxes together.
    :ivar skipped: names of files that were no messages, and of folders whose name no mailbox can have.
    """

    messages: int
    skipped: tuple[str, ...] = ()


@define(eq=False)
class _Importer:
    """Collects messages and adds them in batches."""

    store: IStore
    account: Account
    mailbox: int
    clock: IReactorTime
    messages: int = 0
    _pending: list[Addition] = field(factory=list)
    _pending_octets: int = 0
    _turn_ends: float = 0.0

    async def stage(self, chunks: Iterable[bytes]) -> IStagedMessage:
        """Take the octets of one message; it becomes CRLF."""
        staging = self.store.stage()
        try:
            last = b""
            for chunk in chunks:
                # A CR at the end of one piece and the LF of the next are one line end.
                piece = (b"\r" if last == b"\r" else b"") + chunk
                last = piece[-1:]
                staging.write(_crlf(piece[:-1] if last == b"\r" else piece))
                await self._breathe()
            if last == b"\r":
                staging.write(last)
        except BaseException:
            staging.abort()
            raise
        return staging.finish()

    async def _breathe(self) -> None:
        """Give the reactor its turn every few milliseconds."""
        if time.perf_counter() > self._turn_ends:
            await deferLater(self.clock, 0)
            self._turn_ends = time.perf_counter() + _TURN_SECONDS

    async def add(self, staged: IStagedMessage, internaldate: int, flags: MessageFlags) -> None:
        """Have it added, with its neighbours."""
        self._pending.append(Addition(self.mailbox, NewMessage(staged, b"", internaldate, flags)))
        self._pending_octets += staged.size
        if len(self._pending) >= _BATCH_MESSAGES or self._pending_octets >= _BATCH_OCTETS:
            await self.flush()

    async def flush(self) -> None:
        """Commit what is pending."""
        pending, self._pending, self._pending_octets = self._pending, [], 0
        try:
            if pending:
                await self.account.add(pending)
                self.messages += len(pending)
        finally:
            for addition in pending:
                addition.message.staged.close()

    def drop(self) -> None:
        """Let go of what is pending."""
        pending, self._pending = self._pending, []
        for addition in pending:
            addition.message.staged.close()


def _crlf(octets: bytes) -> bytes:
    complete = octets.count(b"\r\n")
    if complete == octets.count(b"\n"):
        return octets
    # A tenth of the time that a regular expression takes.
    return (octets.replace(b"\r\n", b"\n") if complete else octets).replace(b"\n", b"\r\n")


async def _target(account: Account, name: str) -> int:
    found = account.mailbox(name) or await account.create_mailbox(name)
    return found.id


# -- in ----------------------------------------------------------------------------------------------------------------


async def import_mbox(
    store: IStore, account: Account, mailbox: str, path: Path, clock: IReactorTime, progress: Progress
) -> Transferred:
    """Read an mbox file (mboxrd or mboxo quoting) into a mailbox, which is made when it is missing.

    :raises MailError: when the file cannot be read, is no mbox, or the account has no room; what was read before stays.
    """
    with _opened(path) as file:
        total = os.fstat(file.fileno()).st_size
        if file.read(5) not in (b"From ", b""):
            raise MailError(f"{path}: not an mbox file: it does not begin with a From line")
        file.seek(0)
        importer = _Importer(store, account, await _target(account, mailbox), clock)
        try:
            for entry in read_mbox(file):
                flags, chunks = _flags_of_mbox(entry.chunks)
                staged = await importer.stage(chunks)
                date = entry.seconds
                if date is None:
                    date = staged.scanned.date
                await importer.add(staged, bounded_instant(date or 0), flags)
                progress(file.tell(), total, "octets")
            await importer.flush()
        finally:
            importer.drop()
    progress(total, total, "octets")
    return Transferred(importer.messages)


def _opened(path: Path) -> IO[bytes]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise MailError(f"{path}: cannot be read: not a file")
        return path.open("rb")
    except OSError as e:
        raise MailError(f"{path}: cannot be read: {e.strerror}") from e


def _flags_of_mbox(chunks: Iterator[bytes]) -> tuple[MessageFlags, Iterator[bytes]]:
    """The flags at the top of a message, and the message without them."""
    first = b""
    while len(first) < _MBOX_FLAGS_OCTETS and (chunk := next(chunks, None)) is not None:
        first += chunk
    top = _MBOX_FLAGS.match(first)
    if top is None or not top[0]:
        return MessageFlags.of(0), _chained(first, chunks)
    system, keywords = 0, []
    for line in top[0].decode("ascii", "replace").splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "x-keywords":
            keywords = [word for word in value.split() if _KEYWORD.match(word)]
        else:
            system |= sum(bit for letter, bit in _STATUS_FLAGS.items() if letter in value)
    return MessageFlags.of(system, keywords), _chained(first[top.end() :], chunks)


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


async def import_maildir(
    store: IStore, account: Account, mailbox: str, path: Path, clock: IReactorTime, progress: Progress
) -> Transferred:
    """Read the ``cur`` and ``new`` of a Maildir into a mailbox, oldest first, and its folders into mailboxes below that one;
    dates are those of the files. Files without an octet are no messages.

    :raises MailError: when it is no Maildir, or the account has no room; what was read before stays.
    """
    skipped: list[str] = []
    try:
        if not (path / "cur").is_dir() or not (path / "new").is_dir():
            raise MailError(f"{path}: not a Maildir: it has no directories cur and new")
        folders = [_Folder.read(path, "", mailbox), *_folders(path, mailbox, skipped)]
    except OSError as e:
        raise MailError(f"{path}: cannot be read: {e.strerror}") from e
    importer = _Importer(store, account, 0, clock)
    done, total = 0, sum(len(folder.files) for folder in folders)
    try:
        for folder in folders:
            importer.mailbox = await _target(account, folder.mailbox)
            for name in folder.files:
                done += 1
                try:
                    with (folder.path / name).open("rb") as file:
                        date = _date_of(file)
                        staged = await importer.stage(iter(partial(file.read, _READ_OCTETS), b""))
                except (OSError, LimitError):
                    skipped.append(_printable(folder.name + name))
                    continue
                if staged.size:
                    await importer.add(staged, date, _maildir_flags(name, folder.keywords))
                else:
                    staged.close()
                    skipped.append(_printable(folder.name + name))
                progress(done, total, "messages")
        await importer.flush()
    finally:
        importer.drop()
    return Transferred(importer.messages, tuple(skipped))


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


@frozen
class _Folder:
    """A Maildir, or a folder of one, and where its messages go.

    :ivar name: below the Maildir, with a slash; empty for itself.
    :ivar files: names below the folder, the oldest first. Of very many: their dates are looked up again.
    """

    path: Path
    name: str
    mailbox: str
    keywords: dict[str, str]
    files: list[str]

    @classmethod
    def read(cls, path: Path, name: str, mailbox: str) -> _Folder:
        files = [name for _, name in sorted(_maildir_files(path))]
        return cls(path, name, mailbox, _maildir_keywords(path), files)


def _folders(path: Path, mailbox: str, skipped: list[str]) -> Iterator[_Folder]:
    """The folders of a Maildir by Maildir++: directories ``.Level.Level`` that have a ``cur``."""
    with os.scandir(path) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        )
    for name in names:
        if not (path / name / "cur").is_dir():
            continue
        try:
            target = canonical_name(f"{mailbox}/{'/'.join(_folder_levels(name))}")
        except MailError:
            skipped.append(_printable(name + "/"))
            continue
        yield _Folder.read(path / name, name + "/", target)


def _folder_levels(name: str) -> list[str]:
    try:
        text = modifiedutf7.decode(os.fsencode(name))
    except modifiedutf7.ModifiedUTF7Error:
        # Some servers can be told to write UTF-8 instead.
        text = os.fsencode(name).decode("utf-8", "replace")
    return text[1:].split(".")


def _maildir_files(path: Path) -> Iterator[tuple[int, str]]:
    """(date, name below the Maildir) of its files."""
    for directory in ("cur", "new"):
        if not (path / directory).is_dir():
            continue
        with os.scandir(path / directory) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    yield int(entry.stat(follow_symlinks=False).st_mtime), f"{directory}/{entry.name}"


def _date_of(file: IO[bytes]) -> int:
    """When it was written. :raises LimitError: it is too large for a message"""
    facts = os.fstat(file.fileno())
    if facts.st_size > _MESSAGE_OCTETS:
        raise LimitError(f"{file.name}: larger than {_MESSAGE_OCTETS} octets")
    return bounded_instant(int(facts.st_mtime))


def _maildir_keywords(path: Path) -> dict[str, str]:
    """Letters a to z and their keywords, from Dovecot's file."""
    found: dict[str, str] = {}
    try:
        lines = (path / "dovecot-keywords").read_text("utf-8", "replace").splitlines()
    except OSError:
        return found
    for line in lines[:26]:
        number, _, keyword = line.partition(" ")
        if number.isdecimal() and int(number) < 26 and _KEYWORD.match(keyword):
            found[chr(ord("a") + int(number))] = keyword
    return found


def _maildir_flags(name: str, keywords: dict[str, str]) -> MessageFlags:
    letters = name.rpartition(":2,")[2] if ":2," in name else ""
    system = sum(bit for letter, bit in _MAILDIR_FLAGS.items() if letter in letters)
    words = [keywords[letter] for letter in letters if letter in keywords]
    if "P" in letters:
        words.append("$Forwarded")
    return MessageFlags.of(system, words)


# -- out ---------------------------------------------------------------------------------------------------------------


def _selected(account: Account, mailbox: str) -> list[Mailbox]:
    if not mailbox:
        return list(account.mailboxes())
    found = account.mailbox(mailbox)
    if found is None:
        raise MailboxMissingError(mailbox)
    return [found]


#: Octets of a directory's name that every file system takes, less what is put behind it.
_MAX_LEVEL_OCTETS: Final = 200
#: Names that a Maildir has for itself.
_TAKEN: Final = frozenset(("cur", "new", "tmp", "dovecot-keywords"))


def _file_name(mailbox: str) -> str:
    """A mailbox's name as a path below the target: levels become directories, nothing leads out of it, and no mailbox is in
    the way of another."""
    levels = [_level(level) for level in mailbox.split("/")]
    # "a.mbox" is the file of mailbox "a", and so cannot be the directory of "a.mbox/b".
    above = [level[:-5] + "%2Embox" if level.endswith(".mbox") else level for level in levels[:-1]]
    return "/".join([*above, levels[-1]])


def _level(level: str) -> str:
    quoted = "".join(c if c.isalnum() else urllib.parse.quote(c, safe=" @+=,!&()[]'~.-_") for c in level)
    if quoted.startswith(".") or quoted in _TAKEN:
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    octets = quoted.encode()
    if len(octets) <= _MAX_LEVEL_OCTETS:
        return quoted
    digest = hashlib.sha256(octets).hexdigest()[:16]
    return octets[: _MAX_LEVEL_OCTETS - 17].decode("utf-8", "ignore") + "~" + digest


_Write = Callable[[int, int, MessageFlags, Iterator[bytes]], None]


async def _each_message(
    account: Account, mailbox: Mailbox, clock: IReactorTime, write: _Write, progress: Callable[[], None]
) -> None:
    """Call ``write(uid, date, flags, octets)`` for each message of a mailbox; the reactor gets its turn in between."""
    state = account.state(mailbox.id)
    uids, flags = state.uids, list(state.flags)
    for uid, mine in zip(uids, flags, strict=True):
        rows = account.rows(mailbox.id, [uid], Column.INTERNALDATE)
        reader = account.open_body(mailbox.id, uid)
        if not rows or reader is None:
            continue  # expunged meanwhile
        try:
            octets = (reader.read(offset, _READ_OCTETS) for offset in range(0, reader.size, _READ_OCTETS))
            write(uid, rows[0][1], mine, octets)
        finally:
            reader.close()
        progress()
        await deferLater(clock, 0)


@define(eq=False)
class _Count:
    """Counts messages, and tells how far it has come."""

    total: int
    _progress: Progress
    done: int = 0

    def __call__(self) -> None:
        self.done += 1
        self._progress(self.done, self.total, "messages")


async def export_mbox(
    account: Account, mailbox: str, path: Path, clock: IReactorTime, progress: Progress
) -> Transferred:
    """Write one mailbox (or all, when the name is empty) as mboxrd files below a directory, ``INBOX.mbox`` and so on.

    :raises MailError: when a file is there already or cannot be written.
    """
    chosen = _selected(account, mailbox)
    count = _Count(sum(m.messages for m in chosen), progress)

    for one in chosen:
        with _created(path / (_file_name(one.name) + ".mbox")) as file:
            writer = MboxWriter(file)

            def write(
                uid: int, date: int, flags: MessageFlags, octets: Iterator[bytes], writer: MboxWriter = writer
            ) -> None:
                first = next(octets, b"")
                top = _mbox_fields(flags, first) + first
                writer.add(_chained(top, octets), sender="MAILER-DAEMON", seconds=date)

            try:
                await _each_message(account, one, clock, write, count)
                file.flush()
                os.fsync(file.fileno())
            except OSError as e:
                raise MailError(f"{file.name}: cannot be written: {e.strerror}") from e
    return Transferred(count.done)


def _created(path: Path) -> IO[bytes]:
    try:
        _make_directory(path.parent)
        return _created_privately(path)
    except FileExistsError as e:
        raise MailError(f"{path}: is there already; export into an empty directory") from e
    except OSError as e:
        raise MailError(f"{path}: cannot be written: {e.strerror}") from e


def _make_directory(path: Path) -> None:
    """Make it and what is missing above it; mail is for its owner alone."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(mode=0o700)


def _created_privately(path: Path) -> IO[bytes]:
    """A new file for the owner alone. :raises FileExistsError:"""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _mbox_fields(flags: MessageFlags, message: bytes) -> bytes:
    """The fields for a message, so that those of its own behind them are not taken for ours."""
    own = message[:11].lower()
    status = "R" if flags.system & SEEN else ""
    more = "".join(letter for letter, bit in _STATUS_FLAGS.items() if letter != "R" and flags.system & bit)
    fields = f"Status: {status}O\r\n"
    if more or own.startswith((b"x-status:", b"x-keywords:")):
        fields += f"X-Status: {more}\r\n"
    if flags.keywords or own.startswith(b"x-keywords:"):
        fields += f"X-Keywords: {' '.join(flags.keywords)}\r\n"
    return fields.encode("ascii", "replace")


async def export_maildir(
    account: Account, mailbox: str, path: Path, clock: IReactorTime, progress: Progress
) -> Transferred:
    """Write one mailbox (or all, when the name is empty) as Maildirs below a directory, with LF line ends.

    :raises MailError: when a Maildir is there already or cannot be written.
    """
    chosen = _selected(account, mailbox)
    count = _Count(sum(m.messages for m in chosen), progress)

    for one in chosen:
        target = _Maildir.create(path / _file_name(one.name))
        await _each_message(account, one, clock, target.write, count)
        target.finish()
    return Transferred(count.done)


@define(eq=False)
class _Maildir:
    """A Maildir being written."""

    path: Path
    keywords: dict[str, str] = field(factory=dict)

    @classmethod
    def create(cls, path: Path) -> _Maildir:
        try:
            _make_directory(path)
            for directory in ("cur", "new", "tmp"):
                (path / directory).mkdir(mode=0o700)
        except FileExistsError as e:
            raise MailError(f"{path}: is there already; export into an empty directory") from e
        except OSError as e:
            raise MailError(f"{path}: cannot be written: {e.strerror}") from e
        return cls(path)

    def write(self, uid: int, date: int, flags: MessageFlags, octets: Iterator[bytes]) -> None:
        # The UID in ten digits: by their names the messages of one second stay in order. The date of the message is that of
        # the file; one before 1970 would begin the name with a hyphen, as if it were an option.
        name = f"{max(date, 0)}.{uid:010}.moxmail:2,{self._letters(flags)}"
        file = self.path / "cur" / name
        try:
            with _created_privately(file) as out:
                last = b""
                for chunk in octets:
                    piece = last + chunk
                    last = piece[-1:] if piece.endswith(b"\r") else b""
                    out.write(piece[: len(piece) - len(last)].replace(b"\r\n", b"\n"))
                out.write(last)
            os.utime(file, (date, date))
        except OSError as e:
            raise MailError(f"{file}: cannot be written: {e.strerror}") from e

    def _letters(self, flags: MessageFlags) -> str:
        letters = {letter for letter, bit in _MAILDIR_FLAGS.items() if flags.system & bit}
        for keyword in flags.keywords:
            if keyword == "$Forwarded":
                letters.add("P")
            elif keyword in self.keywords or len(self.keywords) < 26:
                # Maildir has room for 26 keywords; more are lost in this format.
                letters.add(self.keywords.setdefault(keyword, chr(ord("a") + len(self.keywords))))
        return "".join(sorted(letters))

    def finish(self) -> None:
        if self.keywords:
            lines = "".join(f"{n} {keyword}\n" for n, keyword in enumerate(self.keywords))
            try:
                with _created_privately(self.path / "dovecot-keywords") as out:
                    out.write(lines.encode())
            except OSError as e:
                raise MailError(f"{self.path}: cannot be written: {e.strerror}") from e
