"""A session that sees the mailboxes of several accounts: its user's own, and what others let him see.

::

    session = SharingSession(own, shares)      # ISession, IShares
    session.mailbox("Other Users/alice/Projects")        # None for what is not there, and for what the user must not know of

What a user must not know of is answered as what is not there, in the same words and after the same work: a look into what is in
memory. An account that shares nothing with the user is never asked.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from attrs import evolve, frozen
from zope.interface import implementedBy, implementer
from zope.interface.declarations import Declaration

from moxtwisted.errors import MailboxMissingError, MailError
from moxtwisted.identifiers import MAX_MAILBOX_NAME_OCTETS, is_inbox
from moxtwisted.imap import backend as b
from moxtwisted.imap.rights import ALL, ANYONE, KNOWING, NONE, Modification, Rights, granted, kept_flags
from moxtwisted.imap.sharedfeed import NotifyingOthers
from moxtwisted.imap.sharedmailbox import OwnMailbox, RestrictedMailbox, foreign_objectid
from moxtwisted.imap.sharing import (
    OTHER_USERS,
    OTHERS,
    IdentifierRefusedError,
    ISharedSession,
    IShares,
    NotPermittedError,
    Transfer,
    foreign_name,
    spelt,
)

__all__ = ["SharingSession"]


class _CannotError(MailError):
    """What is asked for makes no sense between accounts."""

    reply_code = 550
    enhanced_code = "5.2.0"
    imap_code = "CANNOT"


@lru_cache(maxsize=64)
def _provided(own: type) -> Declaration:
    made: Declaration = Declaration(implementedBy(SharingSession), implementedBy(own))  # type: ignore[no-untyped-call] # zope's
    return made


@frozen
class _Place:
    """A mailbox that the user may know of.

    :ivar name: in the owner's account.
    """

    owner: str
    name: str
    mail: b.ISession
    rights: Rights


@implementer(ISharedSession, b.ISession)
class SharingSession(NotifyingOthers):
    """See ``ISharedSession``; what is not about mailboxes of others is the own session's.

    :param own: the user's own mail. Whatever other interfaces it provides, this session provides too, and they reach
        the user's own mailboxes only.
    """

    __slots__ = (
        "__weakref__",
        "_mail",
        "_own",
        "_shares",
        "account",
    )

    def __init__(self, own: b.ISession, shares: IShares) -> None:
        self._own = own
        # The same, for what not every backend provides.
        self._mail: Any = own
        self._shares = shares
        self.account: str = own.account

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    @property
    def __providedBy__(self) -> Declaration:
        return _provided(type(self._own))

    # -- whose is it -------------------------------------------------------------------------------------------
    def is_foreign(self, name: str) -> bool:
        """Whether a name belongs to the namespace of others; an own mailbox of that name, from before there was one, is the user's."""
        return name.startswith(OTHERS) and self._own.mailbox(name) is None

    def _owners(self) -> Collection[str]:
        return self._shares.owners()

    def _known(self, name: str) -> _Place | None:
        """What the user has any right on."""
        owner, _, below = name[len(OTHERS) :].partition("/")
        if not below or owner not in self._owners():
            return None
        mail = self._shares.mail(owner)
        acl = self._shares.acl(owner, below) if mail is not None else None
        if mail is None or not acl:
            return None
        rights = granted(acl, self._shares.user)
        return _Place(owner, below, mail, rights) if rights & KNOWING else None

    def _need(self, name: str, letter: str) -> _Place:
        place = self._known(name)
        if place is None:
            raise MailboxMissingError(name)
        if letter not in place.rights:
            # RFC 4314 section 6: who may not list it is told what is told of mailboxes that are not there.
            raise (
                NotPermittedError(f"{letter} on {name}") if "l" in place.rights else MailboxMissingError(name)
            )
        return place

    def _place_for(self, name: str) -> tuple[str, str, b.ISession]:
        """(owner, name, mail) of a mailbox that is to be made."""
        owner, _, below = name[len(OTHERS) :].partition("/")
        mail = self._shares.mail(owner) if below and owner in self._owners() else None
        parent = below
        while mail is not None and "/" in parent:
            parent = parent.rpartition("/")[0]
            acl = self._shares.acl(owner, parent)
            if acl is not None:
                # RFC 4314 section 4: k on the nearest parent that exists.
                if "k" in granted(acl, self._shares.user):
                    return owner, below, mail
                break
        # The same whether the account, the parent or the right is missing.
        raise NotPermittedError(name, public_text="you cannot make a mailbox there")

    @staticmethod
    def _told(info: b.MailboxInfo, owner: str, rights: Rights) -> b.MailboxInfo:
        if "r" not in rights:
            # Who may not read it learns nothing of what is in it, whoever forgets to ask.
            info = b.MailboxInfo(info.name, info.uidvalidity, 1, 1, 0, 0, 0, 0, 0, (), info.objectid)
        return evolve(
            info,
            name=foreign_name(owner, info.name),
            # RFC 6154 section 2 is about the user's own; another's Sent is not where this one's client should file.
            special_use=(),
            objectid=foreign_objectid(info.objectid, owner),
            rights=rights,
        )

    # -- ISession ----------------------------------------------------------------------------------------------
    def mailboxes(self) -> Sequence[b.MailboxInfo]:
        """See ``ISession``: own ones, and those of others that the user has the right l on."""
        own = self._own.mailboxes()
        owners = self._owners()
        if not owners:
            return own
        return [*own, *(info for owner in sorted(owners) for info in self._listed(owner))]

    def _listed(self, owner: str, names: Collection[str] | None = None) -> Iterator[b.MailboxInfo]:
        """Those of somebody else that the user has the right l on; if names in his account are given, of these only."""
        mail = self._shares.mail(owner)
        if mail is None:
            return
        acls = self._shares.acls(owner) if names is None else {n: self._shares.acl(owner, n) for n in names}
        for name, acl in acls.items():
            rights = granted(acl, self._shares.user) if acl else NONE
            info = mail.mailbox(name) if "l" in rights else None
            if info is None:
                continue
            told = self._told(info, owner, rights)
            # A name that is too long with what stands before it could not be asked for.
            if self.is_foreign(told.name) and len(told.name.encode()) <= MAX_MAILBOX_NAME_OCTETS:
                yield told

    def mailbox(self, name: str) -> b.MailboxInfo | None:
        """See ``ISession``: also those that the user can do something with but not list."""
        own = self._own.mailbox(name)
        if own is not None or not name.startswith(OTHERS):
            return own
        place = self._known(name)
        info = place.mail.mailbox(place.name) if place is not None else None
        return self._told(info, place.owner, place.rights) if place is not None and info is not None else None

    def subscriptions(self) -> frozenset[str]:
        """See ``ISession``."""
        return frozenset(map(spelt, self._own.subscriptions()))

    async def subscribe(self, name: str) -> None:
        """See ``ISession``."""
        await self._own.subscribe(spelt(name))

    async def unsubscribe(self, name: str) -> None:
        """See ``ISession``: in whatever spelling it was subscribed."""
        name = spelt(name)
        for known in [one for one in self._own.subscriptions() if spelt(one) == name] or [name]:
            await self._own.unsubscribe(known)

    def select(self, name: str, *, read_only: bool) -> b.ISelectedMailbox | Awaitable[b.ISelectedMailbox]:
        """See ``ISession``."""
        if not self.is_foreign(name):
            own = self._own.select(name, read_only=read_only)
            if inspect.isawaitable(own):
                return self._selected(own)
            return OwnMailbox(own, self._shares.user, self)
        place = self._need(name, "r")
        follow = self._shares.follow(place.owner, place.name)
        inner = place.mail.select(place.name, read_only=read_only)
        if inspect.isawaitable(inner):
            return self._selected(inner, place.owner, follow)
        return RestrictedMailbox(inner, place.owner, self._shares.user, follow, self)

    async def _selected(
        self, awaited: Awaitable[b.ISelectedMailbox], owner: str = "", follow: Any = None
    ) -> b.ISelectedMailbox:
        inner = await awaited
        if not owner:
            return OwnMailbox(inner, self._shares.user, self)
        return RestrictedMailbox(inner, owner, self._shares.user, follow, self)

    async def create(self, name: str, special_use: Sequence[str]) -> b.MailboxInfo:
        """See ``ISession``."""
        if name == OTHER_USERS:
            raise _CannotError(name, public_text="this name is for mailboxes of other users")
        if not name.startswith(OTHERS):
            return await self._own.create(name, special_use)
        owner, below, mail = self._place_for(name)
        if special_use:
            error = _CannotError(name, public_text="a mailbox of somebody else cannot have a special use")
            error.imap_code = "USEATTR"
            raise error
        info = await mail.create(below, ())
        acl = self._shares.acl(owner, below)
        return self._told(info, owner, granted(acl, self._shares.user) if acl else NONE)

    async def delete(self, name: str) -> None:
        """See ``ISession``."""
        if not self.is_foreign(name):
            await self._own.delete(name)
            return
        place = self._need(name, "x")
        await place.mail.delete(place.name)

    async def rename(self, old: str, new: str) -> None:
        """See ``ISession``; a mailbox stays in its account."""
        foreign = self.is_foreign(old)
        if new == OTHER_USERS or (not foreign and new.startswith(OTHERS)):
            raise _CannotError(
                f"{old} to {new}", public_text="a mailbox cannot be renamed into another account"
            )
        if not foreign:
            await self._own.rename(old, new)
            return
        place = self._need(old, "x")
        if not new.startswith(f"{OTHERS}{place.owner}/"):
            raise _CannotError(
                f"{old} to {new}", public_text="a mailbox cannot be renamed into another account"
            )
        if is_inbox(place.name):
            # RFC 9051 section 6.3.6: that would move all mail out of it.
            raise _CannotError(old, public_text="somebody else's INBOX cannot be renamed")
        _, below, mail = self._place_for(new)
        await mail.rename(place.name, below)

    def append_sink(self, mailbox: str, size_octets: int) -> b.IAppendSink:
        """See ``ISession``."""
        if not self.is_foreign(mailbox):
            return self._own.append_sink(mailbox, size_octets)
        place = self._need(mailbox, "i")
        return place.mail.append_sink(place.name, size_octets)

    async def append(self, mailbox: str, messages: Sequence[b.Incoming]) -> b.Appended:
        """See ``ISession``; RFC 4314 section 4: flags that the user may not set are left out."""
        if not self.is_foreign(mailbox):
            return await self._own.append(mailbox, messages)
        place = self._need(mailbox, "i")
        allowed = [evolve(message, flags=kept_flags(message.flags, place.rights)) for message in messages]
        return await place.mail.append(place.name, allowed)

    # -- IReplacingSession -------------------------------------------------------------------------------------
    def _replacing(self, selected: Any, mailbox: str) -> tuple[Any, b.ISelectedMailbox, str, Rights]:
        """(mail, selected mailbox, target, rights on it) of REPLACE, all of one account."""
        foreign = self.is_foreign(mailbox)
        if isinstance(selected, RestrictedMailbox):
            # RFC 8508 section 4.1: the rights of APPEND, and (as MOVE) of STORE and EXPUNGE.
            selected.need("rte")
            place = self._need(mailbox, "i") if foreign else None
            if place is not None and place.owner == selected.owner:
                return place.mail, selected.inner, place.name, place.rights
        elif not foreign:
            return self._own, selected.inner, mailbox, ALL
        raise _CannotError(mailbox, public_text="a message cannot be replaced by one in another account")

    def replacement_sink(
        self, selected: b.ISelectedMailbox, uid: int, mailbox: str, size_octets: int
    ) -> b.IAppendSink:
        """See ``IReplacingSession``."""
        mail, inner, target, _ = self._replacing(selected, mailbox)
        sink: b.IAppendSink = mail.replacement_sink(inner, uid, target, size_octets)
        return sink

    async def replace(
        self, selected: b.ISelectedMailbox, uid: int, mailbox: str, message: b.Incoming
    ) -> b.Appended:
        """See ``IReplacingSession``."""
        mail, inner, target, rights = self._replacing(selected, mailbox)
        done: b.Appended = await mail.replace(
            inner, uid, target, evolve(message, flags=kept_flags(message.flags, rights))
        )
        return done

    # -- IAnnotatedSession, IQuotaSession ----------------------------------------------------------------------
    def _annotated(self, mailbox: str) -> _Place:
        # RFC 5464 section 3.3: l, and one of these.
        place = self._need(mailbox, "l")
        if place.rights.isdisjoint("rswip"):
            raise NotPermittedError(f"annotations of {mailbox}")
        return place

    def annotations(self, mailbox: str) -> Mapping[str, bytes]:
        """See ``IAnnotatedSession``: of others' mailboxes what is shared; what is private is the owner's."""
        if not self.is_foreign(mailbox):
            values: Mapping[str, bytes] = self._mail.annotations(mailbox)
            return values
        place: Any = self._annotated(mailbox)
        known = place.mail.annotations(place.name)
        return {name: value for name, value in known.items() if name.startswith("/shared/")}

    async def annotate(
        self, mailbox: str, values: Mapping[str, bytes | None], special_use: Sequence[str] | None
    ) -> None:
        """See ``IAnnotatedSession``."""
        if not self.is_foreign(mailbox):
            await self._mail.annotate(mailbox, values, special_use)
            return
        place: Any = self._annotated(mailbox)
        if special_use is not None or not all(name.startswith("/shared/") for name in values):
            # RFC 5464 section 4.3
            error = _CannotError(mailbox, public_text="nothing private can be noted about others' mailboxes")
            error.imap_code = "METADATA NOPRIVATE"
            raise error
        await place.mail.annotate(place.name, values, None)

    def quota_root(self, mailbox: str) -> str:
        """See ``IQuotaSession``. How full another's account is, is not told: a root that is not there."""
        return OTHERS if self.is_foreign(mailbox) else str(self._mail.quota_root(mailbox))

    def logout(self) -> None:
        """See ``ISession``."""
        try:
            self._shares.release()
        finally:
            self._own.logout()

    # -- between accounts --------------------------------------------------------------------------------------
    async def send(
        self, source: b.ISelectedMailbox, owner: str, uids: Sequence[int], target: str
    ) -> b.Appended:
        """Copy messages where somebody else's account takes part."""
        return await self._shares.transfer(self._transfer(source, owner, uids, target, move=False))

    async def send_away(
        self, source: b.ISelectedMailbox, owner: str, uids: Sequence[int], target: str
    ) -> b.Appended:
        """Move them."""
        return await self._shares.transfer(self._transfer(source, owner, uids, target, move=True))

    def _transfer(
        self, source: b.ISelectedMailbox, owner: str, uids: Sequence[int], target: str, *, move: bool
    ) -> Transfer:
        if self.is_foreign(target):
            place = self._need(target, "i")
            return Transfer(source, owner, uids, place.owner, place.name, place.rights, move)
        if self._own.mailbox(target) is None:
            raise MailboxMissingError(target)
        return Transfer(source, owner, uids, self._shares.user, target, ALL, move)

    # -- ISharedSession ----------------------------------------------------------------------------------------
    def rights(self, mailbox: str) -> Rights:
        """See ``ISharedSession``."""
        if not self.is_foreign(mailbox):
            if self._own.mailbox(mailbox) is None:
                raise MailboxMissingError(mailbox)
            return ALL
        place = self._known(mailbox)
        if place is None:
            raise MailboxMissingError(mailbox)
        return place.rights

    def _administered(self, mailbox: str) -> tuple[str, str]:
        """(owner, name) of a mailbox on which the user has the right a."""
        if self.is_foreign(mailbox):
            place = self._need(mailbox, "a")
            return place.owner, place.name
        own = self._own.mailbox(mailbox)
        if own is None:
            raise MailboxMissingError(mailbox)
        return self._shares.user, own.name

    def _identified(self, identifier: str, owner: str) -> str:
        """The form in which an identifier is kept. :raises IdentifierRefusedError:"""
        sign, name = ("-", identifier[1:]) if identifier.startswith("-") else ("", identifier)
        if name == ANYONE:
            return sign + ANYONE
        account = self._shares.identify(name)
        if account is None or account == ANYONE:
            raise IdentifierRefusedError(identifier)
        if account == owner:
            # RFC 4314 section 2 lets a server force rights: nobody locks himself out of his own mailbox.
            raise IdentifierRefusedError(
                identifier, public_text="the owner of a mailbox always has all rights"
            )
        return sign + account

    def acl(self, mailbox: str) -> Sequence[tuple[str, Rights]]:
        """See ``ISharedSession``."""
        owner, name = self._administered(mailbox)
        entries = self._shares.acl(owner, name) or {}
        return [(owner, ALL), *sorted(entries.items())]

    async def set_acl(self, mailbox: str, identifier: str, modification: Modification) -> None:
        """See ``ISharedSession``."""
        owner, name = self._administered(mailbox)
        await self._shares.set_acl(owner, name, self._identified(identifier, owner), modification)

    async def delete_acl(self, mailbox: str, identifier: str) -> None:
        """See ``ISharedSession``; an identifier without an entry is no error."""
        owner, name = self._administered(mailbox)
        entries = self._shares.acl(owner, name) or {}
        # Who is gone from this server may still stand in the list, by the account's name.
        kept = identifier if identifier in entries else self._identified(identifier, owner)
        await self._shares.set_acl(owner, name, kept, Modification("replace", NONE))

    def list_rights(self, mailbox: str, identifier: str) -> tuple[Rights, Sequence[Rights]]:
        """See ``ISharedSession``: no rights are tied together, and only the owner always has any."""
        owner, _ = self._administered(mailbox)
        name = identifier.removeprefix("-")
        if name != ANYONE and self._shares.identify(name) == owner:
            # What is taken away is never anything.
            return (ALL if name == identifier else NONE), ()
        self._identified(identifier, owner)
        return NONE, [frozenset(letter) for letter in "lrswipkxtea"]

    def prepare(self) -> Awaitable[None] | None:
        """See ``ISharedSession``."""
        return self._shares.prepare()
