"""What a server tells unasked: in IDLE, by NOTIFY (RFC 5465), or between other answers.

``notice(response)`` makes one of the classes here from a response; a program gives ``connect`` a callback for them::

    def heard(notice: Notice) -> None:
        if isinstance(notice, NewCount):
            print(notice.count, "messages")
"""

from __future__ import annotations

from attrs import frozen

from moxtwisted.imap.client.results import Message, ResultError, message
from moxtwisted.imap.client.statusitems import MailboxNumbers
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.sequence import SequenceSet

__all__ = [
    "Alert",
    "ContextChanged",
    "Expunged",
    "Farewell",
    "MailboxListed",
    "MailboxStatus",
    "MessageChanged",
    "MetadataChanged",
    "NamespacesTold",
    "NewCount",
    "Notice",
    "NotificationsLost",
    "Other",
    "Progressed",
    "QuotaExceeded",
    "SessionLost",
    "UpdatesRefused",
    "Vanished",
    "notice",
]


@frozen
class NewCount:
    """So many messages are in the mailbox now (EXISTS)."""

    count: int


@frozen
class Expunged:
    """The message of this number is gone, and those behind it moved up (EXPUNGE)."""

    number: int


@frozen
class Vanished:
    """The messages with these UIDs are gone (VANISHED).

    :ivar earlier: whether they had gone before, as FETCH with VANISHED asks (RFC 7162 section 3.2.6); the number of messages stays.
    """

    uids: SequenceSet
    earlier: bool = False


@frozen
class MessageChanged:
    """Flags of a message, or what was asked for about a new one with NOTIFY, or with UPDATE of a search (FETCH)."""

    message: Message


@frozen
class MailboxStatus:
    """Numbers of a mailbox that is not selected (STATUS)."""

    mailbox: str
    items: MailboxNumbers


@frozen
class MailboxListed:
    """A mailbox was made, renamed (from ``old_name``), removed (``\\NonExistent``), or its subscription or rights changed (LIST)."""

    mailbox: str
    attributes: tuple[str, ...]
    old_name: str | None = None


@frozen
class MetadataChanged:
    """Entries of a mailbox, or of the server when its name is empty, have changed (METADATA)."""

    mailbox: str
    entries: tuple[str, ...]


@frozen
class ContextChanged:
    """The result of a search that is kept up to date has changed (ESEARCH with ADDTO or REMOVEFROM, RFC 5267).

    ``moxtwisted.imap.client.kept.KeptResult`` works it off.

    :ivar tag: of the search.
    :ivar changes: in the order in which they happened.
    :ivar uid: whether they are told by UIDs.
    """

    tag: bytes | None
    changes: tuple[r.ContextChange, ...]
    uid: bool = True


@frozen
class UpdatesRefused:
    """The result of a search is not, or no longer, kept up to date (NOUPDATE, RFC 5267 section 4.3.1).

    :ivar tag: of the search.
    """

    tag: bytes
    text: str


@frozen
class QuotaExceeded:
    """There is more than a quota allows; what was asked for was done all the same (OVERQUOTA, RFC 9208 section 4.3.1)."""

    text: str


@frozen
class NamespacesTold:
    """Prefixes of mailboxes, as they are called in the language that LANGUAGE has chosen (RFC 5255 section 3.4)."""

    namespaces: r.NamespaceData


@frozen
class NotificationsLost:
    """The server has stopped to notify (NOTIFICATIONOVERFLOW, RFC 5465 section 5.8): look at everything again."""


@frozen
class Progressed:
    """A command is under way (INPROGRESS, RFC 9585).

    :ivar tag: its tag, if the server said it.
    :ivar done: so much of ``goal``, if the server counts and knows.
    """

    tag: str | None
    done: int | None
    goal: int | None


@frozen
class Alert:
    """A text that the user must be shown (RFC 9051 section 7.1, ALERT)."""

    text: str


@frozen
class Farewell:
    """The server hangs up (BYE)."""

    text: str


@frozen
class SessionLost:
    """The connection is gone, and not because ``close`` or ``abort`` was called. Nothing more will be told.

    :ivar why: for people.
    """

    why: str


@frozen
class Other:
    """Anything else."""

    response: r.Response


Notice = (
    NewCount
    | Expunged
    | Vanished
    | MessageChanged
    | MailboxStatus
    | MailboxListed
    | MetadataChanged
    | ContextChanged
    | NamespacesTold
    | NotificationsLost
    | UpdatesRefused
    | QuotaExceeded
    | Progressed
    | Alert
    | Farewell
    | SessionLost
    | Other
)


def _status(response: r.StatusResponse) -> Notice:
    if response.condition == "BYE":
        return Farewell(response.text)
    match response.code:
        case r.ResponseCode("ALERT"):
            return Alert(response.text)
        case r.ResponseCode("INPROGRESS", r.InProgress(tag, done, goal)):
            return Progressed(tag, done, goal)
        case r.ResponseCode("NOUPDATE", r.NoUpdate(tag=search)):
            return UpdatesRefused(search, response.text)
        case r.ResponseCode("OVERQUOTA"):
            return QuotaExceeded(response.text)
        case r.ResponseCode("NOTIFICATIONOVERFLOW"):
            return NotificationsLost()
        case _:
            return Other(response)


def _listed(response: r.ListData) -> Notice:
    # RFC 5465 section 5.4 and RFC 9051 section 6.3.9.7: OLDNAME says what a renamed mailbox was called.
    old = response.extended.get("OLDNAME")
    return MailboxListed(response.mailbox, response.attributes, old[0] if old else None)


def notice(response: r.Response) -> Notice:
    """What a response tells; ``Other`` for what has no class of its own, or not the shape that it should have."""
    match response:
        case r.Exists(count):
            return NewCount(count)
        case r.Expunged(number):
            return Expunged(number)
        case r.VanishedData(uids, earlier):
            return Vanished(uids, earlier)
        case r.Fetched():
            try:
                return MessageChanged(message(response))
            except ResultError:
                return Other(response)
        case r.StatusData(mailbox, items):
            return MailboxStatus(mailbox, MailboxNumbers(items))
        case r.ListData(lsub=False):
            return _listed(response)
        case r.MetadataData(mailbox, entries, changed):
            return MetadataChanged(mailbox, changed or tuple(entries))
        case r.EsearchData(tag, uid, changes=(_, *_) as changes):
            return ContextChanged(tag, changes, uid)
        case r.NamespaceData():
            return NamespacesTold(response)
        case r.StatusResponse():
            return _status(response)
        case _:
            return Other(response)
