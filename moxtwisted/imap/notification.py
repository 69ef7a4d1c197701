"""What NOTIFY (RFC 5465) asks of a backend besides ``ISession``.

A session that provides ``INotifyingSession`` tells what happens in all mailboxes that it shows; its authenticator then
names ``NOTIFY`` among its ``extensions``::

    feed = session.watch(10_000, wake)        # wake is called when something happened
    happenings, lost = feed.take()
    feed.close()

What is told is shared by all who watch, so that a thousand sessions of an account cost one description of a delivery.

A session of several accounts provides ``INotifyingSharedSession``, too: mailboxes of other users are watched apart from the user's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any

from attrs import frozen
from zope.interface import Attribute, Interface, implementer

from moxtwisted.imap.backend import ISession, MailboxInfo

__all__ = [
    "Happening",
    "IHappening",
    "IHappeningFeed",
    "INotifyingSession",
    "INotifyingSharedSession",
    "IOthersFeed",
    "mailboxes_of",
    "own_mailboxes",
]


class IHappening(Interface):
    """What happened to one mailbox in one step."""

    kind = Attribute(
        "str: messages, created, removed, renamed, subscribed, unsubscribed, annotated or special_use; others are passed over"
    )
    name = Attribute("str: of the mailbox, after it happened; empty with annotated: the server")
    added = Attribute("sequence of int: UIDs of new messages")
    expunged = Attribute("sequence of int: UIDs of messages that are gone")
    flagged = Attribute("sequence of int: UIDs of messages with other flags")
    old_name = Attribute("str: with renamed")
    entries = Attribute("sequence of str: with annotated, names of the entries that were set or removed")


@implementer(IHappening)
@frozen
class Happening:
    """See ``IHappening``."""

    kind: str
    name: str
    added: Sequence[int] = ()
    expunged: Sequence[int] = ()
    flagged: Sequence[int] = ()
    old_name: str = ""
    entries: Sequence[str] = ()


class IHappeningFeed(Interface):
    """What happened since the last look, bounded."""

    def take() -> tuple[Sequence[IHappening], bool]:
        """All since the last take in the order in which it happened, and whether some was dropped."""

    def close() -> None:
        """Stop; ``wake`` is not called any more."""


class INotifyingSession(Interface):
    """A session that tells what happens to its mailboxes."""

    def watch(limit: int, wake: Callable[[], None]) -> IHappeningFeed:
        """From now on, at most ``limit`` happenings between two takes.

        :param wake: called after something happened, before the call that did it has been answered; it only takes note.
        """


class IOthersFeed(IHappeningFeed):
    """What happens to mailboxes of other users that the user may list.

    To get the right to list one is told as ``created``, to lose it as ``removed`` (RFC 5465 section 5.4). Two kinds more there are,
    for what goes on being listed: ``readable`` and ``unreadable``. Messages and annotations are told of what may be read.
    """

    def want(owners: Collection[str] | None) -> None:
        """Whose mailboxes are watched from the next ``take`` on: accounts, or None for all who share something with the user."""

    def mailboxes() -> Sequence[MailboxInfo]:
        """All that are watched."""

    def names() -> Iterable[str]:
        """Their names, as of the last ``take``: nothing is looked up."""


class INotifyingSharedSession(Interface):
    """A session that also tells what happens to mailboxes of other users."""

    def own_mailboxes() -> Sequence[MailboxInfo]:
        """As ``ISession.mailboxes``, without those of other users: no account of theirs is looked into."""

    def mailboxes_of(owner: str) -> Sequence[MailboxInfo]:
        """Those of one other user; no other account is looked into."""

    def prepare_others(owners: Collection[str] | None) -> Awaitable[None] | None:
        """Before ``watch_others``: accounts that have to be opened are, in slices; None when there is nothing to do.

        :raises MailError: when they are too many to be watched.
        """

    def watch_others(limit: int, wake: Callable[[], None], owners: Collection[str] | None) -> IOthersFeed:
        """From now on; see ``INotifyingSession.watch`` and ``IOthersFeed.want``.

        :raises MailError: when they are too many to be watched.
        """


def mailboxes_of(session: ISession, owner: str) -> Sequence[MailboxInfo]:
    """Those of one other user, where the session knows of such."""
    mail: Any = session
    others: Sequence[MailboxInfo] = (
        mail.mailboxes_of(owner) if INotifyingSharedSession.providedBy(mail) else ()
    )
    return others


def own_mailboxes(session: ISession) -> Sequence[MailboxInfo]:
    """The user's own: nobody else's account is looked into, where the session knows of such."""
    mail: Any = session
    own: Sequence[MailboxInfo] = (
        mail.own_mailboxes() if INotifyingSharedSession.providedBy(mail) else mail.mailboxes()
    )
    return own
