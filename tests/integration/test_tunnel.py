"""``moxmail admin imapserve`` as the tunnel of mail programs: no log-in, no port."""

from __future__ import annotations

import imaplib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from .live import ACCOUNT, ROOT, LiveTestCase
from .peers import needs
from .test_mbsync import MAILDIR_CHANNEL

MBSYNC = (
    """\
IMAPStore server
Tunnel "cd {root} && {python} -m moxtwisted.cli -c {config} admin imapserve mox"
"""
    + MAILDIR_CHANNEL
)


def command(config: Path, account: str = "mox") -> list[str]:
    """The tunnel."""
    return [sys.executable, "-m", "moxtwisted.cli", "-c", str(config), "admin", "imapserve", account]


class TunnelTests(LiveTestCase):
    @needs("mbsync")
    def test_mbsync(self) -> None:
        """Mbsync keeps a mailbox and a Maildir the same through the tunnel."""
        mailbox = "through-a-tunnel"
        connection = self.server.imap()
        self.addCleanup(connection.shutdown)
        connection.create(mailbox)
        letters = [self.letter() for _ in range(5)]
        for letter in letters:
            self.assertEqual(connection.append(mailbox, "", "", letter)[0], "OK")
        (self.folder / "mail").mkdir()
        (self.folder / "state").mkdir()
        text = MBSYNC.format(
            root=ROOT,
            python=sys.executable,
            config=self.server.folder / "mox.conf",
            folder=self.folder,
            mailbox=mailbox,
        )
        (self.folder / "mbsyncrc").write_text(text)
        self.succeeds("mbsync", "--config", str(self.folder / "mbsyncrc"), "both")
        maildir = self.folder / "mail" / mailbox
        self.assertEqual(len([f for name in ("new", "cur") for f in (maildir / name).iterdir()]), 5)
        (maildir / "new" / "1.one.local").write_bytes(b"Subject: from here\n\nbody\n")
        self.succeeds("mbsync", "--config", str(self.folder / "mbsyncrc"), "both")
        self.assertEqual(connection.select(mailbox)[1], [b"6"])

    def test_running(self) -> None:
        """Imaplib finds itself logged in; an address does for the account; nobody's mail is refused with BYE."""
        for name in ("mox", ACCOUNT):
            started = time.monotonic()
            with imaplib.IMAP4_stream(" ".join(command(self.server.folder / "mox.conf", name))) as client:
                self.assertTrue(client.welcome.startswith(b"* PREAUTH"), client.welcome)
                self.assertLess(time.monotonic() - started, 20)
                self.assertEqual(client.state, "AUTH")
                self.assertEqual(client.select("INBOX")[0], "OK")
        result = subprocess.run(
            command(self.server.folder / "mox.conf", "nobody"),
            input=b"",
            capture_output=True,
            timeout=30,
            check=False,
        )
        self.assertEqual(result.stdout, b"* BYE [NONEXISTENT] there is no such account\r\n")
        self.assertEqual(result.returncode, 1)


class ClosedTests(SynchronousTestCase):
    def test_closed_files(self) -> None:
        """Without a server the closed files are served; what was appended is there afterwards."""
        folder = Path(mkdtemp(prefix="moxmail-"))
        self.addCleanup(shutil.rmtree, folder, True)
        base = [sys.executable, "-m", "moxtwisted.cli"]
        subprocess.run(
            [*base, "localserve", "--dir", str(folder / "s"), "--init-only"],
            check=True,
            capture_output=True,
            cwd=ROOT,
        )
        for expected in (b"0", b"1"):
            result = subprocess.run(
                command(folder / "s" / "mox.conf"),
                input=b"a SELECT INBOX\r\nb APPEND INBOX {8+}\r\na: b\r\n\r\n\r\nc LOGOUT\r\n",
                capture_output=True,
                timeout=60,
                check=False,
                cwd=ROOT,
            )
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertTrue(result.stdout.startswith(b"* PREAUTH "), result.stdout)
            self.assertIn(b"* %b EXISTS\r\n" % expected, result.stdout)
            self.assertIn(b"b OK [APPENDUID", result.stdout)
            self.assertIn(b"c OK", result.stdout)
        nobody = command(folder / "s" / "mox.conf", "nobody")
        result = subprocess.run(nobody, input=b"", capture_output=True, timeout=60, check=False, cwd=ROOT)
        self.assertEqual((result.stdout[:19], result.returncode), (b"* BYE [NONEXISTENT]", 1))
