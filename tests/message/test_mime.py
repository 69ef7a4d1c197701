"""The scanner: cuts, limits, facts and the time it takes."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.mime import Limits, Part, ScannedMessage, Scanner
from moxtwisted.message.products import render
from tests.message.test_corpus import reader, scan, tree

LINES = st.sampled_from(
    [
        b"",
        b"text",
        b"-",
        b"--",
        b"---",
        b"--a",
        b"--a--",
        b"--a ",
        b"--b",
        b"--b--",
        b"--ab",
        b"\r",
        b" --a",
        b"Subject: x",
        b" folded",
        b"Content-Type: text/html",
        b"Content-Type: multipart/mixed; boundary=a",
        b"Content-Type: multipart/digest; boundary=b",
        b'Content-Type: multipart/mixed; boundary="ab"',
        b"Content-Type: message/rfc822",
        b"Content-Transfer-Encoding: base64",
        b"no field",
        b"\xff\0",
    ]
)
MESSAGES = st.builds(
    lambda lines, last: b"".join(line + end for line, end in lines) + last,
    st.lists(st.tuples(LINES, st.sampled_from([b"\r\n", b"\n", b"\r\n"])), max_size=40),
    LINES,
)
SMALL = Limits(
    header_octets=40, headers_octets=200, depth=3, parts=6, boundary_octets=10, boundary_line_octets=20
)


def scan_cut(octets: bytes, sizes: Iterator[int], limits: Limits) -> ScannedMessage:
    scanner = Scanner(limits)
    position = 0
    while position < len(octets):
        size = next(sizes)
        scanner._needed = 0
        scanner.feed(octets[position : position + size])
        position += size
    return scanner.finish()


def walk(part: Part) -> Iterator[Part]:
    yield part
    for child in part.children:
        yield from walk(child)


class CutTests(SynchronousTestCase):
    """Whatever comes in, the result depends on the octets alone."""

    @settings(max_examples=200)
    @given(MESSAGES, st.lists(st.integers(1, 30), min_size=1, max_size=20), st.booleans())
    def test_cuts(self, octets: bytes, sizes: list[int], small: bool) -> None:
        """Any cuts give the same parts, also where limits are passed."""
        limits = SMALL if small else Limits()
        whole = Scanner(limits)
        whole.feed(octets)
        expected = whole.finish()

        def cycle() -> Iterator[int]:
            while True:
                yield from sizes

        cut = scan_cut(octets, cycle(), limits)
        self.assertEqual(tree(cut.root, octets), tree(expected.root, octets))
        self.assertEqual(
            (cut.size, cut.part_count, cut.has_8bit, cut.has_nul, cut.over_limits, cut.header.octets),
            (
                expected.size,
                expected.part_count,
                expected.has_8bit,
                expected.has_nul,
                expected.over_limits,
                expected.header.octets,
            ),
        )
        self.assertEqual(render(cut, reader(octets)), render(expected, reader(octets)))

    @settings(max_examples=200)
    @given(MESSAGES)
    def test_parts_nest(self, octets: bytes) -> None:
        """Every part lies within its parent and behind the part before it, and lines are line feeds."""
        scanned = scan(octets)
        self.assertEqual((scanned.size, scanned.root.body_end), (len(octets), len(octets)))
        self.assertEqual(scanned.part_count, sum(1 for _ in walk(scanned.root)))
        for part in walk(scanned.root):
            self.assertLessEqual(part.header_start, part.body_start)
            self.assertLessEqual(part.body_start, part.body_end)
            self.assertEqual(part.lines, octets.count(b"\n", part.body_start, part.body_end))
            position = part.body_start
            for child in part.children:
                self.assertGreaterEqual(child.header_start, position)
                self.assertEqual(child.depth, part.depth + 1)
                position = child.body_end
            # A part cut short by its boundary may own a line end that its parent gives to the boundary.
            self.assertLessEqual(position, part.body_end + 2)

    def test_small_pieces_are_gathered(self) -> None:
        """Feeding octet by octet looks at each octet a bounded number of times."""
        octets = b"X: " + b"y" * 300_000 + b"\r\n\r\nbody\r\n"
        looked_at = 0

        class Counting(Scanner):
            def _scan(self, *, final: bool) -> None:
                nonlocal looked_at
                looked_at += len(self._buffer) + self._pending_octets
                super()._scan(final=final)

        scanner = Counting()
        for i in range(0, len(octets), 10):
            scanner.feed(octets[i : i + 10])
        self.assertEqual(scanner.finish().header_size, 300_007)
        self.assertLess(looked_at, 4 * len(octets))


class FactTests(SynchronousTestCase):
    """What is said about the octets."""

    def test_facts(self) -> None:
        """8-bit, NUL, 8-bit in the header, and Received fields are noticed."""
        scanned = scan(b"Received: a\r\nRECEIVED: b\r\nSubject: \xc3\xbc\r\n\r\nx\0\r\n")
        self.assertTrue(scanned.has_8bit)
        self.assertTrue(scanned.has_nul)
        self.assertTrue(scanned.has_utf8_header)
        self.assertEqual(scanned.received_count, 2)
        plain = scan(b"Subject: x\r\n\r\nReceived: no\r\n")
        self.assertFalse(plain.has_8bit or plain.has_nul or plain.has_utf8_header or plain.over_limits)
        self.assertEqual(plain.received_count, 0)

    def test_eight_bit_body_only(self) -> None:
        """8-bit octets in the body make no internationalised header."""
        scanned = scan(b"Subject: x\r\n\r\n\xff")
        self.assertTrue(scanned.has_8bit)
        self.assertFalse(scanned.has_utf8_header)

    def test_date(self) -> None:
        """The date is that of the first Date field, when it can be read."""
        self.assertEqual(scan(b"Date: 1 Jan 1970 00:00:01 +0000\r\nDate: x\r\n\r\n").date, 1)
        self.assertIsNone(scan(b"Date: soon\r\n\r\n").date)
        self.assertIsNone(scan(b"").date)

    def test_file_name(self) -> None:
        """The file name comes from Content-Disposition first, then from Content-Type."""
        scanned = scan(
            b"Content-Type: a/b; name=one\r\nContent-Disposition: attachment; filename*=utf-8''zw%C3%B6lf\r\n\r\n"
        )
        self.assertEqual(scanned.root.filename, "zwölf")
        self.assertEqual(scan(b"Content-Type: a/b; name=one\r\n\r\n").root.filename, "one")
        self.assertEqual(scan(b"\r\n").root.filename, "")


class LimitTests(SynchronousTestCase):
    """Beyond the limits content is opaque, and nothing fails."""

    def test_depth_of_messages(self) -> None:
        """A message in a message in a message … is followed a hundred deep."""
        scanned = scan(b"Content-Type: message/rfc822\r\n\r\n" * 5000)
        self.assertEqual(scanned.part_count, 101)
        self.assertTrue(scanned.over_limits)
        innermost = list(walk(scanned.root))[-1]
        self.assertTrue(innermost.opaque and innermost.over_limit)
        render(scanned, lambda _offset, _length: b"")

    def test_depth_of_multiparts(self) -> None:
        """Multiparts are followed a hundred deep, and outer boundaries still count below."""
        head = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(150)
        )
        scanned = scan(head + b"\r\ndeep\r\n--b0\r\n\r\nlast\r\n--b0--\r\n")
        self.assertEqual(len(scanned.root.children), 2)
        self.assertEqual(max(part.depth for part in walk(scanned.root)), 100)

    def test_parts(self) -> None:
        """Ten thousand parts are told apart; what follows is left alone."""
        octets = (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 20_000 + b"--b--\r\n"
        )
        scanned = scan(octets)
        self.assertEqual(scanned.part_count, 10_000)
        self.assertTrue(scanned.over_limits)
        self.assertEqual(scanned.root.body_end, len(octets))

    def test_header_too_long(self) -> None:
        """Of a header beyond its limit the beginning is kept, and the body is still found."""
        octets = b"Subject: first\r\n" + b"X-Long: y\r\n" * 60_000 + b"To: late@a.example\r\n\r\nbody\r\n"
        for scanned in (scan(octets), scan(octets, iter(lambda: 100_000, None))):
            self.assertEqual(octets[scanned.root.body_start :], b"body\r\n")
            self.assertEqual(scanned.header.text(b"subject"), "first")
            self.assertIsNone(scanned.header.get(b"to"))
            self.assertTrue(scanned.over_limits)
            self.assertLessEqual(len(scanned.header.octets), 512 * 1024)

    def test_header_that_never_ends(self) -> None:
        """A header without end is not held in memory."""
        scanner = Scanner()
        scanner.feed(b"Subject: x\r\n")
        for _ in range(100):
            scanner.feed(b"y" * 65536)
            self.assertLess(len(scanner._buffer), 700_000)
        self.assertEqual(scanner.finish().header.text(b"subject"), "x")

    def test_headers_together(self) -> None:
        """When the headers of all parts have passed their limit, no more parts are looked for."""
        part = b"--b\r\nX: " + b"y" * 1000 + b"\r\n\r\n\r\n"
        octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 9000
        scanned = scan(octets)
        self.assertTrue(scanned.over_limits)
        self.assertLess(scanned.part_count, 4200)

    def test_body_is_not_held(self) -> None:
        """A body goes through without being kept, whatever its lines look like."""
        for line in (b"x" * 76 + b"\r\n", b"x" * 65536, b"--b", b"\r", b"--" + b" " * 998):
            scanner = Scanner()
            scanner.feed(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n")
            for _ in range(64):
                scanner.feed(line * (65536 // len(line)))
                self.assertLess(len(scanner._buffer), 40_000)
            scanner.finish()

    def test_long_boundary(self) -> None:
        """A boundary of 500 octets is followed, a longer one is none."""
        for length, expected in ((500, False), (501, True)):
            mark = b"b" * length
            scanned = scan(
                b"Content-Type: multipart/mixed; boundary=" + mark + b"\r\n\r\n--" + mark + b"\r\n\r\nx\r\n"
            )
            self.assertEqual(scanned.root.opaque, expected)


class LinearTests(SynchronousTestCase):
    """Hostile octets cost no more than their number: counted in steps, not by the clock."""

    def steps(self, octets: bytes) -> int:
        """How often the scanner stopped at a line of a body that could have been a boundary line."""
        count = 0

        class Counting(Scanner):
            def _boundary_at(self, line: int, final: bool) -> bool | None:
                nonlocal count
                count += 1
                return super()._boundary_at(line, final)

        scanner = Counting()
        scanner.feed(octets)
        scanner.finish()
        return count

    def test_lines_that_are_nearly_boundaries(self) -> None:
        """A million lines with two hyphens are passed over by the pattern, not looked at one by one."""
        head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
        for line in (b"--\n", b"--bb\n", b"--B\n", b"--b-\n"):
            self.assertLess(self.steps(head + line * 1_000_000 + b"--b--\r\n"), 300)

    def test_boundary_is_found_behind_them(self) -> None:
        """The boundary line after many lookalikes is found, in one piece or in many."""
        octets = (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
            + b"--x\r\n" * 50_000
            + b"--b \r\n\r\nlast\r\n--b--\r\n"
        )
        for scanned in (scan(octets), scan(octets, iter(lambda: 777, None))):
            self.assertEqual(len(scanned.root.children), 2)
            self.assertEqual(octets[scanned.root.children[1].body_start :], b"last\r\n--b--\r\n")

    def test_a_million_lines(self) -> None:
        """A million lines are counted."""
        self.assertEqual(scan(b"\r\n" + b"x\r\n" * 1_000_000).root.lines, 1_000_000)
