"""What NOTIFY (RFC 5465) asks of a backend besides ``ISession``.

A session that provides ``INotifyingSession`` tells what happens in all mailboxes that it shows; its authenticator then
names ``NOTIFY`` among its ``extensions``::

    feed = session.watch(10_000, wake)        # wake is called when something happened
    happenings, lost = feed.take()
    feed.close()

What is told is shared by all who watch, so that a thousand sessions of an account cost one description of a delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zope.interface import Attribute, Interface

__all__ = ["IHappening", "IHappeningFeed", "INotifyingSession"]


class IHappening(Interface):
    """What happened to one mailbox in one step."""

    kind = Attribute(
        "str: messages, created, removed, renamed, subscribed, unsubscribed or annotated; others are passed over"
    )
    name = Attribute("str: of the mailbox, after it happened; empty with annotated: the server")
    added = Attribute("sequence of int: UIDs of new messages")
    expunged = Attribute("sequence of int: UIDs of messages that are gone")
    flagged = Attribute("sequence of int: UIDs of messages with other flags")
    old_name = Attribute("str: with renamed")
    entries = Attribute("sequence of str: with annotated, names of the entries that were set or removed")


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
