r"""What Thunderbird says in a session, written down: in its order, its spelling and its case, over TLS and then compressed.

Nothing of it runs here; its commands are those of its source (nsImapProtocol.cpp), which capability by capability decides what is said.
"""

from __future__ import annotations

import base64
import re
import socket
import zlib
from typing import Any

from .live import ACCOUNT, CLIENT_SECONDS, IMAPS, PASSWORD, LiveTestCase, unverified

HEADERS = "From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To"


class Connection:
    """A TLS connection that can be compressed."""

    def __init__(self, ip: str) -> None:
        plain = socket.create_connection((ip, IMAPS), timeout=CLIENT_SECONDS)
        self.socket = unverified().wrap_socket(plain)
        self.buffer = b""
        self.inflater: Any = None
        self.deflater: Any = None
        self.count = 0

    def compress(self) -> None:
        """From now on, both ways."""
        self.inflater = zlib.decompressobj(-15)
        self.deflater = zlib.compressobj(6, zlib.DEFLATED, -15)

    def send(self, octets: bytes) -> None:
        if self.deflater is not None:
            octets = self.deflater.compress(octets) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(octets)

    def line(self) -> bytes:
        """A response, with its literals."""
        response = self._until()
        while found := re.search(rb"\{(\d+)\}\r\n\Z", response):
            size = int(found[1])
            while len(self.buffer) < size:
                self._more()
            response += self.buffer[:size]
            self.buffer = self.buffer[size:]
            response += self._until()
        return response

    def _until(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self._more()
        found, _, self.buffer = self.buffer.partition(b"\r\n")
        return found + b"\r\n"

    def _more(self) -> None:
        octets = self.socket.recv(65536)
        if not octets:
            raise EOFError(self.buffer)
        self.buffer += octets if self.inflater is None else self.inflater.decompress(octets)

    def say(self, command: str, octets: bytes | None = None) -> str:
        """A command with Thunderbird's kind of tag, and what is behind its literal. @return: all responses."""
        self.count += 1
        tag = f"{self.count} "
        self.send(tag.encode() + command.encode() + b"\r\n")
        said = [b""]
        while not said[-1].startswith(tag.encode()):
            if said[-1].startswith(b"+") and octets is not None:
                self.send(octets)
                octets = None
            said.append(self.line())
        return b"".join(said).decode()


class ThunderbirdTests(LiveTestCase):
    """One session, from the log-in to the log-out."""

    def setUp(self) -> None:
        """Have a mailbox with five messages."""
        super().setUp()
        self.mailbox = "Thunderbird"
        other = self.server.imap()
        other.create(self.mailbox)
        other.subscribe(self.mailbox)
        self.letters = [self.letter(b"%d\r\n" % n) for n in range(5)]
        for letter in self.letters:
            other.append(self.mailbox, "", "", letter)
        self.other = other
        self.addCleanup(other.shutdown)
        self.connection = Connection(self.server.ip)
        self.addCleanup(self.connection.socket.close)

    def yes(self, command: str, *expected: str, octets: bytes | None = None) -> str:
        """A command that is answered OK, and with each of these patterns."""
        answer = self.connection.say(command, octets)
        self.assertRegex(answer, r"(?m)^\d+ OK ", command)
        for pattern in expected:
            self.assertRegex(answer, pattern, command)
        return answer

    def log_in(self) -> None:
        """Up to the list of folders."""
        self.assertIn(b"* OK", self.connection.line())
        self.yes("capability", r"AUTH=PLAIN", r"IMAP4rev1")
        secret = base64.b64encode(f"\0{ACCOUNT}\0{PASSWORD}".encode())
        self.yes("authenticate PLAIN", octets=secret + b"\r\n")
        has = self.yes("capability")
        for name in (
            "IDLE NAMESPACE ID UIDPLUS QUOTA CONDSTORE ENABLE MOVE ESEARCH LIST-EXTENDED STATUS=SIZE".split()
        ):
            self.assertIn(f" {name}", has)
        self.yes("COMPRESS DEFLATE")
        self.connection.compress()
        self.yes('ID ("name" "Thunderbird" "version" "128.5.0esr")', r'\* ID \("name" ')
        self.yes("ENABLE CONDSTORE", r"\* ENABLED CONDSTORE")
        self.yes("namespace", r'\* NAMESPACE \(\("" "/"\)\)')
        self.yes(
            'list (subscribed) "" "*" return (special-use)',
            r'\* LIST \([^)]*\\Subscribed[^)]*\) "/" "?Thunderbird"?\r',
        )
        self.yes('list "" "INBOX"', r'\* LIST \([^)]*\) "/" "?INBOX"?')
        self.yes(
            'LIST (SUBSCRIBED) "" ("Thunderbird" "Sent") RETURN (STATUS (UIDNEXT MESSAGES UNSEEN SIZE))',
            r"\* STATUS \"?Thunderbird\"? \(UIDNEXT 6 MESSAGES 5 UNSEEN 5 SIZE \d+\)",
        )

    def test_session(self) -> None:
        """Each of its commands is answered as it expects, and what it did is so for others."""
        self.log_in()
        said = self.yes(
            'select "Thunderbird" (CONDSTORE)',
            r"\* 5 EXISTS",
            r"\[UIDVALIDITY \d+\]",
            r"\[PERMANENTFLAGS \(.*\\\*\)\]",
        )
        modseq = int(re.findall(r"HIGHESTMODSEQ (\d+)", said)[0])
        self.yes('getquotaroot "Thunderbird"', r"\* QUOTAROOT ")
        said = self.yes("UID fetch 1:* (FLAGS)")
        self.assertEqual(
            # Mail in a folder that is not for junk is $NotJunk by the account's own rules.
            re.findall(r"\* (\d) FETCH \(UID (\d) FLAGS \(\$NotJunk\)\)", said),
            [(str(n), str(n)) for n in range(1, 6)],
        )
        said = self.yes(f"UID fetch 1:5 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS ({HEADERS})])")
        self.assertEqual(len(re.findall(r"BODY\[HEADER\.FIELDS \(From .*\)\] \{\d+\}\r\n", said)), 5)
        self.assertEqual(said.count("\r\nMessage-ID: <"), 5)
        said = self.yes("UID fetch 3 (UID RFC822.SIZE BODY[])", r"FLAGS \(\\Seen \$NotJunk\)")
        self.assertIn(self.letters[2].decode(), said)
        self.yes("uid store 4 +Flags (\\Seen $label1)", r"\* 4 FETCH .*FLAGS \(\\Seen \$label1 \$NotJunk\)")
        said = self.yes(f"UID fetch 1:* (FLAGS) (CHANGEDSINCE {modseq})")
        self.assertEqual(re.findall(r"\* \d FETCH \(UID (\d) ", said), ["3", "4"])
        self.yes(
            "UID SEARCH RETURN (MIN MAX COUNT) UNDELETED UNSEEN",
            r"\* ESEARCH \(TAG \"\d+\"\) UID MIN 1 MAX 5 COUNT 3",
        )
        self.yes('create "Thunderbird/2026"')
        self.yes('uid move 2 "Thunderbird/2026"', r"\[COPYUID \d+ 2 1\]", r"\* 2 EXPUNGE")
        self.yes('uid copy 5 "Thunderbird/2026"', r"\[COPYUID \d+ 5 2\]")
        self.yes("uid store 5 +Flags (\\Seen \\Deleted)")
        self.yes("uid expunge 5", r"\* 4 EXPUNGE")
        letter = self.letter(b"a draft\r\n")
        size = len(letter)
        self.yes(
            f'append "Thunderbird" (\\Seen \\Draft) "21-Nov-2026 12:00:00 +0000" {{{size}}}',
            r"\[APPENDUID \d+ 6\]",
            octets=letter + b"\r\n",
        )
        self.idle()
        self.yes("noop")
        self.yes("close")
        self.assertIn("* BYE", self.yes("logout"))
        self.other.select(self.mailbox, readonly=True)
        found = self.other.uid("FETCH", "1:*", "(UID FLAGS)")[1]
        self.assertEqual(len(found), 5)
        self.assertEqual(
            self.other.status(f"{self.mailbox}/2026", "(MESSAGES)")[1], [b"Thunderbird/2026 (MESSAGES 2)"]
        )

    def idle(self) -> None:
        """It hears of a new message while it waits, fetches its headers, and waits again."""
        connection = self.connection
        connection.send(b"900 IDLE\r\n")
        self.assertTrue(connection.line().startswith(b"+ "))
        letter = self.letter(b"new\r\n")
        self.other.append(self.mailbox, "", "", letter)
        self.assertEqual(connection.line(), b"* 5 EXISTS\r\n")
        connection.send(b"DONE\r\n")
        self.assertTrue(connection.line().startswith(b"900 OK"))
        self.yes(
            f"UID fetch 7:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS ({HEADERS})])",
            r"\* 5 FETCH \(UID 7 ",
        )
