"""FETCH: sections cut from messages of all sizes, kept fields, binary parts, messages that went."""

import base64
import random
import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.commands.fetchplan import Batch, compile_plan, internal_dates
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.testing import Driver
from moxtwisted.imap.wire.fetchattributes import BodySection, SectionText
from moxtwisted.message.dates import render_imap_datetime
from moxtwisted.message.headers import select_fields
from moxtwisted.message.text import decode_transfer
from moxtwisted.message.transferencoding import decoded

_LITERAL = re.compile(rb" ~?\{(\d+)\}\r\n")


def literals(answer: bytes) -> list[bytes]:
    """The literals of a response."""
    found, at = [], 0
    while (match := _LITERAL.search(answer, at)) is not None:
        at = match.end() + int(match[1])
        found.append(answer[match.end() : at])
    return found


def multipart(size: int) -> bytes:
    """A message with a base64 part of about that size."""
    data = base64.encodebytes(bytes(i * 7 & 255 for i in range(size * 3 // 4))).replace(b"\n", b"\r\n")
    return (
        b"Subject: parts\r\nX-Long: " + b"a" * 50 + b"\r\n b\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nX-Inner: 1\r\n\r\ninner body\r\n"
        b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + data + b"\r\n"
        b"--b\r\nContent-Transfer-Encoding: x-strange\r\n\r\n??\r\n--b--\r\n"
    )


class SectionTests(SynchronousTestCase):
    def selected(self, *messages: bytes) -> Driver:
        self.mail = MemoryMail()
        for octets in messages:
            self.mail.add("INBOX", octets)
        driver = Driver.of(self.mail)
        driver.login()
        driver.command("SELECT INBOX")
        return driver

    def test_all_sizes(self) -> None:
        """Every section of a message is the right octets, whether it is read with others, alone, or in pieces."""
        sizes = (40, 5_000, 30_000, 130_000, 200_000, 400_000)
        messages = [multipart(size) for size in sizes]
        driver = self.selected(*messages)
        answers = driver.command(
            "FETCH 1:* (BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[1] BODY.PEEK[2.HEADER] BODY.PEEK[2.TEXT]"
            " BODY.PEEK[3] BODY.PEEK[2.HEADER.FIELDS (x-inner)] BODY.PEEK[HEADER.FIELDS (X-Long)])"
        )
        for octets, answer in zip(messages, answers, strict=False):
            header, _, text = octets.partition(b"\r\n\r\n")
            encoded = octets.split(b"Content-Transfer-Encoding: base64\r\n\r\n")[1].split(b"\r\n--b")[0]
            self.assertEqual(
                literals(answer),
                [
                    octets,
                    header + b"\r\n\r\n",
                    text,
                    b"hello",
                    b"Subject: inner\r\nX-Inner: 1\r\n\r\n",
                    b"inner body",
                    encoded,
                    b"X-Inner: 1\r\n\r\n",
                    b"X-Long: " + b"a" * 50 + b"\r\n b\r\n\r\n",
                ],
            )

    def test_partial(self) -> None:
        """Any partial of any size of message is that slice, and empty beyond its end."""
        dice = random.Random(3)
        for size in (100, 300_000):
            octets = multipart(size)
            driver = self.selected(octets)
            for _ in range(30):
                offset = dice.choice((0, 1, dice.randrange(len(octets)), len(octets), len(octets) + 5))
                count = dice.choice((1, 10, dice.randrange(1, len(octets)), 4_000_000))
                answer = driver.command(f"FETCH 1 BODY.PEEK[]<{offset}.{count}>")[0]
                self.assertIn(b"BODY[]<%d>" % offset, answer)
                self.assertEqual(literals(answer), [octets[offset : offset + count]])

    def test_binary(self) -> None:
        """BINARY decodes parts of all sizes, BINARY.SIZE tells how many octets that gives, partials cut what is decoded."""
        for size in (40, 30_000, 200_000, 600_000):
            octets = multipart(size)
            plain = bytes(i * 7 & 255 for i in range(size * 3 // 4))
            driver = self.selected(octets)
            answer = driver.command(
                "FETCH 1 (BINARY.PEEK[3] BINARY.SIZE[3] BINARY.PEEK[3]<5.7> BINARY.PEEK[1])"
            )[0]
            self.assertIn(b"BINARY.SIZE[3] %d " % len(plain), answer)
            self.assertIn(b"BINARY[3] ~{", answer)
            self.assertEqual(literals(answer), [plain, plain[5:12], b"hello"])
            almost = len(plain) - 3
            answer = driver.command(f"FETCH 1 BINARY.PEEK[3]<{almost}.{size * 2}>")[0]
            self.assertEqual(literals(answer), [plain[almost:]])
            answers = driver.command("FETCH 1 (BINARY.PEEK[4])")
            self.assertEqual(answers, [b"a5 NO [UNKNOWN-CTE] unknown content transfer encoding"])
            self.assertEqual(driver.command("FETCH 1 BINARY.SIZE[9]")[0], b"* 1 FETCH (BINARY.SIZE[9] 0)")

    def test_order_of_messages(self) -> None:
        """Large and small messages mixed come in the order of their numbers."""
        dice = random.Random(5)
        messages = [b"Subject: %d\r\n\r\n" % n + b"x" * dice.choice((0, 50_000, 300_000)) for n in range(40)]
        driver = self.selected(*messages)
        answers = driver.command("UID FETCH 1:* BODY.PEEK[]")
        self.assertEqual([literals(a)[0] for a in answers[:-1]], messages)
        answers = driver.command("UID FETCH 1:* BODY.PEEK[HEADER]")
        self.assertEqual(
            [literals(a)[0] for a in answers[:-1]],
            [m.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for m in messages],
        )

    def test_gone(self) -> None:
        """What another session expunged is left out; asked by number that is a NO, by UID it is nothing special."""
        for items in ("FLAGS", "(FLAGS RFC822.SIZE)", "BODY.PEEK[]", "(UID MODSEQ BODY.PEEK[TEXT])"):
            driver = self.selected(*[b"Subject: %d\r\n\r\n" % n for n in range(5)])
            self.mail.find("INBOX").remove([2, 4], self.mail.next_modseq())
            answers = driver.command(f"FETCH 1:4 {items}")
            numbers = [a.split()[1] for a in answers if b" FETCH (" in a]
            self.assertEqual(numbers, [b"1", b"3"])
            self.assertTrue(answers[-1].endswith(b"NO [EXPUNGEISSUED] some of the messages are gone"))
            answers = driver.command(f"UID FETCH 1:4 {items}")
            self.assertEqual([a.split()[1] for a in answers if b" FETCH (" in a], [b"1", b"3"])
            self.assertEqual([a for a in answers if b"EXPUNGE" in a], [b"* 4 EXPUNGE", b"* 2 EXPUNGE"])

    def test_ranges(self) -> None:
        """Any set of numbers, in any order and overlapping, answers each message once and in order."""
        driver = self.selected(*[b"Subject: %d\r\n\r\n" % n for n in range(700)])
        dice = random.Random(9)
        for _ in range(60):
            ranges = [(dice.randint(1, 700), dice.randint(1, 700)) for _ in range(dice.randint(1, 6))]
            text = ",".join(f"{a}:{b}" for a, b in ranges)
            wanted = sorted({n for a, b in ranges for n in range(min(a, b), max(a, b) + 1)})
            for items in ("UID", "RFC822.SIZE"):
                answers = driver.command(f"FETCH {text} {items}")
                self.assertEqual([int(a.split()[1]) for a in answers[:-1]], wanted)

    def test_seen_is_set_once(self) -> None:
        r"""BODY[] sets \Seen and says so in the same response, not again; in a mailbox opened to read only it does not."""
        driver = self.selected(b"Subject: x\r\n\r\n")
        self.assertEqual(
            driver.command("FETCH 1 BODY[TEXT]"),
            [b"* 1 FETCH (FLAGS (\\Seen) BODY[TEXT] {0}\r\n)", b"a3 OK FETCH completed"],
        )
        self.assertEqual(driver.command("FETCH 1 RFC822.TEXT")[0], b"* 1 FETCH (RFC822.TEXT {0}\r\n)")
        driver = self.selected(b"Subject: x\r\n\r\n")
        driver.command("EXAMINE INBOX")
        self.assertNotIn(b"FLAGS", driver.command("FETCH 1 RFC822")[0])
        self.assertEqual(driver.command("FETCH 1 FLAGS")[0], b"* 1 FETCH (FLAGS ())")

    def test_seen_with_condstore(self) -> None:
        r"""A FETCH that sets \Seen tells UID and MODSEQ once CONDSTORE is enabled; one that changes nothing does not."""
        driver = self.selected(b"Subject: x\r\n\r\n")
        driver.command("ENABLE CONDSTORE")
        self.assertEqual(
            driver.command("FETCH 1 BODY[TEXT]")[0],
            b"* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (3) BODY[TEXT] {0}\r\n)",
        )
        self.assertEqual(driver.command("FETCH 1 BODY[TEXT]")[0], b"* 1 FETCH (BODY[TEXT] {0}\r\n)")

    def test_nul_in_header(self) -> None:
        """Header fields with a NUL are a plain literal, kept ones and others; only BINARY is a literal8."""
        driver = self.selected(b"Subject: a\0\r\nX-Other: a\0\r\n\r\n")
        for section in (
            "HEADER",
            "HEADER.FIELDS (Subject)",
            "HEADER.FIELDS (X-Other)",
            "HEADER.FIELDS.NOT (To)",
        ):
            answer = driver.command(f"FETCH 1 BODY.PEEK[{section}]")[0]
            self.assertIn(b"\0", answer)
            self.assertNotIn(b"~{", answer)
        self.assertIn(b"BINARY[] ~{", driver.command("FETCH 1 BINARY.PEEK[]")[0])

    def test_seen_and_failed(self) -> None:
        r"""When a FETCH that set \Seen fails, the flags are told all the same."""
        odd = b"Content-Transfer-Encoding: x-odd\r\n\r\n??"
        driver = self.selected(b"Subject: x\r\n\r\n", odd, b"Subject: y\r\n\r\n")
        driver.command("ENABLE CONDSTORE")
        self.assertEqual(
            driver.command("FETCH 2:3 BINARY[1]"),
            [
                b"* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (5))",
                b"* 3 FETCH (UID 3 FLAGS (\\Seen) MODSEQ (5))",
                b"a4 NO [UNKNOWN-CTE] unknown content transfer encoding",
            ],
        )
        self.assertEqual(len(driver.command("FETCH 1 BINARY[1]")), 2)
        self.assertEqual(driver.command("NOOP"), [b"a6 OK NOOP completed"])


class KeptFieldsTests(SynchronousTestCase):
    names = ("subject", "from", "to", "date", "references")

    @settings(max_examples=200)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    ("Subject", "FROM", "to", "X-Other", "References", "Date", "Subjects", "Sub", "From ")
                ),
                st.text("ab :\t,", max_size=8),
                st.lists(st.text("cd :", max_size=5), max_size=2),
            ),
            max_size=6,
        ),
        st.sets(st.sampled_from(("subject", "from", "to", "references")), min_size=1),
    )
    def test_equal_to_the_general_way(
        self, fields: list[tuple[str, str, list[str]]], names: set[str]
    ) -> None:
        """HEADER.FIELDS from kept fields gives what selecting from a header gives."""
        header = "".join(
            f"{name}:{value}\r\n" + "".join(f" {more}\r\n" for more in folded)
            for name, value, folded in fields
        ).encode()
        item = BodySection((), SectionText.HEADER_FIELDS, tuple(sorted(names)), None, True)
        plan = compile_plan([item], uid=False, modseq=False)
        self.assertEqual(plan.bodies, ())
        batch = Batch([1], [1], (), (), {plan.columns: [header]})
        rendered = plan.values[0](batch)[0]
        expected = select_fields(header, {n.encode() for n in names})
        self.assertEqual(rendered, b"{%d}\r\n%b" % (len(expected), expected))

    def test_others_are_read(self) -> None:
        """A field that is not kept is read from the message."""
        item = BodySection((), SectionText.HEADER_FIELDS, ("Subject", "X-Rare"), None, True)
        self.assertEqual(len(compile_plan([item], uid=False, modseq=False).bodies), 1)


class DateTests(SynchronousTestCase):
    def test_equal_to_the_general_way(self) -> None:
        """Internal dates rendered in bulk are those rendered one by one."""
        dice = random.Random(2)
        seconds = [dice.randrange(0, 4_000_000_000) for _ in range(500)] + [0, 86399, 86400]
        self.assertEqual(internal_dates(seconds, {}), [b'"%b"' % render_imap_datetime(s) for s in seconds])


class DecodingTests(SynchronousTestCase):
    @settings(max_examples=150)
    @given(
        st.binary(max_size=300),
        st.lists(st.integers(0, 400), max_size=6),
        st.sampled_from(("base64", "quoted-printable")),
    )
    def test_pieces(self, data: bytes, cuts: list[int], encoding: str) -> None:
        """What was encoded comes back, wherever the octets are cut."""
        if encoding == "base64":
            encoded = base64.encodebytes(data).replace(b"\n", b"\r\n")
        else:
            encoded = b"".join(b"=%02X" % o if o > 126 or o < 33 or o == 61 else bytes([o]) for o in data)
            encoded = b"=\r\n".join(encoded[i : i + 72] for i in range(0, len(encoded), 72))
            encoded = re.sub(rb"(=[0-9A-F]?)=\r\n([0-9A-F]{1,2})", rb"\1\2", encoded)
        places = sorted({min(c, len(encoded)) for c in cuts} | {0, len(encoded)})
        pieces = [encoded[a:b] for a, b in pairwise(places)]
        self.assertEqual(b"".join(decoded(pieces, encoding)), data)

    @settings(max_examples=100)
    @given(st.binary(max_size=200), st.sampled_from(("base64", "quoted-printable", "8bit")))
    def test_garbage(self, data: bytes, encoding: str) -> None:
        """Octets that are no such encoding do no harm, and whole are decoded as the rest of the program does."""
        b"".join(decoded([data[i : i + 3] for i in range(0, len(data), 3)], encoding))
        if encoding == "8bit":
            self.assertEqual(b"".join(decoded([data], encoding)), decode_transfer(data, encoding))
