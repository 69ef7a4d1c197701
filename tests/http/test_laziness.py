"""What HTTP applications cost those who do not use them."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase


class LazinessTests(SynchronousTestCase):
    """Imports."""

    def test_commands_do_not_load_klein(self) -> None:
        """The command and the composition of services load no HTTP application before one is started."""
        program = (
            "import sys, moxtwisted.cli.main, moxtwisted.cli.badsmtp, moxtwisted.compose.badsmtp, moxtwisted.compose.parts\n"
            "print([name for name in ('klein', 'werkzeug', 'nh3', 'moxtwisted.http') if name in sys.modules])"
        )
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        self.assertEqual(result.stdout.strip(), "[]")
