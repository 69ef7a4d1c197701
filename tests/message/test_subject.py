"""Base subjects."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.subject import base_subject


class BaseSubjectTests(SynchronousTestCase):
    """RFC 5256 section 2.1."""

    def test_examples(self) -> None:
        """Leaders, trailers, blobs and bracketed forwards go; a subject never goes wholly because of a blob."""
        for subject, expected in (
            ("Hello", ("Hello", False)),
            ("", ("", False)),
            ("Re: Hello", ("Hello", True)),
            ("RE : re:Hello", ("Hello", True)),
            ("Fw: Fwd: Hello", ("Hello", True)),
            ("Re[2]: Hello", ("Hello", True)),
            ("[list] Re: [list] Hello", ("Hello", True)),
            ("Re: [list]", ("[list]", True)),
            ("[list]", ("[list]", False)),
            ("[a] [b] Hello", ("Hello", False)),
            ("Hello (fwd) (FWD)", ("Hello", True)),
            ("[Fwd: Re: Hello]", ("Hello", True)),
            ("[fwd: [fwd: x] ]", ("x", True)),
            ("Re: [Fwd: [list] Hello (fwd)] (fwd)", ("Hello", True)),
            ("  a\t b \r\n c ", ("a b c", False)),
            ("Re:", ("", True)),
            ("(fwd)", ("", True)),
            ("Regarding: x", ("Regarding: x", False)),
            ("[unclosed Re: x", ("[unclosed Re: x", False)),
        ):
            self.assertEqual(base_subject(subject), expected, subject)

    @settings(max_examples=200)
    @given(st.lists(st.sampled_from(["re", "fwd", ":", "[", "]", " ", "(fwd)", "[fwd:", "x"]), max_size=30))
    def test_nothing_remains_to_be_stripped(self, pieces: list[str]) -> None:
        """The base of a base subject is itself."""
        base, _ = base_subject("".join(pieces))
        self.assertEqual(base_subject(base), (base, False))
