"""The fuzz target, run for a moment without a fuzzer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz import fuzz_imap
from tests.imap.wire.test_parser import SESSION


class FuzzTargetTests(SynchronousTestCase):
    @given(
        st.integers(0, 255),
        st.lists(
            st.tuples(st.integers(0, len(SESSION)), st.integers(0, 12), st.binary(max_size=4)), max_size=6
        ),
    )
    @settings(max_examples=200)
    def test_changed_session(self, choice: int, changes: list[tuple[int, int, bytes]]) -> None:
        """A session with octets removed and put in is read without an exception, the same in any cuts."""
        text = bytearray(SESSION)
        for place, length, octets in changes:
            text[place : place + length] = octets
        fuzz_imap.one(bytes([choice]) + bytes(text))
