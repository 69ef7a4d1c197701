"""Which mailboxes the filters of ESEARCH stand for, of those that the user has now.

::

    chosen(connection, [MailboxFilter(FilterKind.SUBTREE, ("Lists",))])      # {"Lists": MailboxInfo(…), "Lists/twisted": …}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from moxtwisted.identifiers import IdentifierError, parse_mailbox_name
from moxtwisted.imap.backend import MailboxInfo
from moxtwisted.imap.connection import Connection
from moxtwisted.imap.notification import own_mailboxes
from moxtwisted.imap.sharing import OTHER_USERS, OTHERS
from moxtwisted.imap.wire.mailboxfilter import FilterKind, MailboxFilter
from moxtwisted.imap.wire.mailboxname import ancestry

__all__ = ["chosen", "parents_of", "reach_others"]


def reach_others(connection: Connection, filters: Iterable[MailboxFilter]) -> bool:
    """Whether any of them can stand for mailboxes of other users that it does not name: then all of those are looked at."""
    for one in filters:
        names: Iterable[str] = ()
        if one.kind is FilterKind.SUBSCRIBED:
            names = connection.mail.subscriptions()
        elif one.kind in {FilterKind.SUBTREE, FilterKind.SUBTREE_ONE}:
            names = _named(one)
        if any(name == OTHER_USERS or name.startswith(OTHERS) for name in names):
            return True
    return False


def chosen(connection: Connection, filters: Sequence[MailboxFilter]) -> dict[str, MailboxInfo]:
    """The mailboxes that any of the filters stands for, each once, by the backend's name.

    What does not exist, or is nothing that the user may know of, is not among them. ``selected`` stands for the selected mailbox.
    """
    mail = connection.mail
    known = {
        m.name: m for m in (mail.mailboxes() if reach_others(connection, filters) else own_mailboxes(mail))
    }
    found: dict[str, MailboxInfo] = {}
    for one in filters:
        if one.kind.of_selected:
            name = connection.box.name
            info = known.get(name) or connection.mail.mailbox(name)
            if info is not None:
                found[name] = info
        elif one.kind is FilterKind.MAILBOXES:
            for name in _named(one):
                # Also what LIST does not show: it is named, so the right to read it is enough (RFC 7377 section 2.2).
                info = known.get(name) or connection.mail.mailbox(name)
                if info is not None:
                    found[info.name] = info
        else:
            matches = _test(connection, one)
            found.update((name, info) for name, info in known.items() if matches(name))
    return found


def parents_of(names: Iterable[str]) -> frozenset[str]:
    """All names that have something below them."""
    parents = set()
    for name in names:
        at = name.rfind("/")
        while at > 0:
            parent = name[:at]
            if parent in parents:
                break
            parents.add(parent)
            at = name.rfind("/", 0, at)
    return frozenset(parents)


def _named(one: MailboxFilter) -> list[str]:
    """The names as the backend knows them; those that nothing can have are left out."""
    names: list[str] = []
    for name in one.names:
        try:
            names.append(parse_mailbox_name(name))
        except IdentifierError:
            continue
    return names


def _test(connection: Connection, one: MailboxFilter) -> Callable[[str], bool]:
    match one.kind:
        case FilterKind.SUBSCRIBED:
            return connection.mail.subscriptions().__contains__
        case FilterKind.SUBTREE:
            tops = frozenset(_named(one))
            return lambda name: any(above in tops for above in ancestry(name))
        case FilterKind.SUBTREE_ONE:
            parents = frozenset(_named(one))
            return lambda name: name in parents or name.rpartition("/")[0] in parents
        case _:
            # RFC 5465 section 6.3: any mailbox can have mail delivered to it, so inboxes are the same as personal.
            return lambda name: not name.startswith(OTHERS)
