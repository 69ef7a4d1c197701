"""Users and their passwords in memory, for tests, examples and small programs.

::

    users = MemoryUsers({"alice": "secret"}, os.urandom)        # an ISASLBackend, and the half of an authenticator that asks for passwords
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hmac import compare_digest
from typing import Any

from zope.interface import implementer

from moxtwisted.sasl.credentials import Costs, PasswordVerifiers, derive
from moxtwisted.sasl.interfaces import ISASLBackend
from moxtwisted.sasl.outcome import Accepted, Failure, Outcome, Reason
from moxtwisted.sasl.scram import SCRAM_MECHANISMS

__all__ = ["MemoryUsers"]

#: Whoever can read the memory has the passwords themselves.
_CHEAP = Costs(memory_kib=8, passes=1, sha256_iterations=4096, sha1_iterations=4096)


@implementer(ISASLBackend)
class MemoryUsers:
    """Who may log in.

    :param passwords: by user name.
    :param entropy: ``entropy(n)`` gives n random octets, as ``os.urandom``.
    :param mechanisms: SASL mechanisms on offer.
    """

    def __init__(
        self,
        passwords: Mapping[str, str],
        entropy: Callable[[int], bytes],
        mechanisms: Sequence[str] = (*SCRAM_MECHANISMS, "PLAIN"),
    ) -> None:
        self._passwords = dict(passwords)
        self._entropy = entropy
        self._verifiers: dict[str, PasswordVerifiers] = {}
        self.mechanisms = tuple(mechanisms)
        self.sasl_backend = self

    def _right(self, username: str, password: str) -> bool:
        known = self._passwords.get(username, "")
        return compare_digest(known.encode("utf-8"), password.encode("utf-8")) and username in self._passwords

    async def login(self, username: str, password: str, peer: Any) -> str | None:
        """The identity of somebody whose password is right, else None."""
        return username if self._right(username, password) else None

    async def verifiers(self, username: str, mechanism: str) -> PasswordVerifiers | Failure | None:
        """See `ISASLBackend <moxtwisted.sasl.interfaces.ISASLBackend>`."""
        if username not in self._passwords:
            return None
        if username not in self._verifiers:
            self._verifiers[username] = derive(
                self._passwords[username], self._entropy, cram_md5=True, costs=_CHEAP
            )
        return self._verifiers[username]

    async def conclude(self, username: str, mechanism: str, refusal: Reason | None) -> Outcome:
        """See `ISASLBackend <moxtwisted.sasl.interfaces.ISASLBackend>`."""
        if refusal is not None or username not in self._passwords:
            return Failure(refusal or Reason.BAD_CREDENTIALS, username)
        return Accepted(username, username)

    async def check_password(self, username: str, password: str, mechanism: str) -> Outcome:
        """See `ISASLBackend <moxtwisted.sasl.interfaces.ISASLBackend>`."""
        if self._right(username, password):
            return Accepted(username, username)
        return Failure(Reason.BAD_CREDENTIALS, username)

    async def external(self, username: str) -> Outcome:
        """See `ISASLBackend <moxtwisted.sasl.interfaces.ISASLBackend>`."""
        return Failure(Reason.BAD_CREDENTIALS, username)
