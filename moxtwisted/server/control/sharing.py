"""What an operator does to access control lists: ``moxmail acl``.

The administration of the server derives from ``SharingOperations``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from moxtwisted.errors import MailboxMissingError, MailError
from moxtwisted.imap.rights import ANYONE, NONE, Modification, RightsError, parse_modification, shown
from moxtwisted.server.control.interfaces import IConfigurationEditor, Report
from moxtwisted.store.accounts import Account
from moxtwisted.store.grants import Grants

if TYPE_CHECKING:
    from moxtwisted.server.administration import Administered

__all__ = ["SharingOperations"]


class SharingOperations:
    """Reads and changes lists of mailboxes."""

    _editor: IConfigurationEditor
    _on: Administered

    async def _existing(self, name: str) -> Account:
        """An account at home, as long as it is held. :raises MailError: when there is none."""
        raise NotImplementedError

    @property
    def _grants(self) -> Grants:
        raise NotImplementedError

    def _identified(self, text: str, owner: str) -> str:
        """The form in which an identifier is kept. :raises MailError:"""
        sign, name = ("-", text[1:].lower()) if text.startswith("-") else ("", text.lower())
        if name == ANYONE:
            return sign + ANYONE
        for row in self._editor.accounts():
            if name == row["name"] or name in map(str.lower, cast("list[str]", row["addresses"])):
                if row["name"] == owner:
                    raise MailError("the owner of a mailbox always has all rights")
                return sign + str(row["name"])
        raise MailError(f"there is no account {name}, and none has that address")

    @staticmethod
    def _mailbox(account: Account, name: str) -> int:
        found = account.mailbox(name)
        if found is None:
            raise MailboxMissingError(name)
        return found.id

    async def acl_list(self, account: str, mailbox: str) -> Report:
        """See ``IAdministration``."""
        owner = await self._existing(account)
        chosen = {self._mailbox(owner, mailbox)} if mailbox else set(owner.access.all())
        report: Report = []
        for known in owner.mailboxes():
            if known.id in chosen:
                report += [
                    {"mailbox": known.name, "identifier": identifier, "rights": shown(rights)}
                    for identifier, rights in sorted(owner.access.of(known.id).items())
                ]
        return report

    async def acl_set(self, account: str, mailbox: str, identifier: str, rights: str) -> None:
        """See ``IAdministration``."""
        owner = await self._existing(account)
        try:
            modification = parse_modification(rights)
        except RightsError as e:
            raise MailError(f"{rights}: {e.public_text}") from e
        await self._change(owner, mailbox, self._identified(identifier, account), modification)

    async def acl_remove(self, account: str, mailbox: str, identifier: str) -> None:
        """See ``IAdministration``."""
        owner = await self._existing(account)
        entries = owner.access.of(self._mailbox(owner, mailbox))
        kept = identifier if identifier in entries else self._identified(identifier, account)
        if kept not in entries:
            raise MailError(f"{mailbox} is not shared with {identifier}")
        await self._change(owner, mailbox, kept, Modification("replace", NONE))

    async def _change(
        self, owner: Account, mailbox: str, identifier: str, modification: Modification
    ) -> None:
        await self._grants.change(
            owner, self._mailbox(owner, mailbox), identifier, modification.mode, modification.rights
        )
        places = self._on.places
        for name in self._on.store.accounts():
            if places.is_away(name) and owner.name in self._grants.owners(name):
                # Elsewhere its user would not see what is shared with him.
                await places.home(name)
