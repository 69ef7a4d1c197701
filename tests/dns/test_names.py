"""Names: one form, the wire, the order of zones, reverse names."""

from __future__ import annotations

import dns.name
import dns.reversename
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.names import (
    ROOT,
    BadNameError,
    ancestors,
    from_labels,
    labels,
    normalise,
    parent,
    reverse_name,
    to_wire,
    within,
)

LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=6).filter(lambda x: sum(map(len, x)) < 240)


class NormaliseTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Case, the last dot, U-labels and escapes come to one form."""
        for text, name in (
            ("Example.ORG.", "example.org"),
            ("Münster.Example", "xn--mnster-3ya.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("_DMARC.example.org", "_dmarc.example.org"),
            (r"a\.b.c", r"a\.b.c"),
            (r"\097.x", "a.x"),
            ("foo bar.x", r"foo\032bar.x"),
            ("a%b/c.x", "a%b/c.x"),
            (".", ROOT),
        ):
            self.assertEqual(normalise(text), name)
            self.assertEqual(normalise(name), name)

    def test_bad(self) -> None:
        """Empty labels, long ones, and names that are too long are none."""
        for text in (
            "",
            "..",
            "a..b",
            ".a",
            "a" * 64,
            ".".join(["a" * 63] * 4),
            "x" * 5000,
            r"a\999",
            "ü" * 70,
        ):
            with self.assertRaises(BadNameError):
                normalise(text)
        self.assertEqual(len(to_wire(normalise(".".join(["a" * 63] * 3 + ["b" * 61])))), 255)

    @given(LABELS)
    @settings(max_examples=150)
    def test_wire(self, parts: list[bytes]) -> None:
        """Any octets can be in a label, and the wire is dnspython's."""
        name = from_labels(parts)
        self.assertEqual(normalise(name), name)
        self.assertEqual(labels(name), [part.lower() for part in parts])
        expected = dns.name.Name([*parts, b""]).canonicalize().to_wire()
        self.assertEqual(to_wire(name), expected)

    @given(LABELS, LABELS)
    @settings(max_examples=150)
    def test_within(self, one: list[bytes], other: list[bytes]) -> None:
        """Whether a name is below another is as dnspython has it."""
        for left, right in ((one, other), ([*one[:2], *other[:3]], other[:3])):
            inner, outer = dns.name.Name([*left, b""]), dns.name.Name([*right, b""])
            self.assertEqual(
                within(from_labels(left), from_labels(right)),
                inner.canonicalize().is_subdomain(outer.canonicalize()),
            )


class TreeTests(SynchronousTestCase):
    def test_upwards(self) -> None:
        """A dot in a label is no border of labels."""
        self.assertEqual(list(ancestors(r"x\.y.a.b")), [r"x\.y.a.b", "a.b", "b", "."])
        self.assertEqual(parent("b"), ROOT)
        self.assertEqual(parent(ROOT), ROOT)
        self.assertFalse(within(r"a\.example", "example"))
        self.assertFalse(within("notexample", "example"))

    def test_reverse(self) -> None:
        """Reverse names are dnspython's; an IPv4-mapped address is its IPv4 address."""
        for address in ("192.0.2.1", "2001:db8::1", "::1"):
            expected = dns.reversename.from_address(address).to_text(omit_final_dot=True)
            self.assertEqual(reverse_name(address), expected)
        self.assertEqual(reverse_name("::ffff:192.0.2.1"), reverse_name("192.0.2.1"))
        self.assertEqual(reverse_name("fe80::1%eth0"), reverse_name("fe80::1"))
        with self.assertRaises(ValueError):
            reverse_name("example.org")
