"""MESSAGELIMIT (RFC 9738), with a limit of three messages."""

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import Driver


def _driver(messages: int = 6, limit: int = 3, mail: MemoryMail | None = None) -> Driver:
    mail = mail or MemoryMail()
    mail.make("Trash")
    for n in range(messages):
        mail.add("INBOX", b"Subject: %d\r\n\r\n%d\r\n" % (n, n))
    settings = ServerSettings(
        hostname="mail.example.org",
        allow_plain_without_tls=True,
        timeouts=Timeouts(login_failure_pause=0.0),
        limits=Limits(messages=limit, messages_enforced=0),
    )
    driver = Driver.of(mail, settings=settings)
    driver.login()
    driver.command("SELECT INBOX")
    return driver


class LimitTests(SynchronousTestCase):
    def test_is_announced(self) -> None:
        """The capability has the number, and what is enforced by default is ten times that."""
        self.assertIn(b" MESSAGELIMIT=3 ", _driver().command("CAPABILITY")[0])
        self.assertEqual((Limits().messages, Limits().messages_enforced), (100_000, 1_000_000))

    def test_fetch(self) -> None:
        """FETCH tells the newest messages, and the lowest UID among them."""
        for uid in ("", "UID "):
            answers = _driver().command(f"{uid}FETCH 2:5 (UID FLAGS)")
            self.assertEqual(
                answers,
                [b"* %d FETCH (UID %d FLAGS ())" % (n, n) for n in (3, 4, 5)]
                + [b"a3 OK [MESSAGELIMIT 3 3] FETCH of the newest messages only"],
            )

    def test_at_the_limit(self) -> None:
        """As many messages as the limit are done without a word of it."""
        for line in (
            "FETCH 2:4 FLAGS",
            "STORE 2:4 +FLAGS (x)",
            "UID SEARCH UID 2:4",
            "COPY 2:4 Trash",
            "MOVE 1,3,5 Trash",
        ):
            answer = _driver().command(line)[-1]
            self.assertIn(b"a3 OK", answer)
            self.assertNotIn(b"MESSAGELIMIT", answer)

    def test_partial(self) -> None:
        """A window of RFC 9394 that is larger than the limit is refused."""
        driver = _driver()
        self.assertEqual(
            driver.command("UID FETCH 1:* FLAGS (PARTIAL -1:-4)"),
            [b"a3 NO [MESSAGELIMIT 3] more than 3 messages, and nothing was done"],
        )
        self.assertEqual(len(driver.command("UID FETCH 1:* FLAGS (PARTIAL -1:-3)")), 4)

    def test_fetch_that_sets_seen(self) -> None:
        r"""FETCH sets \Seen for those only whose octets it sends."""
        driver = _driver()
        answers = driver.command("FETCH 1:* BODY[TEXT]")
        self.assertEqual(len([a for a in answers if b"FETCH (" in a]), 3)
        self.assertIn(b"[MESSAGELIMIT 3 4]", answers[-1])
        self.assertEqual(driver.command("UID SEARCH UIDAFTER 3 UNSEEN")[0], b"* SEARCH")

    def test_search(self) -> None:
        """The messages that SEARCH looks at count, not those that match; a set in the program names them."""
        driver = _driver()
        self.assertEqual(
            driver.command("UID SEARCH UID 2:5 UNDELETED"),
            [b"* SEARCH 3 4 5", b"a3 OK [MESSAGELIMIT 3 3] SEARCH of the newest messages only"],
        )
        self.assertIn(b"MESSAGELIMIT 3 4]", driver.command("SEARCH SUBJECT 0")[-1])
        self.assertNotIn(b"MESSAGELIMIT", driver.command("SEARCH 1:3 SUBJECT 0")[-1])

    def test_going_on(self) -> None:
        """With UIDBEFORE a client finds what is older, until nothing is left out."""
        driver, found, before = _driver(messages=8), [], 9
        while True:
            answers = driver.command(f"UID SEARCH UIDBEFORE {before} UNDELETED")
            found += [int(n) for n in answers[0].split()[2:]]
            if b"MESSAGELIMIT" not in answers[1]:
                break
            before = int(answers[1].split()[4].rstrip(b"]"))
        self.assertEqual(sorted(found), list(range(1, 9)))

    def test_saved(self) -> None:
        """RFC 9738 section 3.4: the saved result is cut as well."""
        driver = _driver()
        answers = driver.command("UID SEARCH RETURN (SAVE) UNDELETED")
        self.assertEqual(answers, [b"a3 OK [MESSAGELIMIT 3 4] SEARCH of the newest messages only"])
        self.assertEqual(driver.command("UID SEARCH UID $")[0], b"* SEARCH 4 5 6")

    def test_copy(self) -> None:
        """COPY is all or nothing: NO, and nothing is copied."""
        driver = _driver()
        self.assertEqual(
            driver.command("UID COPY 1:5 Trash"),
            [b"a3 NO [MESSAGELIMIT 3 3] too many messages, copy fewer at a time"],
        )
        self.assertIn(b"MESSAGES 0", driver.command("STATUS Trash (MESSAGES)")[0])

    def test_move(self) -> None:
        """MOVE takes the newest ones, and said again takes the rest."""
        driver = _driver()
        answers = driver.command("UID MOVE 1:5 Trash")
        self.assertEqual(answers[0], b"* OK [COPYUID 2 3:5 1:3] moved")
        self.assertEqual(answers[-1], b"a3 OK [MESSAGELIMIT 3 3] MOVE of the newest messages only")
        self.assertNotIn(b"MESSAGELIMIT", driver.command("UID MOVE 1:5 Trash")[-1])
        self.assertIn(b"MESSAGES 5", driver.command("STATUS Trash (MESSAGES)")[0])

    def test_store(self) -> None:
        """STORE changes the newest ones."""
        answers = _driver().command("STORE 1:* +FLAGS.SILENT (x)")
        self.assertEqual(answers, [b"a3 OK [MESSAGELIMIT 3 4] STORE of the newest messages only"])

    def test_store_with_modified(self) -> None:
        """MODIFIED stays in the tagged response, so the limit is told before."""
        driver = _driver()
        driver.command("STORE 6 +FLAGS (x)")
        answers = driver.command("UID STORE 1:* (UNCHANGEDSINCE 7) +FLAGS.SILENT (y)")
        self.assertEqual(answers[-2], b"* NO [MESSAGELIMIT 3 4] the newest messages only")
        self.assertIn(b"a4 OK [MODIFIED 6]", answers[-1])

    def test_uid_expunge(self) -> None:
        r"""UID EXPUNGE counts the messages with \Deleted."""
        driver = _driver()
        driver.command("STORE 1:3 +FLAGS (\\Deleted)")
        driver.command("STORE 6 +FLAGS (\\Deleted)")
        answers = driver.command("UID EXPUNGE 1:*")
        self.assertEqual(answers[:-1], [b"* 6 EXPUNGE", b"* 3 EXPUNGE", b"* 2 EXPUNGE"])
        self.assertEqual(answers[-1], b"a5 OK [MESSAGELIMIT 3 2] UID EXPUNGE of the newest messages only")
        self.assertEqual(driver.command("UID EXPUNGE 1:*"), [b"* 1 EXPUNGE", b"a6 OK UID EXPUNGE completed"])

    def test_expunge_and_close(self) -> None:
        """EXPUNGE and CLOSE know no limit."""
        for line in ("EXPUNGE", "CLOSE"):
            driver = _driver()
            for numbers in ("1:3", "4:6"):
                driver.command(f"STORE {numbers} +FLAGS (\\Deleted)")
            self.assertIn(b"a5 OK " + line.encode() + b" completed", driver.command(line)[-1])
            self.assertIn(b"MESSAGES 0", driver.command("STATUS INBOX (MESSAGES)")[0])

    def test_append(self) -> None:
        """One APPEND takes no more messages than the limit, or none."""
        driver = _driver(messages=0)
        message = "{4+}\r\na: b "
        self.assertIn(b"a3 OK", driver.command("APPEND INBOX " + (message * 3).rstrip())[-1])
        self.assertIn(b"a4 NO [MESSAGELIMIT 3]", driver.command("APPEND INBOX " + (message * 4).rstrip())[-1])
        self.assertIn(b"MESSAGES 3", driver.command("STATUS INBOX (MESSAGES)")[0])

    def of_two(self) -> tuple[Driver, Driver]:
        """Two clients, of which the first does not know yet that the second has expunged message 5."""
        mail = MemoryMail()
        driver, other = _driver(mail=mail), Driver.of(mail)
        other.login()
        other.command("SELECT INBOX")
        other.command("STORE 5 +FLAGS (\\Deleted)")
        other.command("EXPUNGE")
        return driver, other

    def test_with_expungeissued(self) -> None:
        """Section 3.1: EXPUNGEISSUED stays in the tagged OK, the limit goes into an untagged NO."""
        driver, _ = self.of_two()
        answers = driver.command("FETCH 1:6 (FLAGS)")
        self.assertIn(b"* NO [MESSAGELIMIT 3 4] the newest messages only", answers)
        self.assertEqual(answers[-1], b"a3 OK [EXPUNGEISSUED] some of the messages are gone")

    def test_with_modified_and_gone(self) -> None:
        """Section 3.1: so does MODIFIED of messages that are too new, where others are gone."""
        driver, other = self.of_two()
        other.command("STORE 5 +FLAGS (\\Flagged)")
        answers = driver.command("STORE 1:6 (UNCHANGEDSINCE 8) +FLAGS (\\Seen)")
        self.assertIn(b"* NO [MESSAGELIMIT 3 4] the newest messages only", answers)
        self.assertEqual(answers[-1], b"a3 OK [MODIFIED 6] some of the messages are gone")

    def test_disabled(self) -> None:
        """Who is not offered MESSAGELIMIT has no limit."""
        driver = _driver(mail=MemoryMail(disabled_capabilities=frozenset({"MESSAGELIMIT"})))
        self.assertEqual(len(driver.command("FETCH 1:* FLAGS")), 7)
