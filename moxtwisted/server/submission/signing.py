"""Signing what users send, with the keys of the domains that they write as (RFC 6376 section 5).

::

    signing = Signing({"example.org": (Selector(key, rules), Selector(other, rules))}, pool)
    signer = signing.begin(header, [alice])           # None: nobody here signs for example.org
    signer.feed(octets)                               # the body, any pieces, while it comes
    fields = await signer.sign(now)                   # b"DKIM-Signature: ...\\r\\nDKIM-Signature: ...\\r\\n"

The header is the one that goes out, after everything that submission does to it; the fields stand above it in every copy, here and in the
queue, and nothing between is changed afterwards. RSA takes a third of a millisecond without the interpreter, so a thread does it; Ed25519
is done at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from moxtwisted.mailauth.dkim.canonical import BodyHasher
from moxtwisted.mailauth.dkim.fields import SignedFields
from moxtwisted.mailauth.dkim.keys import SigningKey
from moxtwisted.mailauth.dkim.sign import PendingSignature, SigningRules, prepare
from moxtwisted.mailauth.inflow import HashedMessage
from moxtwisted.message.headers import Header

__all__ = ["Author", "ISigningWork", "MessageSigner", "Selector", "Signing", "SigningPool"]

_log = Logger()

#: Authors at different domains that one message is signed for.
_MAX_DOMAINS: Final = 2


@frozen
class Selector:
    """A key of a domain, and how it signs."""

    key: SigningKey
    rules: SigningRules


@frozen
class Author:
    """Who wrote a message.

    :ivar localpart: as the domain compares it, without a suffix; quoted where it must be.
    :ivar domain: A-labels.
    """

    localpart: str
    domain: str


class ISigningWork(Interface):
    """Where the arithmetic is done."""

    def sign(key: SigningKey, octets: bytes) -> Deferred[bytes]:
        """What ``key.sign_octets(octets)`` returns."""


@implementer(ISigningWork)
class SigningPool:
    """A few threads for RSA.

    :param reactor: results come back on its thread.
    :param threads: signatures at once.
    :param max_pending: with more than these waiting, and before the start and after the end, the reactor's thread signs itself: a
        message is never sent without its signature for want of a thread.
    """

    def __init__(self, reactor: IReactorFromThreads, *, threads: int = 2, max_pending: int = 256) -> None:
        self._reactor = reactor
        self._threads = threads
        self._max_pending = max_pending
        self._pending = 0
        self._executor: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Allow threads; they are made when they are needed."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, "signing")

    def stop(self) -> None:
        """Wait for what they do, and end them."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()

    def sign(self, key: SigningKey, octets: bytes) -> Deferred[bytes]:
        """See ``ISigningWork``."""
        done: Deferred[bytes] = Deferred()
        if key.kind != "rsa" or self._executor is None or self._pending >= self._max_pending:
            done.callback(key.sign_octets(octets))
            return done
        self._pending += 1
        self._executor.submit(self._work, key, octets, done)
        return done

    def _work(self, key: SigningKey, octets: bytes, done: Deferred[bytes]) -> None:
        try:
            result: Any = key.sign_octets(octets)
        except Exception:  # noqa: BLE001  a boundary: whatever it is, the reactor's thread must hear of it
            result = Failure()
        self._reactor.callFromThread(self._ended, done, result)

    def _ended(self, done: Deferred[bytes], result: Any) -> None:
        self._pending -= 1
        # A Failure becomes an errback.
        done.callback(result)


@define(eq=False)
class MessageSigner:
    """One message."""

    _selectors: Sequence[tuple[Selector, str]]
    _fields: SignedFields
    _work: ISigningWork
    _body: BodyHasher = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._body = BodyHasher([selector.rules.body_form for selector, _ in self._selectors])

    def feed(self, octets: bytes) -> None:
        """Take more of the body, line ends CRLF."""
        self._body.feed(octets)

    async def sign(self, now: float) -> bytes:
        """The fields, in the order of the selectors; each ends with CRLF.

        :param now: seconds since 1970.
        """
        hashed = HashedMessage(self._fields, (), 0, self._body.finish())
        begun: list[tuple[Selector, PendingSignature, Deferred[bytes]]] = []
        for selector, identity in self._selectors:
            try:
                pending = prepare(hashed, selector.key, selector.rules, now=now, identity=identity)
                begun.append((selector, pending, self._work.sign(selector.key, pending.octets)))
            except Exception:  # noqa: BLE001  a boundary: mail is sent although one key is of no use
                _log.failure("signing with {key} failed", key=selector.key.name)
        fields = []
        for selector, pending, value in begun:
            try:
                fields.append(pending.complete(await value))
            except Exception:  # noqa: BLE001  the same
                _log.failure("signing with {key} failed", key=selector.key.name)
        return b"".join(fields)


@define(eq=False)
class Signing:
    """What the domains here sign with.

    :ivar current: by domain (A-labels); put another one in its place when keys change. The first selector's field stands first: RSA
        should, because verifiers that know no Ed25519 may look at one signature only.
    """

    current: Mapping[str, Sequence[Selector]]
    _work: ISigningWork

    def begin(self, header: Header, authors: Sequence[Author]) -> MessageSigner | None:
        """Begin with a message; None when nobody here signs for its authors.

        :param header: as it goes out.
        :param authors: of its From field.
        """
        selectors: list[tuple[Selector, str]] = []
        by_domain: dict[str, list[Author]] = {}
        for author in authors:
            if author.domain in self.current:
                by_domain.setdefault(author.domain, []).append(author)
        for domain, here in list(by_domain.items())[:_MAX_DOMAINS]:
            # RFC 6376 section 3.5: i= is the one on whose behalf it is signed; of several nobody in particular.
            identity = f"{here[0].localpart}@{domain}" if len(here) == 1 else ""
            selectors += [(selector, identity) for selector in self.current[domain]]
        return MessageSigner(selectors, SignedFields(header), self._work) if selectors else None
