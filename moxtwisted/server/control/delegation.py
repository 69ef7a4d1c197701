"""The operations that change the configuration alone, passed on to the editor.

The administration of the server derives from ``ConfigurationOperations`` and adds what touches mail::

    @implementer(IAdministration)
    class Administration(ConfigurationOperations):
        ...
"""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from moxtwisted.server.control.interfaces import IConfigurationEditor, IConfigurationOperations, Report

__all__ = ["ConfigurationOperations"]


@implementer(IConfigurationOperations)
class ConfigurationOperations:
    """Does each operation with the editor that was given."""

    def __init__(self, editor: IConfigurationEditor) -> None:
        self._editor = editor

    async def account_disable(self, name: str, message: str) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.account_disable(name, message)

    async def account_enable(self, name: str) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.account_enable(name)

    async def address_list(self) -> Report:
        """See ``IConfigurationOperations``."""
        return await self._editor.address_list()

    async def address_add(self, address: str, account: str, mailbox: str) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.address_add(address, account, mailbox)

    async def address_remove(self, address: str) -> list[str]:
        """See ``IConfigurationOperations``."""
        return await self._editor.address_remove(address)

    async def tls_key_list(self, account: str) -> Report:
        """See ``IConfigurationOperations``."""
        return await self._editor.tls_key_list(account)

    async def tls_key_add(self, login: str, fingerprint: str, name: str, imap_preauth: bool) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.tls_key_add(login, fingerprint, name, imap_preauth)

    async def tls_key_remove(self, fingerprint: str) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.tls_key_remove(fingerprint)

    async def domain_list(self) -> Report:
        """See ``IConfigurationOperations``."""
        return await self._editor.domain_list()

    async def domain_add(self, name: str, description: str, disabled: bool) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.domain_add(name, description, disabled)

    async def domain_reports(self, name: str, account: str) -> list[str]:
        """See ``IConfigurationOperations``."""
        return await self._editor.domain_reports(name, account)

    async def domain_records(self, name: str) -> Report:
        """See ``IConfigurationOperations``."""
        return await self._editor.domain_records(name)

    async def domain_remove(self, name: str) -> list[str]:
        """See ``IConfigurationOperations``."""
        return await self._editor.domain_remove(name)

    async def domain_disable(self, name: str) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.domain_disable(name)

    async def domain_enable(self, name: str) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.domain_enable(name)

    async def dkim_list(self, domain: str) -> Report:
        """See ``IConfigurationOperations``."""
        return await self._editor.dkim_list(domain)

    async def dkim_generate(self, domain: str, kinds: Sequence[str], state: str) -> Report:
        """See ``IConfigurationOperations``."""
        return await self._editor.dkim_generate(domain, kinds, state)

    async def dkim_state(self, domain: str, selector: str, state: str) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.dkim_state(domain, selector, state)

    async def dkim_rotate(self, domain: str) -> list[str]:
        """See ``IConfigurationOperations``."""
        return await self._editor.dkim_rotate(domain)

    async def dkim_remove(self, domain: str, selector: str) -> list[str]:
        """See ``IConfigurationOperations``."""
        return await self._editor.dkim_remove(domain, selector)

    async def alias_list(self, domain: str) -> Report:
        """See ``IConfigurationOperations``."""
        return await self._editor.alias_list(domain)

    async def alias_add(
        self, address: str, members: Sequence[str], post_public: bool, allow_message_from: bool
    ) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.alias_add(address, members, post_public, allow_message_from)

    async def alias_update(
        self, address: str, post_public: bool | None, allow_message_from: bool | None
    ) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.alias_update(address, post_public, allow_message_from)

    async def alias_remove(self, address: str) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.alias_remove(address)

    async def alias_add_members(self, address: str, members: Sequence[str]) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.alias_add_members(address, members)

    async def alias_remove_members(self, address: str, members: Sequence[str]) -> None:
        """See ``IConfigurationOperations``."""
        await self._editor.alias_remove_members(address, members)
