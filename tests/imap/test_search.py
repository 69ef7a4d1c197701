"""SEARCH: random programs against a plain evaluation message by message, and the forms of the answer."""

import random
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.testing import Driver, FixedClock
from moxtwisted.message.flags import MessageFlags

NOW = 1_700_000_000
Matches = Callable[[int, Any], bool]
WORDS = ("alpha", "beta", "gamma", "delta")
DAY = 86400


class RandomProgramTests(SynchronousTestCase):
    def setUp(self) -> None:
        dice = random.Random(1)
        self.mail = MemoryMail(lambda: float(NOW - 5 * DAY))
        self.kept = []
        for _ in range(60):
            word, other = dice.choice(WORDS), dice.choice(WORDS)
            sent = dice.randrange(NOW - 40 * DAY, NOW)
            octets = (
                f"From: {other}@example.org\r\nSubject: about {word}\r\n"
                f"Date: {datetime.fromtimestamp(sent, UTC):%a, %d %b %Y %H:%M:%S} +0000\r\n\r\n"
                f"{dice.choice(WORDS)}\r\n{'x' * dice.randrange(200)}\r\n"
            ).encode()
            flags = MessageFlags.parse(
                [f for f in ("\\Seen", "\\Flagged", "\\Deleted", "$Work") if dice.random() < 0.4]
            )
            received = dice.randrange(NOW - 40 * DAY, NOW)
            uid = self.mail.add("INBOX", octets, flags, received)
            self.kept.append((uid, octets.decode().lower(), set(flags.names), received, sent, word, other))
        self.mail.find("INBOX").remove([3, 4, 30], self.mail.next_modseq())
        self.kept = [k for k in self.kept if k[0] not in {3, 4, 30}]
        self.driver = Driver.of(self.mail, clock=FixedClock(NOW))
        self.driver.login()
        self.driver.command("SELECT INBOX")

    def program(self, dice: random.Random, depth: int) -> tuple[str, Matches]:
        """A search key and the function that says whether message (number, kept) matches."""
        if depth and dice.random() < 0.5:
            kind = dice.choice(("or", "not", "and"))
            one, first = self.program(dice, depth - 1)
            if kind == "not":
                return f"NOT {one}", lambda n, k: not first(n, k)
            other, second = self.program(dice, depth - 1)
            if kind == "or":
                return f"OR {one} {other}", lambda n, k: first(n, k) or second(n, k)
            return f"({one} {other})", lambda n, k: first(n, k) and second(n, k)
        word = dice.choice(WORDS)
        size = dice.randrange(90, 330)
        when = NOW - dice.randrange(0, 41 * DAY)
        day = datetime.fromtimestamp(when, UTC).date()
        text = f"{day:%-d-%b-%Y}"
        low, high = sorted((dice.randint(1, 65), dice.randint(1, 65)))
        seconds = dice.randrange(1, 40 * DAY)

        def on(value: int) -> date:
            return datetime.fromtimestamp(value, UTC).date()

        return dice.choice(
            (
                ("ALL", lambda n, k: True),
                ("SEEN", lambda n, k: "\\Seen" in k[2]),
                ("UNSEEN", lambda n, k: "\\Seen" not in k[2]),
                ("FLAGGED", lambda n, k: "\\Flagged" in k[2]),
                ("UNDELETED", lambda n, k: "\\Deleted" not in k[2]),
                ("KEYWORD $work", lambda n, k: "$Work" in k[2]),
                ("UNKEYWORD $WORK", lambda n, k: "$Work" not in k[2]),
                ("NEW", lambda n, k: False),
                ("OLD", lambda n, k: True),
                (f"SUBJECT {word.upper()}", lambda n, k: word == k[5]),
                (f"FROM {word}@", lambda n, k: word == k[6]),
                (f"BODY {word}", lambda n, k: word in k[1].partition("\r\n\r\n")[2]),
                (f"TEXT {word[1:4]}", lambda n, k: word[1:4] in k[1]),
                ('HEADER From ""', lambda n, k: True),
                ('HEADER X-None ""', lambda n, k: False),
                (f"LARGER {size}", lambda n, k: len(k[1]) > size),
                (f"SMALLER {size}", lambda n, k: len(k[1]) < size),
                (f"BEFORE {text}", lambda n, k: on(k[3]) < day),
                (f"ON {text}", lambda n, k: on(k[3]) == day),
                (f"SINCE {text}", lambda n, k: on(k[3]) >= day),
                (f"SENTBEFORE {text}", lambda n, k: on(k[4]) < day),
                (f"SENTON {text}", lambda n, k: on(k[4]) == day),
                (f"SENTSINCE {text}", lambda n, k: on(k[4]) >= day),
                (f"SAVEDSINCE {text}", lambda n, k: on(NOW - 5 * DAY) >= day),
                (f"YOUNGER {seconds}", lambda n, k: k[3] >= NOW - seconds),
                (f"OLDER {seconds}", lambda n, k: k[3] <= NOW - seconds),
                (f"UID {low}:{high}", lambda n, k: low <= k[0] <= high),
                (f"{low}:{high}", lambda n, k: low <= n <= high),
                (f"EMAILID M{low}", lambda n, k: k[0] == low),
                (f"THREADID T{low}", lambda n, k: k[0] == low),
                (f"MODSEQ {low}", lambda n, k: k[0] + 1 >= low),
            )
        )

    def test_random_programs(self) -> None:
        """Any program finds the messages that match it one by one, as numbers and as UIDs."""
        dice = random.Random(7)
        for _ in range(400):
            program, matches = self.program(dice, 4)
            expected = [(n, k[0]) for n, k in enumerate(self.kept, 1) if matches(n, k)]
            for prefix, place in (("", 0), ("UID ", 1)):
                answers = self.driver.command(f"{prefix}SEARCH {program}")
                self.assertIn(b" OK ", answers[-1], program)
                # Before it, once, is what the first program with MODSEQ enables.
                found = answers[-2].partition(b" (MODSEQ")[0]
                self.assertEqual([int(w) for w in found.split()[2:]], [e[place] for e in expected], program)

    def test_with_messages_that_are_gone(self) -> None:
        """What another session expunged is not found any more, and numbers are still those the client knows."""
        self.mail.find("INBOX").remove([1, 10], self.mail.next_modseq())
        self.mail.add("INBOX", b"Subject: new\r\n\r\n")
        answers = self.driver.command("SEARCH NOT DELETED UID 2:11")
        expected = [
            n
            for n, k in enumerate(self.kept, 1)
            if "\\Deleted" not in k[2] and k[0] in set(range(2, 12)) - {10}
        ]
        self.assertEqual([int(w) for w in answers[0].split()[2:]], expected)


class AnswerTests(SynchronousTestCase):
    def selected(self, count: int) -> Driver:
        mail = MemoryMail()
        mail.add("INBOX", b"Subject: x\r\n\r\n")
        box = mail.find("INBOX")
        for _ in range(count - 1):
            box.add(box.messages[1], MessageFlags.of(0), mail.modseq)
        driver = Driver.of(mail)
        driver.login()
        driver.command("SELECT INBOX")
        return driver

    def test_many_results(self) -> None:
        """Long results are one response; with ESEARCH it is short."""
        driver = self.selected(10_500)
        answers = driver.command("SEARCH ALL")
        self.assertEqual([len(a.split()) - 2 for a in answers[:-1]], [10_500])
        self.assertEqual(driver.command("SEARCH RETURN (ALL) ALL")[0], b'* ESEARCH (TAG "a4") ALL 1:10500')

    def test_empty_string(self) -> None:
        """The empty string is in every body, also where there is none; in a header field only where there is one."""
        mail = MemoryMail()
        for octets in (b"Subject: x\r\n\r\nbody\r\n", b"To: x\r\n\r\n", b"To: x", b""):
            mail.add("INBOX", octets)
        driver = Driver.of(mail)
        driver.login()
        driver.command("SELECT INBOX")
        for key in ("BODY", "TEXT"):
            self.assertEqual(driver.command(f'SEARCH {key} ""')[0], b"* SEARCH 1 2 3 4")
        self.assertEqual(driver.command('SEARCH HEADER To ""')[0], b"* SEARCH 2 3")

    def test_saved(self) -> None:
        """RFC 9051 section 6.4.4.4: what SAVE keeps depends on the other options; leaving the mailbox forgets it."""
        driver = self.selected(5)
        for options, kept in (
            ("SAVE", "1:5"),
            ("SAVE MIN", "1"),
            ("SAVE MAX MIN", "1,5"),
            ("SAVE COUNT MIN", "1:5"),
        ):
            driver.command(f"SEARCH RETURN ({options}) ALL")
            answer = driver.command("SEARCH RETURN (ALL) $")[0]
            self.assertTrue(answer.endswith(b" ALL " + kept.encode()), (options, answer))
        driver.command("SEARCH RETURN (SAVE) UID 99")
        self.assertEqual(driver.command("SEARCH $")[0], b"* SEARCH")
        self.assertEqual(driver.command("FETCH $ FLAGS")[0].split()[1], b"OK")
        driver.command("SEARCH RETURN (SAVE) ALL")
        driver.command("SELECT INBOX")
        self.assertEqual(driver.command("SEARCH $")[0], b"* SEARCH")

    def test_saved_by_what_cannot_be_read(self) -> None:
        """RFC 9051 section 6.4.4.1: a search with SAVE that is answered NO empties what was saved; without SAVE, or answered BAD, not."""
        driver = self.selected(5)
        deep = "(" * 150 + "ALL" + ")" * 150
        for command, answer, kept in (
            ("SEARCH RETURN (SAVE) CHARSET X-FOO ALL", b"NO", b"* SEARCH"),
            ("UID SEARCH RETURN (MIN SAVE) CHARSET {5+}\r\nX-FOO ALL", b"NO", b"* SEARCH"),
            (f"SEARCH RETURN (SAVE) {deep}", b"NO", b"* SEARCH"),
            ("ESEARCH IN (selected) RETURN (SAVE) CHARSET X-FOO ALL", b"NO", b"* SEARCH"),
            ("SORT RETURN (SAVE) (DATE) X-FOO ALL", b"NO", b"* SEARCH"),
            ("SEARCH CHARSET X-FOO ALL", b"NO", b"* SEARCH 2 3"),
            ("SORT RETURN (ALL) (DATE) X-FOO ALL", b"NO", b"* SEARCH 2 3"),
            ("SEARCH RETURN (SAVE) NONSENSE", b"BAD", b"* SEARCH 2 3"),
        ):
            driver.command("SEARCH RETURN (SAVE) 2:3")
            self.assertEqual(driver.command(command)[-1].split()[1], answer, command)
            self.assertEqual(driver.command("SEARCH $")[0], kept, command)

    def test_charset_after_utf8(self) -> None:
        """RFC 9755 section 3: after UTF8=ACCEPT there is no CHARSET."""
        driver = self.selected(1)
        driver.command("UNSELECT")
        driver.command("ENABLE UTF8=ACCEPT")
        driver.command("SELECT INBOX")
        self.assertIn(b"BAD", driver.command("SEARCH CHARSET UTF-8 ALL")[-1])
        self.assertEqual(driver.command('SEARCH SUBJECT "é"')[0], b"* SEARCH")

    def test_others_have_their_turn(self) -> None:
        """A search of columns in a large mailbox pauses on its way."""
        # the package has a function of that name
        self.patch(sys.modules["moxtwisted.imap.commands.search"], "_AT_ONCE", 2000)
        driver = self.selected(5000)
        pauses = []

        async def pause(seconds: float) -> None:
            pauses.append(seconds)

        driver.server.connection.pause = pause
        answers = driver.command("SEARCH RETURN (COUNT) LARGER 1 SMALLER 100")
        self.assertEqual(answers[0], b'* ESEARCH (TAG "a3") COUNT 5000')
        self.assertEqual(pauses, [0] * 4)
