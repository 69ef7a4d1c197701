"""ENVELOPE, BODYSTRUCTURE and list fields of IMAP."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.structure import (
    LIST_FIELDS,
    body_from_bodystructure,
    imap_string,
    list_fields,
    render_body,
    render_bodystructure,
    render_envelope,
    select_fields,
)
from tests.message import imapsyntax
from tests.message.test_corpus import scan
from tests.message.test_mime import MESSAGES


class StringTests(SynchronousTestCase):
    """imap_string."""

    def test_forms(self) -> None:
        """Quoted when that is possible, escaped when it must be, else a literal without NUL."""
        for value, expected in (
            (b"", b'""'),
            (b"a b", b'"a b"'),
            (b'a"b\\', b'"a\\"b\\\\"'),
            (b"tab\t", b'"tab\t"'),
            (b"a\r\nb", b"{4}\r\na\r\nb"),
            (b"\xc3\xbc", b"{2}\r\n\xc3\xbc"),
            (b"a\0b", b"{2}\r\nab"),
        ):
            self.assertEqual(imap_string(value), expected)

    @settings(max_examples=100)
    @given(st.binary(max_size=40))
    def test_read_back(self, value: bytes) -> None:
        """Every value but its NULs is read back by the grammar."""
        self.assertEqual(imapsyntax.parse(imap_string(value)), value.replace(b"\0", b""))


class RenderTests(SynchronousTestCase):
    """What is rendered of a message."""

    def test_rfc_example(self) -> None:
        """The envelope of RFC 9051 section 8 is rendered as there."""
        message = (
            b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n"
            b"Subject: IMAP4rev2 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n"
            b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
            b"Message-Id: <B27397-0100000@cac.washington.edu>\r\nMIME-Version: 1.0\r\n"
            b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n"
        )
        self.assertEqual(
            render_envelope(scan(message)),
            b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" '
            b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) '
            b'(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) '
            b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
            b'"<B27397-0100000@cac.washington.edu>")',
        )

    def test_sender_and_reply_to(self) -> None:
        """Sender and Reply-To are their own where given, else From."""
        found = imapsyntax.parse(render_envelope(scan(b"From: a@b\r\nSender: c@d\r\nReply-To: e@f\r\n\r\n")))
        assert isinstance(found, list)
        self.assertEqual(
            found[2:5], [[[None, None, a, b]] for a, b in ((b"a", b"b"), (b"c", b"d"), (b"e", b"f"))]
        )

    def test_fields_that_occur_twice(self) -> None:
        """Several To fields make one list."""
        found = imapsyntax.parse(render_envelope(scan(b"To: a@b\r\nTo: c@d\r\n\r\n")))
        assert isinstance(found, list)
        self.assertEqual(found[5], [[None, None, b"a", b"b"], [None, None, b"c", b"d"]])

    def test_body_from_bodystructure_of_odd_octets(self) -> None:
        """Octets that are no structure come back as they are."""
        for octets in (b"", b"x", b'("open', b"{5}\r\nab"):
            body_from_bodystructure(octets)
        self.assertEqual(body_from_bodystructure(b"~"), b"~")

    @settings(max_examples=200)
    @given(MESSAGES, st.binary(max_size=60))
    def test_grammar(self, octets: bytes, value: bytes) -> None:
        """Whatever the message, what is rendered keeps to the grammar, and BODY can be made of BODYSTRUCTURE."""
        folded = value.replace(b"\n", b"\n ")
        head = b"".join(
            name + folded + b"\r\n"
            for name in (
                b"From: ",
                b"To: a@b, ",
                b"Subject: ",
                b"Content-Type: text/",
                b"Content-ID: ",
                b"Content-Language: ",
            )
        )
        for message in (
            octets,
            head + octets,
            b"Content-Type: message/rfc822\r\n\r\n" + head + b"\r\n" + octets,
        ):
            scanned = scan(message)
            imapsyntax.check_envelope(imapsyntax.parse(render_envelope(scanned)))
            structure = render_bodystructure(scanned)
            imapsyntax.check_body(imapsyntax.parse(structure), extended=True)
            body = render_body(scanned)
            imapsyntax.check_body(imapsyntax.parse(body), extended=False)
            self.assertEqual(body_from_bodystructure(structure), body)


class FieldTests(SynchronousTestCase):
    """The fields kept for lists."""

    def test_list_fields(self) -> None:
        """They are the raw fields that lists show, and answer HEADER.FIELDS as the header would."""
        message = (
            b"Received: x\r\nFrom: a@b\r\nX-Spam: y\r\nReferences: <a>\r\n <b>\r\nSubject: s\r\n\r\nbody\r\n"
        )
        scanned = scan(message)
        fields = list_fields(scanned)
        self.assertEqual(fields, b"From: a@b\r\nReferences: <a>\r\n <b>\r\nSubject: s\r\n")
        names = [b"SUBJECT", b"references", b"date"]
        self.assertEqual(select_fields(fields, names), select_fields(scanned.header.octets, names))
        self.assertEqual(list_fields(scan(b"Subject: cut")), b"Subject: cut\r\n")

    def test_names_are_lower_case(self) -> None:
        """The names are in lower case, as they are looked up."""
        self.assertTrue(all(name == name.lower() for name in LIST_FIELDS))
