"""A receiver that has confined itself, in a whole server: it takes in mail of all kinds, and cannot open what is the server's."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.sign import SigningRules, sign
from moxtwisted.mailauth.inflow import MessageHasher
from moxtwisted.server.certificates.selfsigned import self_signed
from tests.integration import receivers
from tests.integration.confined import HOME, MARK
from tests.integration.peers import needs
from tests.integration.receivers import FORGER, UNSPARED, ReceiversCase, letter
from tests.test_compose import IP

KEY = SigningKey.from_pem("sender.example", "s", new_private_key("ed25519"))
#: Another program is the receiver.
TRIED = (
    UNSPARED + "from moxtwisted.compose import receivers\nreceivers._MODULE = 'tests.integration.confined'\n"
)
#: The version of Landlock that has it all.
_NEEDED = 6
SETTINGS = """
[senders]
block_files = ["block.txt"]
"""


def signed(octets: bytes) -> bytes:
    """A message with a signature of its author's domain."""
    hasher = MessageHasher(also=[SigningRules().body_form])
    hasher.feed(octets)
    return sign(hasher.finish(), KEY, now=time.time()) + octets


@needs("swaks")
class ConfinedTests(ReceiversCase):
    """One receiver."""

    settings = SETTINGS

    def setUp(self) -> None:
        """A domain that signs; answers of the DNS are validated."""
        zone = {**receivers.ZONE, (f"{KEY.name}.", "TXT"): f'"{KEY.record_text()}"'}
        self.patch(receivers, "ZONE", zone)
        super().setUp()
        self.edit("validate = false", "validate = true")
        pair = '{certificate = "tls/localhost.crt", key = "tls/localhost.key"}'
        self.edit(pair, f"{pair}, {pair.replace('localhost.', 'rsa.')}")
        self.write_certificate("rsa", "rsa")

    def write_certificate(self, name: str, key_type: str) -> None:
        """A new one."""
        certificate, key = self_signed(["localhost"], now=time.time(), key_type=key_type)
        (self.home / "tls" / f"{name}.key").write_bytes(key)
        (self.home / "tls" / f"{name}.crt").write_bytes(certificate)

    def shown(self) -> bytes:
        """The certificate that a client sees."""
        client, _ = self.client()
        client.smtp("EHLO out.sender.example")
        client.smtp("STARTTLS")
        return client.tls()

    def status(self, pid: int) -> dict[str, set[str]]:
        """What the kernel says of all threads of a process."""
        found: dict[str, set[str]] = {}
        for path in Path(f"/proc/{pid}/task").iterdir():
            for line in (path / "status").read_text().splitlines():
                name, _, value = line.partition(":\t")
                found.setdefault(name, set()).add(value)
        return found

    def tried(self) -> dict[str, dict[str, str]]:
        """What the receiver could do: errors by thread and name."""
        found = {}
        for event in self.events(f"says: {MARK} "):
            _, where, *words = event["text"].split()
            found[where] = dict(word.split("=") for word in words)
        return found

    def take_in_all(self) -> None:
        """Mail with TLS, of five megabytes, and with a good and a bad signature; the last is refused."""
        self.assertIn("TLS started", self.swaks(letter("encrypted"), "--tls"))
        self.assertEqual(
            self.send(letter("large", b"0123456789abcdef" * 4 + b"\r\n" + b"x\r\n" * 1_700_000), "mox")[-1][
                :4
            ],
            "250 ",
        )
        self.assertEqual(self.send(signed(letter("signed")), "mox")[-1][:4], "250 ")
        forged = signed(letter("forged", b"It works.\r\n" * 8000)).replace(b"It works", b"It fails", 1)
        self.assertEqual(self.send(forged, "mox", ip=FORGER)[-1][:1], "5")

    def test_confined(self) -> None:
        """It takes in all mail, hears of a list that was replaced and of a certificate beside another; and none of its threads can
        open the key, the databases, the configuration or the socket of the command, reach the server, or leave a child behind."""
        block = self.home / "block.txt"
        self.serve(f"{TRIED}import os\nos.environ['{HOME}'] = '{self.home} {IP}'\n")
        self.take_in_all()
        new = self.home / "block.new"
        new.write_text("sender.example\n")
        new.rename(block)
        self.until(lambda: not self.send(letter("blocked"), "mox"), "it is let in")
        block.unlink()
        self.until(lambda: self.send(letter("unblocked"), "mox")[-1:] == ["250 2.6.0"], "it is blocked")
        self.assertEqual(set(self.took()), {1})
        first = self.shown()
        self.write_certificate("localhost", "ecdsa")
        self.child.send_signal(signal.SIGHUP)
        self.until(lambda: self.shown() != first, "no new certificate")
        self.assertEqual(self.kept().keys() - {"blocked"}, {"encrypted", "large", "signed", "unblocked"})
        log = self.log.read_text()
        self.assertNotIn("has a hole", log)
        self.assertNotIn("second opinion", log)
        self.has_nothing_else(self.receiver())

    def has_nothing_else(self, pid: int) -> None:
        """The receiver, when the kernel can do it all."""
        status = self.status(pid)
        # The second opinion on a large message has a thread, and what packs has one.
        self.assertGreater(len(status["Pid"]), 2)
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ({"1"}, {"2"}))
        said = self.events("receiver is confined")
        if not said or said[0]["landlock"] < _NEEDED:
            return
        expected = "core, privileges, files, TCP, signals, sockets, attributes, processes"
        self.assertEqual(said[0]["confined"], expected)
        os.kill(pid, signal.SIGUSR1)
        self.until(lambda: len(self.tried()) == 3, "it does not tell")
        for where, tried in self.tried().items():
            works = {name for name, error in tried.items() if not error}
            self.assertEqual(works, {"staging", "import"}, where)
            self.assertEqual(set(tried.values()), {"", "PermissionError"}, where)
