"""Python's own smtplib and imaplib."""

from __future__ import annotations

import imaplib
import smtplib
from email.message import EmailMessage
from typing import Any

from .live import (
    ACCOUNT,
    CLIENT_SECONDS,
    IMAP,
    LMTP,
    PASSWORD,
    SMTP,
    SUBMISSION,
    SUBMISSIONS,
    LiveTestCase,
    base64_lines,
    unverified,
)

SENDER = "sender@client.example"


class SmtplibTests(LiveTestCase):
    """Sending."""

    def smtp(self, port: int = SMTP) -> smtplib.SMTP:
        """A connection, closed when the test ends."""
        kind = smtplib.LMTP if port == LMTP else smtplib.SMTP
        connection = (
            kind(self.server.ip, port, timeout=CLIENT_SECONDS)
            if port == LMTP
            else smtplib.SMTP(self.server.ip, port, local_hostname="client.example", timeout=CLIENT_SECONDS)
        )
        self.addCleanup(connection.close)
        return connection

    def test_sizes(self) -> None:
        """Bodies from nothing to 50 MB arrive octet by octet, one after the other on one connection."""
        connection = self.smtp()
        for size in (0, 2, 100_000, 50_000_000):
            letter = self.letter(base64_lines(size))
            connection.sendmail(SENDER, [ACCOUNT], letter)
            self.arrived(letter)
        connection.quit()

    def test_eight_bits_and_utf8_addresses(self) -> None:
        """A message with UTF-8 in its header and envelope is taken with SMTPUTF8."""
        letter = self.letter("Grüße\r\n".encode(), headers="Cc: 用户 <用户@例え.example>\r\n".encode())
        connection = self.smtp()
        connection.sendmail(
            "jürgen@client.example", ["δοκιμή@localhost"], letter, mail_options=["SMTPUTF8", "BODY=8BITMIME"]
        )
        self.arrived(letter)

    def test_each_mechanism(self) -> None:
        """Smtplib logs in with PLAIN and with LOGIN, over STARTTLS and over TLS."""
        for mechanism in ("PLAIN", "LOGIN"):
            connection = self.smtp(SUBMISSION)
            connection.starttls(context=unverified())
            connection.ehlo()
            self.assertIn(mechanism, connection.esmtp_features["auth"].split())
            connection.user, connection.password = ACCOUNT, PASSWORD
            code, _ = connection.auth(mechanism, getattr(connection, f"auth_{mechanism.lower()}"))
            self.assertEqual(code, 235)
            letter = self.letter(author=ACCOUNT)
            connection.sendmail(ACCOUNT, [ACCOUNT], letter)
            self.assertEqual(len(self.found(letter)), 1)

    def test_message_objects(self) -> None:
        """What email.message composes, with an attachment, is taken on the submissions port."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = ACCOUNT, ACCOUNT, "Grüße"
        message["Message-ID"] = f"<object.{id(message)}@client.example>"
        message.set_content("Ja.\n")
        message.add_attachment(
            bytes(range(256)) * 100, maintype="application", subtype="octet-stream", filename="ü.bin"
        )
        with smtplib.SMTP_SSL(
            self.server.ip, SUBMISSIONS, context=unverified(), timeout=CLIENT_SECONDS
        ) as connection:
            connection.login(ACCOUNT, PASSWORD)
            connection.send_message(message)
        self.assertEqual(len(self.found(bytes(message))), 1)

    def test_wrong_password(self) -> None:
        """A wrong password is 535, and the connection can still log in rightly."""
        connection = self.smtp(SUBMISSION)
        connection.starttls(context=unverified())
        error = self.assertRaises(smtplib.SMTPAuthenticationError, connection.login, ACCOUNT, "wrong")
        self.assertEqual(error.smtp_code, 535)
        connection.login(ACCOUNT, PASSWORD)

    def test_lmtp_answers_for_each_recipient(self) -> None:
        """Over LMTP each recipient has an answer of its own after the message."""
        letter = self.letter()
        connection = self.smtp(LMTP)
        connection.ehlo()
        connection.mail(SENDER)
        for recipient in ("one@localhost", "two@localhost"):
            self.assertEqual(connection.rcpt(recipient)[0], 250)
        self.assertEqual(connection.docmd("DATA")[0], 354)
        # smtplib's own data() reads one answer
        connection.send(letter + b".\r\n")
        self.assertEqual([connection.getreply()[0] for _ in range(2)], [250, 250])
        self.assertGreaterEqual(len(self.found(letter)), 1)

    def test_extensions(self) -> None:
        """EHLO on the SMTP port announces what the standard asks of a receiver today."""
        connection = self.smtp()
        connection.ehlo()
        wanted = {
            "pipelining",
            "size",
            "starttls",
            "enhancedstatuscodes",
            "8bitmime",
            "binarymime",
            "chunking",
            "smtputf8",
            "dsn",
            "limits",
        }
        self.assertEqual(wanted - set(connection.esmtp_features), set())
        self.assertNotIn("auth", connection.esmtp_features)
        connection.starttls(context=unverified())
        connection.ehlo()
        self.assertIn("requiretls", connection.esmtp_features)
        self.assertNotIn("starttls", connection.esmtp_features)

    def test_chunks(self) -> None:
        """A message in BDAT chunks, with a bare CR, a bare LF and a NUL in it, arrives octet by octet as BINARYMIME."""
        letter = self.letter(b"a\rb\nc\0d.\r\n.\r\n", headers=b"Content-Transfer-Encoding: binary\r\n")
        connection = self.smtp()
        connection.ehlo()
        self.assertEqual(connection.mail(SENDER, ["BODY=BINARYMIME"])[0], 250)
        self.assertEqual(connection.rcpt(ACCOUNT)[0], 250)
        connection.send(b"BDAT %d\r\n" % len(letter[:100]) + letter[:100])
        self.assertEqual(connection.getreply()[0], 250)
        connection.send(b"BDAT %d LAST\r\n" % len(letter[100:]) + letter[100:])
        self.assertEqual(connection.getreply()[0], 250)
        self.arrived(letter)


class ImaplibTests(LiveTestCase):
    """Reading."""

    def setUp(self) -> None:
        """Log in, and make a mailbox for this test."""
        super().setUp()
        self.connection = self.server.imap()
        self.addCleanup(self.connection.shutdown)
        self.mailbox = f"tests/{self._testMethodName}"
        self.good(self.connection.create(self.mailbox))

    def good(self, answer: tuple[str, Any]) -> Any:
        """The data of an answer that must be OK."""
        self.assertEqual(answer[0], "OK", answer)
        return answer[1]

    def test_append_fetch_store_expunge(self) -> None:
        """The life of a message: appended, fetched, flagged, copied, deleted, gone."""
        letter = self.letter()
        self.good(
            self.connection.append(self.mailbox, r"(\Seen custom)", '"21-Nov-2026 12:00:00 +0000"', letter)
        )
        self.assertEqual(self.good(self.connection.select(self.mailbox)), [b"1"])
        fetched = self.good(self.connection.fetch("1", "(FLAGS INTERNALDATE RFC822.SIZE BODY[])"))
        head, body = fetched[0]
        self.assertEqual(body, letter)
        self.assertIn(b"21-Nov-2026 12:00:00 +0000", head)
        self.assertIn(b"RFC822.SIZE %d" % len(letter), head)
        self.assertIn(rb"\Seen", head)
        self.assertIn(b"custom", head)
        self.good(self.connection.copy("1", "Archive"))
        self.assertEqual(len(self.found(letter, "Archive")), 1)
        self.good(self.connection.store("1", "+FLAGS", r"(\Deleted)"))
        self.assertEqual(self.good(self.connection.expunge()), [b"1"])
        self.assertEqual(self.good(self.connection.search(None, "ALL")), [b""])

    def test_sizes(self) -> None:
        """Messages up to 50 MB are appended and fetched whole and in parts."""
        self.good(self.connection.select(self.mailbox))
        for size in (0, 1_000_000, 50_000_000):
            letter = self.letter(base64_lines(size))
            self.good(self.connection.append(self.mailbox, "", "", letter))
            self.good(self.connection.noop())
            number = self.good(self.connection.search(None, "ALL"))[0].split()[-1].decode()
            fetched = self.good(self.connection.fetch(number, "(BODY.PEEK[])"))
            if fetched[0][1] != letter:
                self.fail(f"{size}: other octets")
            part = self.good(self.connection.fetch(number, "(BODY.PEEK[]<20.30>)"))
            self.assertEqual(part[0][1], letter[20:50])

    def test_two_sessions(self) -> None:
        """What one session does, the other sees with its next command."""
        other = self.server.imap()
        self.addCleanup(other.shutdown)
        self.good(self.connection.select(self.mailbox))
        self.good(other.select(self.mailbox))
        self.good(other.append(self.mailbox, "", "", self.letter()))
        self.good(self.connection.noop())
        self.assertEqual(self.connection.untagged_responses["EXISTS"][-1], b"1")
        self.good(self.connection.store("1", "+FLAGS", r"(\Flagged)"))
        self.good(other.noop())
        self.assertIn(rb"\Flagged", other.untagged_responses["FETCH"][-1])

    def test_mailboxes(self) -> None:
        """Create, subscribe, rename, list, status, delete; a name beyond ASCII too."""
        name = '"tests/&ANY-bung"'
        self.good(self.connection.create(name))
        self.good(self.connection.subscribe(name))
        self.assertTrue(any(b"&ANY-bung" in line for line in self.good(self.connection.lsub())))
        self.good(self.connection.rename(name, '"tests/renamed"'))
        listed = self.good(self.connection.list('""', '"tests/%"'))
        self.assertTrue(any(b"tests/renamed" in line for line in listed))
        self.assertIn(
            b"MESSAGES 0", self.good(self.connection.status('"tests/renamed"', "(MESSAGES UIDNEXT)"))[0]
        )
        self.good(self.connection.delete('"tests/renamed"'))

    def test_search_and_utf8(self) -> None:
        """A search for words beyond ASCII finds the message, in UTF-8 as an ENABLEd client sends it."""
        self.good(self.connection.enable("UTF8=ACCEPT"))
        letter = self.letter(
            "Blåbærsyltetøy\r\n".encode(), headers=b"Content-Type: text/plain; charset=utf-8\r\n"
        )
        self.good(self.connection.append(self.mailbox, "", "", letter))
        self.good(self.connection.select(self.mailbox))
        self.assertEqual(self.good(self.connection.search(None, "BODY", '"blåbær"')), [b"1"])
        self.assertEqual(self.good(self.connection.search(None, "BODY", '"rødgrød"')), [b""])

    def test_cram_md5_is_off_unless_configured(self) -> None:
        """A mechanism that is not announced is refused, and the session goes on."""
        fresh = imaplib.IMAP4(self.server.ip, IMAP, timeout=CLIENT_SECONDS)
        self.addCleanup(fresh.shutdown)
        self.assertIn("LOGINDISABLED", fresh.capabilities)
        fresh.starttls(unverified())
        self.assertNotIn("LOGINDISABLED", fresh.capabilities)
        if "AUTH=CRAM-MD5" not in fresh.capabilities:
            self.assertRaises(imaplib.IMAP4.error, fresh.login_cram_md5, ACCOUNT, PASSWORD)
        self.good(fresh.login(ACCOUNT, PASSWORD))
