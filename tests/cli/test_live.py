"""The real command in child processes: localserve, quickstart, the running server and the closed files."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import rmtree
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.load import load
from moxtwisted.config.privileges import closed_program, find_identity
from moxtwisted.config.storekey import new_key, parse_key, recovery_form

ROOT = Path(__file__).resolve().parent.parent.parent
#: A loopback address that no other test process has: 127.128.0.1 to 127.191.255.254.
IP = f"127.{128 + os.getpid() // 64516 % 64}.{os.getpid() // 254 % 254}.{os.getpid() % 254 + 1}"
WAIT_SECONDS = 30.0


class LiveTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A directory with a short path."""
        self.directory = Path(tempfile.mkdtemp(prefix="moxmail-"))
        self.addCleanup(rmtree, self.directory, True)
        self.home = self.directory / "server"

    def moxmail(self, *arguments: str, stdin: str = "", status: int = 0) -> str:
        """Run a command on the server's files, to its end."""
        result = subprocess.run(
            [sys.executable, "-m", "moxtwisted.cli", "-c", str(self.home / "mox.conf"), *arguments],
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        self.assertNotIn("Traceback", result.stderr)
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def key(self) -> str:
        """What ``key show`` prints first."""
        return self.moxmail("key", "show").partition("\n")[0]

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a server; it is ended with the test."""
        child = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.addCleanup(self.end, child)
        return child

    def end(self, child: subprocess.Popen[str]) -> str:
        """Ask it to end, and read what it printed."""
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        try:
            output, _ = child.communicate(timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            output, _ = child.communicate()
        except ValueError:
            return ""
        return output or ""

    def greeting(self, port: int, child: subprocess.Popen[str]) -> bytes:
        """Wait for the banner of a port."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline and child.poll() is None:
            try:
                with socket.create_connection((IP, port), timeout=5) as connection:
                    if banner := connection.recv(1000):
                        return banner
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"no banner on port {port}:\n{self.end(child)}")

    def serve(self) -> subprocess.Popen[str]:
        """Run localserve until it greets."""
        child = self.start("-m", "moxtwisted.cli", "localserve", "--dir", str(self.home), "--ip", IP)
        self.assertTrue(self.greeting(1025, child).startswith(b"220 "))
        return child


class LocalserveTests(LiveTestCase):
    def test_running_and_closed(self) -> None:
        """The same commands work on the running server and on its closed files."""
        child = self.serve()
        self.assertEqual(stat.S_IMODE((self.home / "data" / "ctl").stat().st_mode), 0o600)
        self.assertEqual(json.loads(self.moxmail("status", "--json"))["pid"], child.pid)
        self.operations("running")
        self.assertIn("messages", self.moxmail("import", "mbox", "mox", "Old", str(self.mbox(300))))
        self.moxmail("stop")
        output, _ = child.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(child.returncode, 0)
        self.assertNotIn("Traceback", output)
        self.assertIn(f"swaks --server {IP}:1025", output)
        self.assertIn("does not run", self.moxmail("status", status=1))
        self.assertIn("does not run", self.moxmail("stop", status=1))
        self.operations("closed")
        self.assertEqual(self.messages(), 300)
        self.moxmail("import", "mbox", "mox", "Old", str(self.mbox(20)))
        self.assertEqual(self.messages(), 320)

    def test_stop_waits(self) -> None:
        """While a message is under way, stop says that it waits; when it returns, the files are free."""
        self.moxmail("localserve", "--dir", str(self.home), "--ip", IP, "--init-only")
        path = self.home / "mox.conf"
        path.write_text(path.read_text().replace("[limits]\n", "[limits]\nshutdown_seconds = 300\n"))
        child = self.serve()
        with socket.create_connection((IP, 1025), timeout=WAIT_SECONDS) as connection:
            client = connection.makefile("rw", encoding="ascii", newline="")
            client.readline()
            for line in ("HELO x.example", "MAIL FROM:<a@x.example>", "RCPT TO:<mox@localhost>", "DATA"):
                client.write(f"{line}\r\n")
                client.flush()
                self.assertIn(client.readline()[0], "23")
            stopping = subprocess.Popen(
                [sys.executable, "-m", "moxtwisted.cli", "-c", str(path), "stop"],
                cwd=ROOT, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            self.addCleanup(self.end, stopping)
            assert stopping.stderr is not None
            self.assertIn("waiting for the server to end, 310 seconds", stopping.stderr.readline())
            self.assertIsNone(stopping.poll())
            self.assertIn("in use by another process", self.moxmail("account", "list", status=1))
            client.write("Subject: late\r\n\r\n.\r\n")
            client.flush()
            self.assertTrue(client.readline().startswith("250 "))
        self.assertEqual((stopping.communicate(timeout=WAIT_SECONDS), stopping.returncode), ((None, ""), 0))
        self.assertEqual(self.messages(), 1)
        child.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(child.returncode, 0)

    def messages(self) -> int:
        """How many the account has."""
        [row] = json.loads(self.moxmail("account", "list", "--json"))
        count: int = row["messages"]
        return count

    def test_verifydata(self) -> None:
        """Verifydata finds nothing wrong, on closed files and while the server runs."""
        self.moxmail("localserve", "--dir", str(self.home), "--ip", IP, "--init-only")
        self.moxmail("import", "mbox", "mox", "Old", str(self.mbox(20)))
        self.assertIn("in order", self.moxmail("verifydata"))
        self.serve()
        self.assertIn("in order", self.moxmail("verifydata"))

    def operations(self, name: str) -> None:
        """An account with address and alias comes and goes."""
        self.assertIn("password: ", self.moxmail("account", "add", name, f"{name}@localhost"))
        self.moxmail("setpassword", name, stdin="correct horse\n")
        self.moxmail("address", "add", f"info-{name}@localhost", name)
        self.moxmail("alias", "add", f"team-{name}@localhost", f"{name}@localhost", "mox@localhost")
        self.assertIn(f"team-{name}@localhost", self.moxmail("alias", "list"))
        self.assertIn("removed from the alias", self.moxmail("account", "rm", name, "--yes"))
        self.moxmail("alias", "rm", f"team-{name}@localhost")
        self.assertIn("there is no account", self.moxmail("account", "enable", name, status=1))
        self.assertEqual(list(load(self.home / "mox.conf").domains.accounts), ["mox"])

    def mbox(self, count: int) -> Path:
        """A file with messages."""
        path = self.directory / "old.mbox"
        path.write_text(
            "".join(f"From a@b Mon Jan  1 00:00:00 2024\nSubject: {i}\n\nbody\n\n" for i in range(count))
        )
        return path

    def test_init_only(self) -> None:
        """--init-only writes an ordinary configuration and serves nothing; a second time nothing is changed."""
        arguments = ("localserve", "--dir", str(self.home), "--init-only")
        self.assertIn("moxmoxmox", self.moxmail(*arguments))
        before = {path: path.stat().st_mtime_ns for path in self.home.rglob("*.conf")}
        self.assertIn("already", self.moxmail(*arguments))
        self.assertEqual(before, {path: path.stat().st_mtime_ns for path in self.home.rglob("*.conf")})
        self.assertIn("are good", self.moxmail("config", "test"))
        self.assertEqual(stat.S_IMODE((self.home / "store.key").stat().st_mode), 0o600)

    def test_reload(self) -> None:
        """A running server takes an edited domains.conf, and keeps the old one when the new one is not valid."""
        child = self.serve()
        path = self.home / "domains.conf"
        good = path.read_text()
        path.write_text("nonsense = 1\n" + good)
        child.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        path.write_text(good + '[domains."new.example"]\n[accounts.eve]\ndomain = "new.example"\n')
        child.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + WAIT_SECONDS
        while "eve" not in self.moxmail("account", "list") and time.monotonic() < deadline:
            time.sleep(0.1)
        output = self.end(child)
        self.assertIn("nonsense: unknown key", output)
        self.assertIn("the old configuration stays in force", output)

    def test_second_server(self) -> None:
        """A second server on the same files or ports is a sentence, not a traceback."""
        self.serve()
        other = self.start("-m", "moxtwisted.cli", "localserve", "--dir", str(self.home), "--ip", IP)
        output, _ = other.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(other.returncode, 1, output)
        self.assertNotIn("Traceback", output)

    def test_edit_refused(self) -> None:
        """A bad name, address or domain is refused with the place in the file where it would stand, and the program's name first,
        by the closed files and by the running server alike."""
        self.moxmail("localserve", "--dir", str(self.home), "--init-only")
        domains = (self.home / "domains.conf").read_text()
        for serve in (None, self.serve):
            if serve is not None:
                serve()
            for words, place in (
                ("account add Bad*Name x@localhost", 'domains.conf: accounts."Bad*Name": '),
                ("domain add bad..name", 'domains.conf: domains."bad..name": '),
                ("address add nonsense mox", "domains.conf: accounts.mox.addresses.nonsense: "),
                ("account add new nonsense", '"nonsense" found'),
            ):
                said = self.moxmail(*words.split(), status=78).splitlines()
                self.assertEqual([line for line in said if not line.startswith(f"moxmail: {place}")], [])
                self.assertTrue(said)
        self.assertEqual((self.home / "domains.conf").read_text(), domains)

    def test_broken_configuration(self) -> None:
        """Whatever became of the files, the running server can be asked and stopped, and mail can be brought in."""
        child = self.serve()
        (self.home / "domains.conf").unlink()
        path = self.home / "mox.conf"
        good = path.read_text()
        path.write_text(good.replace("hostname", "hostnam") + "nonsense = 1\n")
        self.assertTrue(json.loads(self.moxmail("status", "--json"))["running"])
        self.moxmail("loglevel", "debug", "moxtwisted.smtp")
        self.assertIn("no part of the program", self.moxmail("loglevel", "debug", "nonsense.pkg"))
        self.moxmail("import", "mbox", "mox", "Old", str(self.mbox(3)))
        self.assertIn("empty", self.moxmail("queue", "list"))
        self.assertIn("did you mean hostname?", self.moxmail("account", "list", status=78))
        path.write_text("[[[\n")
        output = self.moxmail("stop", status=78)
        self.assertIn("TOML expected", output)
        self.assertIn("--socket", output)
        self.moxmail("stop", "--socket", str(self.home / "data" / "ctl"))
        output, _ = child.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(child.returncode, 0, output)
        self.assertEqual(
            json.loads(self.moxmail("status", "--json", "--socket", "x", status=1)), {"running": False}
        )

    def snapshot(self) -> dict[str, tuple[int, bytes]]:
        """All files with time and octets."""
        return {
            str(path.relative_to(self.home)): (path.stat().st_mtime_ns, path.read_bytes())
            for path in self.home.rglob("*")
            if path.is_file() and path.name != "lock"
        }

    def test_missing_and_wrong_key(self) -> None:
        """Without its key, or with another, the server refuses to start, says so, and touches nothing."""
        self.moxmail("localserve", "--dir", str(self.home), "--ip", IP, "--init-only")
        key = self.home / "store.key"
        right = key.read_text()
        before = self.snapshot()
        for text in (None, recovery_form(new_key()), "nonsense"):
            key.unlink(missing_ok=True)
            if text is not None:
                key.write_text(text)
            for command in (
                ("-m", "moxtwisted.cli", "localserve", "--dir", str(self.home)),
                ("-m", "moxtwisted.cli", "-c", str(self.home / "mox.conf"), "serve"),
            ):
                child = self.start(*command)
                output, _ = child.communicate(timeout=WAIT_SECONDS)
                self.assertNotEqual(child.returncode, 0)
                self.assertIn("key", output)
                self.assertNotIn("Traceback", output)
                self.assertNotIn(text or "\0", output)
            after = self.snapshot()
            after.pop("store.key", None)
            self.assertEqual({name: entry for name, entry in before.items() if name != "store.key"}, after)
        key.write_text(right)
        self.assertEqual(self.messages(), 0)

    def test_key_commands(self) -> None:
        """Key rotate, key off and key show: the mail stays readable, and the files of the key follow."""
        self.moxmail("localserve", "--dir", str(self.home), "--ip", IP, "--init-only")
        self.moxmail("import", "mbox", "mox", "Old", str(self.mbox(20)))
        first = self.key()
        for answer in ("", "n\n", "rotate\n"):
            self.assertIn("--yes", self.moxmail("key", "rotate", stdin=answer, status=1))
            self.assertIn("--yes", self.moxmail("key", "off", stdin=answer, status=1))
        self.assertEqual(self.key(), first)
        self.moxmail("key", "rotate", "--yes")
        second = self.key()
        self.assertNotEqual(parse_key(first), parse_key(second))
        self.assertEqual(self.messages(), 20)
        self.moxmail("key", "off", "--yes")
        self.assertIn("off", self.moxmail("key", "show", status=1))
        self.assertTrue(
            (self.home / "data" / "accounts" / "mox.db").read_bytes().startswith(b"SQLite format 3")
        )
        self.assertEqual(self.messages(), 20)
        self.moxmail("key", "rotate", "--yes")
        self.assertFalse(
            (self.home / "data" / "accounts" / "mox.db").read_bytes().startswith(b"SQLite format 3")
        )
        self.assertEqual(self.messages(), 20)


class QuickstartTests(LiveTestCase):
    user = "nobody"

    def quickstart(self, *more: str, status: int = 0) -> str:
        """Run it for an address at example.org."""
        return self.moxmail(
            "quickstart", "You.Too@example.org", "--dir", str(self.home), "--hostname", "mail.example.org",
            "--user", self.user, *more, status=status,
        )  # fmt: skip

    def test_everything_is_there(self) -> None:
        """All files are written and valid; the password and the recovery key are shown."""
        output = self.quickstart()
        self.assertIn("does not deliver it yet", output)
        self.assertEqual(
            sorted(path.name for path in self.home.iterdir()),
            ["data", "dkim", "domains.conf", "mox.conf", "moxmail.service", "store.key", "tls"],
        )
        rows = json.loads(self.moxmail("dkim", "list", "--json"))
        self.assertEqual(
            [(row["algorithm"], row["state"], row["problem"]) for row in rows],
            [("rsa", "active", ""), ("ed25519", "active", "")],
        )
        for row in rows:
            self.assertIn(row["name"], output)
            self.assertIn(row["record"][-40:], output)
        self.assertIn("are good", self.moxmail("config", "test"))
        written = (self.home / "mox.conf").read_text().splitlines()
        for start in ("data_directory", "user", "[postmaster]", "[receivers]"):
            (place,) = [number for number, line in enumerate(written) if line.startswith(start)]
            self.assertEqual(written[place - 1][:2], "# ", start)
        key = self.key()
        self.assertIn(key, output)
        [account] = json.loads(self.moxmail("account", "list", "--json"))
        self.assertEqual((account["name"], account["addresses"]), ("you.too", ["You.Too@example.org"]))
        password = next(line.split()[1] for line in output.splitlines() if line.split()[:1] == ["password"])
        self.assertGreaterEqual(len(password), 12)
        for path in (
            self.home / "store.key",
            self.home / "tls" / "mail.example.org.key",
            *(self.home / "dkim").iterdir(),
        ):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        if os.geteuid() == 0:
            self.assertEqual({path.owner() for path in [self.home, *self.home.rglob("*")]}, {self.user})

    def test_served(self) -> None:
        """A server with these files has a receiver, which confines itself and greets strangers."""
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.quickstart()
        static = self.home / "mox.conf"
        text = re.sub("^ips = .*$", f'ips = ["{IP}"]', static.read_text(), flags=re.MULTILINE)
        for number, name in enumerate(("smtp", "submissions", "submission", "imaps", "imap"), 1025):
            section = f"[listeners.public.{name}]"
            text = text.replace(section, f"{section}\nport = {number}")
        static.write_text(text)
        child = self.start("-m", "moxtwisted.cli", "-c", str(static), "serve")
        self.assertEqual(self.greeting(1025, child)[:21], b"220 mail.example.org ")
        output = child.stdout
        assert output is not None
        self.assertTrue(any("receiver is confined" in line and "receiver=1" in line for line in output))
        self.assertTrue(any("receiver 1 takes in mail" in line for line in output))
        self.assertEqual(self.greeting(1025, child)[:21], b"220 mail.example.org ")
        self.moxmail("stop")
        rest = "".join(output)
        self.assertIn("receiver 1 ended", rest)
        self.assertNotIn("Traceback", rest)

    def test_no_folder(self) -> None:
        """A folder that cannot be made is named."""
        output = self.moxmail("localserve", "--dir", "/proc/none/mail", status=1)
        self.assertEqual(output, "moxmail: /proc/none cannot be made: No such file or directory\n")

    def test_unknown_user(self) -> None:
        """The way to make the system user is the one of the manual."""
        if os.geteuid() != 0:
            self.skipTest("only root gives files to another user")
        output = self.moxmail(
            "quickstart", "you@example.org", "--dir", "/etc/moxmail", "--user", "nosuchuser-x", status=1
        )
        command = "useradd --system --home-dir /etc/moxmail --shell /usr/sbin/nologin "
        self.assertIn(command + "nosuchuser-x", output)
        self.assertIn(command + "moxmail", (ROOT / "docs" / "howto" / "own-server.rst").read_text())

    def test_refuses_to_overwrite(self) -> None:
        """What is there already stays as it is."""
        self.quickstart()
        before = {path: path.stat().st_mtime_ns for path in self.home.rglob("*")}
        self.assertIn("already", self.quickstart(status=1))
        self.assertEqual(before, {path: path.stat().st_mtime_ns for path in self.home.rglob("*")})

    def test_removes_what_it_made(self) -> None:
        """When a later file is in the way, the earlier ones are removed again, and the one in the way stays."""
        self.home.mkdir()
        (self.home / "moxmail.service").write_text("mine\n")
        if os.geteuid() == 0:
            os.chown(self.home, pwd.getpwnam(self.user).pw_uid, -1)
        self.quickstart(status=1)
        self.assertEqual([path.name for path in self.home.rglob("*")], ["moxmail.service"])
        self.assertEqual((self.home / "moxmail.service").read_text(), "mine\n")

    def test_bad_address(self) -> None:
        """What is no address of a domain is refused before anything is made."""
        for text in ("you", "you@[192.0.2.1]", "you@exa mple", "@example.org"):
            output = self.moxmail("quickstart", text, "--dir", str(self.home), "--user", self.user, status=1)
            self.assertIn(f'the address: "{text}" found, an address as you@example.org expected', output)
        output = self.moxmail(
            "quickstart", "you@example.org", "--hostname", "a b", "--dir", str(self.home), status=1
        )
        self.assertIn('--hostname: "a b" found', output)
        self.assertFalse(self.home.exists())

    def test_unit(self) -> None:
        """Systemd finds nothing wrong with the unit."""
        try:
            self.quickstart()
            result = subprocess.run(
                ["systemd-analyze", "verify", str(self.home / "moxmail.service")],
                capture_output=True, text=True, check=False, timeout=WAIT_SECONDS,
            )  # fmt: skip
        except FileNotFoundError:
            self.skipTest("systemd-analyze is not installed")
        complaints = [
            line
            for line in result.stderr.splitlines()
            if str(self.home) in line and "Special user" not in line
        ]
        self.assertEqual(complaints, [])

    def test_other_user(self) -> None:
        """Started as root, the server has ports below 1024 and runs as the user of the configuration."""
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        self.quickstart()
        path = self.home / "mox.conf"
        text = path.read_text()
        path.write_text(text.replace(text[text.index("ips = ") :].splitlines()[0], f'ips = ["{IP}"]'))
        self.directory.chmod(0o755)
        child = self.start("-m", "moxtwisted.cli", "-c", str(path), "serve")
        self.assertIn(b"mail.example.org", self.greeting(25, child))
        status: dict[str, Any] = dict(
            line.split(":", 1) for line in Path(f"/proc/{child.pid}/status").read_text().splitlines()
        )
        uid = str(pwd.getpwnam(self.user).pw_uid)
        self.assertEqual(status["Uid"].split(), [uid] * 4)
        self.moxmail("stop")
        output, _ = child.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(child.returncode, 0, output)
        if not closed_program(find_identity(self.user)):
            # What nobody may read is missing when it is imported later, of which the log is full then.
            self.assertNotIn("Traceback", output)


class TwistdTests(LiveTestCase):
    def test_problems(self) -> None:
        """Twistd with a configuration that is not valid prints the problems, no traceback, and ends with 78."""
        self.home.mkdir()
        (self.home / "mox.conf").write_text("hostnam = 1\n")
        child = self.start(
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "-n",
            "--pidfile=",
            "moxmail",
            "-c",
            str(self.home / "mox.conf"),
        )
        output, _ = child.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(child.returncode, 78, output)
        self.assertIn("did you mean hostname?", output)
        self.assertIn("domains.conf: cannot be read", output)
        self.assertNotIn("Traceback", output)
