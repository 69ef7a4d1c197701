"""Mail that a real client sends over real SMTP is signed so that dkimpy and OpenDKIM verify it; keys change while the server runs."""

from __future__ import annotations

import imaplib
import json
import smtplib
import subprocess
from email.message import EmailMessage
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim.verify import Status, verify
from moxtwisted.mailauth.inflow import MessageHasher
from tests.integration.live import PASSWORD
from tests.integration.peers import locate, needs
from tests.test_compose import IP, WAIT_SECONDS, ComposeCase, unverified

SENDER = "mox@example.org"


def letters() -> dict[str, bytes]:
    """Messages of many kinds."""
    head = f"From: Mox <{SENDER}>\r\nTo: you@example.org\r\nSubject: %s\r\n".encode()
    found = {
        "plain": head % b"plain" + b"\r\nHello\r\n",
        "empty": head % b"empty" + b"\r\n",
        "ends": head % b"ends" + b"\r\na  b \t\r\n\r\n\r\n\r\n",
        "long": head % b"long" + b"\r\n" + b"x" * 900 + b"\r\n" + b"y " * 450 + b"\r\n",
        "eight": head % b"eight"
        + b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
        + "Grüße\r\n".encode() * 2000,
        "dots": head % b"dots" + b"\r\n.\r\n..\r\n...x\r\n",
        "utf8": head % "Grüße".encode() + b"\r\nHello\r\n",
    }
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = SENDER, "you@example.org", "Grüße " * 30
    made.set_content("text\n")
    made.add_alternative("<p>html</p>\n", subtype="html")
    made.add_attachment(
        bytes(range(256)) * 500, maintype="application", subtype="octet-stream", filename="ü.bin"
    )
    found["mime"] = made.as_bytes().replace(b"\n", b"\r\n")
    return found


class SignedCase(ComposeCase):
    """A server for example.org whose keys were made by ``moxmail dkim gen``."""

    def setUp(self) -> None:
        super().setUp()
        self.moxmail("domain", "add", "example.org")
        self.moxmail("address", "add", SENDER, "mox")
        child = self.start()
        self.connect(1465, child).connection.close()

    def rows(self) -> list[dict[str, Any]]:
        """The keys of the domain."""
        rows: list[dict[str, Any]] = json.loads(self.moxmail("dkim", "list", "example.org", "--json"))
        return rows

    def send(self, *messages: bytes) -> None:
        """Submit them, with recipients here."""
        with smtplib.SMTP_SSL(IP, 1465, timeout=WAIT_SECONDS, context=unverified()) as client:
            client.login("mox@localhost", PASSWORD)
            for message in messages:
                options = ["BODY=8BITMIME", "SMTPUTF8"]
                client.sendmail(SENDER, ["mox@localhost", "you@far.example"], message, mail_options=options)

    def received(self) -> list[bytes]:
        """All that came, in its order."""
        with imaplib.IMAP4_SSL(IP, 1993, ssl_context=unverified(), timeout=WAIT_SECONDS) as client:
            client.login("mox@localhost", PASSWORD)
            client.select("INBOX")
            _, data = client.fetch("1:*", "(BODY.PEEK[])")
            return [part[1] for part in data if isinstance(part, tuple)]

    def ours(self, message: bytes) -> list[tuple[Status, str]]:
        """What we make of a message: each signature's status and selector."""
        records = {(row["name"], "TXT"): [row["record"].encode()] for row in self.rows()}
        hasher = MessageHasher()
        hasher.feed(message)
        hashed = hasher.finish()
        found: list[Any] = []
        now = next(one.signature.signed_at for one in hashed.found)  # type: ignore[union-attr]
        Deferred.fromCoroutine(verify(hashed, ZoneResolver(records), now=now or 0)).addBoth(found.append)
        return [(one.status, one.signature.selector) for one in found[0]]


class SigningTests(SignedCase):
    def test_everybody_verifies_it(self) -> None:
        """Messages of all kinds, each with a signature of RSA and one of Ed25519, verify with ours and with dkimpy."""
        try:
            import dkim
        except ImportError as e:
            raise SkipTest("needs dkimpy (in the extra [dev])") from e
        sent = letters()
        self.send(*sent.values())
        records = {row["name"]: row["record"].encode() for row in self.rows()}
        received = self.received()
        self.assertEqual(len(received), len(sent))
        for name, message in zip(sent, received, strict=True):
            found = self.ours(message)
            self.assertEqual([status for status, _ in found], [Status.PASS] * 2, name)
            for index in range(2):
                verifier = dkim.DKIM(message)
                right = verifier.verify(
                    idx=index, dnsfunc=lambda asked, timeout=5: records.get(asked.decode().rstrip("."))
                )
                self.assertTrue(right, f"{name} {index}")

    @needs("opendkim")
    def test_opendkim(self) -> None:
        """OpenDKIM finds both signatures of each message right, and a changed one wrong."""
        sent = letters()
        self.send(*sent.values())
        (self.directory / "keys").write_text(
            "".join(f"{row['name']} {row['record']}\n" for row in self.rows())
        )
        configuration = self.directory / "opendkim.conf"
        configuration.write_text(
            f"Mode v\nTestPublicKeys {self.directory / 'keys'}\nSyslog no\nAlwaysAddARHeader yes\n"
        )
        for name, message in zip(sent, self.received(), strict=True):
            for changed, expected in ((message, 2), (message.replace(b"Subject: ", b"Subject: x"), 0)):
                path = self.directory / "letter"
                path.write_bytes(changed)
                program = locate("opendkim")
                assert program is not None
                done = subprocess.run(
                    [program, "-x", str(configuration), "-t", str(path), "-vv"],
                    capture_output=True, text=True, errors="replace", timeout=WAIT_SECONDS, check=False,
                )  # fmt: skip
                self.assertEqual(
                    done.stdout.count("dkim=pass"), expected, f"{name}: {done.stdout}{done.stderr}"
                )

    def test_rotation(self) -> None:
        """New keys are made, put into use and retired while the server runs; what was signed before still verifies."""
        self.send(b"From: mox@example.org\r\n\r\nold keys\r\n")
        old = [row["selector"] for row in self.rows()]
        self.moxmail("dkim", "gen", "example.org")
        self.send(b"From: mox@example.org\r\n\r\nold keys still\r\n")
        self.moxmail("dkim", "rotate", "example.org", "--unchecked")
        new = [row["selector"] for row in self.rows() if row["state"] == "active"]
        self.send(b"From: mox@example.org\r\n\r\nnew keys\r\n")
        self.assertEqual(len(set(old + new)), 4)
        for message, selectors in zip(self.received(), (old, old, new), strict=True):
            self.assertEqual(self.ours(message), [(Status.PASS, selector) for selector in selectors])
