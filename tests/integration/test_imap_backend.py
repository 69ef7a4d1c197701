"""The example of an IMAP backend of one's own, started as its docstring says and asked as it says: by curl."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .live import ROOT, end_with_parent
from .peers import needs

EXAMPLE = ROOT / "examples" / "imap_backend.py"


@needs("curl")
class BackendExampleTests(SynchronousTestCase):
    """One folder with two messages and a folder in it."""

    def setUp(self) -> None:
        """Have the folder, and the server on a free port."""
        self.folder = Path(self.mktemp()).resolve()
        (self.folder / "Archive").mkdir(parents=True)
        (self.folder / "1.eml").write_bytes(b"Subject: one\r\n\r\nfirst\r\n")
        (self.folder / "2.eml").write_bytes(b"Subject: two\n\nsecond\n")
        program = (
            "import runpy, sys; from twisted.internet import task; example = runpy.run_path(sys.argv[1]);"
            "task.react(example['main'], [sys.argv[2], 'tcp:0:interface=127.0.0.1'])"
        )
        self.child = subprocess.Popen(
            [sys.executable, "-u", "-c", program, str(EXAMPLE), str(self.folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, and no locks are held
        )
        self.addCleanup(self.stop)
        assert self.child.stdout is not None
        found = re.search(rb"port (\d+), user reader", self.child.stdout.readline())
        assert found is not None
        self.url = f"imap://127.0.0.1:{int(found[1])}/"

    def stop(self) -> None:
        """End it, by its process number."""
        self.child.send_signal(signal.SIGINT)
        self.child.communicate(timeout=20)

    def curl(self, path: str, *options: str) -> bytes:
        """What curl prints."""
        command = ("curl", "--silent", "--show-error", "--max-time", "30", "--user", "reader:reader")
        done = subprocess.run(
            [*command, *options, self.url + path],
            capture_output=True,
            timeout=40,
            check=False,
            env={**os.environ, "HOME": str(self.folder)},
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""), done.stdout)
        return done.stdout

    def test_lists_and_fetches(self) -> None:
        """The mailboxes are listed, a message is found, and comes with its octets and the line ends of the wire."""
        listed = self.curl("")
        for name in (b"INBOX", b"Archive"):
            self.assertRegex(listed, rb'(?m)^\* LIST \([^)]*\) "/" %b\r$' % name)
        self.assertEqual(self.curl("INBOX?SUBJECT%20two"), b"* SEARCH 2\r\n")
        self.assertEqual(self.curl("INBOX;MAILINDEX=1"), b"Subject: one\r\n\r\nfirst\r\n")
        self.assertEqual(self.curl("INBOX;UID=2"), b"Subject: two\r\n\r\nsecond\r\n")

    def test_uploads(self) -> None:
        """What curl uploads is a file of the folder."""
        letter = self.folder / "letter"
        letter.write_bytes(b"Subject: three\r\n\r\nthird\r\n")
        self.curl("Archive", "--upload-file", str(letter))
        (kept,) = self.folder.glob("Archive/*.eml")
        self.assertEqual(kept.read_bytes(), letter.read_bytes())
