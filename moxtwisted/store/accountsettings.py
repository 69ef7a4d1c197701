"""What is kept about an account beside its mail: limits and secrets. A part of ``moxtwisted.store.accounts.Account``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from moxtwisted.store.interfaces import Mailbox
from moxtwisted.store.ledger import Ledger

__all__ = ["AccountSettings"]


class AccountSettings:
    """See ``IAccount``."""

    _ledger: Ledger
    _mailboxes: dict[int, Mailbox]
    _open: Callable[[], Any]
    submit: Callable[..., Deferred[Any]]

    def usage(self) -> tuple[int, int, int | None]:
        """(octets, messages, quota)."""
        octets = messages = 0
        for mailbox in self._mailboxes.values():
            octets += mailbox.size
            messages += mailbox.messages
        return octets, messages, self._ledger.quota

    @property
    def highest_uidvalidity(self) -> int:
        """The greatest that a mailbox of this account has had."""
        return self._ledger.uidvalidity_next - 1

    @property
    def message_quota(self) -> int | None:
        """How many messages it may have."""
        return self._ledger.message_quota

    def set_quota(self, octets: int | None, messages: int | None = None) -> None:
        """The limits."""
        self._ledger.quota, self._ledger.message_quota = octets, messages

    def secret(self, name: str) -> bytes | None:
        """A kept secret."""
        value: bytes | None = (
            self._open().execute("SELECT value FROM setting WHERE key = ?", (f"secret:{name}",)).get
        )
        return value

    def set_secret(self, name: str, value: bytes | None) -> Deferred[None]:
        """Keep or remove it."""
        return self.submit(_set_secret, f"secret:{name}", value)


def _set_secret(ledger: Ledger, key: str, value: bytes | None) -> None:
    if value is None:
        ledger.connection.execute("DELETE FROM setting WHERE key = ?", (key,))
    else:
        ledger.set_setting(key, value)
