"""Mail from strangers by way of receivers: the whole server, and real clients."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import time
from pathlib import Path

from moxtwisted.server.certificates.selfsigned import self_signed
from tests.integration.live import base64_lines
from tests.integration.peers import needs
from tests.integration.receivers import (
    CLIENT,
    FORGER,
    SENDER,
    SMTP,
    UNSPARED,
    ReceiversCase,
    children,
    descriptors,
    fields,
    letter,
)
from tests.test_compose import IP, WAIT_SECONDS, Conversation


@needs("swaks")
class ReceiversTests(ReceiversCase):
    """One receiver."""

    def test_message(self) -> None:
        """A message by way of a receiver is kept with the same fields as without one, and its log line says who took it in; the receiver
        has nothing of the store, and no key."""
        key = (self.home / "store.key").read_text()
        self.edit("[receivers]", '[store]\nkey_environment = "MOX_KEY"\n\n[receivers]')
        os.environ["MOX_KEY"] = key
        self.addCleanup(os.environ.pop, "MOX_KEY")
        child = self.serve()
        self.swaks(letter("through"))
        self.taken_in([1])
        pid = self.receiver()
        self.assertEqual(list(children(child.pid)), [pid])
        data = str(self.home / "data")
        self.assertEqual([name for name in descriptors(pid) if name.startswith(data)], [])
        text = b""
        for name in ("environ", "cmdline"):
            with contextlib.suppress(PermissionError):  # nobody but root may look
                text = Path(f"/proc/{pid}/{name}").read_bytes()
            self.assertFalse(key.split()[-1].encode() in text, name)
        self.end(child)
        self.edit("processes = 1", "processes = 0")
        self.child = self.start(UNSPARED)
        self.until(lambda: self.log.read_text().count("listening: imaps") == 2, "it does not listen")
        self.swaks(letter("without"))
        kept = self.kept()
        ours, theirs = fields(kept["through"][0]), fields(kept["without"][0])
        self.assertEqual(ours, theirs)
        self.assertEqual(
            {"Received", "Authentication-Results", "X-Moxtwisted-Reason"}
            - {line.partition(":")[0] for line in ours},
            set(),
        )

    def test_certificates(self) -> None:
        """A receiver does STARTTLS, and with a new certificate after SIGHUP."""
        child = self.serve()
        self.assertIn("TLS started with cipher TLSv1.3", self.swaks(letter("encrypted"), "--tls"))
        [kept] = self.kept()["encrypted"]
        self.assertIn(b"ESMTPS", kept)

        def shown() -> bytes:
            client, _ = self.client()
            client.smtp("EHLO out.sender.example")
            client.smtp("STARTTLS")
            return client.tls()

        first = shown()
        certificate, key = self_signed(["localhost"], now=time.time())
        (self.home / "tls" / "localhost.key").write_bytes(key)
        (self.home / "tls" / "localhost.crt").write_bytes(certificate)
        child.send_signal(signal.SIGHUP)
        self.until(lambda: shown() != first, "no new certificate")
        self.assertEqual(ssl.DER_cert_to_PEM_cert(shown()).split(), certificate.decode().split())
        # The owner did not serve them itself.
        self.taken_in([1])


SETTINGS = """[judgement]
first_time_sender_delay_seconds = 0

[senders]
block_files = ["block.txt"]
spam_trap_account = "traps"

"""
ACCOUNTS = """
[domains."localhost".aliases.team]
addresses = ["mox@localhost", "bob@localhost"]

[accounts.bob]
domain = "localhost"
block_senders = ["unwanted.example"]
[accounts.bob.addresses."bob@localhost"]

[accounts.small]
domain = "localhost"
quota_octets = 4000
[accounts.small.addresses."small@localhost"]

[accounts.traps]
domain = "localhost"
[accounts.traps.addresses."gone@localhost"]
smtp_error = "550 this address is not in use any more"
"""
UNWANTED = "x@unwanted.example"
TAKEN, RECIPIENT = "250 2.6.0", "250 2.1.5"


def attachments(octets: int) -> bytes:
    """The body of a message with two attachments of about so many octets together."""
    part = b"--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return part + base64_lines(octets // 2) + part + base64_lines(octets // 2) + b"--x--\r\n"


@needs("curl")
class RecipientsTests(ReceiversCase):
    """One receiver, and recipients of all kinds."""

    settings = SETTINGS
    accounts = ACCOUNTS

    def setUp(self) -> None:
        """With a trap, and a delay for guesses."""
        super().setUp()
        self.edit(
            '[domains."localhost"]\n',
            '[domains."localhost"]\nspam_traps = ["trap"]\n',
            self.home / "domains.conf",
        )
        self.edit("unknown_recipients_delay_seconds = 0", "unknown_recipients_delay_seconds = 1")
        self.block = self.home / "block.txt"
        self.serve()

    def test_large(self) -> None:
        """Five megabytes of attachments are kept octet by octet, from curl; so is a message in pipelined chunks."""
        large = letter(
            "large",
            attachments(5_000_000),
            head=b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n',
        )
        path = self.directory / "large"
        path.write_bytes(large)
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--interface", CLIENT, f"smtp://{IP}:{SMTP}/out.sender.example", "--mail-from", SENDER,
             "--mail-rcpt", "mox@localhost", "--mail-rcpt", "bob@localhost", "--upload-file", str(path), "--max-time", "60"],
            capture_output=True, timeout=WAIT_SECONDS * 2, check=False,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        client, _ = self.client()
        client.say("EHLO out.sender.example")
        offered = [client.line()]
        while offered[-1][3] == "-":
            offered.append(client.line())
        for word in ("PIPELINING", "CHUNKING", "SIZE", "PRDR"):
            self.assertIn(word, " ".join(offered))
        chunked = letter("chunked", b"x\r\n.\r\n" * 1000)
        half = len(chunked) // 2
        client.connection.sendall(
            b"MAIL FROM:<%s> BODY=8BITMIME\r\nRCPT TO:<mox@localhost>\r\nBDAT %d\r\n%bBDAT %d LAST\r\n%b"
            % (SENDER.encode(), half, chunked[:half], len(chunked) - half, chunked[half:])
        )
        self.assertEqual([client.line()[:5] for _ in range(4)], ["250 2"] * 4)
        kept = self.kept()
        for name, octets in (("large", large), ("chunked", chunked)):
            [copy] = kept[name]
            self.assertTrue(copy.endswith(octets), f"{name}: {len(copy)} of {len(octets)}")
        self.assertEqual(self.messages("bob"), 1)
        self.taken_in([1, 1])

    def test_recipients(self) -> None:
        """Many recipients, an alias, nobody, no room, a trap, an address out of use, blocked clients: each has its answer."""
        self.assertEqual(self.send(letter("forged"), "mox", ip=FORGER)[-1][0], "5")
        self.until(lambda: self.messages("mox", "Rejects") == 1, "no rejects")
        self.assertEqual(
            self.send(letter("many"), *[f"mox+{n}" for n in range(60)]), [RECIPIENT] * 60 + [TAKEN]
        )
        self.assertEqual(self.send(letter("alias"), "team"), [RECIPIENT, TAKEN])
        self.assertEqual((self.messages("mox"), self.messages("bob")), (2, 1))
        began = time.monotonic()
        self.assertEqual(self.send(letter("nobody"), "nobody"), ["550 5.1.1"])
        self.assertGreaterEqual(time.monotonic() - began, 0.9)
        self.until(lambda: self.refused("nobody") == [(1, 550, "5.1.1")], "the refusal is not in the log")
        self.assertEqual(self.send(letter("small", b"x" * 70 + b"\r\n"), "small"), [RECIPIENT, TAKEN])
        self.assertEqual(self.send(letter("full"), "small", parameters=" SIZE=4000"), ["452 4.2.2"])
        self.assertEqual(self.send(letter("full", b"x\r\n" * 2000), "small", "mox")[:2], [RECIPIENT] * 2)
        self.assertEqual(self.messages("small"), 1)
        self.assertEqual(self.send(letter("trap"), "trap"), [RECIPIENT, "550 5.1.1"])
        self.until(lambda: self.messages("traps", "Junk") == 1, "nothing learned")
        self.assertEqual(self.send(letter("gone"), "gone"), ["550 5.2.1"])
        self.block.write_text(f"{FORGER}\n")
        self.until(lambda: self.client(FORGER)[1][:9] == "554 5.7.1", "it is not turned away")
        self.assertEqual(self.client()[1][:4], "220 ")
        self.apart()
        self.assertEqual(set(self.took()), {1})

    def refused(self, name: str) -> list[tuple[int, int, str]]:
        """What the log says about a recipient: which receiver refused it, and how."""
        found = self.events(f"recipient {name}@localhost of mail")
        return [(event["receiver"], event["reply_code"], event["enhanced_code"]) for event in found]

    def apart(self) -> None:
        """Two recipients that do not agree: one answer each with PRDR, two transactions without, one copy in the end."""
        before = self.messages("mox"), self.messages("bob")
        ok, no = RECIPIENT, "550 5.7.1"
        prdr = self.send(letter("n1", author=UNWANTED), "mox", "bob", parameters=" PRDR")
        self.assertEqual(prdr, [ok, ok, "353", TAKEN, no, TAKEN])
        apart = letter("n2", author=UNWANTED)
        self.assertEqual(self.send(apart, "mox", "bob"), [ok, ok, "451 4.5.3"])
        self.assertEqual(self.send(apart, "mox", "bob"), [ok, "452 4.5.3", TAKEN])
        self.assertEqual(self.send(apart, "bob"), [ok, no])
        self.assertEqual(self.send(letter("n3"), "bob"), [ok, TAKEN])
        self.assertEqual((self.messages("mox"), self.messages("bob")), (before[0] + 2, before[1] + 1))


class ChangesTests(ReceiversCase):
    """While a receiver runs."""

    def answer(self, name: str) -> str:
        """To RCPT."""
        client, _ = self.client()
        client.smtp("EHLO out.sender.example")
        client.smtp(f"MAIL FROM:<{SENDER}>")
        answer = client.smtp(f"RCPT TO:<{name}@localhost>")
        client.connection.close()
        return answer[:9]

    def test_directory(self) -> None:
        """A new address is taken by the receiver soon, a removed account is refused, also to a message under way, and the level of
        the log is the receiver's too."""
        self.serve()
        domains = self.home / "domains.conf"
        before = domains.read_text()
        self.assertEqual(self.answer("new"), "550 5.1.1")
        domains.write_text(
            before + '\n[accounts.new]\ndomain = "localhost"\n[accounts.new.addresses."new@localhost"]\n'
        )
        self.until(lambda: self.answer("new") == RECIPIENT, "the new account gets no mail")
        self.assertEqual(self.send(letter("new"), "new"), [RECIPIENT, TAKEN])
        self.taken_in([1])
        late = self.begin(CLIENT, "new")
        domains.write_text(before)
        self.until(lambda: self.answer("new") == "550 5.1.1", "the account that was removed gets mail")
        late.connection.sendall(letter("late"))
        self.assertIn(late.smtp(".")[:3], ("451", "550"))
        self.assertEqual(self.messages("new"), 1)
        self.until(lambda: len(self.took()) == 2, "no line for each message")
        self.moxmail("loglevel", "warn", "moxtwisted.server.inbound")
        self.assertEqual(self.send(letter("quiet"), "mox"), [RECIPIENT, TAKEN])
        self.moxmail("loglevel", "info", "moxtwisted.server.inbound")
        self.assertEqual(self.send(letter("loud"), "mox"), [RECIPIENT, TAKEN])
        self.taken_in([1] * 3)

    def test_bans(self) -> None:
        """Who is banned loses the connection that a receiver has, and is told so when it comes again; others are not."""
        self.serve()
        banned, _ = self.client(FORGER)
        other, _ = self.client()
        self.moxmail("bans", "add", FORGER)
        self.assertEqual(banned.line()[:4], "421 ")
        self.assertEqual(banned.line(), "")
        self.assertTrue(self.client(FORGER)[1].startswith("421 4.7.0 your network is banned here until "))
        self.assertEqual(other.smtp("NOOP")[:4], "250 ")
        self.moxmail("bans", "lift", FORGER)
        self.until(lambda: self.client(FORGER)[1][:4] == "220 ", "it is banned still")


class LimitsTests(ReceiversCase):
    processes = 2

    def test_connections(self) -> None:
        """The limits hold for all receivers together, and for IMAP; who comes too often is told so in words."""
        self.edit("connections_at_once = [10000, 10000, 10000]", "connections_at_once = [6, 8, 100]")
        self.edit(
            "connections_per_minute = [1000000, 1000000, 1000000]",
            "connections_per_minute = [20, 1000, 1000]",
        )
        self.serve()
        there = [self.client() for _ in range(5)]
        imap = Conversation(
            socket.create_connection((IP, 1143), timeout=WAIT_SECONDS, source_address=(CLIENT, 0))
        )
        self.addCleanup(imap.connection.close)
        self.assertIn("* OK", imap.line())
        self.assertEqual([greeting[:4] for _, greeting in there], ["220 "] * 5)
        self.assertEqual(self.client()[1], "421 4.7.0 too many open connections from your ip or network")
        near = "127.1.0.9"
        self.assertEqual([self.client(near)[1][:4] for _ in range(3)], ["220 ", "220 ", "421 "])
        for client, _ in there:
            client.smtp("QUIT")

        def told() -> str:
            client, greeting = self.client()
            client.connection.close()
            return greeting

        self.until(
            lambda: told() == "421 4.7.0 connection rate from your ip or network too high", "there is no end"
        )

    def test_gone(self) -> None:
        """Both receivers get connections; clients that are gone before a receiver has them, many at once, are counted nowhere."""
        self.edit("connections_at_once = [10000, 10000, 10000]", "connections_at_once = [300, 300, 300]")
        child = self.serve()
        busy = [self.begin() for _ in range(4)]
        for number, client in enumerate(busy):
            client.connection.sendall(letter(f"n{number}"))
            self.assertEqual(client.smtp(".")[:9], TAKEN)
            client.connection.close()
        self.taken_in([1, 1, 2, 2])
        before = {pid: len(descriptors(pid)) for pid in (child.pid, self.receiver(1), self.receiver(2))}
        for _ in range(500):
            with socket.socket() as brief:
                brief.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                brief.bind((CLIENT, 0))
                brief.connect((IP, SMTP))
        self.answered()
        self.until(
            lambda: all(len(descriptors(pid)) <= most for pid, most in before.items()),
            f"{before}: descriptors are left",
        )
        self.assertEqual([len(self.started(number)) for number in (1, 2)], [1, 1])
        there = [self.client() for _ in range(300)]
        self.assertEqual({greeting[:4] for _, greeting in there}, {"220 "})

    def answered(self) -> None:
        """Each receiver has a client."""
        there = [self.client()[0] for _ in range(4)]
        for client in there:
            self.assertEqual(client.smtp("QUIT")[:4], "221 ")
            self.assertEqual(client.line(), "")
            client.connection.close()
