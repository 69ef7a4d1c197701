r"""LIST with its extensions (RFC 9051 section 6.3.9, RFC 5258, RFC 5819, RFC 6154) and LSUB (RFC 3501 section 6.3.9).

::

    C: a1 LIST (SUBSCRIBED RECURSIVEMATCH) "" "%" RETURN (CHILDREN STATUS (MESSAGES))
    S: * LIST (\Subscribed \HasChildren) "/" Archive ("CHILDINFO" ("SUBSCRIBED"))
    S: * STATUS Archive (MESSAGES 12)
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from functools import lru_cache

from attrs import define, frozen

from moxtwisted.imap.backend import MailboxInfo
from moxtwisted.imap.commands.acl import myrights_line
from moxtwisted.imap.commands.mailboxfilters import parents_of
from moxtwisted.imap.commands.metadata import list_metadata
from moxtwisted.imap.commands.status import status_line
from moxtwisted.imap.connection import Answer, Connection, Handled, RefusalError
from moxtwisted.imap.notification import mailboxes_of, own_mailboxes
from moxtwisted.imap.sharing import OTHERS, sharing
from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.commands import List, ListReturn, ListSelection, Lsub, StatusItem
from moxtwisted.imap.wire.mailboxname import ListPattern, SuppliedName, canonical, combine

__all__ = ["list_", "lsub", "named", "renamed", "tell_name"]

_LINES_A_PIECE = 256
_OCTETS_A_PIECE = 65536
# Characters of names times patterns that are looked at before others have their turn: a hundred patterns and ten thousand long names
# take a minute.
_STEPS_A_TURN = 200_000


@frozen
class _Entry:
    """One line to be told.

    :ivar info: of a mailbox that meets the selection itself.
    :ivar childinfo: selection options that names below meet.
    """

    name: str
    attributes: tuple[str, ...]
    info: MailboxInfo | None = None
    childinfo: tuple[str, ...] = ()


@define
class _Names:
    """All names of an account, as LIST needs them."""

    existing: dict[str, MailboxInfo]
    subscribed: frozenset[str]
    parents: frozenset[str]

    @classmethod
    def of(cls, connection: Connection) -> _Names:
        return cls.among(connection, connection.mail.mailboxes())

    @classmethod
    def around(cls, connection: Connection, name: str) -> _Names:
        """All that can be above or below this name. Only the account is looked into that it is of: the others would have to be opened."""
        found = own_mailboxes(connection.mail)
        if name.startswith(OTHERS):
            owner = name[len(OTHERS) :].partition("/")[0]
            found = [*found, *mailboxes_of(connection.mail, owner)]
        return cls.among(connection, found)

    @classmethod
    def among(cls, connection: Connection, mailboxes: Iterable[MailboxInfo]) -> _Names:
        """Of these."""
        existing = {canonical(m.name): m for m in mailboxes}
        subscribed = frozenset(map(canonical, connection.mail.subscriptions()))
        return cls(existing, subscribed, parents_of(existing))

    def attributes(self, name: str) -> list[str]:
        """What is true of a mailbox whether or not the client asked for it."""
        info = self.existing.get(name)
        if info is None:
            # RFC 5258 section 3: \NonExistent implies \NoSelect.
            return ["\\NonExistent", self.children(name)]
        return [self.children(name)]

    def children(self, name: str) -> str:
        """Whether there is something below it."""
        return "\\HasChildren" if name in self.parents else "\\HasNoChildren"


def list_(connection: Connection, command: List) -> Handled:
    """LIST."""
    if command.patterns == ("",) and not command.extended:
        # RFC 9051 section 6.3.9: the empty pattern asks for the separator.
        connection.out.append(b'* LIST (\\NoSelect) "/" ""\r\n')
        return None
    if command.metadata and "LIST-METADATA" not in connection.offered:
        raise RefusalError("unknown return option", kind="BAD")
    if StatusItem.HIGHESTMODSEQ in command.status:
        connection.enable("CONDSTORE")
    shared = sharing(connection.mail)
    waiting = shared.prepare() if shared is not None else None
    if waiting is not None:
        return _prepared(waiting, connection, command)
    return _listed(connection, command)


async def _prepared(waiting: Awaitable[None], connection: Connection, command: List) -> Handled:
    """Others' mailboxes have to be opened first."""
    await waiting
    listed = _listed(connection, command)
    return await listed if inspect.iscoroutine(listed) else listed


def _listed(connection: Connection, command: List) -> Handled:
    names = _Names.of(connection)
    patterns = [ListPattern(combine(command.reference, p)) for p in command.patterns if p]
    every = {*names.existing, *names.parents}
    if ListSelection.SUBSCRIBED in command.selection:
        every.update(names.subscribed, parents_of(names.subscribed))
    # All that there is, which most ask for, takes no time.
    slow = sum(p.pattern != "*" for p in patterns)
    if slow and slow * sum(map(len, every)) > _STEPS_A_TURN:
        return _listed_in_turns(connection, command, names, patterns, every)
    match = patterns[0].matches if len(patterns) == 1 else lambda name: any(p.matches(name) for p in patterns)
    return _pieces(connection, command, _matching(connection, command, names, patterns, match))


async def _listed_in_turns(
    connection: Connection,
    command: List,
    names: _Names,
    patterns: Sequence[ListPattern],
    every: Iterable[str],
) -> Handled:
    """Find out first which names match; others have their turns meanwhile."""
    matching = await _among(connection, patterns, every)
    entries = _matching(connection, command, names, patterns, matching.__contains__)
    return _pieces(connection, command, entries)


async def _among(
    connection: Connection, patterns: Sequence[ListPattern], names: Iterable[str]
) -> frozenset[str]:
    """Those of the names that one of the patterns stands for."""
    found = []
    steps = 0
    for name in names:
        if any(pattern.matches(name) for pattern in patterns):
            found.append(name)
        steps += len(name) * len(patterns)
        if steps > _STEPS_A_TURN and connection.pause is not None:
            steps = 0
            await connection.pause(0)
    return frozenset(found)


def _pieces(
    connection: Connection, command: List, entries: Iterable[_Entry]
) -> Generator[bytes, None, Answer]:
    lines: list[bytes] = []
    octets = 0
    rights = ListReturn.MYRIGHTS in command.returns
    for entry in entries:
        lines.append(_line(connection, b"LIST", entry))
        # RFC 5819 section 2: after the LIST response of each mailbox that meets the selection, and can be selected; nothing is said of one
        # that is told for the sake of names below it.
        if command.status and entry.info is not None and "\\NoSelect" not in entry.attributes:
            lines.append(status_line(connection, entry.info, command.status))
        if rights and entry.info is not None:
            # RFC 8440 section 3: likewise.
            lines.append(myrights_line(connection, entry.name, entry.info.rights))
        if command.metadata and entry.info is not None:
            # RFC 9590 section 3: likewise.
            told = list_metadata(connection, entry.info, command.metadata)
            octets += len(told)
            lines.append(told)
        if len(lines) >= _LINES_A_PIECE or octets >= _OCTETS_A_PIECE:
            yield b"".join(lines)
            lines.clear()
            octets = 0
    yield b"".join(lines)
    return None


def _matching(
    connection: Connection,
    command: List,
    names: _Names,
    patterns: Sequence[ListPattern],
    matches: Callable[[str], bool],
) -> Iterable[_Entry]:
    """What LIST tells, in order.

    :param matches: whether one of the patterns stands for a name, of all that there are and those above them.
    """
    # RFC 9051 section 6.3.9.1: REMOTE adds mailboxes of other servers, which there are none of, and leaves out none.
    select, returns = command.selection - {ListSelection.REMOTE}, command.returns
    only_subscribed = ListSelection.SUBSCRIBED in select
    tell_subscribed = only_subscribed or ListReturn.SUBSCRIBED in returns
    tell_use = (
        ListSelection.SPECIAL_USE in select or ListReturn.SPECIAL_USE in returns or not command.extended
    )
    recursive = ListSelection.RECURSIVEMATCH in select

    def selected(name: str) -> bool:
        info = names.existing.get(name)
        if only_subscribed and name not in names.subscribed:
            return False
        return ListSelection.SPECIAL_USE not in select or bool(info and info.special_use)

    # RFC 5258 section 3.1: SUBSCRIBED also tells names without a mailbox.
    candidates = set(names.existing) | (names.subscribed if only_subscribed else set())
    chosen = {name for name in candidates if selected(name)} if select else candidates
    above: frozenset[str] = frozenset()
    if recursive:
        # Section 3.5: a name is also told for the sake of names below it that match the selection but not the pattern.
        above = parents_of(name for name in chosen if not matches(name))
    # Section 4: which of the options the names below meet.
    options = tuple(sorted(o.value for o in select & {ListSelection.SUBSCRIBED, ListSelection.SPECIAL_USE}))
    gaps = frozenset() if select else _gaps(names, patterns)
    for name in sorted(candidates | above | gaps):
        if name in gaps:
            # RFC 5258 section 3: \NonExistent implies \NoSelect, which is what those know who use nothing of it.
            extended = command.extended or connection.rev2
            yield _Entry(name, ("\\NonExistent" if extended else "\\NoSelect", "\\HasChildren"))
            continue
        if not (name in chosen or name in above) or not matches(name):
            continue
        attributes = []
        if tell_subscribed and name in names.subscribed:
            attributes.append("\\Subscribed")
        attributes += names.attributes(name)
        info = names.existing.get(name)
        if tell_use and info is not None:
            attributes += connection.special_use(info)
        if command.status and info is not None and info.rights is not None and "r" not in info.rights:
            # RFC 5819 section 2: what may be listed and not read has no STATUS.
            attributes.append("\\NoSelect")
        met = info if name in chosen else None
        yield _Entry(name, tuple(attributes), met, options if name in above else ())


def _gaps(names: _Names, patterns: Sequence[ListPattern]) -> frozenset[str]:
    """Levels without a mailbox that ``%`` stops at (RFC 3501 section 6.3.8): only above mailboxes of others there are such."""
    missing = names.parents.difference(names.existing)
    if not missing:
        return missing
    stopping = [p for p in patterns if p.pattern.endswith("%")]
    return frozenset(name for name in missing if any(p.matches(name) for p in stopping))


def lsub(connection: Connection, command: Lsub) -> Handled:
    r"""LSUB. A parent of subscribed names that ``%`` stops at is told with \NoSelect (RFC 3501 section 6.3.9)."""
    if not command.pattern:
        connection.out.append(b'* LSUB (\\NoSelect) "/" ""\r\n')
        return None
    subscribed = frozenset(map(canonical, connection.mail.subscriptions()))
    pattern = ListPattern(combine(command.reference, command.pattern))
    return _subscribed(connection, pattern, subscribed)


async def _subscribed(connection: Connection, pattern: ListPattern, subscribed: frozenset[str]) -> Answer:
    told = set(await _among(connection, [pattern], subscribed))
    # Levels that are not subscribed themselves, above names that do not match.
    told |= await _among(connection, [pattern], parents_of(subscribed - told) - subscribed)
    for name in sorted(told):
        attributes = () if name in subscribed else ("\\NoSelect",)
        connection.out.append(_line(connection, b"LSUB", _Entry(name, attributes)))
    return None


def named(connection: Connection, name: str, supplied: str) -> bytes:
    """The LIST response for one mailbox as it is now, which need not be there any more.

    :param name: as the backend knows it.
    :param supplied: as the client wrote it: when that was not the canonical name, OLDNAME has it (RFC 9051 section 6.3.9.7).
    """
    old = supplied.supplied if isinstance(supplied, SuppliedName) else None
    return _named(connection, name, old)


def tell_name(connection: Connection, name: str, supplied: str) -> None:
    """Tell a client of IMAP4rev2 what its name became, if that is another."""
    if connection.rev2 and isinstance(supplied, SuppliedName):
        connection.out.append(named(connection, name, supplied))


def renamed(connection: Connection, name: str, old: str) -> bytes:
    """The same, with OLDNAME for what the client wrote as the mailbox's name before."""
    return _named(connection, name, old.supplied if isinstance(old, SuppliedName) else old)


def _named(connection: Connection, name: str, old: str | None) -> bytes:
    shown = canonical(name)
    names = _Names.around(connection, shown)
    # RFC 4314 section 4: what others share may be opened without the right to list it.
    info = connection.mail.mailbox(name)
    attributes = [] if info is not None else ["\\NonExistent"]
    if shown in names.subscribed:
        attributes.append("\\Subscribed")
    attributes.append(names.children(shown))
    if info is not None:
        attributes += connection.special_use(info)
    return render.list_response(shown, attributes, utf8=connection.utf8, old_name=old)


def _line(connection: Connection, word: bytes, entry: _Entry) -> bytes:
    return _rendered(word, entry.name, entry.attributes, entry.childinfo, connection.utf8)


@lru_cache(maxsize=4096)
def _rendered(
    word: bytes, name: str, attributes: tuple[str, ...], childinfo: tuple[str, ...], utf8: bool
) -> bytes:
    """Clients ask for the same list all day."""
    shown = render.mailbox(name, utf8=utf8)
    options = " ".join(f'"{option}"' for option in childinfo)
    extended = f' ("CHILDINFO" ({options}))'.encode("ascii") if options else b""
    return b'* %b (%b) "/" %b%b\r\n' % (word, " ".join(attributes).encode("ascii"), shown, extended)
