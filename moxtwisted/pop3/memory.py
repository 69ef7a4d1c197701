r"""Maildrops in memory, behind the interfaces of ``moxtwisted.pop3.backend``: for tests, examples and small programs.

::

    maildrop = MemoryMaildrop([b"Subject: hello\r\n\r\nworld\r\n"])
    authenticator = MemoryAuthenticator({"alice": ("secret", maildrop)}, os.urandom)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.pop3.backend import IAuthenticator, IMaildrop, IMessageBody
from moxtwisted.sasl.memory import MemoryUsers
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


@implementer(IAuthenticator)
class MemoryAuthenticator(MemoryUsers):
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
        super().__init__({name: password for name, (password, _) in users.items()}, entropy, mechanisms)
        self._maildrops = {name: kept for name, (_, kept) in users.items()}

    def maildrop(self, identity: str, peer: Any) -> _Open:
        """See `IAuthenticator <moxtwisted.pop3.backend.IAuthenticator>`."""
        return self._maildrops[identity].open()
