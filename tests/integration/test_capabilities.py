"""What docs/imap.rst says that IMAP announces is what a server announces."""

from __future__ import annotations

import imaplib
import os
import re
from collections.abc import Callable

from moxtwisted.sasl.client import Credentials, choose

from .live import ACCOUNT, CLIENT_SECONDS, IMAP, IMAPS, PASSWORD, ROOT, LiveTestCase, unverified

PAGE = ROOT / "docs" / "imap.rst"
BLOCK = re.compile(r"(?m)^   \* CAPABILITY ((?:.+\n)+)")


def documented() -> list[list[str]]:
    """The lists of the page: before log-in without and with TLS, and after it."""
    return [block.split() for block in BLOCK.findall(PAGE.read_text())]


def listed(connection: imaplib.IMAP4) -> list[str]:
    """What the server answers."""
    return str(connection.capability()[1][0], "ascii").split()


def by_scram(names: list[str]) -> tuple[str, Callable[[bytes], bytes]]:
    """A log-in that may be done without TLS: mechanism and answers, for imaplib."""
    offered = [name.removeprefix("AUTH=") for name in names if name.startswith("AUTH=")]
    exchange = choose(offered, Credentials(ACCOUNT, PASSWORD), os.urandom)
    if exchange is None:
        raise LookupError(f"no mechanism in {offered}")
    return exchange.mechanism, lambda said: exchange.step(said) if said else exchange.start() or b""


class CapabilityTests(LiveTestCase):
    """Each list of the page, word for word: whoever changes one changes the page."""

    maxDiff = None

    def plain(self) -> imaplib.IMAP4:
        """A connection without TLS."""
        connection = imaplib.IMAP4(self.server.ip, IMAP, timeout=CLIENT_SECONDS)
        self.addCleanup(connection.shutdown)
        return connection

    def tls(self) -> imaplib.IMAP4:
        """A connection with TLS from the first octet."""
        connection = imaplib.IMAP4_SSL(
            self.server.ip, IMAPS, ssl_context=unverified(), timeout=CLIENT_SECONDS
        )
        self.addCleanup(connection.shutdown)
        return connection

    def test_before_login(self) -> None:
        """Before log-in: without TLS, with TLS, and after STARTTLS."""
        plain, tls, _ = documented()
        connection = self.plain()
        self.assertEqual(listed(connection), plain)
        self.assertIn(f"[CAPABILITY {' '.join(plain)}]".encode(), connection.welcome)
        connection.starttls(unverified())
        self.assertEqual(listed(connection), tls)
        self.assertEqual(listed(self.tls()), tls)

    def test_after_login(self) -> None:
        """After log-in it is one list, with TLS and without."""
        after = documented()[2]
        connection = self.tls()
        connection.login(ACCOUNT, PASSWORD)
        self.assertEqual(listed(connection), after)
        connection = self.plain()
        connection.authenticate(*by_scram(listed(connection)))
        self.assertEqual(listed(connection), after)

    def test_each_is_explained(self) -> None:
        """The page's table has each capability that the lists have, and no other."""
        names = {name for block in documented() for name in block}
        names = {re.sub(r"^(AUTH|APPENDLIMIT|MESSAGELIMIT)=.*", r"\1", name) for name in names}
        names = {"AUTH=" if name == "AUTH" else name for name in names}
        rows = re.findall(r"(?m)^   ([^|\n]+) \| [\d, ]+ \| ", PAGE.read_text())
        self.assertEqual(sorted(name for row in rows for name in row.split(", ")), sorted(names))
