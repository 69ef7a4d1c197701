"""What becomes of mail that recipients judge differently, in the whole server: clients behind a load balancer, a name server of our own."""

from __future__ import annotations

import smtplib
import socket
import time

from tests.integration.strangers import StrangersCase
from tests.test_compose import IP, Conversation

#: SPF of sender.example passes for this client, and fails for that one.
GOOD, FORGER = "198.51.100.7", "203.0.113.9"
SENDER = "a@sender.example"
MORE = """
[accounts.bob]
domain = "localhost"
block_senders = ["unwanted.example"]
[accounts.bob.addresses."bob@localhost"]

[accounts.carol]
domain = "localhost"
greylisting = true
[accounts.carol.addresses."carol@localhost"]

[accounts.traps]
domain = "localhost"
[accounts.traps.addresses."gone@localhost"]
smtp_error = "550 this address is not in use any more"
"""
SETTINGS = """[judgement]
first_time_sender_delay_seconds = 0

[senders]
allow_files = ["allow.txt"]
block_files = ["block.txt"]
spam_trap_account = "traps"

"""


def letter(number: int, author: str = SENDER) -> str:
    return f"From: {author}\r\nMessage-ID: <{number}@sender.example>\r\nSubject: hello\r\n\r\nIt works.\r\n."


class JudgedTests(StrangersCase):
    settings = SETTINGS

    def setUp(self) -> None:
        """A server with some more accounts."""
        super().setUp()
        domains = self.home / "domains.conf"
        self.edit('[domains."localhost"]\n', '[domains."localhost"]\nspam_traps = ["trap"]\n', domains)
        domains.write_text(domains.read_text() + MORE)
        self.block = self.home / "block.txt"
        self.child = self.start()
        # What connects while accounts are made is cut off.
        self.until(lambda: "listening: imaps" in self.log.read_text(), "it does not listen")

    def client(self, ip: str = GOOD) -> tuple[Conversation, str]:
        """A connection from there; the greeting."""
        client = self.connect(1025, self.child)
        self.addCleanup(client.connection.close)
        client.say(f"PROXY TCP4 {ip} {IP} 4711 25")
        greeting = client.line()
        if greeting.startswith("220"):
            client.smtp("EHLO out.sender.example")
        return client, greeting

    def send(self, text: str, *recipients: str, ip: str = GOOD, parameters: str = "") -> list[str]:
        """The beginnings of the answers to RCPT, and of those to the message."""
        client, _ = self.client(ip)
        client.smtp(f"MAIL FROM:<{SENDER}>{parameters}")
        answers = [client.smtp(f"RCPT TO:<{name}@localhost>")[:9] for name in recipients]
        if any(answer[0] == "2" for answer in answers):
            client.smtp("DATA")
            answers.append(client.smtp(text)[:9])
            if answers[-1].startswith("353"):
                answers[-1] = "353"
                answers += [client.line()[:9] for _ in range(len(recipients) + 1)]
        client.smtp("QUIT")
        return answers

    def test_recipients(self) -> None:
        """Two recipients that do not agree: one answer each with PRDR, two transactions without, one copy in the end."""
        ok, no = "250 2.1.5", "550 5.7.1"
        unwanted = "x@unwanted.example"
        prdr = self.send(letter(1, unwanted), "mox", "bob", parameters=" PRDR")
        self.assertEqual(prdr, [ok, ok, "353", "250 2.6.0", no, "250 2.6.0"])
        self.assertEqual(self.send(letter(2, unwanted), "mox", "bob"), [ok, ok, "451 4.5.3"])
        self.assertEqual(self.send(letter(2, unwanted), "mox", "bob"), [ok, "452 4.5.3", "250 2.6.0"])
        self.assertEqual(self.send(letter(2, unwanted), "bob"), [ok, no])
        self.assertEqual(self.send(letter(3), "bob"), [ok, "250 2.6.0"])
        self.assertEqual(self.messages("mox"), 2)
        self.assertEqual(self.messages("bob"), 1)

    def test_smtplib(self) -> None:
        """Python's client, as it sends to several: the recipients that did not agree are known to it after three attempts."""

        class Balanced(smtplib.SMTP):
            def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
                there = socket.create_connection((host, port), timeout)
                there.sendall(f"PROXY TCP4 {GOOD} {IP} 4711 25\r\n".encode())
                return there

        text = letter(1, "x@unwanted.example").removesuffix(".")

        def attempt(*recipients: str) -> dict[str, tuple[int, bytes]]:
            with Balanced(IP, 1025, "out.sender.example", timeout=30) as client:
                return client.sendmail(SENDER, [f"{name}@localhost" for name in recipients], text)

        with self.assertRaises(smtplib.SMTPDataError) as first:
            attempt("mox", "bob")
        self.assertEqual(first.exception.smtp_code, 451)
        self.assertEqual({r: code for r, (code, _) in attempt("mox", "bob").items()}, {"bob@localhost": 452})
        with self.assertRaises(smtplib.SMTPDataError) as last:
            attempt("bob")
        self.assertEqual(last.exception.smtp_code, 550)
        self.assertEqual(self.messages("mox"), 1)

    def test_others(self) -> None:
        """A forged message is among the rejects; strangers come again; traps, blocked clients and addresses out of use refuse."""
        self.assertEqual(self.send(letter(1), "mox", ip=FORGER)[-1][0], "4")
        self.until(lambda: self.messages("mox", "Rejects") == 1, "no rejects")
        self.assertEqual(self.send(letter(2), "carol")[-1], "450 4.7.1")
        self.assertEqual(self.send(letter(3), "trap"), ["250 2.1.5", "550 5.1.1"])
        self.until(lambda: self.messages("traps", "Junk") == 1, "nothing learned")
        self.assertEqual(self.send(letter(4), "gone"), ["550 5.2.1"])
        self.block.write_text("# of today\nnot an entry at all\n203.0.113.0/24\n")
        time.sleep(2.1)
        _, greeting = self.client(FORGER)
        self.assertEqual(greeting[:9], "554 5.7.1")
        self.assertEqual(self.client(GOOD)[1][:4], "220 ")
        self.assertIn("block.txt:2", self.log.read_text())
        self.assertNotIn("Traceback", self.log.read_text())
