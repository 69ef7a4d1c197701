"""Commands as the client machine sends them: values with their octets.

::

    >>> mail(path, MailParameters(size=100, body="8BITMIME"), {"SIZE": "", "8BITMIME": ""}).octets
    b'MAIL FROM:<a@example.org> SIZE=100 BODY=8BITMIME\\r\\n'

Parameters go out only when the server offers their extension; whether a message may go without them is decided in
``moxtwisted.smtp.transmission``.
"""

from __future__ import annotations

import binascii
from collections.abc import Collection
from datetime import UTC

from attrs import field, frozen

from moxtwisted.address import Path
from moxtwisted.smtp.envelope import MailParameters, RcptParameters
from moxtwisted.smtp.grammar import encode_xtext

__all__ = ["Command", "auth", "auth_response", "bdat", "end_of_data", "hello", "mail", "plain", "rcpt"]

#: RFC 2920 section 3.1: nothing may follow these before their reply is there. AUTH is a dialogue (RFC 4954 section 4).
_LAST = frozenset({"EHLO", "HELO", "LHLO", "DATA", "VRFY", "EXPN", "QUIT", "NOOP", "STARTTLS", "AUTH"})


@frozen
class Command:
    """One command, or the end of a message: something that is replied to.

    :ivar verb: in upper case; ``"."`` for the end of DATA, empty for the greeting, which comes unasked.
    :ivar octets: what is sent; not shown, it may be a password.
    :ivar replies: how many replies are due: more than one only after a message in LMTP.
    :ivar more: how many are due besides when the first is 353: one for each recipient and one for all (PRDR, draft-hall-prdr).
    """

    verb: str
    octets: bytes = field(repr=False)
    replies: int = 1
    more: int = 0

    @property
    def last(self) -> bool:
        """Whether nothing may be sent until its reply is there."""
        return self.verb in _LAST


def plain(verb: str) -> Command:
    """A command without argument: DATA, RSET, NOOP, QUIT, STARTTLS, or any line at all."""
    return Command(verb.partition(" ")[0].upper(), verb.encode("ascii") + b"\r\n")


def hello(verb: str, name: str) -> Command:
    """EHLO, HELO or LHLO."""
    return plain(f"{verb} {name}")


def _words(*words: str | None) -> bytes:
    return b"".join(b" " + w.encode("utf-8") for w in words if w is not None)


def _xtext(keyword: str, value: str | None) -> str | None:
    return None if value is None else f"{keyword}={encode_xtext(value).decode('ascii')}"


def mail(path: Path, parameters: MailParameters, offered: Collection[str]) -> Command:
    """MAIL FROM with the parameters that the server understands.

    :param offered: the keywords of its EHLO reply.
    """
    p = parameters
    words: list[str | None] = []
    if "SIZE" in offered and p.size is not None:
        words.append(f"SIZE={p.size}")
    if p.body != "7BIT" and ("8BITMIME" in offered or "BINARYMIME" in offered):
        words.append(f"BODY={p.body}")
    if p.smtputf8 and "SMTPUTF8" in offered:
        words.append("SMTPUTF8")
    if p.require_tls and "REQUIRETLS" in offered:
        words.append("REQUIRETLS")
    if p.prdr and "PRDR" in offered:
        words.append("PRDR")
    if "DSN" in offered:
        words += [None if p.ret is None else f"RET={p.ret}", _xtext("ENVID", p.envid)]
    if "AUTH" in offered:
        words.append(_xtext("AUTH", p.auth) if p.auth != "<>" else "AUTH=<>")
    if "FUTURERELEASE" in offered and p.hold_until is not None:
        words.append(f"HOLDUNTIL={p.hold_until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    elif "FUTURERELEASE" in offered and p.hold_for_seconds is not None:
        words.append(f"HOLDFOR={p.hold_for_seconds}")
    words += [k if v is None else f"{k}={v}" for k, v in p.extra.items()]
    return Command("MAIL", b"MAIL FROM:" + path.wire(smtputf8=p.smtputf8) + _words(*words) + b"\r\n")


def rcpt(path: Path, parameters: RcptParameters, offered: Collection[str], *, smtputf8: bool) -> Command:
    """RCPT TO with the parameters that the server understands."""
    p = parameters
    words: list[str | None] = []
    if "DSN" in offered:
        if p.notify is not None:
            words.append("NOTIFY=" + ",".join(sorted(p.notify)))
        if p.orcpt is not None:
            kind, address = p.orcpt
            # RFC 6533 section 3: as it is under SMTPUTF8, else with \x{HEX} for what is beyond ASCII.
            text = (
                address if smtputf8 else "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in address)
            )
            written = text if kind == "utf-8" else encode_xtext(text).decode("ascii")
            words.append(f"ORCPT={kind};{written}")
    words += [k if v is None else f"{k}={v}" for k, v in p.extra.items()]
    return Command("RCPT", b"RCPT TO:" + path.wire(smtputf8=smtputf8) + _words(*words) + b"\r\n")


def bdat(octets: int, *, last: bool, replies: int = 1, more: int = 0) -> Command:
    """BDAT; the octets of the chunk follow it."""
    return Command("BDAT", b"BDAT %d%s\r\n" % (octets, b" LAST" if last else b""), replies, more)


def end_of_data(octets: bytes, replies: int = 1, more: int = 0) -> Command:
    """The end of DATA: the octets that a ``BodyWriter`` finishes with."""
    return Command(".", octets, replies, more)


def auth(mechanism: str, initial: bytes | None) -> Command:
    """AUTH; ``initial`` is the initial response before base64, None = none (RFC 4954 section 4)."""
    octets = b"AUTH " + mechanism.encode("ascii")
    if initial is not None:
        octets += b" " + (binascii.b2a_base64(initial, newline=False) or b"=")
    return Command("AUTH", octets + b"\r\n")


def auth_response(data: bytes | None) -> Command:
    """The answer to a challenge; None cancels."""
    octets = b"*" if data is None else binascii.b2a_base64(data, newline=False)
    return Command("AUTH", octets + b"\r\n")
