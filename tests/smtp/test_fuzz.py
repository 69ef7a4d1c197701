"""The fuzz target, for a short time and without atheris."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.fuzz_smtp import one

WORDS = [
    b"EHLO c.example\r\n", b"HELO c.example\r\n", b"LHLO c.example\r\n", b"MAIL FROM:<a@b.example>\r\n",
    b"MAIL FROM:<a@b.example> BODY=BINARYMIME SIZE=5\r\n", b"RCPT TO:<c@d.example>\r\n", b"DATA\r\n", b"BDAT 5\r\n",
    b"BDAT 3 LAST\r\n", b"BDAT 2000\r\n", b"abc\r\n", b".\r\n", b"..\r\n", b"\r\n.\r\n", b"\n", b"\r", b"\0", b"x" * 500, b"RSET\r\n",
    b"AUTH PLAIN\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"*\r\n", b"QUIT\r\n", b"NOOP\r\n", b"250 ok\r\n", b"250-x\r\n", b"PROXY TCP4 ",
]  # fmt: skip


class FuzzTests(SynchronousTestCase):
    """Nothing unexpected is raised, and cuts do not matter."""

    @settings(max_examples=200)
    @given(st.integers(0, 255), st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=25))
    def test_words(self, first: int, parts: list[bytes]) -> None:
        """Commands and octets in any order."""
        one(bytes((first,)) + b"".join(parts))

    @settings(max_examples=100)
    @given(st.binary(max_size=200))
    def test_octets(self, octets: bytes) -> None:
        """Any octets."""
        one(octets)
