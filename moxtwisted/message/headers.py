"""Header blocks: into fields, unfolded, decoded.

The octets stay as they are; decoding happens where somebody wants text::

    header = Header.parse(b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\\r\\nX-A: 1\\r\\n\\r\\n")
    header.get(b"subject")           # b' =?utf-8?q?Gr=C3=BC=C3=9Fe?=\\r\\n', raw
    header.text(b"subject")          # 'Grüße'
    parse_content_type(b'text/plain; charset="utf-8"')

Names are given in lower case as bytes. Every function takes anything; none raises.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from itertools import islice

from attrs import define, frozen

from moxtwisted.message.charset import decode, decode_unlabelled

__all__ = [
    "MAX_FIELDS",
    "ContentType",
    "Disposition",
    "Header",
    "decode_words",
    "message_ids",
    "parse_content_type",
    "parse_disposition",
    "parse_parameters",
    "replace_fields",
    "select_fields",
    "unfold",
]

MAX_FIELDS = 10_000
"""Fields that are looked at in one header; mail in the wild stays below 300."""
MAX_PARAMETERS = 100
"""Parameters that are looked at in one field."""
MAX_MESSAGE_IDS = 1000
"""Message identifiers that are read from one field."""

# RFC 5322 section 2.2: printable ASCII but the colon; section 4.5 allows white space before the colon.
# A line that is neither a field nor a continuation is passed over.
_FIELD = re.compile(rb"^(([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*\n?))", re.MULTILINE)
_FOLD = re.compile(rb"\r?\n")
# A number is found in octets in a tenth of the time that octets take: for these an exception is made first, inside.
_LF = 0x0A
_ENCODED_WORD = re.compile(r"=\?([^?\s]{1,100})\?([bBqQ])\?([^?]*)\?=")
_MESSAGE_ID = re.compile(rb"<([^<>\s]+)>")
_MEDIA_TYPE = re.compile(
    rb"\s*([!#$%&'*+.^_`{|}~0-9A-Za-z-]+)\s*/\s*([!#$%&'*+.^_`{|}~0-9A-Za-z-]+)(?=[\s;(]|\Z)"
)
_TOKEN = re.compile(rb"\s*([!#$%&'*+.^_`{|}~0-9A-Za-z-]+)")
_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)(?:"|\\?\Z)|([^;]*))', re.DOTALL)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_VALUE_COMMENT = re.compile(rb"\s\([^()]*\)\s*\Z")
_SECTION = re.compile(rb"(.+?)\*(\d{1,3})(\*?)\Z")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")

#: Headers up to this size are remembered for a moment; short ones, as parts have them, for longer.
_REMEMBERED_OCTETS = 16 * 1024
_SHORT_OCTETS = 200

Fields = dict[bytes, list[bytes]]


def unfold(value: bytes) -> bytes:
    """A field's value on one line, without white space at its ends (RFC 5322 section 2.2.3)."""
    value = value.strip(b" \t\r\n")
    return _FOLD.sub(b"", value) if _LF in value else value


@define
class Header:
    """A header block cut into fields.

    :ivar octets: the block as it stands in the message, with the blank line when there was one.
    :ivar values: raw values (behind the colon, folded, line end included) by lower-case name, in order.
    :ivar fields: raw field and lower-case name, in order.
    """

    octets: bytes
    values: Fields
    fields: list[tuple[bytes, bytes]]

    @classmethod
    def parse(cls, octets: bytes) -> Header:
        """Cut a block; at most ``MAX_FIELDS`` fields are looked at."""
        values: Fields = {}
        fields: list[tuple[bytes, bytes]] = []
        for raw, name, value in _find_fields(octets):
            key = name.lower()
            fields.append((raw, key))
            if key in values:
                values[key].append(value)
            else:
                values[key] = [value]
        return cls(octets, values, fields)

    @classmethod
    def parse_once(cls, octets: bytes) -> Header:
        """As ``parse``, and the same object for the same octets a moment later, which nobody may change.

        Whoever verifies a message and whoever scans it cut the same header; and parts of all messages have the same few.
        """
        if len(octets) <= _SHORT_OCTETS:
            return _parse_short(octets)
        return _parse_remembered(octets) if len(octets) <= _REMEMBERED_OCTETS else cls.parse(octets)

    def get(self, name: bytes) -> bytes | None:
        """The raw value of the first field of that name."""
        found = self.values.get(name)
        return found[0] if found else None

    def unfolded(self, name: bytes) -> bytes:
        """The unfolded value of the first field of that name, empty when there is none."""
        found = self.values.get(name)
        return unfold(found[0]) if found else b""

    def text(self, name: bytes) -> str:
        """The value of the first field of that name as text, encoded words decoded."""
        found = self.values.get(name)
        return decode_words(found[0]) if found else ""


# Of messages that come in at the same time, some pieces of one between those of others.
_parse_remembered = lru_cache(maxsize=8)(Header.parse)
_parse_short = lru_cache(maxsize=128)(Header.parse)


def _find_fields(octets: bytes) -> list[tuple[bytes, bytes, bytes]]:
    if octets.count(b"\n") <= MAX_FIELDS:
        return _FIELD.findall(octets)
    return [(m[1], m[2], m[3]) for m in islice(_FIELD.finditer(octets), MAX_FIELDS)]


def select_fields(header: bytes, names: Collection[bytes], *, exclude: bool = False) -> bytes:
    """The raw fields with one of the names (or with none of them), and the blank line.

    It is what RFC 9051 section 6.4.5.1 wants for HEADER.FIELDS and HEADER.FIELDS.NOT.

    :param header: a header block; a missing blank line is added.
    :param names: field names in any case.
    """
    wanted = _lowered(names) if isinstance(names, frozenset) else {name.lower() for name in names}
    chosen = [raw for raw, name, _ in _find_fields(header) if (name.lower() in wanted) is not exclude]
    if chosen and not chosen[-1].endswith(b"\n"):
        chosen[-1] = chosen[-1].rstrip(b"\r") + b"\r\n"
    return b"".join(chosen) + b"\r\n"


def replace_fields(header: Header, changes: Mapping[int, bytes]) -> bytes:
    """The octets of a header block with other fields, and all else as it stands there; the same object without changes.

    :param changes: by the field's place in ``header.fields``: what stands there instead, ended by CRLF; empty: nothing.
    """
    if not changes:
        return header.octets
    octets = header.octets
    pieces: list[bytes] = []
    copied = position = 0
    for i, (raw, _) in enumerate(header.fields):
        position = _at_line_start(octets, raw, position)
        if i in changes:
            pieces += [octets[copied:position], changes[i]]
            copied = position + len(raw)
        position += len(raw)
    return b"".join([*pieces, octets[copied:]])


def _at_line_start(octets: bytes, raw: bytes, position: int) -> int:
    """Where a field begins; lines that are no fields may stand before it."""
    while True:
        position = octets.index(raw, position)
        if position == 0 or octets[position - 1 : position] == b"\n":
            return position
        position += 1


@lru_cache(64)
def _lowered(names: frozenset[bytes]) -> frozenset[bytes]:
    return frozenset([name.lower() for name in names])


def message_ids(value: bytes) -> list[str]:
    """The message identifiers in a References, In-Reply-To or Message-ID field, without angle brackets, in order,
    each once (RFC 5322 section 3.6.4)."""
    value = unfold(value)
    if len(value) < MAX_MESSAGE_IDS:  # octets: there cannot be so many
        found = _MESSAGE_ID.findall(value)
    else:
        found = [m[1] for m in islice(_MESSAGE_ID.finditer(value), MAX_MESSAGE_IDS)]
    return list(dict.fromkeys([one.decode("utf-8", "replace") for one in found]))


# -- RFC 2047 ---------------------------------------------------------------------------------------------------


def decode_words(value: bytes) -> str:
    """A field's value as text: unfolded, RFC 2047 encoded words decoded, raw 8-bit taken as UTF-8 or else as
    windows-1252 (RFC 6532 makes it UTF-8).

    Broken words are decoded as far as they go: missing padding, spaces within, characters cut between two words.
    """
    text = decode_unlabelled(unfold(value))
    if "=?" not in text:
        return text
    out: list[str] = []
    end = 0
    pending: list[bytes] = []
    charset = ""
    for word in _ENCODED_WORD.finditer(text):
        between = text[end : word.start()]
        # RFC 2047 section 6.2: white space between two encoded words is not shown.
        adjacent = end > 0 and not between.strip(" \t")
        label = word[1].partition("*")[0].lower()  # RFC 2231 section 5: a language may follow
        if pending and not (adjacent and label == charset):
            out.append(decode(b"".join(pending), charset))
            pending = []
        if not adjacent:
            out.append(between)
        # A character may be cut between two words of one charset (RFC 2047 section 5 forbids it, mailers do it).
        pending.append(_word_octets(word[2], word[3]))
        charset = label
        end = word.end()
    if pending:
        out.append(decode(b"".join(pending), charset))
    out.append(text[end:])
    return "".join(out)


def _word_octets(encoding: str, text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    if encoding in "bB":
        clean = _NOT_BASE64.sub(b"", raw)
        if len(clean) % 4 == 1:
            clean = clean[:-1]
        return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
    return binascii.a2b_qp(raw, header=True)


# -- RFC 2045, 2183, 2231 ---------------------------------------------------------------------------------------

Parameters = tuple[tuple[str, bytes], ...]


@frozen
class ContentType:
    """A media type.

    :ivar type: top-level type, lower case.
    :ivar subtype: lower case.
    :ivar parameters: lower-case names and raw values, first come first; RFC 2231 continuations are joined, and
        a name that ends in ``*`` has a value that is still in RFC 2231's encoding.
    """

    type: str
    subtype: str
    parameters: Parameters = ()

    def parameter(self, name: str) -> str:
        """A parameter as text, RFC 2231 and (against the rules, but common) RFC 2047 decoded; or empty."""
        return _parameter_text(self.parameters, name)


@frozen
class Disposition:
    """A Content-Disposition: ``kind`` is ``"inline"``, ``"attachment"`` or something else, in lower case."""

    kind: str
    parameters: Parameters = ()

    def parameter(self, name: str) -> str:
        """A parameter as text, as ``ContentType.parameter``."""
        return _parameter_text(self.parameters, name)


def _parameter_text(parameters: Parameters, name: str) -> str:
    plain: str | None = None
    for key, value in parameters:
        if key == name + "*":
            return _extended_text(value)
        if key == name and plain is None:
            plain = decode_words(value) if b"=?" in value else decode_unlabelled(value)
    return plain or ""


def _extended_text(value: bytes) -> str:
    # RFC 2231 section 4: charset'language'percent-encoded octets
    charset, quote, rest = value.partition(b"'")
    _, quote2, encoded = rest.partition(b"'")
    if not (quote and quote2):
        charset, encoded = b"", value
    octets = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes((int(m[1], 16),)), encoded)
    return decode(octets, charset.decode("latin-1"))


# RFC 2045 section 5.2: what is missing or cannot be read is plain text in US-ASCII.
TEXT_PLAIN = ContentType("text", "plain")
MESSAGE_RFC822 = ContentType("message", "rfc822")


def parse_content_type(value: bytes) -> ContentType | None:
    """Read a Content-Type; None when there is no type/subtype in it."""
    return _content_type_cached(value) if len(value) <= 200 else _content_type(value)


def _content_type(value: bytes) -> ContentType | None:
    value = unfold(value)
    media = _MEDIA_TYPE.match(value)
    if media is None:
        return None
    return ContentType(
        media[1].lower().decode("ascii"),
        media[2].lower().decode("ascii"),
        parse_parameters(value, media.end()),
    )


# The same few dozen values make up nearly all mail; keys are at most 200 octets, so 1024 of them stay small.
_content_type_cached = lru_cache(maxsize=1024)(_content_type)


def parse_disposition(value: bytes) -> Disposition | None:
    """Read a Content-Disposition (RFC 2183); None when it has no kind."""
    value = unfold(value)
    kind = _TOKEN.match(value)
    if kind is None:
        return None
    return Disposition(kind[1].lower().decode("ascii"), parse_parameters(value, kind.end()))


def parse_parameters(value: bytes, start: int = 0) -> Parameters:
    """Read ``; name=value`` pairs from an unfolded value, from ``start`` on; of two with one name the first counts."""
    found: dict[str, bytes] = {}
    split = False
    for m in islice(_PARAMETER.finditer(value, start), MAX_PARAMETERS):
        name, quoted, bare = m.groups()
        if quoted is not None:
            content = _QUOTED_PAIR.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        else:
            content = bare.strip()
            if content.endswith(b")"):
                content = _VALUE_COMMENT.sub(b"", content)
        split = split or b"*" in name
        found.setdefault(name.lower().decode("latin-1"), content)
    return _join_sections(found) if split else tuple(found.items())


def _join_sections(found: dict[str, bytes]) -> Parameters:
    """RFC 2231 section 3: ``name*0``, ``name*1*``, … become one parameter where the first of them stood."""
    sections: dict[str, dict[int, tuple[bool, bytes]]] = {}
    order: dict[str, bytes] = {}
    for name, value in found.items():
        numbered = _SECTION.match(name.encode("latin-1"))
        if numbered is None:
            order.setdefault(name, value)
            continue
        base = numbered[1].decode("latin-1")
        sections.setdefault(base, {})[int(numbered[2])] = (bool(numbered[3]), value)
        order.setdefault(base + "*", b"")
    joined: dict[str, bytes] = {}
    for name, value in order.items():
        parts = sections.get(name[:-1]) if name.endswith("*") and not value else None
        if parts is None:
            joined.setdefault(name, value)
            continue
        extended = any(is_extended for is_extended, _ in parts.values())
        octets = b""
        for number in range(len(parts)):
            if number not in parts:
                break
            is_extended, piece = parts[number]
            # A plain section among extended ones is literal text: protect its percent signs.
            octets += piece if is_extended or not extended else piece.replace(b"%", b"%25")
        joined.setdefault(name if extended else name[:-1], octets)
    return tuple(joined.items())


def iterate_values(header: Header, names: Collection[bytes]) -> Iterator[bytes]:
    """The raw values of all fields with one of the lower-case names, in the order of the header."""
    seen: dict[bytes, int] = {}
    for _, name in header.fields:
        if name in names:
            nth = seen.get(name, 0)
            seen[name] = nth + 1
            yield header.values[name][nth]
