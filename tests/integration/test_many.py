"""Five thousand messages, down and up with programs that keep mailboxes in step: no octet and no flag is different."""

from __future__ import annotations

import hashlib
import re
import ssl

from .many import MAILBOX, MANY_SECONDS, ManyTestCase, maildir, write_maildir
from .peers import needs

MBSYNCRC = """\
IMAPStore server
Tunnel "openssl s_client -quiet -verify_quiet -connect {ip}:{port}"
User {account}
Pass {password}

MaildirStore local
Path {folder}/mail/
SubFolders Verbatim

Channel down
Far :server:{mailbox}
Near :local:many
Create Near
Sync All
CopyArrivalDate yes
SyncState {folder}/down-

Channel up
Far :server:{mailbox}-up
Near :local:many
Create Far
Sync All
CopyArrivalDate yes
SyncState {folder}/up-
"""

OFFLINEIMAPRC = """\
[general]
accounts = test
ui = quiet
metadata = {folder}/offlineimap
fsync = False

[Account test]
localrepository = local
remoterepository = server

[Repository local]
type = Maildir
localfolders = {folder}/offline

[Repository server]
type = IMAP
remotehost = {ip}
remoteport = {port}
remoteuser = {account}
remotepass = {password}
ssl = yes
maxconnections = 3
cert_fingerprint = {fingerprint}
auth_mechanisms = PLAIN
createfolders = False
folderfilter = lambda name: name == {mailbox!r}
"""


# The header field by which mbsync finds again what it has uploaded.
TUID = "X-TUID"


@needs("mbsync", "openssl")
class MbsyncTests(ManyTestCase):
    """Down, and up into another mailbox."""

    def test_down_and_up(self) -> None:
        """What comes down and goes up again is the same with its flags and dates, and a further run changes nothing."""
        (self.folder / "mail").mkdir()
        (self.folder / "mbsyncrc").write_text(MBSYNCRC.format(**self.values))
        run = ("mbsync", "--config", str(self.folder / "mbsyncrc"), "--quiet")
        self.succeeds(*run, "down")
        self.same_locally(maildir(self.folder / "mail" / "many"), without=TUID)
        self.succeeds(*run, "up")
        self.addCleanup(self.deleted, f"{MAILBOX}-up")
        self.same_on_server(f"{MAILBOX}-up", dates=True, without=TUID)
        names = [MAILBOX, f"{MAILBOX}-up"]
        before = [self.connection.status(name, "(UIDNEXT HIGHESTMODSEQ)") for name in names]
        self.succeeds(*run, "down", "up")
        self.assertEqual([self.connection.status(name, "(UIDNEXT HIGHESTMODSEQ)") for name in names], before)


@needs("offlineimap")
class OfflineimapTests(ManyTestCase):
    """Down, into a Maildir, and what is changed there up; and a Maildir up into an empty mailbox."""

    def offlineimap(self, mailbox: str) -> None:
        """Run it once, for one mailbox."""
        certificate = ssl.PEM_cert_to_DER_cert(self.server.certificate())
        fingerprint = hashlib.sha1(certificate, usedforsecurity=False).hexdigest()
        path = self.folder / "offlineimaprc"
        values = {**self.values, "mailbox": mailbox, "fingerprint": fingerprint}
        path.write_text(OFFLINEIMAPRC.format(**values))
        self.succeeds("offlineimap", "-c", str(path), "-o", seconds=MANY_SECONDS)

    def test_down_and_changes_up(self) -> None:
        """All messages come down with their flags; a flag that is set and a file that is put there go up in the next run."""
        mailbox = "offline-down"
        self.copied(mailbox)
        self.offlineimap(mailbox)
        local = self.folder / "offline" / mailbox
        self.same_locally(maildir(local))
        here = self.letter(b"from the Maildir\r\n")
        (local / "cur" / "1.2.host:2,S").write_bytes(here.replace(b"\r\n", b"\n"))
        seen = next(local.glob("*/*:2,R"))
        number = re.search(rb"number (\d+)", seen.read_bytes())
        assert number is not None
        seen.rename(local / "cur" / (seen.name + "S"))
        self.offlineimap(mailbox)
        self.assertEqual(len(self.found(here, mailbox)), 1)
        self.connection.select(mailbox)
        answered = self.connection.search(None, "SEEN", "ANSWERED")[1][0].split()
        self.assertEqual(answered, [b"%d" % (int(number[1]) + 1)])

    def test_up(self) -> None:
        """A Maildir goes up into an empty mailbox with all octets and flags; after the next run nothing is there twice."""
        mailbox = "offline-up"
        self.created(mailbox)
        local = self.folder / "offline" / mailbox
        write_maildir(local)
        self.offlineimap(mailbox)
        self.same_on_server(mailbox, dates=False)
        self.offlineimap(mailbox)
        self.same_on_server(mailbox, dates=False)
        self.same_locally(maildir(local))
