"""neomutt: sending in batch mode, and reading as a person does, with keys pushed to it on a terminal of its own.

Debian's neomutt takes SCRAM-SHA-256-PLUS for the best mechanism, then has no channel binding for it and gives up, so for SMTP it is told
which one to take. For IMAP it goes on to the next by itself.
"""

from __future__ import annotations

import mailbox
import os
import pty
import select
import signal
import subprocess
import time

from .live import ACCOUNT, CLIENT_SECONDS, IMAPS, PASSWORD, SUBMISSIONS, LiveTestCase, base64_lines
from .peers import needs

MUTTRC = """\
set realname = "Mox"
set from = "{account}"
set use_envelope_from = yes
set envelope_from_address = "{account}"
set smtp_url = "smtps://{user}@{ip}:{submissions}/"
set smtp_pass = "{password}"
set smtp_authenticators = "plain"
set imap_user = "{account}"
set imap_pass = "{password}"
set ssl_starttls = yes
set ssl_force_tls = yes
set ssl_verify_host = no
set ssl_verify_dates = no
set certificate_file = "{folder}/certificate.pem"
set folder = "{folder}"
set record = ""
set mbox_type = mbox
set confirmappend = no
set confirmcreate = no
set delete = yes
set quit = yes
set wait_key = no
set header_cache = ""
set tmpdir = "{folder}"
set mark_old = no
set sleep_time = 0
set timeout = 5
"""


class NeomuttTestCase(LiveTestCase):
    """One configuration for all ways."""

    def configure(self, *further: str) -> None:
        """Write it.

        :param further: lines of it that others shall not have.
        """
        (self.folder / "certificate.pem").write_text(self.server.certificate())
        values = {"account": ACCOUNT, "user": ACCOUNT.replace("@", "%40"), "password": PASSWORD}
        text = MUTTRC.format(folder=self.folder, ip=self.server.ip, submissions=SUBMISSIONS, **values)
        (self.folder / "muttrc").write_text(text + "".join(f"{line}\n" for line in further))

    def url(self, name: str) -> str:
        """A mailbox of the server."""
        return f"imaps://{self.server.ip}:{IMAPS}/{name}"

    def read(self, opened: str, keys: str, seconds: float = CLIENT_SECONDS) -> None:
        """Open a mailbox, press the keys, and wait for the end."""
        master, terminal = pty.openpty()
        child = subprocess.Popen(
            ["neomutt", "-n", "-F", str(self.folder / "muttrc"), "-f", opened, "-e", f"push {keys}"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=self.folder,
            env={
                **os.environ,
                "TERM": "xterm",
                "LC_ALL": "C.UTF-8",
                "HOME": str(self.folder),
                "LINES": "24",
                "COLUMNS": "80",
            },
            start_new_session=True,
        )
        os.close(terminal)
        screen = b""
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                if select.select([master], [], [], 0.2)[0]:
                    try:
                        octets = os.read(master, 65536)
                    except OSError:
                        break
                    if not octets:
                        break
                    screen += octets
                elif child.poll() is not None:
                    break
            self.assertEqual(child.wait(5), 0, screen[-2000:])
        except subprocess.TimeoutExpired:
            self.fail(f"neomutt did not end: {screen[-2000:]!r}")
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
                child.wait()
            os.close(master)


@needs("neomutt")
class NeomuttTests(NeomuttTestCase):
    """A mailbox of its own for each test."""

    def setUp(self) -> None:
        """Write the configuration, and make a mailbox."""
        super().setUp()
        self.mailbox = f"neomutt-{self._testMethodName}"
        self.connection = self.server.imap()
        self.addCleanup(self.connection.shutdown)
        self.connection.create(self.mailbox)
        self.configure()

    def test_sends_with_an_attachment(self) -> None:
        """A message with an attachment goes out in batch mode over submissions, and is in the inbox."""
        attachment = self.folder / "numbers.bin"
        attachment.write_bytes(os.urandom(100_000))
        subject = f"from neomutt {time.monotonic_ns()}"
        command = (
            "neomutt",
            "-n",
            "-F",
            str(self.folder / "muttrc"),
            "-s",
            subject,
            "-a",
            str(attachment),
            "--",
            ACCOUNT,
        )
        self.succeeds(*command, stdin="Grüße aus neomutt\n".encode())
        self.connection.select("INBOX")
        (found,) = self.connection.search(None, "SUBJECT", f'"{subject}"')[1]
        self.assertEqual(len(found.split()), 1)
        structure = self.connection.fetch(found.decode(), "(BODYSTRUCTURE)")[1][0]
        self.assertIn(b"numbers.bin", structure)

    def test_reads_and_saves(self) -> None:
        """Every message of a mailbox is opened and saved with the octets it has."""
        letters = [self.letter(), self.letter("Zwölf\r\n".encode()), self.letter(base64_lines(2_000_000))]
        for letter in letters:
            self.connection.append(self.mailbox, "", "", letter)
        target = self.folder / "saved"
        self.read(
            self.url(self.mailbox), f"<tag-pattern>~A<enter><tag-prefix><copy-message>{target}<enter><quit>"
        )
        saved = [message.as_bytes() for message in mailbox.mbox(target)]
        self.assertEqual(len(saved), 3)
        for letter in letters:
            body = letter.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n").strip()
            self.assertTrue(any(body in message for message in saved), body[:60])

    def test_flags_and_deletes(self) -> None:
        """A message flagged and another deleted in neomutt are so on the server after it has gone."""
        for number in range(3):
            self.connection.append(self.mailbox, "", "", self.letter(b"%d\r\n" % number))
        self.read(
            self.url(self.mailbox),
            "<first-entry><flag-message><last-entry><delete-message><sync-mailbox><quit>",
        )
        self.connection.select(self.mailbox)
        self.assertEqual(self.connection.search(None, "ALL")[1], [b"1 2"])
        self.assertEqual(self.connection.search(None, "FLAGGED")[1], [b"1"])
