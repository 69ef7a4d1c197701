"""Commands written by a client are read by a server as the same commands."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire import aclcommands as a
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import fetchattributes as f
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.mailboxfilter import FilterKind, MailboxFilter
from moxtwisted.imap.wire.parser import AppendChunk, CommandReader, NeedContinuation
from moxtwisted.imap.wire.request import NonSync, Outgoing, render_append, render_command
from moxtwisted.imap.wire.returnoptions import Partial, ReturnOption, ReturnOptions, Update
from moxtwisted.imap.wire.sequence import STAR, SequenceSet
from moxtwisted.imap.wire.sortcriteria import SortCriterion, SortKey, ThreadAlgorithm
from tests.imap.wire.reading import cut, joined, read

tags = st.from_regex(rb"\A[A-Za-z0-9.]{1,8}\Z")
atoms = st.from_regex(r"\A[A-Za-z$_][A-Za-z0-9$_-]{0,8}\Z")
text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
mailboxes = st.text(st.sampled_from('abXY/&ü日 "\\%*(){}😀-,'), max_size=10).filter(
    lambda n: n[:5].upper() != "INBOX"
)
RECEIVED = datetime(2020, 1, 2, 3, tzinfo=UTC)
uint32 = st.integers(1, 0xFFFFFFFF)
uint63 = st.integers(1, 2**63 - 1)
flag_names = st.lists(
    st.sampled_from(["\\Seen", "\\Deleted", "\\Foo", "$Junk", "a", "A"]), unique=True, max_size=4
).map(tuple)


def a_range(ends: tuple[int, int]) -> tuple[int, int]:
    low, high = sorted(ends)
    return (high, STAR) if low == STAR else (low, high)


known_sets = (
    st.lists(st.tuples(uint32, uint32).map(a_range), min_size=1, max_size=4).map(tuple).map(SequenceSet)
)
sets = st.one_of(
    st.just(SequenceSet(saved=True)),
    st.lists(st.tuples(uint32 | st.just(STAR), uint32 | st.just(STAR)).map(a_range), min_size=1, max_size=4)
    .map(tuple)
    .map(SequenceSet),
)
parts = st.lists(uint32, max_size=4).map(tuple)
partials = st.none() | st.tuples(st.integers(0, 2**63 - 1), uint63)
field_names = st.lists(
    st.text(st.sampled_from('aB-"\\ ()]'), min_size=1, max_size=6), min_size=1, max_size=3
).map(tuple)


@st.composite
def body_sections(draw: st.DrawFn) -> f.BodySection:
    part = draw(parts)
    what = draw(st.none() | st.sampled_from(f.SectionText))
    if what is f.SectionText.MIME and not part:
        what = None
    listed = what in {f.SectionText.HEADER_FIELDS, f.SectionText.HEADER_FIELDS_NOT}
    return f.BodySection(part, what, draw(field_names) if listed else (), draw(partials), draw(st.booleans()))


attributes = st.one_of(
    st.sampled_from(list(f.SIMPLE.values())),
    body_sections(),
    st.builds(f.BinarySection, parts, partials, st.booleans()),
    st.builds(f.BinarySize, parts),
)
days = st.dates(date(1, 1, 1), date(9999, 12, 31))
leaves = st.one_of(
    st.sampled_from([k.Everything(), k.SaveDateSupported()]),
    st.builds(k.HasFlag, st.sampled_from(["\\Seen", "\\Recent", "\\Draft", "$x", "y"]), st.booleans()),
    st.builds(k.HeaderContains, st.sampled_from(["From", "X-y", "a b", ""]), text),
    st.builds(k.BodyContains, text),
    st.builds(k.TextContains, text),
    st.builds(k.InternalDate, st.sampled_from(k.Comparison), days),
    st.builds(k.SentDate, st.sampled_from(k.Comparison), days),
    st.builds(k.SavedDate, st.sampled_from(k.Comparison), days),
    st.builds(k.Younger, uint32),
    st.builds(k.Older, uint32),
    st.builds(k.Larger, uint63),
    st.builds(k.Smaller, uint63),
    st.builds(k.UidIn, sets),
    st.builds(k.UidAfter, st.integers(1, 2**32 - 1)),
    st.builds(k.UidBefore, st.integers(1, 2**32 - 1)),
    st.builds(k.NumberIn, sets),
    st.builds(k.ModSeqAtLeast, uint63),
    st.builds(k.ModSeqAtLeast, uint63, st.just("/flags/\\seen"), st.sampled_from(["all", "priv"])),
    st.builds(k.EmailIdIs, atoms),
    st.builds(k.ThreadIdIs, atoms),
    st.builds(k.Filter, atoms),
)
search_keys = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(k.Not, inner),
        st.builds(k.Fuzzy, inner),
        st.builds(k.Or, inner, inner),
        st.lists(inner, min_size=2, max_size=4).map(tuple).map(k.And),
    ),
    max_leaves=12,
)


windows = st.builds(
    lambda sign, first, last: Partial(sign * first, sign * last),
    st.sampled_from([1, -1]),
    st.integers(1, 0xFFFFFFFF),
    st.integers(1, 0xFFFFFFFF),
)


updates = st.builds(Update, st.lists(attributes, min_size=1, max_size=4).map(tuple))


@st.composite
def _returns(draw: st.DrawFn) -> ReturnOptions | None:
    plain = draw(st.none() | st.frozensets(st.sampled_from(c.SearchReturn), min_size=1))
    if plain is None:
        return plain
    options: frozenset[ReturnOption] = frozenset(plain)
    if draw(st.booleans()):
        options = (options - {c.SearchReturn.UPDATE}) | {draw(updates)}
    return (options - {c.SearchReturn.ALL}) | {draw(windows)} if draw(st.booleans()) else options


returns = _returns()


@st.composite
def fetches(draw: st.DrawFn) -> c.Fetch:
    since = draw(st.none() | uint63)
    uid = draw(st.booleans())
    items = draw(st.lists(attributes, min_size=1, max_size=4).map(tuple))
    vanished = since is not None and uid and draw(st.booleans())
    window = draw(st.none() | windows) if uid else None
    return c.Fetch(draw(tags), draw(sets), items, since, vanished, uid, window)


@st.composite
def lists(draw: st.DrawFn) -> c.List:
    selection = draw(st.frozensets(st.sampled_from(c.ListSelection)))
    if not selection & {c.ListSelection.SUBSCRIBED, c.ListSelection.SPECIAL_USE}:
        selection -= {c.ListSelection.RECURSIVEMATCH}
    patterns = draw(st.lists(mailboxes, min_size=1, max_size=3).map(tuple))
    returns = draw(st.frozensets(st.sampled_from(c.ListReturn)))
    status = draw(st.lists(st.sampled_from(c.StatusItem), unique=True, max_size=3).map(tuple))
    entries = st.sampled_from(["/private/comment", "/shared/a b", '/private/x"'])
    metadata = draw(st.lists(entries, unique=True, max_size=2).map(tuple))
    extended = bool(selection or returns or status or metadata or len(patterns) > 1) or draw(st.booleans())
    return c.List(draw(tags), draw(mailboxes), patterns, selection, returns, status, extended, metadata)


bare = st.sampled_from(
    [c.Capability, c.Noop, c.Logout, c.StartTLS, c.Namespace, c.Idle, c.Check, c.Close, c.Unselect, c.Expunge]
)
qresyncs = st.builds(
    c.QResync, uint32, uint63, st.none() | known_sets, st.none() | st.tuples(known_sets, known_sets)
)
commands = st.one_of(
    st.builds(lambda of, tag: of(tag), bare, tags),
    st.builds(c.Id, tags, st.none() | st.lists(st.tuples(atoms, st.none() | text), max_size=3).map(tuple)),
    st.builds(c.Login, tags, text, text),
    st.builds(c.Authenticate, tags, atoms.map(str.upper), st.none() | st.binary(max_size=9)),
    st.builds(c.Enable, tags, st.lists(atoms.map(str.upper), min_size=1, max_size=3).map(tuple)),
    st.builds(c.Select, tags, mailboxes, st.booleans(), st.booleans(), st.none() | qresyncs),
    st.builds(c.Create, tags, mailboxes, st.none() | st.sampled_from([(), ("\\Sent",), ("\\Foo", "\\All")])),
    st.builds(c.Delete, tags, mailboxes),
    st.builds(c.Rename, tags, mailboxes, mailboxes),
    st.builds(c.Subscribe, tags, mailboxes),
    st.builds(c.Unsubscribe, tags, mailboxes),
    lists(),
    st.builds(c.Lsub, tags, mailboxes, mailboxes),
    st.builds(c.Status, tags, mailboxes, st.lists(st.sampled_from(c.StatusItem), unique=True, min_size=1).map(tuple)),
    st.builds(c.UIDExpunge, tags, sets),
    st.builds(c.CancelUpdate, tags, st.lists(tags, min_size=1, max_size=3).map(tuple)),
    st.builds(
        c.MultiSearch,
        tags,
        search_keys,
        st.lists(
            st.sampled_from([MailboxFilter(kind) for kind in (FilterKind.SELECTED, FilterKind.PERSONAL)])
            | st.builds(
                MailboxFilter,
                st.sampled_from([kind for kind in FilterKind if kind.has_names]),
                st.lists(mailboxes, min_size=1, max_size=3, unique=True).map(tuple),
            ),
            max_size=3,
        ).map(tuple),
        st.none() | st.frozensets(st.sampled_from(c.SearchReturn), min_size=1),
        st.none() | st.just("UTF-8"),
    ),
    st.builds(
        c.Search,
        tags,
        search_keys,
        returns,
        st.sampled_from([None, "UTF-8"]),
        st.booleans(),
    ),
    st.builds(
        c.Sort,
        tags,
        st.lists(st.builds(SortCriterion, st.sampled_from(SortKey), st.booleans()), min_size=1, max_size=4).map(tuple),
        search_keys,
        returns,
        st.just("UTF-8"),
        st.booleans(),
    ),
    st.builds(c.Thread, tags, st.sampled_from(ThreadAlgorithm), search_keys, st.just("UTF-8"), st.booleans()),
    fetches(),
    st.builds(c.Store, tags, sets, st.sampled_from(c.StoreMode), flag_names, st.booleans(), st.none() | uint63, st.booleans()),
    st.builds(c.Copy, tags, sets, mailboxes, st.booleans()),
    st.builds(c.Move, tags, sets, mailboxes, st.booleans()),
    st.builds(a.SetACL, tags, mailboxes, text, text),
    st.builds(a.DeleteACL, tags, mailboxes, text),
    st.builds(a.GetACL, tags, mailboxes),
    st.builds(a.ListRights, tags, mailboxes, text),
    st.builds(a.MyRights, tags, mailboxes),
)  # fmt: skip


class RoundTripTests(SynchronousTestCase):
    @given(commands, st.sampled_from(NonSync), st.booleans(), st.lists(st.integers(0, 200), max_size=4))
    @settings(max_examples=300)
    def test_commands(self, command: c.Command, literals: NonSync, utf8: bool, places: list[int]) -> None:
        """Every command is read as what was written, in any mode, in any cuts; each wait is announced."""
        reader = CommandReader()
        reader.utf8 = utf8
        segments = render_command(command, literals=literals, utf8=utf8)
        events: list[Any] = []
        for segment in segments[:-1]:
            found = read(reader, *cut(segment, places))
            self.assertEqual([type(event) for event in found], [NeedContinuation])
            events += found
        self.assertEqual(read(reader, *cut(segments[-1], places)), [command])

    @given(
        mailboxes,
        st.lists(st.builds(Outgoing, st.binary(max_size=30), flag_names, st.none() | st.just(RECEIVED)), min_size=1, max_size=3),
        st.sampled_from(NonSync),
    )  # fmt: skip
    @settings(max_examples=100)
    def test_append(self, mailbox: str, messages: list[Outgoing], literals: NonSync) -> None:
        """So is every APPEND, its messages handed out octet for octet."""
        events = joined(read(CommandReader(), *render_append(b"a", mailbox, messages, literals=literals)))
        append = events[-1]
        self.assertIsInstance(append, c.Append)
        assert isinstance(append, c.Append)
        self.assertEqual(append.mailbox, mailbox)
        self.assertEqual(
            [(m.flags, m.received) for m in append.messages], [(m.flags, m.received) for m in messages]
        )
        chunks = [event for event in events if isinstance(event, AppendChunk)]
        self.assertEqual([chunk.data for chunk in chunks], [m.data for m in messages])

    def test_append_needs_its_messages(self) -> None:
        """APPEND is written by a function of its own; DONE has no tag."""
        self.assertRaises(TypeError, render_command, c.Append(b"a", "x", ()))
        self.assertEqual(render_command(c.Done(b"a")), [b"DONE\r\n"])

    def test_nothing_is_left_out(self) -> None:
        """What a reader makes and nobody wrote a writer for is refused, not sent without its arguments."""

        class Unheard(c.Command):
            name = "UNHEARD"

        self.assertRaisesRegex(TypeError, "Unheard", render_command, Unheard(b"a"))
        self.assertRaisesRegex(TypeError, "Replace", render_command, c.Replace(b"a", 1, "x", None))
