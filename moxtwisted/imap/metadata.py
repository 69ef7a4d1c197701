r"""What is noted about mailboxes and the server (RFC 5464): what it asks of the backend, and the news of it.

A backend whose sessions provide ``IAnnotatedSession`` puts ``METADATA``, ``LIST-METADATA`` and ``FILTERS`` among the
``extensions`` of its authenticator. Names of entries are in lower case::

    session.annotations("INBOX")                                    -> {"/private/comment": b"mine"}
    await session.annotate("INBOX", {"/private/comment": None}, None)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from zope.interface import Attribute, Interface

from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.mailboxname import canonical

__all__ = ["ADMIN", "SPECIAL_USE", "AnnotationNews", "IAnnotatedSession"]

ADMIN: Final = "/shared/admin"
"""RFC 5464 section 3.2.1.1: how to reach the administrator; an entry of the server that cannot be set."""

SPECIAL_USE: Final = "/private/specialuse"
"""RFC 6154 section 4: the special uses of a mailbox as an entry."""

# Names of entries that one connection is still to be told of.
_MOST_NEWS: Final = 10_000


class IAnnotatedSession(Interface):
    """A session whose mailboxes have annotations. An empty mailbox name is the server, as this user sees it."""

    administrator = Attribute("str: a URI for reaching the server's administrator, or empty")

    def annotations(mailbox: str) -> Mapping[str, bytes]:
        """All, by name; without special uses and the administrator. :raises MailboxMissingError:"""

    def annotate(
        mailbox: str, values: Mapping[str, bytes | None], special_use: Sequence[str] | None
    ) -> Awaitable[None]:
        """Set values, or remove them with None, and with ``special_use`` the special uses of the mailbox: all or nothing.

        :raises MailError: its imap_code is ``METADATA TOOMANY``, ``METADATA NOPRIVATE`` or ``METADATA MAXSIZE n`` where RFC
            5464 section 4.3 wants that.
        """

    def watch_annotations(changed: Callable[[str, Sequence[str]], None]) -> Callable[[], None]:
        """Call it with the mailbox and the names of entries that changed, whoever changed them, at once when that
        happens, and before an ``annotate`` of this session that changed them has ended.

        :return: ends it.
        """


class AnnotationNews:
    """What a client that enabled METADATA shall be told: which entries others changed.

    :param connection: the `Connection <moxtwisted.imap.connection.Connection>` to wake when there is something.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._changed: dict[str, dict[str, None]] = {}
        self._count = 0
        self._own: list[tuple[str, frozenset[str]]] = []
        self.close: Callable[[], None] = connection.mail.watch_annotations(self._note)

    def begin(self, mailbox: str, entries: Sequence[str], *, special_use: bool) -> None:
        """This session is going to change these entries itself."""
        if entries:
            self._own.append((mailbox, frozenset(entries)))
        if special_use:
            self._own.append((mailbox, frozenset({SPECIAL_USE})))

    def end(self) -> None:
        """It has, or could not."""
        self._own.clear()

    def _note(self, mailbox: str, entries: Sequence[str]) -> None:
        change = (mailbox, frozenset(entries))
        if change in self._own:
            # RFC 5464 section 4.4: unsolicited are changes by others.
            self._own.remove(change)
            return
        names = self._changed.setdefault(mailbox, {})
        before = len(names)
        if self._count < _MOST_NEWS:
            names.update(dict.fromkeys(entries))
            self._count += len(names) - before
        self._connection.wake()

    def take(self) -> list[bytes]:
        """Untagged responses, once."""
        if not self._changed:
            return []
        changed, self._changed, self._count = self._changed, {}, 0
        utf8 = self._connection.utf8
        # RFC 5464 section 4.4.2: the names alone, without parentheses.
        return [
            b"* METADATA %b %b\r\n"
            % (
                render.mailbox(canonical(mailbox), utf8=utf8) if mailbox else b'""',
                b" ".join(render.astring(name, utf8=utf8) for name in names),
            )
            for mailbox, names in changed.items()
        ]
