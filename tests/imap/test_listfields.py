"""HEADER.FIELDS of kept fields: what is chosen, and how much is remembered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.commands import listfields
from moxtwisted.imap.commands.listfields import literals_of
from moxtwisted.message.headers import Header

_NAMES = (b"from", b"to", b"subject", b"list-id")
_FIELDS = st.lists(
    st.tuples(
        st.sampled_from((*_NAMES, b"FROM", b"X-From", b"Date")),
        st.sampled_from((b"a", b"b\r\n c", b"", b"x: y")),
    ),
    max_size=8,
).map(lambda fields: b"".join(b"%b: %b\r\n" % field for field in fields))


class ListFieldsTests(SynchronousTestCase):
    """Literals of some of the fields."""

    def setUp(self) -> None:
        """Nothing is remembered."""
        self.patch(listfields, "_MEMORY", listfields._Memory())
        literals_of.cache_clear()
        self.addCleanup(literals_of.cache_clear)

    def test_chosen(self) -> None:
        """Fields with these names stay, whole and in order, and an empty line ends them."""
        literals = literals_of(frozenset((b"from", b"subject")))
        kept = b"From: a\r\nTo: b\r\n c\r\nSUBJECT: d\r\n e\r\nX-From: f\r\n"
        self.assertEqual(
            literals([kept, b""]), [b"{27}\r\nFrom: a\r\nSUBJECT: d\r\n e\r\n\r\n", b"{2}\r\n\r\n"]
        )

    @given(st.lists(_FIELDS, max_size=4), st.frozensets(st.sampled_from(_NAMES), min_size=1))
    def test_parser(self, kept: list[bytes], names: frozenset[bytes]) -> None:
        """They are those that the header's parser finds, the second time, too."""
        expected = []
        for fields in kept:
            chosen = b"".join(raw for raw, name in Header.parse(fields).fields if name in names) + b"\r\n"
            expected.append(b"{%d}\r\n%b" % (len(chosen), chosen))
        for _ in range(2):
            self.assertEqual(literals_of(names)(kept), expected)

    def test_bounded(self) -> None:
        """When too much is remembered all is forgotten, by a command that is under way as well."""
        self.patch(listfields, "_REMEMBERED", 4000)
        first, second = literals_of(frozenset((b"from",))), literals_of(frozenset((b"to",)))
        most = 0
        for number in range(200):
            fields = b"From: %d\r\nTo: x\r\n" % number
            self.assertEqual(first([fields]), [b"{%d}\r\nFrom: %d\r\n\r\n" % (10 + len(str(number)), number)])
            second([fields])
            most = max(most, len(first._known) + len(second._known))  # type: ignore[attr-defined]
        self.assertGreater(most, 10)
        self.assertLess(most, 25)
