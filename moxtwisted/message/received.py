"""The trace field a server puts on top of a message it takes in (RFC 5321 section 4.4).

::

    Received: from client.example (mail.client.example [192.0.2.1])
    \tby mx.example with ESMTPS (TLSv1.3 TLS_AES_128_GCM_SHA256)
    \tid 5f2c for <anna@example.org>;
    \tFri, 21 Nov 1997 09:55:06 -0600
"""

from __future__ import annotations

import re
from functools import lru_cache

from attrs import frozen

from moxtwisted.message.dates import render_date

__all__ = ["Hop", "received", "return_path", "with_protocol"]

# What may not stand in a name, an identifier or a comment: specials would end it, controls would forge lines.
_UNSAFE_NAME = re.compile(r'[\x00-\x20"(),;<>@\\\x7f-\x9f]')
_UNSAFE_COMMENT = re.compile(r"[^ !-'*-\[\]-~]")
_UNSAFE_ADDRESS = re.compile(r"[\x00-\x1f\x7f-\x9f<>]")
_MAX_NAME = 255
_MAX_COMMENT = 200


@frozen
class Hop:
    """How a message came in.

    :ivar by: our own host name.
    :ivar protocol: the word of ``with_protocol``.
    :ivar ident: under which our log has it.
    :ivar ehlo: the name in EHLO; None for a submission, which does not tell where its author sits.
    :ivar peer_ip: the peer's address as text, None to leave it out.
    :ivar peer_name: its name by reverse DNS, when it was confirmed.
    :ivar tls: version and cipher suite, empty without TLS.
    :ivar recipient: the forward-path's address when there was only one (RFC 5321 section 7.2: several would tell
        blind recipients of each other).
    :ivar comment: behind our host name.
    """

    by: str
    protocol: str
    ident: str
    ehlo: str | None = None
    peer_ip: str | None = None
    peer_name: str | None = None
    tls: str = ""
    recipient: str | None = None
    comment: str = ""


def with_protocol(
    *,
    extended: bool = True,
    tls: bool = False,
    authenticated: bool = False,
    smtputf8: bool = False,
    lmtp: bool = False,
) -> str:
    """The protocol word of a WITH clause.

    RFC 3848 has the S and A forms, RFC 6531 section 4.3 the UTF8 ones; a client that said HELO used SMTP.
    """
    if lmtp:
        word = "UTF8LMTP" if smtputf8 else "LMTP"
    elif smtputf8:
        word = "UTF8SMTP"
    else:
        word = "ESMTP" if extended else "SMTP"
    if word == "SMTP":
        return word
    return word + ("S" if tls else "") + ("A" if authenticated else "")


# Our own name, the protocols, the clients that are here now.
@lru_cache(1024)
def _name(text: str) -> str:
    return _UNSAFE_NAME.sub("?", text[:_MAX_NAME]) or "?"


def _comment(text: str) -> str:
    return f" ({_UNSAFE_COMMENT.sub('?', text[:_MAX_COMMENT])})" if text else ""


def received(hop: Hop, seconds: int, zone_minutes: int = 0) -> bytes:
    """The field, folded, with its line end.

    :param seconds: when, since the epoch.
    :param zone_minutes: the zone to show it in, east of UTC.
    """
    clauses: list[str] = []
    if hop.ehlo is not None:
        origin = f"from {_name(hop.ehlo)}"
        if hop.peer_ip is not None:
            # RFC 5321 section 4.4: TCP-info has the address as literal and may have the name.
            literal = f"[IPv6:{hop.peer_ip}]" if ":" in hop.peer_ip else f"[{hop.peer_ip}]"
            name = f"{_name(hop.peer_name)} " if hop.peer_name else ""
            origin += f" ({name}{_name(literal)})"
        clauses.append(origin)
    clauses.append(f"by {_name(hop.by)}{_comment(hop.comment)} with {_name(hop.protocol)}{_comment(hop.tls)}")
    tail = f"id {_name(hop.ident)}"
    if hop.recipient is not None and not _UNSAFE_ADDRESS.search(hop.recipient):
        tail += f" for <{hop.recipient}>"
    clauses.append(tail + ";")
    folded = "\r\n\t".join(clauses).encode()
    return b"Received: %b\r\n\t%b\r\n" % (folded, render_date(seconds, zone_minutes))


def return_path(path: bytes) -> bytes:
    """The Return-Path field of final delivery (RFC 5321 section 4.4).

    :param path: the reverse-path with its angle brackets.
    """
    return b"Return-Path: %b\r\n" % path
