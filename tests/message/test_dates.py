"""Dates of header fields, of IMAP and of mbox files."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.dates import (
    parse_date,
    parse_imap_datetime,
    render_date,
    render_from_line_date,
    render_imap_date,
    render_imap_datetime,
)

MOMENT = 880127706  # Fri, 21 Nov 1997 09:55:06 -0600


class DateTests(SynchronousTestCase):
    """parse_date and what writes dates."""

    def test_read(self) -> None:
        """The forms of RFC 5322, the obsolete ones, and those of careless mailers."""
        for octets, expected in (
            (b"Fri, 21 Nov 1997 09:55:06 -0600", MOMENT),
            (b" Fri, 21 Nov 1997 09:55:06 -0600 (CST)\r\n", MOMENT),
            (b"21 Nov 97 09:55:06 CST", MOMENT),
            (b"21 Nov 097 09:55:06 CST", MOMENT),
            (b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", MOMENT),
            (b"Fri,21 Nov 1997 15:55:06 GMT", MOMENT),
            (b"Fri 21 November 1997 15:55:06 Z", MOMENT),
            (b"Friday, 21-Nov-97 15:55:06 UT", MOMENT),
            (b"Fri, 21 Nov 1997 15:55:06", MOMENT),
            (b"Fri, 21 Nov 1997 15:55:06 XYZ", MOMENT),
            (b"Fri, 21 Nov 1997 15:55:06 +9999", MOMENT),
            (b"Fri, 21 Nov 1997 15:55:06 +0075", MOMENT),
            (b"Fri Nov 21 15:55:06 1997", MOMENT),
            (b"Fri Nov 21 09:55:06 CST 1997", MOMENT),
            (b"Fri Nov 21 09:55:06 1997 -0600", MOMENT),
            (b"Fri, 21 Nov 1997 09.55.06 -06:00", MOMENT),
            (b"Fri, 21 Nov 1997 15:55 +0000", MOMENT - 6),
            (b"Thu, 31 Dec 1998 23:59:60 GMT", 915148800),
            (b"1 Jan 49 00:00:00 GMT", 2493072000),
            (b"1 Jan 50 00:00:00 GMT", -631152000),
            (b"Mon, 29 Feb 2016 00:00:00 +1400", 1456653600),
        ):
            self.assertEqual(parse_date(octets), expected, octets)

    def test_unreadable(self) -> None:
        """What is no date is None."""
        for octets in (
            b"",
            b"yesterday",
            b"Fri, 32 Nov 1997 09:55:06 -0600",
            b"Fri, 21 Foo 1997 09:55:06 -0600",
            b"29 Feb 2015 00:00:00 GMT",
            b"21 Nov 1997 24:00:00 GMT",
            b"21 Nov 1997 00:60:00 GMT",
            b"21 Nov 0000 00:00:00 GMT",
            b"21 Nov 1997",
            b" " * 100_000 + b"21 Nov 1997 00:00:00 GMT",
        ):
            self.assertIsNone(parse_date(octets), octets[:40])

    def test_write(self) -> None:
        """Each form is written as its RFC has it."""
        self.assertEqual(render_date(MOMENT, -360), b"Fri, 21 Nov 1997 09:55:06 -0600")
        self.assertEqual(render_date(0), b"Thu, 1 Jan 1970 00:00:00 +0000")
        self.assertEqual(render_imap_datetime(MOMENT, 330), b"21-Nov-1997 21:25:06 +0530")
        self.assertEqual(render_imap_datetime(0), b" 1-Jan-1970 00:00:00 +0000")
        self.assertEqual(render_imap_date(0), b"1-Jan-1970")
        self.assertEqual(render_from_line_date(MOMENT), b"Fri Nov 21 15:55:06 1997")

    def test_imap(self) -> None:
        """IMAP's date-time is read strictly, with or without quotes."""
        self.assertEqual(parse_imap_datetime(b'"21-Nov-1997 09:55:06 -0600"'), MOMENT)
        self.assertEqual(parse_imap_datetime(b" 1-jan-1970 00:00:00 +0000"), 0)
        for octets in (
            b"",
            b"1-Jan-1970 00:00:00 +0000",
            b"01-Jan-1970 00:00:00",
            b"01-Jan-1970 00:00:00 +0060",
            b"01-Foo-1970 00:00:00 +0000",
            b"31-Feb-1970 00:00:00 +0000",
            b"01-Jan-1970 00:00:00 +0000x",
        ):
            self.assertIsNone(parse_imap_datetime(octets), octets)

    @settings(max_examples=100)
    @given(st.integers(0, 200_000_000_000), st.integers(-720, 840))
    def test_round_trip(self, seconds: int, zone: int) -> None:
        """What was written is read as the same instant."""
        self.assertEqual(parse_date(render_date(seconds, zone)), seconds)
        self.assertEqual(parse_imap_datetime(render_imap_datetime(seconds, zone)), seconds)
        self.assertEqual(parse_date(render_from_line_date(seconds)), seconds)

    @settings(max_examples=150)
    @given(st.text(st.sampled_from("0123456789 :.,-+()NovFriGMT\r\n"), max_size=50))
    def test_any_text(self, text: str) -> None:
        """Any octets are a date or None."""
        parse_date(text.encode())
        parse_imap_datetime(text.encode())
