"""Dovecot's doveadm as an IMAP client: how somebody would move to another server, or away from one."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from .live import ACCOUNT, IMAPS, PASSWORD, LiveTestCase, base64_lines, message_id
from .peers import needs

CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
mail_home = {folder}/home
mail_location = maildir:{folder}/home/Maildir
mail_plugins =
namespace inbox {{
  inbox = yes
  separator = /
}}
imapc_host = {ip}
imapc_port = {port}
imapc_ssl = imaps
imapc_user = {account}
imapc_password = {password}
imapc_features = {features}
ssl_client_require_valid_cert = no
"""

#: What Dovecot's own manual advises for moving from another server, and what a proxy of a modern server can use.
MIGRATION = "rfc822.size fetch-headers delay-login search modseq"


@needs("dovecot")
class DoveadmTests(LiveTestCase):
    """One mailbox with three messages, seen through Dovecot's IMAP client."""

    def setUp(self) -> None:
        """Fill a mailbox, and write a configuration of Dovecot that runs no daemon."""
        super().setUp()
        self.mailbox = f"dovecot-{self._testMethodName}"
        self.connection = self.server.imap()
        self.addCleanup(self.connection.shutdown)
        self.connection.create(self.mailbox)
        self.letters = [
            self.letter(),
            self.letter("Zwölf\r\n".encode()),
            self.letter(base64_lines(3_000_000)),
        ]
        for letter in self.letters:
            self.assertEqual(self.connection.append(self.mailbox, r"(\Seen)", "", letter)[0], "OK")
        self.home = Path(tempfile.mkdtemp(prefix="moxtwisted-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "home").mkdir()
        user, group = str(os.getuid()), str(os.getgid())
        if os.geteuid() == 0:  # which Dovecot refuses to serve
            user, group = "mail", "mail"
            for path in (self.home, self.home / "home"):
                shutil.chown(path, user, group)
        values = {
            "ip": self.server.ip,
            "port": IMAPS,
            "account": ACCOUNT,
            "password": PASSWORD,
            "features": MIGRATION,
        }
        (self.home / "dovecot.conf").write_text(
            CONFIGURATION.format(folder=self.home, user=user, group=group, **values)
        )

    def doveadm(self, *command: str) -> bytes:
        """Run doveadm as the user of this process, without a daemon; its output."""
        return self.succeeds(
            "doveadm", "-c", str(self.home / "dovecot.conf"), *command, environment={"USER": "mox"}
        )

    def test_moves_a_mailbox_away(self) -> None:
        """A one-way synchronisation copies every message with its octets and flags, and a second run has nothing to do."""
        command = ("backup", "-R", "-f", "-m", self.mailbox, "imapc:")
        self.doveadm(*command)
        self.doveadm(*command)
        files = [
            path for path in (self.home / "home" / "Maildir").rglob("*") if path.parent.name in {"cur", "new"}
        ]
        if sorted(path.read_bytes() for path in files) != sorted(
            letter.replace(b"\r\n", b"\n") for letter in self.letters
        ):
            self.fail(f"other octets: {[path.stat().st_size for path in files]}")
        for path in files:
            # A letter stands for a keyword: mail put into this mailbox is $NotJunk by the account's own rules.
            self.assertRegex(path.name, r":2,S[a-z]?\Z")

    def test_works_on_it_remotely(self) -> None:
        """Search, flags and expunge go through Dovecot's client to us."""
        wanted = message_id(self.letters[0])
        here = ("-o", "mail_location=imapc:")
        found = self.doveadm(
            *here, "fetch", "uid flags", "mailbox", self.mailbox, "HEADER", "Message-ID", wanted
        )
        self.assertIn(b"uid: 1\n", found)
        self.assertIn(rb"\Seen", found)
        self.doveadm(*here, "flags", "add", r"\Flagged", "mailbox", self.mailbox, "uid", "2")
        self.doveadm(*here, "expunge", "mailbox", self.mailbox, "uid", "1")
        self.connection.select(self.mailbox)
        self.assertEqual(self.connection.uid("SEARCH", "ALL")[1], [b"2 3"])
        self.assertEqual(self.connection.uid("SEARCH", "FLAGGED")[1], [b"2"])
