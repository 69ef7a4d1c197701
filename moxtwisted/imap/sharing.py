"""Mailboxes that accounts share: what commands ask of a session, and what a session asks of whoever keeps the mail.

A session that provides ``ISharedSession`` answers the commands of RFC 4314 and shows what others share with its user below
``OTHER_USERS``: Bob finds Alice's ``Projects`` as ``Other Users/alice/Projects``. The level between is the name of
the account, not an address: an account has one name for ever, while its addresses are several, come and go, and a mailbox whose name
changed with them would be lost to every client that remembers it.

`SharingSession <moxtwisted.imap.sharedsession.SharingSession>` is such a session over any backend: give it the user's own
`ISession <moxtwisted.imap.backend.ISession>` and an ``IShares``. The rules of RFC 4314 are in it; the backend only keeps lists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from zope.interface import Attribute, Interface

from moxtwisted.errors import MailError
from moxtwisted.imap.backend import Appended, ISelectedMailbox, ISession
from moxtwisted.imap.notification import IHappeningFeed
from moxtwisted.imap.rights import Modification, Rights
from moxtwisted.imap.wire.mailboxname import canonical

__all__ = [
    "OTHERS",
    "OTHER_USERS",
    "ISharedSession",
    "IShares",
    "IdentifierRefusedError",
    "NotPermittedError",
    "Transfer",
    "foreign_name",
    "sharing",
    "spelt",
]

OTHER_USERS: Final = "Other Users"
"""RFC 2342 section 5: the namespace of what belongs to other users; the separator follows."""

OTHERS: Final = OTHER_USERS + "/"
"""What names of mailboxes of other users begin with."""


class NotPermittedError(MailError):
    """The user may know of the mailbox, and not do this to it."""

    reply_code = 550
    enhanced_code = "5.7.1"
    # RFC 5530 section 3
    imap_code = "NOPERM"
    public_text = "your rights on this mailbox do not allow that"


class IdentifierRefusedError(MailError):
    """An access control list cannot have this identifier."""

    reply_code = 550
    enhanced_code = "5.7.1"
    imap_code = "CANNOT"
    public_text = "nobody here has that name"


def foreign_name(owner: str, name: str) -> str:
    """What others call a mailbox of the owner's; his INBOX is spelt so there, as his own is."""
    return f"{OTHERS}{owner}/{canonical(name)}"


def spelt(name: str) -> str:
    """A name as it is listed: the INBOX of somebody else can be asked for in any case, as one's own."""
    if not name.startswith(OTHERS):
        return name
    owner, _, below = name[len(OTHERS) :].partition("/")
    return foreign_name(owner, below) if below else name


def sharing(session: Any) -> ISharedSession | None:
    """The session, if its user's mailboxes can be shared."""
    return session if ISharedSession.providedBy(session) else None


class ISharedSession(Interface):
    """A session whose user's mailboxes can be shared, and who sees those of others. Mailboxes by the name that the user
    sees; methods raise ``MailboxMissingError`` also for mailboxes that the user must not know of."""

    def rights(mailbox: str) -> Rights:
        """What the user may do."""

    def acl(mailbox: str) -> Sequence[tuple[str, Rights]]:
        """(identifier, rights), the owner first. :raises MailError: without the right a."""

    def set_acl(mailbox: str, identifier: str, modification: Modification) -> Awaitable[None]:
        """Change the rights of an identifier. :raises MailError:"""

    def delete_acl(mailbox: str, identifier: str) -> Awaitable[None]:
        """Remove an identifier. :raises MailError:"""

    def list_rights(mailbox: str, identifier: str) -> tuple[Rights, Sequence[Rights]]:
        """What the identifier always has, and what it can be given, in sets that go together. :raises MailError:"""

    def prepare() -> Awaitable[None] | None:
        """Before all mailboxes are listed: whoever else's have to be opened are, in slices; None when there is nothing to do."""


@frozen
class Transfer:
    """Messages that are copied or moved where an account other than the user's own takes part.

    :ivar source: the mailbox as its owner would have selected it.
    :ivar source_owner: account.
    :ivar target_owner: account, perhaps the same.
    :ivar target: the mailbox's name in that account.
    :ivar rights: of the user on the target: flags that they do not allow are lost (RFC 4314 section 4).
    :ivar move: whether the messages leave the source, after they came to be in the target.
    """

    source: ISelectedMailbox
    source_owner: str
    uids: Sequence[int]
    target_owner: str
    target: str
    rights: Rights
    move: bool


class IShares(Interface):
    """What a backend of several accounts knows, for one session. Mailboxes go by their names in the owner's account; nothing is
    checked here."""

    user = Attribute("str: the account of the session's user")

    def owners() -> Collection[str]:
        """Accounts that may share something with the user; some may share nothing in the end. Costs next to nothing."""

    def mail(owner: str) -> ISession | None:
        """All of the mail of one of ``owners``; None when it is not there (any more)."""

    def prepare(owners: Collection[str] | None = None) -> Awaitable[None] | None:
        """Make ``mail`` of all ``owners``, or of these of them, quick."""

    def listen(changed: Callable[[str], None]) -> Callable[[], None]:
        """Call it with an account that begins or ceases to be one of ``owners``, perhaps; it only takes note.

        :return: stops that.
        """

    def watch(owner: str, limit: int, wake: Callable[[], None]) -> IHappeningFeed | None:
        """What happens to all mailboxes of one of ``owners``; see ``INotifyingSession.watch``. A change of a list is told by an
        ``IHappening`` of the kind ``acl`` with the mailbox's name, or an empty one if it may be any. None when the account is not
        there (any more)."""

    def acls(owner: str) -> Mapping[str, Mapping[str, Rights]]:
        """By mailbox: the rights by identifier, for all that have any."""

    def acl(owner: str, mailbox: str) -> Mapping[str, Rights] | None:
        """The rights by identifier; None when there is no such mailbox."""

    def follow(owner: str, mailbox: str) -> Callable[[], Mapping[str, Rights] | None]:
        """A cheap function that gives ``acl`` of the mailbox that has this name now, whatever it is called later."""

    def identify(identifier: str) -> str | None:
        """The account that a login name or an account's name stands for."""

    def set_acl(owner: str, mailbox: str, identifier: str, modification: Modification) -> Awaitable[None]:
        """Change an entry; one without rights goes."""

    def transfer(transfer: Transfer) -> Awaitable[Appended]:
        """In one commit of the target, all or none; then, if they move, a commit of the source. What happens between two accounts
        and stops in the middle leaves messages twice, never nowhere."""

    def release() -> None:
        """The session ends: let go of all accounts."""
