"""Over the real store: ESEARCH through mailboxes, results kept up to date, fuzzy searches, UIDs alone, few messages at a time."""

from __future__ import annotations

from attrs import evolve

from tests.server.house import Line
from tests.server.test_imapd import IMAPCase


def _letter(subject: str, body: str) -> bytes:
    return f"From: a@client.example\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()


class WideTests(IMAPCase):
    def setUp(self) -> None:
        super().setUp()
        self.line = self.log_in()

    def fill(self) -> None:
        self.ask(self.line, "CREATE Lists/twisted")
        for mailbox, subject, body in (
            ("INBOX", "hello", "connecting to the server"),
            ("INBOX", "other", "nothing"),
            ("Lists/twisted", "connection lost", "hello"),
            ("Lists", "helo", "connector"),
        ):
            self.add(_letter(subject, body), mailbox=mailbox)

    def index(self) -> None:
        done = self.house.store.account("alice").index.complete()
        for _ in range(1000):
            if done.called:
                break
            self.house.clock.advance(0)

    def flushed(self, line: Line) -> str:
        """What an idling client hears."""
        heard = ""
        for _ in range(100):
            self.house.clock.advance(0)
            heard += line.heard()
        return heard

    def test_multisearch(self) -> None:
        """Mailboxes are searched with and without the index, and the selected one stays as it is."""
        self.fill()
        self.ask(self.line, "EXAMINE Lists")
        for _ in range(2):
            answer = self.ask(self.line, "ESEARCH IN (personal) TEXT hello")
            self.assertRegex(answer, r"MAILBOX INBOX UIDVALIDITY \d+\) UID ALL 1\r\n")
            self.assertRegex(answer, r"MAILBOX Lists/twisted UIDVALIDITY \d+\) UID ALL 1\r\n")
            self.assertEqual(answer.count("ESEARCH (TAG"), 2)
            self.assertIn("t OK ESEARCH completed", answer)
            self.index()
        self.assertIn("* SEARCH 1\r\n", self.ask(self.line, "SEARCH SUBJECT helo"))

    def test_fuzzy(self) -> None:
        """FUZZY is announced, and finds and sorts by relevancy over several mailboxes and in one."""
        self.assertIn(" SEARCH=FUZZY", self.ask(self.line, "CAPABILITY"))
        self.fill()
        self.index()
        answer = self.ask(self.line, "ESEARCH IN (personal) RETURN (RELEVANCY ALL) FUZZY TEXT conect")
        self.assertEqual(answer.count("ESEARCH (TAG"), 0)
        answer = self.ask(self.line, "ESEARCH IN (personal) RETURN (RELEVANCY ALL) FUZZY TEXT connect")
        self.assertRegex(answer, r"INBOX UIDVALIDITY \d+\) UID ALL 1 RELEVANCY \(85\)")
        self.assertRegex(answer, r"Lists UIDVALIDITY \d+\) UID ALL 1 RELEVANCY \(72\)")
        self.ask(self.line, "SELECT INBOX")
        self.assertIn("* SORT 1\r\n", self.ask(self.line, "SORT (RELEVANCY) UTF-8 FUZZY SUBJECT helo"))

    def test_contexts(self) -> None:
        """Deliveries and flags change results, also those of text conditions and of SORT, while the client idles."""
        self.fill()
        self.ask(self.line, "SELECT INBOX")
        for command in (
            "a UID SEARCH RETURN (UPDATE) TEXT hello",
            "b UID SORT RETURN (UPDATE ALL) (SUBJECT) UTF-8 UNSEEN",
        ):
            heard = self.line.say(command) + self.flushed(self.line)
            self.assertIn(f"{command[0]} OK", heard)
        self.assertIn("+ idling", self.line.say("c IDLE"))
        self.flushed(self.line)
        self.add(_letter("jello", "hello again"))
        heard = self.flushed(self.line)
        self.assertIn("* 3 EXISTS", heard)
        self.assertIn('* ESEARCH (TAG "a") UID ADDTO (0 3)', heard)
        self.assertIn('* ESEARCH (TAG "b") UID ADDTO (2 3)', heard)
        self.line.say("DONE")
        answer = self.ask(self.line, "UID STORE 1 +FLAGS.SILENT (\\Seen)")
        self.assertIn('* ESEARCH (TAG "b") UID REMOVEFROM (1 1)', answer)
        self.assertNotIn('TAG "a"', answer)

    def test_uidonly(self) -> None:
        """After ENABLE UIDONLY what another session does is told by UID."""
        self.fill()
        other = self.log_in()
        self.ask(other, "SELECT INBOX")
        self.ask(self.line, "ENABLE UIDONLY")
        self.ask(self.line, "SELECT INBOX")
        self.ask(other, "STORE 1:2 +FLAGS (\\Deleted)")
        self.assertIn("* 1 UIDFETCH (FLAGS (\\Deleted))", self.ask(self.line, "NOOP"))
        self.ask(other, "EXPUNGE")
        self.add(_letter("new", "x"))
        self.assertIn("* VANISHED 1:2\r\n* 1 EXISTS", self.ask(self.line, "NOOP"))
        answer = self.ask(self.line, "UID FETCH 1:* (RFC822.SIZE BODY.PEEK[TEXT])")
        self.assertIn("* 3 UIDFETCH (RFC822.SIZE ", answer)
        self.assertIn("t BAD [UIDREQUIRED]", self.ask(self.line, "FETCH 1 FLAGS"))

    def test_messagelimit(self) -> None:
        """With a small limit the newest messages are done, and what the limit leaves out is found with UIDBEFORE."""
        for n in range(5):
            self.add(_letter(f"m{n}", "x"))
        connection = self.line.protocol.server.connection
        limits = evolve(connection.settings.limits, messages=2, messages_enforced=2)
        connection.settings = evolve(connection.settings, limits=limits)
        self.ask(self.line, "SELECT INBOX")
        self.assertIn("t OK [MESSAGELIMIT 2 4]", self.ask(self.line, "UID FETCH 1:* FLAGS"))
        self.assertIn("t OK [MESSAGELIMIT 2 4]", self.ask(self.line, "UID SEARCH SUBJECT m"))
        answer = self.ask(self.line, "UID SEARCH UIDBEFORE 4 SUBJECT m")
        self.assertIn("* SEARCH 2 3\r\n", answer)
        self.assertIn("t OK [MESSAGELIMIT 2 2]", answer)
        self.assertIn("t NO [MESSAGELIMIT 2 4]", self.ask(self.line, "COPY 1:* Lists"))
