"""Labelled mail is read from where people keep it, and judged by what the other part teaches."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError
from moxtwisted.server.junk import labelled
from moxtwisted.server.junk.evaluation import Report, Sample, judge_halves, judge_parts
from moxtwisted.server.junk.labelled import count_messages, read_messages
from tests.server.junk.letters import junk, wanted


class ReadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def write(self, name: str, octets: bytes) -> None:
        """A file below it."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(octets)

    def test_directory(self) -> None:
        """A message in each file, in order, however deep; hidden files are none, and what is no message is said."""
        self.write("b/2", b"Subject: two\n\nx\n")
        self.write("a", b"Subject: one\r\n\r\nx\r\n")
        self.write(".hidden", b"Subject: no\r\n\r\n")
        self.write("picture", b"\x89PNG\r\n")
        found = list(read_messages(self.directory))
        self.assertEqual(
            [m.octets for m in found], [b"Subject: one\r\n\r\nx\r\n", b"", b"Subject: two\r\n\r\nx\r\n"]
        )
        self.assertEqual([bool(m.problem) for m in found], [False, True, False])
        self.assertEqual(count_messages(self.directory), 3)

    def test_maildir(self) -> None:
        """Of a Maildir what is in cur and new."""
        for folder in ("cur", "new", "tmp"):
            self.write(f"{folder}/1.host", b"Subject: " + folder.encode() + b"\r\n\r\n")
        self.write("dovecot-uidlist", b"3 V1\n")
        self.assertEqual([m.octets[9:12] for m in read_messages(self.directory)], [b"cur", b"new"])

    def test_mbox(self) -> None:
        """An mbox file has many messages, a file with one From line has one."""
        line = b"From a@b.example Sun Nov 22 05:00:00 2026\n"
        self.write("box", line + b"Subject: one\n\nx\n\n" + line + b"Subject: two\n\n>From here\n\n")
        found = list(read_messages(self.directory / "box"))
        self.assertEqual([m.octets.split(b"\r\n")[0] for m in found], [b"Subject: one", b"Subject: two"])
        self.assertIn(b"\r\nFrom here", found[1].octets)

    def test_bounds(self) -> None:
        """A message that is too long is left out, and what is not there is said."""
        self.patch(labelled, "MAX_OCTETS", 100)
        self.write("long", b"Subject: x\r\n\r\n" + b"x" * 100)
        self.assertIn("longer", next(read_messages(self.directory)).problem)
        self.assertRaises(MailError, count_messages, self.directory / "nothing")


class JudgingTests(SynchronousTestCase):
    samples = tuple(
        sample
        for number in range(80)
        for sample in (
            Sample.of(f"w{number}", wanted(number), junk=False),
            Sample.of(f"j{number}", junk(number), junk=True),
        )
    )

    def test_halves(self) -> None:
        """Each message is judged once, by what it is not part of."""
        done: list[int] = []
        judged = judge_halves(self.samples, done.append)
        self.assertEqual({j.sample.name for j in judged}, {s.name for s in self.samples})
        self.assertEqual(done[-1], 160)
        self.assertEqual({s.part % 2 for s in self.samples}, {0, 1})

    def test_report(self) -> None:
        """What is easy to tell apart is told apart; false positives are counted for each limit."""
        report = Report.of(judge_parts(self.samples, 4))
        self.assertEqual((report.ham, report.junk), (80, 80))
        self.assertEqual([p.false_positives for p in report.limits], [0] * 7)
        self.assertEqual(report.curve[0].caught, 1.0)
        self.assertEqual(len(report.worst), 5)
        self.assertIn("limits", report.plain())

    def test_wrong_labels(self) -> None:
        """Labels that say the opposite for a few messages show up as false positives and as missed."""
        wrong = tuple(Sample.of(f"x{n}", junk(n + 1000), junk=False) for n in range(3))
        report = Report.of(judge_parts([*self.samples, *wrong], 4))
        self.assertEqual({name for name, _, _ in report.worst[:3]}, {"x0", "x1", "x2"})
        self.assertGreater(report.limits[0].false_positives, 0)
