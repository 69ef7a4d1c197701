"""Where the octets of a message go while they come in, and what operators hear of trouble there.

::

    trouble = Trouble(clock.seconds)
    sink = Intake(store.stage(size), trouble)
    sink.write(octets)            # StoreFullError: the client hears 452; the log says why, once a minute
    staged = sink.finish()

A full disk and a process without free file descriptors look the same to clients, and last; so each cause is logged at
once and then at most once a minute.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from attrs import define, field
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.server.ratelimit import Connections
from moxtwisted.smtp.interfaces import IMessageSink
from moxtwisted.smtp.replies import Reply
from moxtwisted.store.interfaces import IStagedMessage, IStaging

__all__ = ["Intake", "Trouble", "admission"]

_log = Logger()

_EVERY_SECONDS: Final = 60.0
#: Causes that are told apart; errno has no more than some 130.
_CAUSES: Final = 200


def admission(connections: Connections, ip: IPv4Address | IPv6Address | None) -> Reply | None:
    """Count a new connection from an address; the refusal when there are too many from there."""
    refusal = connections.admit(str(ip)) if ip is not None else None
    if refusal is None:
        return None
    # RFC 3463 section 3.8: X.7.0, other security status.
    return Reply(421, "4.7.0", refusal.text, close=True)


@define(eq=False)
class Trouble:
    """Says what the store cannot do, each cause once a minute."""

    _seconds: Callable[[], float]
    # cause -> when it was logged last, and how many were not since
    _known: dict[str, tuple[float, int]] = field(factory=dict, init=False)

    def report(self, error: MailError) -> None:
        """Log it, unless that was done in this minute."""
        cause = _cause(error)
        now = self._seconds()
        at, silent = self._known.get(cause, (now - _EVERY_SECONDS, 0))
        if now - at < _EVERY_SECONDS:
            self._known[cause] = at, silent + 1
            return
        if len(self._known) >= _CAUSES:
            self._known.clear()
        self._known[cause] = now, 0
        _log.error(
            "a message could not be taken in: {problem} ({detail}); {count} more since this was logged last",
            problem=cause,
            detail=error.detail or error.public_text,
            count=silent,
        )


def _cause(error: BaseException) -> str:
    """The name of the errno below it (``EMFILE``), or the kind of error."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.errno is not None:
            return errno.errorcode.get(below.errno, f"errno {below.errno}")
        below = below.__cause__
    return type(error.__cause__ or error).__name__


@implementer(IMessageSink)
@define(eq=False)
class Intake:
    """A staging that reports its trouble."""

    _staging: IStaging
    _trouble: Trouble

    def write(self, octets: bytes) -> None:
        """Take more. :raises StoreFullError:"""
        try:
            self._staging.write(octets)
        except MailError as e:
            self._trouble.report(e)
            raise

    def finish(self) -> IStagedMessage:
        """All octets are in."""
        staged: IStagedMessage = self._staging.finish()
        return staged

    def abort(self) -> None:
        """Forget it."""
        self._staging.abort()
