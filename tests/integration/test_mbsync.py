"""mbsync (isync): a mailbox and a Maildir kept the same, both ways.

It goes through openssl's client, for it insists that the certificate names the address it connects to.
"""

from __future__ import annotations

import re

from .live import ACCOUNT, IMAPS, PASSWORD, LiveTestCase, base64_lines
from .peers import needs

#: Behind the lines that say how the server is reached.
MAILDIR_CHANNEL = """
MaildirStore local
Path {folder}/mail/
Inbox {folder}/mail/INBOX
SubFolders Verbatim

Channel both
Far :server:
Near :local:
Patterns {mailbox}
Create Both
Expunge Both
Sync All
SyncState {folder}/state/
"""

CONFIGURATION = (
    """\
IMAPStore server
Tunnel "openssl s_client -quiet -verify_quiet -connect {ip}:{port}"
User {account}
Pass {password}
"""
    + MAILDIR_CHANNEL
)


@needs("mbsync", "openssl")
class MbsyncTests(LiveTestCase):
    """A channel of one mailbox."""

    def setUp(self) -> None:
        """Make a mailbox, an empty Maildir and a configuration."""
        super().setUp()
        self.mailbox = f"mbsync-{self._testMethodName}"
        self.connection = self.server.imap()
        self.addCleanup(self.connection.shutdown)
        self.connection.create(self.mailbox)
        (self.folder / "mail").mkdir()
        (self.folder / "state").mkdir()
        values = {
            "ip": self.server.ip,
            "port": IMAPS,
            "account": ACCOUNT,
            "password": PASSWORD,
        }
        text = CONFIGURATION.format(folder=self.folder, mailbox=self.mailbox, **values)
        (self.folder / "mbsyncrc").write_text(text)

    def sync(self) -> None:
        """Run mbsync once."""
        self.succeeds("mbsync", "--config", str(self.folder / "mbsyncrc"), "both")

    def local(self) -> dict[str, bytes]:
        """The messages in the Maildir by file name, without mbsync's own header field."""
        files = [
            path for name in ("cur", "new") for path in (self.folder / "mail" / self.mailbox / name).glob("*")
        ]
        return {path.name: re.sub(rb"(?m)^X-TUID: .*\n", b"", path.read_bytes()) for path in files}

    def append(self, letter: bytes, flags: str = "") -> None:
        """Put a message into the mailbox."""
        status, answer = self.connection.append(self.mailbox, flags, "", letter)
        self.assertEqual(status, "OK", answer)

    def test_down(self) -> None:
        """Messages and flags on the server come into the Maildir, however large."""
        letters = [self.letter(), self.letter(b""), self.letter(base64_lines(5_000_000))]
        for letter in letters:
            self.append(letter, r"(\Seen \Flagged)")
        self.sync()
        kept = self.local()
        if sorted(kept.values()) != sorted(letter.replace(b"\r\n", b"\n") for letter in letters):
            self.fail(f"other octets: {[text[:300] for text in kept.values()]}")
        for name in kept:
            self.assertTrue(name.endswith(":2,FS"), name)

    def test_up_and_down(self) -> None:
        """What is new, flagged or deleted on either side is so on the other after a run; a further run changes nothing."""
        here, there = self.letter(b"near\r\n"), self.letter(b"far\r\n")
        self.append(there)
        self.sync()
        new = self.folder / "mail" / self.mailbox / "cur" / "1.2.host:2,S"
        new.write_bytes(here.replace(b"\r\n", b"\n"))
        self.sync()
        (kept,) = self.found(here, self.mailbox)
        self.assertIn(b"near\r\n", kept)
        self.connection.select(self.mailbox)
        self.assertEqual(self.connection.search(None, "SEEN")[1], [b"2"])
        self.connection.store("1", "+FLAGS", r"(\Answered)")
        self.sync()
        self.assertEqual(len([name for name in self.local() if name.endswith("R")]), 1)
        self.connection.store("1", "+FLAGS", r"(\Deleted)")
        self.connection.expunge()
        self.sync()
        (left,) = self.local().values()
        self.assertIn(b"near", left)
        before = self.connection.status(self.mailbox, "(MESSAGES UIDNEXT HIGHESTMODSEQ)")
        self.sync()
        self.assertEqual(self.connection.status(self.mailbox, "(MESSAGES UIDNEXT HIGHESTMODSEQ)"), before)

    def test_many(self) -> None:
        """Five hundred messages come down in one run and go up into another mailbox in the next."""
        for number in range(500):
            self.append(self.letter(b"%d\r\n" % number))
        self.sync()
        self.assertEqual(len(self.local()), 500)
