"""The progress bar."""

from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.cli.progress import ProgressBar, progress_line


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        """Yes."""
        return True


class ProgressTests(SynchronousTestCase):
    def test_silent_without_terminal(self) -> None:
        """Nothing is drawn into a file."""
        file = io.StringIO()
        bar = ProgressBar(file)
        bar(1, 2, "messages")
        bar.finish()
        self.assertEqual(file.getvalue(), "")

    def test_one_line(self) -> None:
        """Everything is drawn on one line, not too often, the end always; then the line ends once."""
        now = 0.0
        file = Terminal()
        bar = ProgressBar(file, lambda: now)
        for done in range(0, 1001, 10):
            bar(done, 1000, "messages")
            now += 0.01
        bar.finish()
        bar.finish()
        text = file.getvalue()
        self.assertEqual(text.count("\n"), 1)
        self.assertLess(text.count("\r"), 15)
        self.assertIn("1,000 / 1,000 messages", text)

    def test_shorter_line_wipes_the_longer(self) -> None:
        """What a longer line left is overwritten."""
        file = Terminal()
        bar = ProgressBar(file, lambda: 0.0)
        bar(1, 1, "messages of a long name")
        bar(1, 1, "x")
        last = file.getvalue().rsplit("\r", 1)[1]
        self.assertEqual(len(last), len(file.getvalue().split("\r")[1]))

    def test_texts(self) -> None:
        """Total, pace and time left are told when they are known."""
        self.assertEqual(progress_line(0, 0, "messages", 0), "0 messages")
        self.assertEqual(progress_line(500, 0, "messages", 10), "500 messages, 50/s")
        line = progress_line(12_000, 60_000, "messages", 3)
        self.assertTrue(
            line.startswith("[######" + " " * 24 + "] 12,000 / 60,000 messages, 4,000/s, 12 s left"), line
        )
        self.assertIn("100 min left", progress_line(1, 6001, "x", 1).replace("1.7 h", "100 min"))
        self.assertIn("10 min left", progress_line(1, 601, "x", 1))
