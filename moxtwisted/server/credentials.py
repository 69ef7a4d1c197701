"""Login names and client keys to verifiers: the directory says whose they are, the account's database has the verifiers.

::

    source = DirectoryCredentials(holder, store)
    await source.lookup("alice+shop@example.org")       # the record of alice
    source.canonical("nobody+shop@example.org")         # 'nobody@example.org': nobody's, spelt as if somebody had it

What SCRAM tells of the users, and what not
-------------------------------------------
SCRAM shows a salt before anything was proved, and an account has one salt, made with its password. Every spelling of
every address of the account is a login name and gets that salt. Unknown names get salts that agree over the same
spellings (``canonical``), so whether ``name`` and ``name+x`` agree says how the domain spells names, not who exists.

What is left: two *different* addresses with one salt exist and belong to one account. To hide this, all but one
address would have to be refused for SCRAM, which locks out people who log in by another of their addresses, or be
given verifiers of their own, for which the password is needed each time an address is added. We decided against both: it
takes guessing two addresses of one account, RCPT tells strangers which addresses exist anyway, and exchanges that are
left after the salt was shown count as failed log-ins, of which a network has few. Whoever minds takes SCRAM off
the mechanisms.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve, field, frozen
from zope.interface import implementer

from moxtwisted.server.authentication import ICredentialSource, LoginRecord
from moxtwisted.server.directory import AccountEntry, DirectoryHolder
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
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
    _places: IPlaces = field(factory=AllHere)

    async def lookup(self, login: str) -> LoginRecord | None:
        """See ``ICredentialSource``."""
        entry = self._directory.current.account_of_login(login)
        return await self._record(entry, login) if entry else None

    def canonical(self, login: str) -> str:
        """See ``ICredentialSource``."""
        return self._directory.current.canonical_login(login)

    async def lookup_key(self, fingerprint: str) -> LoginRecord | None:
        """See ``ICredentialSource``; the login is the key's, or the account's first address."""
        entry = self._directory.current.account_of_key(fingerprint)
        if entry is None:
            return None
        key = entry.tls_public_keys[fingerprint]
        own = (address for address in entry.addresses if not address.startswith("@"))
        record = await self._record(entry, key.login or next(own, entry.name))
        return evolve(record, imap_preauth=key.imap_preauth)

    async def _record(self, entry: AccountEntry, login: str) -> LoginRecord:
        secret: bytes | None
        if self._places.is_away(entry.name):
            secret = await self._places.ask(entry.name, "secret", PASSWORD)
        else:
            secret = self._store.account(entry.name).secret(PASSWORD)
        return LoginRecord(entry.name, login, secret, entry.disabled)
