"""The commands of RFC 4314: SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS; and how they are read.

::

    a1 SETACL Projects bob +lrs
      -> SetACL(tag=b"a1", mailbox="Projects", identifier="bob", rights="+lrs")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from moxtwisted.imap.wire.commands import Command
from moxtwisted.imap.wire.lexer import CommandError, Cursor

__all__ = ["ACL_COMMANDS", "DeleteACL", "GetACL", "ListRights", "MyRights", "SetACL"]

MAX_IDENTIFIER_OCTETS: Final = 512
MAX_RIGHTS_OCTETS: Final = 128


@frozen
class SetACL(Command):
    """SETACL.

    :ivar identifier: as given, with the ``-`` of negative rights.
    :ivar rights: as given, with ``+`` or ``-`` in front or without.
    """

    mailbox: str
    identifier: str
    rights: str
    name = "SETACL"


@frozen
class DeleteACL(Command):
    """DELETEACL."""

    mailbox: str
    identifier: str
    name = "DELETEACL"


@frozen
class GetACL(Command):
    """GETACL."""

    mailbox: str
    name = "GETACL"


@frozen
class ListRights(Command):
    """LISTRIGHTS."""

    mailbox: str
    identifier: str
    name = "LISTRIGHTS"


@frozen
class MyRights(Command):
    """MYRIGHTS."""

    mailbox: str
    name = "MYRIGHTS"


def _identifier(cursor: Cursor) -> str:
    cursor.space()
    identifier = cursor.text_astring("identifier")
    if len(identifier) > MAX_IDENTIFIER_OCTETS:
        raise CommandError("identifier is too long")
    return identifier


def _on_mailbox(of: type[GetACL | MyRights]) -> Callable[[bytes, Cursor], Command]:
    def read(tag: bytes, cursor: Cursor) -> Command:
        cursor.space()
        mailbox = cursor.mailbox()
        cursor.end()
        return of(tag, mailbox)

    return read


def _on_identifier(of: type[DeleteACL | ListRights]) -> Callable[[bytes, Cursor], Command]:
    def read(tag: bytes, cursor: Cursor) -> Command:
        cursor.space()
        mailbox = cursor.mailbox()
        identifier = _identifier(cursor)
        cursor.end()
        return of(tag, mailbox, identifier)

    return read


def _set(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    mailbox = cursor.mailbox()
    identifier = _identifier(cursor)
    cursor.space()
    rights = cursor.text_astring("rights")
    cursor.end()
    if len(rights) > MAX_RIGHTS_OCTETS:
        raise CommandError("too many rights")
    return SetACL(tag, mailbox, identifier, rights)


ACL_COMMANDS: Final[Mapping[bytes, Callable[[bytes, Cursor], Command]]] = {
    b"SETACL": _set,
    b"DELETEACL": _on_identifier(DeleteACL),
    b"GETACL": _on_mailbox(GetACL),
    b"LISTRIGHTS": _on_identifier(ListRights),
    b"MYRIGHTS": _on_mailbox(MyRights),
}
"""By the word that begins them."""
