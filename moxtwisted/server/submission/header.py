"""What submission does to the header of a message (RFC 6409 section 8), while it comes in.

::

    sink = SubmittedMessage(store.stage(), check_from, Completion(now, "example.org", os.urandom))
    sink.write(octets)          # any pieces; the header is held back until it is whole
    staging = sink.finish()     # the rest of it, and what stands behind it

Bcc and Resent-Bcc are removed, a missing Date and Message-ID are added, and the From field is shown to the caller, who may
refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import LimitError, MailError
from moxtwisted.message.compose import Completion, complete_submission
from moxtwisted.message.headers import MAX_FIELDS, Header, message_ids
from moxtwisted.smtp.interfaces import IMessageSink
from moxtwisted.store.interfaces import IStaging

__all__ = ["HEADER_OCTETS", "RefusedHeaderError", "SubmittedMessage", "bare_at_signs"]

#: The longest header that is taken.
HEADER_OCTETS: Final = 512 * 1024

_LONE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_END: Final = re.compile(rb"\r\n\r\n|\A\r\n")


class RefusedHeaderError(MailError):
    """The header cannot be sent so."""

    reply_code = 550
    enhanced_code = "5.6.0"
    public_text = "message header refused"


@implementer(IMessageSink)
@define(eq=False)
class SubmittedMessage:
    """Takes the octets of a submitted message and passes them on with their header put right.

    :ivar check_from: called with the values of all From fields; raises MailError to refuse the message.
    :ivar completion: what is added when it is missing.
    """

    staging: IStaging
    _check_from: Callable[[list[bytes]], None]
    _completion: Completion
    _held: list[bytes] = field(factory=list, init=False)
    _held_octets: int = field(default=0, init=False)
    _tail: bytes = field(default=b"", init=False)
    _passing: bool = field(default=False, init=False)
    identifier: str = field(default="", init=False)

    def write(self, octets: bytes) -> None:
        """Take more.

        :raises MailError: when the header is too long or was refused.
        """
        if self._passing:
            self.staging.write(octets)
            return
        self._held.append(octets)
        self._held_octets += len(octets)
        # The end of the header may lie across two pieces.
        seen = self._tail + octets
        self._tail = seen[-3:]
        start_of_message = self._held_octets == len(octets)
        if b"\r\n\r\n" in seen or (start_of_message and octets.startswith(b"\r\n")):
            self._pass(b"".join(self._held))
        elif self._held_octets > HEADER_OCTETS:
            raise LimitError(f"header over {HEADER_OCTETS} octets", public_text="message header is too long")

    def finish(self) -> IStaging:
        """All octets came; a message may be a header alone."""
        if not self._passing:
            held = b"".join(self._held)
            self._pass(
                held if _END.search(held) else held + (b"" if held.endswith(b"\r\n") else b"\r\n") + b"\r\n"
            )
        return self.staging

    def abort(self) -> None:
        """Forget it."""
        self._held.clear()
        self.staging.abort()

    def _pass(self, held: bytes) -> None:
        found = _END.search(held)
        end = found.end() if found else len(held)
        self._held.clear()
        self._passing = True
        self.staging.write(self._put_right(held[:end]))
        self.staging.write(held[end:])

    def _put_right(self, octets: bytes) -> bytes:
        if octets.count(b"\n") > MAX_FIELDS:
            # What lies beyond would not be looked at: a second From, or a Bcc that must not go out.
            raise LimitError(
                f"header over {MAX_FIELDS} lines", public_text="message header has too many lines"
            )
        if _LONE.search(octets):
            # RFC 5322 section 2.2: some programs take it for the end of a line, and see fields that we do not.
            raise RefusedHeaderError(
                "CR or LF alone, or NUL", public_text="message header has a CR, LF or NUL alone"
            )
        # RFC 5322 section 3.6: From is one of the two fields that must be there, once.
        self._check_from(Header.parse(octets).values.get(b"from", []))
        completed = complete_submission(octets, self._completion)
        identifiers = message_ids(Header.parse(completed).get(b"message-id") or b"")
        self.identifier = identifiers[0] if identifiers else ""
        return completed


_QUOTED_OR_COMMENT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|\((?:[^()"\\]|\\.)*\)', re.DOTALL)
#: Comments within comments that are looked through; mail has none.
_COMMENT_DEPTH: Final = 10


def bare_at_signs(value: bytes) -> int:
    """How many @ stand in an address field outside of quoted strings and comments: those of its addresses, and no other
    (RFC 5322 section 3.2.5: a display name has none)."""
    for _ in range(_COMMENT_DEPTH):
        value, count = _QUOTED_OR_COMMENT.subn(b" ", value)
        if not count:
            break
    return value.count(b"@")
