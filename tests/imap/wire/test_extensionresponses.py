"""Responses of extensions, as the examples of their RFCs have them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.responses import ResponseLimits, ResponseReader
from moxtwisted.imap.wire.sequence import SequenceSet


def read(octets: bytes) -> list[r.Response]:
    """All responses, the octets given whole."""
    reader = ResponseReader()
    reader.receive(octets)
    found = []
    while (response := reader.next()) is not None:
        found.append(response)
    return found


def one(text: bytes) -> r.Response:
    """A single response."""
    (response,) = read(text + b"\r\n")
    return response


def numbers(text: bytes) -> SequenceSet:
    """A set."""
    return SequenceSet.parse(text)


class SearchTests(SynchronousTestCase):
    def test_multisearch(self) -> None:
        """RFC 7377 section 2.1: each answer names its mailbox and UIDVALIDITY."""
        self.assertEqual(
            one(b'* ESEARCH (TAG "tag1" MAILBOX "folder1" UIDVALIDITY 1) UID ALL 4001,4003,4005,4007,4009'),
            r.EsearchData(b"tag1", True, {"ALL": numbers(b"4001,4003,4005,4007,4009")}, "folder1", 1),
        )

    def test_partial(self) -> None:
        """RFC 9394 section 3.1: a range and its members, or NIL."""
        self.assertEqual(
            one(b'* ESEARCH (TAG "A01") UID PARTIAL (-1:-100 200:250,252:300)'),
            r.EsearchData(b"A01", True, {"PARTIAL": ("-1:-100", numbers(b"200:250,252:300"))}),
        )
        self.assertEqual(
            one(b'* ESEARCH (TAG "A04") UID PARTIAL (24000:24500 NIL)'),
            r.EsearchData(b"A04", True, {"PARTIAL": ("24000:24500", None)}),
        )

    def test_context(self) -> None:
        """RFC 5267 section 4.3.2: changes of a result, several in one response, keep their order."""
        change = r.ContextChange
        self.assertEqual(
            one(b'* ESEARCH (TAG "B01") UID ADDTO (0 2748:2749 1 7) REMOVEFROM (0 32768) ADDTO (1 7,5)'),
            r.EsearchData(
                b"B01",
                True,
                {},
                changes=(
                    change(True, 0, numbers(b"2748:2749")),
                    change(True, 1, numbers(b"7")),
                    change(False, 0, numbers(b"32768")),
                    change(True, 1, numbers(b"7,5")),
                ),
            ),
        )

    def test_sort_and_thread(self) -> None:
        """RFC 5256 section 4: numbers in order; threads nested, empty ones too."""
        self.assertEqual(one(b"* SORT 5 3 4 1 2"), r.SortData((5, 3, 4, 1, 2)))
        self.assertEqual(one(b"* SORT"), r.SortData(()))
        self.assertEqual(one(b"* SORT 2 5 (MODSEQ 917162500)"), r.SortData((2, 5), 917162500))
        self.assertEqual(
            one(b"* THREAD (2)(3 6 (4 23)(44 7 96))"),
            r.ThreadData(((2,), (3, 6, (4, 23), (44, 7, 96)))),
        )
        self.assertEqual(one(b"* THREAD ((3)(5))"), r.ThreadData((((3,), (5,)),)))
        self.assertEqual(one(b"* THREAD"), r.ThreadData(()))


class AccountTests(SynchronousTestCase):
    def test_translation(self) -> None:
        """RFC 5255 section 3.4: what people shall see instead of a prefix."""
        data = one(
            b'* NAMESPACE (("" "/")) (("Other Users/" "/" "TRANSLATION" ("Andere Ben&APw-tzer/"))) '
            b'(("Shared/" "/" "X" ("y") "TRANSLATION" ()))'
        )
        self.assertEqual(
            data,
            r.NamespaceData(
                (("", "/"),),
                (("Other Users/", "/"),),
                (("Shared/", "/"),),
                {"Other Users/": "Andere Ben\u00fctzer/"},
            ),
        )

    def test_quota(self) -> None:
        """RFC 9208 section 4.2: resources with usage and limit; roots of a mailbox."""
        self.assertEqual(
            read(b'* QUOTAROOT INBOX "" "!partition/sda4"\r\n* QUOTA "" (STORAGE 10 512 MESSAGE 3 100)\r\n'),
            [
                r.QuotaRootData("INBOX", ("", "!partition/sda4")),
                r.QuotaData("", {"STORAGE": r.ResourceUse(10, 512), "MESSAGE": r.ResourceUse(3, 100)}),
            ],
        )

    def test_rights(self) -> None:
        """RFC 4314 section 3: lists, rights that can be given, own rights."""
        self.assertEqual(
            one(b"* ACL INBOX Fred rwipslxetad -Fred wetd $team w"),
            r.AclData("INBOX", (("Fred", "rwipslxetad"), ("-Fred", "wetd"), ("$team", "w"))),
        )
        self.assertEqual(
            one(b"* LISTRIGHTS ~/Mail/saved smith la r swicdkxte"),
            r.ListRightsData("~/Mail/saved", "smith", "la", ("r", "swicdkxte")),
        )
        self.assertEqual(one(b"* MYRIGHTS INBOX rwiptsldaex"), r.MyRightsData("INBOX", "rwiptsldaex"))

    def test_metadata(self) -> None:
        """RFC 5464 section 4.4: entries with values, literal8 among them, or names that have changed."""
        self.assertEqual(
            one(
                b'* METADATA "INBOX" (/private/comment "My comment" /shared/comment NIL /private/b ~{3}\r\na\0b)'
            ),
            r.MetadataData(
                "INBOX",
                {"/private/comment": b"My comment", "/shared/comment": None, "/private/b": b"a\0b"},
            ),
        )
        self.assertEqual(
            one(b'* METADATA "" /shared/comment /private/comment'),
            r.MetadataData("", {}, ("/shared/comment", "/private/comment")),
        )

    def test_urls_and_languages(self) -> None:
        """RFC 4467 section 7 and RFC 5255 section 3.2."""
        self.assertEqual(
            one(b'* GENURLAUTH "imap://joe@example.com/INBOX/;uid=20;urlauth=user+fred:internal:91354a47"'),
            r.UrlsData(("imap://joe@example.com/INBOX/;uid=20;urlauth=user+fred:internal:91354a47",)),
        )
        self.assertEqual(
            one(b'* URLFETCH "imap://a" {28}\r\nSi vis pacem, para bellum.\r\n "imap://b" NIL'),
            r.UrlData((("imap://a", b"Si vis pacem, para bellum.\r\n"), ("imap://b", None))),
        )
        self.assertEqual(one(b"* LANGUAGE (EN DE)"), r.LanguageData(("EN", "DE")))
        self.assertEqual(
            one(b'* JMAPACCESS "https://example.com/.s/[jmap]"'),
            r.JmapAccessData("https://example.com/.s/[jmap]"),
        )

    def test_uidonly(self) -> None:
        """RFC 9586 section 3.3: UIDFETCH has the UID in place of a number."""
        self.assertEqual(
            one(b"* 25996 UIDFETCH (FLAGS (\\Seen))"), r.Fetched(0, {"UID": 25996, "FLAGS": ("\\Seen",)})
        )

    def test_namespace(self) -> None:
        """RFC 2342 section 5: prefixes are decoded."""
        self.assertEqual(
            one(b'* NAMESPACE (("" "/")) (("Entw&APw-rfe/" "/")) NIL'),
            r.NamespaceData((("", "/"),), (("Entwürfe/", "/"),), ()),
        )

    def test_nonsense(self) -> None:
        """What has not the shape is bad, and nothing breaks."""
        for text in (
            b"* QUOTA x (STORAGE 1)",
            b"* QUOTA x (STORAGE (1) 2)",
            b"* ACL INBOX fred",
            b"* LISTRIGHTS INBOX fred",
            b"* METADATA INBOX (/a)",
            b"* METADATA INBOX (/a (b))",
            b"* ESEARCH (TAG x MAILBOX) ALL 1",
            b"* ESEARCH PARTIAL 5",
            b"* ESEARCH ADDTO (1)",
            b"* ESEARCH ADDTO (x 1)",
            b"* ESEARCH REMOVEFROM (NIL 1)",
            b"* SORT 1 x",
            b"* THREAD x",
            b"* URLFETCH a",
            b"* LANGUAGE x",
            b"* JMAPACCESS NIL",
            b"* 0 UIDFETCH (FLAGS ())",
        ):
            self.assertIsInstance(one(text), r.BadResponse, text)


class StreamTests(SynchronousTestCase):
    def streamed(self, octets: bytes, size: int, limit: int = 10) -> tuple[list[r.Response], bytes]:
        """The responses without the pieces, and the pieces joined."""
        reader = ResponseReader()
        reader.stream_octets = limit
        found, pieces = [], b""
        for at in range(0, len(octets), size):
            reader.receive(octets[at : at + size])
            while (response := reader.next()) is not None:
                if isinstance(response, r.LiteralData):
                    pieces += response.octets
                else:
                    found.append(response)
        return found, pieces

    def test_large_sections_come_in_pieces(self) -> None:
        """Whatever the cuts, a large section is handed out before its response, which has its size."""
        octets = b"* 3 FETCH (UID 7 BODY[] {26}\r\nabcdefghijklmnopqrstuvwxyz FLAGS ())\r\n* 4 EXISTS\r\n"
        for size in (1, 7, 1000):
            found, pieces = self.streamed(octets, size)
            self.assertEqual(
                found,
                [
                    r.LiteralStart(3, 7, "BODY[]", 26),
                    r.LiteralEnd(),
                    r.Fetched(3, {"UID": 7, "BODY[]": r.Streamed(26), "FLAGS": ()}),
                    r.Exists(4),
                ],
            )
            self.assertEqual(pieces, b"abcdefghijklmnopqrstuvwxyz")

    def test_what_is_no_section_is_kept(self) -> None:
        """Only sections of messages are handed out; other large literals count against the limits."""
        octets = b"* 3 FETCH (ENVELOPE (NIL {26}\r\nabcdefghijklmnopqrstuvwxyz NIL NIL NIL NIL NIL NIL NIL NIL))\r\n"
        found, pieces = self.streamed(octets, 5)
        self.assertEqual(pieces, b"")
        self.assertIsInstance(found[0], r.Fetched)
        found, _ = self.streamed(b"* LIST () NIL {26}\r\nabcdefghijklmnopqrstuvwxyz\r\n", 5)
        self.assertIsInstance(found[0], r.ListData)

    def test_a_section_of_any_size(self) -> None:
        """What passes through does not count against the limits."""
        reader = ResponseReader(ResponseLimits(line_octets=100, literal_octets=10, response_octets=20))
        reader.stream_octets = 5
        reader.receive(b"* 1 FETCH (BINARY[1] ~{1000}\r\n")
        self.assertEqual(reader.next(), r.LiteralStart(1, None, "BINARY[1]", 1000))
        for _ in range(100):
            reader.receive(b"\0" * 10)
            self.assertEqual(reader.next(), r.LiteralData(b"\0" * 10))
        self.assertEqual(reader.next(), r.LiteralEnd())
        reader.receive(b" UID 9)\r\n")
        self.assertEqual(reader.next(), r.Fetched(1, {"BINARY[1]": r.Streamed(1000), "UID": 9}))

    def test_many_beginnings(self) -> None:
        """A line of many sections that begin and do not end is looked through once: what has a bracket in it does not pass through."""
        found, pieces = self.streamed(b"* 1 FETCH (BODY[HEADER.FIELDS (a[)] {6}\r\nabcdef)\r\n", 5)
        self.assertEqual(pieces, b"")
        self.assertEqual(found, [r.Fetched(1, {"BODY[HEADER.FIELDS (A[)]": b"abcdef"})])
        reader = ResponseReader(ResponseLimits(literal_octets=10))
        reader.stream_octets = 5
        reader.receive(b"* 1 FETCH (" + b" BODY[" * 100_000 + b" {1000}\r\n")
        self.assertIsInstance(reader.next(), r.BadResponse)

    def test_long_lines_cost_no_more(self) -> None:
        """A line that comes octet by octet is joined once."""
        reader = ResponseReader()
        text = b"* SEARCH " + b"1 " * 50_000
        for at in range(0, len(text), 10):
            reader.receive(text[at : at + 10])
            self.assertIsNone(reader.next())
        reader.receive(b"\r\n")
        response = reader.next()
        assert isinstance(response, r.SearchData)
        self.assertEqual(len(response.numbers), 50_000)
