"""What follows each command's name (RFC 9051 section 9 and the extensions).

``COMMANDS`` and ``UID_COMMANDS`` map a name to a function that reads the arguments at a cursor and returns the command.
An extension makes a larger table and gives it to the reader::

    CommandReader(commands={**COMMANDS, b"SORT": sort_arguments}, uid_commands=UID_COMMANDS)

APPEND is apart, since its messages are never held in memory: see ``moxtwisted.imap.wire.appendgrammar``.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import TypeVar

from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire.aclcommands import ACL_COMMANDS
from moxtwisted.imap.wire.appendgrammar import append_text
from moxtwisted.imap.wire.fetchgrammar import fetch_arguments
from moxtwisted.imap.wire.lexer import CommandError, Cursor
from moxtwisted.imap.wire.mailboxgrammar import READERS as MAILBOX_READERS
from moxtwisted.imap.wire.mailboxgrammar import bracketed_entries
from moxtwisted.imap.wire.notifygrammar import notify_arguments
from moxtwisted.imap.wire.replacegrammar import replace_without_message, uid_replace_without_message
from moxtwisted.imap.wire.searchgrammar import (
    cancelupdate_arguments,
    multisearch_arguments,
    search_arguments,
)
from moxtwisted.imap.wire.sortgrammar import sort_arguments, thread_arguments
from moxtwisted.imap.wire.urlcommands import URL_COMMANDS

__all__ = [
    "COMMANDS",
    "UID_COMMANDS",
    "ArgumentReader",
    "decode_base64",
    "uid_arguments",
]

ArgumentReader = Callable[[bytes, Cursor], c.Command]
"""Takes the tag and a cursor behind the command's name; raises ``CommandError``."""

MAX_LIST_PATTERNS = 100
MAX_ENABLE = 100
MAX_SPECIAL_USES = 20
MAX_FLAGS = 1000

_BASE64 = re.compile(rb"(?>(?:[A-Za-z0-9+/]{4})*)(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_SPECIAL_USES = {
    name.lower(): name
    for name in ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Important", "\\Junk", "\\Sent", "\\Trash")
}
_STORE_ITEM = re.compile(rb"([+-]?)FLAGS(\.SILENT)?", re.IGNORECASE)

_STATUS_ITEMS = re.compile(rb"\(([A-Za-z-]++(?>(?: [A-Za-z-]++)*))\)")
_CACHED_OCTETS = 200

Member = TypeVar("Member", bound=Enum)


def decode_base64(octets: bytes) -> bytes:
    """Decode the base64 of RFC 9051 section 9: strict, padded, without line breaks.

    :raise CommandError: for anything else.
    """
    if _BASE64.fullmatch(octets) is None:
        raise CommandError("not valid base64")
    return binascii.a2b_base64(octets)


# -- commands without arguments, or with mailbox names only ----------------------------------------------------------


def _bare(of: type[c.Command]) -> ArgumentReader:
    def read(tag: bytes, cursor: Cursor) -> c.Command:
        if cursor.position != len(cursor.text):
            raise CommandError("the command has no arguments")
        return of(tag)

    return read


def _on_mailbox(of: type[c.Delete | c.Subscribe | c.Unsubscribe]) -> ArgumentReader:
    def read(tag: bytes, cursor: Cursor) -> c.Command:
        cursor.space()
        mailbox = cursor.mailbox()
        cursor.end()
        return of(tag, mailbox)

    return read


def _rename(tag: bytes, cursor: Cursor) -> c.Command:
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    new_name = cursor.mailbox()
    cursor.end()
    return c.Rename(tag, mailbox, new_name)


# -- identity and authentication -------------------------------------------------------------------------------------


def _id(tag: bytes, cursor: Cursor) -> c.Command:
    cursor.space()
    if not cursor.skip(b"("):
        if cursor.nstring("a list or NIL") is not None:
            raise CommandError("expected a list or NIL")
        cursor.end()
        return c.Id(tag)
    pairs: list[tuple[str, str | None]] = []
    while not cursor.skip(b")"):
        if pairs:
            cursor.space()
        field = cursor.string("a field name")
        cursor.space()
        value = cursor.nstring("a value or NIL")
        if len(field) > c.MAX_ID_FIELD_OCTETS or (value is not None and len(value) > c.MAX_ID_VALUE_OCTETS):
            raise CommandError("field or value is too long")
        pairs.append(
            (field.decode("utf-8", "replace"), None if value is None else value.decode("utf-8", "replace"))
        )
        if len(pairs) > c.MAX_ID_FIELDS:
            raise CommandError("too many fields")
    cursor.end()
    return c.Id(tag, tuple(pairs))


def _login(tag: bytes, cursor: Cursor) -> c.Command:
    cursor.space()
    username = cursor.text_astring("user name")
    cursor.space()
    password = cursor.text_astring("password")
    cursor.end()
    return c.Login(tag, username, password)


def _authenticate(tag: bytes, cursor: Cursor) -> c.Command:
    cursor.space()
    mechanism = cursor.keyword("a mechanism").decode("ascii")
    response: bytes | None = None
    if not cursor.at_end():
        cursor.space()
        encoded = cursor.rest()
        if not encoded:
            raise CommandError("expected an initial response")
        # RFC 4959 section 3: "=" is an initial response without octets.
        response = b"" if encoded == b"=" else decode_base64(encoded)
    return c.Authenticate(tag, mechanism, response)


def _compress(tag: bytes, cursor: Cursor) -> c.Command:
    cursor.space()
    algorithm = cursor.keyword("an algorithm").decode("ascii")
    cursor.end()
    return c.Compress(tag, algorithm)


def _enable(tag: bytes, cursor: Cursor) -> c.Command:
    names: list[str] = []
    while not cursor.at_end() or not names:
        cursor.space()
        names.append(cursor.keyword("a capability").decode("ascii"))
        if len(names) > MAX_ENABLE:
            raise CommandError("too many capabilities")
    return c.Enable(tag, tuple(names))


# -- mailboxes -------------------------------------------------------------------------------------------------------


def _qresync(cursor: Cursor) -> c.QResync:
    """RFC 7162 section 7: uidvalidity SP mod-sequence [SP known-uids] [SP ( seqs SP uids )]."""
    cursor.expect(b" (", "QRESYNC parameters in parentheses")
    uidvalidity = cursor.number(least=1)
    cursor.space()
    modseq = cursor.number64(least=1)
    known = match = None
    if cursor.looking_at(b" ") and not cursor.looking_at(b" ("):
        cursor.space()
        known = cursor.uid_set()
    if cursor.skip(b" ("):
        numbers = cursor.uid_set()
        cursor.space()
        match = (numbers, cursor.uid_set())
        cursor.expect(b")", "a closing parenthesis")
    cursor.expect(b")", "a closing parenthesis")
    return c.QResync(uidvalidity, modseq, known, match)


def _select(tag: bytes, cursor: Cursor, *, examine: bool) -> c.Command:
    cursor.space()
    mailbox = cursor.mailbox()
    condstore = False
    qresync: c.QResync | None = None
    if not cursor.at_end():
        # RFC 4466 section 2.1: parameters in parentheses.
        cursor.expect(b" (", "parameters in parentheses")
        while True:
            name = cursor.keyword("a parameter")
            if name == b"CONDSTORE" and not condstore:
                condstore = True
            elif name == b"QRESYNC" and qresync is None:
                qresync = _qresync(cursor)
            else:
                raise CommandError("unknown or repeated parameter")
            if cursor.skip(b")"):
                break
            cursor.space()
        cursor.end()
    return c.Select(tag, mailbox, examine, condstore, qresync)


def _create(tag: bytes, cursor: Cursor) -> c.Command:
    cursor.space()
    mailbox = cursor.mailbox()
    if cursor.at_end():
        return c.Create(tag, mailbox)
    # RFC 6154 section 3 in the general form of RFC 4466 section 2.2: CREATE name (USE (\\Sent …)).
    cursor.expect(b" (", "parameters in parentheses")
    if cursor.keyword("a parameter") != b"USE":
        raise CommandError("unknown parameter")
    cursor.space()
    uses = cursor.flag_list()
    cursor.expect(b")", "a closing parenthesis")
    cursor.end()
    if len(uses) > MAX_SPECIAL_USES or not all(use.startswith("\\") for use in uses):
        raise CommandError("expected special-use attributes")
    return c.Create(tag, mailbox, tuple(dict.fromkeys(_SPECIAL_USES.get(use.lower(), use) for use in uses)))


def _member(kind: type[Member], word: bytes, what: str) -> Member:
    try:
        return kind(word.decode("ascii"))
    except ValueError:
        raise CommandError(f"unknown {what}") from None


def _status_items(cursor: Cursor) -> tuple[c.StatusItem, ...]:
    """One or more items in parentheses, repetitions dropped."""
    match = _STATUS_ITEMS.match(cursor.text, cursor.position)
    if match is None:
        raise CommandError("expected status items in parentheses")
    cursor.position = match.end()
    words = match.group(1).upper()
    return _items_of(words) if len(words) <= _CACHED_OCTETS else _items_of.__wrapped__(words)


@lru_cache(maxsize=256)
def _items_of(words: bytes) -> tuple[c.StatusItem, ...]:
    """Clients ask for the same few items all day."""
    return tuple(dict.fromkeys(_member(c.StatusItem, word, "status item") for word in words.split(b" ")))


def _status(tag: bytes, cursor: Cursor) -> c.Command:
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    items = _status_items(cursor)
    cursor.end()
    return c.Status(tag, mailbox, items)


def _list_selection(cursor: Cursor) -> frozenset[c.ListSelection]:
    """Selection options behind their opening parenthesis (RFC 5258 section 6)."""
    found: set[c.ListSelection] = set()
    if not cursor.skip(b")"):
        while True:
            found.add(_member(c.ListSelection, cursor.keyword("a selection option"), "selection option"))
            if cursor.skip(b")"):
                break
            cursor.space()
    # RFC 5258 section 3.1: RECURSIVEMATCH modifies another option (REMOTE does not count): BAD without one.
    if c.ListSelection.RECURSIVEMATCH in found and not found & {
        c.ListSelection.SUBSCRIBED,
        c.ListSelection.SPECIAL_USE,
    }:
        raise CommandError("RECURSIVEMATCH needs another selection option")
    return frozenset(found)


def _list_patterns(cursor: Cursor) -> tuple[str, ...]:
    if not cursor.skip(b"("):
        return (cursor.list_mailbox(),)
    patterns: list[str] = []
    while True:
        patterns.append(cursor.list_mailbox())
        if len(patterns) > MAX_LIST_PATTERNS:
            raise CommandError("too many patterns")
        if cursor.skip(b")"):
            return tuple(patterns)
        cursor.space()


def _list_returns(
    cursor: Cursor,
) -> tuple[frozenset[c.ListReturn], tuple[c.StatusItem, ...], tuple[str, ...]]:
    """Return options behind ``RETURN (`` (RFC 5258 section 6, RFC 5819 section 4), and entries of METADATA (RFC 9590)."""
    found: set[c.ListReturn] = set()
    status: tuple[c.StatusItem, ...] = ()
    metadata: tuple[str, ...] = ()
    if not cursor.skip(b")"):
        while True:
            name = cursor.keyword("a return option")
            if name == b"STATUS":
                cursor.space()
                status = _status_items(cursor)
            elif name == b"METADATA":
                cursor.expect(b" (", "entries in parentheses")
                metadata = bracketed_entries(cursor)
            else:
                found.add(_member(c.ListReturn, name, "return option"))
            if cursor.skip(b")"):
                break
            cursor.space()
    return frozenset(found), status, metadata


def _list(tag: bytes, cursor: Cursor) -> c.Command:
    cursor.space()
    selection: frozenset[c.ListSelection] = frozenset()
    returns: frozenset[c.ListReturn] = frozenset()
    status: tuple[c.StatusItem, ...] = ()
    metadata: tuple[str, ...] = ()
    extended = cursor.skip(b"(")
    if extended:
        selection = _list_selection(cursor)
        cursor.space()
    reference = cursor.mailbox()
    cursor.space()
    extended = extended or cursor.looking_at(b"(")
    patterns = _list_patterns(cursor)
    if not cursor.at_end():
        cursor.space()
        if cursor.keyword("RETURN") != b"RETURN":
            raise CommandError("expected RETURN")
        cursor.expect(b" (", "return options in parentheses")
        returns, status, metadata = _list_returns(cursor)
        extended = True
        cursor.end()
    return c.List(tag, reference, patterns, selection, returns, status, extended, metadata)


def _lsub(tag: bytes, cursor: Cursor) -> c.Command:
    cursor.space()
    reference = cursor.mailbox()
    cursor.space()
    pattern = cursor.list_mailbox()
    cursor.end()
    return c.Lsub(tag, reference, pattern)


# -- messages --------------------------------------------------------------------------------------------------------


def _store(tag: bytes, cursor: Cursor, *, uid: bool = False) -> c.Command:
    cursor.space()
    numbers = cursor.sequence_set()
    cursor.space()
    unchanged_since: int | None = None
    if cursor.skip(b"("):
        # RFC 7162 section 3.1.3: the only modifier there is.
        if cursor.keyword("a store modifier") != b"UNCHANGEDSINCE":
            raise CommandError("unknown store modifier")
        cursor.space()
        unchanged_since = cursor.number64()
        cursor.expect(b") ", "the end of the store modifiers")
    match = _STORE_ITEM.match(cursor.text, cursor.position)
    if match is None:
        raise CommandError("expected FLAGS")
    cursor.position = match.end()
    cursor.space()
    if cursor.looking_at(b"("):
        flags = cursor.flag_list()
    else:
        # RFC 9051 section 9, store-att-flags: flags may also come without parentheses, then at least one.
        found = {cursor.flag(): None}
        while cursor.skip(b" "):
            found[cursor.flag()] = None
        flags = tuple(found)
    cursor.end()
    if len(flags) > MAX_FLAGS:
        raise CommandError("too many flags")
    sign, silent = match.groups()
    return c.Store(tag, numbers, _STORE_MODES[sign], flags, silent is not None, unchanged_since, uid)


_STORE_MODES = {mode.value.encode("ascii"): mode for mode in c.StoreMode}


def _transfer(of: type[c.Copy | c.Move], *, uid: bool) -> ArgumentReader:
    def read(tag: bytes, cursor: Cursor) -> c.Command:
        cursor.space()
        numbers = cursor.sequence_set()
        cursor.space()
        mailbox = cursor.mailbox()
        cursor.end()
        return of(tag, numbers, mailbox, uid)

    return read


def _uid_expunge(tag: bytes, cursor: Cursor) -> c.Command:
    cursor.space()
    numbers = cursor.sequence_set()
    cursor.end()
    return c.UIDExpunge(tag, numbers)


# -- APPEND ----------------------------------------------------------------------------------------------------------


def _append(tag: bytes, cursor: Cursor) -> c.Command:
    """Reached only when the command ended before any message as a literal: all are put together of URLs."""
    found = append_text(cursor, first=True, catenating=False, literal=False)
    if found is None or found.mailbox is None:
        raise CommandError("expected a message as a literal")
    return c.Append(tag, found.mailbox, (), tuple(found.steps))


# -- tables ----------------------------------------------------------------------------------------------------------

UID_COMMANDS: Mapping[bytes, ArgumentReader] = {
    b"COPY": _transfer(c.Copy, uid=True),
    b"EXPUNGE": _uid_expunge,
    b"FETCH": lambda tag, cursor: fetch_arguments(tag, cursor, uid=True),
    b"MOVE": _transfer(c.Move, uid=True),
    b"REPLACE": uid_replace_without_message,
    b"SEARCH": lambda tag, cursor: search_arguments(tag, cursor, uid=True),
    b"SORT": lambda tag, cursor: sort_arguments(tag, cursor, uid=True),
    b"STORE": lambda tag, cursor: _store(tag, cursor, uid=True),
    b"THREAD": lambda tag, cursor: thread_arguments(tag, cursor, uid=True),
}
"""The words that may follow UID."""


def uid_arguments(words: Mapping[bytes, ArgumentReader]) -> ArgumentReader:
    """What follows UID, when these words may."""

    def read(tag: bytes, cursor: Cursor) -> c.Command:
        cursor.space()
        reader = words.get(cursor.keyword("a command"))
        if reader is None:
            raise CommandError("unknown UID command")
        return reader(tag, cursor)

    return read


COMMANDS: Mapping[bytes, ArgumentReader] = {
    **{
        of.name.encode("ascii"): _bare(of)
        for of in (
            c.Capability,
            c.Noop,
            c.Logout,
            c.StartTLS,
            c.Namespace,
            c.Idle,
            c.Check,
            c.Close,
            c.Unselect,
            c.Expunge,
            c.Unauthenticate,
        )
    },
    b"ID": _id,
    b"LOGIN": _login,
    b"AUTHENTICATE": _authenticate,
    b"ENABLE": _enable,
    b"COMPRESS": _compress,
    b"SELECT": lambda tag, cursor: _select(tag, cursor, examine=False),
    b"EXAMINE": lambda tag, cursor: _select(tag, cursor, examine=True),
    b"CREATE": _create,
    b"DELETE": _on_mailbox(c.Delete),
    b"RENAME": _rename,
    b"SUBSCRIBE": _on_mailbox(c.Subscribe),
    b"UNSUBSCRIBE": _on_mailbox(c.Unsubscribe),
    b"LIST": _list,
    b"LSUB": _lsub,
    b"STATUS": _status,
    b"APPEND": _append,
    b"NOTIFY": notify_arguments,
    b"REPLACE": replace_without_message,
    b"SEARCH": search_arguments,
    b"ESEARCH": multisearch_arguments,
    b"CANCELUPDATE": cancelupdate_arguments,
    b"SORT": sort_arguments,
    b"THREAD": thread_arguments,
    b"FETCH": fetch_arguments,
    b"STORE": _store,
    b"COPY": _transfer(c.Copy, uid=False),
    b"MOVE": _transfer(c.Move, uid=False),
    **MAILBOX_READERS,
    **ACL_COMMANDS,
    **URL_COMMANDS,
}
"""All commands but UID, by their name in upper case."""
