"""FETCH responses of many messages, joined from texts: the same octets as one by one."""

from __future__ import annotations

from array import array
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.lines import Told, message_lines, render_flags
from moxtwisted.imap.wire import decimals as kept
from moxtwisted.imap.wire.decimals import decimals
from moxtwisted.message.flags import DELETED, NO_FLAGS, SEEN, MessageFlags

_FLAGS = (NO_FLAGS, MessageFlags.of(SEEN), MessageFlags.of(SEEN | DELETED, ("$Junk", "a%db")))
_ASCENDING = st.sets(st.integers(1, 70_000), min_size=1, max_size=60).map(sorted)


def one_by_one(head: bytes, numbers: list[int], told: Told) -> bytes:
    """The same, each formatted."""
    lines = []
    for at, number in enumerate(numbers):
        items = []
        if told.uids is not None:
            items.append(b"UID %d" % told.uids[at])
        if told.flags is not None:
            items.append(b"FLAGS " + render_flags(told.flags[at]))
        if told.modseqs is not None:
            items.append(b"MODSEQ (%d)" % told.modseqs[at])
        lines.append(head % number + b" ".join(items) + b")\r\n")
    return b"".join(lines)


class LinesTests(SynchronousTestCase):
    """Lines of FETCH."""

    @given(_ASCENDING, st.randoms(use_true_random=False), st.sampled_from(_FLAGS))
    @settings(max_examples=100, deadline=None)
    def test_as_one_by_one(self, numbers: list[int], dice: object, flags: MessageFlags) -> None:
        """Whatever is told of whatever messages, the octets are those of formatting each line."""
        count = len(numbers)
        choice = dice.choice  # type: ignore[attr-defined]
        kinds = [choice(_FLAGS) for _ in numbers]
        uids = array("I", [3 * number for number in numbers])
        modseqs = array("Q", [2**40 + number for number in numbers])
        columns = product((None, uids), (None, kinds, [flags] * count), (None, modseqs))
        for head, (uid, flag, modseq) in product((b"* %d FETCH (", b"* %d UIDFETCH ("), columns):
            told = Told(uid, flag, modseq)
            if uid is not None or flag is not None or modseq is not None:
                self.assertEqual(message_lines(head, numbers, told), one_by_one(head, numbers, told))
        middle = Told(uids, kinds, modseqs).part(count // 3, count)
        self.assertEqual(
            message_lines(b"* %d FETCH (", numbers[count // 3 :], middle),
            one_by_one(b"* %d FETCH (", numbers[count // 3 :], middle),
        )


class DecimalTests(SynchronousTestCase):
    """Numbers as text."""

    @given(_ASCENDING)
    @settings(max_examples=100, deadline=None)
    def test_texts(self, numbers: list[int]) -> None:
        """They are those of ``str``, of lists, arrays and ranges."""
        for sequence in (numbers, array("I", numbers), range(numbers[0], numbers[-1] + 1)):
            self.assertEqual(list(decimals(sequence)), [str(number) for number in sequence])

    def test_bounds(self) -> None:
        """Nothing is nothing, and only so many are kept."""
        self.assertEqual(decimals(()), [])
        self.patch(kept, "_kept", ["0"])
        for last in (1, 1023, 1024, kept._KEPT_BELOW - 1, kept._KEPT_BELOW, 2**32 - 1):
            self.assertEqual(decimals([last]), [str(last)])
            self.assertLessEqual(len(kept._kept), kept._KEPT_BELOW)
        self.assertEqual(kept._kept, [str(number) for number in range(kept._KEPT_BELOW)])
