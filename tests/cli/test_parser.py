"""What wrong command lines are told."""

from __future__ import annotations

import contextlib
import io

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.cli.main import main


class WrongLineTests(SynchronousTestCase):
    """Each mistake gets two lines and the status 2."""

    def said(self, *words: str) -> str:
        """What is on standard error."""
        error = io.StringIO()
        with contextlib.redirect_stderr(error), self.assertRaises(SystemExit) as raised:
            main(words)
        self.assertEqual((raised.exception.code, error.getvalue().count("\n")), (2, 2), error.getvalue())
        return error.getvalue()

    def test_commands(self) -> None:
        """A command that is not there is named, with the one that was meant."""
        self.assertEqual(
            self.said("acount", "list"),
            "moxmail: there is no command acount, did you mean account?\nmoxmail --help says what there is\n",
        )
        self.assertIn(
            "moxmail account: there is no command lst, did you mean list?\n", self.said("account", "lst")
        )
        self.assertIn("moxmail: there is no command zzz\n", self.said("zzz"))

    def test_options(self) -> None:
        """An option that is not there is told by the command that does not have it."""
        self.assertEqual(
            self.said("badsmtp", "--prot", "2526"),
            "moxmail badsmtp: there is no --prot, did you mean --port?\nmoxmail badsmtp --help says what there is\n",
        )
        self.assertIn("did you mean --duration?", self.said("smtp-source", "--durtion=5", "localhost"))
        self.assertIn("moxmail smtp-sink: there is no -A\n", self.said("smtp-sink", "-A", ":0"))
        self.assertIn("moxmail: there is no --foo\n", self.said("--foo"))

    def test_words(self) -> None:
        """Words too many and too few are told."""
        self.assertIn("moxmail badsmtp: nothing is expected at 'extra'\n", self.said("badsmtp", "extra"))
        self.assertIn(
            "moxmail smtp-source: the following arguments are required: TARGET\n", self.said("smtp-source")
        )
