"""Sequence sets: syntax, membership, compaction."""

from __future__ import annotations

from array import array
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire import sequence
from moxtwisted.imap.wire.sequence import (
    MAX_NUMBER,
    STAR,
    SequenceError,
    SequenceSet,
    compact,
    compact_ascending,
    compact_in_parts,
    compact_ranges,
)

numbers = st.integers(1, 60)
ends = st.one_of(numbers, st.just(STAR))
ranges = st.lists(st.tuples(ends, ends), min_size=1, max_size=8)
known_numbers = st.sets(numbers).map(sorted)


def written(pairs: list[tuple[int, int]]) -> bytes:
    def end(n: int) -> str:
        return "*" if n == STAR else str(n)

    return ",".join(f"{end(a)}:{end(b)}" for a, b in pairs).encode()


class SyntaxTests(SynchronousTestCase):
    def test_ends_in_either_order(self) -> None:
        """RFC 9051 section 9: 2:4 and 4:2 are equivalent, and so are *:4 and 4:*."""
        self.assertEqual(SequenceSet.parse(b"4:2,*:4,*"), SequenceSet(((2, 4), (4, STAR), (STAR, STAR))))
        self.assertEqual(SequenceSet.parse(b"*:*"), SequenceSet(((STAR, STAR),)))

    def test_saved(self) -> None:
        """$ is the saved search result."""
        self.assertTrue(SequenceSet.parse(b"$").saved)
        self.assertEqual(SequenceSet.parse(b"$").render(), b"$")

    def test_refused(self) -> None:
        """What is no sequence set is refused, among it 0, numbers of more than 32 bits and stray punctuation."""
        for text in (
            b"",
            b"0",
            b"1,",
            b",1",
            b"1:",
            b":1",
            b"1:2:3",
            b"a",
            b"1 2",
            b"-1",
            b"01",
            b"$,1",
            b"4294967296",
            b"**",
            b"1\n",
        ):
            self.assertRaises(SequenceError, SequenceSet.parse, text)
        self.assertEqual(SequenceSet.parse(b"4294967295").ranges, ((MAX_NUMBER, MAX_NUMBER),))

    def test_too_many_ranges(self) -> None:
        """The number of ranges is limited."""
        self.assertRaises(SequenceError, SequenceSet.parse, b"1,2,3", max_ranges=2)
        self.assertEqual(len(SequenceSet.parse(b"1,2", max_ranges=2).ranges), 2)

    def test_million_members(self) -> None:
        """A set of a million ranges is read and evaluated."""
        text = b",".join(b"%d" % n for n in range(1, 2_000_000, 2))
        found = SequenceSet.parse(text)
        self.assertEqual(found.members([1, 2, 3, 1_999_999]), [1, 3, 1_999_999])

    @given(ranges)
    @settings(max_examples=100)
    def test_round_trip(self, pairs: list[tuple[int, int]]) -> None:
        """A set that was rendered is read as the same set."""
        found = SequenceSet.parse(written(pairs))
        self.assertEqual(SequenceSet.parse(found.render()), found)


class MembershipTests(SynchronousTestCase):
    def test_rfc_examples(self) -> None:
        """The two examples of RFC 9051 section 9, for mailboxes of 15 and 10 messages."""
        first = SequenceSet.parse(b"2,4:7,9,12:*").members(range(1, 16))
        self.assertEqual(first, [2, 4, 5, 6, 7, 9, 12, 13, 14, 15])
        second = SequenceSet.parse(b"*:4,5:7").members(range(1, 11))
        self.assertEqual(second, [4, 5, 6, 7, 8, 9, 10])

    def test_last_message_is_always_in_a_range_to_star(self) -> None:
        """RFC 9051 section 9: 3291:* holds the last message even if its UID is below 3291."""
        self.assertEqual(SequenceSet.parse(b"3291:*").members([5, 9]), [9])
        self.assertEqual(SequenceSet.parse(b"*").members([5, 9]), [9])

    def test_empty_mailbox(self) -> None:
        """Nothing is in an empty mailbox, not even *."""
        self.assertEqual(SequenceSet.parse(b"1:*,*").members([]), [])

    def test_whole_range_costs_nothing(self) -> None:
        """1:4294967295 is looked up by its ends."""
        self.assertEqual(SequenceSet.parse(b"1:4294967295").index_ranges([3, 7, MAX_NUMBER]), [(0, 3)])

    def test_exceeds(self) -> None:
        """A set with a sequence number that does not exist is told from one without."""
        self.assertTrue(SequenceSet.parse(b"1:11").exceeds(10))
        self.assertFalse(SequenceSet.parse(b"1:10,*").exceeds(10))
        self.assertTrue(SequenceSet.parse(b"*").exceeds(0))
        self.assertTrue(SequenceSet.parse(b"11:*").exceeds(10))

    def test_array(self) -> None:
        """The known numbers may be an array."""
        self.assertEqual(SequenceSet.parse(b"2:3").members(array("I", [1, 2, 3])), [2, 3])

    @given(ranges, known_numbers)
    @settings(max_examples=200)
    def test_against_enumeration(self, pairs: list[tuple[int, int]], known: list[int]) -> None:
        """Membership by bisection agrees with enumerating the ranges."""
        found = SequenceSet.parse(written(pairs))
        wanted: set[int] = set()
        if known:
            for a, b in pairs:
                low, high = sorted((a or known[-1], b or known[-1]))
                wanted.update(n for n in known if low <= n <= high)
        self.assertEqual(found.members(known), sorted(wanted))
        stretches = found.index_ranges(known)
        self.assertTrue(all(a < b for a, b in stretches))
        self.assertTrue(all(x[1] < y[0] for x, y in pairwise(stretches)))
        if known:
            self.assertEqual([n for n in known if found.contains(n, known[-1])], sorted(wanted))


class CompactTests(SynchronousTestCase):
    def test_shortest_form(self) -> None:
        """Runs become ranges."""
        self.assertEqual(compact([1, 2, 3, 4, 5, 7]), b"1:5,7")
        self.assertEqual(compact_ascending(range(3, 9)), b"3:8")
        self.assertEqual(compact_ascending(()), b"")
        self.assertEqual(compact([]), b"")
        self.assertEqual(compact([3, 3, 4]), b"3:4")
        self.assertEqual(compact_ranges(range(1, 4)), [(1, 3)])

    @given(st.permutations(range(1, 40)), st.sets(st.integers(1, 80)).map(sorted), st.integers(1, 9))
    @settings(max_examples=200, deadline=None)
    def test_in_parts(self, any_order: list[int], ascending: list[int], step: int) -> None:
        """Made in parts, or known to ascend, a set is written as in one go."""
        self.patch(sequence, "PART", step)
        for found in (any_order, ascending, array("I", ascending)):
            parts = list(compact_in_parts(lambda a, b, found=found: found[a:b], len(found)))  # type: ignore[misc]
            self.assertEqual(b"".join(parts), compact(found))
        self.assertEqual(compact_ascending(ascending), compact(ascending))

    @given(known_numbers)
    @settings(max_examples=100)
    def test_round_trip(self, known: list[int]) -> None:
        """What was compacted has the same members."""
        text = compact(known)
        members = SequenceSet.parse(text).members(range(1, 100)) if text else []
        self.assertEqual(members, known)
        self.assertEqual(SequenceSet.of(known).render(), text)
