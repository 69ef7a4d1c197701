"""Postfix as the sender: what the internet's most common MTA does with us."""

from __future__ import annotations

import os
import re
import shutil
import smtplib
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from .live import ACCOUNT, CLIENT_SECONDS, LMTP, SMTP, LiveTestCase, base64_lines, own_address
from .peers import locate, needs

SENDER = "sender@client.example"
PORT = 2525
ARRIVAL_SECONDS = 60.0

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
myhostname = postfix.client.example
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
inet_interfaces = 127.0.0.1
smtp_bind_address = {ip}
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
disable_dns_lookups = yes
smtp_dns_support_level = disabled
default_transport = {transport}
relay_transport = {transport}
smtp_tls_security_level = {tls}
smtp_tls_loglevel = 1
smtp_balance_inet_protocols = no
message_size_limit = 0
mailbox_size_limit = 0
smtputf8_enable = yes
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
"""
MASTER_CF = """\
{ip}:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """A Postfix with a configuration and a queue of its own, that sends everything to one next hop.

    Its folder is directly below the temporary one: Postfix wants its queue below folders of root alone, and short names for its sockets.
    """

    def __init__(self, ip: str, transport: str, tls: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="moxtwisted-postfix-"))
        self.folder.chmod(0o755)
        self.ip = ip
        self.configuration = self.folder / "etc"
        for name in ("etc", "spool", "data"):
            (self.folder / name).mkdir(mode=0o755)
        shutil.chown(self.folder / "data", "postfix")
        values = {"folder": self.folder, "ip": ip, "transport": transport, "tls": tls, "port": PORT}
        (self.configuration / "main.cf").write_text(MAIN_CF.format(**values))
        (self.configuration / "master.cf").write_text(MASTER_CF.format(**values))
        self.run("start")
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while True:
            try:
                socket.create_connection((ip, PORT), 5).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    self.stop()
                    raise
                time.sleep(0.05)

    def run(self, command: str) -> None:
        """Run ``postfix command`` on this configuration."""
        program = locate("postfix") or "postfix"
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        subprocess.run(
            [program, "-c", str(self.configuration), command],
            check=False,
            capture_output=True,
            timeout=60,
            env={**os.environ, "PATH": path},
        )

    def stop(self) -> None:
        """Stop it and remove its folder."""
        self.run("stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Its log."""
        path = self.folder / "maillog"
        return path.read_text(errors="replace") if path.exists() else ""

    def statuses(self) -> list[str]:
        """How each delivery ended so far: sent, deferred or bounced, in order."""
        return re.findall(r"postfix/[sl]mtp\[\d+\]: .* status=(\w+)", self.log())


@needs("postfix")
class PostfixTests(LiveTestCase):
    """Postfix in front of us, with us as its only next hop."""

    def postfix(self, transport: str = "", tls: str = "may") -> Postfix:
        """Start one that is stopped with the test."""
        running = Postfix(own_address(os.getpid()), transport or f"smtp:[{self.server.ip}]:{SMTP}", tls)
        self.addCleanup(running.stop)
        return running

    def send(
        self,
        postfix: Postfix,
        letter: bytes,
        *,
        recipients: tuple[str, ...] = (ACCOUNT,),
        options: tuple[str, ...] = (),
    ) -> None:
        """Hand a message to Postfix."""
        with smtplib.SMTP(
            postfix.ip, PORT, local_hostname="client.example", timeout=CLIENT_SECONDS
        ) as connection:
            connection.sendmail(SENDER, recipients, letter, mail_options=options)

    def outcome(self, postfix: Postfix, expected: int = 1) -> list[str]:
        """Wait for so many deliveries to end; how they ended."""
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while len(postfix.statuses()) < expected and time.monotonic() < deadline:
            time.sleep(0.05)
        return postfix.statuses()

    def test_delivers_with_tls(self) -> None:
        """Postfix delivers over STARTTLS when told to use it where offered."""
        postfix = self.postfix()
        letter = self.letter()
        self.send(postfix, letter)
        self.assertEqual(self.outcome(postfix), ["sent"], postfix.log())
        self.arrived(letter)
        self.assertIn("TLS connection established to", postfix.log())

    def test_sizes_and_eight_bits(self) -> None:
        """An empty body, octets above 127, and 50 MB, without TLS."""
        postfix = self.postfix(tls="none")
        letters = [
            self.letter(b""),
            self.letter(bytes(range(128, 256)) + b"\r\n", headers=b"Content-Transfer-Encoding: 8bit\r\n"),
            self.letter(base64_lines(50_000_000)),
        ]
        for number, letter in enumerate(letters, 1):
            self.send(postfix, letter, options=("BODY=8BITMIME",))
            self.assertEqual(self.outcome(postfix, number), ["sent"] * number, postfix.log())
            self.arrived(letter)

    def test_addresses_in_utf8(self) -> None:
        """A recipient beyond ASCII goes through with SMTPUTF8."""
        postfix = self.postfix()
        letter = self.letter("ж\r\n".encode())
        self.send(postfix, letter, recipients=("почта@localhost",), options=("SMTPUTF8", "BODY=8BITMIME"))
        self.assertEqual(self.outcome(postfix), ["sent"], postfix.log())
        self.arrived(letter)

    def test_many_at_once(self) -> None:
        """A hundred messages, over several connections that Postfix opens and reuses, all arrive once."""
        postfix = self.postfix()
        letters = [self.letter(base64_lines(4000)) for _ in range(100)]
        with smtplib.SMTP(
            postfix.ip, PORT, local_hostname="client.example", timeout=CLIENT_SECONDS
        ) as connection:
            for letter in letters:
                connection.sendmail(SENDER, [ACCOUNT], letter)
        self.assertEqual(set(self.outcome(postfix, 100)), {"sent"})
        for letter in letters[::10]:
            self.arrived(letter)

    def test_lmtp(self) -> None:
        """Over LMTP, as Postfix hands mail to a store, several recipients at a time."""
        postfix = self.postfix(f"lmtp:inet:{self.server.ip}:{LMTP}")
        letter = self.letter()
        self.send(postfix, letter, recipients=("one@localhost", "two@localhost"))
        self.assertEqual(self.outcome(postfix, 2), ["sent", "sent"], postfix.log())
        self.assertGreaterEqual(len(self.found(letter)), 1)

    def test_temporary_errors_are_tried_again(self) -> None:
        """Our temporary error makes Postfix keep the message and come again; our permanent one makes it give up."""
        postfix = self.postfix()
        self.send(postfix, self.letter(), recipients=("ztemperror@localhost",))
        self.assertEqual(self.outcome(postfix)[0], "deferred")
        self.send(postfix, self.letter(), recipients=("zpermerror@localhost",))
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while "bounced" not in postfix.statuses() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertIn("bounced", postfix.statuses())
