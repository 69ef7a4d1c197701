r"""GETMETADATA, SETMETADATA (RFC 5464) and what LIST tells of it (RFC 9590).

::

    C: a1 GETMETADATA (DEPTH 1) "" (/private/filters/values)
    S: * METADATA "" (/private/filters/values/small "SMALLER 5000" /private/filters/values/boss "FROM boss")
    S: a1 OK GETMETADATA completed
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from moxtwisted.errors import MailboxMissingError, MailError
from moxtwisted.imap.backend import MailboxInfo
from moxtwisted.imap.commands.filters import check_filter
from moxtwisted.imap.connection import Answer, Connection, Handled, RefusalError, refused
from moxtwisted.imap.metadata import ADMIN, SPECIAL_USE, AnnotationNews, IAnnotatedSession
from moxtwisted.imap.sharing import NotPermittedError
from moxtwisted.imap.specialuse import UnknownUseError, parse_uses
from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.mailboxcommands import Depth, GetMetadata, SetMetadata
from moxtwisted.imap.wire.mailboxname import canonical

__all__ = ["annotated", "get_metadata", "list_metadata", "set_metadata", "start_news"]

# Octets of values in one METADATA response; more make another one (RFC 5464 section 4.4).
_OCTETS_A_RESPONSE: Final = 65536

_Pairs = Iterable[tuple[str, bytes | None]]


def annotated(connection: Connection) -> Any:
    """The session as one with annotations.

    :raise RefusalError: when it has none.
    """
    if not IAnnotatedSession.providedBy(connection.mail):
        raise RefusalError("there is no metadata here", "CANNOT")
    return connection.mail


def start_news(connection: Connection) -> None:
    """RFC 5464 section 4.1: the client enabled METADATA and shall hear of what others change."""
    if IAnnotatedSession.providedBy(connection.mail):
        connection.news.append(AnnotationNews(connection))


# -- reading ---------------------------------------------------------------------------------------------------------


def _values(connection: Connection, info: MailboxInfo | None) -> dict[str, bytes]:
    """All entries of a mailbox, or of the server (None), with those that are computed."""
    session = annotated(connection)
    values = dict(session.annotations(info.name if info is not None else ""))
    if info is None:
        values.pop(ADMIN, None)
        if session.administrator:
            values[ADMIN] = session.administrator.encode("utf-8")
    else:
        values.pop(SPECIAL_USE, None)
        if uses := connection.special_use(info):
            values[SPECIAL_USE] = " ".join(uses).encode("ascii")
    return values


def get_metadata(connection: Connection, command: GetMetadata) -> Handled:
    """GETMETADATA."""
    info = connection.existing(command.mailbox) if command.mailbox else None
    return _pieces(connection, command, _values(connection, info), info.name if info is not None else "")


def _pieces(
    connection: Connection, command: GetMetadata, values: Mapping[str, bytes], mailbox: str
) -> Generator[bytes, None, Answer]:
    most = command.max_size
    fitting: list[tuple[str, bytes | None]] = []
    longest = 0
    for name in _wanted(command, values):
        value = values.get(name)
        if most is not None and value is not None and len(value) > most:
            longest = max(longest, len(value))
        else:
            fitting.append((name, value))
    yield from _responses(connection, mailbox, fitting)
    if longest:
        # RFC 5464 section 4.2.1: the size of the largest that was left out.
        return b"OK [METADATA LONGENTRIES %d] GETMETADATA completed" % longest
    return None


def _wanted(command: GetMetadata, values: Mapping[str, bytes]) -> Sequence[str]:
    """Names of the entries to be told: those asked for, each followed by those below it as DEPTH says."""
    found: dict[str, None] = {}
    names = sorted(values) if command.depth is not Depth.ZERO else ()
    for entry in command.entries:
        start = entry + "/"
        below = [
            name
            for name in names
            if name.startswith(start) and (command.depth is Depth.INFINITY or "/" not in name[len(start) :])
        ]
        if entry in values or not below:
            # What has no value is told as NIL: the RFC wants a response.
            found[entry] = None
        found.update(dict.fromkeys(below))
    return list(found)


def _responses(connection: Connection, mailbox: str, pairs: _Pairs) -> Iterator[bytes]:
    utf8 = connection.utf8
    name = render.mailbox(canonical(mailbox), utf8=utf8) if mailbox else b'""'
    parts: list[bytes] = []
    octets = 0
    for entry, value in pairs:
        rendered = render.metadata_value(value, utf8=utf8)
        parts.append(b"%b %b" % (render.astring(entry, utf8=utf8), rendered))
        octets += len(rendered)
        if octets > _OCTETS_A_RESPONSE:
            yield b"* METADATA %b (%b)\r\n" % (name, b" ".join(parts))
            parts, octets = [], 0
    if parts:
        yield b"* METADATA %b (%b)\r\n" % (name, b" ".join(parts))


def list_metadata(connection: Connection, info: MailboxInfo, entries: Sequence[str]) -> bytes:
    """The METADATA response that follows a mailbox's LIST response; empty when the mailbox went meanwhile."""
    try:
        values = _values(connection, info)
    except (MailboxMissingError, NotPermittedError):
        # RFC 9590 section 3 lets us leave it out.
        return b""
    return b"".join(_responses(connection, info.name, [(name, values.get(name)) for name in entries]))


# -- setting ---------------------------------------------------------------------------------------------------------


async def set_metadata(connection: Connection, command: SetMetadata) -> Answer:
    """SETMETADATA: all or nothing."""
    session = annotated(connection)
    values = dict(command.values)
    uses: tuple[str, ...] | None = None
    name = ""
    if command.mailbox:
        info = connection.existing(command.mailbox)
        name = info.name
        if SPECIAL_USE in values:
            if "SPECIAL-USE" not in connection.offered:
                # RFC 6154 section 4: the entry is of that extension.
                raise RefusalError("that entry cannot be changed", "NOPERM")
            uses = _uses(canonical(name), values.pop(SPECIAL_USE))
    else:
        if ADMIN in values:
            raise RefusalError("that entry cannot be changed", "NOPERM")
        for entry, value in values.items():
            check_filter(entry, value)
    await _annotate(connection, session, name, values, uses)
    # RFC 5465 section 5: NOTIFY does not tell who did it.
    entries = [*values, *([SPECIAL_USE] if uses is not None else [])]
    if connection.notifying is not None:
        connection.notifying.annotated(name, entries)
    return None


async def _annotate(
    connection: Connection,
    session: Any,
    mailbox: str,
    values: dict[str, bytes | None],
    uses: tuple[str, ...] | None,
) -> None:
    news = [source for source in connection.news if isinstance(source, AnnotationNews)]
    for source in news:
        source.begin(mailbox, tuple(values), special_use=uses is not None)
    try:
        await session.annotate(mailbox, values, uses)
    except MailError as e:
        raise refused(e) from e
    finally:
        for source in news:
            source.end()


def _uses(mailbox: str, value: bytes | None) -> tuple[str, ...]:
    """RFC 6154 section 4: what is set as metadata is checked as CREATE checks it."""
    try:
        uses = parse_uses(value)
    except UnknownUseError as e:
        raise RefusalError(str(e), "USEATTR") from e
    if uses and mailbox == "INBOX":
        # Clients empty \Trash, and move to \Archive what they take out of INBOX.
        raise RefusalError("INBOX has its use already", "USEATTR")
    return uses
