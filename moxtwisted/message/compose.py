"""Writing small messages, and completing those that users submit.

::

    compose([("From", "postmaster@example.org"), ("Subject", "Grüße")], "Hello\\n")
    complete_submission(header, Completion(seconds=0, domain="example.org", entropy=os.urandom))

Text is str with LF line ends; what comes out is octets with CRLF. Entropy is passed in: ``entropy(n)`` gives n octets.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence

from attrs import frozen

from moxtwisted.message.dates import render_date
from moxtwisted.message.headers import Header, select_fields

__all__ = [
    "Completion",
    "complete_submission",
    "compose",
    "compose_multipart",
    "encode_words",
    "entity",
    "field",
    "format_address",
    "new_message_id",
    "remove_fields",
    "text_entity",
    "to_crlf",
]

_LINE = 78  # RFC 5322 section 2.1.1: what lines should keep to
_WORD_OCTETS = (
    45  # of UTF-8 in an encoded word: 60 characters of base64 and 12 around them, below RFC 2047's 75
)
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+\Z")
_BARE_LF = re.compile(rb"\r\n|\r|\n")
_NOT_SEVEN_BIT = re.compile(r"[^\t\n -~]")
# As many words as fit behind the space that a folded line begins with; one that is longer has a line of its own.
_FOLDED_LINE = re.compile(rf"(\S.{{0,{_LINE - 2}}}|\S+)(?: |\Z)")

Entropy = Callable[[int], bytes]
Fields = Sequence[tuple[str, str]]


def to_crlf(octets: bytes) -> bytes:
    """Give every line end (CR, LF, CRLF) the form CRLF."""
    return _BARE_LF.sub(b"\r\n", octets)


def new_message_id(entropy: Entropy, domain: str) -> str:
    """A new identifier with its angle brackets: 120 random bits at the domain (an A-label name)."""
    token = base64.b32encode(entropy(15)).decode("ascii").lower()
    return f"<{token}@{domain}>"


# -- fields -----------------------------------------------------------------------------------------------------


def encode_words(text: str) -> str:
    """Text beyond ASCII as RFC 2047 encoded words, separated by spaces; ASCII stays as it is."""
    if text.isascii() and "=?" not in text:
        return text
    words: list[str] = []
    piece = b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        # RFC 2047 section 5: a character is not cut between two words.
        if len(piece) + len(octets) > _WORD_OCTETS:
            words.append(_word(piece))
            piece = b""
        piece += octets
    if piece:
        words.append(_word(piece))
    return " ".join(words)


def _word(octets: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(octets).decode('ascii')}?="


def format_address(name: str, address: str) -> str:
    """A display name and an address as a field has them; the name is quoted or encoded as it needs."""
    clean = " ".join(name.split())
    if not clean:
        return address
    if not clean.isascii():
        return f"{encode_words(clean)} <{address}>"
    if not _ATOMS.match(clean) or "=?" in clean:
        clean = '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{clean} <{address}>"


def field(name: str, value: str) -> bytes:
    """A header field with its line end, folded at white space where it is long.

    :param value: text; in ``Subject`` and other unstructured fields put through ``encode_words`` first when it is beyond
        ASCII, else it goes out as UTF-8 (RFC 6532). Line ends in it become spaces.
    """
    if value.isascii() and value.isprintable() and "  " not in value and value == value.strip():
        return _folded(f"{name}:", value).encode("ascii", "replace")
    lines: list[str] = []
    line = name + ":"
    for word in " ".join(value.splitlines()).split(" "):
        if len(line) + 1 + len(word) > _LINE and line.strip() and line != name + ":" and word:
            lines.append(line)
            line = ""
        line += " " + word
    lines.append(line)
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "replace")


def _folded(start: str, value: str) -> str:
    """A field of words with one space between them."""
    if len(start) + 1 + len(value) <= _LINE:
        return f"{start} {value}\r\n"
    cut = value.rfind(" ", 0, max(_LINE - len(start), 0))
    if cut < 0:
        # The first word stands in the first line, however long it is.
        cut = value.find(" ")
    if cut < 0:
        return f"{start} {value}\r\n"
    lines = "\r\n ".join(_FOLDED_LINE.findall(value, cut + 1))
    return f"{start} {value[:cut]}\r\n {lines}\r\n"


_ADDRESS_FIELDS = frozenset(("from", "sender", "reply-to", "to", "cc", "bcc"))


def _fields(fields: Fields) -> bytes:
    return b"".join(
        [
            field(name, value if name.lower() in _ADDRESS_FIELDS else encode_words(value))
            for name, value in fields
        ]
    )


# -- messages ---------------------------------------------------------------------------------------------------


def entity(content_type: str, octets: bytes, *, encoding: str = "", fields: Fields = ()) -> bytes:
    """A MIME entity of octets that are encoded already.

    :param content_type: with its parameters.
    :param encoding: a Content-Transfer-Encoding, empty for 7bit.
    :param fields: further fields, such as Content-Disposition.
    """
    head = field("Content-Type", content_type)
    if encoding:
        head += field("Content-Transfer-Encoding", encoding)
    return head + _fields(fields) + b"\r\n" + octets


def text_entity(text: str, subtype: str = "plain", *, fields: Fields = ()) -> bytes:
    """A text entity in UTF-8, sent as 7bit when it is ASCII in lines of at most 78 characters, else quoted-printable."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text and not text.endswith("\n"):
        text += "\n"
    if not _NOT_SEVEN_BIT.search(text) and all(len(line) <= _LINE for line in text.split("\n")):
        octets = text.encode("ascii").replace(b"\n", b"\r\n")
        return entity(f"text/{subtype}; charset=us-ascii", octets, fields=fields)
    encoded = binascii.b2a_qp(text.encode("utf-8", "replace"), istext=True)
    octets = encoded.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return entity(f"text/{subtype}; charset=utf-8", octets, encoding="quoted-printable", fields=fields)


def compose(fields: Fields, text: str) -> bytes:
    """A plain text message.

    :param fields: names and values; addresses as ``format_address`` gives them, other values plain text.
    """
    return _fields(fields) + b"MIME-Version: 1.0\r\n" + text_entity(text)


def compose_multipart(
    fields: Fields, subtype: str, entities: Sequence[bytes], entropy: Entropy, *, parameters: str = ""
) -> bytes:
    """A message with several entities.

    :param subtype: ``"mixed"``, ``"report; report-type=delivery-status"`` without the parameters: give those apart.
    :param entities: what ``entity`` and ``text_entity`` give.
    :param parameters: of the Content-Type besides the boundary, beginning with a semicolon.
    """
    boundary = "=_" + entropy(16).hex()
    mark = b"--" + boundary.encode("ascii")
    body = b"".join([mark + b"\r\n" + one + b"\r\n" for one in entities]) + mark + b"--\r\n"
    content_type = f'multipart/{subtype}{parameters}; boundary="{boundary}"'
    return _fields(fields) + b"MIME-Version: 1.0\r\n" + field("Content-Type", content_type) + b"\r\n" + body


# -- submission -------------------------------------------------------------------------------------------------


def remove_fields(header: bytes, names: Sequence[bytes]) -> bytes:
    """A header block without the fields of these names (any case)."""
    return select_fields(header, names, exclude=True)


@frozen
class Completion:
    """What ``complete_submission`` needs to know.

    :ivar seconds: the time, since the epoch.
    :ivar domain: for a new Message-ID.
    :ivar entropy: gives random octets.
    :ivar zone_minutes: for the Date, east of UTC.
    """

    seconds: int
    domain: str
    entropy: Entropy
    zone_minutes: int = 0


def complete_submission(header: bytes, completion: Completion) -> bytes:
    """The header of a submitted message as it is sent on: Bcc gone, Message-ID and Date added when they miss.

    RFC 6409 sections 8.2 and 8.3 let a submission server add them; RFC 5322 section 3.6.3 has Bcc removed. Octets
    of other fields stay as they are, so that signatures hold.

    :param header: the block with its blank line.
    :return: the block with its blank line.
    """
    values = Header.parse(header).values
    added = b""
    if not values.get(b"message-id"):
        added += field("Message-ID", new_message_id(completion.entropy, completion.domain))
    if not values.get(b"date"):
        added += b"Date: " + render_date(completion.seconds, completion.zone_minutes) + b"\r\n"
    if b"bcc" in values or b"resent-bcc" in values:
        header = remove_fields(header, (b"bcc", b"resent-bcc"))
    return added + header
