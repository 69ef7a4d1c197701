"""The second plugin."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from twisted.application.service import IService, IServiceMaker
from twisted.internet import reactor
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted import __version__
from moxtwisted.badsmtp.options import options
from moxtwisted.compose import ending
from moxtwisted.tap import badsmtp


class TapTests(SynchronousTestCase):
    """``twistd badsmtp``."""

    def setUp(self) -> None:
        ours = ("BADSMTP_", "LOG_", "SYSLOG_")
        self.patch(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith(ours)})

    def parsed(self, *arguments: str) -> badsmtp.Options:
        parsed = badsmtp.Options()
        parsed.parseOptions(["--config", os.devnull, *arguments])
        return parsed

    def test_found(self) -> None:
        """Twistd finds it beside the mail server."""
        makers: dict[str, Any] = {maker.tapname: maker for maker in getPlugins(IServiceMaker)}
        self.assertEqual(makers["badsmtp"].module, "moxtwisted.tap.badsmtp")
        self.assertIn("moxmail", makers)

    def test_options(self) -> None:
        """Options are those of the command, and go before the environment."""
        self.patch(os, "environ", {**os.environ, "BADSMTP_PORT": "1001", "BADSMTP_TLS_PORT": "1002"})
        found = self.parsed(
            "-p", "0", "--mailbox", "m", "--hostname-mapping", "a.example=a", "--hostname-mapping", "b.example=b",
            "--enable-hostname-routing", "yes", "--log-level", "error",
        ).configuration  # fmt: skip
        settings = found.settings
        self.assertEqual((settings.port, settings.tls_port, settings.mailbox_dir), (0, 1002, "m"))
        self.assertEqual(dict(settings.hostname_mailbox_map), {"a.example": "a", "b.example": "b"})
        self.assertEqual((settings.enable_hostname_routing, found.log.log_level), (True, "ERROR"))

    def test_help(self) -> None:
        """Each option is explained."""
        help_ = badsmtp.Options().getUsage(10_000)  # type: ignore[no-untyped-call]
        for option in options():
            self.assertIn(f"{option.flag}=", help_)

    def test_wrong(self) -> None:
        """All that is wrong is told, and the status is that of a wrong configuration."""
        path = Path(self.mktemp())
        path.write_text("prot: 1\n")
        error = io.StringIO()
        with redirect_stderr(error):
            e = self.assertRaises(SystemExit, self.parsed, "--config", str(path), "--port", "x")
        self.assertEqual(e.code, 78)
        self.assertIn("did you mean port?", error.getvalue())
        self.assertIn("--port: ", error.getvalue())

    def test_version(self) -> None:
        """The version is ours, not Twisted's."""
        output = io.StringIO()
        with redirect_stdout(output):
            e: Any = self.assertRaises(SystemExit, self.parsed, "--version")
        self.assertEqual((e.code, output.getvalue()), (0, f"moxtwisted {__version__}\n"))

    def test_service(self) -> None:
        """It makes a service, which opens nothing yet."""
        endings = Mock()
        self.patch(ending, "Ending", endings)
        service = badsmtp.makeService(self.parsed("--log-output", "off"))
        endings.assert_called_once_with(reactor)
        self.assertTrue(IService.providedBy(service))
        self.assertEqual(dict(service.ports), {})  # type: ignore[attr-defined]
