"""Organisational domains."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.publicsuffix import organizational_domain, public_suffix


class SuffixTests(SynchronousTestCase):
    def test_organizational_domains(self) -> None:
        """The organisational domain is one label below the public suffix; wildcards, exceptions and private suffixes count."""
        for name, organizational, suffix in (
            ("a.b.example.com", "example.com", "com"),
            ("example.com", "example.com", "com"),
            ("com", "com", "com"),
            ("a.example.co.uk", "example.co.uk", "co.uk"),
            ("co.uk", "co.uk", "co.uk"),
            ("a.b.c.kawasaki.jp", "b.c.kawasaki.jp", "c.kawasaki.jp"),
            ("a.city.kawasaki.jp", "city.kawasaki.jp", "kawasaki.jp"),
            ("a.me.github.io", "me.github.io", "github.io"),
            ("a.b.unknown-top-level", "b.unknown-top-level", "unknown-top-level"),
            ("a.xn--55qx5d.cn", "a.xn--55qx5d.cn", "xn--55qx5d.cn"),
        ):
            self.assertEqual(
                (organizational_domain(name), public_suffix(name)), (organizational, suffix), name
            )
