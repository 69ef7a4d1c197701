"""The command reader: lines, literals, APPEND, modes, limits, cuts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire.grammar import COMMANDS
from moxtwisted.imap.wire.lexer import Cursor
from moxtwisted.imap.wire.parser import (
    AppendChunk,
    BadCommand,
    CommandReader,
    Limits,
    NeedContinuation,
    SaslCancelled,
    SaslResponse,
    TooMuch,
)
from tests.imap.wire.reading import SMALL, cut, joined, one, read


class LineTests(SynchronousTestCase):
    def test_pipelined(self) -> None:
        """Commands that come together are given one by one."""
        self.assertEqual(
            read(CommandReader(), b"a NOOP\r\nb noop\r\nc LOGOUT\r\n"),
            [c.Noop(b"a"), c.Noop(b"b"), c.Logout(b"c")],
        )

    def test_bare_line_feed(self) -> None:
        """A line may end with LF alone, and CR elsewhere is refused."""
        events = read(CommandReader(), b"a NOOP\nb NO\rOP\r\n")
        self.assertEqual(events[0], c.Noop(b"a"))
        self.assertIsInstance(events[1], BadCommand)

    def test_bad_commands_keep_their_tag(self) -> None:
        """A bad command is answered under its tag, and without a tag when there is none."""
        for line, tag in {
            b"a FOO": b"a",
            b"a": b"a",
            b"a ": b"a",
            b"": None,
            b" NOOP": None,
            b"+ NOOP": None,
            b"* NOOP": None,
            b"a+b NOOP": None,
            b"a  NOOP": b"a",
            b"a NOOP ": b"a",
            b"a UID": b"a",
            b"a UID NOOP": b"a",
            b"a NOOP\0": b"a",
            b"\0": None,
            b"\xff NOOP": None,
            b"t" * 200 + b" NOOP": None,
            b"a NOOP\xff": b"a",
        }.items():
            event = one(line + b"\r\n")
            self.assertIsInstance(event, BadCommand, line)
            self.assertEqual((event.tag, getattr(event, "condition", "")), (tag, "BAD"), line)

    def test_tag_characters(self) -> None:
        """RFC 9051 section 9: a tag may have ] but not +."""
        self.assertEqual(one(b"a].1 NOOP\r\n"), c.Noop(b"a].1"))

    def test_eight_bit(self) -> None:
        """8-bit octets outside literals need UTF-8 to be enabled, and then must be UTF-8 in quoted strings."""
        text = 'a SELECT "ü"\r\n'.encode()
        self.assertIsInstance(one(text), BadCommand)
        self.assertEqual(one(text, utf8=True), c.Select(b"a", "ü"))
        self.assertIsInstance(one("a SELECT ü\r\n".encode(), utf8=True), BadCommand)
        self.assertIsInstance(one(b'a SELECT "\xff"\r\n', utf8=True), BadCommand)

    def test_long_line(self) -> None:
        """A line over the limit is refused once, when the limit is passed, and read over."""
        reader = CommandReader(SMALL)
        events = read(reader, b"a NOOP " + b"x" * 200, b"y" * 300, b"\r\nb NOOP\r\n")
        self.assertEqual(events, [BadCommand(b"a", "line is too long"), c.Noop(b"b")])

    def test_line_of_just_the_limit(self) -> None:
        """A line of as many octets as allowed is read, whatever the cuts; one more is too many."""
        for size, of in {100: c.Login, 101: BadCommand}.items():
            line = b"a LOGIN x " + b"y" * (size - 10)
            for pieces in ([line + b"\r\n"], [line + b"\r", b"\n"], [line, b"\r\n"], [line, b"\r", b"\n"]):
                self.assertEqual([type(event) for event in read(CommandReader(SMALL), *pieces)], [of])

    def test_long_line_with_literal(self) -> None:
        """A literal that comes unasked at the end of a long line is not taken for commands."""
        text = b"a NOOP " + b"x" * 200 + b" {14+}\r\nx DELETE foo\r\n {8+}\r\nz NOOP\r\n\r\nb NOOP\r\n"
        for size in (1, 3, 1000):
            pieces = [text[i : i + size] for i in range(0, len(text), size)]
            events = read(CommandReader(SMALL), *pieces)
            self.assertEqual(events, [BadCommand(b"a", "line is too long"), c.Noop(b"b")])

    def test_endless_line(self) -> None:
        """A line without end is given up, and then nothing is kept."""
        reader = CommandReader(SMALL)
        events = read(reader, *[b"x" * 100] * 50)
        self.assertEqual([type(e) for e in events], [BadCommand, TooMuch])
        self.assertIsNone(reader.next())

    def test_extension(self) -> None:
        """A larger table of commands is taken."""

        def xtra(tag: bytes, cursor: Cursor) -> c.Command:
            cursor.end()
            return c.Noop(tag)

        reader = CommandReader(commands={**COMMANDS, b"XTRA": xtra})
        self.assertEqual(read(reader, b"a XTRA\r\n"), [c.Noop(b"a")])


class LiteralTests(SynchronousTestCase):
    def test_synchronising(self) -> None:
        """Each literal asks for a continuation when its announcement has come (RFC 9051 section 4.3)."""
        reader = CommandReader()
        self.assertEqual(read(reader, b"A001 LOGIN {11}\r\n"), [NeedContinuation(b"A001", 11)])
        self.assertEqual(read(reader, b"FRED FOOBAR {7}\r\n"), [NeedContinuation(b"A001", 7)])
        self.assertEqual(read(reader, b"fat man\r\n"), [c.Login(b"A001", "FRED FOOBAR", "fat man")])

    def test_non_synchronising(self) -> None:
        """RFC 7888: with a plus nothing is asked."""
        self.assertEqual(
            one(b"A001 LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man\r\n"),
            c.Login(b"A001", "FRED FOOBAR", "fat man"),
        )

    def test_empty(self) -> None:
        """A literal may be empty."""
        self.assertEqual(one(b"a LOGIN {0+}\r\n {0+}\r\n\r\n"), c.Login(b"a", "", ""))

    def test_literal_minus(self) -> None:
        """With LITERAL- a large literal must wait; it is refused and read over."""
        reader = CommandReader(Limits(nonsync_literal_octets=4))
        events = read(reader, b"a SELECT {5+}\r\nINBOX\r\nb SELECT {5}\r\nINBOX\r\nc SELECT {4+}\r\nabcd\r\n")
        self.assertIsInstance(events[0], BadCommand)
        self.assertEqual(
            events[1:], [NeedContinuation(b"b", 5), c.Select(b"b", "INBOX"), c.Select(b"c", "abcd")]
        )

    def test_nul(self) -> None:
        """NUL is refused in a literal, and a literal8 where a string is wanted."""
        self.assertIsInstance(one(b"a LOGIN {1+}\r\n\0 x\r\n"), BadCommand)
        self.assertIsInstance(one(b"a LOGIN ~{1+}\r\na x\r\n"), BadCommand)

    def test_unknown_command(self) -> None:
        """An unknown command is refused before its literal is asked for."""
        self.assertEqual(read(CommandReader(), b"a FOO {5}\r\n"), [BadCommand(b"a", "unknown command")])

    def test_limits(self) -> None:
        """Size, sum and number of literals are limited; the connection goes on."""
        for text in (
            b"a SEARCH BODY {51}\r\n",
            b"a SEARCH BODY {99999999999999999999}\r\n",
            b"a SEARCH BODY {51+}\r\n" + b"x" * 51 + b"\r\n",
            b"a SEARCH" + b" BODY {1+}\r\nx" * 6 + b"\r\n",
            b"a SEARCH" + b" BODY {45+}\r\n" * 1 + b"x" * 45 + (b" BODY {45+}\r\n" + b"x" * 45) * 4 + b"\r\n",
        ):
            events = read(CommandReader(SMALL), text + b"b NOOP\r\n")
            self.assertEqual(len(events), 2, text)
            self.assertEqual((events[0].tag, events[0].code), (b"a", "TOOBIG"))  # type: ignore[union-attr]
            self.assertEqual(events[1], c.Noop(b"b"))

    def test_refused_literal_too_large_to_read_over(self) -> None:
        """A literal sent unasked that is too large even to be thrown away ends the connection."""
        events = read(CommandReader(SMALL), b"a SEARCH BODY {1001+}\r\n", b"x" * 10)
        self.assertEqual([type(e) for e in events], [BadCommand, TooMuch])

    def test_one_octet_at_a_time(self) -> None:
        """A large literal that drips in is taken."""
        reader = CommandReader()
        pieces = [b"x"] * 20000
        events = read(reader, b"a SEARCH BODY {20000+}\r\n", *pieces, b"\r\n")
        self.assertEqual(len(events), 1)


class AppendTests(SynchronousTestCase):
    def test_rfc_example(self) -> None:
        """The example of RFC 9051 section 6.3.12: announcement, continuation, octets, command."""
        reader = CommandReader()
        reader.receive(b"A003 APPEND saved-messages (\\Seen) {5}\r\n")
        message = c.AppendMessage(b"A003", "saved-messages", 5, ("\\Seen",))
        self.assertEqual(reader.next(), message)
        self.assertIsNone(reader.next())
        reader.accept_message()
        self.assertEqual(reader.next(), NeedContinuation(b"A003", 5))
        self.assertIsNone(reader.next())
        reader.receive(b"he")
        self.assertEqual(reader.next(), AppendChunk(b"he", last=False))
        reader.receive(b"llo\r\nb NOOP\r\n")
        self.assertEqual(reader.next(), AppendChunk(b"llo", last=True))
        self.assertEqual(reader.next(), c.Append(b"A003", "saved-messages", (message,)))
        self.assertEqual(reader.next(), c.Noop(b"b"))

    def test_all_arguments(self) -> None:
        """Flags, date and literal8 are announced."""
        text = b'a APPEND "a b" (\\seen $x) "17-Jul-1996 02:44:25 -0700" ~{1+}\r\n\0\r\n'
        events = read(CommandReader(), text)
        message = events[0]
        self.assertIsInstance(message, c.AppendMessage)
        assert isinstance(message, c.AppendMessage)
        self.assertEqual((message.mailbox, message.flags), ("a b", ("\\Seen", "$x")))
        self.assertEqual(message.received, datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC))
        self.assertEqual((message.binary, message.synchronising), (True, False))
        self.assertEqual(events[1], AppendChunk(b"\0", last=True))
        self.assertIsInstance(events[2], c.Append)

    def test_flags_are_atoms(self) -> None:
        """What has a backslash within is no flag, wherever flags stand."""
        for text in (
            b"APPEND x (a\\b) {1+}\r\nx\r\n",
            b"APPEND x (\\Seen\\Draft) CATENATE (TEXT {1+}\r\nx)\r\n",
            b'APPEND x (a\\b) CATENATE (URL "/x/;UID=1")\r\n',
            b"REPLACE 1 x (a\\b) {1+}\r\nx\r\n",
            b"CREATE x (USE (\\Sent\\Junk))\r\n",
        ):
            event = read(CommandReader(), b"a " + text)[0]
            self.assertIsInstance(event, BadCommand, repr(text))

    def test_mailbox_as_literal(self) -> None:
        """The mailbox's name may be a literal, too, which is not streamed."""
        events = read(CommandReader(), b"a APPEND {3}\r\nfoo {1}\r\nx\r\n")
        self.assertEqual(events[0], NeedContinuation(b"a", 3))
        self.assertEqual(events[1], c.AppendMessage(b"a", "foo", 1))

    def test_multiappend(self) -> None:
        """RFC 3502: messages follow each other, each with flags and date of its own."""
        events = read(CommandReader(), b"a APPEND x (\\Seen) {1+}\r\nA (\\Draft) {1+}\r\nB {0+}\r\n\r\n")
        append = events[-1]
        self.assertIsInstance(append, c.Append)
        assert isinstance(append, c.Append)
        self.assertEqual([m.flags for m in append.messages], [("\\Seen",), ("\\Draft",), ()])
        self.assertEqual([m.index for m in append.messages], [0, 1, 2])
        self.assertEqual([e.data for e in events if isinstance(e, AppendChunk)], [b"A", b"B", b""])

    def test_utf8(self) -> None:
        """RFC 9755 section 4: UTF8 (~{n}) is taken after UTF8=ACCEPT and refused before."""
        text = b"a APPEND x UTF8 (~{2+}\r\n\xc3\xbc)\r\n"
        reader = CommandReader()
        reader.utf8 = True
        events = read(reader, text)
        self.assertIsInstance(events[0], c.AppendMessage)
        self.assertTrue(getattr(events[0], "utf8", False))
        self.assertIsInstance(events[-1], c.Append)
        self.assertEqual([type(e) for e in read(CommandReader(), text)], [BadCommand])
        reader = CommandReader()
        reader.utf8 = True
        self.assertIsInstance(read(reader, b"a APPEND x UTF8 (~{1+}\r\nx\r\n")[-1], BadCommand)

    def test_refused_before_it_is_sent(self) -> None:
        """A message that is refused is not asked for."""
        events = read(CommandReader(), b"a APPEND x {99999999999}\r\n", b"b NOOP\r\n", refuse=True)
        self.assertEqual([type(e) for e in events], [c.AppendMessage, c.Noop])

    def test_refused_but_sent(self) -> None:
        """A refused message that comes anyway is read over with all that follows in its command."""
        text = b"a APPEND x {8+}\r\nz NOOP\r\n (\\Seen) {8+}\r\nz NOOP\r\n\r\nb NOOP\r\n"
        events = read(CommandReader(), text, refuse=True)
        self.assertEqual([type(e) for e in events], [c.AppendMessage, c.Noop])
        self.assertEqual(events[1], c.Noop(b"b"))

    def test_refused_and_too_large_to_read_over(self) -> None:
        """A refused message of a gigabyte that comes anyway ends the connection."""
        events = read(CommandReader(), b"a APPEND x {1000000000+}\r\n", refuse=True)
        self.assertEqual([type(e) for e in events], [c.AppendMessage, TooMuch])

    def test_nul(self) -> None:
        """NUL in a message that is no literal8 ends the command; the rest is read over."""
        events = read(CommandReader(), b"a APPEND x {5+}\r\nab\0cd\r\nb NOOP\r\n")
        self.assertEqual([type(e) for e in events], [c.AppendMessage, BadCommand, c.Noop])

    def test_bad_syntax(self) -> None:
        """APPEND that is wrong is BAD, before or behind the message."""
        for text in (
            b"a APPEND\r\n",
            b"a APPEND x\r\n",
            b'a APPEND x "y"\r\n',
            b"a APPEND x foo {1+}\r\ny\r\n",
            b"a APPEND x (\\Seen {1+}\r\ny\r\n",
            b'a APPEND x "1-Jan-2020" {1+}\r\ny\r\n',
            b"a APPEND x {1+}\r\ny z\r\n",
            b"a APPEND x {1+}\r\ny foo {1+}\r\nz\r\n",
            b"a APPEND x{1+}\r\ny\r\n",
        ):
            events = read(CommandReader(), text + b"b NOOP\r\n")
            self.assertIsInstance(events[-2], BadCommand, text)
            self.assertEqual(getattr(events[-2], "tag", None), b"a")
            self.assertEqual(events[-1], c.Noop(b"b"))
            self.assertFalse(any(isinstance(e, c.Append) for e in events))

    def test_too_many_messages(self) -> None:
        """The messages of one command are limited in number."""
        events = read(CommandReader(SMALL), b"a APPEND x" + b" {1+}\r\ny" * 6 + b"\r\nb NOOP\r\n")
        self.assertEqual([type(e) for e in events[-2:]], [BadCommand, c.Noop])

    def test_large_message_is_not_kept(self) -> None:
        """Octets of a message are handed out as they come."""
        reader = CommandReader()
        piece = b"x" * 65536
        read(reader, b"a APPEND x {6553600}\r\n")
        for _ in range(100):
            self.assertIs(getattr(read(reader, piece)[0], "data", None), piece)
            self.assertEqual(reader.buffered_octets, 0)


class ModeTests(SynchronousTestCase):
    def test_idle(self) -> None:
        """In IDLE one line is read, which must be DONE."""
        reader = CommandReader()
        self.assertEqual(read(reader, b"a IDLE\r\n"), [c.Idle(b"a")])
        reader.expect_done(b"a")
        self.assertEqual(read(reader, b"done\r\nb NOOP\r\n"), [c.Done(b"a"), c.Noop(b"b")])
        reader.expect_done(b"c")
        self.assertEqual(read(reader, b"d NOOP\r\n"), [BadCommand(b"c", "expected DONE")])
        reader.expect_done(b"c")
        self.assertEqual(read(reader, b"x" * 20000 + b"\r\n"), [BadCommand(b"c", "line is too long")])

    def test_sasl(self) -> None:
        """Responses to challenges are base64, * cancels, the rest is BAD."""
        reader = CommandReader()
        for line, wanted in {
            b"aGVsbG8=": SaslResponse(b"hello"),
            b"": SaslResponse(b""),
            b"*": SaslCancelled(),
            b"aGVsbG8": BadCommand(b"a", "not valid base64"),
            b"a b=": BadCommand(b"a", "not valid base64"),
        }.items():
            reader.expect_sasl(b"a")
            self.assertEqual(read(reader, line + b"\r\n"), [wanted])
        self.assertEqual(read(reader, b"b NOOP\r\n"), [c.Noop(b"b")])

    def test_buffered_behind_starttls(self) -> None:
        """What comes with STARTTLS can be seen and thrown away."""
        reader = CommandReader()
        reader.receive(b"a STARTTLS\r\nb NOOP\r\n")
        self.assertEqual(reader.next(), c.StartTLS(b"a"))
        self.assertEqual(reader.buffered_octets, 8)
        reader.discard()
        self.assertIsNone(reader.next())

    def test_secrets_are_not_shown(self) -> None:
        """Passwords and SASL responses are not in the repr of events."""
        for event in (
            one(b"a LOGIN u geheim\r\n"),
            one(b"a AUTHENTICATE PLAIN Z2VoZWlt\r\n"),
            SaslResponse(b"geheim"),
        ):
            self.assertNotIn("geheim", repr(event))


SESSION = (
    b'a1 CAPABILITY\r\na2 LOGIN {5+}\r\nalice "se\\"cret"\r\nbad\r\na3 FOO {4+}\r\nabcd {2+}\r\nxy\r\n'
    b'a4 APPEND {3+}\r\nfoo (\\Seen) {10+}\r\n0123456789 "01-Jan-2020 00:00:00 +0000" ~{3+}\r\n\0\r\n\r\n'
    b"a5 UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (Subject {2+}\r\nTo)])\r\na6 SEARCH {3+}\r\nALL\r\n"
    b"a7 APPEND x {3+}\r\na\0b\r\na8 NOOP\r\n" + b"a9 NOOP " + b"x" * 300 + b"{3+}\r\nfoo\r\na10 NOOP\r\n"
)


class CutTests(SynchronousTestCase):
    def events(self, pieces: list[bytes]) -> list[Any]:
        limits = Limits(line_octets=200)
        return joined(read(CommandReader(limits), *pieces))

    def test_octet_by_octet(self) -> None:
        """A session cut into single octets gives the same events as in one piece."""
        whole = self.events([SESSION])
        self.assertEqual(self.events([SESSION[i : i + 1] for i in range(len(SESSION))]), whole)
        self.assertEqual(whole[-1], c.Noop(b"a10"))

    @given(st.lists(st.integers(0, len(SESSION)), max_size=20))
    @settings(max_examples=100)
    def test_any_cuts(self, places: list[int]) -> None:
        """Cuts anywhere make no difference."""
        self.assertEqual(self.events(cut(SESSION, places)), self.events([SESSION]))

    @given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
    @settings(max_examples=200)
    def test_any_octets(self, text: bytes, places: list[int]) -> None:
        """Any octets give events, the same for any cuts, and never an exception."""
        self.assertEqual(self.events(cut(text, places)), self.events([text]))
