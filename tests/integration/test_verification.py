"""Who sent this: the whole server, a client behind a load balancer, and a name server of our own."""

from __future__ import annotations

import re
import socket
import threading
import time

import dns.message
import dns.rcode
import dns.rrset

from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.sign import SigningRules, sign
from moxtwisted.mailauth.inflow import MessageHasher
from tests.test_compose import IP, ComposeCase

KEY = SigningKey.from_pem("sender.example", "s", new_private_key("ed25519"))
LETTER = b"From: A <a@sender.example>\r\nSubject: hello\r\n\r\nIt works.\r\n"
ZONE = {
    ("7.100.51.198.in-addr.arpa.", "PTR"): "out.sender.example.",
    ("out.sender.example.", "A"): "198.51.100.7",
    ("out.sender.example.", "TXT"): '"v=spf1 a -all"',
    ("sender.example.", "MX"): "10 out.sender.example.",
    ("sender.example.", "TXT"): '"v=spf1 a:out.sender.example -all"',
    ("_dmarc.sender.example.", "TXT"): '"v=DMARC1; p=none"',
    (f"{KEY.name}.", "TXT"): f'"{KEY.record_text()}"',
    ("null.example.", "MX"): "0 .",
}


class NameServer:
    """Answers from a dictionary; NXDOMAIN for all else.

    :ivar asked: names and types, in the order of the questions.
    """

    def __init__(self, ip: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ip, 0))
        self.asked: list[tuple[str, str]] = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        """With its port."""
        ip, port = self.socket.getsockname()
        return f"{ip}:{port}"

    def serve(self) -> None:
        """Until an empty datagram comes."""
        while True:
            query, client = self.socket.recvfrom(4096)
            if not query:
                return
            self.socket.sendto(self.answer(query), client)

    def answer(self, query: bytes) -> bytes:
        """To one question."""
        asked = dns.message.from_wire(query)
        question = asked.question[0]
        name, rrtype = question.name.to_text().lower(), question.rdtype.name
        self.asked.append((name, rrtype))
        response = dns.message.make_response(asked, recursion_available=True)
        text = ZONE.get((name, rrtype))
        if text is not None:
            response.answer.append(dns.rrset.from_text(question.name, 300, "IN", rrtype, text))
        elif not any(known == name or known.endswith("." + name) for known, _ in ZONE):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()

    def stop(self) -> None:
        """End the thread."""
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join(10)
        self.socket.close()


def signed() -> bytes:
    """The letter with a signature."""
    hasher = MessageHasher(also=[SigningRules().body_form])
    hasher.feed(LETTER)
    return sign(hasher.finish(), KEY, now=time.time()) + LETTER


class VerificationTests(ComposeCase):
    def setUp(self) -> None:
        """A server that asks ours, and believes what a balancer says of clients."""
        super().setUp()
        self.dns = NameServer(IP)
        self.addCleanup(self.dns.stop)
        resolver = f'[resolver]\nservers = ["{self.dns.address}"]\nvalidate = false\n\n'
        self.edit("[verification]\nenabled = false\n", resolver)
        self.edit('ips = ["', 'proxy_protocol_from = ["127.0.0.0/8"]\nips = ["')
        self.child = self.start()

    def send(self, message: bytes, client_ip: str) -> str:
        """The answer to a message of a client."""
        with self.connect(1025, self.child) as client:
            client.say(f"PROXY TCP4 {client_ip} {IP} 4711 25")
            client.line()
            client.smtp("EHLO out.sender.example")
            self.assertIn("550 5.7.27", client.smtp("MAIL FROM:<a@null.example>"))
            self.assertIn("250", client.smtp("MAIL FROM:<a@sender.example>"))
            self.assertIn("250", client.smtp("RCPT TO:<mox@localhost>"))
            client.smtp("DATA")
            return client.smtp(message.decode() + ".")

    def header(self) -> str:
        """Of the first message."""
        with self.connect(1143, self.child) as client:
            client.say(f"PROXY TCP4 198.51.100.8 {IP} 4711 143")
            client.line()
            client.imap("STARTTLS")
            client.tls()
            client.imap("LOGIN mox@localhost moxmoxmox")
            client.imap("SELECT INBOX")
            return re.sub(r"\s+", " ", client.imap("FETCH 1 BODY.PEEK[HEADER]"))

    def test_real_and_forged(self) -> None:
        """A real message says that it is one, a forged field is gone, a forged message is found out, and the metrics count both."""
        forged = b"Authentication-Results: localhost; dkim=pass header.d=bank.example\r\n"
        self.assertIn("250 2.", self.send(forged + signed(), "198.51.100.7"))
        header = self.header()
        for text in (
            "Authentication-Results: localhost; iprev=pass (out.sender.example) policy.iprev=198.51.100.7;",
            "spf=pass smtp.mailfrom=a@sender.example; spf=pass smtp.helo=out.sender.example; dkim=pass",
            "dmarc=pass (p=none) header.from=sender.example policy.dmarc=none",
            "Received-SPF: pass (localhost: domain of a@sender.example designates 198.51.100.7",
        ):
            self.assertIn(text, header)
        self.assertNotIn("bank.example", header)
        self.send(LETTER, "203.0.113.9")
        metrics = self.moxmail("metrics")
        for line in (
            'moxmail_verified_total{method="dmarc",result="pass"} 1.0',
            'moxmail_verified_total{method="dmarc",result="fail"} 1.0',
            'moxmail_verified_total{method="spf",result="fail"} 1.0',
            'moxmail_verified_total{method="dkim",result="none"} 1.0',
        ):
            self.assertIn(line, metrics)
        # What was asked once is not asked again.
        self.assertEqual(self.dns.asked.count(("_dmarc.sender.example.", "TXT")), 1)
        self.assertNotIn("Traceback", self.log.read_text())
