"""Data items of new messages with UPDATE of SEARCH and SORT (RFC 5465 section 7)."""

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import StoreUnavailableError
from moxtwisted.imap import memory
from moxtwisted.imap.commands import contexts
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.server import Run, Stream
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import Driver, run_now
from tests.imap.test_protocol import ProtocolTestCase

ODD = b"Subject: odd\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-odd\r\n\r\nx\r\n"


def _driver(mail: MemoryMail) -> Driver:
    settings = ServerSettings(
        hostname="mail.example.org",
        allow_plain_without_tls=True,
        timeouts=Timeouts(login_failure_pause=0.0),
        limits=Limits(output_piece_octets=4096),
    )
    driver = Driver.of(mail, settings=settings)
    driver.login()
    driver.command("SELECT INBOX")
    return driver


class ArrivalCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.mail = MemoryMail()
        self.driver = _driver(self.mail)

    def search(self, line: str, tag: str = "x") -> None:
        self.driver.send(f"{tag} {line}\r\n".encode())
        self.assertIn(f"{tag} OK".encode(), self.driver.received())

    def arrive(self, subject: str) -> None:
        self.mail.add("INBOX", f"Subject: {subject}\r\n\r\nbody\r\n".encode())

    def told(self, line: str = "NOOP") -> list[bytes]:
        return self.driver.command(line)[:-1]


class OrderTests(ArrivalCase):
    def test_order(self) -> None:
        """EXISTS, then FETCH, then ESEARCH, with numbers or UIDs as the search has them; nothing of what does not match."""
        self.arrive("0")
        self.told()
        self.driver.command("STORE 1 +FLAGS (\\Deleted)")
        self.driver.command("EXPUNGE")
        self.search("SEARCH RETURN (UPDATE (FLAGS)) SUBJECT yes", "a")
        self.search("UID SEARCH RETURN (UPDATE) SUBJECT yes", "b")
        self.search("UID SORT RETURN (UPDATE ALL) (REVERSE SUBJECT) UTF-8 SUBJECT yes", "c")
        for subject in ("no", "yes 1", "yes 2", "no", "yes 3"):
            self.arrive(subject)
        self.assertEqual(
            self.told(),
            [
                b"* 5 EXISTS",
                b"* 2 FETCH (UID 3 FLAGS ())",
                b"* 3 FETCH (UID 4 FLAGS ())",
                b"* 5 FETCH (UID 6 FLAGS ())",
                b'* ESEARCH (TAG "a") ADDTO (0 2:3,5)',
                b'* ESEARCH (TAG "b") UID ADDTO (0 3:4,6)',
                b'* ESEARCH (TAG "c") UID ADDTO (1 6,4,3)',
            ],
        )

    def test_results_that_are_known_at_once(self) -> None:
        """Where no text is looked at the order is the same, for results without data items, too."""
        self.search("UID SEARCH RETURN (UPDATE) UNSEEN", "a")
        self.search("UID SEARCH RETURN (UPDATE (RFC822.SIZE)) UNSEEN", "b")
        self.arrive("1")
        self.assertEqual(
            self.told(),
            [
                b"* 1 EXISTS",
                b"* 1 FETCH (UID 1 RFC822.SIZE 20)",
                b'* ESEARCH (TAG "a") UID ADDTO (0 1)',
                b'* ESEARCH (TAG "b") UID ADDTO (0 1)',
            ],
        )

    def test_sort(self) -> None:
        """SORT, and a space or none before the parenthesis."""
        self.search("SORT RETURN (UPDATE(UID) COUNT) (SUBJECT) UTF-8 ALL")
        self.arrive("1")
        self.assertEqual(
            self.told(), [b"* 1 EXISTS", b"* 1 FETCH (UID 1)", b'* ESEARCH (TAG "x") ADDTO (1 1)']
        )

    def test_multisearch(self) -> None:
        """RFC 7377 section 2.2: UPDATE of ESEARCH is for the selected mailbox, with data items as well."""
        self.search("ESEARCH IN (personal) RETURN (UPDATE (FLAGS)) UNSEEN")
        self.arrive("1")
        self.assertEqual(self.told()[1:2], [b"* 1 FETCH (UID 1 FLAGS ())"])

    def test_idle(self) -> None:
        """While the client idles it is told at once."""
        self.search("UID SEARCH RETURN (UPDATE (FLAGS)) SUBJECT 1")
        self.driver.send(b"y IDLE\r\n")
        self.driver.received()
        self.arrive("1")
        self.driver.flush()
        self.assertEqual(
            self.driver.received(),
            b'* 1 EXISTS\r\n* 1 FETCH (UID 1 FLAGS ())\r\n* ESEARCH (TAG "x") UID ADDTO (0 1)\r\n',
        )

    def test_not_in_the_middle(self) -> None:
        """What happens while a long FETCH is being sent waits until it is out."""
        server = self.driver.server
        self.search("UID SEARCH RETURN (UPDATE (BODY[])) UNSEEN")
        self.driver.send(b"y IDLE\r\n")
        self.driver.received()
        self.mail.add("INBOX", b"Subject: 1\r\n\r\n" + b"x" * 3_000_000)
        work = server.flush_changes()
        while isinstance(work, Run):
            work = run_now(work.coroutine)
        assert isinstance(work, Stream), work
        self.assertIn(b"* 1 EXISTS", server.take_output())
        self.arrive("2")
        self.assertIsNone(server.flush_changes())
        self.assertEqual(server.take_output(), b"")
        pieces = list(work.pieces)
        self.assertTrue(pieces[-1].endswith(b'* ESEARCH (TAG "x") UID ADDTO (0 1)\r\n'))
        server.streamed()
        self.driver.send(b"")
        self.assertTrue(self.driver.received().startswith(b"* 2 EXISTS\r\n* 2 FETCH (UID 2 BODY[] {"))

    def test_several_searches(self) -> None:
        """A message that several searches want something of has one FETCH, with each item once."""
        self.search("UID SEARCH RETURN (UPDATE (FLAGS BODY[TEXT])) ALL", "a")
        self.search("UID SEARCH RETURN (UPDATE (BODY.PEEK[TEXT] RFC822.SIZE FLAGS)) SUBJECT two", "b")
        self.arrive("one")
        self.arrive("two")
        self.arrive("one")
        self.assertEqual(
            self.told()[1:4],
            [
                b"* 1 FETCH (UID 1 FLAGS () BODY[TEXT] {6}\r\nbody\r\n)",
                b"* 2 FETCH (UID 2 FLAGS () RFC822.SIZE 22 BODY[TEXT] {6}\r\nbody\r\n)",
                b"* 3 FETCH (UID 3 FLAGS () BODY[TEXT] {6}\r\nbody\r\n)",
            ],
        )
        self.assertEqual(self.mail.find("INBOX").flags[0].system, 0)

    def test_with_notify(self) -> None:
        """Section 5.2: what NOTIFY asked for is in the same FETCH, which is behind the changes of results then."""
        self.search("UID SEARCH RETURN (UPDATE (RFC822.SIZE FLAGS)) SUBJECT 2")
        self.driver.command("NOTIFY SET (SELECTED (MessageNew (FLAGS) MessageExpunge))")
        self.arrive("1")
        self.arrive("2")
        self.driver.flush()
        expected = (
            b'* 2 EXISTS\r\n* ESEARCH (TAG "x") UID ADDTO (0 2)\r\n'
            b"* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS () RFC822.SIZE 20)\r\n"
        )
        self.assertEqual(self.driver.received(), expected)

    def test_with_notify_of_nothing_more(self) -> None:
        """NOTIFY without data items makes it at any time, not other."""
        self.search("UID SEARCH RETURN (UPDATE (FLAGS)) SUBJECT 1")
        self.driver.command("NOTIFY SET (SELECTED (MessageNew MessageExpunge))")
        self.arrive("1")
        self.driver.flush()
        self.assertEqual(
            self.driver.received(),
            b'* 1 EXISTS\r\n* 1 FETCH (UID 1 FLAGS ())\r\n* ESEARCH (TAG "x") UID ADDTO (0 1)\r\n',
        )
        self.driver.command("NOTIFY NONE")
        self.arrive("1")
        self.assertEqual(self.told(), [])


class SilenceTests(ArrivalCase):
    """Section 3.1: nothing of the selected mailbox is told."""

    def test_long_results(self) -> None:
        """Neither that messages go out of results, which is told beforehand where these are long."""
        self.patch(contexts, "_RESULTS_AT_ONCE", -1)
        self.arrive("1")
        self.told()
        self.search("UID SEARCH RETURN (UPDATE) ALL")
        for line in ("NOTIFY NONE", "NOTIFY SET (PERSONAL (MailboxName))"):
            self.driver.command(line)
            self.mail.find("INBOX").remove([1], self.mail.next_modseq())
            self.driver.flush()
            self.assertEqual(self.driver.received(), b"", line)
            self.assertEqual(self.told(), [], line)
            gone = [b'* ESEARCH (TAG "x") UID REMOVEFROM (0 1)', b"* 1 EXPUNGE"]
            self.assertEqual(self.told("NOTIFY SET (SELECTED (MessageNew MessageExpunge))"), gone, line)
            self.setUp()
            self.arrive("1")
            self.told()
            self.search("UID SEARCH RETURN (UPDATE) ALL")

    def test_silent_store(self) -> None:
        """What the session changed itself it knows, so that STORE with .SILENT is not answered with it later; others' changes are told."""
        self.arrive("1")
        self.arrive("2")
        self.told()
        self.driver.command("NOTIFY NONE")
        other = _driver(self.mail)
        other.command("STORE 2 +FLAGS (\\Flagged)")
        self.driver.command("STORE 1 +FLAGS (\\Deleted)")
        self.driver.command("STORE 1:2 +FLAGS.SILENT (\\Seen)")
        self.assertEqual(
            self.told("NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange))"),
            [b"* 2 FETCH (UID 2 FLAGS (\\Seen \\Flagged))"],
        )


class WhichTests(ArrivalCase):
    def test_flags(self) -> None:
        """What becomes one of the results because its flags changed is not told with data items."""
        self.arrive("1")
        self.search("UID SEARCH RETURN (UPDATE (RFC822.SIZE)) FLAGGED")
        self.assertEqual(
            self.told("STORE 1 +FLAGS.SILENT (\\Flagged)"), [b'* ESEARCH (TAG "x") UID ADDTO (0 1)']
        )
        # Nor what was new once, and did not match.
        self.arrive("2")
        self.assertEqual(self.told(), [b"* 2 EXISTS"])
        self.assertEqual(
            self.told("STORE 2 +FLAGS.SILENT (\\Flagged)"), [b'* ESEARCH (TAG "x") UID ADDTO (0 2)']
        )

    def test_own(self) -> None:
        """Section 5.2: nor what this connection made itself; what another one made is."""
        self.search("UID SEARCH RETURN (UPDATE (FLAGS)) ALL")
        added = b'* ESEARCH (TAG "x") UID ADDTO (0 %d)'
        self.assertEqual(self.told("APPEND INBOX {4+}\r\na: b"), [b"* 1 EXISTS", added % 1])
        self.assertEqual(self.told("COPY 1 INBOX"), [b"* 2 EXISTS", added % 2])
        other = _driver(self.mail)
        other.command("COPY 1 INBOX")
        self.assertEqual(self.told(), [b"* 3 EXISTS", b"* 3 FETCH (UID 3 FLAGS ())", added % 3])

    def test_gone(self) -> None:
        """A message that is gone again, and told of because numbers must not shift now, has no data items."""
        self.arrive("1")
        self.search("UID SEARCH RETURN (UPDATE (FLAGS)) SUBJECT 2")
        self.arrive("2")
        other = _driver(self.mail)
        self.assertEqual(len(self.told("FETCH 1 FLAGS")), 4)
        self.arrive("2")
        original = memory._Selected.search_text

        async def search_text(selected: memory._Selected, term: object, uids: object) -> object:
            found = await original(selected, term, uids)  # type: ignore[arg-type]
            other.command("NOOP")
            other.command("STORE 3 +FLAGS (\\Deleted)")
            other.command("EXPUNGE")
            return found

        self.patch(memory._Selected, "search_text", search_text)
        self.assertEqual(
            self.told("FETCH 1 FLAGS")[1:], [b"* 3 EXISTS", b'* ESEARCH (TAG "x") UID ADDTO (0 3)']
        )
        self.assertEqual(self.told(), [b'* ESEARCH (TAG "x") UID REMOVEFROM (0 3)', b"* 3 EXPUNGE"])

    def test_cancelled(self) -> None:
        """CANCELUPDATE ends it."""
        self.search("UID SEARCH RETURN (UPDATE (FLAGS)) ALL")
        self.driver.command('CANCELUPDATE "x"')
        self.arrive("1")
        self.assertEqual(self.told(), [b"* 1 EXISTS"])

    def test_too_many(self) -> None:
        """Of too many new messages at once nothing is told: the results are not kept up to date any more, and the client hears so."""
        self.patch(contexts, "_MOST_NEW", 2)
        self.search("UID SEARCH RETURN (UPDATE (FLAGS)) ALL")
        self.search("UID SEARCH RETURN (UPDATE) ALL", "y")
        for _ in range(3):
            self.arrive("1")
        self.assertEqual(
            self.told(),
            [
                b"* 3 EXISTS",
                b'* NO [NOUPDATE "x"] too much happened',
                b'* ESEARCH (TAG "y") UID ADDTO (0 1:3)',
            ],
        )
        self.arrive("1")
        self.assertEqual(self.told(), [b"* 4 EXISTS", b'* ESEARCH (TAG "y") UID ADDTO (0 4)'])


class FormTests(ArrivalCase):
    def test_uidonly(self) -> None:
        """RFC 9586 section 3.3: with UIDONLY it is UIDFETCH."""
        self.driver.command("ENABLE UIDONLY")
        self.search("UID SEARCH RETURN (UPDATE (FLAGS)) ALL")
        self.arrive("1")
        self.assertEqual(self.told()[1], b"* 1 UIDFETCH (FLAGS ())")
        self.assertIn(b"BAD", self.driver.command("SEARCH RETURN (UPDATE (FLAGS)) ALL")[-1])

    def test_condstore(self) -> None:
        """RFC 7162 section 3.1: a SEARCH that names MODSEQ enables CONDSTORE, and then all FETCH responses have it."""
        self.driver.send(b"x UID SEARCH RETURN (UPDATE (MODSEQ)) ALL\r\n")
        self.assertIn(b"* OK [HIGHESTMODSEQ ", self.driver.received())
        self.search("UID SEARCH RETURN (UPDATE (UID)) ALL", "y")
        self.arrive("1")
        self.assertRegex(self.told()[1], rb"^\* 1 FETCH \(UID 1 MODSEQ \(\d+\)\)$")
        self.assertRegex(self.told("STORE 1 +FLAGS (\\Seen)")[0], rb"MODSEQ")

    def test_refused(self) -> None:
        """What is no list of data items, or two of them, is BAD; without NOTIFY any is."""
        for option in (
            "UPDATE ()",
            "UPDATE (ALL)",
            "UPDATE (UID",
            "UPDATE UID",
            "UPDATE (NOTHING)",
            "UPDATE UPDATE (UID)",
            "UPDATE (UID) UPDATE (FLAGS)",
            "COUNT (UID)",
        ):
            answer = self.driver.command(f"SEARCH RETURN ({option}) ALL")
            self.assertRegex(answer[0], rb"^a\d+ BAD ", option)
        mail = MemoryMail(disabled_capabilities=frozenset({"NOTIFY"}))
        driver = _driver(mail)
        self.assertIn(b" BAD ", driver.command("SEARCH RETURN (UPDATE (UID)) ALL")[0])
        self.assertIn(b" OK ", driver.command("SEARCH RETURN (UPDATE) ALL")[-1])

    def test_unknown_encoding(self) -> None:
        """RFC 3516 section 4.3: what cannot be decoded is an untagged NO, and the other messages are told of."""
        self.search("UID SEARCH RETURN (UPDATE (BINARY[1])) ALL")
        self.arrive("1")
        self.mail.add("INBOX", ODD)
        self.arrive("1")
        found = self.told()
        self.assertEqual(found[1], b"* 1 FETCH (UID 1 BINARY[1] {6}\r\nbody\r\n)")
        self.assertIn(b"* NO [UNKNOWN-CTE]", found[2])
        self.assertEqual(found[3], b"* 3 FETCH (UID 3 BINARY[1] {6}\r\nbody\r\n)")
        self.assertEqual(found[4], b'* ESEARCH (TAG "x") UID ADDTO (0 1:3)')

    def test_unavailable(self) -> None:
        """When the store has no octets the client hears of it, and of the results."""
        self.search("UID SEARCH RETURN (UPDATE (BODY[])) ALL")
        self.arrive("1")

        def bodies(*args: object) -> object:
            raise StoreUnavailableError("closed")

        self.patch(memory._Selected, "bodies", bodies)
        found = self.told()
        self.assertIn(b"* NO ", found[1])
        self.assertEqual(found[2], b'* ESEARCH (TAG "x") UID ADDTO (0 1)')


class StreamingTests(ProtocolTestCase):
    BODY = b"x" * 3_000_000

    def arrive(self) -> None:
        self.mail.add("INBOX", b"Subject: 1\r\n\r\n" + self.BODY)

    def read(self, transport: object) -> bytes:
        """What the client reads, piece by piece; none is as long as a message."""
        found = []
        while piece := transport.read():  # type: ignore[attr-defined]
            self.assertLess(len(piece), 300_000)
            found.append(piece)
            self.clock.advance(0)
        return b"".join(found)

    def test_idle(self) -> None:
        """Large messages are sent as the client reads; what happens meanwhile is told behind them."""
        protocol, transport = self.selected(room=1000)
        protocol.dataReceived(b"x UID SEARCH RETURN (UPDATE (BODY[])) ALL\r\n")
        transport.read()
        protocol.dataReceived(b"y IDLE\r\n")
        self.read(transport)
        self.arrive()
        self.arrive()
        self.clock.advance(0)
        first = transport.read()
        self.assertTrue(first.startswith(b"* 2 EXISTS\r\n* 1 FETCH (UID 1 BODY[] {3000014}\r\n"), first[:80])
        self.assertLess(len(first), 300_000)
        self.arrive()
        self.clock.advance(0)
        protocol.dataReceived(b"DONE\r\n")
        whole = first + self.read(transport)
        message = b"Subject: 1\r\n\r\n" + self.BODY
        fetch = b"* %d FETCH (UID %d BODY[] {3000014}\r\n" + message + b")\r\n"
        added = b'* ESEARCH (TAG "x") UID ADDTO (0 %b)\r\n'
        self.assertEqual(
            whole.replace(self.BODY, b"..."),
            (
                b"* 2 EXISTS\r\n"
                + fetch % (1, 1)
                + fetch % (2, 2)
                + added % b"1:2"
                + b"* 3 EXISTS\r\n"
                + fetch % (3, 3)
                + added % b"3"
                + b"y OK IDLE completed\r\n"
            ).replace(self.BODY, b"..."),
        )
        self.lose(protocol)

    def test_command(self) -> None:
        """The tagged response comes behind them."""
        protocol, transport = self.selected(room=1000)
        protocol.dataReceived(b"x UID SEARCH RETURN (UPDATE (BODY[])) SUBJECT 1\r\n")
        transport.read()
        self.arrive()
        protocol.dataReceived(b"y NOOP\r\nz NOOP\r\n")
        whole = self.read(transport)
        self.assertTrue(whole.startswith(b"* 1 EXISTS\r\n* 1 FETCH (UID 1 BODY[] {3000014}\r\n"))
        self.assertTrue(
            whole.endswith(
                b'x)\r\n* ESEARCH (TAG "x") UID ADDTO (0 1)\r\ny OK NOOP completed\r\nz OK NOOP completed\r\n'
            ),
            whole[-200:],
        )
        self.lose(protocol)

    def test_lost(self) -> None:
        """A client that goes in the middle takes nothing with it."""
        protocol, transport = self.selected(room=1000)
        protocol.dataReceived(b"x UID SEARCH RETURN (UPDATE (BODY[])) ALL\r\ny IDLE\r\n")
        transport.read()
        self.arrive()
        self.clock.advance(0)
        transport.read()
        self.lose(protocol)
        self.assertEqual(self.flushLoggedErrors(), [])
