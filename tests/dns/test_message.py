"""The codec, against dnspython, and against those who would make it work."""

from __future__ import annotations

import struct
from typing import Any

import dns.flags
import dns.message
import dns.rdataclass
import dns.rrset
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.message import (
    EDNS,
    Message,
    MessageError,
    Question,
    decode,
    mix_case,
    name_at,
    parse,
    query,
)
from moxtwisted.dns.names import to_wire
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
    type_code,
    type_name,
)

RECORDS: tuple[tuple[str, str, Any], ...] = (
    ("A", "192.0.2.1", "192.0.2.1"),
    ("AAAA", "2001:db8::1", "2001:db8::1"),
    ("CNAME", "Mail.Example.", "mail.example"),
    ("NS", ".", "."),
    ("PTR", r"a\.b.example.", r"a\.b.example"),
    ("MX", "10 mail.example.", MX(10, "mail.example")),
    ("MX", "0 .", MX(0, ".")),
    ("TXT", '"v=spf1 " "-all" "\\255"', b"v=spf1 -all\xff"),
    ("SOA", "ns.example. h.example. 1 2 3 4 5", SOA("ns.example", "h.example", 1, 2, 3, 4, 5)),
    ("SRV", "1 2 3 mail.example.", SRV(1, 2, 3, "mail.example")),
    ("TLSA", "3 1 1 " + "ab" * 32, TLSA(3, 1, 1, b"\xab" * 32)),
    ("CAA", '128 Issue "ca.example"', CAA(128, "issue", b"ca.example")),
    ("DS", "1 13 2 " + "cd" * 32, DS(1, 13, 2, b"\xcd" * 32)),
    ("DNSKEY", "257 3 15 AAAA", DNSKEY(257, 3, 15, b"\0\0\0")),
    (
        "RRSIG",
        "MX 13 1 300 20260102000000 20260101000000 7 example. AAAA",
        RRSIG(15, 13, 1, 300, 1767312000, 1767225600, 7, "example", b"\0\0\0"),
    ),
    ("NSEC", "b.example. A TYPE1234", NSEC("b.example", frozenset({1, 1234}))),
    (
        "NSEC3",
        "1 1 5 aabb 00000000000000000000000000000000 NS DS",
        NSEC3(1, 1, 5, b"\xaa\xbb", bytes(20), frozenset({2, 43})),
    ),
    ("NSEC3", "1 0 0 - 00000000000000000000000000000000", NSEC3(1, 0, 0, b"", bytes(20), frozenset())),
    ("TYPE4321", r"\# 3 010203", Opaque(b"\1\2\3")),
)


def answer_with(*records: tuple[str, str, str]) -> bytes:
    """A message in which dnspython compressed what it can."""
    made = dns.message.make_response(dns.message.make_query("www.example.", "A"))
    for name, rrtype, data in records:
        made.answer.append(dns.rrset.from_text(name, 300, "IN", rrtype, data))
    return made.to_wire(max_size=65535)


class QueryTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """Dnspython reads what we ask."""
        read = dns.message.from_wire(query(Question("example.org", 15), 0x1234))
        self.assertEqual((read.id, read.flags, read.edns), (0x1234, dns.flags.RD, -1))
        self.assertEqual(read.question[0].to_text(), "example.org. IN MX")

    def test_edns(self) -> None:
        """OPT has our size, the DO bit and the cookie."""
        edns = EDNS(dnssec_ok=True, cookie=b"12345678")
        read = dns.message.from_wire(query(Question("example.org", 52), 1, flags=0x0130, edns=edns))
        self.assertEqual((read.payload, read.ednsflags), (1232, dns.flags.DO))
        self.assertEqual([(int(o.otype), o.to_wire()) for o in read.options], [(10, b"12345678")])

    @given(st.binary(min_size=21, max_size=21))
    @settings(max_examples=50)
    def test_letters(self, bits: bytes) -> None:
        """Each letter changes its case when its bit is set and nothing else changes; all bits off is the name itself."""
        wire = to_wire("abc-123.example.org")
        mixed = mix_case(wire, bits)
        self.assertEqual(mixed.lower(), wire)
        for before, after, octet in zip(wire, mixed, bits, strict=True):
            self.assertEqual(before != after, chr(before).islower() and bool(octet & 0x20))
        self.assertEqual(mix_case(wire, bytes(21)), wire)


class DecodeTests(SynchronousTestCase):
    def test_types(self) -> None:
        """Every type is read as its RFC has it."""
        for rrtype, text, expected in RECORDS:
            data = answer_with(("www.example.", rrtype, text))
            (record,) = parse(data).answer
            self.assertEqual((record.name, record.ttl), ("www.example", 300))
            self.assertEqual(type_name(record.code), rrtype)
            self.assertEqual(decode(data, record), expected)

    def test_compressed(self) -> None:
        """Names are read through pointers, in owners and in data."""
        data = answer_with(
            ("www.example.", "CNAME", "a.b.example."),
            ("a.b.example.", "MX", "10 b.example."),
            ("b.example.", "SOA", "ns.b.example. h.b.example. 1 2 3 4 5"),
        )
        read = parse(data)
        self.assertEqual([record.name for record in read.answer], ["www.example", "a.b.example", "b.example"])
        self.assertEqual(
            [decode(data, record) for record in read.answer],
            ["a.b.example", MX(10, "b.example"), SOA("ns.b.example", "h.b.example", 1, 2, 3, 4, 5)],
        )

    def test_broken_data(self) -> None:
        """Data that is too short or too long for its type is refused, and reads nothing beyond itself."""
        for rrtype, text, _ in RECORDS:
            if rrtype in {"TYPE4321", "TXT", "TLSA", "DS", "DNSKEY", "CAA", "RRSIG"}:
                continue  # they end where their data ends
            data = answer_with(("www.example.", rrtype, text))
            (record,) = parse(data).answer
            for length in range(record.length):
                with self.assertRaises(MessageError, msg=(rrtype, length)):
                    found = decode(data, record._replace(length=length))
                    # A bit map of types may end between two windows.
                    if isinstance(found, NSEC | NSEC3):
                        raise MessageError

    def test_codes(self) -> None:
        """Types have names and numbers; what is no type of records cannot be asked for."""
        self.assertEqual((type_code("mx"), type_code("TYPE15"), type_name(15)), (15, 15, "MX"))
        for bad in ("", "OPT", "TYPE0", "TYPE41", "TYPE255", "TYPE65536", "TYPE123456", "ANY", "TYPE१"):
            with self.assertRaises(ValueError):
                type_code(bad)


class HostileTests(SynchronousTestCase):
    def header(self, questions: int = 0, answers: int = 0) -> bytes:
        return struct.pack("!HHHHHH", 1, 0x8180, questions, answers, 0, 0)

    def test_loops(self) -> None:
        """A pointer that points at itself, ahead, or into a ring is refused."""
        for name in (b"\xc0\x0c", b"\xc0\x20", b"\x01a\xc0\x0c", b"\xc0\x0e\xc0\x0c"):
            with self.assertRaises(MessageError):
                parse(self.header(questions=1) + name + b"\0\1\0\1" + bytes(40))

    def test_bomb(self) -> None:
        """Names that become long through pointers are refused when they are longer than a name can be."""
        data = bytearray(self.header())
        at = 0
        for index in range(20):
            start = len(data)
            data += b"\x3f" + b"x" * 63 + (b"\0" if not index else struct.pack("!H", 0xC000 | at))
            at = start
        seen: dict[int, tuple[str, int, int]] = {}
        with self.assertRaises(MessageError):
            name_at(bytes(data), at, seen)
        # Also when the inner names were read before.
        seen = {}
        results = []
        for start in (12, 77, 143, 209):
            try:
                results.append(len(to_wire(name_at(bytes(data), start, seen)[0])))
            except MessageError:
                results.append(0)
        self.assertEqual(results, [65, 129, 193, 0])

    def test_many_records(self) -> None:
        """Counts that promise more than 2,000 records are refused at once."""
        with self.assertRaises(MessageError):
            parse(self.header(answers=2001) + bytes(65000))

    def test_two_opt(self) -> None:
        """Two OPT records are an error (RFC 6891 section 6.1.1)."""
        opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
        with self.assertRaises(MessageError):
            parse(struct.pack("!HHHHHH", 1, 0x8180, 0, 0, 0, 2) + opt * 2)

    def test_lifetime(self) -> None:
        """A TTL with its highest bit set is zero, and other classes than IN are left out."""
        record = b"\0" + struct.pack("!HHIH", 1, 1, 2**31, 4) + b"\1\2\3\4"
        chaos = b"\0" + struct.pack("!HHIH", 1, 3, 5, 4) + b"\1\2\3\4"
        read = parse(self.header(answers=2) + record + chaos)
        self.assertEqual([found.ttl for found in read.answer], [0])

    @given(st.binary(max_size=300))
    @settings(max_examples=200)
    def test_anything(self, data: bytes) -> None:
        """Whatever comes is a message or refused."""
        self.read(data)
        self.read(self.header(1, 2) + data)

    @given(st.integers(0, 400), st.binary(min_size=1, max_size=4))
    @settings(max_examples=200)
    def test_changed(self, place: int, octets: bytes) -> None:
        """A good message with a few octets changed is one or refused."""
        data = answer_with(
            *(("www.example.", rrtype, text) for rrtype, text, _ in RECORDS if rrtype != "CNAME")
        )
        place %= len(data)
        self.read(data[:place] + octets + data[place + len(octets) :])
        self.read(data[:place])

    def read(self, data: bytes) -> Message | None:
        try:
            message = parse(data)
        except MessageError:
            return None
        for record in (*message.answer, *message.authority, *message.additional):
            try:
                decode(data, record)
            except MessageError:
                continue
        return message
