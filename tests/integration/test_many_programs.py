"""Five thousand messages and the programs that fetch, file and read: no octet and no flag is different."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import socketserver
import threading
from collections import Counter
from typing import Any, ClassVar

from imapclient import IMAPClient

from .live import ACCOUNT, CLIENT_SECONDS, IMAPS, PASSWORD, unverified
from .many import (
    AT_ONCE,
    COUNT,
    EXPECTED_DATED,
    MAILBOX,
    MANY_SECONDS,
    ManyTestCase,
    date,
    flags,
    letters,
    maildir,
    message,
    stripped,
    write_maildir,
)
from .peers import needs
from .test_fetchers import NOBODY
from .test_neomutt import NeomuttTestCase
from .thunderbird import HEADERS, Connection, ThunderbirdTestCase

GETMAILRC = """\
[retriever]
type = SimpleIMAPSSLRetriever
server = {ip}
port = {port}
username = {account}
password = {password}
mailboxes = ("{mailbox}",)

[destination]
type = MDA_lmtp
host = 127.0.0.1
port = {lmtp}
override = reader@client.example

[options]
read_all = true
delete = false
delivered_to = false
received = false
verbose = 0
"""


class Deliveries(socketserver.ThreadingTCPServer):
    """An LMTP server (RFC 2033) that keeps what it is given: ``octets``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Delivery)
        self.octets: list[bytes] = []


class _Delivery(socketserver.StreamRequestHandler):
    server: Deliveries
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.wfile.write(b"220 client.example LMTP\r\n")
        for line in self.rfile:
            command = line[:4].upper().strip()
            if command == b"DATA":
                self.wfile.write(b"354 go ahead\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.octets.append(b"".join(line.removeprefix(b".") for line in lines))
            self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 yes\r\n")


@needs("getmail")
class GetmailTests(ManyTestCase):
    """Down; up it cannot, and flags it does not look at.

    It hands the messages to an LMTP server. For a Maildir it makes a process for each message, and when that ends before it is waited for,
    getmail waits for a minute.
    """

    def test_down(self) -> None:
        """All messages come, with all their octets; there is nothing else in the mailbox afterwards."""
        deliveries = Deliveries()
        self.addCleanup(deliveries.server_close)
        thread = threading.Thread(target=deliveries.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(deliveries.shutdown)
        path = self.folder / "getmailrc"
        path.write_text(GETMAILRC.format(lmtp=deliveries.server_address[1], **self.values))
        other: tuple[str, ...] = ()
        if os.geteuid() == 0:
            # It delivers nothing as root.
            for owned in (self.folder, path):
                shutil.chown(owned, NOBODY)
            other = ("setpriv", f"--reuid={NOBODY}", "--clear-groups")
        run = ("getmail", "--getmaildir", str(self.folder), "--rcfile", str(path))
        self.succeeds(*other, *run, environment={"TMPDIR": str(self.folder)}, seconds=MANY_SECONDS)
        added = "Return-Path|X-getmail-retrieved-from-mailbox"
        found = Counter(stripped(octets, added) for octets in deliveries.octets)
        self.same(found, Counter(message(number) for number in range(COUNT)))


@needs("neomutt")
class NeomuttTests(ManyTestCase, NeomuttTestCase):
    r"""From the server into a Maildir, and from a Maildir to the server; \Draft is a flag that neomutt does not have."""

    # It counts when it copies; keywords become tags.
    ADDED = "Content-Length|Lines|Status|X-Status|Tags"

    def setUp(self) -> None:
        """Have it know Maildirs."""
        super().setUp()
        self.configure("set mbox_type = Maildir")

    def copy(self, source: str, target: str) -> None:
        """Tag all and copy them."""
        keys = f"<tag-pattern>~A<enter><tag-prefix><copy-message>{target}<enter><quit>"
        self.read(source, keys, MANY_SECONDS)

    def test_down(self) -> None:
        """All messages are saved with their octets and flags."""
        local = self.folder / "saved"
        self.copy(self.url(MAILBOX), str(local))
        self.same_locally(maildir(local), without=self.ADDED, unknown="D")

    def test_up(self) -> None:
        """All messages of a Maildir are copied to the server with their octets and flags."""
        name = self.created("neomutt-up")
        local = self.folder / "local"
        write_maildir(local)
        self.copy(str(local), self.url(name))
        self.same_on_server(name, dates=False, without=self.ADDED, unknown="D")


class IMAPClientTests(ManyTestCase):
    """The library, up and down."""

    def test_up_and_down(self) -> None:
        """What goes up, by MULTIAPPEND and by APPEND, comes down in pieces with its octets, flags and dates, and is found by each flag."""
        name = self.created("imapclient-up")
        client: Any = IMAPClient(
            self.server.ip, IMAPS, ssl_context=unverified(), timeout=CLIENT_SECONDS, use_uid=True
        )
        self.addCleanup(client.shutdown)
        client.login(ACCOUNT, PASSWORD)
        client.normalise_times = False
        self.when = [
            dt.datetime.strptime(date(n).decode().strip(), "%d-%b-%Y %H:%M:%S %z") for n in range(COUNT)
        ]
        for start in range(0, COUNT // 2, AT_ONCE):
            self.several(client, name, range(start, start + AT_ONCE))
        for number in range(COUNT // 2, COUNT):
            client.append(name, message(number), flags(number).split(), self.when[number])
        self.assertEqual(client.select_folder(name)[b"EXISTS"], COUNT)
        uids = client.search()
        self.assertEqual(len(uids), COUNT)
        for start in range(0, COUNT, AT_ONCE):
            numbers = range(start, start + AT_ONCE)
            some = [uids[number] for number in numbers]
            fetched = client.fetch(some, ["BODY.PEEK[]", "FLAGS", "INTERNALDATE", "RFC822.SIZE"])
            for number, uid in zip(numbers, some, strict=True):
                found = fetched[uid]
                self.assertEqual(found[b"BODY[]"], message(number))
                self.assertEqual(found[b"RFC822.SIZE"], len(message(number)))
                self.assertEqual(set(found[b"FLAGS"]) - {b"$NotJunk"}, set(flags(number).split()))
                self.assertEqual(found[b"INTERNALDATE"], self.when[number])
        flagged = [uids[number] for number in range(COUNT) if b"Flagged" in flags(number)]
        self.assertEqual(client.search("FLAGGED"), flagged)

    def several(self, client: Any, name: str, numbers: range) -> None:
        """One MULTIAPPEND."""
        messages = [{"msg": message(n), "flags": flags(n).split(), "date": self.when[n]} for n in numbers]
        _, (answer,) = client.multiappend(name, messages)
        self.assertIn(b"APPENDUID", answer)


class ThunderbirdTests(ManyTestCase, ThunderbirdTestCase):
    """What Thunderbird says, with two connections as it has them: one that works, one that waits in the other folder."""

    SIZE: ClassVar[int] = sum(len(octets) for octets, _, _ in EXPECTED_DATED)

    def test_there_and_back(self) -> None:
        """All messages are counted, marked, moved away and moved back, the other connection hears of it, and none is different."""
        name, away = "Thunderbird-many", "Thunderbird-many/away"
        self.copied(name)
        self.created(away)
        working, waiting = self.connect(), self.connect()
        for connection in (working, waiting):
            self.log_in(connection)
        unseen = sum(b"Seen" not in flags(number) for number in range(COUNT))
        self.said(
            working,
            f'LIST "" ("{name}") RETURN (STATUS (UIDNEXT MESSAGES UNSEEN SIZE))',
            rf'STATUS "?{name}"? \(UIDNEXT {COUNT + 1} MESSAGES {COUNT} UNSEEN {unseen} SIZE {self.SIZE}\)',
        )
        self.said(working, f'select "{name}" (CONDSTORE)', rf"\* {COUNT} EXISTS")
        self.search(working, unseen)
        self.mark(working)
        self.said(waiting, f'select "{away}" (CONDSTORE)', r"\* 0 EXISTS")
        self.move(working, waiting, name, away)
        self.same_on_server(away, dates=True)
        self.said(working, f'select "{away}" (CONDSTORE)', rf"\* {COUNT} EXISTS")
        self.move_back(working, waiting, name)
        self.same_on_server(name, dates=True)
        self.said(working, f'select "{name}" (CONDSTORE)', rf"\* {COUNT} EXISTS")
        self.fetch(working, COUNT + 1)

    def search(self, connection: Connection, unseen: int) -> None:
        """ESEARCH counts, and names the messages in ranges."""
        said = self.said(
            connection,
            "UID SEARCH RETURN (MIN MAX COUNT ALL) UNDELETED UNSEEN",
            rf"\* ESEARCH \(TAG \"\d+\"\) UID MIN 1 MAX {COUNT - 1} ALL \S+ COUNT {unseen}\r",
        )
        ranges = re.findall(r"ALL (\S+)", said)[0].split(",")
        found: set[int] = set()
        for one in ranges:
            low, _, high = one.partition(":")
            found.update(range(int(low), int(high or low) + 1))
        self.assertEqual(found, {number + 1 for number in range(COUNT) if b"Seen" not in flags(number)})

    def mark(self, connection: Connection) -> None:
        """What changed since a moment is told by CONDSTORE: those that were marked, no others."""
        said = self.said(connection, "UID SEARCH RETURN (ALL) MODSEQ 1")
        since = int(re.findall(r"MODSEQ (\d+)", said)[0])
        marked = range(7, COUNT + 1, 7)
        listed = ",".join(map(str, marked))
        self.said(connection, f"uid store {listed} +Flags ($label1)")
        said = self.said(connection, f"UID fetch 1:* (FLAGS) (CHANGEDSINCE {since})")
        self.assertEqual([int(uid) for uid in re.findall(r"FETCH \(UID (\d+) ", said)], [*marked])
        self.said(connection, f"uid store {listed} -Flags ($label1)")

    def idle(self, connection: Connection) -> None:
        """Begin to wait."""
        connection.send(b"900 IDLE\r\n")
        self.assertTrue(connection.line().startswith(b"+ "))

    def done(self, connection: Connection) -> None:
        """Wait no more."""
        connection.send(b"DONE\r\n")
        while not connection.line().startswith(b"900 OK"):
            pass

    def move(self, working: Connection, waiting: Connection, name: str, away: str) -> None:
        """All of them; the other one hears how many are there now, and fetches their headers."""
        self.idle(waiting)
        self.said(working, f'uid move 1:* "{away}"', rf"\[COPYUID \d+ 1:{COUNT} 1:{COUNT}\]", r"\* 1 EXPUNGE")
        while waiting.line() != b"* %d EXISTS\r\n" % COUNT:
            pass
        self.done(waiting)
        said = self.said(
            waiting, f"UID fetch 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS ({HEADERS})])"
        )
        identified = re.findall(r"\r\nMessage-ID: <(\d+)\.many@", said)
        self.assertEqual([int(number) for number in identified], [*range(COUNT)])
        self.said(working, "noop")
        self.assertIn("MESSAGES 0 ", self.said(working, f'status "{name}" (MESSAGES SIZE)'))

    def move_back(self, working: Connection, waiting: Connection, name: str) -> None:
        """All of them; the other one hears that each has gone."""
        self.idle(waiting)
        self.said(working, f'uid move 1:* "{name}"', rf"\[COPYUID \d+ 1:{COUNT} {COUNT + 1}:{COUNT * 2}\]")
        left = COUNT
        while left:
            gone = re.fullmatch(rb"\* (\d+) EXPUNGE\r\n", waiting.line())
            assert gone is not None
            self.assertLessEqual(int(gone[1]), left)
            left -= 1
        self.done(waiting)

    def fetch(self, connection: Connection, first: int) -> None:
        """As for offline use: all octets, some hundred at a time, over the compressed connection."""
        found: Counter[tuple[bytes, str]] = Counter()
        expected: Counter[tuple[bytes, str]] = Counter()
        for start in range(0, COUNT, AT_ONCE):
            low = first + start
            said = self.said(
                connection, f"UID fetch {low}:{low + AT_ONCE - 1} (UID RFC822.SIZE FLAGS BODY.PEEK[])"
            ).encode()
            at = 0
            while head := re.compile(rb"\* \d+ FETCH \(.*?FLAGS \(([^)]*)\).*?\{(\d+)\}\r\n").search(
                said, at
            ):
                at = head.end() + int(head[2])
                found[said[head.end() : at], letters(head[1])] += 1
            expected.update((message(n), letters(flags(n))) for n in range(start, start + AT_ONCE))
        self.same(found, expected)
