r"""DNS messages: what a resolver says and hears (RFC 1035 section 4), fast, and safe to read.

::

    octets = query(Question("example.org", 15), ident=0x1234, edns=EDNS(dnssec_ok=True))
    message = parse(answer_octets)
    message.rcode, message.truncated
    [decode(message.data, record) for record in message.answer if record.code == 15]   # [MX(10, "mail.example.org")]

``parse`` finds the records and reads their names; what is in them is read when somebody asks, by ``decode``. Either raises
``MessageError`` for what is no DNS. Whatever is sent, the work is bounded by its size: a compression pointer only points back, a
name that was read is not read again, and there are limits on the number of records.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address
from struct import Struct
from struct import error as StructError  # noqa: N812  # its own name is error
from typing import Any, Final, NamedTuple

from attrs import frozen

from moxtwisted.dns.names import ROOT, BadNameError, from_labels, to_wire
from moxtwisted.dns.records import (
    CAA,
    DNSKEY,
    DS,
    MX,
    NSEC,
    NSEC3,
    RRSIG,
    SOA,
    SRV,
    TLSA,
    Opaque,
)

__all__ = [
    "EDNS",
    "Message",
    "MessageError",
    "Question",
    "Record",
    "RecordsOf",
    "decode",
    "mix_case",
    "name_at",
    "parse",
    "query",
]

# RFC 1035 section 4.1.1, RFC 4035 sections 3.1.6 and 3.2.2.
QR: Final = 0x8000
TC: Final = 0x0200
RD: Final = 0x0100
AD: Final = 0x0020
CD: Final = 0x0010
_OPCODE_MASK = 0x7800

# RFC 6891 section 6.1.3: the DO bit in the TTL of OPT.
_DO = 0x8000
_COOKIE = 10
_OPT = 41
IN: Final = 1

#: What we take in one UDP datagram: 1232 octets pass every network unfragmented (DNS flag day 2020).
UDP_OCTETS: Final = 1232

# More records than any answer that mail needs; a signed answer with 500 addresses fits.
_MAX_RECORDS = 2000
_MAX_NAME_OCTETS = 255
_MAX_POINTERS = 64

#: The bit that makes a lower-case letter an upper-case one, for what is a letter: the octets of lengths are at most 63, below them.
_CASE = bytes(0x20 if 97 <= octet <= 122 else 0 for octet in range(256))

_HEADER = Struct("!HHHHHH")
_FIXED = Struct("!HHIH")
_QTAIL = Struct("!HH")
_OPTHEAD = Struct("!BHHIH")
_OPTION = Struct("!HH")
_SHORT = Struct("!H")
_SOA = Struct("!IIIII")
_SRV = Struct("!HHH")
_RRSIG = Struct("!HBBIIIH")
_DS = Struct("!HBB")


class MessageError(ValueError):
    """The octets are no DNS message."""


class Question(NamedTuple):
    """What is asked: a normalised name and the number of a type, in the class IN."""

    name: str
    code: int


class EDNS(NamedTuple):
    """What the OPT record of a query says (RFC 6891).

    :ivar dnssec_ok: send signatures (RFC 3225).
    :ivar cookie: the client's cookie of 8 octets, followed by the server's when there is one (RFC 7873); empty: none.
    """

    dnssec_ok: bool = False
    cookie: bytes = b""
    udp_octets: int = UDP_OCTETS


class Record(NamedTuple):
    """Where a record is: its data is at ``start``, ``length`` octets long; ``ttl`` in seconds."""

    name: str
    code: int
    ttl: int
    start: int
    length: int


@frozen
class Message:
    """A message that was read.

    :ivar data: all its octets.
    :ivar rcode: 12 bits, with those of OPT.
    :ivar question: the octets of the question section: name as it was written, type, class.
    :ivar answer: and the other sections: records of the class IN, without OPT.
    :ivar edns: whether it has an OPT record.
    :ivar cookie: what the cookie option holds, or empty.
    """

    data: bytes
    ident: int
    flags: int
    rcode: int
    question: bytes
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]
    edns: bool
    cookie: bytes

    @property
    def is_response(self) -> bool:
        """Whether this is an answer to a standard query."""
        return self.flags & (QR | _OPCODE_MASK) == QR

    @property
    def truncated(self) -> bool:
        """Whether something was left out, so that TCP has to be used."""
        return bool(self.flags & TC)

    @property
    def authentic(self) -> bool:
        """Whether the server says that it validated all of it (RFC 4035 section 3.2.3)."""
        return bool(self.flags & AD)

    def records(self, name: str, code: int) -> RecordsOf:
        """The records of the answer section at a name with a type."""
        return RecordsOf(self.data, tuple([r for r in self.answer if r.code == code and r.name == name]))


class RecordsOf(NamedTuple):
    """Records, and the message where their data is."""

    data: bytes
    records: tuple[Record, ...]

    def decoded(self) -> list[Any]:
        """What they say, each once."""
        return list(dict.fromkeys([decode(self.data, record) for record in self.records]))


def mix_case(wire: bytes, bits: bytes) -> bytes:
    """The name in wire form with letters in upper case where a bit is set, to be compared with the answer (draft-vixie-dnsext-dns0x20).

    :param bits: an octet for every one of the name, of which one bit counts.
    """
    chosen = int.from_bytes(wire.translate(_CASE), "big") & int.from_bytes(bits, "big")
    return (int.from_bytes(wire, "big") ^ chosen).to_bytes(len(wire), "big")


def query(
    question: Question, ident: int, *, flags: int = RD, edns: EDNS | None = None, case: bytes = b""
) -> bytes:
    """The octets of a query.

    :param flags: as RD | AD | CD.
    :param case: random bits for the letters of the name, see ``mix_case``; empty: all lower case.
    """
    name = to_wire(question.name)
    if case:
        name = mix_case(name, case)
    octets = _HEADER.pack(ident, flags, 1, 0, 0, edns is not None) + name + _QTAIL.pack(question.code, IN)
    return octets if edns is None else octets + _opt(edns)


# Each server has a cookie for a long time.
@lru_cache(maxsize=64)
def _opt(edns: EDNS) -> bytes:
    """The OPT record."""
    options = _OPTION.pack(_COOKIE, len(edns.cookie)) + edns.cookie if edns.cookie else b""
    return _OPTHEAD.pack(0, _OPT, edns.udp_octets, _DO if edns.dnssec_ok else 0, len(options)) + options


Names = dict[int, tuple[str, int, int]]


def name_at(data: bytes, at: int, seen: Names) -> tuple[str, int]:
    """The name that begins at an offset, and the offset behind it.

    :param seen: names that were read before in this message, by offset; added to.
    :raises MessageError: when there is none.
    """
    found = seen.get(at)
    if found is not None:
        return found[0], found[1]
    begin = limit = at
    labels: list[bytes] = []
    octets, end, pointers = 1, 0, 0
    rest = ""
    try:
        while size := data[at]:
            if size < 64:
                labels.append(data[at + 1 : at + 1 + size])
                at += 1 + size
                octets += 1 + size
            elif size >= 192:
                # RFC 1035 section 4.1.4: a pointer to a prior occurrence; so each must point further back, and no chain has a loop.
                target = (size & 63) << 8 | data[at + 1]
                pointers += 1
                if target >= limit or pointers > _MAX_POINTERS:
                    raise MessageError("compression loop")
                end = end or at + 2
                at = limit = target
                if known := seen.get(target):
                    rest = known[0]
                    octets += known[2] - 1
                    break
            else:
                raise MessageError("label of an unknown kind")
            if octets > _MAX_NAME_OCTETS:
                raise MessageError("name too long")
        name = from_labels(labels) if labels or not rest else rest
    except (IndexError, BadNameError) as e:
        raise MessageError("name cut off") from e
    if octets > _MAX_NAME_OCTETS:
        raise MessageError("name too long")
    if labels and rest and rest != ROOT:
        name = f"{name}.{rest}"
    end = end or at + 1
    seen[begin] = (name, end, octets)
    return name, end


def parse(data: bytes, asked: tuple[bytes, str] | None = None) -> Message:
    """Read a message.

    :param asked: a name in wire form as it was asked for, and the name: where it is what the question names, it is not read again.
    :raises MessageError: when it is none, or has more than 2,000 records, or not exactly one question.
    """
    seen: Names = {}
    try:
        ident, flags, questions, *counts = _HEADER.unpack_from(data)
        if questions > 1 or sum(counts) > _MAX_RECORDS:
            raise MessageError("too many questions or records")
        at = 12
        question = b""
        if questions:
            if asked is not None and data.startswith(asked[0], at):
                size = len(asked[0])
                seen[at] = (asked[1], at + size, size)
                at += size + 4
            else:
                at = name_at(data, at, seen)[1] + 4
            question = data[12:at]
        sections: list[list[Record]] = [[], [], []]
        options: tuple[int, bytes] | None = None
        for section, count in zip(sections, counts, strict=True):
            for _ in range(count):
                name, at = name_at(data, at, seen)
                code, rrclass, ttl, length = _FIXED.unpack_from(data, at)
                at += 10
                if at + length > len(data):
                    raise MessageError("record cut off")
                if code == _OPT:
                    if options is not None:
                        raise MessageError("two OPT records")
                    options = (ttl, data[at : at + length])
                elif rrclass == IN:
                    # RFC 2181 section 8: a TTL with the highest bit set is zero.
                    section.append(Record(name, code, ttl if ttl < 2**31 else 0, at, length))
                at += length
    except StructError as e:
        raise MessageError("message cut off") from e
    rcode = flags & 15
    if options is not None:
        rcode |= options[0] >> 24 << 4
    answer, authority, additional = map(tuple, sections)
    cookie = _cookie(options[1]) if options else b""
    return Message(
        data, ident, flags, rcode, question, answer, authority, additional, options is not None, cookie
    )


def _cookie(options: bytes) -> bytes:
    at = 0
    while at + 4 <= len(options):
        code, length = _OPTION.unpack_from(options, at)
        if code == _COOKIE:
            return options[at + 4 : at + 4 + length]
        at += 4 + length
    return b""


def decode(data: bytes, record: Record) -> Any:
    """What a record says, as ``Answer.records`` has it.

    :raises MessageError: when it is not what its type has.
    """
    decoder = _DECODERS.get(record.code)
    end = record.start + record.length
    if decoder is None:
        return Opaque(data[record.start : end])
    try:
        return decoder(data, record.start, end)
    except (StructError, IndexError, ValueError) as e:
        raise MessageError(f"bad data of type {record.code}: {e}") from e


def _exact_name(data: bytes, at: int, end: int) -> str:
    name, behind = name_at(data, at, {})
    if behind != end:
        raise MessageError("data too long or too short")
    return name


def _inner_name(data: bytes, at: int, end: int) -> tuple[str, int]:
    name, behind = name_at(data, at, {})
    if behind > end:
        raise MessageError("name cut off")
    return name, behind


def _take(data: bytes, at: int, end: int) -> bytes:
    if at > end:
        raise MessageError("data too short")
    return data[at:end]


def _a(data: bytes, at: int, end: int) -> str:
    if end - at != 4:
        raise MessageError("an IPv4 address has 4 octets")
    return ".".join(map(str, data[at:end]))


def _aaaa(data: bytes, at: int, end: int) -> str:
    if end - at != 16:
        raise MessageError("an IPv6 address has 16 octets")
    return str(IPv6Address(data[at:end]))


def _txt(data: bytes, at: int, end: int) -> bytes:
    parts = []
    while at < end:
        behind = at + 1 + data[at]
        if behind > end:
            raise MessageError("string cut off")
        parts.append(data[at + 1 : behind])
        at = behind
    return b"".join(parts)


def _mx(data: bytes, at: int, end: int) -> MX:
    return MX(_SHORT.unpack_from(data, at)[0], _exact_name(data, at + 2, end))


def _soa(data: bytes, at: int, end: int) -> SOA:
    mname, at = _inner_name(data, at, end)
    rname, at = _inner_name(data, at, end)
    if end - at != 20:
        raise MessageError("SOA has five numbers")
    return SOA(mname, rname, *_SOA.unpack_from(data, at))


def _srv(data: bytes, at: int, end: int) -> SRV:
    priority, weight, port = _SRV.unpack_from(data, at)
    return SRV(priority, weight, port, _exact_name(data, at + 6, end))


def _tlsa(data: bytes, at: int, end: int) -> TLSA:
    return TLSA(data[at], data[at + 1], data[at + 2], _take(data, at + 3, end))


def _caa(data: bytes, at: int, end: int) -> CAA:
    size = data[at + 1]
    tag = _take(data, at + 2, min(at + 2 + size, end))
    return CAA(data[at], tag.decode("ascii").lower(), _take(data, at + 2 + size, end))


def _ds(data: bytes, at: int, end: int) -> DS:
    key_tag, algorithm, digest_type = _DS.unpack_from(data, at)
    return DS(key_tag, algorithm, digest_type, _take(data, at + 4, end))


def _dnskey(data: bytes, at: int, end: int) -> DNSKEY:
    flags, protocol, algorithm = _DS.unpack_from(data, at)
    return DNSKEY(flags, protocol, algorithm, _take(data, at + 4, end))


def _rrsig(data: bytes, at: int, end: int) -> RRSIG:
    covered, algorithm, count, ttl, expiration, inception, tag = _RRSIG.unpack_from(data, at)
    signer, behind = _inner_name(data, at + 18, end)
    return RRSIG(covered, algorithm, count, ttl, expiration, inception, tag, signer, data[behind:end])


def _types(data: bytes, at: int, end: int) -> frozenset[int]:
    """RFC 4034 section 4.1.2: windows of 256 types, each with a bit map."""
    found = []
    while at < end:
        window, size = data[at], data[at + 1]
        if not 0 < size <= 32 or at + 2 + size > end:
            raise MessageError("bad bit map of types")
        for index, octet in enumerate(data[at + 2 : at + 2 + size]):
            found += [window * 256 + index * 8 + bit for bit in range(8) if octet & 0x80 >> bit]
        at += 2 + size
    return frozenset(found)


def _nsec(data: bytes, at: int, end: int) -> NSEC:
    name, at = _inner_name(data, at, end)
    return NSEC(name, _types(data, at, end))


def _nsec3(data: bytes, at: int, end: int) -> NSEC3:
    algorithm, flags, iterations = data[at], data[at + 1], _SHORT.unpack_from(data, at + 2)[0]
    at += 4
    salt = _take(data, at + 1, at + 1 + data[at])
    at += 1 + data[at]
    following = _take(data, at + 1, at + 1 + data[at])
    at += 1 + data[at]
    if at > end:
        raise MessageError("data too short")
    return NSEC3(algorithm, flags, iterations, salt, following, _types(data, at, end))


_DECODERS: dict[int, Callable[[bytes, int, int], Any]] = {
    1: _a, 2: _exact_name, 5: _exact_name, 6: _soa, 12: _exact_name, 15: _mx, 16: _txt, 28: _aaaa, 33: _srv, 39: _exact_name,
    43: _ds, 46: _rrsig, 47: _nsec, 48: _dnskey, 50: _nsec3, 52: _tlsa, 53: _tlsa, 99: _txt, 257: _caa,
}  # fmt: skip
