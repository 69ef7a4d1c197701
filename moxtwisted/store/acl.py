"""Access control lists of one account's mailboxes: a table in its database, and the same in memory.

A list belongs to a mailbox, whatever that is called: it stays when the mailbox is renamed, goes with it, and a mailbox made below
another one begins with a copy of that one's list. Rights are sets of letters; the store does not know what they mean::

    account.access.of(mailbox)                                   # {"bob": frozenset("lr")}
    await account.access.change(mailbox, "bob", "add", frozenset("s"))

Whoever changes lists goes through ``moxtwisted.store.grants``, which keeps the index of who shares with whom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import apsw
from twisted.internet.defer import Deferred
from zope.interface import implementer

from moxtwisted.errors import LimitError
from moxtwisted.store.database import connect
from moxtwisted.store.interfaces import IAccessLists
from moxtwisted.store.ledger import Delta, Ledger, Report

__all__ = ["MAX_ENTRIES", "AccessLists", "Mode", "Rights", "inherit", "read_identifiers", "read_lists"]

Rights = frozenset[str]
Mode = Literal["replace", "add", "remove"]

#: Identifiers in one list.
MAX_ENTRIES: Final = 500
_NO_ENTRIES: Final[Mapping[str, Rights]] = MappingProxyType({})


def read_lists(connection: Any) -> dict[int, dict[str, Rights]]:
    """All lists of a database, by mailbox."""
    lists: dict[int, dict[str, Rights]] = {}
    for mailbox, identifier, rights in connection.execute("SELECT mailbox, identifier, rights FROM acl"):
        lists.setdefault(mailbox, {})[identifier] = frozenset(rights)
    return lists


def read_identifiers(path: Path, key: bytes | None) -> frozenset[str]:
    """Who is named in the lists of a closed account.

    :raises apsw.Error: when it cannot be read.
    """
    connection = connect(path, key)
    try:
        connection.set_busy_timeout(10_000)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'acl'").fetchall():
            return frozenset()
        return _names(read_lists(connection).values())
    finally:
        connection.close()


def _names(lists: Iterable[Mapping[str, Rights]]) -> frozenset[str]:
    return frozenset(identifier.removeprefix("-") for entries in lists for identifier in entries)


@implementer(IAccessLists)
class AccessLists:
    """The lists of an account; made by it, and told of its commits.

    :param submit: runs a job, which gets the ledger, in the account's writer.
    """

    def __init__(self, connection: Any, submit: Callable[[Callable[[Ledger], None]], Deferred[None]]) -> None:
        self._lists: dict[int, Mapping[str, Rights]] = {
            mailbox: MappingProxyType(entries) for mailbox, entries in read_lists(connection).items()
        }
        self._submit = submit

    def of(self, mailbox: int) -> Mapping[str, Rights]:
        """Rights by identifier: the same object until they change."""
        return self._lists.get(mailbox, _NO_ENTRIES)

    def all(self) -> Mapping[int, Mapping[str, Rights]]:
        """By mailbox, those that have any."""
        return self._lists

    def identifiers(self) -> frozenset[str]:
        """Everybody who is named anywhere, also where rights are taken away."""
        return _names(self._lists.values())

    def change(self, mailbox: int, identifier: str, mode: Mode, rights: Rights) -> Deferred[None]:
        """Change an entry; one that has no rights left goes. :raises MailboxMissingError: , LimitError."""
        return self._submit(
            partial(_change, mailbox=mailbox, identifier=identifier, mode=mode, rights=rights)
        )

    def withdraw(self, identifier: str) -> Deferred[None]:
        """Remove an identifier, and what is taken away from it, from all lists."""
        return self._submit(partial(_withdraw, identifiers=(identifier, "-" + identifier)))

    def told(self, report: Report) -> None:
        """After a commit."""
        for delta in report.deltas:
            if delta.acl is not None:
                entries = {identifier: frozenset(rights) for identifier, rights in delta.acl.items()}
                if entries:
                    self._lists[delta.mailbox] = MappingProxyType(entries)
                else:
                    self._lists.pop(delta.mailbox, None)
        for mailbox in report.removed:
            self._lists.pop(mailbox, None)


# -- in the writer's thread ----------------------------------------------------------------------------------------------


def _entries(ledger: Ledger, mailbox: int) -> dict[str, str]:
    return dict(
        ledger.connection.execute(
            "SELECT identifier, rights FROM acl WHERE mailbox = ?", (mailbox,)
        ).fetchall()
    )


def _change(ledger: Ledger, *, mailbox: int, identifier: str, mode: Mode, rights: Rights) -> None:
    ledger.mailbox(mailbox)
    entries = _entries(ledger, mailbox)
    before = frozenset(entries.get(identifier, ""))
    after = before | rights if mode == "add" else before - rights if mode == "remove" else rights
    if after == before:
        return
    if not before and len(entries) >= MAX_ENTRIES:
        raise LimitError(
            f"{len(entries)} identifiers", public_text="too many identifiers in the mailbox's list"
        )
    if after:
        entries[identifier] = "".join(sorted(after))
        ledger.connection.execute(
            "INSERT INTO acl VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET rights = excluded.rights",
            (mailbox, identifier, entries[identifier]),
        )
    else:
        del entries[identifier]
        ledger.connection.execute(
            "DELETE FROM acl WHERE mailbox = ? AND identifier = ?", (mailbox, identifier)
        )
    _tell(ledger, mailbox, entries)


def _withdraw(ledger: Ledger, *, identifiers: Iterable[str]) -> None:
    for identifier in identifiers:
        found = ledger.connection.execute(
            "DELETE FROM acl WHERE identifier = ? RETURNING mailbox", (identifier,)
        ).fetchall()
        for (mailbox,) in found:
            _tell(ledger, mailbox, _entries(ledger, mailbox))


def _tell(ledger: Ledger, mailbox: int, entries: dict[str, str]) -> None:
    record, modseq = ledger.mailbox(mailbox), ledger.next_modseq()
    ledger.touch(record, modseq)
    ledger.tell(Delta("acl", mailbox, record.name, modseq, acl=entries))


def inherit(ledger: Ledger, mailbox: int, name: str) -> dict[str, str] | None:
    """A new mailbox begins with the list of the one above it (RFC 4314 section 4); that list, or None."""
    parent = ledger.by_name.get(name.rpartition("/")[0])
    entries = _entries(ledger, parent.id) if parent is not None else None
    if not entries:
        return None
    ledger.connection.executemany(
        "INSERT INTO acl VALUES (?, ?, ?)", [(mailbox, *entry) for entry in entries.items()]
    )
    return entries
