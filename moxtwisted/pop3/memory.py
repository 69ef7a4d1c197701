r"""Maildrops in memory, behind the interfaces of ``moxtwisted.pop3.backend``: for tests, examples and small programs.

::

    maildrop = MemoryMaildrop([b"Subject: hello\r\n\r\nworld\r\n"])
    authenticator = MemoryAuthenticator({"alice": ("secret", maildrop)}, os.urandom)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hmac import compare_digest
from typing import Any

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.pop3.backend import IAuthenticator, IMaildrop, IMessageBody
from moxtwisted.sasl.credentials import Costs, PasswordVerifiers, derive
from moxtwisted.sasl.interfaces import ISASLBackend
from moxtwisted.sasl.outcome import Accepted, Failure, Outcome, Reason
from moxtwisted.sasl.scram import SCRAM_MECHANISMS

__all__ = ["BytesBody", "InUseError", "MemoryAuthenticator", "MemoryMaildrop"]


class InUseError(MailError):
    """Another session has the maildrop."""

    imap_code = "INUSE"
    public_text = "another session has this maildrop"


@implementer(IMessageBody)
@define(eq=False)
class BytesBody:
    """A message in memory."""

    octets: bytes
    size: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.size = len(self.octets)

    def read(self, offset: int, length: int) -> bytes:
        """See `IMessageBody <moxtwisted.pop3.backend.IMessageBody>`."""
        return self.octets[offset : offset + length]

    def close(self) -> None:
        """Nothing is held."""


@define(eq=False)
class MemoryMaildrop:
    """The mail of one user.

    :ivar kept: unique identifier to message.
    :ivar locked: whether a session has it.
    """

    messages: Iterable[bytes] = ()
    kept: dict[str, bytes] = field(init=False, factory=dict)
    locked: bool = field(init=False, default=False)
    _count: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        for message in self.messages:
            self.add(message)

    def add(self, message: bytes) -> str:
        """Deliver a message. :return: its unique identifier."""
        self._count += 1
        identifier = f"m{self._count}"
        self.kept[identifier] = message
        return identifier

    def open(self) -> _Open:
        """A session begins. :raises InUseError:"""
        if self.locked:
            raise InUseError
        self.locked = True
        return _Open(self)


@implementer(IMaildrop)
class _Open:
    def __init__(self, maildrop: MemoryMaildrop) -> None:
        self._maildrop = maildrop
        self.identifiers: Sequence[str] = tuple(maildrop.kept)
        self.sizes: Sequence[int] = tuple(len(message) for message in maildrop.kept.values())

    def body(self, number: int) -> BytesBody | None:
        octets = self._maildrop.kept.get(self.identifiers[number - 1])
        return None if octets is None else BytesBody(octets)

    async def update(self, deleted: Collection[int]) -> None:
        for number in deleted:
            self._maildrop.kept.pop(self.identifiers[number - 1], None)

    def release(self) -> None:
        self._maildrop.locked = False


@implementer(IAuthenticator, ISASLBackend)
class MemoryAuthenticator:
    """Users with their passwords and maildrops, in memory.

    :param users: (password, maildrop) by user name.
    :param entropy: ``entropy(n)`` gives n random octets, as ``os.urandom``.
    :param mechanisms: SASL mechanisms on offer.
    """

    def __init__(
        self,
        users: Mapping[str, tuple[str, MemoryMaildrop]],
        entropy: Callable[[int], bytes],
        mechanisms: Sequence[str] = (*SCRAM_MECHANISMS, "CRAM-MD5", "PLAIN"),
    ) -> None:
        self._users = dict(users)
        self._entropy = entropy
        self._verifiers: dict[str, PasswordVerifiers] = {}
        self.mechanisms = tuple(mechanisms)
        self.sasl_backend = self

    def _right(self, username: str, password: str) -> bool:
        known = self._users.get(username, ("", None))[0]
        return compare_digest(known.encode("utf-8"), password.encode("utf-8")) and username in self._users

    async def login(self, username: str, password: str, peer: Any) -> str | None:
        """See `IAuthenticator <moxtwisted.pop3.backend.IAuthenticator>`."""
        return username if self._right(username, password) else None

    def maildrop(self, identity: str, peer: Any) -> _Open:
        """See `IAuthenticator <moxtwisted.pop3.backend.IAuthenticator>`."""
        return self._users[identity][1].open()

    async def verifiers(self, username: str, mechanism: str) -> PasswordVerifiers | Failure | None:
        """See `ISASLBackend <moxtwisted.sasl.interfaces.ISASLBackend>`."""
        if username not in self._users:
            return None
        if username not in self._verifiers:
            cheap = Costs(memory_kib=8, passes=1, sha256_iterations=4096, sha1_iterations=4096)
            password = self._users[username][0]
            self._verifiers[username] = derive(password, self._entropy, cram_md5=True, costs=cheap)
        return self._verifiers[username]

    async def conclude(self, username: str, mechanism: str, refusal: Reason | None) -> Outcome:
        """See `ISASLBackend <moxtwisted.sasl.interfaces.ISASLBackend>`."""
        if refusal is not None or username not in self._users:
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
