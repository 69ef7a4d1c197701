"""What NOTIFY (RFC 5465 sections 5 and 6) can ask for: events, and the mailboxes whose events they are.

::

    (selected MessageNew (uid flags) MessageExpunge)    is wrong, events stand in parentheses
    (selected (MessageNew (uid flags) MessageExpunge))
      -> EventGroup(FilterKind.SELECTED, events=frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE}),
                    attributes=(Uid(), Flags()))
    (subtree Lists NONE)
      -> EventGroup(FilterKind.SUBTREE, ("Lists",))
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from moxtwisted.imap.wire.fetchattributes import FetchAttribute
from moxtwisted.imap.wire.mailboxfilter import FilterKind

__all__ = ["MAILBOX_EVENTS", "MESSAGE_EVENTS", "Event", "EventGroup"]


class Event(Enum):
    """An event; the value is its name."""

    MESSAGE_NEW = "MessageNew"
    MESSAGE_EXPUNGE = "MessageExpunge"
    FLAG_CHANGE = "FlagChange"
    ANNOTATION_CHANGE = "AnnotationChange"
    MAILBOX_NAME = "MailboxName"
    SUBSCRIPTION_CHANGE = "SubscriptionChange"
    MAILBOX_METADATA_CHANGE = "MailboxMetadataChange"
    SERVER_METADATA_CHANGE = "ServerMetadataChange"


MESSAGE_EVENTS = frozenset(
    {Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE, Event.ANNOTATION_CHANGE}
)
"""Those about messages (``message-event``)."""

MAILBOX_EVENTS = frozenset(Event) - MESSAGE_EVENTS
"""Those about mailboxes and the server."""


@frozen
class EventGroup:
    """Events of some mailboxes.

    :ivar names: with SUBTREE and MAILBOXES: decoded names, one or more.
    :ivar events: none for NONE.
    :ivar attributes: what MessageNew shall tell of a message in the selected mailbox, in the client's order, or empty.
    :ivar unknown: names of events that we do not know, as given.
    """

    mailboxes: FilterKind
    names: tuple[str, ...] = ()
    events: frozenset[Event] = frozenset()
    attributes: tuple[FetchAttribute, ...] = ()
    unknown: tuple[str, ...] = ()
