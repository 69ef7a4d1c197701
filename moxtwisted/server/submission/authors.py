"""Who wrote a message, by an address field that every program reads alike.

::

    authors(b'"Boss, the" <alice@example.org> (at work)')         # [(b'alice', b'example.org')]
    authors(b'(") boss@client.example (") <alice@example.org>')   # None

Programs differ in what they make of unbalanced comments and strings, of quotes in comments, of a second address or words beside
the brackets. Whoever may send as himself only could let others see another author so. Reading received mail is tolerant
(``message.addresslist``); here the field is what RFC 5322 section 3.4 lets programs write, or None: addresses, names with
addresses in brackets and groups, with commas between; of the obsolete forms only dots in names and empty places in lists.
Every pass is linear.
"""

from __future__ import annotations

import re
from typing import Final

from moxtwisted.message.comments import without_comments
from moxtwisted.message.headers import unfold

__all__ = ["authors"]

_STRING: Final = rb'"(?>(?:[^"\\]++|\\.)*)"'
_ATOMS: Final = rb'[^\s()<>\[\]:;@\\,"]++'
_ADDRESS: Final = rb"(?:" + _ATOMS + rb"|" + _STRING + rb")@" + _ATOMS
_PHRASE: Final = rb"(?>(?:\s++|" + _ATOMS + rb"|" + _STRING + rb")*)"
# Without comments. A phrase alone, before a comma or an end, is allowed to be empty only; before a colon it names a group.
_ENTRY: Final = re.compile(
    _PHRASE + rb"<\s*+(?P<bracketed>" + _ADDRESS + rb")\s*+>\s*+(?P<end>[,;]|\Z)"
    rb"|\s*+(?>(?:(?P<bare>" + _ADDRESS + rb")\s*+)?)(?P<bare_end>[,;]|\Z)"
    rb"|(?P<group>" + _PHRASE + rb"):",
    re.DOTALL,
)
_AFTER_GROUP: Final = re.compile(rb"\s*+(,|\Z)")
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
# RFC 5322 section 2.2: header fields have no controls but the tab, once they are unfolded.
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def authors(value: bytes) -> list[tuple[bytes, bytes]] | None:
    """Local parts (unquoted) and domains of an address field, groups dissolved; None when programs may differ about them.

    :param value: as it stands behind the colon; the caller bounds it.
    """
    value = unfold(value)
    if _CONTROL.search(value):
        return None
    plain = without_comments(value)
    # RFC 5322 section 3.2.2: a quote within a comment is a character like any other; some programs see a string begin there.
    if plain is None or plain != without_comments(value, strings_in_comments=True):
        return None
    return _read(plain)


def _read(plain: bytes) -> list[tuple[bytes, bytes]] | None:
    found: list[tuple[bytes, bytes]] = []
    position, in_group = 0, False
    while True:
        entry = _ENTRY.match(plain, position)
        if entry is None:
            return None
        position = entry.end()
        if entry["group"] is not None:
            if in_group or not entry["group"].strip():
                return None
            in_group = True
            continue
        address = entry["bracketed"] or entry["bare"]
        if address:
            # What stands behind the last @ is the domain: it has no quotes.
            local, _, domain = address.rpartition(b"@")
            found.append((_QUOTED_PAIR.sub(rb"\1", local[1:-1]) if local[:1] == b'"' else local, domain))
        end = entry["end"] if entry["bracketed"] else entry["bare_end"]
        if end == b";":
            if not in_group:
                return None
            in_group = False
            # RFC 5322 section 3.4: behind a group there is a comma or nothing.
            comma = _AFTER_GROUP.match(plain, position)
            if comma is None:
                return None
            position, end = comma.end(), comma[1]
        if not end:
            return None if in_group else found
