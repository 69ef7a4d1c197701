"""ESEARCH (MULTISEARCH, RFC 7377): limits, rights, turns, state."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError
from moxtwisted.imap import memory
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import Driver


def _mail(mailboxes: int = 3) -> MemoryMail:
    mail = MemoryMail()
    for n in range(mailboxes):
        mail.make(f"box{n}")
        mail.add(f"box{n}", b"Subject: hello\r\n\r\nworld\r\n")
    return mail


class MultiSearchTests(SynchronousTestCase):
    def test_too_many_mailboxes(self) -> None:
        """A search through more mailboxes than the limit is refused before anything is searched."""
        settings = ServerSettings(
            hostname="mail.example.org",
            allow_plain_without_tls=True,
            timeouts=Timeouts(login_failure_pause=0.0),
            limits=Limits(search_mailboxes=3),
        )
        driver = Driver.of(_mail(), settings=settings)
        driver.login()
        self.assertEqual(
            driver.command("ESEARCH IN (personal) ALL"), [b"a2 NO [LIMIT] too many mailboxes in one search"]
        )
        self.assertEqual(len(driver.command("ESEARCH IN (mailboxes (box0 box1)) ALL")), 3)

    def test_renamed(self) -> None:
        """Changes of results are told with the name that the mailbox has by now."""
        mail = _mail()
        driver = Driver.of(mail)
        driver.login()
        driver.command("SELECT box0")
        driver.command("ESEARCH RETURN (UPDATE) UNSEEN")
        mail.rename("box0", "later")
        mail.make("box0")
        mail.add("later", b"Subject: hello\r\n\r\n")
        self.assertIn(
            b'* ESEARCH (TAG "a3" MAILBOX later UIDVALIDITY 2) UID ADDTO (0 2)', driver.command("NOOP")
        )

    def test_others_have_their_turns(self) -> None:
        """Between two mailboxes the command pauses, and says how many messages are behind it."""
        driver = Driver.of(_mail())
        driver.login()
        told: list[Any] = []

        async def pause(seconds: float) -> None:
            told.append(driver.server.connection.progress)

        driver.server.connection.pause = pause
        driver.command("ESEARCH IN (personal) SUBJECT hello")
        self.assertEqual(told, [(0, 3), (0, 3), (1, 3), (2, 3)])

    def test_what_may_not_be_read(self) -> None:
        """A mailbox that cannot be opened is as if it were not there."""
        original = memory._Session.select

        def select(session: Any, name: str, *, read_only: bool) -> Any:
            if name == "box1":
                raise MailError("no right to read")
            return original(session, name, read_only=read_only)

        self.patch(memory._Session, "select", select)
        driver = Driver.of(_mail())
        driver.login()
        answers = driver.command("ESEARCH IN (personal mailboxes box1) SUBJECT hello")
        self.assertEqual([a.split()[5] for a in answers[:-1]], [b"box0", b"box2"])
        self.assertEqual(answers[-1], b"a2 OK ESEARCH completed")

    def test_mailboxes_are_closed(self) -> None:
        """What was opened for the search is closed again, and the selected mailbox stays selected."""
        closed: list[str] = []
        self.patch(memory._Selected, "close", lambda selected: closed.append(selected.view.name))
        driver = Driver.of(_mail())
        driver.login()
        driver.command("SELECT box1")
        driver.command("ESEARCH IN (personal) SUBJECT hello")
        self.assertEqual(closed, ["Inbox", "box0", "box2"])
        self.assertEqual(driver.command("SEARCH SUBJECT hello")[0], b"* SEARCH 1")

    def test_modseq(self) -> None:
        """With MODSEQ in the program each response has the highest of its mailbox."""
        driver = Driver.of(_mail(1))
        driver.login()
        self.assertEqual(
            driver.command("ESEARCH IN (mailboxes box0) MODSEQ 1")[0],
            b'* ESEARCH (TAG "a2" MAILBOX box0 UIDVALIDITY 2) UID ALL 1 MODSEQ 2',
        )

    def test_partial(self) -> None:
        """PARTIAL is for each mailbox."""
        mail = _mail(2)
        mail.add("box0", b"Subject: hello\r\n\r\nagain\r\n")
        driver = Driver.of(mail)
        driver.login()
        answers = driver.command("ESEARCH IN (personal) RETURN (PARTIAL -1:-1) SUBJECT hello")
        self.assertEqual(
            [a.partition(b"UID ")[2] for a in answers[:-1]], [b"PARTIAL (-1:-1 2)", b"PARTIAL (-1:-1 1)"]
        )

    def test_uidonly(self) -> None:
        """After ENABLE UIDONLY a set of sequence numbers is refused here as well."""
        driver = Driver.of(_mail())
        driver.login()
        driver.command("ENABLE UIDONLY")
        self.assertIn(b"BAD [UIDREQUIRED]", driver.command("ESEARCH IN (personal) 1:5")[0])

    def test_international_names(self) -> None:
        """Names are told in the spelling that the client understands."""
        mail = _mail(0)
        mail.make("Entwürfe")
        mail.add("Entwürfe", b"Subject: x\r\n\r\n")
        driver = Driver.of(mail)
        driver.login()
        self.assertIn(b"MAILBOX Entw&APw-rfe ", driver.command("ESEARCH IN (mailboxes Entw&APw-rfe) ALL")[0])
        driver.command("ENABLE IMAP4rev2")
        self.assertIn(
            "MAILBOX Entwürfe ".encode(),
            driver.command('ESEARCH IN (mailboxes "Entwürfe") ALL')[0].replace(b'"', b""),
        )
