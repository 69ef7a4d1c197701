"""What IMAP says about a scanned message: ENVELOPE, BODYSTRUCTURE and list fields, as octets ready to send.

::

    render_envelope(scanned)         # b'("Fri, 21 Nov 1997 09:55:06 -0600" "hello" (("A" NIL "a" "a.example")) …)'
    render_bodystructure(scanned)    # b'("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 1152 23 NIL NIL NIL NIL)'
    list_fields(scanned)             # b'From: A <a@a.example>\\r\\nSubject: hello\\r\\n'

Where the parts lie is in ``moxtwisted.message.partindex``.
"""

from __future__ import annotations

import re
from functools import lru_cache

from moxtwisted.message.addresslist import GroupStart, HeaderAddress, parse_address_list
from moxtwisted.message.headers import Disposition, Header, Parameters, select_fields, unfold
from moxtwisted.message.mime import Part, ScannedMessage

__all__ = [
    "LIST_FIELDS",
    "body_from_bodystructure",
    "imap_string",
    "list_fields",
    "render_body",
    "render_bodystructure",
    "render_envelope",
    "select_fields",
]

LIST_FIELDS = frozenset(
    name.encode("ascii")
    for name in (
        # the envelope
        *("date", "from", "sender", "reply-to", "to", "cc", "bcc", "subject"),
        *("message-id", "in-reply-to", "references", "newsgroups"),
        # what the columns and icons of Thunderbird, Apple Mail, K-9, Outlook, mutt and Roundcube are made of
        *("content-type", "content-transfer-encoding", "content-description", "mime-version", "lines"),
        *("priority", "x-priority", "importance", "x-msmail-priority", "x-label", "x-keywords"),
        *("list-id", "list-post", "list-unsubscribe", "list-unsubscribe-post", "list-subscribe"),
        *("mail-followup-to", "mail-reply-to", "disposition-notification-to", "return-receipt-to"),
        *("x-original-to", "delivered-to", "return-path", "auto-submitted", "precedence"),
        *("x-draft-info", "x-k9mail-identity", "chat-version", "x-tuid"),
        *("x-uniform-type-identifier", "x-universally-unique-identifier", "x-mailer", "user-agent"),
    )
)
"""The header fields that are kept beside a message; a client that asks only for these is answered without reading it."""

_REMEMBERED_OCTETS = 100

# RFC 9051 section 9: TEXT-CHAR without quoted-specials may stand in a quoted string as it is.
_PLAIN = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-!#-\[\]-\x7f]*\Z").match
_UNQUOTABLE = re.compile(rb"[\x00\r\n\x80-\xff]").search
_TOKEN = re.compile(rb'[ ]*(?:([()])|("(?:[^"\\]|\\.)*")|\{(\d+)\}\r\n|([^ ()"{]+))', re.DOTALL)


def imap_string(value: bytes) -> bytes:
    """A value as IMAP string: quoted where that is possible, else a literal (8-bit stays 8-bit, NUL is dropped)."""
    if _PLAIN(value):
        return b'"' + value + b'"'
    if _UNQUOTABLE(value) is None:
        return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    # RFC 9051 section 4.3: a literal has every octet but NUL.
    value = value.replace(b"\0", b"")
    return b"{%d}\r\n%b" % (len(value), value)


def _nstring(value: bytes | None) -> bytes:
    return b"NIL" if value is None else imap_string(value)


# -- ENVELOPE ---------------------------------------------------------------------------------------------------


def render_envelope(scanned: ScannedMessage) -> bytes:
    """The ENVELOPE of RFC 9051 section 7.5.2, with its parentheses."""
    return _envelope(scanned.header)


def _envelope(header: Header) -> bytes:
    values = header.values
    sender = _addresses(values, b"from")
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        _text(values, b"date"),
        _text(values, b"subject"),
        sender,
        # RFC 9051 section 7.5.2: a missing or empty Sender or Reply-To is given as From.
        _addresses(values, b"sender", sender),
        _addresses(values, b"reply-to", sender),
        _addresses(values, b"to"),
        _addresses(values, b"cc"),
        _addresses(values, b"bcc"),
        _text(values, b"in-reply-to"),
        _text(values, b"message-id"),
    )


def _text(values: dict[bytes, list[bytes]], name: bytes) -> bytes:
    found = values.get(name)
    return b"NIL" if found is None else imap_string(unfold(found[0]))


def _addresses(values: dict[bytes, list[bytes]], name: bytes, default: bytes = b"NIL") -> bytes:
    found = values.get(name)
    if found is None:
        return default
    # RFC 5322 section 4.5 knows To, Cc and Bcc fields that occur more than once.
    value = found[0] if len(found) == 1 else b",".join(found)
    return (_listed_before if len(value) <= _REMEMBERED_OCTETS else _listed)(value) or default


def _listed(value: bytes) -> bytes:
    """An address list with its parentheses; empty when there are no addresses."""
    entries = parse_address_list(value)
    if not entries:
        return b""
    out = []
    for entry in entries:
        if isinstance(entry, HeaderAddress):
            called, local, domain = entry.name, entry.local, entry.domain
            # NIL for mailbox or host would mean a group: what is missing is an empty string.
            if _PLAIN((called or b"") + local + domain):
                shown = b"NIL" if called is None else b'"' + called + b'"'
                out.append(b'(%b NIL "%b" "%b")' % (shown, local, domain))
                continue
            out.append(b"(%b NIL %b %b)" % (_nstring(called), imap_string(local), imap_string(domain)))
        elif isinstance(entry, GroupStart):
            out.append(b"(NIL NIL %b NIL)" % imap_string(entry.name))
        else:
            out.append(b"(NIL NIL NIL NIL)")
    return b"(" + b"".join(out) + b")"


# The same few write to the same few.
_listed_before = lru_cache(512)(_listed)


# -- BODYSTRUCTURE ----------------------------------------------------------------------------------------------

_EMPTY_PART = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0'
_DEFAULT_TEXT = b'"text" "plain" ("charset" "us-ascii")'
_OPAQUE = b'"application" "octet-stream"'


def render_bodystructure(scanned: ScannedMessage) -> bytes:
    """The BODYSTRUCTURE of RFC 9051 section 7.5.2 with all extension data."""
    return _part(scanned.root, True)


def render_body(scanned: ScannedMessage) -> bytes:
    """The same without extension data, as FETCH BODY wants it."""
    return _part(scanned.root, False)


def _part(part: Part, extended: bool) -> bytes:
    """The recursion is as deep as the parts nest, which the scanner limits."""
    if part.is_multipart:
        return _multipart(part, extended)
    content_type = part.content_type
    out = [
        b"(",
        _media(part),
        b" %b %b %b %d"
        % (
            _nstring(part.content_id),
            _nstring(part.description),
            imap_string(part.encoding.encode("latin-1")),
            part.size,
        ),
    ]
    if part.is_message:
        message = part.children[0]
        envelope = _envelope(message.header) if message.header is not None else b"NIL"
        out.append(b" %b %b %d" % (envelope, _part(message, extended), part.lines))
    elif content_type.type == "text" or _is_undivided(part):
        out.append(b" %d" % part.lines)
    if extended:
        out.append(b" " + _nstring(part.md5))
        out.append(_extension(part))
    out.append(b")")
    return b"".join(out)


def _is_undivided(part: Part) -> bool:
    return part.opaque and part.content_type.type == "multipart" and not part.over_limit


def _media(part: Part) -> bytes:
    """Type, subtype and parameters."""
    content_type = part.content_type
    if not part.typed and content_type.type == "text":
        return _DEFAULT_TEXT
    if part.opaque or (content_type.type == "multipart" and not part.is_multipart):
        # Clients expect parts in a multipart and a message in message/rfc822: what was not looked into gets another
        # name. A multipart without a boundary is shown as text, so that people can read it.
        return _DEFAULT_TEXT if _is_undivided(part) else _OPAQUE + b" NIL"
    # Nearly all mail has one of a few dozen types.
    kind, subtype, given = content_type.type, content_type.subtype, content_type.parameters
    size = len(kind) + len(subtype)
    for name, value in given:
        size += len(name) + len(value)
    return (_written_before if size <= _REMEMBERED_OCTETS else _written)(kind, subtype, given)


def _written(kind: str, subtype: str, given: Parameters) -> bytes:
    parameters = _parameters(given)
    if kind == "text" and b'"charset' not in parameters:
        # RFC 2046 section 4.1.2: us-ascii is assumed without a charset.
        parameters = (
            b'("charset" "us-ascii")' if parameters == b"NIL" else parameters[:-1] + b' "charset" "us-ascii")'
        )
    return b"%b %b %b" % (
        imap_string(kind.encode("ascii")),
        imap_string(subtype.encode("ascii")),
        parameters,
    )


_written_before = lru_cache(512)(_written)


def _multipart(part: Part, extended: bool) -> bytes:
    # The grammar wants at least one part.
    children = b"".join([_part(child, extended) for child in part.children]) or (
        _EMPTY_PART + (b" NIL NIL NIL NIL)" if extended else b")")
    )
    subtype = imap_string(part.content_type.subtype.encode("ascii"))
    if not extended:
        return b"(%b %b)" % (children, subtype)
    return b"(%b %b %b%b)" % (children, subtype, _parameters(part.content_type.parameters), _extension(part))


def _parameters(parameters: Parameters) -> bytes:
    if not parameters:
        return b"NIL"
    pairs = [
        b"%b %b" % (imap_string(name.encode("latin-1")), imap_string(value)) for name, value in parameters
    ]
    return b"(" + b" ".join(pairs) + b")"


def _extension(part: Part) -> bytes:
    """Disposition, language and location, a space before each."""
    disposition = part.disposition
    if disposition is None and not part.languages and part.location is None:
        return b" NIL NIL NIL"
    languages = b"NIL"
    if part.languages:
        languages = b"(" + b" ".join([imap_string(tag) for tag in part.languages]) + b")"
    return b" %b %b %b" % (_disposition(disposition), languages, _nstring(part.location))


def _disposition(disposition: Disposition | None) -> bytes:
    if disposition is None:
        return b"NIL"
    return b"(%b %b)" % (imap_string(disposition.kind.encode("ascii")), _parameters(disposition.parameters))


def body_from_bodystructure(structure: bytes) -> bytes:
    """FETCH BODY made of a kept BODYSTRUCTURE: the same without extension data.

    :param structure: what ``render_bodystructure`` gave.
    """
    stack: list[list[bytes]] = [[]]
    kinds: list[list[bool]] = [[]]  # for each list: whether each element is itself a list
    position = 0
    while position < len(structure):
        token = _TOKEN.match(structure, position)
        if token is None:
            return structure
        position = token.end()
        bracket, quoted, octets, atom = token.groups()
        if bracket == b"(":
            stack.append([])
            kinds.append([])
        elif bracket == b")":
            elements, lists = stack.pop(), kinds.pop()
            stack[-1].append(_without_extension(elements, lists))
            kinds[-1].append(True)
        else:
            if octets is not None:
                end = position + int(octets)
                atom = structure[token.start() : end].lstrip(b" ")
                position = end
            stack[-1].append(quoted if quoted is not None else atom)
            kinds[-1].append(False)
    return stack[0][0] if stack[0] else structure


def _without_extension(elements: list[bytes], lists: list[bool]) -> bytes:
    """One list, cut to its basic fields when it is a body; its inner lists are cut already."""
    if lists and lists[0]:
        children = lists.index(False) if False in lists else len(lists)
        if children < len(elements) and elements[children] != b"NIL":
            # A multipart: bodies, then its subtype.
            return b"(" + b"".join(elements[:children]) + b" " + elements[children] + b")"
        return b"(" + b"".join(elements) + b")"  # addresses of an envelope
    if len(elements) >= 11 and elements[6].isdigit() and not lists[0]:
        if len(elements) >= 14 and lists[7]:
            return b"(" + b" ".join(elements[:10]) + b")"
        return b"(" + b" ".join(elements[:8] if elements[7].isdigit() else elements[:7]) + b")"
    return b"(" + b" ".join(elements) + b")"


# -- header fields ----------------------------------------------------------------------------------------------


def list_fields(scanned: ScannedMessage) -> bytes:
    """The raw fields of the header whose names are in ``LIST_FIELDS``, in order, without a blank line."""
    chosen = [raw for raw, name in scanned.header.fields if name in LIST_FIELDS]
    if chosen and not chosen[-1].endswith(b"\n"):
        chosen[-1] += b"\r\n"
    return b"".join(chosen)
