"""Keepers killed without warning, with the server or without: what was acknowledged is there, once, and nothing is broken."""

from __future__ import annotations

import os
import signal

from tests.integration import test_killed
from tests.integration.keepers import KeepersCase, keepers_below
from tests.integration.receivers import UNSPARED, descriptors, letter, settled
from tests.integration.test_receivers import RECIPIENT, TAKEN
from tests.test_compose import WAIT_SECONDS

#: One that says nothing is ended soon.
PATIENT = (
    UNSPARED
    + """
from moxtwisted.server.processes import supervision
supervision._SILENT_SECONDS = 1.0
"""
)


class OwnerKilledTests(test_killed.KilledTests):
    """The server alone: its keepers close what they have, and the next start waits for that."""

    kills = 3
    keepers = 2
    surely_lent = True

    def setUp(self) -> None:
        """See ``KilledTests``."""
        super().setUp()
        self.lent: list[bool] = []

    def processes(self) -> list[int]:
        """The keepers, as it is noted whether one of them has the account."""
        child = self.server.child
        assert child is not None
        self.assertTrue(settled(lambda: len(keepers_below(child.pid)) == 2), self.server.log()[-2000:])
        found = keepers_below(child.pid)
        name = str(self.server.folder / "data" / "accounts" / "mox.db")
        self.lent.append(any(name in descriptors(pid) for pid in found))
        return found

    def test_nothing_is_lost(self) -> None:
        """Every acknowledged message is there, once, with its octets and flags, and the databases are whole."""
        super().test_nothing_is_lost()
        if self.surely_lent:
            self.assertIn(True, self.lent)

    def kill(self) -> None:
        """Not them."""
        self.processes()
        super().kill()


class AllKilledTests(OwnerKilledTests):
    """All at once."""

    def kill(self) -> None:
        """The keepers, too."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.server.stop(signal.SIGKILL)


class KeeperKilledTests(OwnerKilledTests):
    """Keepers: the server lives on, and starts them again.

    Mail comes in all the time, and who logs in while the server itself has the account in use stays there.
    """

    stops = True
    surely_lent = False

    def kill(self) -> None:
        """All that there are."""
        self.served = self.server.log().count(" serves IMAP pid=")
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def again(self) -> None:
        """They are started again."""
        self.assertTrue(
            settled(lambda: self.server.log().count(" serves IMAP pid=") == self.served + 2),
            self.server.log()[-2000:],
        )


class HangingTests(KeepersCase):
    def test_hangs(self) -> None:
        """One that does not answer is ended: its clients lose their connections, mail is put off meanwhile and delivered afterwards."""
        self.serve(PATIENT)
        there = self.login()
        number = self.where("mox")
        pid = self.kill_keeper(number, signal.SIGSTOP)
        self.assertEqual(self.send(letter("hung"), "mox")[-1][:3], "451")
        self.assertEqual(self.bye(there), "")
        self.until(lambda: self.ended(pid), "it hangs still")
        self.assertIn("does not answer, and is ended", self.log.read_text())
        self.assertEqual(self.send(letter("hung"), "mox"), [RECIPIENT, TAKEN])
        self.assertEqual(self.count(self.login()), 1)
        self.until(lambda: len(self.kept_by(number)) == 2, f"not started again in {WAIT_SECONDS} s")
