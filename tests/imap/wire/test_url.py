"""URLs of messages: RFC 5092."""

import contextlib

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire.url import IMAPURL, Authorization, URLError, parse, render, render_rump

names = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=20)
partials = st.none() | st.tuples(st.integers(0, 10**9), st.none() | st.integers(1, 10**9))


class URLTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """The examples of RFC 4467 and RFC 4469."""
        url = parse(
            "imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred:internal:91354a473744909de610943775f92038"
        )
        self.assertEqual(
            (url.user, url.host, url.mailbox, url.uid, url.section),
            ("joe", "example.com", "Inbox", 20, "1.2"),
        )
        self.assertEqual(
            url.authorization,
            Authorization("submit+fred", None, "INTERNAL", "91354a473744909de610943775f92038"),
        )
        self.assertEqual(url.rump, "imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred")
        url = parse("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME")
        self.assertEqual(
            (url.mailbox, url.uidvalidity, url.uid, url.section), ("Drafts", 385759045, 20, "1.MIME")
        )

    def test_rump(self) -> None:
        """RFC 4467 section 3: what a server is asked to authorise says whose it is, who may read it and until when."""
        url = IMAPURL("a b", 20, "1.2", user="joe", host="example.com")
        for access in (Authorization("submit+fred", 1_700_000_000.5), Authorization("anonymous")):
            text = render_rump(evolve(url, authorization=access))
            read = parse(text)
            assert read.authorization is not None
            self.assertEqual(read.authorization.access, access.access)
            self.assertEqual(read.authorization.expire, access.expire and 1_700_000_000)
            self.assertEqual(
                (read.mailbox, read.user, read.host, read.rump), ("a b", "joe", "example.com", text)
            )
        for wrong in (
            url,
            evolve(url, user=None, authorization=access),
            evolve(url, host=None, authorization=access),
            evolve(url, authorization=Authorization("user+no one")),
            evolve(url, authorization=Authorization("submit+a%zz")),
            evolve(url, authorization=Authorization("root")),
            evolve(url, authorization=Authorization("authuser:internal:" + "0" * 32)),
        ):
            self.assertRaises(URLError, render_rump, wrong)

    def test_relative(self) -> None:
        """What has no slash in front begins where the mailbox is."""
        self.assertEqual(parse(";UID=20", base="A/B").mailbox, "A/B")
        self.assertEqual(parse("C/;UID=20", base="A/B").mailbox, "A/C")
        self.assertEqual(parse("C/;UID=20", base="A").mailbox, "C")
        self.assertEqual(parse("/C/;UID=20", base="A/B").mailbox, "C")
        self.assertEqual(parse("/inbox/;UID=20").mailbox, "Inbox")
        self.assertRaises(URLError, parse, ";UID=20")
        self.assertRaises(URLError, parse, "/;UID=20", "A")
        self.assertRaises(URLError, parse, "imap://x/;UID=20", "A")

    def test_escapes(self) -> None:
        """Names are UTF-8 in percent signs; what is not, is refused."""
        self.assertEqual(parse("/K%C3%B6rbe%20%3B/;UID=1").mailbox, "Körbe ;")
        for text in (
            "/a%zz/;UID=1",
            "/a%/;UID=1",
            "/%ff/;UID=1",
            "/a b/;UID=1",
            "/%00/;UID=1",
            "/%0d%0a/;UID=1",
            '/"/;UID=1',
        ):
            self.assertRaises(URLError, parse, text)

    def test_dots(self) -> None:
        """RFC 5092 section 7: levels of a mailbox's name that are dots are written in percent signs."""
        for name, written in (
            ("../a", "%2E%2E/a"),
            ("a/./b", "a/%2E/b"),
            ("a/..", "a/%2E%2E"),
            (".a/b../...", ".a/b../..."),
        ):
            self.assertEqual(render(IMAPURL(name, 1)), f"/{written}/;UID=1")
            self.assertEqual(parse(f"/{written}/;UID=1").mailbox, name)

    def test_dotless(self) -> None:
        """A name with a dotless i is not that of INBOX."""
        self.assertEqual(parse("/%C4%B1nbox/;UID=1").mailbox, "\u0131nbox")

    def test_not_of_messages(self) -> None:
        """URLs of servers, mailboxes, searches, other schemes, and nonsense are refused."""
        for text in (
            "imap://joe@example.com", "imap://joe@example.com/", "/INBOX", "/INBOX?SUBJECT%20x", "/INBOX/;UID=0",
            "/INBOX/;UID=4294967296", "/INBOX/;UID=1/;PARTIAL=1.0", "http://example.com/INBOX/;UID=1", "", "/",
            "/INBOX;UIDVALIDITY=0/;UID=1", "/INBOX/;UID=1;URLAUTH=root", "/INBOX/;UID=1;URLAUTH=authuser:internal:12",
            "/INBOX/;UID=1;EXPIRE=2020-01-01;URLAUTH=authuser", "x" * 9000,
        ):  # fmt: skip
            self.assertRaises(URLError, parse, text)

    def test_expire(self) -> None:
        """RFC 3339 section 5.6: EXPIRE is a date-time with its zone, perhaps a leap second, and no other form of ISO 8601."""
        for text, seconds in (
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2023-11-14t22:13:20.500z", 1_700_000_000.5),
            ("2023-11-15T00:13:20+02:00", 1_700_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
        ):
            authorization = parse(f"/INBOX/;UID=1;EXPIRE={text};URLAUTH=authuser").authorization
            assert authorization is not None
            self.assertEqual(authorization.expire, seconds, text)
        for text in ("20231114T221320Z", "2023-11-14T22:13Z", "2023-11-14T22:13:20", "2023-11-14T25:13:20Z"):
            self.assertRaises(URLError, parse, f"/INBOX/;UID=1;EXPIRE={text};URLAUTH=authuser")

    def test_access(self) -> None:
        """RFC 4467 section 9: who may read is encoded as a user is."""
        for access in ("user+a b", "submit+a%zz", "user+%ff", "user+a\r\nb"):
            self.assertRaises(URLError, parse, f"/INBOX/;UID=1;URLAUTH={access}")

    @given(
        names,
        st.integers(1, 2**32 - 1),
        names | st.just(""),
        partials,
        st.none() | st.integers(1, 2**32 - 1),
        st.none() | names,
    )
    @settings(max_examples=150)
    def test_round(
        self, mailbox: str, uid: int, section: str, partial: tuple[int, int | None] | None, validity: int | None, user: str | None
    ) -> None:  # fmt: skip
        """What is written is read again."""
        if mailbox.upper() == "INBOX":
            mailbox = "Inbox"
        url = IMAPURL(mailbox, uid, section, partial, validity, user, "mail.example.org" if user else None)
        text = render(url)
        found = parse(text)
        for name in ("mailbox", "uid", "section", "partial", "uidvalidity", "user", "host"):
            self.assertEqual(getattr(found, name), getattr(url, name), text)

    @given(st.text(st.sampled_from("imap:/;UIDSECTON=1.@%20?PARLURhtuser+:aF"), max_size=60))
    @settings(max_examples=200)
    def test_any_text(self, text: str) -> None:
        """Any text is a URL or an URLError."""
        with contextlib.suppress(URLError):
            self.assertGreater(parse(text, "Base").uid, 0)
