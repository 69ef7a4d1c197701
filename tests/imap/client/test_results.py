"""Typed results, from the responses of the wire."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.client.notices import (
    Alert,
    ContextChanged,
    Farewell,
    MailboxListed,
    MailboxStatus,
    MessageChanged,
    MetadataChanged,
    NamespacesTold,
    NotificationsLost,
    Other,
    Progressed,
    QuotaExceeded,
    UpdatesRefused,
    Vanished,
    notice,
)
from moxtwisted.imap.client.results import (
    EnvelopeAddress,
    Message,
    ResultError,
    Thread,
    members,
    message,
    search_result,
    threads,
)
from moxtwisted.imap.client.statusitems import MailboxNumbers
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.sequence import SequenceSet
from tests.imap.wire.test_extensionresponses import one

ENVELOPE = (
    b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" '
    b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) '
    b'(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) '
    b'((NIL NIL "friends" NIL)(NIL NIL "minutes" "CNRI.Reston.VA.US")(NIL NIL NIL NIL)) NIL NIL '
    b'"<B27397-0100000@cac.washington.ed>")'
)
PLAIN = b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23)'
FILE = (
    b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII" "NAME" "cc.diff") "<960723163407.20117h@cac.washington.edu>" '
    b'"Compiler diff" "BASE64" 4554 73 NIL ("attachment" ("filename" "x.diff")) ("en" "de") "http://x")'
)


def fetched(items: bytes) -> Message:
    """A message."""
    response = one(b"* 12 FETCH (" + items + b")")
    assert isinstance(response, r.Fetched), response
    return message(response)


class MessageTests(SynchronousTestCase):
    def test_envelope(self) -> None:
        """RFC 9051 section 7.5.2: the example's envelope, with a group."""
        envelope = fetched(b"ENVELOPE " + ENVELOPE).envelope
        assert envelope is not None
        self.assertEqual(envelope.subject, "IMAP4rev2 WG mtg summary and minutes")
        self.assertEqual(envelope.from_, (EnvelopeAddress("Terry Gray", "gray", "cac.washington.edu"),))
        self.assertEqual([one.address for one in envelope.cc], ["", "minutes@CNRI.Reston.VA.US", ""])
        self.assertEqual((envelope.bcc, envelope.in_reply_to), ((), ""))

    def test_structure(self) -> None:
        """Parts know their section: of a multipart, of a message within, and of a multipart in that."""
        inner = b"(" + PLAIN + FILE + b' "MIXED")'
        rfc822 = b'("MESSAGE" "RFC822" NIL NIL NIL "8BIT" 300 ' + ENVELOPE + b" " + inner + b" 40)"
        single = b'("MESSAGE" "RFC822" NIL NIL NIL "8BIT" 300 ' + ENVELOPE + b" " + PLAIN + b" 40)"
        structure = fetched(
            b"BODYSTRUCTURE (" + PLAIN + rfc822 + single + b' "MIXED" ("BOUNDARY" "d3438gr7324") NIL NIL NIL)'
        ).structure
        assert structure is not None
        self.assertEqual(
            [(part.section, part.media_type) for part in structure.walk()],
            [
                ("", "multipart/mixed"),
                ("1", "text/plain"),
                ("2", "message/rfc822"),
                ("2", "multipart/mixed"),
                ("2.1", "text/plain"),
                ("2.2", "text/plain"),
                ("3", "message/rfc822"),
                ("3.1", "text/plain"),
            ],
        )
        self.assertEqual(structure.parameters, {"boundary": "d3438gr7324"})
        part = next(part for part in structure.walk() if part.section == "2.2")
        self.assertEqual(
            (part.encoding, part.size_octets, part.lines, part.disposition, part.file_name, part.languages),
            ("base64", 4554, 73, "attachment", "x.diff", ("en", "de")),
        )

    def test_structures_of_servers_in_use(self) -> None:
        """What is left out, or not known, and dispositions and parameters in other shapes, are no reason to know nothing of the message."""
        message = b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 100 '
        for said, meant in {
            b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" -1 -1)': (0, None, "", {}),
            b'("TEXT" "PLAIN" "" NIL NIL "7BIT" NIL NIL NIL ("inline" "") NIL)': (0, None, "inline", {}),
            b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1 NIL "attachment" NIL NIL)': (5, 1, "attachment", {}),
            b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1 NIL ("attachment") NIL)': (5, 1, "attachment", {}),
            b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1 "" "" "" "")': (5, 1, "", {}),
            b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1 NIL () NIL)': (5, 1, "", {}),
            message + b")": (100, None, "", {}),
            message + b'NIL ("attachment" ("filename" "x")) NIL)': (
                100,
                None,
                "attachment",
                {"filename": "x"},
            ),
            message + ENVELOPE + b")": (100, None, "", {}),
            message + ENVELOPE + b" NIL 3)": (100, 3, "", {}),
            message + ENVELOPE + b" " + PLAIN + b")": (100, None, "", {}),
            message + ENVELOPE + b" " + PLAIN + b" NIL NIL (NIL NIL))": (100, None, "", {}),
        }.items():
            part = fetched(b"BODYSTRUCTURE " + said).structure
            assert part is not None
            known = (part.size_octets, part.lines, part.disposition, dict(part.disposition_parameters))
            self.assertEqual(known, meant, said)
            self.assertEqual([one.section for one in part.parts], ["1.1"] if PLAIN in said else [], said)
        for said in (b"-1", b"NIL"):
            self.assertIsNone(fetched(b"RFC822.SIZE " + said + b" UID 3").size_octets)

    def test_all_items(self) -> None:
        """Every item has its type; others are kept."""
        found = fetched(
            b'UID 7 FLAGS (\\Seen work) RFC822.SIZE 44827 MODSEQ (624140003) PREVIEW "Hello" EMAILID (M1) THREADID NIL '
            b'INTERNALDATE "17-Jul-1996 02:44:25 -0700" SAVEDATE NIL BODY[HEADER] {4}\r\na:b\n BODY[1] NIL '
            b"BINARY[2] ~{3}\r\na\0b BINARY.SIZE[2] 3 X-GM-MSGID 1278455344230334865"
        )
        self.assertEqual(
            (found.number, found.uid, found.flags, found.size_octets, found.modseq),
            (12, 7, {"\\Seen", "work"}, 44827, 624140003),
        )
        self.assertEqual((found.preview, found.email_id, found.thread_id), ("Hello", "M1", None))
        self.assertEqual(str(found.internaldate), "1996-07-17 02:44:25-07:00")
        self.assertEqual(found.sections, {"BODY[HEADER]": b"a:b\n", "BODY[1]": None, "BINARY[2]": b"a\0b"})
        self.assertEqual((found.section("header"), found.section("1")), (b"a:b\n", None))
        self.assertEqual(found.binary_sizes, {"2": 3})
        self.assertEqual(found.other, {"X-GM-MSGID": 1278455344230334865})

    def test_wrong_shapes(self) -> None:
        """What has not the shape is an error of its own."""
        for items in (
            b"ENVELOPE (1 2)",
            b"ENVELOPE NIL",
            b"ENVELOPE " + ENVELOPE.replace(b'"gray"', b'"gray" "more"', 1),
            b"BODYSTRUCTURE ()",
            b'BODYSTRUCTURE ("TEXT")',
            b"BODYSTRUCTURE (" + PLAIN + b")",
            b"BODYSTRUCTURE " + PLAIN.replace(b"1152", b"many"),
            b"MODSEQ (x)",
            b"BODY[] (1)",
            b"PREVIEW (1)",
        ):
            self.assertRaises(ResultError, fetched, items)

    VALUES = st.recursive(
        st.one_of(
            st.none(), st.integers(0, 2**63), st.binary(max_size=8), st.builds(r.Streamed, st.integers(0, 9))
        ),
        lambda inner: st.lists(inner, max_size=11).map(tuple),
        max_leaves=40,
    )

    @given(
        st.dictionaries(
            st.sampled_from(
                "ENVELOPE BODY BODYSTRUCTURE MODSEQ PREVIEW BODY[] BINARY.SIZE[1] EMAILID XX RFC822.TEXT".split()
            ),
            VALUES,
            max_size=4,
        )
    )
    @settings(max_examples=200)
    def test_any_values(self, items: dict[str, Any]) -> None:
        """Whatever a server says, there is a message or one error."""
        with contextlib.suppress(ResultError):
            message(r.Fetched(1, items))


class SearchTests(SynchronousTestCase):
    def test_results(self) -> None:
        """All forms of answers to a search."""
        response = one(b'* ESEARCH (TAG "a") UID MIN 2 MAX 47 COUNT 25 ALL 2,5:7 MODSEQ 9 RELEVANCY (4 99)')
        assert isinstance(response, r.EsearchData)
        found = search_result(response)
        self.assertEqual((found.least, found.most, found.count, found.modseq), (2, 47, 25, 9))
        self.assertEqual((list(members(found.numbers)), found.relevancy), ([2, 5, 6, 7], (4, 99)))
        self.assertEqual(search_result(r.SearchData((3, 1), 7)).numbers, (3, 1))
        self.assertEqual(list(members(None)), [])

    def test_members_are_bounded(self) -> None:
        """Few octets that stand for all numbers are no reason to make a list of them."""
        for text in (b"1:4294967295", b"5:*", b"$"):
            self.assertRaises(ResultError, list, members(SequenceSet.parse(text)))

    def test_threads(self) -> None:
        """RFC 5256 section 4: the example's trees."""
        data = one(b"* THREAD (2)(3 6 (4 23)(44 7 96))((8)(9))")
        assert isinstance(data, r.ThreadData)
        found = threads(data)
        self.assertEqual(
            found,
            (
                Thread((2,)),
                Thread((3, 6), (Thread((4, 23)), Thread((44, 7, 96)))),
                Thread((), (Thread((8,)), Thread((9,)))),
            ),
        )
        self.assertEqual(list(found[1].walk()), [3, 6, 4, 23, 44, 7, 96])


class NoticeTests(SynchronousTestCase):
    def test_notices(self) -> None:
        """RFC 5465 sections 4 and 5: what a server tells unasked has a type."""
        for text, expected in {
            b"* VANISHED 5:7": Vanished(SequenceSet.parse(b"5:7")),
            b"* VANISHED (EARLIER) 5:7": Vanished(SequenceSet.parse(b"5:7"), earlier=True),
            b"* STATUS misc (UIDNEXT 999 MESSAGES 554)": MailboxStatus(
                "misc", MailboxNumbers({"UIDNEXT": 999, "MESSAGES": 554})
            ),
            b'* LIST () "/" "NewMailbox" ("OLDNAME" ("OldMailbox"))': MailboxListed(
                "NewMailbox", (), "OldMailbox"
            ),
            b'* LIST () "/" &APw-b ("OLDNAME" (&APw-a))': MailboxListed("üb", (), "üa"),
            b'* LIST () "/" 2027 ("OLDNAME" (007))': MailboxListed("2027", (), "007"),
            b'* LIST () "/" x ("OLDNAME" ())': MailboxListed("x", ()),
            b'* LIST (\\NonExistent) "." "INBOX.DeletedMailbox"': MailboxListed(
                "INBOX.DeletedMailbox", ("\\NonExistent",)
            ),
            b'* METADATA "INBOX" /shared/comment': MetadataChanged("INBOX", ("/shared/comment",)),
            b'* ESEARCH (TAG "B") ADDTO (0 5) REMOVEFROM (2 7)': ContextChanged(
                b"B",
                (
                    r.ContextChange(True, 0, SequenceSet.parse(b"5")),
                    r.ContextChange(False, 2, SequenceSet.parse(b"7")),
                ),
                uid=False,
            ),
            b"* OK [NOTIFICATIONOVERFLOW] too much": NotificationsLost(),
            b"* OK [ALERT] disk is full": Alert("disk is full"),
            b"* BYE bye": Farewell("bye"),
            b'* OK [INPROGRESS ("A001" 454 1000)] x': Progressed("A001", 454, 1000),
            b'* OK [INPROGRESS ("A001" 175 NIL)] x': Progressed("A001", 175, None),
            b"* OK [INPROGRESS] x": Progressed(None, None, None),
            b'* NO [NOUPDATE "B02"] Too many contexts': UpdatesRefused(b"B02", "Too many contexts"),
            b"* NO [OVERQUOTA] soft": QuotaExceeded("soft"),
            b'* NAMESPACE (("" "/")) NIL NIL': NamespacesTold(r.NamespaceData((("", "/"),), (), ())),
            b"* 3 RECENT": Other(r.Recent(3)),
        }.items():
            self.assertEqual(notice(one(text)), expected)
        changed = notice(one(b"* 3 FETCH (UID 7 FLAGS (\\Seen))"))
        assert isinstance(changed, MessageChanged)
        self.assertEqual((changed.message.uid, changed.message.flags), (7, {"\\Seen"}))
        self.assertIsInstance(notice(one(b"* 3 FETCH (ENVELOPE (1))")), Other)
