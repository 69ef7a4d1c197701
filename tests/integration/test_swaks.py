"""swaks, the Swiss army knife for SMTP."""

from __future__ import annotations

from .live import ACCOUNT, LMTP, PASSWORD, SMTP, SUBMISSION, SUBMISSIONS, LiveTestCase, base64_lines
from .peers import needs


@needs("swaks")
class SwaksTests(LiveTestCase):
    """Every way in, as swaks goes it."""

    def swaks(self, port: int, *options: str, letter: bytes, sender: str = "sender@client.example") -> bytes:
        """Send a message; what swaks printed. It puts a line end of its own before the final dot."""
        return self.succeeds(
            *self.command(port, *options, sender=sender),
            stdin=letter.removesuffix(b"\r\n").replace(b"\r\n", b"\n"),
        )

    def command(self, port: int, *options: str, sender: str = "sender@client.example") -> list[str]:
        """The command that sends standard input."""
        where = ("--server", self.server.ip, "--port", str(port), "--helo", "client.example")
        return [
            "swaks",
            *where,
            "--from",
            sender,
            "--to",
            ACCOUNT,
            "--data",
            "-",
            "--timeout",
            "60",
            *options,
        ]

    def test_plain(self) -> None:
        """A message handed over on the SMTP port is in the mailbox when swaks ends."""
        letter = self.letter()
        self.swaks(SMTP, letter=letter)
        self.arrived(letter)

    def test_starttls(self) -> None:
        """The SMTP port does STARTTLS."""
        letter = self.letter()
        self.assertIn(b"TLS started with cipher TLSv1.3", self.swaks(SMTP, "--tls", letter=letter))
        self.arrived(letter)

    def test_pipelining(self) -> None:
        """Commands sent at once are answered in order."""
        letter = self.letter()
        self.swaks(SMTP, "--pipeline", letter=letter)
        self.arrived(letter)

    def test_submission_starttls(self) -> None:
        """Submission on port 587's stand-in takes AUTH after STARTTLS."""
        letter = self.letter(author=ACCOUNT)
        self.swaks(SUBMISSION, "--tls", *self.login("PLAIN"), letter=letter, sender=ACCOUNT)
        self.assertEqual(len(self.found(letter)), 1)

    def test_submissions(self) -> None:
        """Submission over TLS from the first octet takes AUTH."""
        letter = self.letter(author=ACCOUNT)
        self.swaks(SUBMISSIONS, "--tls-on-connect", *self.login("LOGIN"), letter=letter, sender=ACCOUNT)
        self.assertEqual(len(self.found(letter)), 1)

    def login(self, mechanism: str, password: str = PASSWORD) -> tuple[str, ...]:
        """The options for one mechanism."""
        return ("--auth", mechanism, "--auth-user", ACCOUNT, "--auth-password", password)

    def test_wrong_password(self) -> None:
        """A wrong password is refused with 535 and nothing is taken."""
        letter = self.letter()
        options = ("--tls-on-connect", *self.login("PLAIN", "wrongwrongwrong"))
        code, output = self.ends(*self.command(SUBMISSIONS, *options, sender=ACCOUNT), stdin=letter)
        self.assertNotEqual(code, 0)
        self.assertIn(b"535 5.7.8", output)
        self.assertEqual(self.found(letter), [])

    def test_no_auth_in_the_clear(self) -> None:
        """Without TLS the submission port does not announce AUTH."""
        code, output = self.ends(
            *self.command(SUBMISSION, *self.login("PLAIN"), sender=ACCOUNT), stdin=self.letter()
        )
        self.assertNotEqual(code, 0)
        self.assertNotIn(b"250-AUTH", output)

    def test_submission_needs_auth(self) -> None:
        """Without AUTH the submission port takes nothing: 530."""
        code, output = self.ends(*self.command(SUBMISSION, "--tls", sender=ACCOUNT), stdin=self.letter())
        self.assertNotEqual(code, 0)
        self.assertIn(b"530 5.7.0", output)

    def test_lmtp(self) -> None:
        """LMTP answers for each recipient after the data."""
        letter = self.letter()
        self.swaks(LMTP, "--protocol", "LMTP", letter=letter)
        self.arrived(letter)

    def test_megabytes(self) -> None:
        """Ten megabytes of lines arrive as they were sent."""
        letter = self.letter(base64_lines(10_000_000))
        self.swaks(SMTP, letter=letter)
        self.arrived(letter)

    def test_dots(self) -> None:
        """Lines that begin with dots, or are one, keep them."""
        letter = self.letter(b".\r\n..\r\n.a\r\n\r\n.\r\nend\r\n")
        self.swaks(SMTP, letter=letter)
        self.arrived(letter)

    def test_provoked_errors(self) -> None:
        """In localserve a local part that asks for trouble gets it: a temporary error, a permanent one, an exact code."""
        for local, expected in (
            ("ztemperror", b"<** 4"),
            ("zpermerror", b"<** 5"),
            ("z552", b"<** 552 "),
            ("z451", b"<** 451 "),
        ):
            command = self.command(SMTP)
            command[command.index(ACCOUNT)] = f"{local}@localhost"
            code, output = self.ends(*command, stdin=self.letter())
            self.assertNotEqual(code, 0, local)
            self.assertIn(expected, output, local)
