"""What a client can say to make much out of little: each is answered with the right code, in bounded work and with a bounded answer.

Work is counted in calls, as in tests/fuzz, so that it is the same on every machine.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.memorysharing import SharedMemoryMail, SharingAuthenticator
from moxtwisted.imap.testing import Driver, counted_entropy, split_responses

MESSAGES = 200
MAILBOXES = 100
# For a line of 16 KB and these messages: what the costliest needs, and half as much again.
MOST_CALLS = 150_000
MOST_OCTETS = 1_000_000


def many(template: str, count: int, between: str = " ") -> str:
    """The same with other numbers."""
    return between.join(template.format(n) for n in range(count))


# The line, and what the last response begins with behind its tag.
LINES: dict[str, tuple[str, bytes]] = {
    # -- literals ----------------------------------------------------------------------------------------------
    "a message over the limit": ("APPEND INBOX {104857601}", b"NO [TOOBIG]"),
    "a message of a hundred gigabytes": ("APPEND INBOX {99999999999}", b"NO [TOOBIG]"),
    "one that is on its way already": ("APPEND INBOX {99999999999+}", b"* BYE "),
    "a replacement over the limit": ("REPLACE 1 INBOX {104857601}", b"NO [TOOBIG]"),
    "a literal over the limit": ("SEARCH SUBJECT {100001}", b"BAD [TOOBIG]"),
    "a literal that is on its way": ("SEARCH SUBJECT {99999999999+}", b"* BYE "),
    "too many literals": ("SEARCH " + "SUBJECT {0+}\r\n " * 1001 + "ALL", b"BAD [TOOBIG]"),
    "too many messages in pieces": (
        "APPEND INBOX CATENATE (" + "TEXT {1+}\r\nx " * 1100 + "TEXT {1+}\r\nx)",
        b"BAD [TOOBIG]",
    ),
    "many messages in one": (
        "APPEND INBOX CATENATE (" + 'URL "/INBOX/;UID=1" ' * 500 + "TEXT {1+}\r\nx)",
        b"OK [APPENDUID",
    ),
    "a value over the limit": (
        "SETMETADATA INBOX (/private/comment {70000+}\r\n" + "x" * 70000 + ")",
        b"NO [METADATA MAXSIZE",
    ),
    # -- searches ----------------------------------------------------------------------------------------------
    "NOT a thousand deep": ("SEARCH " + "NOT " * 1000 + "ALL", b"NO [LIMIT]"),
    "parentheses a thousand deep": ("SEARCH " + "(" * 1000 + "ALL" + ")" * 1000, b"NO [LIMIT]"),
    "OR a thousand deep": ("UID SEARCH " + "OR ALL " * 1000 + "ALL", b"NO [LIMIT]"),
    "THREAD a thousand deep": ("THREAD REFERENCES UTF-8 " + "NOT " * 1000 + "ALL", b"NO [LIMIT]"),
    "ESEARCH a thousand deep": ("ESEARCH IN (personal) " + "NOT " * 1000 + "ALL", b"NO [LIMIT]"),
    "three thousand keys": ("SEARCH " + "SEEN " * 3000 + "ALL", b"NO [LIMIT]"),
    "as many keys as allowed": ("SEARCH " + "UNSEEN " * 1900 + "ALL", b"OK"),
    "three thousand criteria": ("SORT (" + "SIZE " * 3000 + "DATE) UTF-8 ALL", b"NO [LIMIT]"),
    "two thousand mailboxes": (f"ESEARCH IN (mailboxes ({many('m{}', 2000)})) ALL", b"NO [LIMIT]"),
    "a thousand subtrees": (f"ESEARCH IN (subtree ({many('m{}', 1000)})) ALL", b"OK"),
    "a window of four thousand million": ("UID SEARCH RETURN (PARTIAL 1:4294967295) ALL", b"OK"),
    # -- sets --------------------------------------------------------------------------------------------------
    "four thousand million messages": ("UID FETCH 1:4294967295 (FLAGS)", b"OK"),
    "the same messages again and again": ("UID FETCH " + many("1:4294967295", 1200, ",") + " (FLAGS)", b"OK"),
    "many members": ("UID SEARCH UID " + ",".join(str(n * 2) for n in range(1, 3000)), b"OK"),
    "a million members": ("UID FETCH " + "1,3," * 500_000 + "5 FLAGS", b"BAD line is too long"),
    "a million members in a literal": (
        "UID FETCH {4000001+}\r\n" + "1,3," * 1_000_000 + "5 FLAGS",
        b"BAD [TOOBIG]",
    ),
    "many copies of the same": ("COPY " + many("1:200", 2500, ",") + " INBOX", b"OK"),
    "no such number": ("FETCH 99999999999999999999 FLAGS", b"BAD"),
    "a number without end": ("FETCH " + "9" * 16000 + " FLAGS", b"BAD"),
    "QRESYNC with all numbers": (
        "SELECT INBOX (QRESYNC (1 1 1:4294967295 (1:4294967295 1:4294967295)))",
        b"OK",
    ),
    "VANISHED with all numbers": ("UID FETCH 1:4294967295 (FLAGS) (CHANGEDSINCE 1 VANISHED)", b"OK"),
    # -- parts -------------------------------------------------------------------------------------------------
    "a part four thousand deep": ("FETCH 1 BODY[" + "1." * 4000 + "1]", b"BAD"),
    "a part as deep as allowed": ("FETCH 1:200 BODY.PEEK[" + "1." * 99 + "1]", b"OK"),
    "six hundred parts": ("FETCH 1 (" + "BODY.PEEK[]<0.1> " * 600 + "UID)", b"BAD"),
    "as many parts as allowed": ("FETCH 1:200 (" + "BODY.PEEK[1.1.1] " * 499 + "UID)", b"OK"),
    "a thousand header fields": ("FETCH 1 BODY.PEEK[HEADER.FIELDS (" + "a " * 1000 + "a)]", b"BAD"),
    "behind the end": ("FETCH 1 BODY.PEEK[]<4294967295.4294967295>", b"OK"),
    # -- names and patterns ------------------------------------------------------------------------------------
    "wildcards": ('LIST "" "' + "*a%" * 2000 + '"', b"OK"),
    "more wildcards": ('LIST "" "' + "*a" * 4000 + '*"', b"OK"),
    "LSUB with wildcards": ('LSUB "" "' + "*a%" * 2000 + '"', b"OK"),
    "three thousand patterns": ('LIST "" (' + "* " * 3000 + "*)", b"BAD"),
    "a name a thousand deep": ('CREATE "' + "a/" * 1000 + 'a"', b"NO [CANNOT]"),
    "a long name": ('CREATE "' + "a" * 5000 + '"', b"NO [CANNOT]"),
    "modified UTF-7 without end": ('SELECT "&' + "A" * 10000 + '-"', b"NO [NONEXISTENT]"),
    # -- lists -------------------------------------------------------------------------------------------------
    "NOTIFY of two thousand": (
        f"NOTIFY SET (mailboxes ({many('m{}', 2000)}) (MessageNew MessageExpunge))",
        b"NO [LIMIT]",
    ),
    "NOTIFY in nine hundred groups": ("NOTIFY SET " + many("(personal NONE)", 900), b"BAD"),
    "twelve hundred entries": (f"GETMETADATA INBOX ({many('/private/{}', 1200)})", b"NO [LIMIT]"),
    "nine hundred values": (
        "SETMETADATA INBOX (" + many('/private/{} "x"', 900) + ")",
        b"NO [METADATA TOOMANY]",
    ),
    "a long identifier": ("SETACL INBOX " + "x" * 1000 + " lr", b"BAD"),
    "many rights": ("SETACL INBOX bob " + "lr" * 500, b"BAD"),
    "fifteen hundred flags": (f"STORE 1 FLAGS ({many('k{}', 1500)})", b"BAD"),
    "nine hundred flags": (f"STORE 1:200 FLAGS ({many('k{}', 900)})", b"NO [LIMIT]"),
    "five hundred capabilities": ("ENABLE " + many("X", 500), b"BAD"),
    "a hundred fields of ID": ("ID (" + many('"a{}" "b"', 100) + ")", b"BAD"),
    "fifteen hundred items of STATUS": ("STATUS INBOX (" + "MESSAGES " * 1500 + "UNSEEN)", b"OK"),
    "two hundred URLs": ("URLFETCH " + many("imap://x/{}", 200), b"BAD"),
    "three hundred languages": ("LANGUAGE " + many("en", 300), b"BAD"),
    "a long line": ("SEARCH " + "SEEN " * 5000, b"BAD"),
    "a long tag": ("x" * 16000, b"BAD"),
}


def counted(attempt: Callable[[], object]) -> int:
    """How many calls something makes."""
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        attempt()
    finally:
        sys.setprofile(before)
    return calls


class BadInputTests(SynchronousTestCase):
    def driver(self) -> Driver:
        """A client in a mailbox of two hundred messages, beside a hundred others."""
        mail = SharedMemoryMail()
        mail.annotations.limits = (1 << 40, 1_000_000)
        mail.add("INBOX", b"Subject: x\r\n\r\nx\r\n")
        inbox = mail.find("INBOX")
        for _ in range(MESSAGES - 1):
            inbox.add(inbox.messages[1], inbox.flags[0], mail.next_modseq())
        inbox.changed()
        for n in range(MAILBOXES):
            mail.make("a" * 50 + "/" + "b" * 50 + f"/{n}")
        users = {"alice": ("secret", mail), "bob": ("secret", SharedMemoryMail())}
        driver = Driver.of(authenticator=SharingAuthenticator(users, counted_entropy()))
        driver.login()
        driver.command("ENABLE QRESYNC")
        driver.command("SELECT INBOX")
        return driver

    def test_each(self) -> None:
        """Each has its answer, and neither work nor answer is without measure; who did not announce gigabytes may go on."""
        for name, (line, expected) in LINES.items():
            driver = self.driver()
            octets = b"tag " + line.encode() + b"\r\n"
            calls = counted(lambda driver=driver, octets=octets: driver.send(octets))  # type: ignore[misc]
            said = driver.received()
            last = split_responses(said)[-1]
            self.assertTrue(last.removeprefix(b"tag ").startswith(expected), (name, last[:100]))
            self.assertLess(calls, MOST_CALLS, name)
            self.assertLess(len(said), MOST_OCTETS, name)
            self.assertEqual(driver.closed, expected.startswith(b"* BYE"), name)
            if not driver.closed:
                self.assertEqual(driver.command("NOOP")[-1][-17:], b"OK NOOP completed", name)
                self.assertEqual(driver.server.pending_octets, 0, name)

    def test_work_grows_with_the_line(self) -> None:
        """Twice as much of what may be said any number of times makes hardly more than twice the work, not four times."""
        for make in (
            lambda n: "UID FETCH " + many("1:200", n, ",") + " FLAGS",
            lambda n: "SEARCH " + "UNSEEN " * n + "ALL",
            lambda n: "SEARCH " + "OR (SEEN) (NOT UID 1:9) " * (n // 10) + "ALL",
            lambda n: 'LIST "" "' + "*a%" * n + '"',
            lambda n: f"ESEARCH IN (subtree ({many('m{}', n)})) ALL",
            lambda n: f"ESEARCH IN (mailboxes ({many('m{}', n)})) ALL",
            lambda n: f"NOTIFY SET (subtree ({many('m{}', n)}) (MessageNew MessageExpunge MailboxName))",
            lambda n: f"STORE 1 -FLAGS ({many('k{}', n)})",
            lambda n: f"GETMETADATA INBOX ({many('/private/{}', n)})",
            lambda n: "APPEND INBOX CATENATE (" + many('URL "/INBOX/;UID=1"', n) + ")",
            lambda n: f"FETCH 1 BODY.PEEK[HEADER.FIELDS ({many('a{}', n)})]",
            lambda n: "UID SEARCH UID " + ",".join(str(k * 2) for k in range(1, n)),
        ):
            work = []
            for n in (200, 400):
                driver = self.driver()
                octets = b"tag " + make(n).encode() + b"\r\n"
                work.append(counted(lambda driver=driver, octets=octets: driver.send(octets)))  # type: ignore[misc]
                self.assertIn(b"\r\ntag OK ", b"\r\n" + driver.received(), make(2))
            self.assertLess(work[1], 2.3 * work[0] + 1000, (make(2), work))

    def test_keywords_do_not_pile_up(self) -> None:
        """A message has a hundred keywords, however they are given to it, and a command that would give it more does nothing."""
        driver = self.driver()
        self.assertIn(b" OK ", driver.command(f"STORE 2:3 +FLAGS ({many('a{}', 60)})")[-1])
        for line in (
            f"STORE 1:3 +FLAGS.SILENT ({many('b{}', 60)})",
            f"STORE 1 FLAGS ({many('a{}', 101)})",
            f"APPEND INBOX ({many('a{}', 101)}) {{4+}}\r\na: b",
        ):
            self.assertIn(b" NO [LIMIT] ", driver.command(line)[-1], line)
        self.assertIn(b"* 1 FETCH (FLAGS ())", driver.command("FETCH 1 FLAGS"))
        self.assertIn(b" OK ", driver.command(f"STORE 1:3 +FLAGS ({many('A{}', 60)})")[-1])
        self.assertIn(b" OK ", driver.command(f"STORE 2 -FLAGS ({many('A{}', 500)})")[-1])
        self.assertIn(b"* 2 FETCH (FLAGS ())", driver.command("FETCH 2 FLAGS"))

    def test_part_of_part_of_part(self) -> None:
        """Messages in messages as deep as they may be are taken apart once, and what is deeper is not there."""
        octets = b"Subject: inner\r\n\r\ninner\r\n"
        for _ in range(300):
            octets = b"Content-Type: message/rfc822\r\n\r\n" + octets
        driver = self.driver()
        answer = driver.command(b"APPEND INBOX {%d+}\r\n%b" % (len(octets), octets))
        self.assertIn(b" OK ", answer[-1])
        for attribute in (
            "BODYSTRUCTURE",
            "BODY.PEEK[" + "1." * 99 + "1]",
            "BINARY.PEEK[" + "1." * 20 + "1]",
        ):
            calls = counted(lambda attribute=attribute: driver.command(f"FETCH {MESSAGES + 1} {attribute}"))  # type: ignore[misc]
            self.assertLess(calls, 20_000, attribute)
            self.assertIn(b"OK FETCH", driver.command(f"FETCH {MESSAGES + 1} {attribute}")[-1], attribute)

    def test_compressed_bombs(self) -> None:
        """A thousand to one: what is decompressed is a line that is too long, refused with as little kept as of any other."""
        bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
        line = bomb.compress(b"tag NOOP " + b"x" * 10_000_000) + bomb.flush(zlib.Z_SYNC_FLUSH)
        self.assertLess(len(line), 20_000)
        driver = self.driver()
        inflate = zlib.decompressobj(-15)
        driver.command("COMPRESS DEFLATE")
        while line and not driver.closed:
            piece = inflate.decompress(line, 16384)
            line = inflate.unconsumed_tail
            driver.send(piece)
            self.assertLess(driver.server.pending_octets, 40_000)
        self.assertIn(b"tag BAD line is too long", driver.received())
