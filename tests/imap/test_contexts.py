"""Searches that are kept up to date (CONTEXT=SEARCH, CONTEXT=SORT, RFC 5267)."""

import random
import re
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import StoreUnavailableError
from moxtwisted.imap import memory
from moxtwisted.imap.commands import contexts
from moxtwisted.imap.lines import Piece
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import Driver
from moxtwisted.imap.view import SessionView
from tests.imap.test_protocol import ProtocolTestCase


def _driver(mail: MemoryMail, contexts: int = 16) -> Driver:
    settings = ServerSettings(
        hostname="mail.example.org",
        allow_plain_without_tls=True,
        timeouts=Timeouts(login_failure_pause=0.0),
        limits=Limits(contexts=contexts),
    )
    driver = Driver.of(mail, settings=settings)
    driver.login()
    driver.command("SELECT INBOX")
    return driver


def _mail(count: int) -> MemoryMail:
    mail = MemoryMail()
    mail.make("Other")
    for n in range(count):
        mail.add("INBOX", b"Subject: %d\r\n\r\n%d\r\n" % (n, n))
    return mail


class LimitTests(SynchronousTestCase):
    def test_too_many(self) -> None:
        """Over the limit the search is done, and an untagged NO says that it will not be kept up to date."""
        driver = _driver(_mail(1), contexts=2)
        for _ in range(2):
            self.assertNotIn(b"NOUPDATE", b"".join(driver.command("SEARCH RETURN (UPDATE) ALL")))
        self.assertEqual(
            driver.command("UID SEARCH RETURN (UPDATE COUNT) ALL"),
            [
                b'* ESEARCH (TAG "a5") UID COUNT 1',
                b'* NO [NOUPDATE "a5"] too much to be kept up to date',
                b"a5 OK SEARCH completed",
            ],
        )
        driver.command('CANCELUPDATE "a3"')
        self.assertNotIn(b"NOUPDATE", b"".join(driver.command("SEARCH RETURN (UPDATE) ALL")))

    def test_reuse_of_a_tag(self) -> None:
        """A second UPDATE with the same tag is BAD, and the first goes on."""
        driver = _driver(_mail(1))
        driver.send(b"x UID SEARCH RETURN (UPDATE) UNSEEN\r\nx UID SEARCH RETURN (UPDATE) ALL\r\n")
        self.assertIn(b"x BAD this tag", driver.received())
        driver.send(b"y STORE 1 +FLAGS.SILENT (\\Seen)\r\n")
        self.assertIn(b'* ESEARCH (TAG "x") UID REMOVEFROM (0 1)', driver.received())

    def test_not_offered(self) -> None:
        """Who is not offered contexts cannot use their options."""
        mail = _mail(1)
        mail.disabled_capabilities = frozenset({"CONTEXT=SEARCH", "CONTEXT=SORT"})
        driver = _driver(mail)
        self.assertIn(b" BAD ", driver.command("SEARCH RETURN (UPDATE) ALL")[0])
        self.assertIn(b"BAD CANCELUPDATE", driver.command('CANCELUPDATE "x"')[0])

    def test_without_sequence_numbers(self) -> None:
        """RFC 9586 section 3: ENABLE UIDONLY ends what is told by sequence numbers; what is told by UIDs goes on."""
        for kept in (True, False):
            mail = _mail(2)
            driver = _driver(mail)
            driver.command("SEARCH RETURN (UPDATE) ALL")
            driver.command("SORT RETURN (UPDATE) (ARRIVAL) UTF-8 ALL")
            if kept:
                driver.command("UID SEARCH RETURN (UPDATE) ALL")
            answers = driver.command("ENABLE UIDONLY")
            self.assertEqual(
                [answer.split(b"]")[0] for answer in answers[:-1]],
                [b'* NO [NOUPDATE "a3"', b'* NO [NOUPDATE "a4"', b"* ENABLED UIDONLY"],
            )
            mail.add("INBOX", b"Subject: x\r\n\r\nx\r\n")
            told = [b"* 3 EXISTS", *([b'* ESEARCH (TAG "a5") UID ADDTO (0 3)'] if kept else [])]
            self.assertEqual(driver.command("NOOP")[:-1], told)

    def test_ends_with_the_mailbox(self) -> None:
        """Updates end when another mailbox is selected, and its tags are free again."""
        driver = _driver(_mail(1))
        driver.send(
            b"x UID SEARCH RETURN (UPDATE) UNSEEN\r\ny SELECT INBOX\r\nz STORE 1 +FLAGS.SILENT (\\Seen)\r\n"
        )
        self.assertNotIn(b"REMOVEFROM", driver.received())
        driver.send(b"x UID SEARCH RETURN (UPDATE) SEEN\r\n")
        self.assertIn(b"x OK", driver.received())


class MeaningTests(SynchronousTestCase):
    def test_numbers_are_those_of_the_command(self) -> None:
        """Section 4.3: sequence numbers in the program are evaluated when the command comes."""
        driver = _driver(_mail(3))
        driver.send(b"x UID SEARCH RETURN (UPDATE ALL) 2:3 UNSEEN\r\n")
        driver.command("STORE 1 +FLAGS (\\Deleted)")
        driver.command("EXPUNGE")
        # Number 2 is UID 3 now; UID 2, which was it, still counts.
        self.assertIn(
            b'* ESEARCH (TAG "x") UID REMOVEFROM (0 2)', driver.command("STORE 1 +FLAGS.SILENT (\\Seen)")
        )

    def test_the_saved_result_too(self) -> None:
        """What ``$`` was when the command came counts, whatever is saved later."""
        driver = _driver(_mail(3))
        driver.command("SEARCH RETURN (SAVE) 2")
        driver.send(b"x UID SEARCH RETURN (UPDATE ALL) UID $ UNSEEN\r\n")
        driver.command("SEARCH RETURN (SAVE) 1,3")
        self.assertEqual(len(driver.command("STORE 1,3 +FLAGS.SILENT (\\Seen)")), 1)
        self.assertIn(
            b'* ESEARCH (TAG "x") UID REMOVEFROM (0 2)', driver.command("STORE 2 +FLAGS.SILENT (\\Seen)")
        )

    def test_the_last_message(self) -> None:
        """Which message is the last one is looked at anew: results are those of a new search, as section 4.3 has it."""
        for program in ("UID 100:*", "NOT NOT UID *", "UID * SUBJECT 3"):
            mail = _mail(3)
            driver = _driver(mail)
            driver.send(b"x UID SEARCH RETURN (UPDATE ALL) %b\r\n" % program.encode())
            driver.send(b"y SORT RETURN (UPDATE ALL) (ARRIVAL) UTF-8 %b\r\n" % program.encode())
            driver.received()
            mail.add("INBOX", b"Subject: 3\r\n\r\n3\r\n")
            told = b"\r\n".join(driver.command("NOOP"))
            if "SUBJECT" not in program:
                self.assertIn(b'* ESEARCH (TAG "x") UID REMOVEFROM (0 3)', told)
                self.assertIn(b'* ESEARCH (TAG "y") REMOVEFROM (1 3)', told)
            self.assertIn(b'* ESEARCH (TAG "x") UID ADDTO (0 4)', told)
            self.assertIn(b'* ESEARCH (TAG "y") ADDTO (1 4)', told)
            driver.command("STORE 4 +FLAGS (\\Deleted)")
            told = b"\r\n".join(driver.command("EXPUNGE"))
            before, _, after = told.partition(b"* 4 EXPUNGE")
            self.assertIn(b'* ESEARCH (TAG "x") UID REMOVEFROM (0 4)', before)
            if "SUBJECT" not in program:
                self.assertIn(b'* ESEARCH (TAG "x") UID ADDTO (0 3)', after)
                self.assertIn(b'* ESEARCH (TAG "y") ADDTO (1 3)', after)

    def test_multisearch(self) -> None:
        """RFC 7377 section 2.2: with ESEARCH it is for the selected mailbox, with all correlators."""
        driver = _driver(_mail(1))
        driver.send(b"x ESEARCH IN (personal) RETURN (UPDATE COUNT) UNSEEN\r\n")
        driver.received()
        self.assertIn(
            b'* ESEARCH (TAG "x" MAILBOX INBOX UIDVALIDITY 1) UID REMOVEFROM (0 1)',
            driver.command("STORE 1 +FLAGS.SILENT (\\Seen)"),
        )
        driver.command("UNSELECT")
        self.assertIn(b"BAD UPDATE needs", driver.command("ESEARCH IN (personal) RETURN (UPDATE) UNSEEN")[0])

    def test_a_forgetful_mailbox(self) -> None:
        """When the mailbox does not remember its changes the results are right nevertheless."""
        mail = _mail(5)
        mail.find("INBOX").log_limit = 1
        driver, other = _driver(mail), _driver(mail)
        driver.send(b"x UID SEARCH RETURN (UPDATE ALL) UNSEEN\r\n")
        driver.received()
        for n in (1, 3):
            other.command(f"STORE {n} +FLAGS (\\Seen)")
        other.command("STORE 5 +FLAGS (\\Deleted)")
        other.command("EXPUNGE")
        told = b"\r\n".join(driver.command("NOOP"))
        self.assertIn(b"REMOVEFROM (0 5)\r\n* 5 EXPUNGE", told)
        self.assertIn(b"REMOVEFROM (0 1,3)", told)


_SYNC = SessionView.sync
_LINE = re.compile(rb'\* ESEARCH \(TAG "(\w+)"\)( UID)? (ADDTO|REMOVEFROM) \(([^)]*)\)')


class Results:
    """A client's idea of the results of one search."""

    def __init__(self, uid: bool, ordered: bool) -> None:
        self.uid, self.ordered = uid, ordered
        self.uids: list[int] = []

    def apply(self, word: bytes, pairs: bytes, known: list[int]) -> None:
        tokens = pairs.split()
        for position, numbers in zip(tokens[::2], tokens[1::2], strict=True):
            wanted: list[int] = []
            for part in numbers.split(b","):
                low, _, high = part.partition(b":")
                wanted += range(int(low), int(high or low) + 1)
            uids = wanted if self.uid else [known[n - 1] for n in wanted]
            at = int(position)
            if at == 0:
                kept = set(self.uids) - set(uids)
                self.uids = sorted(kept | set(uids) if word == b"ADDTO" else kept)
            elif word == b"ADDTO":
                self.uids[at - 1 : at - 1] = uids
            else:
                assert self.uids[at - 1 : at - 1 + len(uids)] == uids
                del self.uids[at - 1 : at - 1 + len(uids)]


class ConvergenceTests(SynchronousTestCase):
    """Random changes by two sessions: what a client makes of ADDTO and REMOVEFROM is what a new search finds."""

    SEARCHES = (
        "UID SEARCH RETURN ({}) UNSEEN NOT KEYWORD x",
        "SEARCH RETURN ({}) OR SEEN KEYWORD x",
        "UID SEARCH RETURN ({}) SUBJECT 1 UNSEEN",
        "SEARCH RETURN ({}) LARGER 24",
        "UID SORT RETURN ({}) (REVERSE SUBJECT) UTF-8 UNSEEN",
        "SORT RETURN ({}) (SIZE REVERSE SUBJECT) UTF-8 NOT KEYWORD x",
    )
    # RFC 5465 section 7: the updates of some seeds tell something of new messages.
    UPDATES = (
        "UPDATE",
        "UPDATE (RFC822.SIZE)",
        "UPDATE",
        "UPDATE (FLAGS UID)",
        "UPDATE (BODY[TEXT])",
        "UPDATE",
    )

    def results(self, driver: Driver, search: str, known: list[int]) -> list[int]:
        line = driver.command(search.format("ALL"))[0]
        client = Results(search.startswith("UID"), True)
        match = re.search(rb" ALL (\S+)", line)
        if match is not None:
            client.apply(b"ADDTO", b"1 " + match[1], known)
        return client.uids

    def watch(
        self, lines: list[bytes], known: list[int], clients: dict[bytes, Results], views: list[list[int]]
    ) -> None:
        for line in lines:
            if match := re.fullmatch(rb"\* (\d+) EXPUNGE", line):
                del known[int(match[1]) - 1]
            elif match := re.fullmatch(rb"\* (\d+) EXISTS", line):
                known[:] = next(
                    uids for uids in views if len(uids) == int(match[1]) and uids[: len(known)] == known
                )
            elif match := re.match(rb"\* (\d+) FETCH \(UID (\d+)", line):
                self.assertEqual(known[int(match[1]) - 1], int(match[2]))
            elif match := _LINE.fullmatch(line):
                clients[match[1]].apply(match[3], match[4], known)

    def run_one(self, seed: int, *, meanwhile: bool = False) -> None:
        """One seed.

        :param meanwhile: whether the other session may change something whenever the first one waits.
        """
        dice = random.Random(seed)
        mail = _mail(dice.randint(0, 12))
        driver, other = _driver(mail), _driver(mail)
        box = mail.find("INBOX")
        known = list(box.uids)
        clients: dict[bytes, Results] = {}
        for n, search in enumerate(self.SEARCHES):
            tag = b"t%d" % n
            clients[tag] = Results(search.startswith("UID"), "SORT" in search)
            clients[tag].uids = self.results(driver, search, known)
            update = self.UPDATES[n] if seed % 2 else "UPDATE"
            driver.send(tag + b" " + search.format(update).encode() + b"\r\n")
            driver.received()

        views: list[list[int]] = []

        def sync(view: SessionView, **options: bool) -> list[Piece]:
            responses = _SYNC(view, **options)
            if view is driver.server.connection.box.view:
                views.append(list(view.uids))
            return responses

        self.patch(SessionView, "sync", sync)

        async def pause(seconds: float) -> None:
            if dice.random() < 0.3:
                other.command(
                    dice.choice(("EXPUNGE", "STORE 1:* +FLAGS (\\Seen)", "UID STORE 2:9 +FLAGS (\\Deleted)"))
                )

        if meanwhile:
            driver.server.connection.pause = pause
        for _ in range(25):
            who = dice.choice((driver, other))
            numbers = dice.choice(("1:*", "1:3", "2,4", "3:7"))
            line = dice.choice(
                (
                    f"UID STORE {numbers} +FLAGS (\\Seen)",
                    f"UID STORE {numbers} -FLAGS.SILENT (\\Seen)",
                    f"UID STORE {numbers} +FLAGS (x)",
                    f"UID STORE {numbers} FLAGS.SILENT ()",
                    f"UID STORE {dice.randint(1, 15)} +FLAGS (\\Deleted)",
                    "EXPUNGE",
                    f"APPEND INBOX {{16+}}\r\nSubject: 1 {dice.randint(0, 9)}\r\n\r\n",
                    "FETCH 1:* FLAGS",
                    "NOOP",
                )
            )
            views.clear()
            lines = who.command(line)
            if who is driver:
                self.watch(lines, known, clients, views)
        driver.server.connection.pause = None
        self.watch(driver.command("NOOP"), known, clients, views)
        self.assertEqual(known, list(box.uids))
        for n, search in enumerate(self.SEARCHES):
            self.assertEqual(clients[b"t%d" % n].uids, self.results(driver, search, known), (seed, search))

    def test_seeds(self) -> None:
        """A hundred seeds."""
        for seed in range(100):
            self.run_one(seed)

    def test_long_results(self) -> None:
        """The same when messages that go are taken out of the results before the client is told so, as it is with long ones."""
        self.patch(contexts, "_RESULTS_AT_ONCE", -1)
        self.patch(contexts, "_AT_ONCE", 2)
        for seed in range(100):
            self.run_one(seed)
            self.run_one(seed, meanwhile=True)


class WaitingTests(ProtocolTestCase):
    def test_text_conditions_while_idling(self) -> None:
        """A program with text waits for the backend while the client idles; what happens meanwhile is told too."""
        waiting: list[Deferred[None]] = []
        original = memory._Selected.search_text

        async def search_text(selected: Any, term: Any, uids: Any) -> Any:
            if waiting:
                await waiting[-1]
            return await original(selected, term, uids)

        self.patch(memory._Selected, "search_text", search_text)
        protocol, transport = self.selected()
        protocol.dataReceived(b"x UID SEARCH RETURN (UPDATE) SUBJECT x\r\ny IDLE\r\n")
        transport.read()
        waiting.append(Deferred())
        self.fill(1)
        self.clock.advance(0)
        self.assertEqual(transport.read(), b"* 1 EXISTS\r\n")
        self.fill(1)
        self.clock.advance(0)
        self.assertEqual(transport.read(), b"* 2 EXISTS\r\n")
        first, waiting[:] = waiting[0], []
        first.callback(None)
        self.assertEqual(
            transport.read(),
            b'* ESEARCH (TAG "x") UID ADDTO (0 1)\r\n* ESEARCH (TAG "x") UID ADDTO (0 2)\r\n',
        )
        protocol.dataReceived(b"DONE\r\n")
        self.assertEqual(transport.read(), b"y OK IDLE completed\r\n")
        self.lose(protocol)

    def test_long_results_while_idling(self) -> None:
        """What went comes out of one result after the other; expunges, also those that come meanwhile, are told behind that."""
        self.patch(contexts, "_RESULTS_AT_ONCE", 1)
        self.fill(5)
        protocol, transport = self.selected()
        protocol.dataReceived(
            b"x SORT RETURN (UPDATE) (REVERSE ARRIVAL) UTF-8 ALL\r\nz UID SEARCH RETURN (UPDATE) ALL\r\n"
        )
        self.clock.advance(0)
        protocol.dataReceived(b"y IDLE\r\n")
        transport.read()
        pauses: list[Deferred[None]] = []

        def pause(seconds: float) -> Deferred[None]:
            pauses.append(Deferred())
            return pauses[-1]

        protocol.machine.connection.pause = cast("Any", pause)
        box = self.mail.find("INBOX")
        box.remove([2, 3], self.mail.next_modseq())
        self.clock.advance(0)
        # One for each result.
        for _ in range(2):
            pauses[-1].callback(None)
        box.remove([5], self.mail.next_modseq())
        protocol.dataReceived(b"DONE\r\n")
        self.clock.advance(0)
        self.assertEqual(
            transport.read(),
            b'* ESEARCH (TAG "x") REMOVEFROM (2 2:3)\r\n* ESEARCH (TAG "z") UID REMOVEFROM (0 2:3)\r\n',
        )
        pauses[-1].callback(None)
        self.assertEqual(
            transport.read(),
            b'* ESEARCH (TAG "x") REMOVEFROM (3 5)\r\n* ESEARCH (TAG "z") UID REMOVEFROM (0 5)\r\n'
            b"* 5 EXPUNGE\r\n* 3 EXPUNGE\r\n* 2 EXPUNGE\r\ny OK IDLE completed\r\n",
        )
        self.assertEqual(len(pauses), 3)
        self.lose(protocol)

    def test_the_end_meanwhile(self) -> None:
        """A connection that is lost while results are found out takes nothing with it."""
        waiting: Deferred[None] = Deferred()

        async def search_text(selected: Any, term: Any, uids: Any) -> Any:
            if uids:
                await waiting
            return set(uids)

        self.patch(memory._Selected, "search_text", search_text)
        protocol, transport = self.selected()
        protocol.dataReceived(b"x UID SEARCH RETURN (UPDATE) SUBJECT x\r\n")
        transport.read()
        self.fill(1)
        protocol.dataReceived(b"y NOOP\r\n")
        self.lose(protocol)
        waiting.callback(None)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_search_that_fails(self) -> None:
        """When the backend cannot answer any more the client hears that its results are not kept up to date."""
        mail = _mail(0)
        driver = _driver(mail)
        driver.send(b"x UID SEARCH RETURN (UPDATE) SUBJECT 1\r\n")
        driver.received()

        async def search_text(selected: Any, term: Any, uids: Any) -> Any:
            raise StoreUnavailableError("closed")

        self.patch(memory._Selected, "search_text", search_text)
        mail.add("INBOX", b"Subject: 1\r\n\r\n")
        self.assertEqual(
            driver.command("NOOP"),
            [b"* 1 EXISTS", b'* NO [NOUPDATE "x"] the search failed', b"a3 OK NOOP completed"],
        )
        mail.add("INBOX", b"Subject: 1\r\n\r\n")
        self.assertEqual(driver.command("NOOP"), [b"* 2 EXISTS", b"a4 OK NOOP completed"])
