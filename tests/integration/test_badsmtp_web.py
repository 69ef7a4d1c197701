"""The how-to of the page and the JSON interface, carried out as it stands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from moxtwisted.badsmtp.configuration import Configuration
from moxtwisted.badsmtp.settings import LogSettings
from moxtwisted.compose.badsmtp import BadSMTP
from tests.integration.peers import needs
from tests.integration.test_browser import ONLY_SMTP_AND_HTTP

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "howto" / "badsmtp" / "web.rst"


def blocks(language: str) -> list[str]:
    """The code of the how-to in one language."""
    found = re.findall(rf"\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", PAGE.read_text())
    return [re.sub(r"(?m)^   ", "", code) for code in found]


class HowtoTests(TestCase):
    """What the how-to says, against a server."""

    timeout = 120

    def setUp(self) -> None:
        network: Any = reactor
        self.server = BadSMTP(
            network, Configuration(settings=ONLY_SMTP_AND_HTTP, log=LogSettings(log_output="off"))
        )
        self.server.startService()
        self.addCleanup(self.server.stopService)
        self.url = f"http://127.0.0.1:{self.server.ports['http']}"

    async def run_shell(self, line: str) -> str:
        """Run a line of the how-to, with our ports; what it says."""
        line = line.replace("127.0.0.1:25080", f"127.0.0.1:{self.server.ports['http']}")
        line = line.replace("127.0.0.1:2525", f"127.0.0.1:{self.server.ports['smtp']}")
        done = await deferToThread(
            subprocess.run, ["sh", "-c", line], capture_output=True, timeout=60, check=False
        )
        self.assertEqual(done.returncode, 0, f"{line}: {done.stderr!r}")
        return done.stdout.decode()

    @needs("curl")
    async def test_shell(self) -> None:
        """Each line for the shell succeeds, and shows what it says that it shows."""
        [code] = [block for block in blocks("sh") if "curl" in block]
        lines = [line for line in code.splitlines() if line and not line.startswith("#")]
        said = [await self.run_shell(line) for line in lines]
        self.assertEqual(said[0], '{"removed":0}')
        self.assertIn('"subject":"hello"', said[2])
        self.assertIn('"total":1', said[3])
        self.assertIn('"transcript":[', said[4])
        self.assertEqual(said[5], "Subject: hello\r\n\r\nHello Bob.\r\n")
        self.assertEqual(said[6], "Hello Bob.\r\n")

    async def test_python(self) -> None:
        """The functions for Python find the message and what the server said."""
        [code] = blocks("python")
        names: dict[str, Any] = {}
        exec(compile(code, "web.rst", "exec"), names)
        names["URL"] = self.url

        def deliver_and_wait() -> Any:
            import smtplib

            with smtplib.SMTP("127.0.0.1", self.server.ports["smtp"]) as client:
                client.sendmail(
                    "alice@example.org",
                    ["rcpt550@example.org", "bob@example.org"],
                    "Subject: x\r\n\r\nHi\r\n",
                )
            return names["wait_for_message"]("bob@example.org")

        message = await deferToThread(deliver_and_wait)
        self.assertEqual(message["text"], "Hi\r\n")
        self.assertEqual([reply[:3] for reply in names["replies_to"](message, "RCPT")], ["550", "250"])
        late = await deferToThread(self.status_of, names["wait_for_message"])
        self.assertEqual(late, 408)

    @staticmethod
    def status_of(wait: Any) -> int:
        """What a wait in vain says."""
        import urllib.error

        try:
            wait("nobody@example.org", timeout=0)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        return 0
