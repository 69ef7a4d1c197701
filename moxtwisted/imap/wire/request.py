r"""Writing commands, for a client: the way back from ``moxtwisted.imap.wire.commands`` to octets.

A request is a list of segments: after each but the last, the client waits for a continuation. With non-synchronising
literals (RFC 7888) there is one segment::

    render_command(Login(b"a1", "alice", "päss"), literals=NonSync.NONE)
      -> [b'a1 LOGIN alice {5}\r\n', b'p\xc3\xa4ss\r\n']

What is read by ``moxtwisted.imap.wire.parser.CommandReader`` from a command written here is the command again.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any

from attrs import fields, frozen

from moxtwisted.imap.wire import aclcommands as a
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import mailboxname, render
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.lexer import MONTHS
from moxtwisted.imap.wire.mailboxfilter import FilterKind, MailboxFilter
from moxtwisted.imap.wire.mailboxrequests import WRITERS as MAILBOX_WRITERS
from moxtwisted.imap.wire.mailboxrequests import entries
from moxtwisted.imap.wire.notifygrammar import write_notify
from moxtwisted.imap.wire.returnoptions import ReturnOption
from moxtwisted.imap.wire.urlcommands import URL_REQUESTS

__all__ = ["NonSync", "Outgoing", "RequestWriter", "flag", "flags", "render_append", "render_command"]

NONSYNC_MINUS_OCTETS = 4096
"""RFC 7888 section 5: the largest literal that LITERAL- lets a client send without waiting."""


_NO_LINE = re.compile(rb"[\x00\r\n]")
_FLAG = re.compile(r'\\?[^\x00-\x20(){%*"\\\x7f-\U0010ffff]+')
_ANNOUNCES = re.compile(rb"\{[0-9]+\+?\}\Z")


class NonSync(Enum):
    """Which literals the server takes without continuation."""

    NONE = 0
    SMALL = 1
    """LITERAL-, or IMAP4rev2: up to 4096 octets."""
    ALL = 2
    """LITERAL+."""


@frozen
class Outgoing:
    """A message to be appended.

    :ivar data: with CRLF line ends; literal8 is used when it has NUL.
    :ivar flags: as ``"\\\\Seen"``.
    :ivar received: aware of its zone, or ``None`` for now.
    """

    data: bytes
    flags: tuple[str, ...] = ()
    received: datetime | None = None


class RequestWriter:
    """Gathers the octets of one command.

    :param literals: which literals go without waiting.
    :param utf8: whether IMAP4rev2 or UTF8=ACCEPT was enabled.
    """

    def __init__(self, literals: NonSync = NonSync.NONE, *, utf8: bool = False) -> None:
        self._literals = literals
        self._parts: list[bytes] = []
        self._segments: list[bytes] = []
        self._announces = False
        self.utf8 = utf8

    def write(self, octets: bytes) -> None:
        """Add octets as they are.

        :raise ValueError: they would end the line, and begin another command.
        """
        if _NO_LINE.search(octets):
            raise ValueError(f"NUL, CR or LF where IMAP has none: {octets[:100]!r}")
        self._parts.append(octets)
        self._announces = _ANNOUNCES.search(octets) is not None

    def literal(self, value: bytes, *, binary: bool = False) -> None:
        """Add a literal."""
        waits = self._literals is NonSync.NONE or (
            self._literals is NonSync.SMALL and len(value) > NONSYNC_MINUS_OCTETS
        )
        prefix = b"~" if binary else b""
        self._parts.append(b"%b{%d%b}\r\n" % (prefix, len(value), b"" if waits else b"+"))
        if waits:
            self._segments.append(b"".join(self._parts))
            self._parts = []
        self._parts.append(value)
        self._announces = False

    def string(self, value: str) -> None:
        """Add a quoted string or a literal."""
        octets = value.encode("utf-8")
        written = render.string(octets, utf8=self.utf8)
        if written.startswith(b"{"):
            self.literal(octets)
        else:
            self.write(written)

    def astring(self, value: str | bytes) -> None:
        """Add an astring."""
        octets = value.encode("utf-8") if isinstance(value, str) else value
        written = render.astring(octets, utf8=self.utf8)
        if written.startswith(b"{"):
            self.literal(octets)
        else:
            self.write(written)

    def mailbox(self, name: str) -> None:
        """Add a mailbox name or a pattern."""
        self.astring(mailboxname.encode(name, utf8=self.utf8))

    def mailboxes(self, names: Iterable[str]) -> None:
        """Add several of them in parentheses."""
        self.write(b"(")
        for index, name in enumerate(names):
            self.write(b" " if index else b"")
            self.mailbox(name)
        self.write(b")")

    def some_mailboxes(self, names: Collection[str]) -> None:
        """The same of one at least.

        :raise ValueError: there is none.
        """
        if not names:
            raise ValueError("no names of mailboxes")
        self.mailboxes(names)

    def end(self) -> None:
        """The command ends here.

        :raise ValueError: its last line announces a literal: the server would take the next command for its octets.
        """
        if self._announces:
            raise ValueError("a literal is announced that does not follow")

    def finish(self) -> list[bytes]:
        """The segments, the last with its CRLF.

        :raise ValueError: see ``end``.
        """
        self.end()
        return [*self._segments, b"".join([*self._parts, b"\r\n"])]


# -- search keys -----------------------------------------------------------------------------------------------------


def _day(day: date) -> bytes:
    return b"%d-%b-%04d" % (day.day, MONTHS[day.month - 1], day.year)


def flag(name: str) -> str:
    """The name of a flag or keyword, as it is; with ``]``, which servers were seen to have in keywords (RFC 9051 section 9 has not).

    :raise ValueError: it is none.
    """
    if _FLAG.fullmatch(name) is None:
        raise ValueError(f"no flag: {name[:100]!r}")
    return name


def filter_name(name: str) -> str:
    """The name of a filter, as it is.

    :raise ValueError: no filter can have it.
    """
    if not k.is_filter_name(name):
        raise ValueError(f"no name of a filter: {name[:100]!r}")
    return name


def flags(names: Iterable[str]) -> bytes:
    """A list of flags in parentheses.

    :raise ValueError: as of ``flag``.
    """
    return f"({' '.join(map(flag, names))})".encode("ascii")


def _write_flag(writer: RequestWriter, key: k.HasFlag) -> None:
    if key.flag == "\\Recent":
        writer.write(b"RECENT" if key.present else b"OLD")
    elif key.flag.startswith("\\"):
        writer.write(f"{'' if key.present else 'UN'}{flag(key.flag)[1:].upper()}".encode("ascii"))
    else:
        writer.write(f"{'' if key.present else 'UN'}KEYWORD {flag(key.flag)}".encode("ascii"))


def _write_header(writer: RequestWriter, key: k.HeaderContains) -> None:
    if key.field in {"Bcc", "Cc", "From", "Subject", "To"}:
        writer.write(key.field.upper().encode("ascii") + b" ")
    else:
        writer.write(b"HEADER ")
        writer.astring(key.field)
        writer.write(b" ")
    writer.astring(key.text)


def _write_modseq(writer: RequestWriter, key: k.ModSeqAtLeast) -> None:
    entry = b"%b %b " % (render.quoted(key.entry), key.entry_type.encode("ascii")) if key.entry else b""
    writer.write(b"MODSEQ %b%d" % (entry, key.modseq))


def _text_key(word: bytes) -> Callable[[RequestWriter, Any], None]:
    def write(writer: RequestWriter, key: Any) -> None:
        writer.write(word + b" ")
        writer.astring(key.text if hasattr(key, "text") else key.object_id)

    return write


def _plain(form: Callable[[Any], bytes]) -> Callable[[RequestWriter, Any], None]:
    return lambda writer, key: writer.write(form(key))


def _write_and(writer: RequestWriter, key: k.And) -> None:
    writer.write(b"(")
    _write_all(writer, key.keys)
    writer.write(b")")


def _write_not(writer: RequestWriter, key: k.Not) -> None:
    writer.write(b"NOT ")
    write_key(writer, key.key)


def _write_fuzzy(writer: RequestWriter, key: k.Fuzzy) -> None:
    writer.write(b"FUZZY ")
    write_key(writer, key.key)


def _write_or(writer: RequestWriter, key: k.Or) -> None:
    writer.write(b"OR ")
    _write_all(writer, (key.left, key.right))


_KEYS: dict[type[k.SearchKey], Callable[[RequestWriter, Any], None]] = {
    k.Everything: _plain(lambda _key: b"ALL"),
    k.And: _write_and,
    k.Or: _write_or,
    k.Not: _write_not,
    k.Fuzzy: _write_fuzzy,
    k.HasFlag: _write_flag,
    k.HeaderContains: _write_header,
    k.BodyContains: _text_key(b"BODY"),
    k.TextContains: _text_key(b"TEXT"),
    k.InternalDate: _plain(lambda key: key.comparison.value.encode() + b" " + _day(key.day)),
    k.SentDate: _plain(lambda key: b"SENT" + key.comparison.value.encode() + b" " + _day(key.day)),
    k.SavedDate: _plain(lambda key: b"SAVED" + key.comparison.value.encode() + b" " + _day(key.day)),
    k.SaveDateSupported: _plain(lambda _key: b"SAVEDATESUPPORTED"),
    k.Younger: _plain(lambda key: b"YOUNGER %d" % key.seconds),
    k.Older: _plain(lambda key: b"OLDER %d" % key.seconds),
    k.Larger: _plain(lambda key: b"LARGER %d" % key.octets),
    k.Smaller: _plain(lambda key: b"SMALLER %d" % key.octets),
    k.UidIn: _plain(lambda key: b"UID " + key.uids.render()),
    k.UidAfter: _plain(lambda key: b"UIDAFTER %d" % key.uid),
    k.UidBefore: _plain(lambda key: b"UIDBEFORE %d" % key.uid),
    k.NumberIn: _plain(lambda key: key.numbers.render()),
    k.ModSeqAtLeast: _write_modseq,
    k.Filter: _plain(lambda key: b"FILTER " + filter_name(key.name).encode("ascii")),
    k.EmailIdIs: _text_key(b"EMAILID"),
    k.ThreadIdIs: _text_key(b"THREADID"),
}


def write_key(writer: RequestWriter, key: k.SearchKey) -> None:
    """Add a search key, in parentheses where it is several."""
    _KEYS[type(key)](writer, key)


def _write_all(writer: RequestWriter, keys: Sequence[k.SearchKey]) -> None:
    for index, key in enumerate(keys):
        if index:
            writer.write(b" ")
        write_key(writer, key)


# -- arguments of commands -------------------------------------------------------------------------------------------


def _words(members: Iterable[Enum | ReturnOption]) -> bytes:
    return " ".join(sorted(member.value for member in members)).encode("utf-8")


def _no_arguments(_writer: RequestWriter, _command: c.Command) -> None:
    return None


def _mailbox_only(writer: RequestWriter, command: Any) -> None:
    writer.write(b" ")
    writer.mailbox(command.mailbox)


def _rights(writer: RequestWriter, command: Any) -> None:
    _mailbox_only(writer, command)
    for field in fields(type(command)):
        if field.name in {"identifier", "rights"}:
            writer.write(b" ")
            writer.astring(getattr(command, field.name))


def _id(writer: RequestWriter, command: c.Id) -> None:
    if command.parameters is None:
        writer.write(b" NIL")
        return
    writer.write(b" (")
    for index, (name, value) in enumerate(command.parameters):
        writer.write(b" " if index else b"")
        writer.string(name)
        writer.write(b" ")
        if value is None:
            writer.write(b"NIL")
        else:
            writer.string(value)
    writer.write(b")")


def _login(writer: RequestWriter, command: c.Login) -> None:
    writer.write(b" ")
    writer.astring(command.username)
    writer.write(b" ")
    writer.astring(command.password)


def _authenticate(writer: RequestWriter, command: c.Authenticate) -> None:
    writer.write(b" " + command.mechanism.encode("ascii"))
    if command.initial_response is not None:
        writer.write(b" " + (binascii.b2a_base64(command.initial_response, newline=False) or b"="))


def _enable(writer: RequestWriter, command: c.Enable) -> None:
    writer.write(f" {' '.join(command.capabilities)}".encode("ascii"))


def _compress(writer: RequestWriter, command: c.Compress) -> None:
    writer.write(b" " + command.algorithm.encode("ascii"))


def _select(writer: RequestWriter, command: c.Select) -> None:
    _mailbox_only(writer, command)
    parameters = [b"CONDSTORE"] if command.condstore else []
    known = command.qresync
    if known is not None:
        parts = [b"%d %d" % (known.uidvalidity, known.modseq)]
        if known.known_uids is not None:
            parts.append(known.known_uids.render())
        if known.match is not None:
            parts.append(render.parenthesized([known.match[0].render(), known.match[1].render()]))
        parameters.append(b"QRESYNC " + render.parenthesized(parts))
    if parameters:
        writer.write(b" " + render.parenthesized(parameters))


def _create(writer: RequestWriter, command: c.Create) -> None:
    _mailbox_only(writer, command)
    if command.use is not None:
        writer.write(b" (USE %b)" % flags(command.use))


def _rename(writer: RequestWriter, command: c.Rename) -> None:
    _mailbox_only(writer, command)
    writer.write(b" ")
    writer.mailbox(command.new_name)


def _pattern(writer: RequestWriter, pattern: str) -> None:
    writer.write(b" ")
    writer.mailbox(pattern)


def _list(writer: RequestWriter, command: c.List) -> None:
    if command.selection:
        writer.write(b" (%b)" % _words(command.selection))
    elif command.extended:
        writer.write(b" ()")
    _pattern(writer, command.reference)
    if len(command.patterns) == 1:
        _pattern(writer, command.patterns[0])
    else:
        writer.write(b" ")
        writer.mailboxes(command.patterns)
    options = [_words(command.returns)] if command.returns else []
    if command.status:
        options.append(_status_items(command.status))
    if command.metadata:
        options.append(b"METADATA " + entries(command.metadata))
    if options:
        writer.write(b" RETURN " + render.parenthesized(options))


def _status_items(items: Sequence[c.StatusItem]) -> bytes:
    return b"STATUS " + render.parenthesized([item.value.encode("ascii") for item in items])


def _lsub(writer: RequestWriter, command: c.Lsub) -> None:
    _pattern(writer, command.reference)
    _pattern(writer, command.pattern)


def _status(writer: RequestWriter, command: c.Status) -> None:
    _mailbox_only(writer, command)
    writer.write(b" " + render.parenthesized([item.value.encode("ascii") for item in command.items]))


def _uid_expunge(writer: RequestWriter, command: c.UIDExpunge) -> None:
    writer.write(b" " + command.numbers.render())


def _cancel_update(writer: RequestWriter, command: c.CancelUpdate) -> None:
    writer.write(b"".join([b' "%b"' % tag for tag in command.tags]))


def write_sources(writer: RequestWriter, sources: Sequence[MailboxFilter]) -> None:
    """Add where ESEARCH searches (RFC 7377 section 2.2), with a space before it.

    :raise ValueError: there is nothing, or something that ESEARCH does not have.
    """
    if not sources or any(source.kind is FilterKind.SELECTED_DELAYED for source in sources):
        raise ValueError("no place to search")
    writer.write(b" IN (")
    for at, source in enumerate(sources):
        writer.write(b" " * bool(at) + source.kind.value.lower().encode("ascii"))
        if source.kind.has_names:
            writer.write(b" ")
            writer.some_mailboxes(source.names)
    writer.write(b")")


def _multi_search(writer: RequestWriter, command: c.MultiSearch) -> None:
    if command.sources:
        write_sources(writer, command.sources)
    _search(writer, command)


def _search(writer: RequestWriter, command: c.Search | c.MultiSearch) -> None:
    if command.returns is not None:
        writer.write(b" RETURN (%b)" % _words(command.returns))
    if command.charset is not None:
        writer.write(b" CHARSET " + command.charset.encode("ascii"))
    writer.write(b" ")
    if isinstance(command.key, k.And):
        _write_all(writer, command.key.keys)
    else:
        write_key(writer, command.key)


def _program(writer: RequestWriter, command: c.Sort | c.Thread) -> None:
    """``SP charset 1*(SP search-key)``."""
    writer.write(b" " + command.charset.encode("ascii") + b" ")
    if isinstance(command.key, k.And):
        _write_all(writer, command.key.keys)
    else:
        write_key(writer, command.key)


def _sort(writer: RequestWriter, command: c.Sort) -> None:
    if command.returns is not None:
        writer.write(b" RETURN (%b)" % _words(command.returns))
    criteria = [("REVERSE " if one.reverse else "") + one.key.value for one in command.criteria]
    writer.write(" ({})".format(" ".join(criteria)).encode("ascii"))
    _program(writer, command)


def _thread(writer: RequestWriter, command: c.Thread) -> None:
    writer.write(b" " + command.algorithm.value.encode("ascii"))
    _program(writer, command)


def _fetch(writer: RequestWriter, command: c.Fetch) -> None:
    requested = render.parenthesized([item.request() for item in command.attributes])
    writer.write(b" %b %b" % (command.numbers.render(), requested))
    modifiers = []
    if command.changed_since is not None:
        vanished = b" VANISHED" if command.vanished else b""
        modifiers.append(b"CHANGEDSINCE %d%b" % (command.changed_since, vanished))
    if command.partial is not None:
        modifiers.append(command.partial.value.encode("ascii"))
    if modifiers:
        writer.write(b" " + render.parenthesized(modifiers))


def _store(writer: RequestWriter, command: c.Store) -> None:
    writer.write(b" %b " % command.numbers.render())
    if command.unchanged_since is not None:
        writer.write(b"(UNCHANGEDSINCE %d) " % command.unchanged_since)
    silent = ".SILENT" if command.silent else ""
    writer.write(f"{command.mode.value}FLAGS{silent} ".encode("ascii") + flags(command.flags))


def _transfer(writer: RequestWriter, command: c.Copy | c.Move) -> None:
    writer.write(b" %b " % command.numbers.render())
    writer.mailbox(command.mailbox)


_ARGUMENTS: dict[type[c.Command], Callable[[RequestWriter, Any], None]] = {
    c.Id: _id,
    c.Login: _login,
    c.Authenticate: _authenticate,
    c.Enable: _enable,
    c.Compress: _compress,
    c.Select: _select,
    c.Create: _create,
    c.Delete: _mailbox_only,
    c.Rename: _rename,
    c.Subscribe: _mailbox_only,
    c.Unsubscribe: _mailbox_only,
    c.List: _list,
    c.Lsub: _lsub,
    c.Notify: write_notify,
    c.Status: _status,
    c.UIDExpunge: _uid_expunge,
    c.Search: _search,
    c.CancelUpdate: _cancel_update,
    c.MultiSearch: _multi_search,
    c.Sort: _sort,
    c.Thread: _thread,
    c.Fetch: _fetch,
    c.Store: _store,
    c.Copy: _transfer,
    c.Move: _transfer,
    **dict.fromkeys(
        (
            *(c.Capability, c.Noop, c.Logout, c.StartTLS, c.Unauthenticate, c.Namespace, c.Idle),
            *(c.Check, c.Close, c.Unselect, c.Expunge),
        ),
        _no_arguments,
    ),
    **dict.fromkeys((a.SetACL, a.DeleteACL, a.GetACL, a.ListRights, a.MyRights), _rights),
    **MAILBOX_WRITERS,
    **URL_REQUESTS,
}


def render_command(
    command: c.Command, *, literals: NonSync = NonSync.NONE, utf8: bool = False
) -> list[bytes]:
    """The segments of a command; DONE has no tag. For APPEND there is ``render_append``.

    :return: one or more; between two, the client waits for a continuation.
    :raise TypeError: for APPEND and REPLACE, and for a class that is not known here.
    """
    if isinstance(command, c.Append):
        raise TypeError("APPEND needs the messages: use render_append")
    if isinstance(command, c.Done):
        return [b"DONE\r\n"]
    write = _ARGUMENTS.get(type(command))
    if write is None:
        raise TypeError(f"nothing is known of how {type(command).__name__} is written")
    writer = RequestWriter(literals, utf8=utf8)
    name = command.name
    if isinstance(command, c.Select) and command.examine:
        name = "EXAMINE"
    uid = "UID " if getattr(command, "uid", False) else ""
    writer.write(b"%b %b" % (command.tag, f"{uid}{name}".encode("ascii")))
    write(writer, command)
    return writer.finish()


def render_append(
    tag: bytes,
    mailbox: str,
    messages: Sequence[Outgoing],
    *,
    literals: NonSync = NonSync.NONE,
    utf8: bool = False,
) -> list[bytes]:
    """The segments of an APPEND of one message, or of several (RFC 3502)."""
    writer = RequestWriter(literals, utf8=utf8)
    writer.write(tag + b" APPEND ")
    writer.mailbox(mailbox)
    for message in messages:
        if message.flags:
            writer.write(b" " + flags(message.flags))
        if message.received is not None:
            writer.write(b" " + render.date_time(message.received))
        writer.write(b" ")
        writer.literal(message.data, binary=b"\0" in message.data)
    return writer.finish()
