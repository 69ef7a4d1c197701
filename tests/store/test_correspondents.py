"""Whom the account wrote to."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.maintenance import retire
from tests.store.mail import StoreTestCase

DAY = 86400


class CorrespondentTests(StoreTestCase):
    def setUp(self) -> None:
        """An account that knows organizational domains."""
        super().setUp()
        self.now = int(self.clock.seconds())
        self.account.organization = lambda domain: ".".join(domain.split(".")[-2:])

    def wrote_to(self, kind: Any, key: str, since: int = 0) -> bool:
        """Whether it wrote there."""
        found: bool = self.account.reputation.wrote_to(kind, key, since)
        return found

    def put(self, mailbox: str, header: bytes, internaldate: int) -> None:
        """Append a message."""
        message = NewMessage(self.new(header + b"\r\nx\r\n").staged, b"", internaldate)
        self.successResultOf(self.account.add([Addition(mailbox, message)]))

    def test_wrote(self) -> None:
        """Addresses, their domains and the organizations of these are known from when they were written to, in any case."""
        self.successResultOf(self.account.wrote([("Mary", "Mail.A.example"), ("x", "no domain")], self.now))
        for kind, key in (
            ("address", "mary@mail.a.example"),
            ("address", "MARY@mail.A.example"),
            ("domain", "mail.a.example"),
            ("organization", "a.example"),
        ):
            self.assertTrue(self.wrote_to(kind, key, self.now), key)
            self.assertFalse(self.wrote_to(kind, key, self.now + 1), key)
        for kind, key in (
            ("domain", "a.example"),
            ("address", "ann@mail.a.example"),
            ("organization", "example"),
        ):
            self.assertFalse(self.wrote_to(kind, key), key)

    def test_domains_in_unicode(self) -> None:
        """A domain is known by its A-labels."""
        self.successResultOf(self.account.wrote([("mary", "münchen.example")], self.now))
        self.assertTrue(self.wrote_to("domain", "xn--mnchen-3ya.example"))

    def test_again(self) -> None:
        """The last time counts, to a day; within it nothing is written."""
        changes = self.account._ledger.connection.total_changes
        self.successResultOf(self.account.wrote([("mary", "a.example")], self.now))
        before = changes()
        self.successResultOf(self.account.wrote([("mary", "a.example")], self.now + DAY))
        self.successResultOf(self.account.wrote([("mary", "a.example")], self.now - 9 * DAY))
        self.assertEqual(changes(), before)
        self.successResultOf(self.account.wrote([("mary", "a.example")], self.now + DAY + 1))
        self.assertTrue(self.wrote_to("address", "mary@a.example", self.now + DAY + 1))

    def test_sent(self) -> None:
        """The recipients of what is put into the mailbox for sent mail count, from the message's date on, and no others."""
        header = b"From: me@here.example\r\nTo: Mary <mary@a.example>, group: b@b.example;\r\nCc: c@c.example\r\nBcc: d@d.example\r\n"
        self.put("INBOX", header, self.now)
        self.assertFalse(self.wrote_to("address", "mary@a.example"))
        self.put("Sent", header, self.now - 100 * DAY)
        for key in ("mary@a.example", "b@b.example", "c@c.example", "d@d.example"):
            self.assertTrue(self.wrote_to("address", key, self.now - 100 * DAY), key)
            self.assertFalse(self.wrote_to("address", key, self.now - 99 * DAY), key)
        self.assertFalse(self.wrote_to("address", "me@here.example"))

    def test_date_in_the_future(self) -> None:
        """A message from the future was sent now."""
        self.put("Sent", b"To: mary@a.example\r\n", self.now + 999 * DAY)
        self.assertTrue(self.wrote_to("address", "mary@a.example", self.now))
        self.assertFalse(self.wrote_to("address", "mary@a.example", self.now + 1))

    def test_retired(self) -> None:
        """Whom the account wrote to more than four years ago is forgotten with the other things of the past."""
        self.successResultOf(self.account.wrote([("old", "a.example")], self.now - 1500 * DAY))
        self.successResultOf(self.account.wrote([("new", "b.example")], self.now - 1000 * DAY))
        self.successResultOf(Deferred.fromCoroutine(retire(self.account, 86400, self.now)))
        self.assertFalse(self.wrote_to("address", "old@a.example"))
        self.assertTrue(self.wrote_to("address", "new@b.example"))

    def test_many(self) -> None:
        """Of a mailing to thousands some are known, not all."""
        to = b",\r\n ".join(b"u%d@a.example" % n for n in range(5000))
        self.put("Sent", b"To: " + to + b"\r\n", self.now)
        self.assertTrue(self.wrote_to("address", "u0@a.example"))
        self.assertFalse(self.wrote_to("address", "u4999@a.example"))
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM correspondent").get, 202)
