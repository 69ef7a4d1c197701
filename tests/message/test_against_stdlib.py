"""Where the standard library's email package must agree with us, it does."""

from __future__ import annotations

import email
import email.header
import email.message
import email.utils
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.addresslist import mailboxes
from moxtwisted.message.compose import compose, encode_words, format_address, text_entity
from moxtwisted.message.dates import parse_date, render_date
from moxtwisted.message.headers import decode_words, parse_content_type
from moxtwisted.message.mime import Part
from moxtwisted.message.text import decode_transfer, part_text
from tests.message.test_corpus import scan

BODY_LINES = st.lists(
    st.sampled_from([b"", b"text", b"-", b"--", b"-- x", b"--other", b"x: y", b"\xe4"]), max_size=5
)
LEAF_TYPES = st.sampled_from(
    [None, b"text/plain", b"text/html; charset=utf-8", b"image/png", b"application/x-y"]
)
Tree = tuple[Any, ...]


def trees() -> st.SearchStrategy[Tree]:
    """Leaves (type, lines) and nodes (kind, children)."""
    leaves = st.tuples(st.just("leaf"), LEAF_TYPES, BODY_LINES)
    return st.recursive(
        leaves,
        lambda below: st.one_of(
            st.tuples(
                st.just("multipart"),
                st.sampled_from([b"mixed", b"alternative"]),
                st.lists(below, min_size=1, max_size=3),
            ),
            st.tuples(st.just("message"), below),
        ),
        max_leaves=8,
    )


def build(node: Tree, end: bytes, numbers: list[int]) -> bytes:
    """A MIME entity, every boundary another."""
    if node[0] == "leaf":
        _, kind, lines = node
        head = b"" if kind is None else b"Content-Type: %b" % kind + end
        return head + end + b"".join(line + end for line in lines)
    if node[0] == "message":
        return b"Content-Type: message/rfc822" + end + end + build(node[1], end, numbers)
    numbers[0] += 1
    mark = b"=_%d_" % numbers[0]
    parts = [b"--" + mark + end + build(child, end, numbers) + end for child in node[2]]
    return (
        b'Content-Type: multipart/%b; boundary="%b"' % (node[1], mark)
        + end
        + end
        + b"".join(parts)
        + b"--"
        + mark
        + b"--"
        + end
    )


def ours(part: Part, octets: bytes) -> object:
    kind = f"{part.content_type.type}/{part.content_type.subtype}"
    if part.children:
        return kind, [ours(child, octets) for child in part.children]
    return kind, octets[part.body_start : part.body_end]


def theirs(message: Any) -> object:
    payload = message.get_payload()
    if isinstance(payload, list):
        return message.get_content_type(), [theirs(child) for child in payload]
    return message.get_content_type(), message.get_payload(decode=True)


class StructureTests(SynchronousTestCase):
    """Well-formed MIME."""

    @settings(max_examples=150)
    @given(trees(), st.sampled_from([b"\r\n", b"\n"]))
    def test_trees(self, node: Tree, end: bytes) -> None:
        """Both see the same parts with the same octets."""
        octets = b"Subject: x" + end + build(node, end, [0])
        self.assertEqual(ours(scan(octets).root, octets), theirs(email.message_from_bytes(octets)))

    @settings(max_examples=100)
    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60))
    def test_parameters(self, value: str) -> None:
        """A parameter that the library encodes by RFC 2231 is read back."""
        message = email.message.Message()
        message.add_header("Content-Type", "text/plain", name=("utf-8", "", value))
        found = parse_content_type(str(message["Content-Type"]).encode())
        assert found is not None
        self.assertEqual(found.parameter("name"), value)

    @settings(max_examples=100)
    @given(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).filter(
            lambda t: "=?" not in t
        )
    )
    def test_quoted_parameters(self, value: str) -> None:
        """So is one that it quotes."""
        message = email.message.Message()
        message.add_header("Content-Type", "text/plain", name=value)
        found = parse_content_type(str(message["Content-Type"]).encode())
        assert found is not None
        self.assertEqual(found.parameter("name"), value)


class FieldTests(SynchronousTestCase):
    """Dates, words, addresses."""

    @settings(max_examples=150)
    @given(st.integers(-2_000_000_000, 200_000_000_000), st.integers(-720, 840))
    def test_dates(self, seconds: int, zone: int) -> None:
        """Dates that we write the library reads, and the other way round."""
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        local = moment.astimezone(timezone(timedelta(minutes=zone)))
        self.assertEqual(email.utils.parsedate_to_datetime(render_date(seconds, zone).decode()), local)
        self.assertEqual(parse_date(email.utils.format_datetime(local).encode()), seconds)

    @settings(max_examples=150)
    @given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=100))
    def test_words(self, text: str) -> None:
        """Text that the library encodes in words we decode, and the other way round."""
        clean = " ".join(text.split())
        encoded = email.header.Header(clean, "utf-8").encode()
        self.assertEqual(decode_words(encoded.encode()), clean)
        parts = email.header.decode_header(encode_words(clean))
        joined = "".join(p.decode(c or "ascii") if isinstance(p, bytes) else p for p, c in parts)
        self.assertEqual(joined, clean)

    @settings(max_examples=150)
    @given(
        st.lists(
            st.tuples(
                st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
                st.from_regex(r"\A[a-z0-9.+_-]{1,10}@[a-z]{1,8}\.example\Z"),
            ),
            min_size=1,
            max_size=5,
        )
    )
    def test_addresses(self, pairs: list[tuple[str, str]]) -> None:
        """Address lists that we write both read alike."""
        wanted = [(" ".join(name.split()), address) for name, address in pairs]
        field = ", ".join(format_address(name, address) for name, address in wanted)
        found = [(a.name.decode() if a.name else "", a.address) for a in mailboxes(field.encode())]
        self.assertEqual(found, wanted)

    @settings(max_examples=100)
    @given(
        st.text(
            st.characters(
                exclude_categories=["Cs"], exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
            ),
            max_size=300,
        )
    )
    def test_composed_text(self, text: str) -> None:
        """Text that we compose comes back from the library and from our own reading."""
        octets = compose([("From", "a@a.example"), ("Subject", "x")], text)
        self.assertNotRegex(octets.decode("latin-1"), r"(?<!\r)\n|\r(?!\n)")
        self.assertTrue(all(len(line) <= 998 for line in octets.split(b"\r\n")))
        wanted = text if not text or text.endswith("\n") else text + "\n"
        message = email.message_from_bytes(octets)
        payload = message.get_payload(decode=True)
        assert isinstance(payload, bytes)
        self.assertEqual(payload.decode("utf-8").replace("\r\n", "\n"), wanted)
        root = scan(octets).root
        read = part_text(root, octets[root.body_start : root.body_end])
        self.assertEqual(read.replace("\r\n", "\n"), wanted)

    @settings(max_examples=100)
    @given(st.binary(max_size=100))
    def test_any_octets_decode(self, octets: bytes) -> None:
        """Any octets can be decoded from any transfer encoding."""
        for encoding in ("base64", "quoted-printable", "x-uuencode", "7bit", "none"):
            self.assertIsInstance(decode_transfer(octets, encoding), bytes)
        self.assertTrue(text_entity(octets.decode("latin-1")))
