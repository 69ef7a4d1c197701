"""What submission does to the header of a message (RFC 6409 section 8), while it comes in.

::

    sink = SubmittedMessage(store.stage(), check, Completion(now, "example.org", os.urandom))
    sink.write(octets)          # any pieces; the header is held back until it is whole
    staging = sink.finish()     # the rest of it, and what stands behind it

Bcc and Resent-Bcc are removed and what only servers may say (``_OURS``), a missing Date and Message-ID are added, and the
fields are shown to the caller, who may refuse them. A header with a line that is no part of a field is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import LimitError, MailError
from moxtwisted.mailauth.authres import claims
from moxtwisted.message.compose import Completion, complete_submission
from moxtwisted.message.headers import MAX_FIELDS, Header, message_ids
from moxtwisted.server.intake import Intake
from moxtwisted.smtp.interfaces import IMessageSink

if TYPE_CHECKING:
    from moxtwisted.server.submission.signing import MessageSigner

__all__ = ["HEADER_OCTETS", "RefusedHeaderError", "SubmittedMessage"]

#: The longest header that is taken.
HEADER_OCTETS: Final = 512 * 1024

_LONE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
# RFC 5322 section 2.2: a field's name is printable ASCII; section 4.5 allows white space before the colon.
_NO_FIELD: Final = re.compile(rb"^(?![!-9;-~]++[ \t]*+:|[ \t]|\r\n|\Z)", re.MULTILINE)
#: What servers that receive a message write: Return-Path and Delivered-To (RFC 5321 section 4.4, RFC 9228), Received-SPF
#: (RFC 7208 section 9.1). A client that submits one says it of another server's work, or wants it believed.
_OURS: Final = frozenset((b"return-path", b"delivered-to", b"received-spf"))
_END: Final = re.compile(rb"\r\n\r\n|\A\r\n")


class RefusedHeaderError(MailError):
    """The header cannot be sent so."""

    reply_code = 550
    enhanced_code = "5.6.0"
    public_text = "message header refused"


def _nobody(_: Header) -> None:
    return None


@implementer(IMessageSink)
@define(eq=False)
class SubmittedMessage:
    """Takes the octets of a submitted message and passes them on with their header put right.

    :ivar check: called with the raw values of all fields by lower-case name; raises MailError to refuse the message.
    :ivar completion: what is added when it is missing.
    :ivar begin_signing: called with the header as it goes out; what it returns is fed the body.
    :ivar signer: what that was; None before, and when nobody signs.
    """

    staging: Intake
    _check: Callable[[Mapping[bytes, list[bytes]]], None]
    _completion: Completion
    _begin_signing: Callable[[Header], MessageSigner | None] = _nobody
    signer: MessageSigner | None = field(default=None, init=False)
    _held: list[bytes] = field(factory=list, init=False)
    _held_octets: int = field(default=0, init=False)
    _tail: bytes = field(default=b"", init=False)
    _passing: bool = field(default=False, init=False)
    identifier: str = field(default="", init=False)
    _sha256: Any = field(factory=hashlib.sha256, init=False)

    def write(self, octets: bytes) -> None:
        """Take more.

        :raises MailError: when the header is too long or was refused.
        """
        self._sha256.update(octets)
        if self._passing:
            self._pass_body(octets)
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

    def finish(self) -> Intake:
        """All octets came; a message may be a header alone."""
        if not self._passing:
            held = b"".join(self._held)
            self._pass(
                held if _END.search(held) else held + (b"" if held.endswith(b"\r\n") else b"\r\n") + b"\r\n"
            )
        return self.staging

    def digest(self) -> bytes:
        """SHA-256 of the octets as they came."""
        digest: bytes = self._sha256.digest()
        return digest

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
        self._pass_body(held[end:])

    def _pass_body(self, octets: bytes) -> None:
        self.staging.write(octets)
        if self.signer is not None:
            self.signer.feed(octets)

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
        if octets[:1] in (b" ", b"\t"):
            # RFC 5322 section 2.2.3: it would continue the last field that is put in front of it.
            raise RefusedHeaderError(
                "begins with white space", public_text="message header must not begin with white space"
            )
        no_field = _NO_FIELD.search(octets)
        if no_field is not None:
            # Programs that end the header there, pass it over or take it for a field see different headers.
            raise RefusedHeaderError(
                f"no field at octet {no_field.start()}",
                public_text="message header has a line that is no field",
            )
        header = Header.parse(octets)
        # RFC 5322 section 3.6: From is one of the two fields that must be there, once.
        self._check(header.values)
        completed = complete_submission(self._without_ours(header), self._completion)
        sent = Header.parse(completed)
        identifiers = message_ids(sent.get(b"message-id") or b"")
        self.identifier = identifiers[0] if identifiers else ""
        self.signer = self._begin_signing(sent)
        return completed

    def _without_ours(self, header: Header) -> bytes:
        """The block without what only servers may say; every line of it is a part of a field."""
        kept = [raw for raw, name in header.fields if not (name in _OURS or self._our_results(raw, name))]
        return header.octets if len(kept) == len(header.fields) else b"".join(kept) + b"\r\n"

    def _our_results(self, raw: bytes, name: bytes) -> bool:
        """Whether it claims to be an Authentication-Results of this host (RFC 8601 section 5), or cannot be read."""
        return name == b"authentication-results" and claims(
            raw.partition(b":")[2], (self._completion.domain,)
        )
