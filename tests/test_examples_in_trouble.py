"""What examples do when something is wrong."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.test_examples import load


class IMAPBackendTests(SynchronousTestCase):
    """The server over a folder of files."""

    def test_one_folder(self) -> None:
        """What is wrong with one folder is said, and those in the others are told all the same."""
        backend = load("imap_backend")
        folder = Path(self.mktemp())
        (folder / "Archive").mkdir(parents=True)
        mail = backend.mail_of(folder, lambda: 1_700_000_000.0)
        for mailbox in mail.mailboxes.values():
            self.addCleanup(mailbox._index.close)
            (mailbox.folder / "new.eml").write_text("Subject: new\n\n")
        mail.mailboxes["Archive"]._index.close()
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            backend.look(mail)
        self.assertIn("Archive: ", printed.getvalue())
        self.assertEqual([len(mail.find(name).view.uids) for name in ("Archive", "INBOX")], [0, 1])
