"""GETMETADATA, SETMETADATA and news of them, beyond the examples of the RFCs (tests/dialogues/imap/metadata.txt)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.metadata import AnnotationNews, IAnnotatedSession
from moxtwisted.imap.settings import ServerSettings, Timeouts
from moxtwisted.imap.testing import Driver


def logged_in(mail: MemoryMail, **more: Any) -> Driver:
    driver = Driver.of(mail, **more)
    driver.login()
    return driver


class ValueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.mail = MemoryMail()
        self.driver = logged_in(self.mail)

    def test_interface(self) -> None:
        """The session in memory keeps the interface."""
        verifyObject(IAnnotatedSession, self.mail.session())

    def test_any_octets(self) -> None:
        """A value may be any octets; with NUL it is a literal8 in both directions."""
        value = bytes(range(256))
        self.driver.command(b"SETMETADATA INBOX (/private/comment ~{256+}\r\n%b)" % value)
        self.driver.received()
        self.driver.send(b"x GETMETADATA INBOX /private/comment\r\n")
        self.assertIn(b"* METADATA INBOX (/private/comment ~{256}\r\n%b)\r\n" % value, self.driver.received())

    def test_utf8_names(self) -> None:
        """The mailbox is named as the client's encoding has it."""
        self.mail.make("Entwürfe")
        for encoded in ("Entw&APw-rfe", '"Entwürfe"'):
            answer = self.driver.command(f"GETMETADATA {encoded} /private/comment")
            self.assertEqual(answer[0].decode(), f"* METADATA {encoded} (/private/comment NIL)")
            self.driver.command("ENABLE UTF8=ACCEPT")

    def test_long_answer(self) -> None:
        """Many large values come in several responses, all of them."""
        for n in range(12):
            self.driver.command(f'SETMETADATA "" (/private/{n} {{30000+}}\r\n{"x" * 30000})')
        answers = self.driver.command('GETMETADATA (DEPTH infinity) "" /private')
        self.assertGreater(len(answers), 3)
        whole = b"".join(answers[:-1])
        self.assertEqual(whole.count(b"{30000}"), 12)
        self.assertEqual(answers[-1].split()[1], b"OK")

    def test_too_many(self) -> None:
        """Too many entries are refused with TOOMANY, and nothing is set."""
        self.mail.annotations.most = 2
        answer = self.driver.command('SETMETADATA "" (/private/a "1" /private/b "2" /private/c "3")')
        self.assertEqual(answer[-1].split(b" ", 1)[1], b"NO [METADATA TOOMANY] too many annotations")
        self.assertEqual(
            self.driver.command('GETMETADATA "" (DEPTH 1) /private')[0], b'* METADATA "" (/private NIL)'
        )

    def test_special_use_is_no_value(self) -> None:
        """What was kept under the name of a computed entry is never told."""
        self.mail.annotations.values[""] = {"/shared/admin": b"evil"}
        self.mail.annotations.administrator = ""
        answer = self.driver.command('GETMETADATA "" /shared/admin')
        self.assertEqual(answer[0], b'* METADATA "" (/shared/admin NIL)')


class NewsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.mail = MemoryMail()
        self.first, self.second = logged_in(self.mail), logged_in(self.mail)

    def test_nothing_without_enable(self) -> None:
        """Who did not enable METADATA hears nothing, even after using it (RFC 5464 section 4.1)."""
        self.first.command('SETMETADATA INBOX (/private/comment "1")')
        self.second.command('SETMETADATA INBOX (/private/comment "2")')
        self.assertEqual(len(self.first.command("NOOP")), 1)

    def test_same_at_the_same_time(self) -> None:
        """One's own change is not told, the same one by somebody else is."""
        self.first.command("ENABLE METADATA")
        self.first.command('SETMETADATA INBOX (/private/comment "1")')
        self.second.command('SETMETADATA INBOX (/private/comment "2")')
        self.assertEqual(self.first.command("NOOP")[0], b"* METADATA INBOX /private/comment")

    def test_failed(self) -> None:
        """A change that failed is not waited for: the same one by somebody else is told."""
        self.first.command("ENABLE METADATA")
        self.mail.annotations.most = 0
        self.assertIn(b"TOOMANY", self.first.command('SETMETADATA INBOX (/private/comment "1")')[-1])
        self.mail.annotations.most = 5
        self.second.command('SETMETADATA INBOX (/private/comment "2")')
        self.assertEqual(self.first.command("NOOP")[0], b"* METADATA INBOX /private/comment")

    def test_merged(self) -> None:
        """Changes that wait to be told are told once, however often they happened."""
        self.first.command("ENABLE METADATA METADATA")
        for n in range(5):
            self.second.command(f'SETMETADATA INBOX (/private/comment "{n}" /private/{n % 2} "x")')
        self.assertEqual(
            self.first.command("NOOP")[:-1],
            [b"* METADATA INBOX /private/comment /private/0 /private/1"],
        )

    def test_idle_with_notify(self) -> None:
        """They are told to a client that idles, whatever it asked for with NOTIFY."""
        for notify in ("NOTIFY NONE", "NOTIFY SET (personal (MailboxName))", "NOOP"):
            driver = logged_in(self.mail)
            driver.command("ENABLE METADATA")
            driver.command(notify)
            driver.send(b"x IDLE\r\n")
            driver.received()
            self.second.command(f'SETMETADATA INBOX (/private/comment "{notify}")')
            driver.flush()
            self.assertEqual(driver.received(), b"* METADATA INBOX /private/comment\r\n", notify)
            driver.server.lost()

    def test_enabled_behind_notify(self) -> None:
        """What happened before ENABLE METADATA is told by NOTIFY (RFC 5465 section 5.6), what happens later once."""
        driver = logged_in(self.mail)
        driver.command("NOTIFY SET (personal (MailboxMetadataChange))")
        self.second.command('SETMETADATA INBOX (/private/comment "1")')
        told = driver.command("ENABLE METADATA")
        self.assertIn(b"* METADATA INBOX /private/comment", told)
        self.second.command('SETMETADATA INBOX (/private/comment "2")')
        driver.flush()
        self.assertEqual(driver.received(), b"* METADATA INBOX /private/comment\r\n")

    def test_given_back(self) -> None:
        """Nobody listens any more after LOGOUT, a lost connection, and UNAUTHENTICATE."""
        listeners = self.mail.annotations.listeners
        for end in ("LOGOUT", "", "UNAUTHENTICATE"):
            driver = logged_in(self.mail)
            driver.command("ENABLE METADATA")
            self.assertEqual(len(listeners), 1, end)
            if end:
                driver.command(end)
            else:
                driver.server.lost()
            self.assertEqual(listeners, [], end)

    def test_bounded(self) -> None:
        """What waits to be told is bounded, whatever the others do."""
        self.first.command("ENABLE METADATA")
        (news,) = self.first.server.connection.news
        self.assertIsInstance(news, AnnotationNews)
        for n in range(20):
            self.mail.annotations.tell("INBOX", [f"/private/{n}-{i}" for i in range(1000)])
        told = self.first.command("NOOP")[0]
        self.assertLess(told.count(b" "), 11_010)


class NotifyTests(SynchronousTestCase):
    """What is told after NOTIFY (RFC 5465 sections 5.6 and 5.7)."""

    def setUp(self) -> None:
        self.mail = MemoryMail()
        self.mail.make("Other")
        self.first, self.second = logged_in(self.mail), logged_in(self.mail)
        self.first.command("NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))")

    def heard(self) -> list[bytes]:
        self.first.flush()
        return self.first.received().splitlines()

    def test_own(self) -> None:
        """One's own changes are not told (section 5)."""
        for name in ("INBOX", "inbox", "Other", '""'):
            answer = self.first.command(f'SETMETADATA {name} (/private/a "1" /shared/b NIL)')
            self.assertEqual(len(answer), 1, answer)
            self.assertEqual(self.heard(), [])

    def test_own_at_once(self) -> None:
        """Several changes of one entry that came together are all one's own."""
        self.first.send(b'a SETMETADATA INBOX (/private/a "1")\r\nb SETMETADATA INBOX (/private/a "2")\r\n')
        self.assertNotIn(b"METADATA INBOX", self.first.received())
        self.assertEqual(self.heard(), [])
        self.second.command('SETMETADATA INBOX (/private/a "3")')
        self.assertEqual(self.heard(), [b"* METADATA INBOX /private/a"])

    def test_own_and_others(self) -> None:
        """Where somebody else changed the same entry at the same time, it is told."""
        self.second.command('SETMETADATA INBOX (/private/a "1")')
        self.assertEqual(
            self.first.command('SETMETADATA INBOX (/private/a "2")')[1:], [b"* METADATA INBOX /private/a"]
        )

    def test_merged(self) -> None:
        """What happened to a mailbox before it can be told is told together."""
        for n in range(5):
            self.second.command(f'SETMETADATA Other (/private/comment "{n}" /private/{n % 2} "x")')
        self.assertEqual(self.heard(), [b"* METADATA Other /private/comment /private/0 /private/1"])

    def test_renamed(self) -> None:
        """A mailbox is called as it is now, and one that is gone has no annotations."""
        self.mail.make("Third")
        self.second.command('SETMETADATA Other (/private/a "1")')
        self.second.command('SETMETADATA Third (/private/a "1")')
        self.second.command("RENAME Other Fourth")
        self.second.command("DELETE Third")
        self.second.command("CREATE Third")
        self.assertEqual(self.heard(), [b"* METADATA Fourth /private/a"])

    def test_enabled_as_well(self) -> None:
        """With ENABLE METADATA as well it is told at once, and once."""
        self.first.command("ENABLE METADATA")
        self.second.command('SETMETADATA Other (/private/a "1")')
        self.assertEqual(self.heard(), [b"* METADATA Other /private/a"])
        self.assertEqual(len(self.first.command("NOOP")), 1)


class RenamedTests(SynchronousTestCase):
    def test_inbox(self) -> None:
        """INBOX keeps its annotations when it is renamed, and the new mailbox has them as well (RFC 5464 section 4.1)."""
        driver = logged_in(MemoryMail())
        driver.command('SETMETADATA INBOX (/private/a "1")')
        driver.command("RENAME INBOX Old")
        for name in (b"INBOX", b"Old"):
            answer = driver.command(b"GETMETADATA %b /private/a" % name)
            self.assertEqual(answer[0], b'* METADATA %b (/private/a "1")' % name)

    def test_deleted(self) -> None:
        """With a mailbox go its annotations."""
        mail = MemoryMail()
        driver = logged_in(mail)
        driver.command("CREATE Old")
        driver.command('SETMETADATA Old (/private/a "1")')
        driver.command("DELETE Old")
        self.assertEqual(mail.annotations.values, {})
        driver.command("CREATE Old")
        self.assertEqual(driver.command("GETMETADATA Old /private/a")[0], b"* METADATA Old (/private/a NIL)")


class WithoutTests(SynchronousTestCase):
    def test_taken_away(self) -> None:
        """Where METADATA and FILTERS are taken away, their commands, options and keys are BAD, and cannot be enabled."""
        settings = ServerSettings(
            hostname="mail.example.org",
            allow_plain_without_tls=True,
            disabled_capabilities=frozenset({"METADATA", "LIST-METADATA", "FILTERS"}),
            timeouts=Timeouts(login_failure_pause=0.0),
        )
        driver = logged_in(MemoryMail(), settings=settings)
        driver.command("SELECT INBOX")
        for line in (
            "GETMETADATA INBOX /private/comment",
            'LIST "" * RETURN (METADATA (/private/comment))',
            "SEARCH FILTER x",
        ):
            self.assertEqual(driver.command(line)[-1].split()[1], b"BAD", line)
        self.assertEqual(driver.command("ENABLE METADATA")[0], b"* ENABLED")
