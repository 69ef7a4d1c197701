"""``moxmail smtp-source`` and ``smtp-sink``: their arguments, and both as child processes against each other."""

from __future__ import annotations

import contextlib
import io
import json
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any

from twisted.internet.error import ConnectingCancelledError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.cli.arguments import build_parser
from moxtwisted.cli.loadreport import Pace, sink_lines, source_line, source_lines
from moxtwisted.cli.loadtargets import Target, parse_target
from moxtwisted.cli.progress import LiveLine
from moxtwisted.errors import MailError
from tests.cli.test_progress import Terminal
from tests.load.wire import World, letters, mail

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_SECONDS = 60.0


class TargetTests(SynchronousTestCase):
    """Where to."""

    def test_forms(self) -> None:
        """Hosts, addresses, ports and paths are told apart."""
        for text, target in {
            "mx.example": Target("mx.example", 25),
            "inet:mx.example:2525": Target("mx.example", 2525),
            ":2525": Target("", 2525),
            "127.0.0.1": Target("127.0.0.1", 25),
            "::1": Target("::1", 25),
            "[::1]:26": Target("::1", 26),
            "[::1]": Target("::1", 25),
            "unix:/run/s": Target(path="/run/s"),
        }.items():
            self.assertEqual(parse_target(text), target)
        self.assertEqual(str(Target("::1", 26)), "[::1]:26")

    def test_several_addresses(self) -> None:
        """Of several addresses of a name the first that answers is used, and from then on only that one."""
        reactor: Any = MemoryReactorClock()
        found = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 25, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 25)),
        ]
        self.patch(socket, "getaddrinfo", lambda *_: found)
        endpoint = Target("localhost").client(reactor, 0, 5.0)
        given_up = endpoint.connect(Factory.forProtocol(Protocol))
        given_up.cancel()
        self.failureResultOf(given_up, ConnectingCancelledError)
        self.assertEqual([client[0] for client in reactor.tcpClients], ["::1"])
        reactor.tcpClients.clear()
        first = endpoint.connect(Factory.forProtocol(Protocol))
        host, _, factory = reactor.tcpClients[0][:3]
        self.assertEqual(host, "::1")
        factory.clientConnectionFailed(None, Failure(Refused()))
        host, _, factory = reactor.tcpClients[1][:3]
        self.assertEqual(host, "127.0.0.1")
        factory.buildProtocol(None).makeConnection(None)
        self.successResultOf(first)
        second = endpoint.connect(Factory.forProtocol(Protocol))
        self.assertEqual([client[0] for client in reactor.tcpClients], ["::1", "127.0.0.1", "127.0.0.1"])
        reactor.tcpClients[2][2].clientConnectionFailed(None, Failure(Refused()))
        self.failureResultOf(second, Refused)

    def test_what_is_none(self) -> None:
        """What cannot be a place is refused with a reason."""
        for text in ("unix:", "[mx.example]:25", "mx:70000", "mx:smtp", "[::1"):
            self.assertRaises(MailError, parse_target, text)
        self.assertRaises(MailError, parse_target, "mx.example", default_port=None)


class ArgumentTests(SynchronousTestCase):
    """The command lines."""

    def refused(self, *arguments: str) -> str:
        """What is said to a wrong command line."""
        error = io.StringIO()
        with contextlib.redirect_stderr(error), self.assertRaises(SystemExit) as raised:
            build_parser().parse_args(arguments)
        self.assertEqual(raised.exception.code, 2)
        return error.getvalue()

    def test_letters_of_postfix(self) -> None:
        """Command lines of Postfix's programs are understood."""
        line = "-c -d -L -N -A -4 -s 5 -m 10 -r 3 -l 100 -C 2 -M me.example -f a@x.example -t b@x.example -S hello -R 1 -w 2 localhost:26"
        parsed = build_parser().parse_args(["smtp-source", *line.split()])
        self.assertEqual(
            (parsed.sessions, parsed.messages, parsed.recipients, parsed.length), (5, 10, 3, (100, 100))
        )
        self.assertEqual(
            (parsed.pause, parsed.random_pause, parsed.hello, parsed.attempts), (2.0, 1.0, "me.example", 2)
        )
        line = "-c -a -8 -e -p -E -N -C -F -L -4 -m 10 -M 5 -n 6 -t 7 -w 1 -W .:1:50 -f RCPT -r MAIL -q DATA -Q QUIT -h"
        parsed = build_parser().parse_args(["smtp-sink", *line.split()[:-1], ":26", "100"])
        self.assertEqual(
            (parsed.backlog, parsed.connections, parsed.stop_messages, parsed.stop_sessions), (100, 10, 5, 6)
        )
        self.assertEqual(
            parsed.not_offered, ["8BITMIME", "ESMTP", "PIPELINING", "ENHANCEDSTATUSCODES", "DSN"]
        )

    def test_numbers(self) -> None:
        """Numbers that make no sense are refused."""
        for option in (
            ("-s", "0"),
            ("-m", "x"),
            ("-m", "9" * 5000),
            ("--rate", "fast"),
            ("-l", "1-2-3"),
            ("--rate", "0"),
            ("--rate", "nan"),
            ("-w", "-1"),
            ("-l", "5-3"),
            ("-l", str(1 << 31)),
        ):
            said = self.refused("smtp-source", *option, "x")
            self.assertIn(f"argument {option[0]}: ", said)
            self.assertNotIn("invalid", said)

    def test_help_shows_examples(self) -> None:
        """The help of both has examples, and says what differs from Postfix's."""
        for command in ("smtp-source", "smtp-sink"):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), self.assertRaises(SystemExit):
                build_parser().parse_args([command, "--help"])
            self.assertIn(f"\n  moxmail {command} ", printed.getvalue())
            self.assertIn("What differs", printed.getvalue())
            self.assertNotIn("--config", printed.getvalue())

    def test_defaults_of_one_command_are_its_own(self) -> None:
        """What one run collects in lists is not there in the next."""
        first = build_parser().parse_args(["smtp-sink", "-r", "MAIL", "-8", ":1"])
        second = build_parser().parse_args(["smtp-sink", ":1"])
        self.assertEqual((first.soft, second.soft, second.not_offered), (["MAIL"], [], []))


class LineTests(SynchronousTestCase):
    """What is shown."""

    def test_line_of_a_terminal(self) -> None:
        """On a terminal one line is drawn again and again, and wiped at the end."""
        clock, file = Clock(), Terminal()
        live = LiveLine(file, 0.0, clock.seconds)
        for count in range(10):
            clock.advance(0.0625)
            live.show(f"{count} messages")
        live.finish()
        text = file.getvalue()
        self.assertEqual((text.count("\r"), text.count("\n"), text[-1]), (7, 0, "\r"))

    def test_lines_without_a_terminal(self) -> None:
        """Elsewhere a line is written now and then, or never."""
        for every, lines in ((10.0, 4), (1.0, 40), (0.0, 0)):
            clock, file = Clock(), io.StringIO()
            live = LiveLine(file, every, clock.seconds)
            for _ in range(320):
                clock.advance(0.125)
                live.show("x")
            live.finish()
            self.assertEqual(file.getvalue(), "x\n" * lines)

    def test_pace(self) -> None:
        """The pace is that of the last second or so, not of the whole time."""
        pace = Pace()
        rates = [pace(at / 5, min(at, 50) * 20) for at in range(100)]
        self.assertEqual(round(rates[49]), 100)
        self.assertEqual(rates[99], 0.0)

    def test_report_of_a_source(self) -> None:
        """The report has totals, a row for each stage, replies and errors; what a server says does nothing to the terminal."""
        world = World(sessions=2, messages=10, rate=100.0)
        world.wire.refusing = 1
        world.start(mail(letters(10)))
        line = source_line(world.source, Pace())
        self.assertIn(" / 10 messages, ", line)
        figures = world.finish()
        figures.tally.samples["MAIL", 250] = "\x1b[31mred"
        text = "\n".join(source_lines(figures, 10.0, 100.0))
        self.assertIn("9 messages taken in ", text)
        self.assertIn("failed 1", text)
        self.assertRegex(text, r"\nresponse +9 +\d")
        self.assertRegex(text, r"\n  MAIL +250 +9  \?\[31mred\n")
        self.assertIn("connect: refused  1", text)
        self.assertIn("this program took", text)
        self.assertIn("9 messages taken", "\n".join(sink_lines(world.sink.figures())))
        self.assertIn("9 of 10 came, 1 missing (", "\n".join(sink_lines(world.sink.figures())))

    def test_report_without_a_server(self) -> None:
        """Where nobody answers the live line and the report say why, and there is no table without rows."""
        world = World(sessions=1, messages=1)
        world.wire.refusing = 1
        world.start(mail(letters(1)))
        self.assertIn("1 failed (connect: refused)", source_line(world.source, Pace()))
        text = "\n".join(source_lines(world.finish(), 10.0, None))
        self.assertIn("errors:\n  connect: refused  1", text)
        for absent in ("p99", "percentiles", "replies", "this program took", "\n\n\n"):
            self.assertNotIn(absent, text)


class ProcessTests(SynchronousTestCase):
    """Both as programs."""

    def setUp(self) -> None:
        """A directory with a short path."""
        self.folder = Path(tempfile.mkdtemp(prefix="moxmail-"))
        self.addCleanup(rmtree, self.folder, True)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that runs; it is ended with the test."""
        child = subprocess.Popen(
            [sys.executable, "-m", "moxtwisted.cli", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.addCleanup(self.end, child)
        return child

    def end(self, child: subprocess.Popen[str]) -> None:
        """Be sure that it is gone."""
        if child.poll() is None:
            child.kill()
        child.communicate()

    def sink(self, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        """A sink, and where it listens."""
        child = self.begin("smtp-sink", "--json", *arguments)
        where = child.stderr.readline() if child.stderr is not None else ""
        match = re.match(r"listening on (.*)\n", where)
        if match is None:
            self.fail(f"the sink does not listen: {where}")
        return child, match[1]

    def over(self, child: subprocess.Popen[str]) -> tuple[int, Any, str]:
        """How a command ended: status, what it printed as JSON, standard error."""
        out, error = child.communicate(timeout=WAIT_SECONDS)
        self.assertNotIn("Traceback", error)
        return child.returncode, json.loads(out), error

    def test_against_each_other(self) -> None:
        """A source delivers to a sink with TLS and a log-in, without showing the password anywhere; the sink ends by itself."""
        password = self.folder / "password"
        password.write_text("hunter22\n")
        sink, where = self.sink(
            "--tls",
            "starttls",
            "--user",
            "alice",
            "--password-file",
            str(password),
            "-M",
            "30",
            "--check",
            "127.0.0.1:0",
        )
        source = self.begin(
            "smtp-source", "--json", "-c", "-s", "3", "-m", "30", "--per-connection", "5", "--tls", "starttls",
            "--insecure-no-verify", "--user", "alice", "--password-file", str(password), "--trace", "-r", "2", where,
        )  # fmt: skip
        listed = Path(f"/proc/{source.pid}/cmdline")
        if listed.exists():
            self.assertNotIn(b"hunter22", listed.read_bytes())
        status, facts, error = self.over(source)
        self.assertEqual((status, facts["messages"]["delivered"], facts["ended"]), (0, 30, "done"))
        self.assertEqual(facts["latency_seconds"]["message"]["count"], 30)
        self.assertGreater(facts["cpu_seconds"], 0)
        self.assertIn("AUTH SCRAM-SHA-256-PLUS …", error)
        self.assertNotIn("hunter22", error)
        status, facts, error = self.over(sink)
        self.assertEqual((status, facts["messages"]["accepted"], facts["recipients"]), (0, 30, 60))
        self.assertEqual((facts["missing"], facts["doubled"], facts["runs"][0]["total"]), (0, 0, 30))
        self.assertGreaterEqual(facts["tls"], 6)

    def test_interrupted(self) -> None:
        """Ctrl-C prints the figures so far, of both; a unix socket is gone afterwards."""
        path = self.folder / "s"
        sink, where = self.sink("-L", "-W", ".:0.05", "--check", f"unix:{path}")
        self.assertTrue(stat.S_ISSOCK(path.stat().st_mode))
        source = self.begin("smtp-source", "-L", "--json", "-c", "-d", "-s", "2", "-m", "1000000", where)
        line = source.stderr.readline() if source.stderr is not None else ""
        self.assertRegex(line, r"^[\d,]+ / 1,000,000 messages, [\d,]+/s")
        source.send_signal(signal.SIGINT)
        status, facts, _ = self.over(source)
        self.assertEqual((status, facts["ended"]), (130, "interrupted"))
        self.assertLess(facts["messages"]["delivered"], 1_000_000)
        self.assertEqual(facts["messages"]["delivered"] + facts["cut_off"], facts["messages"]["begun"])
        sink.send_signal(signal.SIGTERM)
        status, facts, _ = self.over(sink)
        self.assertEqual((status, facts["runs"][0]["total"]), (1, 1_000_000))
        self.assertFalse(path.exists())

    def test_nobody_listens(self) -> None:
        """Without a server the status is 1 and the reason is in the figures; a name that does not exist is said at once."""
        status, facts, _ = self.over(
            self.begin("smtp-source", "--json", "-m", "2", f"unix:{self.folder}/nobody")
        )
        self.assertEqual((status, facts["messages"]["failed"]), (1, 2))
        self.assertEqual(list(facts["errors"]), ["connect: no such socket"])

    def test_wrong_use(self) -> None:
        """What cannot be done is said in a line."""
        for arguments, said in (
            (("smtp-source", "mx:smtp"), "no such port"),
            (("smtp-source", "-t", "no address", "localhost"), "addresses are given by -f and -t"),
            (("smtp-source", "-F", str(self.folder), "localhost"), "no message to send"),
            (("smtp-sink", "-u", "no such user", "127.0.0.1:0"), "there is no such user"),
            (("smtp-sink", f"unix:{self.folder}/no/sink"), "/no/sink: No such file or directory"),
            (("smtp-sink", "-r", "BDAT", ":0"), "'BDAT' is none of CONNECT HELO "),
        ):
            child = self.begin(*arguments)
            _, error = child.communicate(timeout=WAIT_SECONDS)
            self.assertEqual((child.returncode, said in error, error.count("\n")), (1, True, 1), error)
        self.assertTrue(self.folder.is_dir())
