"""The mailbox Queue of a running server, with Python's smtplib and imaplib, ``moxmail queue``, and a kill."""

from __future__ import annotations

import imaplib
import os
import re
import signal
import smtplib
import sys
import time
from typing import Any

import tomlkit

from .live import ACCOUNT, CLIENT_SECONDS, IMAPS, START_SECONDS, SUBMISSIONS, unverified
from .live import PASSWORD as FIRST_PASSWORD
from .test_readme import Typed

PASSWORD = "correct horse battery"


class QueueTests(Typed):
    """An account of its own, which sees what waits of its mail."""

    def moxmail(self, *words: str, stdin: bytes = b"") -> str:
        """A command on the running server."""
        config = str(self.server.folder / "mox.conf")
        return self.succeeds(
            sys.executable, "-m", "moxtwisted.cli", "-c", config, *words, stdin=stdin
        ).decode()

    def good(self, answer: tuple[str, list[Any]]) -> list[Any]:
        """The data of an answer that must be OK."""
        self.assertEqual(answer[0], "OK", answer)
        return answer[1]

    def client(self) -> imaplib.IMAP4:
        """A logged-in connection."""
        client = imaplib.IMAP4_SSL(self.server.ip, IMAPS, ssl_context=unverified(), timeout=CLIENT_SECONDS)
        client.login(self.address, PASSWORD)
        self.addCleanup(client.shutdown)
        return client

    def send(self, *recipients: str) -> bytes:
        """Submit a message that is to be held for an hour: ``localserve`` would deliver all others."""
        letter = self.letter(author=self.address)
        with smtplib.SMTP_SSL(
            self.server.ip, SUBMISSIONS, timeout=CLIENT_SECONDS, context=unverified()
        ) as smtp:
            smtp.login(self.address, PASSWORD)
            smtp.sendmail(self.address, recipients, letter, mail_options=["HOLDFOR=3600"])
        return letter

    def allow(self, name: str) -> None:
        """Let the account see it, and wait until the running server knows."""
        path = self.server.folder / "domains.conf"
        document: Any = tomlkit.parse(path.read_text("utf-8"))
        document["accounts"][name]["queue_mailbox"] = True
        path.write_text(tomlkit.dumps(document), "utf-8")
        deadline = time.monotonic() + START_SECONDS
        while b"Queue" not in b"".join(self.good(self.client().list())):
            if time.monotonic() > deadline:
                raise AssertionError("the server does not take the new configuration")
            time.sleep(0.1)

    def account(self, name: str) -> None:
        """Make it, with the mailbox; it goes with the test."""
        self.address = f"{name}@localhost"
        self.moxmail(
            "account", "add", name, self.address, "--password-stdin", stdin=PASSWORD.encode() + b"\n"
        )
        self.addCleanup(self.moxmail, "account", "rm", name, "--yes")
        self.allow(name)

    def test_manual(self) -> None:
        """The Python lines of the manual send a message that waits, show it, and cancel it."""
        self.account(f"reader{os.getpid()}")
        (text,) = self.blocks("docs/howto/queue.rst", "python", "HOLDFOR")
        text = text.replace(ACCOUNT, self.address).replace(FIRST_PASSWORD, PASSWORD)
        shown = self.succeeds(sys.executable, "-c", text)
        self.assertIn(b"X-Moxtwisted-Queue: bob@example.com; queued ", shown)
        self.assertTrue(shown.endswith(b"('OK', [b'1'])\n"), shown)
        self.assertNotIn(self.address, self.moxmail("queue", "list"))

    def test_seen_and_cancelled(self) -> None:
        """What was submitted is there, one recipient goes by command, one message by IMAP, for good; the other waits through a kill."""
        self.account(f"sender{os.getpid()}")
        client = self.client()
        self.good(client.select("Queue"))
        kept = self.send("a@elsewhere.example", "b@elsewhere.example")
        self.send("c@elsewhere.example")
        self.good(client.noop())
        self.assertEqual(client.untagged_responses["EXISTS"][-1], b"2")
        listed = self.moxmail("queue", "list")
        number = re.findall(r"(\d+).*a@elsewhere\.example", listed)[0]
        self.moxmail("queue", "remove", number, "--yes")
        self.good(client.noop())
        self.assertEqual(self.good(client.uid("SEARCH", "ALL")), [b"2 3"])
        found = self.good(client.uid("FETCH", "3", "(BODY.PEEK[])"))[0][1]
        self.assertTrue(found.endswith(kept.partition(b"\r\n\r\n")[2]))
        self.assertEqual(re.findall(rb"X-Moxtwisted-Queue: (\S+);", found), [b"b@elsewhere.example"])
        self.assertIn(b"as its sender asked", found)
        self.good(client.uid("STORE", "2", "+FLAGS", "(\\Deleted)"))
        self.good(client.expunge())
        self.server.stop(signal.SIGKILL)
        self.server.start()
        listed = self.moxmail("queue", "list")
        self.assertEqual(re.findall(r"[abc]@elsewhere", listed), ["b@elsewhere"])
        client = self.client()
        self.assertEqual(self.good(client.select("Queue", readonly=True)), [b"1"])
        self.assertEqual(self.good(client.uid("FETCH", "3", "(BODY.PEEK[])"))[0][1], found)
        self.assertEqual(client.append("Queue", "", "", kept)[0], "NO")  # type: ignore[arg-type]
