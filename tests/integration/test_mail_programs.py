"""The page on mail programs: its settings, with only the server, the account and the folders replaced, do what the page says."""

from __future__ import annotations

import mailbox
import os
import re
import shutil
import tempfile
import textwrap
import time
from pathlib import Path
from urllib.parse import quote

from .live import ACCOUNT, IMAPS, PASSWORD, ROOT, SUBMISSIONS, LiveTestCase
from .peers import needs

PAGE = "docs/howto/mail-programs.rst"
NOBODY = "nobody"
BLOCK = re.compile(r"(?m)^\.\. code-block:: \w+\n\n((?:(?:   .*)?\n)+)")


class Page(LiveTestCase):
    """The page's blocks, for this process's server."""

    def block(self, word: str) -> str:
        """The one block with the word in it."""
        (found,) = [text for text in BLOCK.findall((ROOT / PAGE).read_text()) if word in text]
        text = textwrap.dedent(found).replace("you%40example.org", quote(ACCOUNT))
        text = text.replace("you@example.org", ACCOUNT).replace("the password", PASSWORD)
        return text.replace("~/", f"{self.folder}/")

    def unique(self) -> str:
        """A subject that no other test has."""
        return f"from the page {time.monotonic_ns()}"

    def in_inbox(self, subject: str) -> int:
        """How many messages of the inbox have it."""
        connection = self.server.imap()
        connection.select("INBOX", readonly=True)
        (numbers,) = connection.search(None, "SUBJECT", f'"{subject}"')[1]
        connection.logout()
        return len(numbers.split())


@needs("curl")
class CurlTests(Page):
    def test_curl(self) -> None:
        """With curl a mail is sent, shown, and the mailboxes are listed."""
        subject = self.unique()
        text = self.block("from a script").replace("from a script", subject)
        text = text.replace("mail.example.org:465", f"{self.server.ip}:{SUBMISSIONS}")
        text = text.replace("mail.example.org:993", f"{self.server.ip}:{IMAPS}")
        shown = self.succeeds("sh", "-e", "-c", text.replace("curl ", "curl --insecure "))
        self.assertEqual(self.in_inbox(subject), 1)
        self.assertIn(subject.encode(), shown)
        self.assertIn(b"Archive", shown)


@needs("neomutt")
class NeomuttTests(Page):
    def test_neomutt(self) -> None:
        """With neomutt a mail is sent, by the mechanism that the page tells it to take."""
        text = self.block("smtp_authenticators")
        text = text.replace("@mail.example.org/", f"@{self.server.ip}:{SUBMISSIONS}/")
        text = text.replace("imaps://mail.example.org/", f"imaps://{self.server.ip}:{IMAPS}/")
        certificate = self.folder / "certificate.pem"
        certificate.write_text(self.server.certificate())
        text += f"set ssl_verify_host = no\nset ssl_verify_dates = no\nset certificate_file = {certificate}\n"
        (self.folder / "neomuttrc").write_text(text)
        subject = self.unique()
        self.succeeds(
            "neomutt", "-n", "-F", str(self.folder / "neomuttrc"), "-s", subject, "--", ACCOUNT, stdin=b"x\n"
        )
        self.assertEqual(self.in_inbox(subject), 1)


@needs("getmail")
class GetmailTests(Page):
    def test_getmail(self) -> None:
        """With getmail the inbox comes into the Maildir."""
        subject = self.unique()
        connection = self.server.imap()
        connection.append(
            "INBOX", "", "", self.letter().replace(b"Subject: ", f"Subject: {subject} ".encode())
        )
        connection.logout()
        text = self.block("SimpleIMAPSSLRetriever").replace("port = 993", f"port = {IMAPS}")
        text = text.replace("mail.example.org", self.server.ip)
        # It delivers as nobody when it is run by root, who must be able to reach the Maildir.
        above = Path(tempfile.mkdtemp(prefix="moxtwisted-"))
        self.addCleanup(shutil.rmtree, above)
        maildir = mailbox.Maildir(above / "Maildir")
        if os.geteuid() == 0:
            for path in (above, *above.rglob("*")):
                shutil.chown(path, NOBODY)
            text = text.replace("type = Maildir\n", f"type = Maildir\nuser = {NOBODY}\n")
        (self.folder / "getmailrc").write_text(text.replace(f"{self.folder}/Maildir", f"{above}/Maildir"))
        self.succeeds("getmail", f"--getmaildir={self.folder}", f"--rcfile={self.folder / 'getmailrc'}")
        self.assertEqual(sum(subject in (message["Subject"] or "") for message in maildir), 1)


@needs("mbsync", "openssl")
class MbsyncTests(Page):
    def test_mbsync(self) -> None:
        """With mbsync every mailbox comes into a Maildir, through a tunnel because of the certificate."""
        text = self.block("SyncState").replace("Host mail.example.org\n", "")
        tunnel = f'Tunnel "openssl s_client -quiet -verify_quiet -connect {self.server.ip}:{IMAPS}"'
        self.assertIn("SSLType IMAPS\n", text)
        (self.folder / "mbsyncrc").write_text(text.replace("SSLType IMAPS", tunnel))
        (self.folder / "Mail").mkdir()
        subject = self.unique()
        connection = self.server.imap()
        connection.append(
            "INBOX", "", "", self.letter().replace(b"Subject: ", f"Subject: {subject} ".encode())
        )
        connection.logout()
        self.succeeds("mbsync", "--config", str(self.folder / "mbsyncrc"), "mail")
        files = [file for file in (self.folder / "Mail" / "INBOX").rglob("*") if file.is_file()]
        self.assertEqual(sum(subject.encode() in file.read_bytes() for file in files), 1)
        self.assertTrue((self.folder / "Mail" / "Archive" / "cur").is_dir())
