"""Addresses and paths of SMTP."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.address import (
    Address,
    AddressError,
    IPLiteral,
    Path,
    canonical_localpart,
    parse_mailbox,
    parse_path,
    path_end,
    quote_localpart,
)
from moxtwisted.identifiers import Domain

EXAMPLE = Domain("example.org")


class PathTests(SynchronousTestCase):
    """parse_path."""

    def test_forms(self) -> None:
        """Every form of path in RFC 5321 section 4.1.2 is read, source routes are dropped."""
        for octets, localpart, domain in (
            (b"<anna@example.org>", "anna", "example.org"),
            (b"<Anna.B+x@EXAMPLE.org>", "Anna.B+x", "example.org"),
            (b'<"anna b"@example.org>', "anna b", "example.org"),
            (b'<"a\\"\\\\b@c>"@example.org>', 'a"\\b@c>', "example.org"),
            (b'<""@example.org>', "", "example.org"),
            (b"<anna@[192.0.2.1]>", "anna", "[192.0.2.1]"),
            (b"<anna@[IPv6:2001:DB8::1]>", "anna", "[IPv6:2001:db8::1]"),
            (b"<@relay.example:anna@example.org>", "anna", "example.org"),
            (b"<@a.example,@b.example:anna@example.org>", "anna", "example.org"),
            ("<jürgen@example.org>".encode(), "jürgen", "example.org"),
            ("<anna@münster.example>".encode(), "anna", "xn--mnster-3ya.example"),
            ('<"jür gen"@example.org>'.encode(), "jür gen", "example.org"),
        ):
            path = parse_path(octets, smtputf8=True)
            assert path.address is not None
            self.assertEqual((path.address.localpart, path.address.domain.ascii), (localpart, domain))
            self.assertFalse(path.is_null)

    def test_null(self) -> None:
        """<> is the null path."""
        path = parse_path(b"<>", smtputf8=False)
        self.assertTrue(path.is_null)
        self.assertEqual((path.wire(), str(path)), (b"<>", ""))

    def test_postmaster(self) -> None:
        """<Postmaster> needs no domain, in any case of letters (RFC 5321 section 4.1.1.3)."""
        path = parse_path(b"<PostMaster>", smtputf8=False)
        self.assertTrue(path.postmaster)
        self.assertFalse(path.is_null)
        self.assertEqual(path.wire(), b"<postmaster>")

    def test_refused(self) -> None:
        """What is no path is refused."""
        for octets in (
            b"",
            b"<",
            b">",
            b"anna@example.org",
            b"<anna>",
            b"<anna@>",
            b"<@example.org>",
            b"<@a.example:>",
            b"<.anna@example.org>",
            b"<anna.@example.org>",
            b"<an..na@example.org>",
            b"<an na@example.org>",
            b'<"anna@example.org>',
            b'<"anna"b@example.org>',
            b'<an"n"a@example.org>',
            b"<anna@example.org.>",
            b"<anna@-example.org>",
            b"<anna@exa_mple.org>",
            b"<anna@192.0.2.1>",
            b"<anna@[192.0.2]>",
            b"<anna@[2001:db8::1]>",
            b"<anna@[IPv6:fe80::1%eth0]>",
            b"<anna@[tag:x]>",
            b"<anna@example.org><ben@example.org>",
            b"<anna@example.org> ",
            b"< anna@example.org>",
            b"<anna@example.org\0>",
            b"<an\rna@example.org>",
            b'<"an\nna"@example.org>',
            b"<anna@ex\xffample.org>",
            b"<\xff@example.org>",
            b"<a(comment)@example.org>",
        ):
            self.assertRaises(AddressError, parse_path, octets, smtputf8=True)

    def test_utf8_only_when_announced(self) -> None:
        """Octets above 127 are refused without SMTPUTF8 (RFC 6531 section 3.4)."""
        self.assertRaises(AddressError, parse_path, "<jürgen@example.org>".encode(), smtputf8=False)
        self.assertRaises(AddressError, parse_path, "<j@münster.example>".encode(), smtputf8=False)

    def test_limits(self) -> None:
        """64 octets of local part and 256 of path are the most, unless the caller allows more for VERP."""
        parse_path(b"<" + b"a" * 64 + b"@example.org>", smtputf8=False)
        long = b"<" + b"a" * 65 + b"@example.org>"
        self.assertRaises(AddressError, parse_path, long, smtputf8=False)
        self.assertEqual(parse_path(long, smtputf8=False, max_localpart_octets=128).wire(), long)
        self.assertRaises(AddressError, parse_path, "<{}@x>".format("ü" * 33).encode(), smtputf8=True)
        domain = b".".join([b"d" * 60] * 4)
        self.assertRaises(AddressError, parse_path, b"<abcdefghijklmnopq@" + domain + b">", smtputf8=False)

    def test_end(self) -> None:
        """The end of a path is found behind > signs in quoted strings."""
        line = b'MAIL FROM:<"a>b\\">"@example.org> SIZE=1'
        end = path_end(line, 10)
        self.assertEqual(line[10:end], b'<"a>b\\">"@example.org>')
        self.assertEqual(path_end(b"<a@b>x>"), 5)
        for octets in (b"", b"a", b"<a@b", b'<"a>', b'<"a\\'):
            self.assertRaises(AddressError, path_end, octets)


class AddressTests(SynchronousTestCase):
    """Address."""

    def test_wire(self) -> None:
        """The wire form quotes what needs quotes, and uses U-labels only with SMTPUTF8."""
        address = Address("john doe", Domain.parse("münster.example"))
        self.assertEqual(address.wire(), b'"john doe"@xn--mnster-3ya.example')
        self.assertEqual(address.wire(smtputf8=True), '"john doe"@münster.example'.encode())
        self.assertEqual(str(address), '"john doe"@münster.example')
        self.assertEqual(Address("a", IPLiteral(ip_address("::1"))).wire(), b"a@[IPv6:::1]")

    def test_needs_smtputf8(self) -> None:
        """A local part beyond ASCII needs SMTPUTF8, a domain does not."""
        self.assertTrue(Address.parse("jürgen@example.org").needs_smtputf8)
        self.assertFalse(Address.parse("j@münster.example").needs_smtputf8)

    def test_text_that_cannot_be_encoded(self) -> None:
        """Lone surrogates are no address."""
        self.assertRaises(AddressError, Address.parse, "\ud800@example.org")

    def test_path_text(self) -> None:
        """A path reads like its address."""
        path = Path(Address("a", EXAMPLE))
        self.assertEqual((str(path), path.wire()), ("a@example.org", b"<a@example.org>"))
        self.assertEqual(str(Path(None, True)), "postmaster")

    @settings(max_examples=200)
    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
    def test_any_local_part_survives(self, localpart: str) -> None:
        """Every printable local part can be written and read again."""
        written = Address(localpart, EXAMPLE).wire()
        self.assertEqual(parse_mailbox(written, smtputf8=False), Address(localpart, EXAMPLE))
        self.assertTrue(quote_localpart(localpart).isascii())

    @settings(max_examples=200)
    @given(st.binary(max_size=60), st.booleans())
    def test_any_octets(self, octets: bytes, smtputf8: bool) -> None:
        """Any octets are a path or an AddressError, and what was read can be written and read again."""
        for candidate in (octets, b"<" + octets + b">", b"<a@" + octets + b">"):
            try:
                path = parse_path(candidate, smtputf8=smtputf8)
            except AddressError:
                continue
            self.assertEqual(parse_path(path.wire(smtputf8=smtputf8), smtputf8=smtputf8), path)


class CanonicalTests(SynchronousTestCase):
    """canonical_localpart."""

    def test_cut(self) -> None:
        """The separator that stands first cuts, but never leaves nothing."""
        for localpart, separators, expected in (
            ("Anna+list", ["+"], "anna"),
            ("anna-x+y", ["+", "-"], "anna"),
            ("anna--x", ["--"], "anna"),
            ("+list", ["+"], "+list"),
            ("++list", ["+"], "+"),
            ("anna", ["+"], "anna"),
            ("anna+x", [], "anna+x"),
            ("anna+x", [""], "anna+x"),
        ):
            self.assertEqual(canonical_localpart(localpart, separators, case_sensitive=False), expected)

    def test_case(self) -> None:
        """Case is folded unless it matters there, and Unicode is composed."""
        self.assertEqual(canonical_localpart("Anna", [], case_sensitive=True), "Anna")
        self.assertEqual(canonical_localpart("JU\u0308RGEN", [], case_sensitive=False), "j\u00fcrgen")
