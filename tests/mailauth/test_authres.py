"""Authentication-Results."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.authres import (
    MAX_OCTETS,
    MAX_RESULTS,
    AuthenticationResults,
    MethodResult,
    Property,
    authserv_id,
    claims,
    parse_results,
    without_claims,
)
from moxtwisted.message.headers import Header

#: RFC 8601 appendix B.
EXAMPLES = (
    b" example.org 1; none\r\n",
    b" example.com;\r\n  spf=pass smtp.mailfrom=example.net\r\n",
    b" example.com;\r\n  auth=pass (cleartext) smtp.auth=sender@example.net;\r\n  spf=pass smtp.mailfrom=example.net\r\n",
    (
        b" example.com;\r\n dkim=pass (good signature) header.d=mail-router.example.net;\r\n"
        b' dkim=fail reason="bad signature" header.d=newyork.example.com\r\n'
    ),
    (
        b" foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n"
        b" policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) 1362471462\r\n"
    ),
)
VALUES = st.text(alphabet='ab.@-;=()"\\ ü\t', min_size=1, max_size=12)
WORDS = st.from_regex(r"[a-z][a-z0-9-]{0,6}", fullmatch=True)


class ReadingTests(SynchronousTestCase):
    def read(self, value: bytes) -> AuthenticationResults:
        """A value that can be read."""
        found = parse_results(value)
        assert found is not None
        return found

    def test_examples(self) -> None:
        """The examples of RFC 8601 come out as they are meant."""
        none, spf, auth, dkim, odd = map(self.read, EXAMPLES)
        self.assertEqual((none.authserv_id, none.version, none.results), ("example.org", 1, ()))
        self.assertEqual(spf.of("spf")[0].value("smtp", "mailfrom"), "example.net")
        self.assertEqual(auth.of("auth")[0].value("smtp", "auth"), "sender@example.net")
        self.assertEqual([result.result for result in dkim.of("dkim")], ["pass", "fail"])
        self.assertEqual(dkim.of("dkim")[1].reason, "bad signature")
        self.assertEqual(
            odd.results,
            (MethodResult("dkim", "fail", properties=(Property("policy", "expired", "1362471462"),)),),
        )

    def test_tolerant(self) -> None:
        """A result that cannot be read is passed over, the others are kept; strings may have semicolons in them."""
        found = self.read(b'mx.example; what is this; spf=pass; ; dkim=pass reason="a;b" header.d=x')
        self.assertEqual([result.method for result in found.results], ["spf", "dkim"])
        self.assertEqual(found.results[1].reason, "a;b")

    def test_not_readable(self) -> None:
        """Without a host, or with a comment or a string left open, there is nothing to be read."""
        for value in (b"", b";", b"(a b; spf=pass", b'a; reason="b', b"a b c; none", b"x" * (MAX_OCTETS + 1)):
            self.assertIsNone(parse_results(value), value[:20])

    def test_bounds(self) -> None:
        """Thousands of results are not looked at."""
        self.assertEqual(len(self.read(b"a;" + b"s=p;" * 2000).results), MAX_RESULTS)


class WritingTests(SynchronousTestCase):
    def test_field(self) -> None:
        """Comments, reasons and properties stand where they belong, quoted where they must be, folded."""
        results = AuthenticationResults(
            "mx.example.org",
            (
                MethodResult(
                    "dkim",
                    "pass",
                    properties=(Property("header", "d", "example.com"),),
                    comment="2048-bit rsa (key)",
                ),
                MethodResult(
                    "spf", "fail", 'no "such" host', (Property("smtp", "mailfrom", "a b@example.com"),)
                ),
            ),
        )
        self.assertEqual(
            results.field(),
            b"Authentication-Results: mx.example.org;\r\n"
            b"\tdkim=pass (2048-bit rsa key ) header.d=example.com;\r\n"
            b'\tspf=fail reason="no \\"such\\" host" smtp.mailfrom="a b@example.com"\r\n',
        )

    def test_none(self) -> None:
        """Nothing was done."""
        self.assertEqual(
            AuthenticationResults("mx.example.org").field(),
            b"Authentication-Results: mx.example.org; none\r\n",
        )

    def test_internationalised(self) -> None:
        """In internationalised mail UTF-8 stands as it is; elsewhere domains become A-labels, and local parts are left out."""
        results = AuthenticationResults(
            "münchen.example",
            (
                MethodResult(
                    "spf", "pass", properties=(Property("smtp", "mailfrom", "jörg@münchen.example"),)
                ),
            ),
        )
        self.assertIn("mailfrom=jörg@münchen.example".encode(), results.payload(utf8=True))
        self.assertEqual(
            results.payload(), b"xn--mnchen-3ya.example;\r\n\tspf=pass smtp.mailfrom=@xn--mnchen-3ya.example"
        )

    def test_injection(self) -> None:
        """Nothing that a sender chose gets out of its value."""
        evil = 'x";\r\n dkim=pass header.d=bank.example; (\\'
        results = AuthenticationResults(
            "mx.example.org",
            (MethodResult("spf", "fail", evil, (Property("smtp", "mailfrom", evil),), evil),),
        )
        field = results.field()
        self.assertEqual(field.count(b"\r\n"), len(field.split(b"\r\n\t")))
        again = parse_results(field.partition(b":")[2])
        assert again is not None
        self.assertEqual([result.method for result in again.results], ["spf"])

    def test_round_trip(self) -> None:
        """What is written is read as it was, but for comments and what cannot be shown."""

        @given(st.lists(st.tuples(WORDS, WORDS, VALUES, VALUES), max_size=4))
        @settings(max_examples=150)
        def check(rows: list[tuple[str, str, str, str]]) -> None:
            rows = [(a, b, c.replace("\t", " "), d.replace("\t", " ")) for a, b, c, d in rows]
            results = AuthenticationResults(
                "mx.example.org",
                tuple(MethodResult(a, b, c, (Property("header", "x", d),), "note") for a, b, c, d in rows),
            )
            again = parse_results(results.payload(utf8=True))
            assert again is not None
            self.assertEqual(
                [(r.method, r.result, r.reason, r.value("header", "x")) for r in again.results], rows
            )

        check()

    def test_further_property(self) -> None:
        """With a further property a result is as if it had been made with it, folds included."""

        @given(st.lists(VALUES | st.text(alphabet="ab", max_size=80), min_size=1, max_size=6), VALUES)
        @settings(max_examples=150)
        def check(values: list[str], reason: str) -> None:
            properties = tuple(Property("header", "x", value) for value in values)
            made = MethodResult("dkim", "fail", reason, properties, "note")
            extended = MethodResult("dkim", "fail", reason, properties[:-1], "note").with_property(
                properties[-1]
            )
            self.assertEqual(extended, made)
            for utf8 in (False, True):
                self.assertEqual(extended.line(utf8=utf8), made.line(utf8=utf8))

        check()


class ClaimTests(SynchronousTestCase):
    def test_whose(self) -> None:
        """The host is the first word, whatever stands around it."""
        for value, name in (
            (b" mx.example.org; none", "mx.example.org"),
            (b' (a) "MX.example.org" 1 (b)\r\n ; none', "mx.example.org"),
            (b"mx.example.org. 1", "mx.example.org"),
            (b"", None),
            (b"(mx.example.org", None),
        ):
            self.assertEqual(authserv_id(value), name)

    def test_claims(self) -> None:
        """A field with one of our names, in any form, or one that cannot be read claims to be ours."""
        names = {"mx.example.org", "münchen.example"}
        for value in (
            b"MX.Example.ORG; none",
            b"xn--mnchen-3ya.example",
            "MÜNCHEN.example;".encode(),
            b"",
            b"(x",
            b"mx.example.org/1; x",
            b"mx . example.org; x",
            b"mx(x).example. org 1; x",
            b"other.example, mx.example.org; x",
            b"=?utf-8?q?mx.example.org?=; x",
        ):
            self.assertTrue(claims(value, names), value)
        for value in (b"mx.example.net; none", b"xmx.example.org; none", b"example.org (mx.example.org)"):
            self.assertFalse(claims(value, names), value)

    def test_removed(self) -> None:
        """Only the fields that claim to be ours go; everything else stays octet by octet."""
        ours = b"Authentication-Results: mx.example.org;\r\n\tspf=pass\r\n"
        rest = b"A: b\r\nno field\r\nX-Authentication-Results: mx.example.org;\r\n\tspf=pass\r\nAuthentication-Results: other; none\r\n\r\n"
        self.assertEqual(without_claims(Header.parse(ours + rest), {"mx.example.org"}), rest)
        self.assertEqual(without_claims(Header.parse(rest[:-2] + ours + b"\r\n"), {"mx.example.org"}), rest)
        self.assertEqual(without_claims(Header.parse(rest), {"mx.example.org"}), rest)
