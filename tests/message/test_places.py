"""Places of messages among others: as found one by one."""

from __future__ import annotations

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.places import pick, places_of, without

_UIDS = st.sets(st.integers(1, 400), max_size=300).map(sorted)


class PlacesTests(SynchronousTestCase):
    @given(_UIDS, _UIDS, st.booleans())
    @settings(max_examples=200, deadline=None)
    def test_as_one_by_one(self, there: list[int], wanted: list[int], run: bool) -> None:
        """Whichever are wanted, one run of them or any, a few or many: the places, what stands there, and what is left."""
        if run:
            wanted = there[len(there) // 4 : -(len(there) // 5) or None]
        uids = array("I", there)
        for given_as in (wanted, array("I", wanted), tuple(wanted)):
            places = places_of(uids, given_as)
            self.assertEqual(list(places), [at for at, uid in enumerate(there) if uid in set(wanted)])
        texts = [str(uid) for uid in there]
        self.assertEqual(list(pick(texts, places)), [text for text in texts if int(text) in set(wanted)])
        left, left_texts = without(places, uids, texts)
        self.assertEqual(left, array("I", [uid for uid in there if uid not in set(wanted)]))
        self.assertEqual(left_texts, [str(uid) for uid in left])
        self.assertEqual((list(uids), len(texts)), (there, len(there)))
