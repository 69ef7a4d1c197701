"""Two accounts of a running server that share: Python's imaplib, and ``moxmail acl``."""

from __future__ import annotations

import imaplib
import os
import signal
import sys
from typing import Any

from .live import CLIENT_SECONDS, IMAPS, LiveTestCase, base64_lines, unverified

PASSWORD = "correct horse battery"


class SharingTests(LiveTestCase):
    """Alice, who is the account of ``localserve``, and a second account."""

    def moxmail(self, *words: str, stdin: bytes = b"") -> str:
        """A command on the running server."""
        config = str(self.server.folder / "mox.conf")
        return self.succeeds(
            sys.executable, "-m", "moxtwisted.cli", "-c", config, *words, stdin=stdin
        ).decode()

    def client(self, user: str) -> imaplib.IMAP4:
        """A logged-in connection."""
        client = imaplib.IMAP4_SSL(self.server.ip, IMAPS, ssl_context=unverified(), timeout=CLIENT_SECONDS)
        client.login(user, PASSWORD)
        self.addCleanup(client.shutdown)
        return client

    def good(self, answer: tuple[str, list[Any]]) -> list[Any]:
        """The data of an answer that must be OK."""
        self.assertEqual(answer[0], "OK", answer)
        return answer[1]

    def test_two_accounts(self) -> None:
        """Rights given by a program or by the operator let another account list, read, add and move, across a kill -9; large mail too."""
        number = os.getpid()
        name, address = f"guest{number}", f"guest{number}@localhost"
        self.moxmail("account", "add", name, address, "--password-stdin", stdin=PASSWORD.encode() + b"\n")
        self.addCleanup(self.moxmail, "account", "rm", name, "--yes")
        owner = self.server.imap()
        self.addCleanup(owner.shutdown)
        self.good(owner.create(f"Share{number}"))
        self.good(owner.setacl(f"Share{number}", address, "lrswi"))
        self.assertIn(f"{name} lrswi".encode(), self.good(owner.getacl(f"Share{number}"))[0])
        guest = self.client(address)
        shared = f'"Other Users/mox/Share{number}"'
        self.assertIn(b"lrswi", self.good(guest.myrights(shared))[0])
        self.assertIn(shared.encode(), b"".join(self.good(guest.list())))
        # a message of 3 MB, and small ones, from one account to the other and back
        letters = [self.letter(base64_lines(size)) for size in (10, 3_000_000, 1000)]
        for letter in letters:
            self.good(guest.append("INBOX", "", "", letter))  # type: ignore[arg-type]
        self.good(guest.select("INBOX"))
        self.good(guest.copy("1:3", shared))
        self.assertEqual(self.fetched(guest, shared), letters)
        self.assertEqual(self.fetched(owner, f"Share{number}"), letters)
        self.assertEqual(guest.uid("MOVE", "1:*", "INBOX")[0], "NO")
        self.moxmail("acl", "set", "mox", f"Share{number}", name, "+te")
        self.good(guest.select(shared))
        self.good(guest.uid("MOVE", "1:*", "INBOX"))
        self.assertEqual(self.fetched(owner, f"Share{number}"), [])
        self.assertEqual(self.fetched(guest, "INBOX"), letters + letters)
        self.killed(name, address, shared)

    def fetched(self, client: imaplib.IMAP4, mailbox: str) -> list[bytes]:
        """All messages of a mailbox, in their order."""
        if self.good(client.select(mailbox, readonly=True))[0] == b"0":
            return []
        return [
            part[1] for part in self.good(client.fetch("1:*", "(BODY.PEEK[])")) if isinstance(part, tuple)
        ]

    def killed(self, name: str, address: str, shared: str) -> None:
        """The rights are there after SIGKILL; taken away, they are gone at once."""
        self.server.stop(signal.SIGKILL)
        self.server.start()
        guest = self.client(address)
        self.assertIn(b"lrswite", self.good(guest.myrights(shared))[0])
        box = shared.strip('"').rpartition("/")[2]
        self.assertIn("lrswite", self.moxmail("acl", "list", "mox", box))
        self.good(guest.select(shared))
        self.moxmail("acl", "rm", "mox", box, name)
        self.assertEqual(guest.select(shared)[0], "NO")
        self.assertNotIn(shared.encode(), b"".join(self.good(guest.list())))
