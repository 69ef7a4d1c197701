"""Names of files that strangers gave."""

from __future__ import annotations

import unicodedata
from urllib.parse import unquote

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from moxtwisted.http.support.downloads import NAME_OCTETS, attach, safe_filename


class NameTests(SynchronousTestCase):
    """What is left of a name."""

    def test_names(self) -> None:
        """A name leads nowhere, hides nothing, and is never empty."""
        for given_name, safe in (
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("C:\\Windows\\x.exe", "C_Windows_x.exe"),
            (".bashrc", "bashrc"),
            ("a\r\nSet-Cookie: x=y", "a__Set-Cookie_ x=y"),
            ("gpj\u202eexe.txt", "gpj_exe.txt"),
            ("Grüße.txt", "Grüße.txt"),
            ("...", "file"),
            ("", "file"),
        ):
            self.assertEqual(safe_filename(given_name), safe)

    def test_long_names_keep_their_ending(self) -> None:
        """A name that is too long is cut before its ending."""
        self.assertEqual(safe_filename("ü" * 200 + ".pdf"), "ü" * 73 + ".pdf")
        self.assertEqual(len(safe_filename("x" * 1000)), NAME_OCTETS)

    @settings(max_examples=200)
    @given(st.text(max_size=300))
    def test_any_name(self, name: str) -> None:
        """Whatever the name is, the header is one line of ASCII that says an attachment, with a safe name."""
        request = DummyRequest([b""])
        attach(request, name)
        [value] = request.responseHeaders.getRawHeaders("content-disposition", [])
        self.assertTrue(value.isascii() and value.isprintable(), value)
        self.assertTrue(value.startswith('attachment; filename="'))
        self.assertEqual(value.count('"'), 2)
        decoded = unquote(value.rpartition("''")[2])
        self.assertEqual(decoded, safe_filename(name))
        self.assertFalse(set(decoded) & set('/\\:"<>|?*'))
        self.assertFalse([c for c in decoded if unicodedata.category(c).startswith("C")])
        self.assertTrue(0 < len(decoded.encode()) <= NAME_OCTETS)
