"""What a program says by mistake: it is told so, and nothing else is sent than what was meant."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.client.messagecommands import NewMail
from moxtwisted.imap.testing import run_now
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.commands import StoreMode
from moxtwisted.imap.wire.events import Event, EventGroup
from moxtwisted.imap.wire.mailboxfilter import FilterKind, MailboxFilter
from moxtwisted.imap.wire.returnoptions import Partial
from moxtwisted.imap.wire.sequence import SequenceError, SequenceSet
from tests.imap.client.test_commands import Scripted

MAIL = b"Subject: x\r\n\r\n"


class MisuseTests(SynchronousTestCase):
    def refused(self, error: type[Exception], work: Callable[[Scripted], Coroutine[Any, Any, Any]]) -> None:
        """It raises that, and nothing goes to the server."""
        session = Scripted()
        self.assertRaises(error, run_now, work(session))
        self.assertEqual(b"".join(session.said), b"")

    def test_numbers(self) -> None:
        """Numbers that no message can have are an error, and do not take others with them."""
        for numbers in ([0], [0, 1], [-1], [1, -1], [2**32], (n for n in (0, 1))):
            self.refused(ValueError, lambda s, n=numbers: s.fetch(n, ["FLAGS"]))  # type: ignore[misc]
            self.refused(ValueError, lambda s: s.move([0, 1], "Archive"))
            self.refused(ValueError, lambda s: s.expunge([0]))
        self.assertEqual(SequenceSet.of(n for n in (1, 2, 4)).render(), b"1:2,4")

    def test_sets_as_on_the_wire(self) -> None:
        """A set may be written as on the wire; what is none is an error."""
        session = Scripted()
        run_now(session.fetch("1:3,9:*", ["FLAGS"]))
        run_now(session.expunge("$"))
        self.assertEqual(session.said, [b"UID FETCH 1:3,9:* (FLAGS)\r\n", b"UID EXPUNGE $\r\n"])
        self.refused(SequenceError, lambda s: s.fetch("1:3 (FLAGS)", ["FLAGS"]))
        self.refused(ValueError, lambda s: s.fetch("١", ["FLAGS"]))

    def test_one_string_for_a_list(self) -> None:
        """One string is no list of its letters."""
        self.refused(TypeError, lambda s: s.fetch([1], "FLAGS"))
        self.refused(TypeError, lambda s: s.store([1], StoreMode.ADD, "seen"))
        self.refused(TypeError, lambda s: s.search("ALL", returns="COUNT"))
        self.refused(TypeError, lambda s: s.status("INBOX", "MESSAGES"))
        self.refused(TypeError, lambda s: s.mailboxes(returns="CHILDREN"))
        self.refused(TypeError, lambda s: s.mailboxes(selection="SUBSCRIBED"))
        self.refused(TypeError, lambda s: s.create("New", special_use="\\Sent"))
        self.refused(TypeError, lambda s: s.get_metadata("INBOX", "/private/comment"))
        self.refused(TypeError, lambda s: s.append("INBOX", NewMail(MAIL, "\\Seen")))  # type: ignore[arg-type]

    def test_flags(self) -> None:
        """A flag with a space is not two, and one with a parenthesis is no end of the list."""
        for flag in ("a b", "a)", "", "\\", "ü", "a\\b", "a%", "\\*", "{1}"):
            self.refused(ValueError, lambda s, f=flag: s.store([1], StoreMode.ADD, [f]))  # type: ignore[misc]
            self.refused(ValueError, lambda s, f=flag: s.append("INBOX", NewMail(MAIL, (f,))))  # type: ignore[misc]
            self.refused(ValueError, lambda s, f=flag: s.search(k.HasFlag(f)))  # type: ignore[misc]
        session = Scripted()
        run_now(session.store([1], StoreMode.ADD, ["\\Seen", "$Junk", "[x]"], silent=True))
        self.assertEqual(session.said, [b"UID STORE 1 +FLAGS.SILENT (\\Seen $Junk [x])\r\n"])

    def test_dates(self) -> None:
        """A date without a zone is not taken for one of Greenwich."""
        naive = datetime(2026, 3, 1, 12, 0)  # noqa: DTZ001  (that is what is tried)
        self.refused(ValueError, lambda s: s.append("INBOX", NewMail(MAIL, (), naive)))
        session = Scripted()
        run_now(session.append("INBOX", NewMail(MAIL, (), naive.replace(tzinfo=UTC))))
        self.assertIn(b'" 1-Mar-2026 12:00:00 +0000"', session.said[0])

    def test_no_message(self) -> None:
        """To append nothing is an error."""
        self.refused(ValueError, lambda s: s.append("INBOX"))

    def test_filter_names(self) -> None:
        """A name that no filter can have is an error, and no further keys."""
        for name in ("a b", "a/b", "a]b", "", "x)", "ü"):
            self.refused(ValueError, lambda s, n=name: s.search(k.Filter(n)))  # type: ignore[misc]

    def test_nothing_to_look_at(self) -> None:
        """Without sort criteria, mailboxes to search, or names where they are needed, nothing is sent; no search is given up then."""
        everything = k.Everything()
        self.refused(ValueError, lambda s: s.sort([]))
        self.refused(ValueError, lambda s: s.search_everywhere([], everything))
        nameless, delayed = MailboxFilter(FilterKind.SUBTREE), MailboxFilter(FilterKind.SELECTED_DELAYED)
        self.refused(ValueError, lambda s: s.search_everywhere([nameless], everything))
        self.refused(ValueError, lambda s: s.search_everywhere([delayed], everything))
        names = frozenset({Event.MAILBOX_NAME})
        self.refused(ValueError, lambda s: s.notify([EventGroup(FilterKind.MAILBOXES, (), names)]))
        self.refused(ValueError, lambda s: s.notify([EventGroup(FilterKind.SUBTREE_ONE, ("a",), names)]))
        session = Scripted()
        run_now(session.cancel_updates())
        self.assertEqual(session.said, [])

    def test_windows(self) -> None:
        """A window on results begins with the first or the last of them, and does not go from one to the other."""
        for first, last in ((0, 5), (5, 0), (-1, 5), (1, 2**32)):
            self.assertRaises(ValueError, Partial, first, last)

    def test_id(self) -> None:
        """RFC 2971 section 3.3: ID has 30 fields at most, of 30 octets, with values of 1024, each once."""
        for fields in (
            [(f"f{n}", "x") for n in range(31)],
            [("name", "x"), ("Name", "y")],
            [("n" * 31, "x")],
            [("name", "x" * 1025)],
        ):
            self.refused(ValueError, lambda s, f=fields: s.identify(f))  # type: ignore[misc]
        run_now(Scripted().identify([("n" * 30, "x" * 1024), *((f"f{n}", "") for n in range(29))]))
