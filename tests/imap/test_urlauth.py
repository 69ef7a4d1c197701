"""RFC 4467: URLs of messages that others may read."""

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.memorysharing import SharedMemoryMail, SharingAuthenticator
from moxtwisted.imap.testing import Driver, FixedClock, counted_entropy
from moxtwisted.imap.urlauth import is_token, make_token

LETTER = (
    b"Subject: latin\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain\r\n\r\nSi vis pacem, para bellum.\r\n"
    b"--x\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--x--\r\n"
)
URL = "imap://joe@mail.example.org/INBOX/;uid=1"


class URLAuthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = FixedClock()
        self.mails: dict[str, MemoryMail] = {
            name: SharedMemoryMail() for name in ("joe", "fred", "submitserver")
        }
        self.mails["joe"].add("INBOX", LETTER)
        users = {name: ("secret", mail) for name, mail in self.mails.items()}
        self.authenticator = SharingAuthenticator(users, counted_entropy())
        self.authenticator.submitters = frozenset(["submitserver"])
        self.joe = self.driver("joe")

    def driver(self, user: str) -> Driver:
        made = Driver.of(authenticator=self.authenticator, clock=self.clock)
        made.command(f"LOGIN {user} secret")
        return made

    def url(self, rest: str = ";urlauth=authuser") -> str:
        """An authorised URL of Joe's."""
        said = self.joe.command(f'GENURLAUTH "{URL}{rest}" INTERNAL')
        self.assertIn(b" OK ", said[-1], rest)
        return said[0].decode().split(" ", 2)[2].strip('"')

    def fetch(self, url: str, user: str = "fred") -> bytes | None:
        said = self.driver(user).command(f'URLFETCH "{url}"')
        self.assertIn(b" OK ", said[-1])
        head, _, octets = said[0].partition(b"\r\n")
        if head.endswith(b" NIL"):
            return None
        self.assertTrue(head.endswith(b"{%d}" % len(octets)), head)
        return octets

    def test_example(self) -> None:
        """The submission server reads the part of a URL for submit+fred, and nobody else does."""
        url = self.url("/;section=1;urlauth=submit+fred")
        self.assertTrue(url.startswith(f"{URL}/;section=1;urlauth=submit+fred:internal:01"))
        self.assertEqual(self.fetch(url, "submitserver"), b"Si vis pacem, para bellum.")
        self.assertIsNone(self.fetch(url, "fred"))
        self.assertIsNone(self.fetch(url, "joe"))

    def test_access(self) -> None:
        """URLs for a user are read by that user alone; those for authuser and anonymous by everybody who logged in."""
        for access, readers in (
            ("user+fred", {"fred"}),
            ("user+joe", {"joe"}),
            ("user+nobody", set()),
            ("authuser", {"fred", "joe"}),
            ("anonymous", {"fred", "joe"}),
        ):
            url = self.url(f";urlauth={access}")
            for user in ("fred", "joe"):
                self.assertEqual(self.fetch(url, user), LETTER if user in readers else None, (access, user))

    def test_refusals_of_genurlauth(self) -> None:
        """What is no URL of one's own messages with an access identifier is BAD."""
        for url in (
            URL,
            "imap://mail.example.org/INBOX/;uid=1;urlauth=user+fred",
            "imap://fred@mail.example.org/INBOX/;uid=1;urlauth=authuser",
            "imap://nobody@mail.example.org/INBOX/;uid=1;urlauth=authuser",
            "imap://joe@other.example.org/INBOX/;uid=1;urlauth=authuser",
            "imap://joe@mail.example.org/Nowhere/;uid=1;urlauth=authuser",
            "imap://joe@mail.example.org/INBOX;urlauth=authuser",
            "imap://joe@mail.example.org/INBOX/;uid=1;urlauth=root",
            "imap://joe@mail.example.org/INBOX/;uid=1;expire=tomorrow;urlauth=authuser",
            "imap://joe@mail.example.org/INBOX/;uid=1;urlauth=user+no one",
            "imap://joe@mail.example.org/INBOX/;uid=1;urlauth=user+no%ff",
            "imap://joe@mail.example.org/INBOX/;uid=1;urlauth=submit+no%zz",
            "http://joe@mail.example.org/INBOX/;uid=1;urlauth=authuser",
            self.url(),
        ):
            self.assertIn(b" BAD ", self.joe.command(f'GENURLAUTH "{url}" INTERNAL')[-1], url)
            self.joe.command("NOOP")
        self.assertIn(b" BAD ", self.joe.command(f'GENURLAUTH "{URL};urlauth=authuser" XSAMPLE')[-1])

    def test_nothing_else_is_told(self) -> None:
        """A URL that was touched, is of nobody, of no message, or is no such URL, is NIL."""
        good = self.url()
        self.assertEqual(self.fetch(good), LETTER)
        for url in (
            good[:-1] + ("0" if good[-1] != "0" else "1"),
            good.replace("uid=1", "uid=2"),
            good.replace("INBOX", "inbox"),
            good.replace("INBOX", "Nowhere"),
            good.replace("joe", "nobody"),
            good.replace("mail.", "x."),
            good.replace("authuser", "anonymous"),
            good.replace(":internal:", ":other:"),
            URL,
            URL + ";urlauth=authuser",
            "imap://joe@mail.example.org/",
            "rubbish",
            self.url().replace("uid=1;", "uid=1/;section=1;"),
            self.url("/;section=7;urlauth=authuser"),
            self.url("/;section=1%5D%20FLAGS;urlauth=authuser"),
        ):
            self.assertIsNone(self.fetch(url), url)

    def test_expire(self) -> None:
        """After its date a URL is worth nothing."""
        url = self.url(";expire=2023-11-14T22:14:00Z;urlauth=authuser")
        self.assertEqual(self.fetch(url), LETTER)
        self.clock.now += 41
        self.assertIsNone(self.fetch(url))

    def test_resetkey(self) -> None:
        """A new key makes the URLs of that mailbox, or of all, worth nothing."""
        self.joe.command("CREATE Other")
        self.mails["joe"].add("Other", LETTER)
        inbox = self.url()
        said = self.joe.command(f'GENURLAUTH "{URL.replace("INBOX", "Other")};urlauth=authuser" INTERNAL')
        other = said[0].decode().split('"')[1]
        self.assertIn(b" OK [URLMECH INTERNAL] ", self.joe.command("RESETKEY INBOX INTERNAL")[-1])
        self.assertIsNone(self.fetch(inbox))
        self.assertEqual(self.fetch(other), LETTER)
        self.assertIn(b"OK all keys removed", self.joe.command("RESETKEY")[-1])
        self.assertIsNone(self.fetch(other))
        self.assertIn(b" BAD ", self.joe.command("RESETKEY INBOX XSAMPLE")[-1])
        self.assertIn(b" NO ", self.joe.command("RESETKEY Nowhere")[-1])

    def test_sections_and_partials(self) -> None:
        """Sections and ranges are those of FETCH."""
        self.joe.command("SELECT INBOX")
        for section in (
            "HEADER",
            "TEXT",
            "1",
            "2.MIME",
            "HEADER.FIELDS%20(Subject)",
            "HEADER.FIELDS.NOT%20(Subject)",
        ):
            plain = section.replace("%20", " ")
            said = b"\r\n".join(self.joe.command(f"FETCH 1 BODY.PEEK[{plain}]")[:-1])
            octets = self.fetch(self.url(f"/;section={section};urlauth=authuser"))
            self.assertIn(b"{%d}\r\n%b)" % (len(octets or b""), octets or b""), said)
        self.assertEqual(self.fetch(self.url("/;partial=9.5;urlauth=authuser")), b"latin")
        self.assertEqual(self.fetch(self.url("/;section=1/;partial=14;urlauth=authuser")), b"para bellum.")
        self.assertEqual(self.fetch(self.url("/;partial=99999;urlauth=authuser")), b"")

    def test_large(self) -> None:
        """A large message is sent in pieces."""
        big = b"Subject: big\r\n\r\n" + b"x" * 1_000_000
        self.mails["joe"].add("INBOX", big)
        said = self.joe.command(f'GENURLAUTH "{URL.replace("uid=1", "uid=2")};urlauth=authuser" INTERNAL')
        self.assertEqual(self.fetch(said[0].decode().split('"')[1]), big)

    def test_sessions_are_given_back(self) -> None:
        """The owner's mail is let go."""
        url = self.url()
        before = self.mails["joe"].sessions
        self.fetch(url, "submitserver")
        self.fetch(url.replace("INBOX", "Nowhere"), "submitserver")
        self.assertEqual(self.mails["joe"].sessions, before)

    def test_tokens(self) -> None:
        """A token says which algorithm made it, and its case does not matter."""
        token = make_token(b"k" * 32, "imap://x")
        self.assertEqual((token[:2], len(token)), ("01", 66))
        self.assertTrue(is_token(b"k" * 32, "imap://x", token.upper()))
        self.assertFalse(is_token(b"k" * 32, "imap://y", token))
        self.assertFalse(is_token(b"l" * 32, "imap://x", token))
