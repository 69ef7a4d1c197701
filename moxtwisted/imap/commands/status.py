"""STATUS (RFC 9051 section 6.3.11, with SIZE, APPENDLIMIT, HIGHESTMODSEQ and MAILBOXID)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from moxtwisted.imap.backend import MailboxInfo
from moxtwisted.imap.connection import Answer, Connection
from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.commands import Status, StatusItem
from moxtwisted.imap.wire.mailboxname import canonical

__all__ = ["status", "status_line"]

_VALUES: Final[dict[StatusItem, Callable[[Connection, MailboxInfo], str]]] = {
    StatusItem.MESSAGES: lambda connection, box: str(box.messages),
    StatusItem.UIDNEXT: lambda connection, box: str(box.uidnext),
    StatusItem.UIDVALIDITY: lambda connection, box: str(box.uidvalidity),
    StatusItem.UNSEEN: lambda connection, box: str(box.unseen),
    StatusItem.DELETED: lambda connection, box: str(box.deleted),
    StatusItem.SIZE: lambda connection, box: str(box.size),
    # RFC 9051 appendix E: for IMAP4rev1; nothing is ever recent here.
    StatusItem.RECENT: lambda connection, box: "0",
    StatusItem.APPENDLIMIT: lambda connection, box: str(connection.mail.append_limit),
    StatusItem.HIGHESTMODSEQ: lambda connection, box: str(box.highestmodseq),
    StatusItem.MAILBOXID: lambda connection, box: f"({box.objectid})",
    StatusItem.DELETED_STORAGE: lambda connection, box: str(box.deleted_size),
}


@lru_cache(maxsize=256)
def _form(
    items: tuple[StatusItem, ...],
) -> tuple[str, tuple[Callable[[Connection, MailboxInfo], str], ...]]:
    """Clients ask for the same few items."""
    return " ".join(f"{item.value} %s" for item in items), tuple(_VALUES[item] for item in items)


def status_line(connection: Connection, box: MailboxInfo, items: Sequence[StatusItem]) -> bytes:
    """The untagged STATUS response."""
    form, getters = _form(tuple(items))
    values = form % tuple([getter(connection, box) for getter in getters])
    return b"* STATUS %b (%b)\r\n" % (
        render.mailbox(canonical(box.name), utf8=connection.utf8),
        values.encode("ascii"),
    )


def status(connection: Connection, command: Status) -> Answer:
    """STATUS."""
    if StatusItem.HIGHESTMODSEQ in command.items:
        # RFC 7162 section 3.1.7: asking for it enables CONDSTORE.
        connection.enable("CONDSTORE")
    connection.out.append(status_line(connection, connection.existing(command.mailbox, "r"), command.items))
    return None
