"""SORT, THREAD and result options as the reader takes them, and the windows of PARTIAL."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import fetchattributes as f
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.parser import BadCommand, CommandReader, Event
from moxtwisted.imap.wire.returnoptions import Partial, SearchReturn, Update
from moxtwisted.imap.wire.searchkeys import Comparison
from moxtwisted.imap.wire.sortcriteria import SortCriterion, SortKey, ThreadAlgorithm


def one(line: str) -> Event | None:
    """The event of a line."""
    reader = CommandReader()
    reader.receive(line.encode() + b"\r\n")
    return reader.next()


class ReadingTests(SynchronousTestCase):
    def test_rfc_examples(self) -> None:
        """The examples of RFC 5256 section 3, RFC 5267 section 3.3, RFC 5465 section 7 and RFC 9394 section 3.1."""
        fields = f.BodySection(text=f.SectionText.HEADER_FIELDS, fields=("TO", "FROM"))
        for line, command in {
            "A283 SORT (SUBJECT REVERSE DATE) UTF-8 ALL": c.Sort(
                b"A283",
                (SortCriterion(SortKey.SUBJECT), SortCriterion(SortKey.DATE, reverse=True)),
                k.Everything(),
            ),
            'A284 sort (subject) us-ascii TEXT "not in mailbox"': c.Sort(
                b"A284", (SortCriterion(SortKey.SUBJECT),), k.TextContains("not in mailbox"), None, "US-ASCII"
            ),
            "E01 UID SORT RETURN () (REVERSE DATE) UTF-8 UNDELETED UNKEYWORD $Junk": c.Sort(
                b"E01",
                (SortCriterion(SortKey.DATE, reverse=True),),
                k.And((k.HasFlag("\\Deleted", False), k.HasFlag("$Junk", False))),
                frozenset({SearchReturn.ALL}),
                uid=True,
            ),
            "A283 THREAD ORDEREDSUBJECT UTF-8 SINCE 5-MAR-2000": c.Thread(
                b"A283",
                ThreadAlgorithm.ORDEREDSUBJECT,
                k.InternalDate(Comparison.SINCE, date(2000, 3, 5)),
            ),
            "a uid thread references utf-8 all": c.Thread(
                b"a", ThreadAlgorithm.REFERENCES, k.Everything(), uid=True
            ),
            "A01 UID SEARCH RETURN (PARTIAL -1:-100) ALL": c.Search(
                b"A01", k.Everything(), frozenset({Partial(-1, -100)}), uid=True
            ),
            "a SEARCH return (count partial 500:1 min) ALL": c.Search(
                b"a",
                k.Everything(),
                frozenset({SearchReturn.COUNT, SearchReturn.MIN, Partial(500, 1)}),
            ),
            # RFC 5465 section 7: with a space, and as its section 8 has it.
            "a SEARCH RETURN (COUNT UPDATE (UID BODY[HEADER.FIELDS (TO FROM)]) MIN) ALL": c.Search(
                b"a",
                k.Everything(),
                frozenset({SearchReturn.COUNT, SearchReturn.MIN, Update((f.Uid(), fields))}),
            ),
            "a UID SORT return (update(flags)) (DATE) UTF-8 ALL": c.Sort(
                b"a",
                (SortCriterion(SortKey.DATE),),
                k.Everything(),
                frozenset({Update((f.Flags(),))}),
                uid=True,
            ),
        }.items():
            self.assertEqual(one(line), command, line)

    def test_refused(self) -> None:
        """What the grammar does not have is BAD, and changes nothing for the next command."""
        for line in (
            "SORT", "SORT ", "SORT (DATE)", "SORT (DATE) UTF-8", "SORT (DATE) UTF-8 ", "SORT(DATE) UTF-8 ALL",
            "SORT (DATE ) UTF-8 ALL", "SORT ( DATE) UTF-8 ALL", "SORT (DATE,SIZE) UTF-8 ALL", "SORT (DATE) UTF-8 ALL ",
            "SORT (REVERSE REVERSE DATE) UTF-8 ALL", "SORT (DATE REVERSE) UTF-8 ALL", "SORT (DATE UTF-8 ALL",
            "SORT RETURN (DATE) UTF-8 ALL", "SORT RETURN () UTF-8 ALL", "SORT RETURN(ALL) (DATE) UTF-8 ALL",
            "THREAD", "THREAD REFERENCES", "THREAD REFS UTF-8 ALL", "THREAD (REFERENCES) UTF-8 ALL",
            "SEARCH RETURN (PARTIAL 1) ALL", "SEARCH RETURN (PARTIAL 1:0) ALL", "SEARCH RETURN (PARTIAL -1:2) ALL",
            "SEARCH RETURN (PARTIAL 1: 2) ALL", "SEARCH RETURN (PARTIAL 1:4294967296) ALL", "SEARCH RETURN (PARTIAL $) ALL",
            "SEARCH RETURN (UPDATE ()) ALL", "SEARCH RETURN (UPDATE (UID FLAGS) ALL", "SEARCH RETURN (UPDATE  (UID)) ALL",
            "SEARCH RETURN (UPDATE (FULL)) ALL", "SEARCH RETURN (UPDATE (UID )) ALL", "SEARCH RETURN (UPDATE UPDATE (UID)) ALL",
            "SEARCH RETURN (UPDATE (BODY[)) ALL", "SEARCH RETURN ((UID)) ALL",
            "SEARCH RETURN (PARTIAL 1,2) ALL", "SEARCH RETURN (MIN  MAX) ALL", "SEARCH RETURN (MIN ALL", "SEARCH RETURN MIN ALL",
        ):  # fmt: skip
            event = one(f"a {line}")
            self.assertIsInstance(event, BadCommand, line)

    @given(st.integers(1, 30), st.integers(1, 30), st.booleans(), st.integers(0, 25))
    def test_windows(self, first: int, last: int, backwards: bool, count: int) -> None:
        """A window has the results between its ends, counted from the first or from the last one."""
        sign = -1 if backwards else 1
        start, stop = Partial(sign * first, sign * last).window(count)
        members = range(min(first, last), max(first, last) + 1)
        expected = [n for n in range(count) if (count - n if backwards else n + 1) in members]
        self.assertEqual(list(range(start, stop)), expected)
