"""Filters, from the client's side: what is said, and what comes of it at our server."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from moxtwisted.imap.client.filtercommands import SavedFilter
from moxtwisted.imap.client.results import members
from moxtwisted.imap.client.session import CommandRefusedError, NotOfferedError
from moxtwisted.imap.testing import run_now
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.filterprogram import is_filter_name, render_filter
from tests.imap.client.test_commands import Scripted
from tests.imap.test_agent import ServerCase

BOSS = k.And((k.HeaderContains("From", "boss@example.com"), k.HasFlag("\\Seen", False)))


class FilterTests(ServerCase):
    def setUp(self) -> None:
        super().setUp()
        for sender in ("boss", "friend", "boss"):
            self.mail.add("INBOX", f"From: {sender}@example.com\r\nSubject: \u00fc\r\n\r\n".encode())
        self.client = self.open()
        self.wait(self.client.select("INBOX"))

    def test_life(self) -> None:
        """RFC 5466 section 3: filters are made, listed, searched with, replaced and removed, with their descriptions."""
        client, wait = self.client, self.wait
        self.assertEqual(wait(client.filters()), {})
        self.assertIsNone(wait(client.filter("boss")))
        wait(client.define_filter("Boss", BOSS, description="Was der Chef w\u00fcnscht"))
        wait(client.define_filter("recent", k.And((k.Filter("boss"), k.Younger(86400)))))
        text = "FROM boss@example.com UNSEEN"
        boss = SavedFilter("boss", BOSS, text, description="Was der Chef w\u00fcnscht")
        self.assertEqual(wait(client.filter("BOSS")), boss)
        found = wait(client.filters())
        self.assertEqual(list(found), ["boss", "recent"])
        self.assertEqual(found["boss"], boss)
        self.assertEqual(found["recent"].text, "(FILTER boss) (YOUNGER 86400)")
        self.assertEqual(list(members(wait(client.search(k.Filter("boss"))).numbers)), [1, 3])
        wait(client.define_filter("boss", 'SUBJECT "\u00fc" FROM friend'))
        self.assertEqual(list(members(wait(client.search(k.Filter("boss"))).numbers)), [2])
        self.assertEqual(wait(client.filter("boss")).description, boss.description)
        wait(client.remove_filter("boss"))
        self.assertEqual(list(wait(client.filters())), ["recent"])

    def refused(self, coroutine: Coroutine[Any, Any, Any]) -> CommandRefusedError:
        done = Deferred.fromCoroutine(coroutine)
        for _ in range(10):
            self.pumps[-1].flush()
        error: CommandRefusedError = self.failureResultOf(done, CommandRefusedError).value
        return error

    def test_refused(self) -> None:
        """The server says which filter there is not, and does not take what is no program."""
        error = self.refused(self.client.search(k.Filter("nobody")))
        self.assertEqual(error.code_value, r.UndefinedFilter("nobody"))
        self.assertEqual(self.refused(self.client.define_filter("half", "OR SEEN")).imap_code, "CANNOT")
        for name in ("", "a/b", "a b", "\u00fc", 'a"', "a]"):
            self.assertFalse(is_filter_name(name))
            with self.assertRaises(ValueError):
                run_now(self.client.define_filter(name, "ALL"))
        with self.assertRaises(NotOfferedError):
            run_now(Scripted(capabilities="IMAP4rev1 METADATA").filters())

    def test_shared(self) -> None:
        """RFC 5466 section 3.2: the user's own goes before what all share; keys that are not known stay text."""
        session = Scripted(
            b'* METADATA "" (/private/filters/values/a "SEEN" /shared/filters/values/a "ALL" '
            b'/shared/filters/values/b "(X-KEY 5) ALL" /shared/filters/descriptions/b "x" /private/filters/values NIL)\nOK',
            b"OK",
            b"OK",
            capabilities="IMAP4rev1 FILTERS",
        )
        self.assertEqual(
            run_now(session.filters()),
            {
                "a": SavedFilter("a", k.HasFlag("\\Seen"), "SEEN"),
                "b": SavedFilter("b", None, "(X-KEY 5) ALL", shared=True, description="x"),
            },
        )
        run_now(session.define_filter("a", k.Everything(), shared=True, description=""))
        run_now(session.remove_filter("a", shared=True))
        self.assertEqual(
            session.said,
            [
                (
                    b'GETMETADATA (DEPTH 1) "" (/private/filters/values /shared/filters/values '
                    b"/private/filters/descriptions /shared/filters/descriptions)\r\n"
                ),
                b'SETMETADATA "" (/shared/filters/values/a "ALL" /shared/filters/descriptions/a NIL)\r\n',
                b'SETMETADATA "" (/shared/filters/values/a NIL /shared/filters/descriptions/a NIL)\r\n',
            ],
        )

    def test_written(self) -> None:
        """RFC 5466 section 3.2: keys of extensions stand in parentheses, those of IMAP4rev1 do not."""
        fuzzy = k.Fuzzy(k.HeaderContains("Subject", "\u00fc\r\n"))
        for key, text in {
            k.Or(k.Younger(5), k.Not(fuzzy)): b"OR (YOUNGER 5) NOT (FUZZY SUBJECT {4}\r\n\xc3\xbc\r\n)",
            k.And((BOSS, k.Larger(5))): b"(FROM boss@example.com UNSEEN) LARGER 5",
            k.ModSeqAtLeast(7): b"(MODSEQ 7)",
        }.items():
            self.assertEqual(render_filter(key), text)
