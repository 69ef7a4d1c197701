"""``moxmail badsmtp``: what it prints, whom it runs, how it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import SynchronousTestCase, TestCase

from moxtwisted.badsmtp.options import options
from moxtwisted.badsmtp.settings import Settings
from moxtwisted.cli import companion
from moxtwisted.cli.badsmtptable import announcement, rows
from moxtwisted.cli.main import main

# No test waits so long unless something is broken.
_PATIENCE = 120.0
_RANGES = {"greeting": 25200, "drop": 25600, "greeting-fault": 25900}
# A quick start: no TLS faults, no page.
_LIGHT = ("--tls-fault-port-start", "off", "--implicit-tls-fault-port-start", "off", "--http-port", "off")

_SENDS = """
import json, os, smtplib, sys
ports = json.loads(os.environ["BADSMTP_PORTS"])
assert ports["smtp"] == int(os.environ["BADSMTP_PORT"]) and os.environ["BADSMTP_TLS_PORT"] == "off", os.environ
with smtplib.SMTP(os.environ["BADSMTP_HOST"], ports["smtp"]) as smtp:
    smtp.sendmail("a@x.example", ["b@x.example"], b"Subject: x\\r\\n\\r\\nhello\\r\\n")
    print(smtp.mail("mail451_4.7.1@x.example"))
sys.exit(7)
"""


def _clean(**added: str) -> dict[str, str]:
    ours = ("BADSMTP_", "LOG_", "SYSLOG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # Found here by the interpreter of the tests, wherever that runs.
    return {**kept, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent), **added}


def _command(*arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "moxtwisted",
        "badsmtp",
        "--config",
        os.devnull,
        "--free-ports",
        *_LIGHT,
        *arguments,
    ]


def _ports(**more: int) -> dict[str, int]:
    found = {"smtp": 2525}
    for family, first in _RANGES.items():
        found.update({f"{family}-{n}": first + n for n in range(10)})
    return {**found, **more}


class TableTests(SynchronousTestCase):
    """The table of ports."""

    def test_ranges(self) -> None:
        """Ports of a range are one line, with what they have in common; the others have a line each."""
        found = {row.ports: row.text for row in rows(_ports(imap=143), Settings())}
        self.assertEqual(list(found), ["2525", "143", "25200-25209", "25600-25609", "25900-25909"])
        self.assertIn("0, 1, 2, 8, 10", found["25200-25209"])

    def test_each(self) -> None:
        """When wanted, each port has its line."""
        found = [row.ports for row in rows(_ports(), Settings(), each=True)]
        self.assertEqual(found, [str(port) for port in _ports().values()])

    def test_scattered(self) -> None:
        """Ports that the machine chose are no range."""
        found = [row.ports for row in rows({"drop-0": 40000, "drop-1": 31000}, Settings())]
        self.assertEqual(found, ["40000", "31000"])

    def test_gaps(self) -> None:
        """A range of which a port is missing does not promise it."""
        ports = {"tls-good": 25800, "tls-expired": 25801, "tls-stall": 25803}
        [row] = rows(ports, Settings())
        self.assertEqual(row.ports, "25800-25801,25803")
        self.assertIn("good expired stall", row.text)

    def test_announcement(self) -> None:
        """It says where, what to try, and that everything listens, in lines that fit the terminal."""
        text = announcement(_ports(http=80), Settings(listen_address="::1"), width=80)
        self.assertIn("http://[::1]:80/", text)
        self.assertTrue(text.endswith("Everything listens; Ctrl-C ends it."))
        table = text.partition("try,")[0]
        self.assertLessEqual(max(map(len, table.splitlines())), 80)


class InProcessTests(SynchronousTestCase):
    """What is said without a server."""

    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        self.patch(os, "environ", _clean(LOG_LEVEL="WARN"))
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main(["badsmtp", "--config", os.devnull, *arguments])
        return status, out.getvalue(), err.getvalue()

    def test_printed_configuration(self) -> None:
        """All settings are shown with where they come from."""
        status, out, _ = self.run_command(
            "--print-config", "-p", "2526", "--enable-hostname-routing", "--free-ports"
        )
        self.assertEqual(status, 0)
        for line in (
            "port: 2526  # --port",
            "tls_port: 0  # --free-ports",
            "enable_hostname_routing: true  # --enable-hostname-routing",
            'log_level: "WARN"  # $LOG_LEVEL',
            'listen_address: "127.0.0.1"  # default',
        ):
            self.assertIn(line + "\n", out + "\n")

    def test_printed_json(self) -> None:
        """As JSON it is a file that can be read again."""
        path = Path(self.mktemp() + ".json")
        path.write_text(self.run_command("--print-config", "--json", "--port", "off")[1])
        status, out, _ = self.run_command("--print-config", "--config", str(path))
        self.assertEqual((status, "port: off  # " in out), (0, True))

    def test_wrong(self) -> None:
        """What is wrong is told, all of it, and the status is that of a wrong configuration."""
        status, _, err = self.run_command("--port", "x", "--tls-port", "25080", "--log-level", "loud")
        self.assertEqual((status, len(err.splitlines())), (78, 3), err)

    def test_no_such_command(self) -> None:
        """A command that there is not is told before anything listens, with the status that shells have for it."""
        for words in (["no-such-program-of-ours"], []):
            self.assertEqual(self.run_command("--exec", *words)[0], 127)

    def test_help(self) -> None:
        """The help has every setting."""
        out = io.StringIO()
        with redirect_stdout(out):
            self.assertRaises(SystemExit, main, ["badsmtp", "--help"])
        for option in options():
            self.assertIn(option.flag, out.getvalue())


class EnvironmentTests(SynchronousTestCase):
    """What the command of ``--exec`` is told."""

    def test_variables(self) -> None:
        """Ports that there are, ports that are off, the page, the address, and all of it as JSON."""
        settings = Settings(listen_address="::1", drop_delay_port_start=None, tls_root_out="root.pem")
        found = companion.environment(settings, {"smtp": 1, "http": 2})
        self.assertEqual(
            [
                found[f"BADSMTP_{name}"]
                for name in ("HOST", "PORT", "HTTP_PORT", "TLS_PORT", "URL", "CA_FILE")
            ],
            ["::1", "1", "2", "off", "http://[::1]:2", "root.pem"],
        )
        self.assertEqual(
            (found["BADSMTP_GREETING_DELAY_PORT_START"], found["BADSMTP_DROP_DELAY_PORT_START"]),
            ("25200", "off"),
        )
        self.assertEqual(json.loads(found["BADSMTP_PORTS"]), {"smtp": 1, "http": 2})


class CompanionTests(TestCase):
    """``run_command``."""

    def _beside(self, *command: str) -> Deferred[Any]:
        return ensureDeferred(companion.run_command(reactor, command, os.environ))

    async def test_status(self) -> None:
        """Its exit status is ours, and a signal that ended it is told as shells tell it."""
        self.assertEqual(await self._beside("sh", "-c", "exit 3"), 3)
        self.assertEqual(await self._beside("sh", "-c", "kill -KILL $$"), 128 + signal.SIGKILL)
        self.assertEqual(await self._beside("true"), 0)

    async def test_cancelled(self) -> None:
        """When we are told to end, it is told, too; when it does not hear, it is killed."""
        self.patch(companion, "GRACE_SECONDS", 0)
        for script, seconds in (("exec sleep 600", _PATIENCE), ("trap '' TERM; exec sleep 600", 0.1)):
            self.patch(companion, "KILL_SECONDS", seconds)
            running = self._beside("sh", "-c", script)
            IReactorTime(reactor).callLater(0, running.cancel)
            with self.assertRaises(CancelledError):
                await running


class LiveTests(SynchronousTestCase):
    """The program, as users run it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def test_exec(self) -> None:
        """A command finds the ports in its environment; its output and its status are ours, and nothing else is printed."""
        done = subprocess.run(
            _command("--tls-port", "off", "--mailbox", "mailbox", "--exec", sys.executable, "-c", _SENDS),
            cwd=self.folder,
            env=_clean(),
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (7, ""))
        self.assertRegex(done.stdout, r"^\(451, b'4\.7\.1 [^\n]*\n$")
        [kept] = (self.folder / "mailbox" / "new").iterdir()
        self.assertTrue(kept.read_bytes().startswith(b"From: a@x.example\r\nTo: b@x.example\r\nReceived: "))

    def test_ready_file(self) -> None:
        """The file is there when everything listens and not before; Ctrl-C ends all with 421, and removes it."""
        ready = self.folder / "ready.json"
        ready.write_text("of the last time")
        with subprocess.Popen(
            _command("--json", "--ready-file", str(ready), "--log-output", "stderr", "--log-format", "text"),
            cwd=self.folder,
            env=_clean(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            watchdog = threading.Timer(_PATIENCE, process.kill)
            watchdog.start()
            self.addCleanup(watchdog.cancel)
            told = json.loads(process.stdout.readline()) if process.stdout else {}
            with smtplib.SMTP(told["address"], told["ports"]["smtp"], timeout=_PATIENCE) as smtp:
                smtp.ehlo("x.example")
                smtp.login("alice", "hunter2")
                # The line is printed first, the file is written at once after it: before anybody is answered.
                self.assertEqual(json.loads(ready.read_text()), told)
                process.send_signal(signal.SIGINT)
                self.assertEqual(smtp.getreply()[0], 421)
                smtp.close()
            out, err = process.communicate(timeout=_PATIENCE)
        self.assertEqual((process.returncode, out, ready.exists()), (0, b"", False))
        self.assertIn(b" [INFO] SMTP connection established session_id=sess_", err)
        self.assertNotIn(b"hunter2", err)
        self.assertNotIn(b"AGFsaWNlAGh1bnRlcjI", err)

    def test_command_is_told_to_end(self) -> None:
        """A server with a command that is ended by SIGTERM has the exit status of that, as shells have it."""
        program = "import signal; print('up', flush=True); signal.pause()"
        with subprocess.Popen(
            _command("--exec", sys.executable, "-c", program),
            cwd=self.folder,
            env=_clean(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            watchdog = threading.Timer(_PATIENCE, process.kill)
            watchdog.start()
            self.addCleanup(watchdog.cancel)
            self.assertEqual(process.stdout.readline() if process.stdout else b"", b"up\n")
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=_PATIENCE)
        self.assertEqual((process.returncode, err), (143, b""))

    def test_taken(self) -> None:
        """A port that is taken is told in a sentence, and how to do without it to who does not know."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            command = _command("--port", str(port))
            done = [
                subprocess.run(
                    words,
                    cwd=self.folder,
                    env=_clean(),
                    capture_output=True,
                    text=True,
                    timeout=_PATIENCE,
                    check=False,
                )
                for words in (command, [word for word in command if word != "--free-ports"])
            ]
        said = f"moxmail: 127.0.0.1:{port}: another program listens there"
        hint = "; is another badsmtp running? --free-ports takes ports that nobody has"
        self.assertEqual([one.stderr for one in done], [f"{said}\n", f"{said}{hint}\n"])
        self.assertEqual([(one.returncode, one.stdout) for one in done], [(1, "")] * 2)
