"""A message of a stranger while its octets come in.

::

    sink = Arrival(Intake(store.stage(size), trouble), checks)
    sink.write(octets)            # any pieces; the header is held back until it is whole
    staged = sink.finish()
    sink.hashed                   # header, signatures and hashes of the octets as they came

One pass: what is staged is hashed for the signatures on the message at the same time. Header fields that only we may write are left
out of what is staged; signatures are verified over the octets as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.message.headers import MAX_FIELDS, Header
from moxtwisted.server.intake import Intake
from moxtwisted.smtp.interfaces import IMessageSink
from moxtwisted.store.interfaces import IStagedMessage

if TYPE_CHECKING:
    from moxtwisted.mailauth.inflow import HashedMessage, MessageHasher
    from moxtwisted.server.verification.checks import Checks

__all__ = ["Arrival", "HeaderRefusedError"]

#: As moxtwisted.mailauth.inflow has it, which is not imported before it is needed.
_MAX_HEADER_OCTETS: Final = 1024 * 1024


class HeaderRefusedError(MailError):
    """The header is too long to be looked at, and what nobody looked at may pretend to be ours."""

    reply_code = 552
    enhanced_code = "5.3.4"
    public_text = "message header too long"


@implementer(IMessageSink)
@define(eq=False)
class Arrival:
    """Takes one message in.

    :ivar checks: None when nothing is verified: then the results of other servers and scanners stay as they are.
    :ivar begun: what the verifier was told at MAIL FROM.
    :ivar removed_octets: of the header, which are not staged.
    :ivar hashed: what the verification needs, once it is whole; None without checks.
    """

    _intake: Intake
    checks: Checks | None = None
    begun: Any = None
    removed_octets: int = field(default=0, init=False)
    hashed: HashedMessage | None = field(default=None, init=False)
    _hasher: MessageHasher | None = field(default=None, init=False)
    # None: the header is through.
    _held: list[bytes] | None = field(factory=list, init=False)
    _held_octets: int = field(default=0, init=False)
    _tail: bytes = field(default=b"", init=False)
    _told: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        if self.checks is not None:
            self._hasher = self.checks.new_hasher()

    def write(self, octets: bytes) -> None:
        """Take more.

        :raises StoreFullError: , HeaderRefusedError.
        """
        if self._held is not None:
            self._hold(self._held, octets)
            return
        if self._hasher is not None:
            if not self._told and self.checks is not None:
                # The body comes in several pieces: there is time to ask.
                self._told = True
                self.checks.verifier.header_came(self._hasher)
            self._hasher.feed(octets)
        self._intake.write(octets)

    def finish(self) -> IStagedMessage:
        """All octets are in.

        :raises HeaderRefusedError: , StoreFullError.
        """
        if self._held is not None:
            self._release(self._held, self._held_octets)
        if self._hasher is not None:
            self.hashed = self._hasher.finish()
        return self._intake.finish()

    def abort(self) -> None:
        """Forget it."""
        self._held = None
        self._hasher = None
        self._intake.abort()

    def _hold(self, held: list[bytes], octets: bytes) -> None:
        seen = self._tail + octets
        no_header = self._held_octets < 2 and seen.startswith(b"\r\n")
        held.append(octets)
        self._held_octets += len(octets)
        self._tail = seen[-3:]
        at = 0 if no_header else seen.find(b"\r\n\r\n")
        if at >= 0:
            self._release(held, 0 if no_header else self._held_octets - len(seen) + at + 2)
        elif self._held_octets > _MAX_HEADER_OCTETS:
            raise HeaderRefusedError(f"{self._held_octets} octets, and no end of the header")

    def _release(self, held: list[bytes], end: int) -> None:
        """The header is whole, and has so many octets: pass it on."""
        octets = held[0] if len(held) == 1 else b"".join(held)
        self._held = None
        if end > _MAX_HEADER_OCTETS:
            raise HeaderRefusedError(f"header of {end} octets")
        if self._hasher is not None:
            self._hasher.begin(octets, end)
        if octets:
            self._intake.write(self._cleaned(octets, end))

    def _cleaned(self, octets: bytes, end: int) -> bytes:
        """The octets without header fields that only we may write."""
        if self.checks is None and b"\nx-moxtwisted-" not in b"\n" + octets[:end].lower():
            return octets
        fields = self._hasher.fields if self._hasher is not None else None
        # A header that nothing follows is known to the hasher as one at the end only.
        header = Header.parse(octets[:end]) if fields is None else fields.header
        if len(header.fields) >= MAX_FIELDS:
            raise HeaderRefusedError(f"{MAX_FIELDS} header fields or more")
        checks, cleaned = self.checks, _cleaner()
        kept = cleaned(header, checks.own_names, checks.removed_fields) if checks else cleaned(header, (), ())
        if kept is header.octets:
            return octets
        if kept and not kept.endswith(b"\r\n"):
            # With BINARYMIME a line may end with LF alone; before the empty line it must not, or else not everybody sees that it is one.
            kept = kept.removesuffix(b"\n") + b"\r\n"
        self.removed_octets = len(header.octets) - len(kept)
        return kept + octets[len(header.octets) :]


@cache
def _cleaner() -> Callable[[Header, Collection[str], tuple[bytes, ...]], bytes]:
    # Not imported before it is needed.
    from moxtwisted.server.verification.fields import cleaned

    return cleaned
