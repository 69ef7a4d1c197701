"""fetchmail and getmail: programs that fetch a mailbox into a local one."""

from __future__ import annotations

import mailbox
import os
import shutil
import tempfile
from pathlib import Path

from .live import ACCOUNT, IMAPS, PASSWORD, LiveTestCase, base64_lines
from .peers import needs

NOBODY = "nobody"

FETCHMAILRC = """\
poll {ip} protocol IMAP port {port}
  username "{account}" password "{password}"
  ssl no sslcertck
  folder "{mailbox}"
  {keeping}
  mda "cat >> {folder}/fetched"
"""

GETMAILRC = """\
[retriever]
type = SimpleIMAPSSLRetriever
server = {ip}
port = {port}
username = {account}
password = {password}
mailboxes = ("{mailbox}",)

[destination]
type = Maildir
path = {maildir}/
{user}

[options]
read_all = {all}
delete = {delete}
delivered_to = false
received = false
"""


class FetcherTestCase(LiveTestCase):
    """A mailbox with three messages, one of them of five megabytes."""

    def setUp(self) -> None:
        """Fill the mailbox."""
        super().setUp()
        self.mailbox = f"fetch-{self._testMethodName}"
        self.connection = self.server.imap()
        self.addCleanup(self.connection.shutdown)
        self.connection.create(self.mailbox)
        self.letters = [
            self.letter(),
            self.letter("Ünïcode\r\n".encode()),
            self.letter(base64_lines(5_000_000)),
        ]
        for letter in self.letters:
            self.assertEqual(self.connection.append(self.mailbox, "", "", letter)[0], "OK")
        self.values = {
            "ip": self.server.ip,
            "port": IMAPS,
            "account": ACCOUNT,
            "password": PASSWORD,
            "mailbox": self.mailbox,
            "folder": self.folder,
        }

    def left(self) -> int:
        """How many messages the mailbox has now."""
        status, (number,) = self.connection.select(self.mailbox)
        self.assertEqual(status, "OK")
        return int(number or b"0")


@needs("fetchmail")
class FetchmailTests(FetcherTestCase):
    """fetchmail over TLS, handing messages to a command."""

    def fetchmail(self, keeping: str) -> tuple[int, bytes]:
        """Run it once; its exit code and output."""
        path = self.folder / "fetchmailrc"
        path.write_text(FETCHMAILRC.format(keeping=keeping, **self.values))
        path.chmod(0o600)
        return self.ends(
            "fetchmail",
            "--fetchmailrc",
            str(path),
            "--nodetach",
            "--nosyslog",
            "--pidfile",
            str(self.folder / "pid"),
            "--idfile",
            str(self.folder / "ids"),
        )

    def test_fetches_and_keeps(self) -> None:
        """With keep, each message is fetched once and stays, seen; a second run has nothing to do."""
        code, output = self.fetchmail("keep")
        self.assertEqual(code, 0, output)
        fetched = (self.folder / "fetched").read_bytes()
        for letter in self.letters:
            self.assertIn(letter.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")[:2000], fetched)
        self.assertEqual(self.left(), 3)
        self.assertEqual(self.connection.search(None, "UNSEEN")[1], [b""])
        self.assertEqual(self.fetchmail("keep")[0], 1)

    def test_fetches_and_deletes(self) -> None:
        """Without keep, the mailbox is empty afterwards."""
        code, output = self.fetchmail("no keep")
        self.assertEqual(code, 0, output)
        self.assertEqual(self.left(), 0)


@needs("getmail")
class GetmailTests(FetcherTestCase):
    """getmail6 over TLS, into a Maildir; root has it write that as somebody else, for it refuses to write as root."""

    def setUp(self) -> None:
        """Make the Maildir, where whoever writes it can reach it."""
        super().setUp()
        above = Path(tempfile.mkdtemp(prefix="moxtwisted-"))
        self.addCleanup(shutil.rmtree, above)
        self.maildir = above / "Maildir"
        mailbox.Maildir(self.maildir)
        if os.geteuid() == 0:
            for path in (above, self.maildir, *self.maildir.iterdir()):
                shutil.chown(path, NOBODY)

    def getmail(self, *, fetch_all: bool, delete: bool) -> None:
        """Run it once."""
        path = self.folder / "getmailrc"
        user = f"user = {NOBODY}" if os.geteuid() == 0 else ""
        options = {
            "all": str(fetch_all).lower(),
            "delete": str(delete).lower(),
            "maildir": self.maildir,
            "user": user,
        }
        path.write_text(GETMAILRC.format(**options, **self.values))
        self.succeeds("getmail", "--getmaildir", str(self.folder), "--rcfile", str(path))

    def test_fetches_what_is_new(self) -> None:
        """Each message comes once with its octets; a second run fetches only what came since."""
        self.getmail(fetch_all=False, delete=False)
        kept = [message.as_bytes() for message in mailbox.Maildir(self.maildir)]
        self.assertEqual(len(kept), 3)
        self.connection.append(self.mailbox, "", "", self.letter())
        self.getmail(fetch_all=False, delete=False)
        self.assertEqual(len(mailbox.Maildir(self.maildir)), 4)
        self.assertEqual(self.left(), 4)

    def test_deletes(self) -> None:
        """With delete, the mailbox is empty afterwards."""
        self.getmail(fetch_all=True, delete=True)
        self.assertEqual(self.left(), 0)
