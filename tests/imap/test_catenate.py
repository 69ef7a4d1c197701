"""RFC 4469: messages that the server puts together, by the examples of the RFC and beyond them."""

import random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError
from moxtwisted.imap import memory
from moxtwisted.imap.commands import catenate
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.memorysharing import SharedMemoryMail, SharingAuthenticator
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import Driver, counted_entropy
from moxtwisted.imap.work import Run

ORIGINAL = (
    b"From: Bob Ar <bar@example.org>\r\nSubject: the old one\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="030308"\r\n\r\n'
    b"--030308\r\nContent-Type: text/plain\r\n\r\nA text.\r\n"
    b"--030308\r\nContent-Type: application/x-zip-compressed\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBA==\r\n"
    b"--030308--\r\n"
)
HEADER, BODY = ORIGINAL[: ORIGINAL.index(b"--030308")], ORIGINAL[ORIGINAL.index(b"--030308") :]
MIME1 = b"Content-Type: text/plain\r\n\r\n"
BOUNDARY = b"\r\n--030308\r\n"
END = b"\r\n--030308--\r\n"


class CatenateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.mail: MemoryMail = SharedMemoryMail()
        self.mail.make("Drafts")
        for _ in range(20):
            self.mail.add("Drafts", ORIGINAL)
        self.other: MemoryMail = SharedMemoryMail()
        self.other.add("INBOX", b"Subject: of bob\r\n\r\nsecret\r\n")
        self.validity = self.mail.find("Drafts").uidvalidity
        self.one = self.driver()

    def driver(self, user: str = "alice", limits: Limits | None = None) -> Driver:
        settings = ServerSettings(
            hostname="mail.example.org",
            allow_plain_without_tls=True,
            timeouts=Timeouts(login_failure_pause=0.0),
            limits=limits or Limits(),
        )
        users = {"alice": ("secret", self.mail), "bob": ("secret", self.other)}
        if not hasattr(self, "authenticator"):
            self.authenticator = SharingAuthenticator(users, counted_entropy())
        made = Driver.of(authenticator=self.authenticator, settings=settings)
        made.command(f"LOGIN {user} secret")
        return made

    def say(self, *pieces: bytes | str, cuts: random.Random | None = None) -> bytes:
        """Send a command of text and (in bytes) literals, waiting for each continuation when there are no cuts."""
        driver = self.one
        driver.received()
        if cuts is None:
            said = b""
            line = b""
            for piece in pieces:
                if isinstance(piece, str):
                    line += piece.encode()
                    continue
                driver.send(line + b"{%d}\r\n" % len(piece))
                said = driver.received()
                if not said.startswith(b"+ "):
                    return said
                driver.send(piece)
                line = b""
            driver.send(line + b"\r\n")
            return driver.received()
        octets = (
            b"".join(p.encode() if isinstance(p, str) else b"{%d+}\r\n%b" % (len(p), p) for p in pieces)
            + b"\r\n"
        )
        while octets:
            cut = cuts.randrange(1, 40)
            driver.send(octets[:cut])
            octets = octets[cut:]
        return driver.received()

    def newest(self, mailbox: str = "Drafts") -> bytes:
        box = self.mail.find(mailbox)
        return box.messages[box.uids[-1]].octets

    def url(self, rest: str, uid: int = 20) -> str:
        return f'URL "/Drafts;UIDVALIDITY={self.validity}/;UID={uid}{rest}"'

    def example(self) -> tuple[bytes | str, ...]:
        return (
            "A003 APPEND Drafts (\\Seen \\Draft $MDNSent) CATENATE ("
            + self.url("/;section=HEADER")
            + " TEXT ",
            BOUNDARY,
            f" {self.url('/;section=1.MIME')} {self.url('/;section=1')} TEXT ",
            BOUNDARY,
            f" {self.url('', 19)} TEXT ",
            END,
            ")",
        )

    def test_first_example(self) -> None:
        """Replace an attachment without moving the rest, whole and in pieces."""
        wanted = HEADER + BOUNDARY + MIME1 + b"A text." + BOUNDARY + ORIGINAL + END
        for cuts in (None, *(random.Random(seed) for seed in range(20))):
            self.assertIn(b"A003 OK [APPENDUID", self.say(*self.example(), cuts=cuts))
            self.assertEqual(self.newest(), wanted)
        flags = self.mail.find("Drafts").flags[-1]
        self.assertEqual(set(flags.names), {"\\Seen", "\\Draft", "$MDNSent"})
        self.assertNotIn("\\Seen", self.mail.find("Drafts").flags[19].names)

    def test_bad_url(self) -> None:
        """The last example of the RFC: the URL of a message that is gone ends the command before the next text is asked for."""
        box = self.mail.find("Drafts")
        count = len(box.uids)
        said = self.say(
            "A003 APPEND Drafts CATENATE (TEXT ",
            b"Subject: digest\r\n\r\n",
            f" {self.url('', 99)} TEXT ",
            END,
            ")",
        )
        self.assertTrue(
            said.startswith(f'A003 NO [BADURL "/Drafts;UIDVALIDITY={self.validity}/;UID=99"] '.encode()), said
        )
        for bad in (
            '"/Drafts;UIDVALIDITY=77/;UID=20"', "/Drafts/;UID=20/;SECTION=9.9", "/Nowhere/;UID=1", "rubbish", '"]\\"%"', ";UID=20",
            "imap://bob@mail.example.org/INBOX/;UID=1", "imap://alice@other.example.org/Drafts/;UID=1",
            '"/Drafts/;UID=20/;SECTION=1%5D%20FLAGS"', "imap://bob@mail.example.org/INBOX/;UID=1;URLAUTH=anonymous:internal:" + "0" * 66,
        ):  # fmt: skip
            said = self.say(f"A4 APPEND Drafts CATENATE (URL {bad})")
            self.assertTrue(said.startswith(b'A4 NO [BADURL "'), (bad, said))
            self.assertEqual(said.count(b"\r\n"), 1)
            self.assertEqual(said.split(b"] ")[0].count(b'"'), 2)
        self.assertEqual(len(box.uids), count)
        self.assertIn(b"OK", self.one.command("NOOP")[-1])

    def test_urls_alone(self) -> None:
        """A message may be made of URLs without any text; several messages in one command, mixed with plain ones."""
        self.assertIn(b"a OK", self.say(f"a APPEND Drafts CATENATE ({self.url('')})"))
        self.assertEqual(self.newest(), ORIGINAL)
        said = self.say(
            f"a APPEND Drafts CATENATE ({self.url('/;section=HEADER')}) (\\Flagged) CATENATE ({self.url('')} TEXT ", b"x",
            ' TEXT ', b"y", ') "17-Jul-1996 02:44:25 -0700" ', b"a: plain\r\n\r\n", f" CATENATE ({self.url('')})",
        )  # fmt: skip
        self.assertRegex(said, rb"a OK \[APPENDUID \d+ \d+:\d+\]")
        box = self.mail.find("Drafts")
        made = [box.messages[uid].octets for uid in box.uids[-4:]]
        self.assertEqual(made, [HEADER, ORIGINAL + b"xy", b"a: plain\r\n\r\n", ORIGINAL])
        self.assertEqual([list(flags.names) for flags in box.flags[-4:]], [[], ["\\Flagged"], [], []])

    def test_url_as_literal(self) -> None:
        """A URL may be sent as a literal, anywhere."""
        text = f"/Drafts;UIDVALIDITY={self.validity}/;UID=20/;section=1".encode()
        for cuts in (None, random.Random(1)):
            said = self.say(
                "a APPEND ",
                b"Drafts",
                " CATENATE (URL ",
                text,
                " TEXT ",
                b"-",
                " URL ",
                text,
                " URL ",
                text,
                ")",
                cuts=cuts,
            )
            self.assertIn(b"a OK", said)
            self.assertEqual(self.newest(), b"A text.-A text.A text.")

    def test_relative_and_absolute(self) -> None:
        """URLs are relative to the selected mailbox, or absolute ones of the user, or authorised by others."""
        self.one.command("SELECT Drafts")
        self.assertIn(
            b"a OK",
            self.say(
                "a APPEND Drafts CATENATE (URL ;UID=20/;SECTION=1 URL Drafts/;UID=20/;SECTION=1/;PARTIAL=2)"
            ),
        )
        self.assertEqual(self.newest(), b"A text.text.")
        self.assertIn(
            b"a OK",
            self.say(
                "a APPEND Drafts CATENATE (URL imap://alice@MAIL.example.org/Drafts/;UID=20/;SECTION=1)"
            ),
        )
        bob = self.driver("bob")
        made = bob.command(
            'GENURLAUTH "imap://bob@mail.example.org/INBOX/;UID=1/;SECTION=TEXT;URLAUTH=user+alice" INTERNAL'
        )
        self.assertIn(b"a OK", self.say(f"a APPEND Drafts CATENATE (URL {made[0].decode().split(' ')[2]})"))
        self.assertEqual(self.newest(), b"secret\r\n")

    def test_limits(self) -> None:
        """A message over the limit is TOOBIG, whether texts or URLs make it so; URLs of many messages count together."""
        small = Limits(append_octets=2 * len(ORIGINAL) + 10)
        self.one = self.driver(limits=small)
        twice = f"{self.url('')} {self.url('')}"
        self.assertIn(b"a OK", self.say(f"a APPEND Drafts CATENATE ({twice})"))
        self.assertIn(b"a NO [TOOBIG]", self.say(f"a APPEND Drafts CATENATE ({twice} {self.url('')})"))
        self.assertIn(b"a NO [TOOBIG]", self.say(f"a APPEND Drafts CATENATE ({twice} TEXT ", b"x" * 11, ")"))
        self.assertIn(
            b"a NO [TOOBIG]",
            self.say(
                "a APPEND Drafts CATENATE (TEXT ", b"x" * (small.append_octets - 5), " TEXT ", b"x" * 6, ")"
            ),
        )
        self.assertIn(b"a NO [TOOBIG]", self.say(f"a APPEND Drafts CATENATE ({twice}) CATENATE ({twice})"))
        self.assertIn(b"OK", self.one.command("NOOP")[-1])

    def test_many_literals(self) -> None:
        """So many URLs may be literals; more, which would take the server a second to read, are refused."""
        for count, answer in ((99, b"a NO [BADURL"), (101, b"a BAD [TOOBIG] too many URLs as literals")):
            urls = b" ".join([b"URL {2+}\r\n/a"] * count)
            self.one.received()
            self.one.send(b"a APPEND Drafts CATENATE (%b)\r\nb NOOP\r\n" % urls)
            said = self.one.received()
            self.assertTrue(said.startswith(answer), said[:200])
            self.assertIn(b"b OK", said)

    def test_bad_syntax(self) -> None:
        """What is not the grammar is BAD, and the connection goes on."""
        for line in (
            "CATENATE", "CATENATE ", "CATENATE ()", "CATENATE (", "CATENATE (URL x", "CATENATE (URL x ", "CATENATE (TEXT x)",
            "CATENATE (TEXT)", "CATENATE (FILE x)", "CATENATE (URL x) ", "CATENATE (URL x) (\\Seen)", "CATENATE (URL x)x", "(\\Seen)",
        ):  # fmt: skip
            self.one.command("NOOP")
            self.assertIn(b" BAD ", self.one.command(f"APPEND Drafts {line}")[-1], line)
        many = " ".join(["URL x"] * 1001)
        self.assertIn(b" BAD [TOOBIG] ", self.one.command(f"APPEND Drafts CATENATE ({many})")[-1])
        self.one.command("NOOP")
        for rest in (" URL x", " TEXT", "))", " ) x", " FILE"):
            self.assertIn(b"a BAD", self.say("a APPEND Drafts CATENATE (TEXT ", b"x", rest))
            self.one.command("NOOP")

    def test_empty(self) -> None:
        """A message of no octets is no message."""
        self.assertIn(b"a NO empty message", self.say("a APPEND Drafts CATENATE (TEXT ", b"", ")"))
        self.assertIn(
            b"a NO empty message", self.say("a APPEND Drafts CATENATE (URL /Drafts/;UID=20/;PARTIAL=99999)")
        )

    def test_replace(self) -> None:
        """RFC 8508 section 4.2: REPLACE takes the same, also of URLs alone, and one message only."""
        self.one.command("SELECT Drafts")
        said = self.say(
            f"a UID REPLACE 20 Drafts CATENATE ({self.url('/;section=HEADER')} TEXT ", b"new\r\n", ")"
        )
        self.assertIn(b"a OK", said)
        self.assertEqual(self.newest(), HEADER + b"new\r\n")
        self.assertIsNone(self.mail.find("Drafts").messages.get(20))
        self.assertIn(b"a OK", self.say(f"a REPLACE 1 Drafts CATENATE ({self.url('', 19)})"))
        self.assertIn(b"a OK", self.say(f"a UID REPLACE * Drafts CATENATE ({self.url('', 19)})"))
        self.assertEqual(self.newest(), ORIGINAL)
        self.assertIn(
            b"a BAD",
            self.say(f"a REPLACE 1 Drafts CATENATE ({self.url('', 19)}) CATENATE ({self.url('', 19)})"),
        )
        self.assertIn(b"a BAD", self.say("a REPLACE 1 Drafts CATENATE (TEXT ", b"x", ") ", b"y"))
        self.assertIn(b"a NO [BADURL", self.say("a REPLACE 1 Drafts CATENATE (URL /X/;UID=1)"))

    def test_backend_fails(self) -> None:
        """What the backend cannot give just now is the refusal of the command, not the end of the session."""

        async def busy(*_: object, **__: object) -> None:
            raise MailError("busy", public_text="too busy")

        self.patch(catenate, "open_part", busy)
        for said in (
            self.say(f"a APPEND Drafts CATENATE ({self.url('')} TEXT ", b"x", ")"),
            self.say(f"a APPEND Drafts CATENATE ({self.url('')})"),
        ):
            self.assertIn(b"a NO too busy", said)
        self.assertIn(b" OK ", self.one.command("NOOP")[-1])

    def test_client_leaves(self) -> None:
        """When the client goes while a URL is copied, the messages behind it are not begun."""
        waiting: Deferred[None] = Deferred()

        async def pause(_seconds: float) -> None:
            await waiting

        made = []
        append_sink = memory._Session.append_sink

        def counted(session: Any, mailbox: str, size: int) -> Any:
            made.append(mailbox)
            return append_sink(session, mailbox, size)

        self.patch(memory._Session, "append_sink", counted)
        self.patch(catenate, "_TURN_OCTETS", 1)
        server = self.one.server
        server.connection.pause = pause
        url = self.url("")
        server.receive(f"a APPEND Drafts CATENATE ({url}) CATENATE ({url} TEXT {{1}}\r\n".encode())
        work = server.next_work()
        assert isinstance(work, Run), work
        done = Deferred.fromCoroutine(work.coroutine)
        server.lost()
        waiting.callback(None)
        self.assertIs(self.successResultOf(done), None)
        self.assertEqual(made, ["Drafts"])

    def test_not_there(self) -> None:
        """A missing target is TRYCREATE, before any text; a disabled CATENATE is BAD."""
        self.assertIn(
            b"a NO [TRYCREATE]", self.say(f"a APPEND Nowhere CATENATE ({self.url('')} TEXT ", b"x", ")")
        )
        self.mail.disabled_capabilities = frozenset(["CATENATE"])
        self.one = self.driver()
        self.assertIn(
            b"a BAD CATENATE is not", self.say(f"a APPEND Drafts CATENATE ({self.url('')} TEXT ", b"x", ")")
        )
