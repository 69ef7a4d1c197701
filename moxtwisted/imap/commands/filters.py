"""FILTER (RFC 5466): search programs that are kept as metadata of the server, under a name.

::

    C: a1 SETMETADATA "" (/private/filters/values/boss "FROM \\"boss@example.com\\" UNSEEN")
    C: a2 SEARCH FILTER boss SINCE 3-Dec-2002

``filtered`` makes a handler of a searching command one that knows filters: the programs are put in place of their names
before it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, evolve, field

from moxtwisted.imap.commands.uidonly import refuse_numbers
from moxtwisted.imap.connection import Connection, Handled, RefusalError
from moxtwisted.imap.metadata import IAnnotatedSession
from moxtwisted.imap.options import missing
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.filterprogram import filter_entry, filter_of, is_filter_name, parse_filter
from moxtwisted.imap.wire.lexer import CommandError
from moxtwisted.imap.wire.returnoptions import SearchReturn
from moxtwisted.imap.wire.searchgrammar import MAX_DEPTH, MAX_KEYS

__all__ = ["check_filter", "expanded", "filtered"]

MAX_PASSES = 10
"""How deep filters may name each other (RFC 5466 section 3.1 wants 3 at least)."""

MAX_REFERENCES = 100
"""How often filters may be named in one search, by the client or by filters."""


def check_filter(entry: str, value: bytes | None) -> None:
    """RFC 5466 section 3.2: a search program is verified when it is stored.

    :raise RefusalError: when this is the entry of a filter, and not a program.
    """
    name = filter_of(entry)
    if value is None or name is None:
        return
    if not is_filter_name(name):
        raise RefusalError("no filter can have this name", "CANNOT")
    try:
        parse_filter(value)
    except CommandError as e:
        raise RefusalError(f"not a search program: {e.text}", "CANNOT") from e


def expanded(connection: Connection, key: k.SearchKey) -> k.SearchKey:
    """The program with all filters replaced by what they stand for.

    :raise RefusalError: NO with UNDEFINED-FILTER for one that is not there or leads back to itself; BAD when there
        are no filters here.
    """
    if not _has_filter(key):
        return key
    if "FILTERS" not in connection.offered or not IAnnotatedSession.providedBy(connection.mail):
        raise RefusalError("unknown search key", kind="BAD")
    program = _Expansion(connection.mail.annotations("")).of(key, (), 0)
    if connection.restricted and (without := missing(program, connection.offered)) is not None:
        # What the operator took away cannot be had by way of a filter either.
        raise RefusalError(f"{without} is not available now", kind="BAD")
    return program


def filtered(handler: Callable[[Connection, Any], Handled]) -> Callable[[Connection, Any], Handled]:
    """The handler of a command with a ``key``, for commands whose key may name filters."""

    def handle(connection: Connection, command: Any) -> Handled:
        try:
            key = expanded(connection, command.key)
        except RefusalError as e:
            if e.kind == "NO" and SearchReturn.SAVE in (getattr(command, "returns", None) or ()):
                # RFC 9051 section 6.4.4.1: a search that fails with NO empties the saved result.
                connection.saved = ()
            raise
        if key is not command.key:
            command = evolve(command, key=key)
            if connection.uidonly:
                # RFC 9586 section 3.5: nor may a filter name them, whose program is as if the client had sent it.
                refuse_numbers(command)
        return handler(connection, command)

    return handle


def _has_filter(key: k.SearchKey) -> bool:
    todo = [key]
    while todo:
        key = todo.pop()
        match key:
            case k.Filter():
                return True
            case k.And(keys):
                todo += keys
            case k.Or(left, right):
                todo += (left, right)
            case k.Not(inner) | k.Fuzzy(inner):
                todo.append(inner)
    return False


@define
class _Expansion:
    """One search; depth and number of keys stay within what a client could have written itself."""

    _values: Mapping[str, bytes]
    _count: int = 0
    _references: int = 0
    _programs: dict[str, k.SearchKey] = field(factory=dict)

    def of(self, key: k.SearchKey, within: tuple[str, ...], depth: int) -> k.SearchKey:
        """:param within: the filters that this is part of."""
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_KEYS:
            raise RefusalError("search program with its filters is too large", "LIMIT")
        match key:
            case k.Filter(name):
                return self._named(name, within, depth)
            case k.And(keys):
                return k.And(tuple(self.of(inner, within, depth + 1) for inner in keys))
            case k.Or(left, right):
                return k.Or(self.of(left, within, depth + 1), self.of(right, within, depth + 1))
            case k.Not(inner) | k.Fuzzy(inner):
                return evolve(key, key=self.of(inner, within, depth + 1))
        return key

    def _named(self, name: str, within: tuple[str, ...], depth: int) -> k.SearchKey:
        lower = name.lower()
        # RFC 5466 section 3.1: the private one goes before the shared one.
        value = self._values.get(filter_entry(lower), self._values.get(filter_entry(lower, shared=True)))
        if value is None or lower in within or len(within) >= MAX_PASSES:
            raise RefusalError("no such filter", f"UNDEFINED-FILTER {name}")
        self._references += 1
        if self._references > MAX_REFERENCES:
            raise RefusalError("too many filters in one search", "LIMIT")
        program = self._programs.get(lower)
        if program is None:
            try:
                program = self._programs[lower] = parse_filter(value)
            except CommandError as e:
                text = f"filter {name} is not a search program"
                raise RefusalError(text, f"UNDEFINED-FILTER {name}") from e
        return self.of(program, (*within, lower), depth + 1)
