"""The cache forgets in time, and is never larger than it may be."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.cache import ENTRY_OCTETS, Cache


class CacheTests(SynchronousTestCase):
    def test_time(self) -> None:
        """What was put is there for its time, and says how much is left."""
        cache: Cache[str] = Cache(10, 10_000)
        cache.put("a", "A", octets=10, now=100.0, ttl_seconds=5)
        self.assertEqual(cache.get("a", 103.0), ("A", 2.0))
        self.assertIsNone(cache.get("a", 105.0))
        self.assertEqual((len(cache), cache.used_octets), (0, 0))

    def test_not_kept(self) -> None:
        """No time, or more octets than there are in all, is not kept; the old value goes nevertheless."""
        cache: Cache[str] = Cache(10, 1000)
        cache.put("a", "A", octets=10, now=0, ttl_seconds=5)
        cache.put("a", "B", octets=10, now=0, ttl_seconds=0)
        self.assertIsNone(cache.get("a", 0))
        cache.put("a", "A", octets=2000, now=0, ttl_seconds=5)
        self.assertIsNone(cache.get("a", 0))

    def test_oldest_goes(self) -> None:
        """What was not used for longest goes first."""
        cache: Cache[str] = Cache(2, 10_000)
        for key in "ab":
            cache.put(key, key, octets=1, now=0, ttl_seconds=5)
        cache.get("a", 1)
        cache.put("c", "c", octets=1, now=1, ttl_seconds=5)
        self.assertEqual([key for key in "abc" if cache.get(key, 1)], ["a", "c"])

    @given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2000), st.integers(0, 5))))
    @settings(max_examples=100)
    def test_bounds(self, puts: list[tuple[int, int, int]]) -> None:
        """Whatever is put, entries and octets stay within their bounds, and are counted rightly."""
        cache: Cache[int] = Cache(5, 5000)
        for now, (key, octets, ttl) in enumerate(puts):
            cache.put(key, octets, octets=octets, now=now, ttl_seconds=ttl)
            self.assertLessEqual(len(cache), 5)
            self.assertLessEqual(cache.used_octets, 5000)
        kept = [value for _, value, _ in cache._kept.values()]
        self.assertEqual(cache.used_octets, sum(kept) + ENTRY_OCTETS * len(kept))
        cache.clear()
        self.assertEqual((len(cache), cache.used_octets), (0, 0))
