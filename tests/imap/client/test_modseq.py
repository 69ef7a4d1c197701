"""The mod-sequence that a client may keep (RFC 7162 section 6): said by the server, or worked out, and when it must not be."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from moxtwisted.imap.client.session import CommandRefusedError, ConnectionFailedError
from moxtwisted.imap.wire.commands import QResync, StoreMode
from tests.imap.test_agent import ScriptCase

GREETING = b"* OK [CAPABILITY IMAP4rev1 UIDPLUS UNSELECT ENABLE QRESYNC] hi\r\n"
SELECTED = b"* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [HIGHESTMODSEQ 90] x\r\n"


class ModSequenceTests(ScriptCase):
    def setUp(self) -> None:
        super().setUp()
        self.count = 0
        self.client = self.successResultOf(self.begin(GREETING))

    def give(self, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Give a command."""
        self.count += 1
        return Deferred.fromCoroutine(work)

    def tell(self, *lines: bytes) -> None:
        """The server says this."""
        self.protocol.dataReceived(b"".join(line + b"\r\n" for line in lines))

    def run_command(self, work: Coroutine[Any, Any, Any], *lines: bytes, status: bytes = b"OK x") -> Any:
        """Give a command, which is answered so."""
        done = self.give(work)
        self.tell(*lines, b"A%d %b" % (self.count, status))
        return self.successResultOf(done)

    def open(self, data: bytes = SELECTED, status: bytes = b"OK [READ-WRITE] x") -> Any:
        """Open INBOX."""
        return self.run_command(
            self.client.select("INBOX", condstore=True), data.removesuffix(b"\r\n"), status=status
        )

    def test_example(self) -> None:
        """The example of section 6: HIGHESTMODSEQ is used, though higher MODSEQs were seen, until it is higher itself."""
        selected = self.open()
        client = self.client
        self.run_command(
            client.store([6, 7], StoreMode.ADD, ["\\Seen"], silent=True, unchanged_since=96),
            b"* 1 FETCH (UID 6 MODSEQ (103))",
            b"* 2 FETCH (UID 7 MODSEQ (101))",
            b"* OK [HIGHESTMODSEQ 99] VANISHED reply with MODSEQ 100 is delayed",
            status=b"OK [MODIFIED 3] done",
        )
        self.assertEqual(selected.highestmodseq, 99)
        self.run_command(
            client.store([8], StoreMode.ADD, ["\\Seen"], silent=True),
            b"* 3 FETCH (UID 8 MODSEQ (104))",
            status=b"OK [HIGHESTMODSEQ 99] Still delaying VANISHED",
        )
        self.assertEqual(selected.highestmodseq, 99)
        self.run_command(client.noop(), b"* VANISHED 8", status=b"OK [HIGHESTMODSEQ 104] done")
        self.assertEqual(selected.highestmodseq, 104)

    def test_worked_out(self) -> None:
        """Where HIGHESTMODSEQ is not said, the highest MODSEQ counts, asked for or not, in whatever order."""
        selected, client = self.open(), self.client
        lines = (b"* 1 FETCH (UID 6 MODSEQ (103) FLAGS ())", b"* 2 FETCH (UID 7 MODSEQ (101) FLAGS ())")
        self.run_command(client.noop(), *lines)
        self.assertEqual(selected.highestmodseq, 103)
        self.run_command(
            client.store([6], StoreMode.ADD, ["\\Seen"]), b"* 1 FETCH (UID 6 MODSEQ (105) FLAGS (\\Seen))"
        )
        self.assertEqual(selected.highestmodseq, 105)
        self.run_command(
            client.fetch([6], ["FLAGS"], modifiers="CHANGEDSINCE 105"),
            b"* 1 FETCH (UID 6 MODSEQ (107) FLAGS ())",
        )
        self.assertEqual(selected.highestmodseq, 107)
        heard: list[Any] = []
        self.run_command(
            client.fetch_each([6], ["FLAGS"], heard.append), b"* 1 FETCH (UID 6 MODSEQ (109) FLAGS ())"
        )
        self.assertEqual((len(heard), selected.highestmodseq), (1, 109))

    def test_never_backwards(self) -> None:
        """A lower MODSEQ changes nothing, a lower HIGHESTMODSEQ does; nor do MODSEQ of SEARCH and of STATUS, and VANISHED."""
        selected, client = self.open(), self.client
        self.run_command(client.noop(), b"* 1 FETCH (UID 6 MODSEQ (80) FLAGS ())")
        self.assertEqual(selected.highestmodseq, 90)
        self.run_command(client.search("MODSEQ 91"), b"* SEARCH 6 (MODSEQ 500)")
        self.run_command(
            client.status("INBOX", ["HIGHESTMODSEQ"]), b"* STATUS INBOX (HIGHESTMODSEQ 500)", b"* VANISHED 7"
        )
        self.assertEqual(selected.highestmodseq, 90)
        self.run_command(client.noop(), b"* OK [HIGHESTMODSEQ 85] x")
        self.assertEqual(selected.highestmodseq, 85)

    def test_not_at_once(self) -> None:
        """What came counts when a command has been answered; if the connection is lost before, never."""
        selected, client = self.open(), self.client
        self.tell(b"* 1 FETCH (UID 6 MODSEQ (103) FLAGS ())")  # as NOTIFY tells
        self.assertEqual(selected.highestmodseq, 90)
        self.run_command(client.noop())
        self.assertEqual(selected.highestmodseq, 103)
        done = self.give(client.noop())
        self.tell(b"* 1 FETCH (UID 6 MODSEQ (110) FLAGS ())")
        self.client.abort("gone")
        self.failureResultOf(done, ConnectionFailedError)
        self.assertEqual(selected.highestmodseq, 103)

    def test_said_before(self) -> None:
        """HIGHESTMODSEQ stands for the whole answer, wherever in it it stands; for the next one it does not."""
        selected, client = self.open(), self.client
        self.run_command(
            client.noop(), b"* OK [HIGHESTMODSEQ 99] x", b"* 1 FETCH (UID 6 MODSEQ (103) FLAGS ())"
        )
        self.assertEqual(selected.highestmodseq, 99)
        self.run_command(client.noop())
        self.assertEqual(selected.highestmodseq, 99)
        self.run_command(client.noop(), b"* 1 FETCH (UID 6 MODSEQ (104) FLAGS ())")
        self.assertEqual(selected.highestmodseq, 104)

    def test_idle(self) -> None:
        """IDLE is a command: what it told counts when it has ended."""
        selected = self.open()
        done = self.give(self.client.idle())
        self.tell(b"+ idling", b"* 1 FETCH (UID 6 MODSEQ (103) FLAGS ())")
        idle = self.successResultOf(done)
        self.assertEqual(selected.highestmodseq, 90)
        ended = Deferred.fromCoroutine(idle.done())
        self.tell(b"A%d OK x" % self.count)
        self.successResultOf(ended)
        self.assertEqual(selected.highestmodseq, 103)

    def test_refused(self) -> None:
        """A refusal is a tagged response, too."""
        selected = self.open()
        for lines, status, expected in (
            ((b"* 1 FETCH (UID 6 MODSEQ (103) FLAGS ())",), b"NO x", 103),
            ((b"* 1 FETCH (UID 6 MODSEQ (105) FLAGS ())",), b"NO [HIGHESTMODSEQ 104] x", 104),
        ):
            done = self.give(self.client.copy([6], "Nowhere"))
            self.tell(*lines, b"A%d %b" % (self.count, status))
            self.failureResultOf(done, CommandRefusedError)
            self.assertEqual(selected.highestmodseq, expected)

    def test_several_under_way(self) -> None:
        """While another command is under way, a lower MODSEQ may still come; what the server says holds at once."""
        selected, client = self.open(), self.client
        first, second = self.give(client.noop()), self.give(client.store([6], StoreMode.ADD, ["x"]))
        self.tell(b"* 1 FETCH (UID 6 MODSEQ (103) FLAGS (x))", b"A2 OK x")
        self.successResultOf(first)
        self.assertEqual(selected.highestmodseq, 90)
        self.tell(b"* 2 FETCH (UID 7 MODSEQ (102) FLAGS ())", b"A3 OK x")
        self.successResultOf(second)
        self.assertEqual(selected.highestmodseq, 103)
        first, second = self.give(client.noop()), self.give(client.noop())
        self.tell(b"* OK [HIGHESTMODSEQ 101] x", b"A4 OK x")
        self.assertEqual(selected.highestmodseq, 101)
        self.tell(b"A5 OK x")
        self.assertEqual(selected.highestmodseq, 101)

    def test_opening(self) -> None:
        """With QRESYNC, what SELECT says holds, though it tells of changes with higher MODSEQs, as in the example at the end."""
        self.run_command(self.client.enable("QRESYNC"), b"* ENABLED QRESYNC")
        done = self.give(self.client.select("INBOX", qresync=QResync(7, 80, None)))
        self.tell(SELECTED[:-2], b"* 2 FETCH (UID 6 MODSEQ (103) FLAGS ())", b"A2 OK [READ-WRITE] x")
        selected = self.successResultOf(done)
        self.assertEqual(selected.highestmodseq, 90)
        self.run_command(self.client.noop())
        self.assertEqual(selected.highestmodseq, 90)

    def test_none(self) -> None:
        """A mailbox without mod-sequences has none, and nothing is worked out where the server never said where it began."""
        for data in (b"* OK [NOMODSEQ] x\r\n", b"* 9 EXISTS\r\n"):
            selected = self.open(data)
            self.run_command(self.client.noop(), b"* 1 FETCH (UID 6 MODSEQ (103) FLAGS ())")
            self.assertIsNone(selected.highestmodseq)

    def test_other_mailbox(self) -> None:
        """What was told before CLOSED is of the mailbox that was open before."""
        before = self.open()
        done = self.give(self.client.select("Other"))
        self.tell(b"* 1 FETCH (UID 6 MODSEQ (103) FLAGS ())", b"* OK [CLOSED] x")
        self.tell(b"* OK [HIGHESTMODSEQ 50] x", b"A2 OK [READ-WRITE] x")
        selected = self.successResultOf(done)
        self.run_command(self.client.noop())
        self.assertEqual((before.highestmodseq, selected.highestmodseq), (90, 50))

    def test_close(self) -> None:
        """CLOSE does not tell what it removed: whatever mod-sequences come with its answer are not kept (section 3.2.8)."""
        selected = self.open()
        self.run_command(
            self.client.close_mailbox(),
            b"* 1 FETCH (UID 6 MODSEQ (103) FLAGS ())",
            status=b"OK [HIGHESTMODSEQ 104] x",
        )
        self.assertEqual(selected.highestmodseq, 90)
        self.assertIsNone(self.client.selected)
