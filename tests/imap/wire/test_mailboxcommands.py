"""What clients say about metadata, quota and language."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire import mailboxcommands as m
from moxtwisted.imap.wire.commands import Command
from moxtwisted.imap.wire.mailboxgrammar import MAX_VALUE_OCTETS
from moxtwisted.imap.wire.parser import BadCommand, CommandReader
from moxtwisted.imap.wire.request import NonSync, render_command
from tests.imap.wire.reading import cut, joined, read

mailboxes = st.text(st.sampled_from('abXY/&ü日 "\\%*(){}😀-,'), max_size=10).filter(
    lambda n: n[:5].upper() != "INBOX"
)
components = st.text(st.sampled_from('abc-.5"\\ ()]{}'), min_size=1, max_size=6)
entries = st.builds(
    lambda scope, parts: "/".join(["", scope, *parts]),
    st.sampled_from(["private", "shared"]),
    st.lists(components, min_size=1, max_size=4),
).filter(lambda name: "/vendor" not in name)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        m.GetMetadata,
        st.just(b"a"),
        mailboxes,
        st.lists(entries, min_size=1, max_size=4, unique=True).map(tuple),
        st.none() | st.integers(0, 2**32 - 1),
        st.sampled_from(m.Depth),
    ),
    st.builds(
        m.SetMetadata,
        st.just(b"a"),
        mailboxes,
        st.dictionaries(entries, st.none() | st.binary(max_size=20), min_size=1, max_size=4).map(
            lambda values: tuple(values.items())
        ),
    ),
    st.builds(m.GetQuota, st.just(b"a"), texts.filter(lambda t: "\0" not in t)),
    st.builds(m.GetQuotaRoot, st.just(b"a"), mailboxes),
    st.builds(
        m.SetQuota,
        st.just(b"a"),
        texts.filter(lambda t: "\0" not in t),
        st.lists(
            st.tuples(st.sampled_from(["STORAGE", "MESSAGE", "X-Y"]), st.integers(0, 2**63 - 1)), max_size=3
        )
        .map(lambda limits: [(name.upper(), n) for name, n in limits])
        .map(tuple),
    ),
    st.builds(
        m.Language,
        st.just(b"a"),
        st.lists(st.sampled_from(["en", "de-it", "*", "default", "i-default", "zh-*-cn"]), max_size=3).map(
            tuple
        ),
    ),
)


class RoundTests(SynchronousTestCase):
    @settings(max_examples=200)
    @given(commands, st.booleans(), st.sampled_from(NonSync), st.lists(st.integers(0, 200), max_size=4))
    def test_round(self, command: Command, utf8: bool, literals: NonSync, places: list[int]) -> None:
        """What a client writes is read as the same command, however it is cut."""
        text = b"".join(render_command(command, literals=literals, utf8=utf8))
        reader = CommandReader()
        reader.utf8 = utf8
        events = joined(read(reader, *cut(text, places)))
        self.assertEqual([e for e in events if isinstance(e, Command | BadCommand)], [command])


class GrammarTests(SynchronousTestCase):
    def one(self, line: str | bytes) -> object:
        reader = CommandReader()
        reader.receive(b"a " + (line.encode() if isinstance(line, str) else line) + b"\r\n")
        return reader.next()

    def test_examples(self) -> None:
        """The examples of RFC 5464 are taken, with the options before the mailbox as the grammar has them, or behind it."""
        small = m.GetMetadata(b"a", "INBOX", ("/shared/comment", "/private/comment"), 1024)
        for line in (
            'GETMETADATA "INBOX" (MAXSIZE 1024) (/shared/comment /private/comment)',
            'GETMETADATA (MAXSIZE 1024) "INBOX" (/shared/Comment /private/comment)',
            "getmetadata (maxsize 1024) inbox /shared/comment /private/comment",
        ):
            self.assertEqual(self.one(line), small, line)
        self.assertEqual(
            self.one('GETMETADATA "INBOX" (DEPTH infinity MAXSIZE 0) (/private)'),
            m.GetMetadata(b"a", "INBOX", ("/private",), 0, m.Depth.INFINITY),
        )
        self.assertEqual(
            self.one(b"SETMETADATA INBOX (/private/comment ~{3+}\r\na\0b /shared/comment NIL)"),
            m.SetMetadata(b"a", "INBOX", (("/private/comment", b"a\0b"), ("/shared/comment", None))),
        )

    def test_refused(self) -> None:
        """Names without a scope, with wildcards, empty or missing components, and unknown options are BAD."""
        for line in (
            "GETMETADATA INBOX /comment",
            "GETMETADATA INBOX /other/comment",
            "GETMETADATA INBOX private/comment",
            "GETMETADATA INBOX /private//comment",
            "GETMETADATA INBOX /private/comment/",
            'GETMETADATA INBOX "/private/com*"',
            'GETMETADATA INBOX "/private/com%"',
            'GETMETADATA INBOX "/private/\x01"',
            f"GETMETADATA INBOX /private/{'x' * 600}",
            "GETMETADATA INBOX ()",
            "GETMETADATA INBOX",
            "GETMETADATA INBOX (DEPTH 2) /private/comment",
            "GETMETADATA INBOX (DEPTH 1 DEPTH 1) /private/comment",
            "GETMETADATA INBOX (FOO 2) /private/comment",
            "GETMETADATA (MAXSIZE) INBOX /private/comment",
            "SETMETADATA INBOX /private/comment x",
            'SETMETADATA INBOX (/private "x")',
            'SETMETADATA INBOX (/private/vendor/x "x")',
            "SETMETADATA INBOX (/private/comment)",
            "SETMETADATA INBOX (/private/comment x)",
            'SETMETADATA INBOX (/private/comment "x" /private/COMMENT "y")',
            "SETMETADATA INBOX ()",
            'SETQUOTA "" STORAGE 1',
            'SETQUOTA "" (STORAGE)',
            "GETQUOTA",
            "GETQUOTAROOT",
            "LANGUAGE ",
            'LANGUAGE ""',
            "LANGUAGE e_n",
        ):
            event = self.one(line)
            self.assertIsInstance(event, BadCommand, line)
            self.assertEqual(event.condition, "BAD", line)  # type: ignore[attr-defined]

    def test_too_large(self) -> None:
        """RFC 5464 section 4.3: a value that is too large is refused with the largest that would do, before it is sent."""
        for size in (MAX_VALUE_OCTETS + 1, 10_000_000):
            event = self.one(f"SETMETADATA INBOX (/private/comment {{{size}}}")
            self.assertEqual(
                event, BadCommand(b"a", "value is too large", f"METADATA MAXSIZE {MAX_VALUE_OCTETS}", "NO")
            )

    def test_too_many(self) -> None:
        """The number of entries in one command has a limit."""
        names = " ".join(f"/private/{n}" for n in range(1001))
        for line in (f"GETMETADATA INBOX {names}", f"GETMETADATA INBOX ({names})"):
            self.assertEqual(self.one(line), BadCommand(b"a", "too many entries", "LIMIT", "NO"))
