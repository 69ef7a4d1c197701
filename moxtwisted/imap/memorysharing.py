"""Accounts in memory that share mailboxes: ``moxtwisted.imap.memory`` with RFC 4314.

::

    alice, bob = SharedMemoryMail(), SharedMemoryMail()
    authenticator = SharingAuthenticator({"alice": ("secret", alice), "bob": ("secret", bob)}, os.urandom)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import MailboxMissingError
from moxtwisted.imap import backend as b
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail, MemoryMailbox
from moxtwisted.imap.memorynotify import MemoryFeed
from moxtwisted.imap.memoryurlauth import URLAuthority
from moxtwisted.imap.notification import Happening, IHappeningFeed
from moxtwisted.imap.rights import NONE, Modification, Rights, kept_flags, modified
from moxtwisted.imap.sharedsession import SharingSession
from moxtwisted.imap.sharing import IShares, Transfer

__all__ = ["MemoryShares", "SharedMemoryMail", "SharingAuthenticator"]


@define(eq=False)
class SharedMemoryMail(MemoryMail):
    """One user's mail, with an access control list for each mailbox."""

    _acls: dict[MemoryMailbox, Mapping[str, Rights]] = field(factory=dict)

    def make(self, name: str, special_use: Sequence[str] = ()) -> MemoryMailbox:
        """Make a mailbox; RFC 4314 section 4: it inherits the list of the one above it."""
        box = super().make(name, special_use)
        parent = box.name.rpartition("/")[0]
        if parent and (entries := self.entries(self.find(parent))):
            self._acls[box] = entries
        return box

    def entries(self, box: MemoryMailbox) -> Mapping[str, Rights]:
        """Rights by identifier."""
        return self._acls.get(box, {})

    def put(self, box: MemoryMailbox, identifier: str, modification: Modification) -> None:
        """Change an entry."""
        entries = dict(self.entries(box))
        rights = modified(entries.pop(identifier, NONE), modification)
        self._acls[box] = {**entries, identifier: rights} if rights else entries
        box.changed()
        self.watch.told(0)

    def listed(self) -> dict[str, Mapping[str, Rights]]:
        """By name, of the mailboxes that are there."""
        self._acls = {box: entries for box, entries in self._acls.items() if box.exists}
        return {box.name: entries for box, entries in self._acls.items() if entries}


class _SharedFeed(MemoryFeed):
    """What happens to mail in memory, and to its lists."""

    def __init__(self, mail: SharedMemoryMail, limit: int, wake: Callable[[], None]) -> None:
        super().__init__(mail, limit, wake)
        self._lists = mail.listed()

    def take(self) -> tuple[Sequence[Happening], bool]:
        """See ``IHappeningFeed``."""
        happened, lost = super().take()
        before, self._lists = self._lists, self._mail.listed()
        if self._lists != before:
            happened = [*happened, Happening("acl", "")]
        return happened, lost


@implementer(IShares)
@define(eq=False)
class MemoryShares:
    """What the users of one authenticator share, for one of them."""

    user: str
    _users: Mapping[str, tuple[str, MemoryMail]]

    def _mail(self, owner: str) -> SharedMemoryMail | None:
        mail = self._users[owner][1] if owner in self._users else None
        return mail if isinstance(mail, SharedMemoryMail) else None

    def owners(self) -> Collection[str]:
        """See ``IShares``."""
        named = {self.user, "-" + self.user, "anyone"}
        return [
            name
            for name in self._users
            if name != self.user
            and (mail := self._mail(name)) is not None
            and any(named & entries.keys() for entries in mail.listed().values())
        ]

    def mail(self, owner: str) -> b.ISession | None:
        """See ``IShares``."""
        mail = self._mail(owner)
        if mail is None:
            return None
        session = mail.session(owner)
        mail.sessions -= 1  # it is no session of the owner's
        return session

    def prepare(self, owners: Collection[str] | None = None) -> None:
        """See ``IShares``: all is in memory."""

    def listen(self, changed: Callable[[str], None]) -> Callable[[], None]:
        """See ``IShares``; called whenever anything happens to anybody's mail."""
        wakes = {owner: partial(changed, owner) for owner in self._users if owner != self.user}
        for owner, wake in wakes.items():
            self._users[owner][1].watch.wakes.append(wake)

        def stop() -> None:
            for owner, wake in wakes.items():
                self._users[owner][1].watch.wakes.remove(wake)

        return stop

    def watch(self, owner: str, limit: int, wake: Callable[[], None]) -> IHappeningFeed | None:
        """See ``IShares``."""
        mail = self._mail(owner)
        return _SharedFeed(mail, limit, wake) if mail is not None else None

    def acls(self, owner: str) -> Mapping[str, Mapping[str, Rights]]:
        """See ``IShares``."""
        mail = self._mail(owner)
        return mail.listed() if mail is not None else {}

    def _box(self, owner: str, mailbox: str) -> tuple[SharedMemoryMail, MemoryMailbox] | None:
        mail = self._mail(owner)
        if mail is None:
            return None
        try:
            return mail, mail.find(mailbox)
        except MailboxMissingError:
            return None

    def acl(self, owner: str, mailbox: str) -> Mapping[str, Rights] | None:
        """See ``IShares``."""
        found = self._box(owner, mailbox)
        return found[0].entries(found[1]) if found is not None else None

    def follow(self, owner: str, mailbox: str) -> Callable[[], Mapping[str, Rights] | None]:
        """See ``IShares``."""
        found = self._box(owner, mailbox)
        if found is None:
            raise MailboxMissingError(mailbox)
        mail, box = found
        return lambda: mail.entries(box) if box.exists else None

    def identify(self, identifier: str) -> str | None:
        """See ``IShares``: names of users, or addresses whose local part is one."""
        name = identifier.partition("@")[0]
        return name if name in self._users else None

    async def set_acl(self, owner: str, mailbox: str, identifier: str, modification: Modification) -> None:
        """See ``IShares``."""
        found = self._box(owner, mailbox)
        if found is None:
            raise MailboxMissingError(mailbox)
        found[0].put(found[1], identifier, modification)

    async def transfer(self, transfer: Transfer) -> b.Appended:
        """See ``IShares``."""
        source, target = self._mail(transfer.source_owner), self._box(transfer.target_owner, transfer.target)
        if source is None or target is None:
            raise MailboxMissingError(transfer.target)
        mail, to = target
        box: MemoryMailbox = transfer.source.view
        uids = [uid for uid in transfer.uids if uid in box.messages]
        if mail is not source:
            mail.check_room(sum(len(box.messages[uid].octets) for uid in uids), len(uids))
        modseq = mail.next_modseq()
        made = []
        for uid in uids:
            flags = kept_flags(box.flags[box.at(uid) or 0], transfer.rights)
            made.append(to.add(box.messages[uid], flags, modseq))
        if made:
            to.changed()
        if transfer.move:
            box.remove(uids, source.next_modseq())
        return b.Appended(to.uidvalidity, tuple(made), tuple(uids))

    def release(self) -> None:
        """See ``IShares``: nothing is held."""


class SharingAuthenticator(URLAuthority, MemoryAuthenticator):
    """Users whose mail (`SharedMemoryMail`) can be shared."""

    extensions = MemoryAuthenticator.extensions | {"ACL", "RIGHTS=kxte", "LIST-MYRIGHTS", "URLAUTH"}

    def session(self, identity: str, peer: object) -> SharingSession:  # type: ignore[override] # one ISession for another
        """See `IAuthenticator <moxtwisted.imap.backend.IAuthenticator>`."""
        return SharingSession(super().session(identity, peer), MemoryShares(identity, self._users))
