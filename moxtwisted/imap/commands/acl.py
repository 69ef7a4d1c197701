r"""SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 section 3).

::

    C: a1 SETACL Projects bob@example.org lrs
    S: a1 OK SETACL completed
    C: a2 GETACL Projects
    S: * ACL Projects alice lrswipkxteacd bob lrs
    S: a2 OK GETACL completed
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from moxtwisted.errors import MailboxMissingError
from moxtwisted.identifiers import IdentifierError, parse_mailbox_name
from moxtwisted.imap.connection import Answer, Connection, RefusalError
from moxtwisted.imap.rights import ALL, Rights, RightsError, parse_modification, shown
from moxtwisted.imap.sharing import ISharedSession
from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.aclcommands import DeleteACL, GetACL, ListRights, MyRights, SetACL
from moxtwisted.imap.wire.mailboxname import canonical
from moxtwisted.sasl.prep import PreparationError, username_case_mapped

__all__ = ["deleteacl", "getacl", "listrights", "myrights", "myrights_line", "setacl"]


def _session(connection: Connection) -> ISharedSession:
    # The table of states lets these commands through only where ACL is announced, which means that sessions provide this.
    return cast("ISharedSession", connection.mail)


def _mailbox(name: str) -> str:
    try:
        return parse_mailbox_name(name)
    except IdentifierError:
        raise MailboxMissingError(name) from None


def _identifier(text: str) -> str:
    """Prepared for comparison.

    :raise RefusalError: BAD when it cannot be one.
    """
    sign, name = ("-", text[1:]) if text.startswith("-") else ("", text)
    try:
        # RFC 4314 section 3 names SASLprep. We prepare identifiers as user names are prepared at log-in, by its successor
        # (RFC 8265), so that both forms meet.
        return sign + username_case_mapped(name)
    except PreparationError:
        raise RefusalError("this cannot be an identifier", kind="BAD") from None


def _name(connection: Connection, name: str) -> bytes:
    return render.mailbox(canonical(name), utf8=connection.utf8)


def _rights(rights: Iterable[str]) -> bytes:
    return shown(rights).encode("ascii") or b'""'


async def setacl(connection: Connection, command: SetACL) -> Answer:
    """SETACL."""
    try:
        modification = parse_modification(command.rights)
    except RightsError as e:
        raise RefusalError(e.public_text, kind="BAD") from None
    identifier = _identifier(command.identifier)
    await _session(connection).set_acl(_mailbox(command.mailbox), identifier, modification)
    return None


async def deleteacl(connection: Connection, command: DeleteACL) -> Answer:
    """DELETEACL."""
    identifier = _identifier(command.identifier)
    await _session(connection).delete_acl(_mailbox(command.mailbox), identifier)
    return None


def getacl(connection: Connection, command: GetACL) -> Answer:
    """GETACL."""
    name = _mailbox(command.mailbox)
    entries = b"".join(
        b" %b %b" % (render.astring(identifier, utf8=connection.utf8), _rights(rights))
        for identifier, rights in _session(connection).acl(name)
    )
    connection.out.append(b"* ACL %b%b\r\n" % (_name(connection, name), entries))
    return None


def listrights(connection: Connection, command: ListRights) -> Answer:
    """LISTRIGHTS."""
    name = _mailbox(command.mailbox)
    required, optional = _session(connection).list_rights(name, _identifier(command.identifier))
    told = [_rights(required)]
    told += ["".join(sorted(together)).encode("ascii") for together in optional]
    if optional:
        # RFC 4314 section 2.1.1: the virtual rights stand by themselves when their members are not tied to others.
        told += [b"c", b"d"]
    # Section 3.4: the identifier as the client wrote it.
    identifier = render.astring(command.identifier, utf8=connection.utf8)
    connection.out.append(
        b"* LISTRIGHTS %b %b %b\r\n" % (_name(connection, name), identifier, b" ".join(told))
    )
    return None


def myrights(connection: Connection, command: MyRights) -> Answer:
    """MYRIGHTS."""
    name = _mailbox(command.mailbox)
    connection.out.append(myrights_line(connection, name, _session(connection).rights(name)))
    return None


def myrights_line(connection: Connection, name: str, rights: Rights | None) -> bytes:
    """The untagged response.

    :param rights: None for all, on a mailbox of the user's own.
    """
    return b"* MYRIGHTS %b %b\r\n" % (_name(connection, name), _rights(ALL if rights is None else rights))
