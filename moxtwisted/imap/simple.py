r"""A backend for mail that is kept elsewhere, of which a program says only what messages there are and what is in them.

``SimpleMailbox`` implements what IMAP asks of a mailbox (``moxtwisted.imap.backend``) but for three methods, which are the program's own.
What names a message in the program is its *key*: a file name, a number, anything that can be put into a dict. UIDs, modification
sequences, flags and searches are made of that::

    class Notes(SimpleMailbox):
        def keys(self):
            return [note.number for note in notebook]

        def octets(self, key):
            return notebook[key].as_message()

        def date(self, key):
            return notebook[key].written

    notes = Notes(uidvalidity=int(reactor.seconds()))
    mail = SimpleMail({"INBOX": notes}, reactor.seconds)
    authenticator = SimpleAuthenticator({"reader": ("secret", mail)}, os.urandom)

Its messages can be read, searched, marked and copied from it. With ``remove`` they can also be deleted and moved away; with ``remove`` and
``add`` messages come in by APPEND, COPY and MOVE. UIDs and flags last as long as the program, unless it has a ``MailboxIndex``
(``moxtwisted.imap.simpleindex``) instead of the UIDVALIDITY; flags may also be the program's own, with ``flags`` and ``keep_flags``.
What came or went in the program is noticed when a client looks at the mailbox, and by ``SimpleMail.refresh``, after which also those
are told who have it open.

All methods are called in the reactor's thread and wait for nothing: for mail that is far away, or for millions of messages, write the
interfaces of ``moxtwisted.imap.backend`` themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import define
from zope.interface import implementer

from moxtwisted.errors import LimitError, MailboxMissingError
from moxtwisted.identifiers import IdentifierError, parse_mailbox_name
from moxtwisted.imap import backend as b
from moxtwisted.imap.memorymailbox import MemorySink
from moxtwisted.imap.sharing import NotPermittedError
from moxtwisted.imap.simplemailbox import SimpleMailbox
from moxtwisted.sasl.memory import MemoryUsers

__all__ = ["SimpleAuthenticator", "SimpleMail", "SimpleMailbox", "SimpleSession"]

#: Names that one user's mail has subscribed, at most.
_MAX_SUBSCRIPTIONS: Final = 20_000

_FIXED: Final = "mailboxes cannot be made, renamed or removed here"


class SimpleMail:
    """One user's mail; ``session`` gives what an authenticator hands out.

    :param mailboxes: by name, levels apart by "/"; one of them should be INBOX.
    :param seconds: the clock, seconds since 1970.
    """

    def __init__(self, mailboxes: Mapping[str, SimpleMailbox], seconds: Callable[[], float]) -> None:
        self.mailboxes = {str(parse_mailbox_name(name)): mailbox for name, mailbox in mailboxes.items()}
        self.seconds = seconds
        self.subscribed = set(self.mailboxes)
        for mailbox in self.mailboxes.values():
            mailbox.siblings = self.mailboxes

    def refresh(self) -> None:
        """Look what came and went in all mailboxes. Call it when something did, or every few seconds."""
        for mailbox in self.mailboxes.values():
            mailbox.refresh()

    def find(self, name: str) -> SimpleMailbox:
        """A mailbox. :raises MailboxMissingError:"""
        found = self.mailboxes.get(parse_mailbox_name(name))
        if found is None:
            raise MailboxMissingError(name)
        return found

    def session(self, account: str) -> SimpleSession:
        """For a user who logged in."""
        return SimpleSession(self, account)


@implementer(b.ISession)
@define(eq=False)
class SimpleSession:
    """See `ISession <moxtwisted.imap.backend.ISession>`. The mailboxes are the program's: clients can neither make nor remove one."""

    mail: SimpleMail
    account: str
    append_limit: int = 100 * 1024 * 1024
    # They need what lasts longer than this program does.
    disabled_capabilities: frozenset[str] = frozenset({"OBJECTID", "SAVEDATE"})

    def mailboxes(self) -> Sequence[b.MailboxInfo]:
        """See `ISession <moxtwisted.imap.backend.ISession>`."""
        return [mailbox.info(name) for name, mailbox in sorted(self.mail.mailboxes.items())]

    def mailbox(self, name: str) -> b.MailboxInfo | None:
        """See `ISession <moxtwisted.imap.backend.ISession>`."""
        try:
            return self.mail.find(name).info(parse_mailbox_name(name))
        except (MailboxMissingError, IdentifierError):
            return None

    def subscriptions(self) -> frozenset[str]:
        """See `ISession <moxtwisted.imap.backend.ISession>`: at first all mailboxes."""
        return frozenset(self.mail.subscribed)

    def select(self, name: str, *, read_only: bool) -> SimpleMailbox:
        """See `ISession <moxtwisted.imap.backend.ISession>`."""
        mailbox = self.mail.find(name)
        mailbox.refresh()
        return mailbox

    async def create(self, name: str, special_use: Sequence[str]) -> b.MailboxInfo:
        """See `ISession <moxtwisted.imap.backend.ISession>`."""
        raise NotPermittedError("CREATE", public_text=_FIXED)

    async def delete(self, name: str) -> None:
        """See `ISession <moxtwisted.imap.backend.ISession>`."""
        raise NotPermittedError("DELETE", public_text=_FIXED)

    async def rename(self, old: str, new: str) -> None:
        """See `ISession <moxtwisted.imap.backend.ISession>`."""
        raise NotPermittedError("RENAME", public_text=_FIXED)

    async def subscribe(self, name: str) -> None:
        """See `ISession <moxtwisted.imap.backend.ISession>`."""
        if len(self.mail.subscribed) >= _MAX_SUBSCRIPTIONS:
            raise LimitError(f"{_MAX_SUBSCRIPTIONS} subscriptions", public_text="too many subscriptions")
        self.mail.subscribed.add(name)

    async def unsubscribe(self, name: str) -> None:
        """See `ISession <moxtwisted.imap.backend.ISession>`."""
        self.mail.subscribed.discard(name)

    def append_sink(self, mailbox: str, size_octets: int) -> MemorySink:
        """See `ISession <moxtwisted.imap.backend.ISession>`."""
        if "i" not in self.mail.find(mailbox).rights:
            raise NotPermittedError("APPEND")
        if size_octets > self.append_limit:
            error = LimitError(mailbox, public_text="message is too large")
            error.imap_code = "TOOBIG"
            raise error
        return MemorySink()

    async def append(self, mailbox: str, messages: Sequence[b.Incoming]) -> b.Appended:
        """See `ISession <moxtwisted.imap.backend.ISession>`."""
        now = int(self.mail.seconds())
        return self.mail.find(mailbox).take(
            (b"".join(m.sink.parts), m.flags, now if m.internaldate is None else m.internaldate)
            for m in messages
        )

    def logout(self) -> None:
        """Nothing is held."""


@implementer(b.IAuthenticator)
class SimpleAuthenticator(MemoryUsers):
    """Users with their passwords, and whose mail they see.

    :param users: (password, mail) by user name.
    :param entropy: ``entropy(n)`` gives n random octets, as ``os.urandom``.
    """

    extensions: frozenset[str] = frozenset()

    def __init__(self, users: Mapping[str, tuple[str, SimpleMail]], entropy: Callable[[int], bytes]) -> None:
        super().__init__({name: password for name, (password, _) in users.items()}, entropy)
        self._mail = {name: mail for name, (_, mail) in users.items()}

    def session(self, identity: str, peer: Any) -> SimpleSession:
        """See `IAuthenticator <moxtwisted.imap.backend.IAuthenticator>`."""
        return self._mail[identity].session(identity)
