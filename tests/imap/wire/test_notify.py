"""NOTIFY and REPLACE as they are read and written."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire.commands import AppendMessage, Command, Notify, Replace
from moxtwisted.imap.wire.events import MAILBOX_EVENTS, Event, EventGroup
from moxtwisted.imap.wire.fetchattributes import Envelope, Flags, Preview, Uid
from moxtwisted.imap.wire.mailboxfilter import MAX_FILTER_NAMES, FilterKind
from moxtwisted.imap.wire.notifygrammar import MAX_GROUPS
from moxtwisted.imap.wire.parser import (
    AppendChunk,
    BadCommand,
    CommandReader,
    Limits,
    NeedContinuation,
)
from moxtwisted.imap.wire.request import NonSync, render_command
from moxtwisted.imap.wire.sequence import STAR

BOTH = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE})

names = st.lists(
    st.text(st.sampled_from('abXY/&ü日 "\\%*(){}'), max_size=8).filter(lambda n: n[:5].upper() != "INBOX"),
    min_size=1,
    max_size=3,
    unique=True,
).map(tuple)
message_events = st.sampled_from([frozenset(), BOTH, BOTH | {Event.FLAG_CHANGE}])
unknown = st.lists(st.sampled_from(["Thunder", "a.b", "x-1"]), max_size=2, unique=True).map(tuple)


@st.composite
def selected(draw: st.DrawFn) -> EventGroup:
    kind = draw(st.sampled_from([FilterKind.SELECTED, FilterKind.SELECTED_DELAYED]))
    events = draw(message_events)
    items = st.lists(
        st.sampled_from([Uid(), Flags(), Envelope(), Preview(lazy=True)]), max_size=3, unique=True
    )
    return EventGroup(kind, (), events, tuple(draw(items)) if events else (), draw(unknown))


@st.composite
def others(draw: st.DrawFn) -> EventGroup:
    kind = draw(
        st.sampled_from(
            [kind for kind in FilterKind if not kind.of_selected and kind is not FilterKind.SUBTREE_ONE]
        )
    )
    more = draw(st.frozensets(st.sampled_from(sorted(MAILBOX_EVENTS, key=str))))
    return EventGroup(
        kind, draw(names) if kind.has_names else (), draw(message_events) | more, (), draw(unknown)
    )


def read(octets: bytes, limits: Limits | None = None) -> list[Any]:
    reader = CommandReader(limits or Limits())
    reader.receive(octets)
    events = []
    while (event := reader.next()) is not None:
        events.append(event)
        if isinstance(event, AppendMessage):
            reader.accept_message()
    return events


class NotifyTests(SynchronousTestCase):
    @settings(max_examples=100)
    @given(
        st.none() | st.tuples(st.lists(selected(), max_size=1), st.lists(others(), min_size=1, max_size=3)),
        st.booleans(),
    )
    def test_round_trip(self, groups: tuple[list[EventGroup], list[EventGroup]] | None, status: bool) -> None:
        """What is written is read as the same command."""
        command = Notify(b"a")
        if groups is not None:
            command = Notify(b"a", (*groups[0], *groups[1]), status)
        octets = b"".join(render_command(command, literals=NonSync.ALL))
        (event,) = (e for e in read(octets) if isinstance(e, Command | BadCommand))
        self.assertEqual(event, command, octets)

    def test_spellings(self) -> None:
        """Words may be written in any case, one name stands with or without parentheses, names are literals too."""
        for text in (
            b"a NOTIFY SET (SUBTREE Lists (MESSAGENEW MESSAGEEXPUNGE))\r\n",
            b"a notify set (subtree (Lists) (messagenew messageexpunge))\r\n",
            b"a Notify Set (Subtree {5+}\r\nLists (MessageExpunge MessageNew))\r\n",
        ):
            self.assertEqual(
                read(text), [Notify(b"a", (EventGroup(FilterKind.SUBTREE, ("Lists",), BOTH),))], text
            )

    def test_limits(self) -> None:
        """Groups, names and events are bounded."""
        limits = Limits(line_octets=200_000)
        for groups in (
            b" (personal NONE)" * (MAX_GROUPS + 1),
            b" (mailboxes (" + b" ".join(b"m%d" % n for n in range(MAX_FILTER_NAMES + 1)) + b") NONE)",
            b" (personal (" + b" ".join(b"e%d" % n for n in range(60)) + b"))",
        ):
            (event,) = read(b"a NOTIFY SET" + groups + b"\r\n", limits)
            self.assertIsInstance(event, BadCommand)
            self.assertIn("too many", event.text)

    def test_refused(self) -> None:
        """What RFC 5465 section 8 does not have is BAD."""
        for text in (
            b"NOTIFY",
            b"NOTIFY SET",
            b"NOTIFY SET STATUS",
            b"NOTIFY NONE x",
            b"NOTIFY SET (subtree-one Lists NONE)",
            b"NOTIFY SET (personal)",
            b"NOTIFY SET (personal ())",
            b"NOTIFY SET (personal (MailboxName)",
            b"NOTIFY SET (subtree NONE)",
            b"NOTIFY SET (subtree () NONE)",
            b"NOTIFY SET (somewhere (MailboxName))",
            b"NOTIFY SET (selected (MessageNew () MessageExpunge))",
            b"NOTIFY SET (selected (MessageNew (x) MessageExpunge))",
            b"NOTIFY SET (selected (FlagChange))",
            b"NOTIFY SET personal (MailboxName)",
        ):
            (event,) = read(b"a " + text + b"\r\n")
            self.assertIsInstance(event, BadCommand, text)


class ReplaceTests(SynchronousTestCase):
    def test_announced(self) -> None:
        """The message is announced with what it replaces, comes in pieces, and then the command."""
        for start, number, uid in ((b"REPLACE 4", 4, False), (b"uid replace *", STAR, True)):
            events = read(b"a " + start + b" Drafts (\\Seen) {3+}\r\nabc\r\nb NOOP\r\n")
            message = events[0]
            self.assertEqual((message.replaces, message.uid, message.mailbox), (number, uid, "Drafts"))
            self.assertEqual(events[1], AppendChunk(b"abc", True))
            self.assertEqual(events[2], Replace(b"a", number, "Drafts", message, uid))
            self.assertEqual(events[3].name, "NOOP")

    def test_mailbox_as_a_literal(self) -> None:
        """The mailbox can be a literal, for which the client waits, as for the message."""
        reader = CommandReader()
        reader.receive(b"a UID REPLACE 7 {6}\r\n")
        self.assertEqual(reader.next(), NeedContinuation(b"a", 6))
        reader.receive(b"Drafts {3}\r\n")
        message: Any = reader.next()
        self.assertEqual((message.mailbox, message.replaces), ("Drafts", 7))
        reader.accept_message()
        self.assertEqual(reader.next(), NeedContinuation(b"a", 3))

    def test_refused(self) -> None:
        """Sets, zero, a second message and a command without a message are BAD."""
        for text in (
            b"REPLACE 1:2 x {1+}\r\na",
            b"REPLACE 0 x {1+}\r\na",
            b"UID REPLACE x {1+}\r\na",
            b"REPLACE 1 x",
            b"UID REPLACE 1 x",
            b"REPLACE 1 x {1+}\r\na {1+}\r\nb",
            b"REPLACE 1 x {1+}\r\na more",
        ):
            events = read(b"a " + text + b"\r\nb NOOP\r\n")
            self.assertIsInstance(events[-2], BadCommand, text)
            self.assertEqual(events[-1].name, "NOOP", text)
