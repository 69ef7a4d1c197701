r"""NOTIFY (RFC 5465): what happens from then on is in ``moxtwisted.imap.notifying``.

::

    C: a1 NOTIFY SET STATUS (subtree Lists (MessageNew MessageExpunge))
    S: * STATUS Lists/Lemonade (MESSAGES 500 UIDNEXT 9999 UIDVALIDITY 4)
    S: a1 OK NOTIFY completed
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence
from typing import cast

from moxtwisted.imap import notifying
from moxtwisted.imap.connection import Answer, Connection, Handled, RefusalError
from moxtwisted.imap.notification import INotifyingSharedSession
from moxtwisted.imap.othersfilter import OthersWanted
from moxtwisted.imap.wire.commands import Notify
from moxtwisted.imap.wire.events import Event, EventGroup

__all__ = ["notify", "supported"]

_METADATA_EVENTS = frozenset({Event.MAILBOX_METADATA_CHANGE, Event.SERVER_METADATA_CHANGE})


def supported(connection: Connection) -> frozenset[Event]:
    """The events that this connection can be told of."""
    # AnnotationChange is about annotations of messages, which there are none of.
    # RFC 5465 sections 5.6 and 5.7: those of metadata come with METADATA.
    events = frozenset(Event) - {Event.ANNOTATION_CHANGE}
    return events if "METADATA" in connection.offered else events - _METADATA_EVENTS


def notify(connection: Connection, command: Notify) -> Handled:
    """NOTIFY."""
    groups = command.groups
    if groups is None:
        _replace(connection, notifying.Notifying.begin(connection, (), 0))
        return None
    known = supported(connection)
    if any(group.unknown or not group.events <= known for group in groups):
        # RFC 5465 section 3.1: NO, not BAD, and the names of all that can be asked for.
        names = " ".join(event.value for event in Event if event in known)
        raise RefusalError("unsupported event", f"BADEVENT ({names})")
    wanted = OthersWanted.of(connection, groups)
    if wanted is not None:
        session = cast("INotifyingSharedSession", connection.mail)
        waiting = session.prepare_others(wanted.owners())
        if waiting is not None:
            return _prepared(waiting, connection, groups, status=command.status)
    return _begun(connection, groups, status=command.status)


async def _prepared(
    waiting: Awaitable[None], connection: Connection, groups: Sequence[EventGroup], *, status: bool
) -> Handled:
    """Others' mailboxes have to be opened first."""
    await waiting
    return _begun(connection, groups, status=status)


def _begun(connection: Connection, groups: Sequence[EventGroup], *, status: bool) -> Handled:
    # Before what is in force is ended: it may be refused.
    begun = notifying.Notifying.begin(connection, groups, connection.settings.limits.notifications)
    # Section 3.1: what has happened until now is told at once, whatever was asked for before.
    connection.unnotify()
    connection.sync(allow_expunge=True)
    _replace(connection, begun)
    return _told(begun, status=status) if status or begun.watches_others else None


def _replace(connection: Connection, begun: notifying.Notifying) -> None:
    connection.unnotify()
    connection.notifying = begun
    if begun.selected is not None:
        connection.attend()


def _told(begun: notifying.Notifying, *, status: bool) -> Generator[bytes, None, Answer]:
    yield from begun.unreadable()
    if status:
        yield from begun.statuses()
    return None
