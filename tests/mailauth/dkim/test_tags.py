"""Tag lists."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.dkim.tags import MAX_LIST_OCTETS, MAX_TAGS, TagList, TagListError


class TagListTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Tags keep their order; white space around names and values goes, that within stays."""
        tags = TagList.parse(b" v = 1 ;\r\n\tb=ab\r\n cd;empty=; c=X=Y;")
        self.assertEqual(tags.values, {b"v": b"1", b"b": b"ab\r\n cd", b"empty": b"", b"c": b"X=Y"})
        self.assertEqual(tags.offset(b"b"), 8)
        self.assertEqual(tags.packed(b"b"), b"abcd")

    def test_what_is_wrong(self) -> None:
        """An error says at which octet, and in which tag."""
        for octets, offset, tag in (
            (b"a=1;a=2", 4, "a"),
            (b"a=1;;b=2", 4, ""),
            (b"a=1; 1b=2", 4, ""),
            (b"", 0, ""),
            (b"a", 0, ""),
            (b"a=1;b=\x00", 6, ""),
        ):
            with self.subTest(octets):
                error = self.assertRaises(TagListError, TagList.parse, octets)
                self.assertEqual((error.offset, error.tag), (offset, tag))

    def test_bounds(self) -> None:
        """Lists that are too long, or have too many tags, are refused."""
        TagList.parse(b";".join(b"t%d=1" % i for i in range(MAX_TAGS)))
        self.assertRaises(TagListError, TagList.parse, b";".join(b"t%d=1" % i for i in range(MAX_TAGS + 1)))
        self.assertRaises(TagListError, TagList.parse, b"a=" + b"x" * MAX_LIST_OCTETS)

    def test_numbers(self) -> None:
        """Numbers have digits only, and not too many."""
        tags = TagList.parse(b"t=12; x=-1; l=1234567890123")
        self.assertEqual(tags.number(b"t", digits=12), 12)
        self.assertIsNone(tags.number(b"none", digits=12))
        self.assertRaises(TagListError, tags.number, b"x", digits=12)
        self.assertRaises(TagListError, tags.number, b"l", digits=12)

    def test_base64(self) -> None:
        """Base64 may have white space in it and nothing else that does not belong there."""
        tags = TagList.parse(b"a=Z m\r\n 9v; b=Zm9; c=Z%9v; d=")
        self.assertEqual(tags.base64(b"a"), b"foo")
        for name in (b"b", b"c", b"d", b"e"):
            self.assertRaises(TagListError, tags.base64, name)

    def test_anything(self) -> None:
        """Any octets are a list or an error with a place in them."""

        @given(st.binary(max_size=60) | st.text(alphabet="ab=; \r\n:", max_size=60).map(str.encode))
        @settings(max_examples=200)
        def check(octets: bytes) -> None:
            try:
                TagList.parse(octets)
            except TagListError as e:
                self.assertTrue(0 <= e.offset <= len(octets))

        check()
