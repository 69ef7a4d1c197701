"""Organisational domains."""

from __future__ import annotations

import re
from pathlib import Path
from unittest import SkipTest

from publicsuffixlist import PSLFILE, PublicSuffixList
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.publicsuffix import _suffixes_for, organizational_domain, public_suffix


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

    def test_every_rule(self) -> None:
        """What is read of the list says of every rule, and of names below it, what the library says that reads all of it."""
        library = PublicSuffixList()
        lines = Path(PSLFILE).read_text("utf-8").splitlines()
        rules = [line.split(" ")[0] for line in lines if line.strip() and line[:2] != "//"]
        self.assertGreater(len(rules), 5000)
        for rule in rules:
            name = rule.lstrip("!").replace("*", "some").lower()
            encoded = name if name.isascii() else name.encode("idna").decode("ascii")
            for asked in (name, encoded, "a." + encoded, "a.b." + encoded, "A.xn--55qx5d." + encoded):
                ours = _suffixes_for(asked)
                self.assertEqual(
                    (ours.publicsuffix(asked), ours.privatesuffix(asked)),
                    (library.publicsuffix(asked), library.privatesuffix(asked)),
                    asked,
                )

    def test_published_tests(self) -> None:
        """The tests that are published with the list pass."""
        path = Path(PSLFILE).with_name("test_psl.txt")
        if not path.exists():
            raise SkipTest("the library came without test_psl.txt")
        checks = re.findall(
            r"^checkPublicSuffix\('([^']+)', (?:'([^']+)'|null)\)", path.read_text("utf-8"), re.MULTILINE
        )
        self.assertGreater(len(checks), 50)
        for name, wanted in checks:
            found = _suffixes_for(name.lower()).privatesuffix(name.lower()) or ""
            self.assertEqual(found, wanted, name)
