"""The twistd plugin: options, the log, and errors without tracebacks."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

from twisted.application.service import Service
from twisted.internet import reactor
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted import __version__, tap
from moxtwisted.compose import ending
from moxtwisted.errors import KeyRefusedError
from tests.config.test_load import DOMAINS, STATIC


class TapTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Both files."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.path = directory / "mox.conf"
        self.path.write_text(STATIC + '[log]\nlevel = "warn"\npackages = {"moxtwisted.smtp" = "debug"}\n')
        (directory / "domains.conf").write_text(DOMAINS)

    def exits(self, function: Any, *arguments: Any) -> tuple[int, str, str]:
        """The exit status, and what was printed."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            error = self.assertRaises(SystemExit, function, *arguments)
        return error.code, out.getvalue(), err.getvalue()

    def test_options(self) -> None:
        """The configuration is read while options are parsed; the log's levels come from it."""
        options = tap.Options()
        options.parseOptions(["-c", str(self.path)])
        self.assertEqual(options.loaded.static.hostname, "mail.example.org")
        levels = options.log_levels.list()
        self.assertEqual((levels[""], levels["moxtwisted.smtp"]), ("warn", "debug"))

    def test_log_of_twistd(self) -> None:
        """Twistd is given our log, unless the operator asked for another or for syslog."""
        cases: tuple[tuple[dict[str, Any], bool], ...] = (
            ({}, True),
            ({"logger": "x"}, False),
            ({"syslog": True}, False),
        )
        for parent, ours in cases:
            options = tap.Options()
            options.parent = dict(parent)  # type: ignore[assignment]
            options.parseOptions(["--config", str(self.path)])
            chosen = dict(options.parent or {}).get("logger")
            self.assertEqual(chosen == "moxtwisted.tap.log_observer", ours)

    def test_log_by_name(self) -> None:
        """The function that twistd is told the name of makes the log of these options."""
        options = tap.Options()
        options.parent = {"nodaemon": True}  # type: ignore[assignment]
        options.parseOptions(["--config", str(self.path)])
        self.assertTrue(callable(tap.log_observer()))

    def test_problems_without_traceback(self) -> None:
        """A configuration that is not valid is told line by line, and the status is the one for systemd."""
        self.path.write_text("hostnam = 1\n[x]\n")
        status, _, err = self.exits(tap.Options().parseOptions, ["-c", str(self.path)])
        self.assertEqual(status, 78)
        self.assertIn("did you mean hostname?", err)
        self.assertIn("mox.conf: x: unknown key", err)
        self.assertNotIn("Traceback", err)

    def test_the_right_file(self) -> None:
        """The last line names the file that has the problems."""
        domains = self.path.with_name("domains.conf")
        domains.unlink()
        _, _, err = self.exits(tap.Options().parseOptions, ["-c", str(self.path)])
        self.assertEqual(err.splitlines()[-1], f"cannot start: 1 problem in {domains.absolute()}")

    def test_version(self) -> None:
        """--version is the version of moxtwisted."""
        status, out, _ = self.exits(tap.Options().parseOptions, ["--version"])
        self.assertEqual((status or 0, out), (0, f"moxtwisted {__version__}\n"))

    def test_unknown_option(self) -> None:
        """An option that is not there is refused by twistd's own means."""
        self.assertRaises(UsageError, tap.Options().parseOptions, ["--nonsense"])

    def options(self) -> tap.Options:
        """Parsed ones."""
        options = tap.Options()
        options.parseOptions(["-c", str(self.path)])
        return options

    def compose(self, make_service: Any) -> None:
        """Put this in the place of the composition."""
        module = type(sys)("moxtwisted.compose.server")
        module.make_service = make_service  # type: ignore[attr-defined]
        # In the dictionary that there is: importing looks into that, whatever sys.modules is called by then.
        patched = patch.dict(sys.modules, {"moxtwisted.compose.server": module})
        patched.start()
        self.addCleanup(patched.stop)

    def test_service(self) -> None:
        """The service is composed of what was loaded."""
        composed = Service()
        options = self.options()

        def make_service(loaded: Any, reactor: Any, *, log_levels: Any) -> Service:
            self.assertIs(loaded, options.loaded)
            self.assertIs(log_levels, options.log_levels)
            return composed

        self.compose(make_service)
        endings = Mock()
        self.patch(ending, "Ending", endings)
        self.assertIs(tap.makeService(options), composed)
        endings.assert_called_once_with(reactor)

    def test_key_refused(self) -> None:
        """A missing key is a sentence and a refusal to start."""

        def make_service(*arguments: Any, **named: Any) -> Service:
            raise KeyRefusedError("store.key: there is no key file")

        self.compose(make_service)
        status, _, err = self.exits(tap.makeService, self.options())
        self.assertEqual((status, err), (78, "store.key: there is no key file\n"))
