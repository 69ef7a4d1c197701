"""Records and macros of SPF, before anybody is asked."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.spf.macros import (
    Macro,
    SPFSyntaxError,
    parse_domain_spec,
    parse_explanation,
    parse_macro_string,
)
from moxtwisted.mailauth.spf.record import (
    All,
    Exchangers,
    Exists,
    Hosts,
    Include,
    Network,
    Qualifier,
    Reverse,
    is_spf,
    parse_record,
)

# RFC 7208 section 7.4: the values of the letters in its examples.
EXAMPLE = {
    "s": "strong-bad@email.example.com",
    "l": "strong-bad",
    "o": "email.example.com",
    "d": "email.example.com",
    "i": "192.0.2.3",
    "v": "in-addr",
    "h": "mx.example.org",
    "p": "mx.example.org",
}
EXAMPLE6 = {
    **EXAMPLE,
    "v": "ip6",
    "i": "2.0.0.1.0.D.B.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.C.B.0.1",
}


class MacroTests(SynchronousTestCase):
    def test_examples_of_the_standard(self) -> None:
        """The examples of RFC 7208 section 7.4 come out as printed there."""
        for text, expected in (
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l-}", "strong.bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ):
            self.assertEqual(parse_macro_string(text).expand(EXAMPLE.__getitem__), expected)
        self.assertEqual(
            parse_domain_spec("%{ir}.%{v}._spf.%{d2}").expand(EXAMPLE6.__getitem__),
            "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com",
        )

    def test_upper_case_is_escaped(self) -> None:
        """A macro in upper case is escaped as in URLs; percent signs and blanks have spellings of their own."""
        explained = parse_explanation("see http://x.example/%{S}?a=%%%_%-")
        self.assertEqual(
            explained.expand(EXAMPLE.__getitem__),
            "see http://x.example/strong-bad%40email.example.com?a=% %20",
        )

    def test_parts(self) -> None:
        """What stands between the braces is taken apart."""
        self.assertEqual(parse_macro_string("%{L10R-+}").parts, (Macro("l", True, 10, True, "-+"),))
        many = parse_macro_string("%{d99999999999999999999}").parts[0]
        self.assertEqual(many, Macro("d", parts=128))

    def test_what_is_none(self) -> None:
        """Everything that is no macro is an error, and so are letters of explanations elsewhere."""
        for text in ("%", "%x", "%{}", "%{d", "%{q}", "%{d0}", "%{d-2}", "%{d00}", "a b", "a\x7f", "ä"):
            self.assertRaises(SPFSyntaxError, parse_macro_string, text)
        for text in ("", "host", "%{i}x", "%{c}.example", "x.%{r}", "x.123", "x.-a", "x.a-", "x..", "%{t}"):
            self.assertRaises(SPFSyntaxError, parse_domain_spec, text)
        for text in ("a.example", "a.example.", "%{d}", "x%%", "a-b.x-1", "_spf.xn--p1ai", "%{i}.1a"):
            self.assertEqual(parse_domain_spec(text).text, text)


class RecordTests(SynchronousTestCase):
    def test_mechanisms(self) -> None:
        """Each mechanism has its class, with what belongs to it."""
        record = parse_record(
            "v=spf1 +a ?a:x.example/24 mx//64 -mx:y.example/8//48 ptr ptr:z.example ip4:192.0.2.77/24 ip6:2001:DB8::1 "
            "~exists:%{i}.x.example include:i.example ALL"
        )
        self.assertEqual(
            [type(directive) for directive in record.directives],
            [Hosts, Hosts, Exchangers, Exchangers, Reverse, Reverse, Network, Network, Exists, Include, All],
        )
        signs = "".join(directive.qualifier.value for directive in record.directives)
        self.assertEqual(signs, "+?+-++++~++")
        first, second, third, fourth = record.directives[:4]
        self.assertEqual(first, Hosts(Qualifier.PASS, "a", None))
        self.assertEqual((second.prefix4, second.prefix6), (24, 128))  # type: ignore[attr-defined]
        self.assertEqual((third.prefix4, third.prefix6), (32, 64))  # type: ignore[attr-defined]
        self.assertEqual((fourth.prefix4, fourth.prefix6), (8, 48))  # type: ignore[attr-defined]
        networks = [directive.network for directive in record.directives if isinstance(directive, Network)]
        self.assertEqual(networks, [ip_network("192.0.2.0/24"), ip_network("2001:db8::1/128")])

    def test_modifiers(self) -> None:
        """Two modifiers are known, others are kept."""
        record = parse_record("v=spf1 REDIRECT=x.example exp=y.example ra=postmaster x-1=%{l}")
        assert record.redirect is not None
        assert record.explanation is not None
        self.assertEqual((record.redirect.text, record.explanation.text), ("x.example", "y.example"))
        self.assertEqual([name for name, _ in record.modifiers], ["ra", "x-1"])

    def test_errors_are_located(self) -> None:
        """An error says at which term it is, and where that begins."""
        for term in (
            "moo", "a:", "a/33", "a//129", "a/024", "a/", "a/24/64", "ax.example", "mx/a", "ip4:1.2.3", "ip4:1.2.3.256",
            "ip4:1.2.3.4/33", "ip4:1.2.3.4//24", "ip4", "ip6:::g", "ip6:::1%eth0", "ip6:::1/129", "ip6:::1/", "all:x", "all/8", "include",
            "include:x.example/24", "exists", "exists:", "ptr/24", "-", "=x", "1a=b", "redirect=", "exp=x", "+a=",
            "a\tb", "x=%{q}",
        ):  # fmt: skip
            with self.subTest(term):
                error = self.assertRaises(SPFSyntaxError, parse_record, f"v=spf1 ip4:192.0.2.1  {term} -all")
                self.assertEqual((error.term, error.position), (term.split(" ")[0], 22))

    def test_twice(self) -> None:
        """The known modifiers may stand there once, unknown ones as often as they like."""
        for name in ("redirect", "exp"):
            error = self.assertRaises(
                SPFSyntaxError, parse_record, f"v=spf1 {name}=x.example {name}=y.example"
            )
            self.assertEqual(error.term, f"{name}=y.example")
        parse_record("v=spf1 a=b a=c")

    def test_which_are_records(self) -> None:
        """A record begins with its version, and nothing is stuck to that."""
        for text in (b"v=spf1", b"V=SPF1 a", b"v=spf1 "):
            self.assertTrue(is_spf(text))
        for text in (b"v=spf10", b"v=spf1\ta", b" v=spf1", b"v=spf2.0/pra", b"", b"spf1"):
            self.assertFalse(is_spf(text))
        self.assertRaises(SPFSyntaxError, parse_record, "v=spf10")

    def test_size(self) -> None:
        """A record of more than 16,384 characters is refused without being read."""
        self.assertEqual(len(parse_record("v=spf1" + " ip4:192.0.2.1" * 1000).directives), 1000)
        self.assertRaises(SPFSyntaxError, parse_record, "v=spf1" + " ip4:192.0.2.1" * 1200)

    @settings(max_examples=200, derandomize=True, database=None)
    @given(st.lists(st.text(alphabet="aimx:/.=%{}dr0123456789-+~? ", max_size=20), max_size=6))
    def test_any_text(self, terms: list[str]) -> None:
        """Whatever stands there is read, or refused with the error for it."""
        text = "v=spf1 " + " ".join(terms)
        try:
            self.assertEqual(parse_record(text).text, text)
        except SPFSyntaxError as e:
            self.assertIn(e.term, text)
