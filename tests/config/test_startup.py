"""The pause of the garbage collector during the start."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.startup import collector_paused


class CollectorTests(SynchronousTestCase):
    def setUp(self) -> None:
        """What is set aside is given back after the test."""
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.enable)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())

    def test_pause(self) -> None:
        """The collector rests within the block, also nested, and works again behind it, after an error too."""
        with collector_paused():
            with collector_paused():
                self.assertFalse(gc.isenabled())
            self.assertFalse(gc.isenabled())
        self.assertTrue(gc.isenabled())
        self.assertGreater(gc.get_freeze_count(), 0)

        def fails() -> None:
            with collector_paused():
                raise KeyError

        self.assertRaises(KeyError, fails)
        self.assertTrue(gc.isenabled())

    def test_seldom(self) -> None:
        """Afterwards it does not look at each message's objects."""
        gc.set_threshold(700)
        with collector_paused():
            pass
        self.assertGreaterEqual(gc.get_threshold()[0], 5000)
