"""Threads: the examples of RFC 5256, an independent, naive implementation of its words, and chains that are too long for recursion."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.threadtree import (
    ThreadMember,
    ThreadMembers,
    Threads,
    Work,
    _Linking,
    thread_by_references,
    thread_by_subject,
)


def done(work: Work) -> Threads:
    """The result of the work, however often it yields."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            threads: Threads = end.value
            return threads


def nested(threads: Threads, count: int) -> list[Any]:
    """(number or None for a dummy, [children]) of shallow threads."""

    def node(at: int) -> Any:
        return (at if at < count else None, [node(child) for child in threads.children.get(at, ())])

    return [node(root) for root in threads.roots]


# -- the words of RFC 5256 section 3, one by one ----------------------------------------------------------------------


class Node:
    """A message, or a dummy when ``message`` is None."""

    def __init__(self, number: int | None = None, message: ThreadMember | None = None) -> None:
        self.number, self.message = number, message
        self.parent: Node | None = None
        self.children: list[Node] = []

    def adopt(self, child: Node) -> None:
        child.leave()
        child.parent = self
        self.children.append(child)

    def leave(self) -> None:
        if self.parent is not None:
            self.parent.children.remove(self)
            self.parent = None

    def is_descendant_of(self, other: Node) -> bool:
        above = self.parent
        while above is not None:
            if above is other:
                return True
            above = above.parent
        return False

    def key(self) -> tuple[int, int]:
        if self.message is None or self.number is None:
            return min(child.key() for child in self.children)
        return self.message.sent, self.number

    def subject(self) -> str:
        return self.message.subject if self.message is not None else self.children[0].subject()

    def replies(self) -> bool:
        return self.message is not None and self.message.is_reply

    def tree(self) -> Any:
        return self.number, [child.tree() for child in self.children]


def link(parent: Node, child: Node) -> None:
    if parent is not child and not parent.is_descendant_of(child):
        parent.adopt(child)


def prune(parent: Node, root: Node) -> None:
    for child in list(parent.children):
        prune(child, root)
        if child.message is not None:
            continue
        if not child.children:
            child.leave()
        elif parent is not root or len(child.children) == 1:
            grandchildren = list(child.children)
            child.leave()
            for grandchild in grandchildren:
                parent.adopt(grandchild)


def put_in_order(node: Node) -> None:
    for child in node.children:
        put_in_order(child)
    node.children.sort(key=Node.key)


def naive(messages: Sequence[ThreadMember]) -> list[Any]:
    """REFERENCES, as slowly and literally as can be."""
    table: dict[object, Node] = {}
    nodes = []
    for number, message in enumerate(messages):
        node = Node(number, message)
        identifier: object = message.message_id
        if not identifier or identifier in table:
            identifier = ("unique", number)
        table[identifier] = node
        nodes.append(node)
    for node, message in zip(nodes, messages, strict=True):
        references = [table.setdefault(r, Node()) for r in message.references]
        for parent, child in pairwise(references):
            if child.parent is None:
                link(parent, child)
        node.leave()
        if references:
            link(references[-1], node)
    root = Node()
    for node in table.values():
        if node.parent is None:
            root.adopt(node)
    prune(root, root)
    put_in_order(root)
    subjects: dict[str, Node] = {}
    for child in root.children:
        subject = child.subject()
        if not subject:
            continue
        known = subjects.get(subject)
        if known is None or (
            known.message is not None and (child.message is None or (known.replies() and not child.replies()))
        ):
            subjects[subject] = child
    for child in list(root.children):
        if child.parent is not root:
            continue
        subject = child.subject()
        known = subjects.get(subject)
        if not subject or known is None or known is child:
            continue
        if child.message is None and known.message is None:
            for grandchild in list(child.children):
                known.adopt(grandchild)
            child.leave()
        elif known.message is None or (child.replies() and not known.replies()):
            known.adopt(child)
        else:
            dummy = Node()
            root.adopt(dummy)
            dummy.adopt(known)
            dummy.adopt(child)
            subjects[subject] = dummy
    put_in_order(root)
    return [child.tree() for child in root.children]


identifiers = st.sampled_from([b"%d@x" % n for n in range(9)])
members = st.builds(
    ThreadMember,
    st.one_of(st.just(b""), identifiers),
    st.lists(identifiers, max_size=5).map(tuple),
    st.sampled_from(["", "A", "B", "C"]),
    st.booleans(),
    st.integers(0, 6),
)


class ReferencesTests(SynchronousTestCase):
    @given(st.lists(members, max_size=14))
    @settings(max_examples=200)
    def test_against_naive(self, messages: list[ThreadMember]) -> None:
        """Any messages are threaded as the algorithm of the RFC, carried out word by word, threads them."""
        self.assertEqual(
            nested(done(thread_by_references(ThreadMembers.of(messages))), len(messages)), naive(messages)
        )

    @given(st.lists(members, max_size=14))
    @settings(max_examples=100)
    def test_each_message_once(self, messages: list[ThreadMember]) -> None:
        """Each message is in the threads once; dummies are at the top only, and hold two or more together."""
        threads = done(thread_by_references(ThreadMembers.of(messages)))
        count = len(messages)
        below = [child for children in threads.children.values() for child in children]
        self.assertEqual(sorted(n for n in [*threads.roots, *below] if n < count), list(range(count)))
        self.assertEqual([child for child in below if child >= count], [])
        for dummy in (n for n in {*threads.roots, *threads.children} if n >= count):
            self.assertIn(dummy, threads.roots)
            self.assertGreater(len(threads.children[dummy]), 1)

    def test_truncated_references(self) -> None:
        """The last reference is the parent, whatever another message's truncated list said before."""
        messages = [
            ThreadMember(b"a", (), "S", False, 1),
            # Somebody left b out of the list.
            ThreadMember(b"d", (b"a", b"c"), "S", True, 4),
            ThreadMember(b"c", (b"a", b"b"), "S", True, 3),
            ThreadMember(b"b", (b"a",), "S", True, 2),
        ]
        threads = done(thread_by_references(ThreadMembers.of(messages)))
        self.assertEqual(threads.roots, [0])
        self.assertEqual(threads.children, {0: [3], 3: [2], 2: [1]})

    def test_loops(self) -> None:
        """Messages that refer to each other, or to themselves, do not make a loop."""
        messages = [
            ThreadMember(b"a", (b"b",), "A", True, 1),
            ThreadMember(b"b", (b"a",), "B", True, 2),
            ThreadMember(b"c", (b"c",), "C", True, 3),
        ]
        threads = done(thread_by_references(ThreadMembers.of(messages)))
        self.assertEqual(nested(threads, 3), [(1, [(0, [])]), (2, [])])

    def test_long_chain(self) -> None:
        """Ten thousand replies in a row are one thread, in whatever order they lie in the mailbox."""
        count = 10_000
        for order in (
            range(count),
            range(count - 1, -1, -1),
            sorted(range(count), key=lambda n: n * 7919 % count),
        ):
            messages = [
                ThreadMember(b"%d" % n, (b"%d" % (n - 1),) if n else (), "s", n > 0, n) for n in order
            ]
            threads = done(thread_by_references(ThreadMembers.of(messages)))
            self.assertEqual(len(threads.roots), 1)
            at, length = threads.roots[0], 1
            while at in threads.children:
                (at,) = threads.children[at]
                length += 1
            self.assertEqual(length, count)

    def test_chain_of_missing_messages(self) -> None:
        """Messages whose ancestors are all missing are still siblings of one dummy, however long the way to it is."""
        way = tuple(b"%d" % n for n in range(900))
        messages = [ThreadMember(b"x", way, "A", True, 1), ThreadMember(b"y", way[:1], "B", True, 2)]
        threads = done(thread_by_references(ThreadMembers.of(messages)))
        self.assertEqual(nested(threads, 2), [(None, [(0, []), (1, [])])])

    def test_malicious_references(self) -> None:
        """One message cannot make us walk up a very long thread again and again, also when links in it were broken."""

        def message(*references: bytes, name: bytes = b"") -> ThreadMember:
            return ThreadMember(name, references, "S", False, 0)

        names = [b"%d" % n for n in range(30_000)]
        chain = [message(*names[at : at + 1000]) for at in range(0, len(names), 999)]
        whole = _Linking(ThreadMembers.of([*chain, message(*(b"29970", b"0") * 500)]))
        broken = _Linking(
            ThreadMembers.of([*chain, message(b"other", name=b"29980"), message(*(b"29970", b"0") * 500)])
        )
        for linking in (whole, broken):
            count = len(linking.parents)
            linking.register(0, count)
            for at in range(count):
                linking.steps = 0
                linking.add(at)
                self.assertLess(linking.steps, 25_000)

    def test_others_have_their_turn(self) -> None:
        """The work is done in steps, also where all messages have one subject."""
        for subject in ("{}", "same"):
            messages = ThreadMembers.of(
                ThreadMember(b"%d" % n, (), subject.format(n), n > 0, n) for n in range(20_000)
            )
            self.assertGreater(sum(1 for _ in thread_by_references(messages)), 20)
            self.assertGreater(sum(1 for _ in thread_by_subject(messages)), 9)


class SubjectTests(SynchronousTestCase):
    @given(st.lists(members, max_size=14))
    @settings(max_examples=100)
    def test_against_naive(self, messages: list[ThreadMember]) -> None:
        """Sorted by subject and date, cut where the subject changes, the pieces by their first dates."""
        order = sorted(range(len(messages)), key=lambda n: (messages[n].subject, messages[n].sent, n))
        pieces: list[list[int]] = []
        for n in order:
            if pieces and messages[pieces[-1][0]].subject == messages[n].subject:
                pieces[-1].append(n)
            else:
                pieces.append([n])
        pieces.sort(key=lambda piece: (messages[piece[0]].sent, piece[0]))
        self.assertEqual(
            nested(done(thread_by_subject(ThreadMembers.of(messages))), len(messages)),
            [(piece[0], [(n, []) for n in piece[1:]]) for piece in pieces],
        )
