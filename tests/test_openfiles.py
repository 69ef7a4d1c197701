"""How many files the server may have open."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.compose.files import allow_many_files


class FilesTests(SynchronousTestCase):
    """The limit is raised as far as may be, and never lowered."""

    def limits_after(self, soft: int, hard: int) -> list[tuple[int, int]]:
        """What the system is asked for."""
        asked: list[tuple[int, int]] = []
        self.patch(resource, "getrlimit", lambda which: (soft, hard))
        self.patch(resource, "setrlimit", lambda which, limits: asked.append(limits))
        allow_many_files()
        return asked

    def test_raised(self) -> None:
        """It becomes what the unit for systemd asks for, or what is allowed."""
        endless = resource.RLIM_INFINITY
        self.assertEqual(self.limits_after(1024, 524_288), [(65_535, 524_288)])
        self.assertEqual(self.limits_after(1024, endless), [(65_535, endless)])
        self.assertEqual(self.limits_after(1024, 4096), [(4096, 4096)])

    def test_left_alone(self) -> None:
        """What is enough, or all that may be, stays."""
        endless = resource.RLIM_INFINITY
        for soft, hard in ((endless, endless), (100_000, 524_288), (1024, 1024)):
            self.assertEqual(self.limits_after(soft, hard), [])
