"""FILTER: what may be put into a search, and how much of it."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.commands.filters import MAX_PASSES, MAX_REFERENCES
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.testing import Driver
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.commands import Search
from moxtwisted.imap.wire.filterprogram import parse_filter, render_filter
from moxtwisted.imap.wire.lexer import CommandError
from moxtwisted.imap.wire.request import NonSync, render_command
from tests.imap.wire.test_request import search_keys

PREFIX = "/private/filters/values/"


class FilterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.mail = MemoryMail()
        self.mail.add("INBOX", b"Subject: one\r\n\r\n1\r\n")
        self.driver = Driver.of(self.mail)
        self.driver.login()
        self.driver.command("SELECT INBOX")

    def keep(self, name: str, program: str) -> None:
        self.mail.annotations.values.setdefault("", {})[PREFIX + name] = program.encode()

    def search(self, program: str) -> bytes:
        return self.driver.command(f"SEARCH {program}")[-1].split(b" ", 1)[1]

    def test_depth(self) -> None:
        """Filters may name each other to a certain depth, and no deeper."""
        self.keep("f0", "ALL")
        for n in range(1, 20):
            self.keep(f"f{n}", f"FILTER f{n - 1}")
        self.assertTrue(self.search(f"FILTER f{MAX_PASSES - 1}").startswith(b"OK"))
        self.assertTrue(self.search(f"FILTER f{MAX_PASSES}").startswith(b"NO [UNDEFINED-FILTER f0]"))

    def test_number(self) -> None:
        """Filters that name others many times over are refused before they take time."""
        self.keep("f0", "ALL")
        for n in range(1, 9):
            self.keep(f"f{n}", " ".join([f"FILTER f{n - 1}"] * 9))
        self.assertEqual(self.search("FILTER f8"), b"NO [LIMIT] too many filters in one search")
        self.assertTrue(self.search(" ".join(["FILTER f0"] * MAX_REFERENCES)).startswith(b"OK"))

    def test_taken_away(self) -> None:
        """What the operator took away from an account cannot be had by way of a filter."""
        self.mail.disabled_capabilities = frozenset({"WITHIN", "SEARCH=FUZZY"})
        self.driver = Driver.of(self.mail)
        self.driver.login()
        self.driver.command("SELECT INBOX")
        self.keep("young", "NOT YOUNGER 10")
        self.keep("near", "FILTER young FUZZY SUBJECT one")
        self.keep("all", "ALL")
        for name, without in {"young": b"WITHIN", "near": b""}.items():
            answer = self.search(f"FILTER {name}")
            self.assertTrue(answer.startswith(b"BAD " + without), answer)
        self.assertTrue(self.search("FILTER all").startswith(b"OK"))

    def test_sequence_numbers(self) -> None:
        """After ENABLE UIDONLY a filter may not name sequence numbers either; UIDs it may."""
        self.keep("first", "1")
        self.keep("known", "UID 1")
        self.driver.command("ENABLE UIDONLY")
        for line in (
            "UID SEARCH NOT FILTER first",
            "ESEARCH FILTER first",
            "UID SORT (DATE) UTF-8 FILTER first",
        ):
            self.assertIn(b" BAD [UIDREQUIRED] ", self.driver.command(line)[-1])
        self.assertEqual(self.driver.command("UID SEARCH FILTER known")[0], b"* SEARCH 1")

    def test_size(self) -> None:
        """A search may not become larger with filters than without them, nor deeper."""
        self.keep("wide", " ".join(["ALL"] * 1500))
        self.keep("deep", "NOT " * 90 + "ALL")
        for program in ("FILTER wide FILTER wide", "NOT " * 50 + "FILTER deep"):
            self.assertEqual(
                self.search(program), b"NO [LIMIT] search program with its filters is too large", program
            )

    def test_broken(self) -> None:
        """What is kept and is no program, whoever put it there, is as if it were not there."""
        self.keep("half", "OR SEEN")
        self.assertEqual(
            self.search("FILTER half"), b"NO [UNDEFINED-FILTER half] filter half is not a search program"
        )

    def test_saved(self) -> None:
        """A search that failed for want of a filter leaves nothing in the saved result."""
        self.assertTrue(self.search("RETURN (SAVE) ALL").startswith(b"OK"))
        self.search("RETURN (SAVE) FILTER nothing")
        self.assertEqual(self.driver.command("FETCH $ UID")[:-1], [])

    @settings(max_examples=100)
    @given(search_keys)
    def test_any_program(self, key: k.SearchKey) -> None:
        """Every search program can be kept as a filter, with its literals."""
        written = b"".join(render_command(Search(b"a", key), literals=NonSync.ALL))
        kept = written.removeprefix(b"a SEARCH ").removesuffix(b"\r\n")
        self.assertEqual(parse_filter(kept), key)
        self.assertEqual(parse_filter(render_filter(key)), key)

    @settings(max_examples=100)
    @given(st.binary(max_size=60))
    def test_anything(self, value: bytes) -> None:
        """Other octets are refused, and nothing else happens."""
        with contextlib.suppress(CommandError):
            parse_filter(value)
