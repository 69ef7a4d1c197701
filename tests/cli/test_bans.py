"""Bans on a real server: refused by all services while they hold, and what the commands say."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import time

from moxtwisted.cli.bans import _seconds
from moxtwisted.errors import MailError
from tests.cli.test_live import WAIT_SECONDS, LiveTestCase

#: A loopback address that no other test process has: 127.192.0.1 to 127.223.255.254.
IP = f"127.{192 + os.getpid() // 64516 % 32}.{os.getpid() // 254 % 254}.{os.getpid() % 254 + 1}"
CLIENT, NEIGHBOUR = "198.51.100.7", "198.51.100.130"
SMTP, IMAP, IMAPS, SUBMISSION, SUBMISSIONS = 1025, 1143, 1993, 1587, 1465


class Client:
    """A connection that came through a load balancer.

    :ivar said: what the server said first; empty when it hung up.
    """

    def __init__(self, port: int, ip: str) -> None:
        self.socket = socket.create_connection((IP, port), timeout=20)
        self.socket.sendall(f"PROXY TCP4 {ip} 192.0.2.25 40000 {port}\r\n".encode())
        self.said = ""
        try:
            if port in {IMAPS, SUBMISSIONS}:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                self.socket = context.wrap_socket(self.socket)
            self.said = self.read()
        except (ssl.SSLError, OSError):
            self.said = ""

    def read(self) -> str:
        return self.socket.recv(1000).decode().strip()


class BansTests(LiveTestCase):
    def test_all_services(self) -> None:
        """Who is banned reads why and is gone, on every service; also who is connected; until the ban is lifted or the server forgets."""
        self.moxmail("localserve", "--dir", str(self.home), "--ip", IP, "--init-only")
        path = self.home / "mox.conf"
        text = re.sub(
            r"(?m)^(\[listeners\.[a-z0-9]+\])$",
            r'\1\nproxy_protocol_from = ["127.0.0.0/8"]',
            path.read_text(),
        )
        path.write_text(text)
        child = self.started()
        client = self.client(IMAP, CLIENT)
        neighbour = self.client(IMAP, NEIGHBOUR)
        self.assertTrue(client.said.startswith("* OK"), client.said)
        self.assertEqual(self.moxmail("bans", "list").strip(), "nobody is banned")
        self.assertIn(
            "banned 198.51.100.0/25 until 20",
            self.moxmail("bans", "add", "198.51.100.9/25", "--why", "a test"),
        )
        self.assertTrue(client.read().startswith("* BYE"))
        self.banned(CLIENT)
        self.assertEqual(self.client(SMTP, NEIGHBOUR).said[:3], "220")
        neighbour.socket.sendall(b"a NOOP\r\n")
        self.assertTrue(neighbour.read().startswith("a OK"))
        [row] = json.loads(self.moxmail("bans", "list", "--json"))
        self.assertEqual(
            (row["network"], row["cause"], row["why"]), ("198.51.100.0/25", "operator", "a test")
        )
        self.assertIn("is never banned", self.moxmail("bans", "add", "127.0.0.1", status=1))
        self.assertIn("it lies in 198.51.100.0/25", self.moxmail("bans", "lift", CLIENT, status=1))
        self.moxmail("stop")
        child.communicate(timeout=WAIT_SECONDS)
        self.assertIn("does not run", self.moxmail("bans", "list", status=1))
        self.started()
        self.banned(CLIENT)
        self.assertIn("lifted 198.51.100.0/25", self.moxmail("bans", "lift", "198.51.100.0/25"))
        for port in (SMTP, IMAP, IMAPS, SUBMISSION, SUBMISSIONS):
            self.assertRegex(self.client(port, CLIENT).said, r"^(220 |\* OK)")
        self.assertIn("name the network", self.moxmail("bans", "lift", status=1))
        self.assertIn("nothing is banned", self.moxmail("bans", "lift", "--all"))

    def started(self) -> subprocess.Popen[str]:
        child = self.start("-m", "moxtwisted.cli", "serve", "-c", str(self.home / "mox.conf"))
        deadline = time.monotonic() + WAIT_SECONDS
        for port in (SMTP, SUBMISSION, SUBMISSIONS, IMAP, IMAPS):
            while not self._greets(port):
                self.assertIsNone(child.poll())
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
        return child

    @staticmethod
    def _greets(port: int) -> bool:
        try:
            client = Client(port, NEIGHBOUR)
        except OSError:
            return False
        client.socket.close()
        return client.said != ""

    def client(self, port: int, ip: str) -> Client:
        client = Client(port, ip)
        self.addCleanup(client.socket.close)
        return client

    def banned(self, ip: str) -> None:
        for port, beginning in ((SMTP, "421 4.7.0 "), (SUBMISSION, "421 4.7.0 "), (IMAP, "* BYE ")):
            said = self.client(port, ip).said
            self.assertTrue(said.startswith(beginning), (port, said))
            self.assertIn("your network is banned here until 20", said)
        for port in (IMAPS, SUBMISSIONS):
            self.assertEqual(self.client(port, ip).said, "")

    def test_times(self) -> None:
        """Times are a number and a unit, or ever."""
        times = {"30min": 1800, "45s": 45, "12h": 43200, "1d": 86400, "2 w": 1209600, "ever": 0, "1m": 60}
        self.assertEqual({text: _seconds(text) for text in times}, times)
        for text in ("", "0d", "1", "d", "-1d", "99999w", "1.5h", "tomorrow"):
            self.assertRaises(MailError, _seconds, text)
