"""curl, with smtp and imap URLs."""

from __future__ import annotations

from .live import (
    ACCOUNT,
    IMAP,
    IMAPS,
    PASSWORD,
    SMTP,
    SUBMISSION,
    SUBMISSIONS,
    LiveTestCase,
    base64_lines,
    message_id,
)
from .peers import needs

LOGIN = ("--user", f"{ACCOUNT}:{PASSWORD}")


class CurlTestCase(LiveTestCase):
    """The command."""

    def curl(self, *options: str, stdin: bytes = b"") -> bytes:
        """Run curl; its output."""
        return self.succeeds(
            "curl", "--silent", "--show-error", "--insecure", "--max-time", "100", *options, stdin=stdin
        )

    def send(
        self, scheme: str, port: int, *options: str, letter: bytes, sender: str, recipient: str = ACCOUNT
    ) -> None:
        """Send a message."""
        where = f"{scheme}://{self.server.ip}:{port}/client.example"
        envelope = ("--mail-from", sender, "--mail-rcpt", recipient)
        path = self.folder / "letter"
        path.write_bytes(letter)
        self.curl(where, *envelope, "--upload-file", str(path), *options)


@needs("curl")
class CurlSMTPTests(CurlTestCase):
    """Sending."""

    def test_sizes(self) -> None:
        """Bodies from nothing to 50 MB arrive octet by octet."""
        for size in (0, 2, 1000, 1_000_000, 50_000_000):
            letter = self.letter(base64_lines(size))
            self.send("smtp", SMTP, letter=letter, sender="sender@client.example")
            self.arrived(letter)

    def test_eight_bits(self) -> None:
        """Octets above 127 in a body arrive as they were sent."""
        letter = self.letter(bytes(range(128, 256)) + b"\r\n", headers=b"Content-Transfer-Encoding: 8bit\r\n")
        self.send("smtp", SMTP, letter=letter, sender="sender@client.example")
        self.arrived(letter)

    def test_addresses_in_utf8(self) -> None:
        """An envelope in UTF-8 is taken with SMTPUTF8."""
        letter = self.letter()
        self.send(
            "smtp",
            SMTP,
            letter=letter,
            sender="j\u00fcrgen@client.example",
            recipient="\u043f\u043e\u0447\u0442\u0430@localhost",
        )
        (kept,) = self.arrived(letter)
        self.assertIn(b"with UTF8SMTP", kept.replace(b"\r\n", b""))

    def test_submission(self) -> None:
        """STARTTLS required and a password, on the submission port."""
        letter = self.letter(author=ACCOUNT)
        self.send("smtp", SUBMISSION, "--ssl-reqd", *LOGIN, letter=letter, sender=ACCOUNT)
        self.assertEqual(len(self.found(letter)), 1)

    def test_submissions_with_each_mechanism(self) -> None:
        """PLAIN and LOGIN over TLS, each asked for by name."""
        for mechanism in ("PLAIN", "LOGIN"):
            letter = self.letter(author=ACCOUNT)
            options = ("--login-options", f"AUTH={mechanism}")
            self.send("smtps", SUBMISSIONS, *LOGIN, *options, letter=letter, sender=ACCOUNT)
            self.assertEqual(len(self.found(letter)), 1, mechanism)

    def test_unknown_password(self) -> None:
        """A wrong password ends in curl's exit code 67, login denied."""
        path = self.folder / "letter"
        path.write_bytes(self.letter(author=ACCOUNT))
        url = f"smtps://{self.server.ip}:{SUBMISSIONS}"
        options = (
            "--insecure",
            "--silent",
            "--mail-from",
            ACCOUNT,
            "--mail-rcpt",
            ACCOUNT,
            "--upload-file",
            str(path),
        )
        code, _ = self.ends("curl", url, "--user", f"{ACCOUNT}:nonsense", *options)
        self.assertEqual(code, 67)


@needs("curl")
class CurlIMAPTests(CurlTestCase):
    """Reading, filing, searching."""

    def url(self, path: str = "", scheme: str = "imaps") -> str:
        """An IMAP URL on the server."""
        return f"{scheme}://{self.server.ip}:{IMAPS if scheme == 'imaps' else IMAP}/{path}"

    def test_append_and_fetch(self) -> None:
        """What is appended by URL is fetched by URL, octet by octet, and found by a search."""
        letter = self.letter(
            "Zwölf Boxkämpfer\r\n".encode(), headers=b"Content-Type: text/plain; charset=utf-8\r\n"
        )
        path = self.folder / "letter"
        path.write_bytes(letter)
        self.curl(self.url("Archive"), *LOGIN, "--upload-file", str(path))
        output = self.curl(
            self.url("Archive"), *LOGIN, "--request", f'UID SEARCH HEADER Message-ID "{message_id(letter)}"'
        )
        uid = output.decode().split()[-1]
        self.assertTrue(uid.isdigit(), output)
        self.assertEqual(self.curl(self.url(f"Archive;UID={uid}"), *LOGIN), letter)
        self.assertIn(b"Boxk", self.curl(self.url(f"Archive;UID={uid};SECTION=TEXT"), *LOGIN))

    def test_lists_mailboxes(self) -> None:
        """LIST shows the inbox and the mailboxes with a special use."""
        output = self.curl(self.url(), *LOGIN)
        for name in (b"INBOX", b"Sent", b"Drafts", b"Trash", b"Archive", b"Junk"):
            self.assertIn(name, output)

    def test_starttls(self) -> None:
        """The IMAP port does STARTTLS, and takes no password before."""
        self.assertIn(b"INBOX", self.curl(self.url(scheme="imap"), "--ssl-reqd", *LOGIN))
        code, _ = self.ends("curl", "--silent", self.url(scheme="imap"), *LOGIN)
        self.assertEqual(code, 67)

    def test_examine_and_status(self) -> None:
        """Other commands go through."""
        self.assertIn(
            b"UIDVALIDITY", self.curl(self.url(), *LOGIN, "--request", "STATUS INBOX (UIDVALIDITY MESSAGES)")
        )
        self.assertIn(b"EXISTS", self.curl(self.url(), *LOGIN, "--request", "EXAMINE INBOX"))
