"""What is counted of the events of the log."""

from __future__ import annotations

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.server.metrics import Metrics


class MetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        """An observer and a log that nobody else sees."""
        self.metrics = Metrics()
        self.log = Logger(observer=self.metrics)

    def text(self) -> str:
        """As Prometheus reads it."""
        return self.metrics.text({"moxtwisted.imap": 2}).decode()

    def test_verified(self) -> None:
        """Each method of a message counts with its result."""
        for _ in range(2):
            self.log.info("message", dmarc="pass", spf="softfail", dkim="pass", iprev="fail")
        self.assertIn('moxmail_verified_total{method="spf",result="softfail"} 2.0\n', self.text())
        self.assertNotIn('method="arc"', self.text())

    def test_second_opinion(self) -> None:
        """A disagreement counts."""
        self.log.warn("second opinion", second_opinion="dkim")
        self.assertIn('moxmail_second_opinion_differs_total{method="dkim"} 1.0\n', self.text())

    def test_decisions(self) -> None:
        """Decisions count with their reason."""
        self.log.info("message", decision="refused", reason="dmarc-policy")
        self.assertIn('moxmail_decisions_total{decision="refused",reason="dmarc-policy"} 1.0\n', self.text())

    def test_failures(self) -> None:
        """Failures are shown by package."""
        self.assertIn('moxmail_failures_total{package="moxtwisted.imap"} 2.0\n', self.text())

    def test_bounded(self) -> None:
        """Strangers cannot make counters without end."""
        for number in range(2000):
            self.log.info("message", decision="refused", reason=str(number))
        self.assertLess(self.text().count("moxmail_decisions_total{"), 510)
        self.assertIn('{decision="other",reason="other"} 1500.0', self.text())
