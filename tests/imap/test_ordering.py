"""SORT and THREAD: random mail against plain keys, damaged headers, turns of others, messages that go meanwhile."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.commands import ordering
from moxtwisted.imap.commands.envelopes import first_address, sent_and_subject
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import Driver
from moxtwisted.message.casemap import casemap
from moxtwisted.message.mime import Scanner
from moxtwisted.message.stepsort import sort_in_steps
from moxtwisted.message.structure import render_envelope

NOW = 1_700_000_000
WORDS = ("alpha", "Beta", "béta", "GAMMA", "x", "[list] beta", "Re: alpha", "")
PEOPLE = (
    ("Zoe", "a@x.example"),
    ("", "Zoe@y.example"),
    ("=?utf-8?q?=C3=84nne?=", "b@x.example"),
    ('"B, C"', "c@x.example"),
    ("änne", "ü@x.example"),
    ('"a \\"b\\""', '"q q"@x.example'),
)
NAMES = {"=?utf-8?q?=C3=84nne?=": "Änne", '"B, C"': "B, C", '"a \\"b\\""': 'a "b"'}
BASES = {"[list] beta": "beta", "Re: alpha": "alpha"}


class RandomMailTests(SynchronousTestCase):
    def setUp(self) -> None:
        dice = random.Random(3)
        self.mail = MemoryMail(lambda: float(NOW))
        self.kept: list[dict[str, Any]] = []
        for _ in range(80):
            people = [dice.choice(PEOPLE) for _ in range(3)]
            arrived = NOW - dice.randrange(20) * 3600
            sent = NOW - dice.randrange(40) * 1800
            subject = dice.choice(WORDS)
            lines = [f"From: {people[0][0]} <{people[0][1]}>"]
            for field, (name, address) in zip(("To", "Cc"), people[1:], strict=True):
                if dice.random() < 0.8:
                    lines.append(f"{field}: {name} <{address}>, other@x.example")
            if dice.random() < 0.8:
                zone = timezone(timedelta(minutes=dice.randrange(-660, 660, 30)))
                lines.append(f"Date: {format_datetime(datetime.fromtimestamp(sent, UTC).astimezone(zone))}")
            else:
                sent = arrived
            if subject:
                lines.append(f"Subject: {subject}")
            octets = ("\r\n".join(lines) + "\r\n\r\n" + "x" * dice.randrange(3)).encode()
            self.mail.add("INBOX", octets, internaldate=arrived)

            def one(field: str, lines: list[str] = lines) -> tuple[str, str]:
                for line in lines:
                    if line.startswith(field + ":"):
                        name, _, rest = line[len(field) + 2 :].partition("<")
                        return NAMES.get(name.strip(), name.strip()), rest.partition(">")[0]
                return "", ""

            def local(field: str, one: Callable[[str], tuple[str, str]] = one) -> str:
                return casemap(one(field)[1].rpartition("@")[0].strip('"'))

            def shown(field: str, one: Callable[[str], tuple[str, str]] = one) -> str:
                name, whole = one(field)
                return casemap(name or whole.replace('"', ""))

            self.kept.append(
                {
                    "ARRIVAL": arrived,
                    "DATE": sent,
                    "SIZE": len(octets),
                    "SUBJECT": casemap(BASES.get(subject, subject)),
                    "FROM": local("From"),
                    "TO": local("To"),
                    "CC": local("Cc"),
                    "DISPLAYFROM": shown("From"),
                    "DISPLAYTO": shown("To"),
                }
            )
        self.driver = Driver.of(self.mail)
        self.driver.login()
        self.driver.command("SELECT INBOX")

    def test_random_criteria(self) -> None:
        """Any criteria put any messages in the order of plain keys, as numbers, as UIDs and page by page."""
        dice = random.Random(5)
        for _ in range(150):
            criteria = [
                (dice.random() < 0.5, dice.choice([*self.kept[0]])) for _ in range(dice.randint(1, 3))
            ]
            text = " ".join(f"{'REVERSE ' if reverse else ''}{key}" for reverse, key in criteria)
            order = sorted(dice.sample(range(80), dice.randint(1, 80)))
            numbers = ",".join(str(n + 1) for n in order)
            for reverse, key in reversed(criteria):
                order.sort(key=lambda n, key=key: self.kept[n][key], reverse=reverse)  # type: ignore[misc]
            found = [n + 1 for n in order]
            answer = self.driver.command(f"SORT ({text}) UTF-8 {numbers}")
            self.assertEqual([int(n) for n in answer[0].split()[2:]], found, text)
            first, last = dice.randint(1, 90), dice.randint(1, 90)
            answer = self.driver.command(f"UID SORT RETURN (PARTIAL {first}:{last}) ({text}) UTF-8 {numbers}")
            page = found[min(first, last) - 1 : max(first, last)]
            said = answer[0].rpartition(b" ")[2].rstrip(b")").decode()
            self.assertEqual(_numbers(said), page, text)
            page = list(reversed(list(reversed(found))[min(first, last) - 1 : max(first, last)]))
            answer = self.driver.command(f"SORT RETURN (PARTIAL -{first}:-{last}) ({text}) UTF-8 {numbers}")
            self.assertEqual(_numbers(answer[0].rpartition(b" ")[2].rstrip(b")").decode()), page, text)


def _numbers(text: str) -> list[int]:
    """The members of a set, in its order."""
    found: list[int] = []
    for part in text.split(",") if text != "NIL" else ():
        low, _, high = part.partition(":")
        found += range(int(low), int(high or low) + 1)
    return found


class EnvelopeTests(SynchronousTestCase):
    def envelope(self, header: bytes) -> bytes:
        """As it is kept."""
        scanner = Scanner()
        scanner.feed(header + b"\r\n")
        return render_envelope(scanner.finish())

    def test_forms(self) -> None:
        """Dates, subjects and first addresses come out of envelopes with quotes, literals, groups and gaps."""
        for header, place, expected in (
            (b"To: a@b\r\n", 5, (b"", b"a", b"b")),
            (b"To: a@b\r\n", 2, (b"", b"", b"")),
            (b"From: x@y\r\nTo: a@b, c@d\r\nCc: e@f\r\n", 6, (b"", b"e", b"f")),
            ('From: "ä" <x@y>\r\nTo: ü@b\r\n'.encode(), 5, (b"", "ü".encode(), b"b")),
            ('From: "ä" <x@y>\r\n'.encode(), 2, ("ä".encode(), b"x", b"y")),
            (b'From: "a \\"q\\"" <x@y>\r\n', 2, (b'a "q"', b"x", b"y")),
            (b"To: friends: a@b;\r\n", 5, (b"", b"friends", b"")),
            (b"Subject: \xff\r\nFrom: z@y\r\n", 2, (b"", b"z", b"y")),
            (b'Subject: "\\\r\nFrom: z@y\r\n', 2, (b"", b"z", b"y")),
        ):
            self.assertEqual(first_address(self.envelope(header), place), expected, header)
        self.assertEqual(sent_and_subject(self.envelope(b"Subject: a\r\n")), (b"", b"a"))
        self.assertEqual(
            sent_and_subject(self.envelope(b'Date: x\r\nSubject: a "\\ b\r\n')), (b"x", b'a "\\ b')
        )
        self.assertEqual(sent_and_subject(self.envelope(b"Subject: \xe4\r\n")), (b"", b"\xe4"))

    @given(st.binary(max_size=120), st.integers(2, 7))
    @settings(max_examples=150)
    def test_damaged(self, octets: bytes, place: int) -> None:
        """What is no envelope gives something, and no error; neither does a cut one."""
        whole = self.envelope(b'Subject: "x" \xe4\r\nFrom: a <b@c>\r\nTo: d@e\r\nDate: 1 Jan 2020\r\n')
        for envelope in (octets, b"(" + octets, whole[: len(octets)] + octets[:9]):
            self.assertEqual(len(sent_and_subject(envelope)), 2)
            self.assertEqual(len(first_address(envelope, place)), 3)

    def test_fields_of_threads(self) -> None:
        """Message identifiers are read from folded, spaced and oddly quoted fields."""
        mail = MemoryMail()
        mail.add("INBOX", b'Subject: a\r\nMESSAGE-ID :\r\n <"one"@x>\r\n\r\n')
        mail.add("INBOX", b"Subject: b\r\nreferences: <zero@x>\r\n\t<one@x>\r\nMessage-Id: <two@x>\r\n\r\n")
        mail.add(
            "INBOX", b"Subject: c\r\nReferences: nothing\r\nIn-Reply-To: Your mail <two@x> <x@y>\r\n\r\n"
        )
        driver = Driver.of(mail)
        driver.login()
        driver.command("SELECT INBOX")
        self.assertEqual(driver.command("THREAD REFERENCES UTF-8 ALL")[0], b"* THREAD (1 2 3)")

    def test_empty_names(self) -> None:
        """RFC 5957 section 3: a name of which nothing is left when it is decoded is as if it was not there."""
        mail = MemoryMail()
        mail.add("INBOX", b"From: =?utf-8?q??= <bob@x>\r\n\r\n")
        mail.add("INBOX", b"From: Alice <zoe@x>\r\n\r\n")
        driver = Driver.of(mail)
        driver.login()
        driver.command("SELECT INBOX")
        self.assertEqual(driver.command("SORT (DISPLAYFROM) UTF-8 ALL")[0], b"* SORT 2 1")

    def test_last_reference(self) -> None:
        """RFC 5256 section 3 (1) (B): the last reference is the parent, also one that was named before, and behind a thousand others."""
        many = b" ".join(b"<%d@y>" % n for n in range(1005))
        for references in (b"<a@x> <b@x> <a@x>", b"<b@x> %b <a@x>" % many):
            mail = MemoryMail()
            for name in (b"a", b"b"):
                mail.add("INBOX", b"Subject: %b\r\nMessage-ID: <%b@x>\r\n\r\n" % (name, name))
            mail.add("INBOX", b"Subject: c\r\nReferences: %b\r\n\r\n" % references)
            driver = Driver.of(mail)
            driver.login()
            driver.command("SELECT INBOX")
            self.assertEqual(driver.command("THREAD REFERENCES UTF-8 1,3")[0], b"* THREAD (1 3)")


def _many(count: int) -> MemoryMail:
    mail = MemoryMail(lambda: float(NOW))
    for n in range(count):
        mail.add("INBOX", b"Subject: %d\r\nMessage-ID: <%d@x>\r\n\r\n" % (n * 7919 % count, n))
    return mail


class TurnTests(SynchronousTestCase):
    def paused(self, driver: Driver, command: bytes, at_pause: Callable[[int], None]) -> int:
        """Send a command whose pauses are ours; how many there were."""
        pauses = 0

        def pause(seconds: float) -> Deferred[None]:
            nonlocal pauses
            pauses += 1
            at_pause(pauses)
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done

        driver.server.connection.pause = pause  # type: ignore[assignment]
        driver.server.receive(command)
        work = driver.server.next_work()
        results: list[Any] = []
        Deferred.fromCoroutine(work.coroutine).addBoth(results.append)  # type: ignore[union-attr]
        self.assertEqual(results, [None])
        return pauses

    def test_others_have_their_turn(self) -> None:
        """Messages are read some hundred at a time, and others have their turn between."""
        driver = Driver.of(_many(3000))
        driver.login()
        driver.command("SELECT INBOX")
        for command in (b"a SORT (SUBJECT) UTF-8 ALL\r\n", b"b THREAD REFERENCES UTF-8 ALL\r\n"):
            self.assertGreaterEqual(self.paused(driver, command, lambda n: None), 6)

    def test_expunged_meanwhile(self) -> None:
        """What others expunge while a command runs is left out, and numbers stay those that the client knows."""
        for command, answer in (
            (b"a SORT (ARRIVAL SUBJECT) UTF-8 ALL\r\n", b"* SORT "),
            (b"b THREAD ORDEREDSUBJECT UTF-8 ALL\r\n", b"* THREAD "),
            (b"c THREAD REFERENCES UTF-8 ALL\r\n", b"* THREAD "),
        ):
            mail = _many(1500)
            driver = Driver.of(mail)
            driver.login()
            driver.command("SELECT INBOX")
            driver.received()

            def expunge(pause: int, mail: MemoryMail = mail) -> None:
                if pause == 1:
                    box = mail.find("INBOX")
                    box.remove([3, 1400], mail.next_modseq())
                    box.changed()

            self.paused(driver, command, expunge)
            said = driver.received().split(b"\r\n")[0]
            self.assertTrue(said.startswith(answer))
            numbers = said[len(answer) :].replace(b")(", b" ").strip(b"()").split()
            # The first 500 had been read.
            self.assertEqual(sorted(map(int, numbers)), [n for n in range(1, 1501) if n != 1400])

    def test_long_orders(self) -> None:
        """Many messages are put in order piece by piece, as if at once."""
        self.patch(sort_in_steps, "__kwdefaults__", {"reverse": False, "at_once": 16})
        driver = Driver.of(_many(500))
        driver.login()
        driver.command("SELECT INBOX")
        expected = sorted(range(1, 501), key=lambda n: str((n - 1) * 7919 % 500))
        for criteria in ("SUBJECT", "ARRIVAL SUBJECT", "REVERSE ARRIVAL SUBJECT REVERSE SIZE"):
            answer = driver.command(f"SORT ({criteria}) UTF-8 ALL")[0].split()[2:]
            self.assertEqual(list(map(int, answer)), expected)
        answer = driver.command("SORT (REVERSE SUBJECT) UTF-8 ALL")[0].split()[2:]
        self.assertEqual(list(map(int, answer)), expected[::-1])

    def test_long_chain(self) -> None:
        """Two thousand replies in a row are one thread, from command to response."""
        mail = MemoryMail()
        for n in range(2000):
            mail.add(
                "INBOX", b"Subject: Re: x\r\nMessage-ID: <%d@x>\r\nIn-Reply-To: <%d@x>\r\n\r\n" % (n, n - 1)
            )
        driver = Driver.of(mail)
        driver.login()
        driver.command("SELECT INBOX")
        expected = " ".join(map(str, range(1, 2001))).encode()
        self.assertEqual(driver.command("THREAD REFERENCES UTF-8 ALL")[0], b"* THREAD (" + expected + b")")


class LimitTests(SynchronousTestCase):
    def test_messages(self) -> None:
        """RFC 9738 section 3.1: SORT and THREAD look at as many of the newest messages as SEARCH does."""
        settings = ServerSettings(
            hostname="mail.example.org",
            allow_plain_without_tls=True,
            limits=Limits(messages=3, messages_enforced=0),
        )
        driver = Driver.of(_many(6), settings=settings)
        driver.login()
        driver.command("SELECT INBOX")
        self.assertEqual(
            driver.command("SORT (ARRIVAL) UTF-8 ALL"),
            [b"* SORT 4 5 6", b"a3 OK [MESSAGELIMIT 3 4] SORT of the newest messages only"],
        )
        self.assertEqual(
            driver.command("THREAD REFERENCES UTF-8 ALL"),
            [b"* THREAD (4)(5)(6)", b"a4 OK [MESSAGELIMIT 3 4] THREAD of the newest messages only"],
        )

    def test_undecodable(self) -> None:
        """RFC 5255 section 4.6: the example's subjects; those that their charset does not account for come last."""
        mail = MemoryMail(lambda: float(NOW))
        for charset, subject in (
            ("utf-8", "D0C0D0BDD0B4D180D0B5D0B9"),
            ("utf-8", "D181D095D0A0D093D095D099"),
            ("utf-8", "D092D0B0D181D0B8D0BBD0B8FFB9"),
            ("koi8-r", "E1CCC5CBD3C5CA"),
        ):
            word = b64encode(bytes.fromhex(subject)).decode()
            mail.add("INBOX", f"Subject: =?{charset}?B?{word}?=\r\n\r\n".encode())
        driver = Driver.of(mail)
        driver.login()
        driver.command("SELECT INBOX")
        self.assertEqual(driver.command("SORT (SUBJECT) UTF-8 ALL")[0], b"* SORT 4 2 3 1")

    def test_criteria(self) -> None:
        """More criteria than anybody wants are refused with LIMIT."""
        driver = Driver.of(_many(2))
        driver.login()
        driver.command("SELECT INBOX")
        many = " ".join(["REVERSE DATE"] * 20)
        self.assertIn(b" OK ", driver.command(f"SORT ({many}) UTF-8 ALL")[-1])
        self.assertIn(b" NO [LIMIT] ", driver.command(f"SORT ({many} DATE) UTF-8 ALL")[-1])


class IdentifierTests(SynchronousTestCase):
    def test_too_many(self) -> None:
        """When the messages of a THREAD refer to too many others, only the nearest relatives of further ones count."""
        mail = MemoryMail()
        mail.add("INBOX", b"Subject: a\r\nMessage-ID: <a@x>\r\n\r\n")
        far = b"".join(b" <%d@x>" % n for n in range(30))
        mail.add("INBOX", b"Subject: Re: b\r\nMessage-ID: <b@x>\r\nReferences: <a@x>%b\r\n\r\n" % far)
        driver = Driver.of(mail)
        driver.login()
        driver.command("SELECT INBOX")
        self.assertEqual(driver.command("THREAD REFERENCES UTF-8 ALL")[0], b"* THREAD (1 2)")
        with patch.object(ordering, "_MOST_IDENTIFIERS", 20):
            self.assertEqual(driver.command("THREAD REFERENCES UTF-8 ALL")[0], b"* THREAD (1)(2)")


class DisabledTests(SynchronousTestCase):
    def test_disabled(self) -> None:
        """What the operator took away is refused with BAD: a sort key, result options, PARTIAL, one algorithm."""
        for capability, lines in {
            "SORT=DISPLAY": ["SORT (DISPLAYTO) UTF-8 ALL", "UID SORT (DATE REVERSE DISPLAYFROM) UTF-8 ALL"],
            "ESORT": ["SORT RETURN () (DATE) UTF-8 ALL"],
            "PARTIAL": [
                "SEARCH RETURN (PARTIAL -1:-2) ALL",
                "SORT RETURN (PARTIAL -1:-2) (DATE) UTF-8 ALL",
                "UID FETCH 1:* FLAGS (PARTIAL 1:2)",
            ],
            "THREAD=REFERENCES": ["THREAD REFERENCES UTF-8 ALL"],
        }.items():
            allowed = Driver.of(_many(3))
            disabled = Driver.of(
                _many(3),
                settings=ServerSettings(
                    hostname="mail.example.org",
                    allow_plain_without_tls=True,
                    disabled_capabilities=frozenset([capability]),
                    timeouts=Timeouts(login_failure_pause=0.0),
                ),
            )
            for driver, condition in ((allowed, b" OK "), (disabled, b" BAD ")):
                driver.login()
                driver.command("SELECT INBOX")
                for line in lines:
                    self.assertIn(condition, driver.command(line)[-1], line)
