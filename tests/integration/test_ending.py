"""The whole server, told to end more than once: by ``make`` and by its user, by systemd and by somebody in a hurry."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

from tests.test_compose import ROOT, WAIT_SECONDS, ComposeCase, Conversation

#: Between two signals: Twisted must have begun with the first.
MOMENT_SECONDS = 0.05
COMMAND = ("-m", "moxtwisted.cli")


class EndingTests(ComposeCase):
    def begin(self, child: subprocess.Popen[bytes]) -> Conversation:
        """A client in the middle of a message."""
        client = self.connect(1025, child)
        self.addCleanup(client.connection.close)
        client.line()
        client.smtp("EHLO client.example")
        client.smtp("MAIL FROM:<a@client.example>")
        client.smtp("RCPT TO:<mox@localhost>")
        self.assertEqual(client.smtp("DATA")[:4], "354 ")
        client.say("Subject: at the last moment", "")
        return client

    def ends_once(self, child: subprocess.Popen[bytes], *signals: signal.Signals) -> None:
        """Send a server signals while it has something to do; it ends in good order, and says nothing of the later ones."""
        busy = self.begin(child)
        for number in signals:
            child.send_signal(number)
            time.sleep(MOMENT_SECONDS)
        self.assertIsNone(child.poll())
        self.assertEqual(busy.smtp("text", ".")[:9], "250 2.6.0")
        self.assertEqual(busy.line()[:4], "421 ")
        child.wait(WAIT_SECONDS)
        log = self.log.read_text()
        self.assertIn("listening: smtp", log)
        for word in ("Traceback", "ReactorNotRunning", "critical", "Unhandled"):
            self.assertNotIn(word, log)

    def test_localserve(self) -> None:
        """Ctrl-C and make's SIGTERM, and then again and again: one orderly end, with the message in transfer, and none of it in the log."""
        child = self.run_python(*COMMAND, "localserve", "--dir", str(self.home))
        self.ends_once(child, signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGTERM)
        self.assertEqual((child.returncode, self.messages("mox")), (0, 1))

    def test_terminal_is_closed(self) -> None:
        """A server that was started at a terminal ends with that."""
        ours, its = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, its)
        child = self.run_python(*COMMAND, "localserve", "--dir", str(self.home), stdin=its)
        self.ends_once(child, signal.SIGHUP)
        self.assertEqual((child.returncode, self.messages("mox")), (0, 1))
        self.assertIn("\nending; what is under way has ", self.log.read_text())

    def test_twistd(self) -> None:
        """The same under twistd, whose process ends by the signal that came first."""
        child = self.start()
        self.ends_once(child, signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
        self.assertEqual((child.returncode, self.messages("mox")), (-signal.SIGTERM, 1))
        child = self.run_python(*COMMAND, "-c", str(self.path), "serve")
        self.ends_once(child, signal.SIGINT, signal.SIGTERM)
        self.assertEqual((child.returncode, self.messages("mox")), (-signal.SIGINT, 2))

    def test_stopped_by_command_and_signal(self) -> None:
        """A signal between `moxmail stop` and the end does nothing, and the other way round."""
        child = self.start()
        busy = self.begin(child)
        stopping = subprocess.Popen(
            [sys.executable, *COMMAND, "-c", str(self.path), "stop"], cwd=ROOT, stderr=subprocess.DEVNULL
        )
        self.addCleanup(stopping.wait, WAIT_SECONDS)
        with self.connect(1025, child) as idle:
            idle.line()
            self.assertEqual(idle.line()[:4], "421 ")
        child.send_signal(signal.SIGTERM)
        time.sleep(MOMENT_SECONDS)
        self.assertEqual(busy.smtp("text", ".")[:9], "250 2.6.0")
        self.assertEqual((child.wait(WAIT_SECONDS), stopping.wait(WAIT_SECONDS)), (0, 0))
        self.assertNotIn("Traceback", self.log.read_text())
