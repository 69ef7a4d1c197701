"""What one APPEND may bring in."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError
from moxtwisted.imap import memory
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import Driver


class TogetherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.mail = MemoryMail()
        self.driver = Driver.of(
            self.mail,
            settings=ServerSettings(
                hostname="mail.example.org",
                allow_plain_without_tls=True,
                timeouts=Timeouts(login_failure_pause=0.0),
                limits=Limits(append_octets=1000),
            ),
        )
        self.driver.login()

    def test_many_messages(self) -> None:
        """Messages of one APPEND that are too large together are refused before they are sent, and none of them is kept."""
        message = b"Subject: x\r\n\r\n" + b"x" * 287
        one = b" {%d+}\r\n%b" % (len(message), message)
        self.assertIn(b" OK ", self.driver.command(b"APPEND INBOX" + one * 3)[-1])
        answer = self.driver.command(b"APPEND INBOX" + one * 4)
        self.assertIn(b" NO [TOOBIG] the messages of one APPEND are too large together", answer[-1])
        self.assertEqual(len(self.mail.find("INBOX").uids), 3)
        self.assertIn(b" OK ", self.driver.command(b"APPEND INBOX" + one)[-1])

    def test_texts_of_catenated_messages(self) -> None:
        """What CATENATE brings as text counts as well."""
        text = b"TEXT {400+}\r\n" + b"Subject: x\r\n\r\n" + b"x" * 386
        answer = self.driver.command(
            b"APPEND INBOX CATENATE (%b) CATENATE (%b) CATENATE (%b)" % (text, text, text)
        )
        self.assertIn(b" NO [TOOBIG]", answer[-1])
        self.assertIn(
            b" OK ", self.driver.command(b"APPEND INBOX CATENATE (%b) CATENATE (%b)" % (text, text))[-1]
        )

    def test_one_that_is_too_large(self) -> None:
        """A single message is told that it is too large itself."""
        answer = self.driver.command(b"APPEND INBOX {1001+}\r\n" + b"x" * 1001)
        self.assertIn(b" NO [TOOBIG] message is too large", answer[-1])

    def test_nothing_is_begun_after_a_failure(self) -> None:
        """When a message cannot be taken while it comes, the command goes on coming: nothing of what follows is left lying about."""
        open_sinks: set[int] = set()

        class Sink:
            def write(self, data: bytes) -> None:
                raise MailError("no room", public_text="no room")

            def abort(self) -> None:
                open_sinks.discard(id(self))

        sinks = []

        def append_sink(_session: object, _mailbox: str, _size: int) -> Sink:
            sinks.append(Sink())
            open_sinks.add(id(sinks[-1]))
            return sinks[-1]

        self.patch(memory._Session, "append_sink", append_sink)
        for command in (
            b"APPEND INBOX {3+}\r\nabc {3+}\r\ndef {3+}\r\nghi",
            b"APPEND INBOX {3+}\r\nabc CATENATE (TEXT {3+}\r\ndef TEXT {3+}\r\nghi)",
            b"APPEND INBOX {3+}\r\nabc CATENATE (URL /INBOX/;UID=1)",
        ):
            self.assertIn(b" NO no room", self.driver.command(command)[-1])
            self.assertEqual(open_sinks, set(), command)


class DateTests(SynchronousTestCase):
    def test_years_that_only_a_zone_has(self) -> None:
        """A date whose year in UTC has no four digits becomes the nearest that can be told, and the mailbox can still be read."""
        driver = Driver.of(MemoryMail())
        driver.login()
        for date in (
            "31-Dec-9999 23:59:59 -0100",
            "01-Jan-0001 00:00:00 +0100",
            "17-Jul-1996 02:44:25 -0700",
        ):
            self.assertIn(b" OK ", driver.command(f'APPEND INBOX "{date}" {{3+}}\r\nabc')[-1])
        driver.command("SELECT INBOX")
        self.assertEqual(
            driver.command("FETCH 1:* INTERNALDATE")[:-1],
            [
                b'* 1 FETCH (INTERNALDATE "31-Dec-9999 00:00:00 +0000")',
                b'* 2 FETCH (INTERNALDATE " 2-Jan-0001 00:00:00 +0000")',
                b'* 3 FETCH (INTERNALDATE "17-Jul-1996 09:44:25 +0000")',
            ],
        )
