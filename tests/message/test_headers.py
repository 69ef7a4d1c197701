"""Header blocks, encoded words, parameters."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.charset import decode, decode_unlabelled, python_codec
from moxtwisted.message.headers import (
    MAX_FIELDS,
    MAX_PARAMETERS,
    ContentType,
    Header,
    decode_words,
    iterate_values,
    message_ids,
    parse_content_type,
    parse_disposition,
    replace_fields,
    select_fields,
    unfold,
)


class HeaderTests(SynchronousTestCase):
    """Cutting a block into fields."""

    def test_fields(self) -> None:
        """Fields keep their order, their raw octets and all their values."""
        header = Header.parse(
            b"To: a\r\nX:\r\nTO: b\r\n c\r\nSubject : d\r\n\r\nBody: no\r\n"[:-12] + b"\r\n"
        )
        self.assertEqual(header.values[b"to"], [b" a\r\n", b" b\r\n c\r\n"])
        self.assertEqual([name for _, name in header.fields], [b"to", b"x", b"to", b"subject"])
        self.assertEqual(header.unfolded(b"to"), b"a")
        self.assertEqual(header.get(b"subject"), b" d\r\n")
        self.assertEqual(
            (header.get(b"none"), header.text(b"none"), header.unfolded(b"none")), (None, "", b"")
        )
        self.assertEqual(list(iterate_values(header, {b"to", b"x"})), [b" a\r\n", b"\r\n", b" b\r\n c\r\n"])

    def test_lines_that_are_no_fields(self) -> None:
        """Lines without a name before a colon are passed over, with what is folded under them."""
        header = Header.parse(b"From x Fri\r\n folded: no\r\n: nothing\r\nA b: c\r\n\xff: d\r\nReal: yes\r\n")
        self.assertEqual(header.fields, [(b"Real: yes\r\n", b"real")])

    def test_too_many_fields(self) -> None:
        """No more than ten thousand fields are looked at."""
        self.assertEqual(len(Header.parse(b"a:\n" * (MAX_FIELDS + 5)).fields), MAX_FIELDS)

    def test_unfold(self) -> None:
        """Unfolding takes line ends away and nothing else (RFC 5322 section 2.2.3)."""
        self.assertEqual(unfold(b" a\r\n b\n\tc \r\n"), b"a b\tc")

    def test_select(self) -> None:
        """Fields are chosen by name in any case, raw, and end in an empty line."""
        block = b"A: 1\r\nb: 2\r\n folded\r\na: 3\r\nC: 4\r\n\r\n"
        self.assertEqual(select_fields(block, [b"A", b"x"]), b"A: 1\r\na: 3\r\n\r\n")
        self.assertEqual(select_fields(block, [b"a"], exclude=True), b"b: 2\r\n folded\r\nC: 4\r\n\r\n")
        self.assertEqual(select_fields(block, []), b"\r\n")
        self.assertEqual(select_fields(b"A: 1", [b"a"]), b"A: 1\r\n\r\n")

    def test_replace(self) -> None:
        """Fields are replaced and removed where they stand; lines that are none, and what is like a field within one, stay."""
        block = b"From x\r\nA: 1\r\nb: A: 1\r\n A: 1\r\na: 1\r\n\r\n"
        header = Header.parse(block)
        self.assertIs(replace_fields(header, {}), header.octets)
        self.assertEqual(
            replace_fields(header, {0: b"A: new\r\n", 2: b""}),
            b"From x\r\nA: new\r\nb: A: 1\r\n A: 1\r\n\r\n",
        )
        self.assertEqual(replace_fields(Header.parse(b"A: 1\r\nB: 2"), {1: b"C: 3\r\n"}), b"A: 1\r\nC: 3\r\n")

    def test_message_ids(self) -> None:
        """Identifiers come in order, each once, whatever stands between."""
        self.assertEqual(message_ids(b" <a@b>\r\n\t<c@d>, text <a@b> <e f> <>"), ["a@b", "c@d"])
        self.assertEqual(message_ids(b"<fol\r\nded@x>"), ["folded@x"])

    @settings(max_examples=100)
    @given(st.binary(max_size=200))
    def test_any_octets(self, octets: bytes) -> None:
        """Any octets can be parsed, and fields and the rest of the block make up what was there."""
        header = Header.parse(octets)
        for raw, name in header.fields:
            self.assertIn(raw, octets)
            self.assertEqual(name, name.lower())
        header.text(b"subject")
        select_fields(octets, [b"subject"])


class WordTests(SynchronousTestCase):
    """RFC 2047, as senders practise it."""

    def test_examples(self) -> None:
        """The examples of RFC 2047 section 8 and much that is broken."""
        for octets, text in (
            (b"=?ISO-8859-1?Q?a?=", "a"),
            (b"=?ISO-8859-1?Q?a?= b", "a b"),
            (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            (b"=?ISO-8859-1?Q?a?=  \r\n =?ISO-8859-1?Q?b?=", "ab"),
            (b"=?ISO-8859-1?Q?a_b?=", "a b"),
            (b"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
            (b"=?utf-8*en?Q?a?=", "a"),
            (b"x =?utf-8?B?w7w=?= y", "x ü y"),
            (b"(=?utf-8?q?a?=)", "(a)"),
            (b"a=?utf-8?q?=C3=BC?=b", "aüb"),
            (b"=?utf-8?B?w7w?=", "ü"),
            (b"=?utf-8?B?w!7 w=?=", "ü"),
            (b"=?utf-8?B?w?= =?utf-8?B?7w=?=", "ï"),
            (b"=?utf-8?Q?=C3?= =?utf-8?Q?=BC?=", "ü"),
            (b"=?utf-8?Q?two words?=", "two words"),
            (b"=?utf-8?X?a?=", "=?utf-8?X?a?="),
            (b"=?utf-8?Q?open", "=?utf-8?Q?open"),
            (b"=?unknown?Q?=E9?=", "é"),
            (b"=?gb2312?B?xOO6ww==?=", "你好"),
            (b"=?iso-2022-jp?B?GyRCJDMkcyRLJEEkTxsoQg==?=", "こんにちは"),
            (b"=?ks_c_5601-1987?B?vsiz5w==?=", "안녕"),
            (b"=?hex?Q?61?=", "61"),
            (b"\xfc and \xff", "ü and ÿ"),
            (b"plain", "plain"),
            (b"", ""),
        ):
            self.assertEqual(decode_words(octets), text, octets)

    def test_charsets(self) -> None:
        """Labels mean what senders mean, and codecs that are no charsets are refused."""
        self.assertEqual(python_codec("ISO-8859-1"), "cp1252")
        self.assertEqual(python_codec(" 'UTF8' "), "utf-8")
        for label in (
            "",
            "hex",
            "rot13",
            "zlib",
            "idna",
            "punycode",
            "unicode_escape",
            "x" * 100,
            "ü",
            "a\0b",
        ):
            self.assertEqual(python_codec(label), "", label)
        self.assertEqual(decode(b"\x80", "us-ascii"), "€")
        self.assertEqual(decode(b"a", "utf-16"), decode(b"a", "utf-16"))

    def test_cut_utf8_stays_utf8(self) -> None:
        """UTF-8 that lost a few octets is not taken for windows-1252."""
        self.assertEqual(decode_unlabelled("Grüße für dich".encode() + b"\xc3"), "Grüße für dich\ufffd")

    @settings(max_examples=150)
    @given(st.binary(max_size=100), st.text(max_size=20))
    def test_any_octets(self, octets: bytes, label: str) -> None:
        """Any octets under any label make text."""
        self.assertIsInstance(decode(octets, label), str)
        self.assertIsInstance(decode_words(octets), str)
        self.assertIsInstance(decode_words(b"=?" + octets + b"?q?" + octets + b"?="), str)


class ParameterTests(SynchronousTestCase):
    """Content-Type, Content-Disposition, RFC 2231."""

    def parameters(self, value: bytes) -> dict[str, bytes]:
        found = parse_content_type(b"a/b" + value)
        assert found is not None
        return dict(found.parameters)

    def test_types(self) -> None:
        """Types are put in lower case; what is none is None."""
        self.assertEqual(parse_content_type(b" Text / HTML \r\n"), ContentType("text", "html"))
        self.assertEqual(parse_content_type(b"text/plain charset=x"), ContentType("text", "plain"))
        self.assertEqual(parse_content_type(b"text/plain(comment)"), ContentType("text", "plain"))
        for value in (b"", b"text", b"text/", b"/plain", b"te xt/plain", b"text/pl@in", b"\xff/a"):
            self.assertIsNone(parse_content_type(value), value)

    def test_values(self) -> None:
        """Quoted, bare, commented, empty and doubled values."""
        for value, expected in (
            (b"; a=b", {"a": b"b"}),
            (b";A=b;;c=d;", {"a": b"b", "c": b"d"}),
            (b'; a="b;c"; d=e', {"a": b"b;c", "d": b"e"}),
            (b'; a="b\\"c\\\\"', {"a": b'b"c\\'}),
            (b'; a="open', {"a": b"open"}),
            (b"; a=us-ascii (plain)", {"a": b"us-ascii"}),
            (b"; a=two words (1).pdf", {"a": b"two words (1).pdf"}),
            (b"; a=1; a=2", {"a": b"1"}),
            (b"; a=; b", {"a": b""}),
            (b"; a = \r\n\t b", {"a": b"b"}),
        ):
            self.assertEqual(self.parameters(value), expected, value)

    def test_continuations(self) -> None:
        """RFC 2231: continued values are joined in their order, gaps end them, charsets are decoded."""
        self.assertEqual(self.parameters(b"; a*1=2; a*0=1; a*3=4"), {"a": b"12"})
        found = parse_content_type(b"a/b; n*0*=utf-8'de'%C3; n*1*=%BC; n*2=%41")
        assert found is not None
        self.assertEqual(found.parameter("n"), "ü%41")
        for value, text in (
            (b"n*=iso-8859-1''%FC", "ü"),
            (b"n*=%C3%BC", "ü"),
            (b"n*=utf-8''%C3%BC; n=u", "ü"),
            (b"n=u; n*=utf-8''%C3%BC", "ü"),
            (b'n="=?utf-8?q?=C3=BC?="', "ü"),
            (b"n=\xc3\xbc", "ü"),
            (b"n*=utf-8''%zz%4", "%zz%4"),
            (b"m=x", ""),
        ):
            found = parse_content_type(b"a/b; " + value)
            assert found is not None
            self.assertEqual(found.parameter("n"), text, value)

    def test_disposition(self) -> None:
        """A disposition is a word and parameters."""
        found = parse_disposition(b' ATTACHMENT; filename="a b.txt"')
        assert found is not None
        self.assertEqual((found.kind, found.parameter("filename")), ("attachment", "a b.txt"))
        self.assertIsNone(parse_disposition(b""))
        self.assertIsNone(parse_disposition(b'; filename="x"'))

    def test_too_many(self) -> None:
        """Only so many parameters are looked at."""
        value = b"".join(b"; a%d=x" % i for i in range(500))
        self.assertEqual(len(self.parameters(value)), MAX_PARAMETERS)

    @settings(max_examples=150)
    @given(st.text(st.sampled_from("ab*0129=;\"\\ '%()\r\n\t/"), max_size=60))
    def test_any_value(self, text: str) -> None:
        """Any value is read without failing."""
        found = parse_content_type(b"a/b;" + text.encode())
        if found is not None:
            for name, _ in found.parameters:
                found.parameter(name.rstrip("*"))
