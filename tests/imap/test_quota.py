"""Limits as clients see them (RFC 9208)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.quota import IQuotaSession
from moxtwisted.imap.testing import Driver


class QuotaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.mail = MemoryMail()
        self.mail.add("INBOX", b"Subject: one\r\n\r\n" + b"x" * 1100)
        self.driver = Driver.of(self.mail)
        self.driver.login()

    def test_interface(self) -> None:
        """The session in memory keeps the interface."""
        verifyObject(IQuotaSession, self.mail.session())

    def test_both_limits(self) -> None:
        """Usage and limits of storage are told in units of 1024 octets, rounded up, beside those of messages."""
        self.mail.annotations.limits = (10_000, 1000)
        told = b'* QUOTA "" (STORAGE 2 10 MESSAGE 1 1000)'
        self.assertEqual(self.driver.command('GETQUOTA ""')[0], told)
        self.assertEqual(self.driver.command("GETQUOTAROOT INBOX")[:-1], [b'* QUOTAROOT INBOX ""', told])

    def test_one_limit(self) -> None:
        """RFC 9208 section 4.2.1: what is not limited is not told."""
        for limits, told in (
            ((2**40, None), b"(STORAGE 2 1073741824)"),
            ((None, 0), b"(MESSAGE 1 0)"),
            ((0, None), b"(STORAGE 2 0)"),
        ):
            self.mail.annotations.limits = limits
            self.assertEqual(self.driver.command('GETQUOTA ""')[0], b'* QUOTA "" ' + told)

    def test_mailboxes_to_come(self) -> None:
        """RFC 9208 section 4.1.2: the mailbox need not exist, but its name must be one."""
        self.mail.annotations.limits = (None, 5)
        self.assertEqual(self.driver.command('GETQUOTAROOT "Not yet"')[0], b'* QUOTAROOT "Not yet" ""')
        self.assertIn(b"NO [CANNOT]", self.driver.command('GETQUOTAROOT "a//b"')[0])

    def test_other_roots(self) -> None:
        """There is one root."""
        self.mail.annotations.limits = (None, 5)
        self.assertIn(b"NO [NONEXISTENT]", self.driver.command("GETQUOTA bob")[0])
