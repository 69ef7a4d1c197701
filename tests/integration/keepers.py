"""A whole server with keepers, and clients by IMAP; see ``tests.integration.receivers`` for the rest."""

from __future__ import annotations

import imaplib
import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from tests.integration.live import unverified
from tests.integration.receivers import UNSPARED, ReceiversCase
from tests.test_compose import IP, WAIT_SECONDS

__all__ = ["IMAP", "IMAPS", "KeepersCase", "keepers_below"]

IMAP, IMAPS = 1143, 1993
PASSWORD = "moxmoxmox"


def keepers_below(pid: int) -> list[int]:
    """The processes of this server's keepers that there are."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            above = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"moxtwisted.tap.keeper" in words and above == pid:
            found.append(int(path.name))
    return found


class KeepersCase(ReceiversCase):
    """Two keepers and no receivers; besides ``mox`` there are those of ``people``, with the same password.

    :cvar people: more accounts.
    """

    processes = 0
    keepers = 2
    people: ClassVar[tuple[str, ...]] = ()

    def setUp(self) -> None:
        """Configured, and not started."""
        super().setUp()
        domains = self.home / "domains.conf"
        domains.write_text(
            domains.read_text()
            + "".join(
                f'\n[accounts.{name}]\ndomain = "localhost"\n[accounts.{name}.addresses."{name}@localhost"]\n'
                for name in self.people
            )
        )

    # -- the server ----------------------------------------------------------------------------------------------

    def serve(self, before: str = UNSPARED) -> subprocess.Popen[bytes]:
        """Start it; its keepers take accounts then, and all can log in."""
        first = not hasattr(self, "log")
        already = [] if first else [len(self.kept_by(n + 1)) for n in range(self.keepers)]
        child = super().serve(before)
        self.has_keepers(*[often + 1 for often in already or [0] * self.keepers])
        if first:
            for name in self.people:
                self.moxmail("setpassword", name, said=f"{PASSWORD}\n")
        return child

    def has_keepers(self, *times: int) -> None:
        """Wait until each was started so often."""
        self.until(
            lambda: all(len(self.kept_by(n + 1)) >= often for n, often in enumerate(times)),
            f"no keepers, or not often enough: {times}",
        )

    def kept_by(self, number: int) -> list[int]:
        """The processes that were this keeper."""
        return [event["pid"] for event in self.events(" serves IMAP") if event.get("keeper") == number]

    def keeper(self, number: int) -> int:
        """The process that it is now."""
        return self.kept_by(number)[-1]

    def kill_keeper(self, number: int, how: signal.Signals = signal.SIGKILL) -> int:
        """End one without warning; its process."""
        pid = self.keeper(number)
        self.assertIn(pid, keepers_below(self.child.pid))
        os.kill(pid, how)
        return pid

    def where(self, account: str) -> int:
        """Which keeper has the database of an account open; 0: none."""
        name = str(self.home / "data" / "accounts" / f"{account}.db")
        for number in range(1, self.keepers + 1):
            for path in Path(f"/proc/{self.keeper(number)}/fd").iterdir():
                try:
                    if str(path.readlink()) == name:
                        return number
                except OSError:
                    continue
        return 0

    # -- clients -------------------------------------------------------------------------------------------------

    def login(
        self, name: str = "mox", *, port: int = IMAPS, starttls: bool = False, password: str = PASSWORD
    ) -> imaplib.IMAP4:
        """A client that is logged in."""
        there: imaplib.IMAP4
        if port == IMAPS:
            there = imaplib.IMAP4_SSL(IP, port, ssl_context=unverified(), timeout=WAIT_SECONDS)
        else:
            there = imaplib.IMAP4(IP, port, timeout=WAIT_SECONDS)
            if starttls:
                there.starttls(unverified())
        self.addCleanup(self.close, there)
        there.login(f"{name}@localhost", password)
        return there

    def close(self, there: imaplib.IMAP4) -> None:
        """Let go of a connection, whatever became of it."""
        with suppress(OSError):
            there.shutdown()

    def good(self, answer: tuple[str, list[Any]]) -> list[Any]:
        """The data of an answer that must be OK."""
        self.assertEqual(answer[0], "OK", answer)
        return answer[1]

    def bye(self, there: imaplib.IMAP4) -> str:
        """What a client is told before its connection ends: the text of its BYE."""
        said = b""
        there.sock.settimeout(WAIT_SECONDS)
        try:
            while more := there.readline():
                said = more
        except (OSError, imaplib.IMAP4.abort):
            pass
        self.close(there)
        found = re.match(rb"\* BYE (.*)\r\n", said)
        return found[1].decode() if found else ""

    def count(self, there: imaplib.IMAP4, mailbox: str = "INBOX") -> int:
        """How many messages there are."""
        found = re.search(rb"MESSAGES (\d+)", self.good(there.status(mailbox, "(MESSAGES)"))[0])
        return int(found[1]) if found else -1
