"""``import imap``: options, passwords, what is printed, and the exit status."""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path
from typing import Any

from moxtwisted.cli import importing
from tests.cli.test_commands import CommandTestCase

URL = "imaps://alice@old.example/"
REPORT: dict[str, Any] = {
    "messages": 1200,
    "known": 0,
    "flags": 3,
    "removed": 0,
    "unreadable": [],
    "skipped": 0,
    "failed": [],
    "left_out": [["user/bob", "shared, or somebody else's"]],
    "mailboxes": [{"there": "INBOX.Sent", "here": "Sent", "new": 5}],
}
DEFAULTS = {
    "connections": 4,
    "delete": False,
    "dry_run": False,
    "only": [],
    "skip": [],
    "verify": True,
    "tls": True,
    "trust": "",
}


class ImportTests(CommandTestCase):
    def setUp(self) -> None:
        """Nothing of the real environment is seen."""
        super().setUp()
        self.patch(
            importing,
            "call",
            lambda arguments, operation: self.successOrRaise(operation(self.recorder, lambda *_: None)),
        )
        self.patch(os, "environ", {})

    def test_asks(self) -> None:
        """The options go to the operation; the password comes from standard input, a file, the environment or a prompt."""
        out = self.asks(
            f"import imap bob {URL}", "import_imap", "bob", URL, "pw", DEFAULTS, answer=REPORT, stdin="pw\n"
        )
        self.assertEqual(
            out,
            "1,200 messages fetched, flags of 3 changed, 1 mailbox\nleft out: user/bob (shared, or somebody else's)\n",
        )
        file, trust = Path(self.mktemp()), Path(self.mktemp())
        file.write_text("from file\n")
        trust.write_text("PEM")
        options = DEFAULTS | {
            "connections": 2,
            "delete": True,
            "only": ["A", "B"],
            "skip": ["C"],
            "verify": False,
            "tls": False,
            "trust": "PEM",
        }
        words = f"import imap bob {URL} --password-file {file} --connections 2 --delete --only A --only B --skip C"
        words += f" --insecure-no-verify --insecure-no-tls --trust {trust}"
        self.asks(words, "import_imap", "bob", URL, "from file", options, answer=REPORT)
        self.patch(os, "environ", {importing.PASSWORD_VARIABLE: "from there"})
        self.asks(f"import imap bob {URL}", "import_imap", "bob", URL, "from there", DEFAULTS, answer=REPORT)
        self.patch(os, "environ", {})
        self.patch(getpass, "getpass", lambda prompt: f"typed at {prompt}")
        self.run_command("import", "imap", "bob", URL, answer=REPORT, terminal=True)
        self.assertEqual(self.recorder.calls[0][3], f"typed at Password at {URL}: ")

    def test_no_password(self) -> None:
        """What is no password is said of where it came from, and nobody is asked."""
        latin = Path(self.mktemp())
        latin.write_bytes(b"\xff\n")
        for given, says in ((str(latin), "UTF-8"), ("/dev/null", "1 to 1024"), ("/none", "cannot be read")):
            status, _, err = self.run_command("import", "imap", "bob", URL, "--password-file", given)
            self.assertEqual(status, 1)
            self.assertRegex(err, f"^moxmail: {given}: .*{says}.*\n$")
        os.environ[importing.PASSWORD_VARIABLE] = "\udcff"
        self.assertIn("UTF-8", self.run_command("import", "imap", "bob", URL)[2])
        del os.environ[importing.PASSWORD_VARIABLE]

        def end(prompt: str) -> str:
            raise EOFError

        self.patch(getpass, "getpass", end)
        status, _, err = self.run_command("import", "imap", "bob", URL, terminal=True)
        self.assertEqual((status, err), (1, "\nmoxmail: no password was entered; nothing was done\n"))
        self.assertEqual(self.recorder.calls, [])

    def test_problems(self) -> None:
        """What could not be fetched is told, and by the exit status."""
        report = REPORT | {"unreadable": ["INBOX, UID 7: empty"], "skipped": 3, "failed": ["x: gone"]}
        status, _, err = self.run_command("import", "imap", "bob", URL, answer=report, stdin="pw\n")
        self.assertEqual(status, 1)
        self.assertEqual(err, "not fetched: x: gone\nnot fetched: INBOX, UID 7: empty\nnot fetched: 2 more\n")

    def test_again(self) -> None:
        """It goes on until a run finds nothing, and tells what all did together."""
        nothing = REPORT | {"messages": 0, "flags": 0}
        answers = [REPORT, REPORT | {"messages": 2, "flags": 0}, nothing]

        class Recorded:
            async def import_imap(self, *_: Any) -> Any:
                return answers.pop(0)

        self.recorder = Recorded()  # type: ignore[assignment]
        status, out, _ = self.again("--json")
        self.assertEqual(status, 0)
        printed = json.loads(out)
        self.assertEqual((printed["passes"], printed["messages"], printed["flags"]), (3, 1202, 3))

    def again(self, *words: str) -> tuple[int, str, str]:
        """Run it with a recorder that has no calls to be cleared."""
        self.recorder.calls = []
        return self.run_command("import", "imap", "bob", URL, "--again", *words, stdin="pw\n")

    def test_dry_run(self) -> None:
        """A dry run prints a table of mailboxes."""
        status, out, _ = self.run_command(
            "import", "imap", "bob", URL, "--dry-run", answer=REPORT, stdin="pw\n"
        )
        self.assertEqual(status, 0)
        self.assertIn("INBOX.Sent  Sent  5", out)
