"""Login names and client keys to verifiers: the directory says whose they are, the account's database has the verifiers."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from zope.interface import implementer

from moxtwisted.server.authentication import ICredentialSource, LoginRecord
from moxtwisted.server.directory import AccountEntry, DirectoryHolder
from moxtwisted.store.interfaces import IStore

__all__ = ["PASSWORD", "DirectoryCredentials"]

#: The name of the secret, in the account's database, that `PasswordVerifiers.to_bytes` is kept under.
PASSWORD: Final = "password"  # noqa: S105  a name, no password


@implementer(ICredentialSource)
@frozen
class DirectoryCredentials:
    """Asks the directory in force and the store."""

    _directory: DirectoryHolder
    _store: IStore

    async def lookup(self, login: str) -> LoginRecord | None:
        """See ``ICredentialSource``."""
        entry = self._directory.current.account_of_login(login)
        return self._record(entry, login) if entry else None

    async def lookup_key(self, fingerprint: str) -> LoginRecord | None:
        """See ``ICredentialSource``; the login is then the account's first address."""
        entry = self._directory.current.account_of_key(fingerprint)
        if entry is None:
            return None
        own = [address for address in entry.addresses if not address.startswith("@")]
        return self._record(entry, own[0] if own else entry.name)

    def _record(self, entry: AccountEntry, login: str) -> LoginRecord:
        account = self._store.account(entry.name)
        return LoginRecord(entry.name, login, account.secret(PASSWORD), entry.disabled)
