r"""Single things out of a rendered ENVELOPE, as the backend keeps it.

::

    sent_and_subject(b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG" …)')
    first_address(b'(… (("Terry Gray" NIL "gray" "cac.washington.edu")) …)', 2)     # (b"Terry Gray", b"gray", b"cac.…")

Nearly all envelopes have nothing but quoted strings, and regular expressions find what is wanted in a microsecond; those with
literals are taken apart.
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["first_address", "sent_and_subject"]

_STRING: Final = rb'(?:"([^"\\]*+(?>(?:\\.[^"\\]*+)*))"|NIL)'
_OTHER: Final = rb'(?:"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"|NIL)'
_LIST: Final = rb"(?:NIL|\((?>(?:\(%b %b %b %b\))+)\))" % (_OTHER, _OTHER, _OTHER, _OTHER)
_ADDRESS: Final = rb"(?:NIL|\(\(%b %b %b %b\))" % (_STRING, _OTHER, _STRING, _STRING)

_TEXTS: Final = re.compile(rb"\(%b %b " % (_STRING, _STRING), re.DOTALL)
# By place in the envelope: the lists from the third place on are passed over.
_ADDRESSES: Final = {
    place: re.compile(rb"\(%b %b %b%b" % (_OTHER, _OTHER, (_LIST + b" ") * (place - 2), _ADDRESS), re.DOTALL)
    for place in range(2, 8)
}
_TOKEN: Final = re.compile(rb'[ ]*(?:([()])|"([^"\\]*+(?>(?:\\.[^"\\]*+)*))"|\{(\d+)\}\r\n|(NIL))', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


def sent_and_subject(envelope: bytes) -> tuple[bytes, bytes]:
    """The values of Date and Subject, empty when there are none."""
    found = _TEXTS.match(envelope)
    if found is None:
        taken = _apart(envelope)
        return _text(taken, 0), _text(taken, 1)
    sent, subject = found.groups(b"")
    if b"\\" in subject:
        subject = _ESCAPED.sub(rb"\1", subject)
    return sent, subject


def first_address(envelope: bytes, place: int) -> tuple[bytes, bytes, bytes]:
    """Name, mailbox and host of the first address in this place (2 From, 5 To, 6 Cc); what is missing is empty."""
    found = _ADDRESSES[place].match(envelope)
    if found is not None:
        name, mailbox, host = found.groups(b"")
        if b"\\" in name or b"\\" in mailbox:
            return _unescaped(name), _unescaped(mailbox), host
        return name, mailbox, host
    taken = _apart(envelope)
    addresses = taken[place] if place < len(taken) else b""
    first = addresses[0] if isinstance(addresses, list) and addresses else []
    return (_text(first, 0), _text(first, 2), _text(first, 3)) if isinstance(first, list) else (b"", b"", b"")


def _unescaped(value: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", value)


def _text(values: list[Any], place: int) -> bytes:
    value = values[place] if place < len(values) else b""
    return value if isinstance(value, bytes) else b""


def _apart(envelope: bytes) -> list[Any]:
    """The envelope as nested lists of octets, NIL as nothing; what is damaged ends it."""
    top: list[Any] = []
    open_lists = [top]
    position = 0
    while (token := _TOKEN.match(envelope, position)) is not None:
        position = token.end()
        parenthesis, quoted, length, _nil = token.groups()
        if parenthesis == b"(":
            inner: list[Any] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif parenthesis == b")":
            open_lists.pop()
            if len(open_lists) == 1:
                break
        elif length is not None:
            end = position + int(length)
            open_lists[-1].append(envelope[position:end])
            position = end
        else:
            open_lists[-1].append(b"" if quoted is None else _unescaped(quoted))
    return top[0] if top and isinstance(top[0], list) else []
