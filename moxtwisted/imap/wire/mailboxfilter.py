r"""Which mailboxes a command is about: the filters of NOTIFY (RFC 5465 section 6) and those of ESEARCH (RFC 7377 section 2.2), each of
which has one that the other has not.

::

    mailbox_filter(Cursor(b'subtree (Lists "Old mail")'))
      -> MailboxFilter(FilterKind.SUBTREE, ("Lists", "Old mail"))
"""

from __future__ import annotations

from collections.abc import Container
from enum import Enum
from typing import Final

from attrs import frozen

from moxtwisted.imap.wire.lexer import CommandError, Cursor

__all__ = ["MAX_FILTER_NAMES", "FilterKind", "MailboxFilter", "filter_names", "mailbox_filter"]

MAX_FILTER_NAMES: Final = 1000
"""The most names in one filter (our choice)."""


class FilterKind(Enum):
    """What a filter stands for; the value is the wire's word."""

    SELECTED = "SELECTED"
    SELECTED_DELAYED = "SELECTED-DELAYED"
    """NOTIFY only."""
    INBOXES = "INBOXES"
    PERSONAL = "PERSONAL"
    SUBSCRIBED = "SUBSCRIBED"
    SUBTREE = "SUBTREE"
    SUBTREE_ONE = "SUBTREE-ONE"
    """ESEARCH only (RFC 7377 section 2.2)."""
    MAILBOXES = "MAILBOXES"

    @property
    def of_selected(self) -> bool:
        """Whether it is about the selected mailbox, whichever that is."""
        return self in {FilterKind.SELECTED, FilterKind.SELECTED_DELAYED}

    @property
    def has_names(self) -> bool:
        """Whether mailbox names follow."""
        return self in {FilterKind.SUBTREE, FilterKind.SUBTREE_ONE, FilterKind.MAILBOXES}


@frozen
class MailboxFilter:
    """One filter.

    :ivar names: decoded, for the kinds that have them.
    """

    kind: FilterKind
    names: tuple[str, ...] = ()


def mailbox_filter(cursor: Cursor, without: Container[FilterKind] = ()) -> MailboxFilter:
    """``filter-mailboxes``.

    :param without: kinds that are not known here.
    :raise CommandError: for anything else.
    """
    try:
        kind = FilterKind(cursor.keyword("a mailbox filter").decode("ascii"))
    except ValueError:
        raise CommandError("unknown mailbox filter") from None
    if kind in without:
        raise CommandError("this mailbox filter is not for this command")
    if not kind.has_names:
        return MailboxFilter(kind)
    cursor.space()
    return MailboxFilter(kind, filter_names(cursor))


def filter_names(cursor: Cursor) -> tuple[str, ...]:
    """``one-or-more-mailbox``, decoded, each once.

    :raise CommandError: for anything else, and for more than `MAX_FILTER_NAMES`.
    """
    if not cursor.skip(b"("):
        return (cursor.mailbox(),)
    names = [cursor.mailbox()]
    while not cursor.skip(b")"):
        cursor.space()
        names.append(cursor.mailbox())
        if len(names) > MAX_FILTER_NAMES:
            raise CommandError("too many mailbox names", "LIMIT", "NO")
    return tuple(dict.fromkeys(names))
