"""Putting messages into threads, as RFC 5256 section 3 describes it: REFERENCES and ORDEREDSUBJECT.

Messages are given in the order of their mailbox; threads come back as trees of their positions::

    messages = ThreadMembers.of([ThreadMember(b"a@x", (), "LUNCH", False, 10), ThreadMember(b"b@x", (b"a@x",), …)])
    work = thread_by_references(messages)
    Threads(roots=[0], children={0: [1]})          # what the generator returns; message 1 answers message 0

A root may be a *dummy*: the place of a message that is not there, but whose answers are. Its number is the number of messages or
above, and it always has two children or more. Nothing is recursive, so that ten thousand replies in a row are no
matter; both are generators that yield every few hundred steps, so that others may have their turn.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Final, NamedTuple

from attrs import define, field, frozen

from moxtwisted.message.stepsort import sort_in_steps

__all__ = ["ThreadMember", "ThreadMembers", "Threads", "Work", "thread_by_references", "thread_by_subject"]

_STEPS: Final = 2000
# How far one message may make us walk up in search of loops; what it says beyond that is not believed.
_MOST_WALKED: Final = 20_000


class ThreadMember(NamedTuple):
    """What counts of a message.

    :ivar message_id: normalised and without angle brackets; empty when there is none.
    :ivar references: of References, or the first of In-Reply-To; oldest first.
    :ivar subject: base subject in the form that is compared.
    :ivar is_reply: whether the subject says that it is a reply or a forward.
    :ivar sent: seconds since 1970.
    """

    message_id: bytes
    references: Sequence[bytes]
    subject: str
    is_reply: bool
    sent: int


@define(eq=False)
class ThreadMembers:
    """What counts of messages, by message: see ``ThreadMember``.

    An object for each of 100,000 would make the garbage collector pause for 50 ms.
    """

    message_ids: list[bytes] = field(factory=list)
    references: list[Sequence[bytes]] = field(factory=list)
    subjects: list[str] = field(factory=list)
    replies: list[bool] = field(factory=list)
    sent: list[int] = field(factory=list)

    @classmethod
    def of(cls, members: Iterable[ThreadMember]) -> ThreadMembers:
        """These."""
        messages = cls()
        for member in members:
            messages.add(member)
        return messages

    def add(self, member: ThreadMember) -> None:
        """One more."""
        self.message_ids.append(member.message_id)
        self.references.append(member.references)
        self.subjects.append(member.subject)
        self.replies.append(member.is_reply)
        self.sent.append(member.sent)


@frozen(eq=False)
class Threads:
    """Trees of messages.

    :ivar roots: first messages of threads, or dummies, in the order of the threads.
    :ivar children: by message or dummy, in order; who has none is not here.
    """

    roots: list[int]
    children: dict[int, list[int]]


Work = Generator[None, None, Threads]
"""Yields None now and then; returns the threads."""


def thread_by_subject(messages: ThreadMembers) -> Work:
    """ORDEREDSUBJECT: one thread for each base subject, the first message the parent of all others.

    :param messages: their subjects and dates count.
    """
    subjects, dates = messages.subjects, messages.sent
    order = yield from sort_in_steps(list(range(len(dates))), dates.__getitem__)
    yield
    # By subject its first message, and by that the others. Threads begin in the order of their first messages, and so they are found.
    threads: dict[str, int] = {}
    children: dict[int, list[int]] = {}
    for start in range(0, len(order), _STEPS):
        for at in order[start : start + _STEPS]:
            first = threads.setdefault(subjects[at], at)
            if first != at:
                children.setdefault(first, []).append(at)
        yield
    return Threads(list(threads.values()), children)


def thread_by_references(messages: ThreadMembers) -> Work:
    """REFERENCES: by what messages refer to, then by the subjects of what is left.

    :param messages: what they refer to is forgotten in the course of it.
    """
    count = len(messages.sent)
    linking = _Linking(messages)
    for start in range(0, count, _STEPS):
        linking.register(start, min(start + _STEPS, count))
        yield
    for at in range(count):
        linking.add(at)
        if linking.steps > _STEPS:
            linking.steps = 0
            yield
    parents = linking.parents
    del linking
    # The order of siblings: by date, then by place in the mailbox (RFC 5256 section 2.2). A dummy gets that of its first child.
    order = yield from sort_in_steps(list(range(count)), messages.sent.__getitem__)
    yield
    ranks = [0] * count
    for rank, at in enumerate(order):
        ranks[at] = rank
    yield
    roots, children = yield from _pruned(parents, order)
    ranks += [0] * (len(parents) - count)
    for root in roots:
        if root >= count:
            ranks[root] = ranks[children[root][0]]
    roots = yield from sort_in_steps(roots, ranks.__getitem__)
    merging = _Merging(messages, roots, children, ranks)
    yield from merging.merge()
    return Threads(merging.roots, children)


class _Linking:
    """Step 1: who is whose parent.

    :ivar parents: by message and then by dummy: the parent, or -1.
    :ivar steps: how much was done since it was set to 0.
    """

    def __init__(self, messages: ThreadMembers) -> None:
        self._messages = messages
        count = len(messages.sent)
        self.parents = [-1] * count
        # Which tree a node is in, by one of its nodes. Breaking a link does not part trees here: nodes in different trees are
        # never related, those in one tree may be.
        self._trees = list(range(count))
        self._nodes: dict[bytes, int] = {}
        # By one of its nodes: trees in which a link was broken, so that they may have several roots.
        self._broken: set[int] = set()
        self._walk = 0
        self.steps = 0

    def register(self, start: int, stop: int) -> None:
        """Let these messages be found by their identifiers."""
        identifiers = self._messages.message_ids
        for at in range(start, stop):
            identifier = identifiers[at]
            if identifier:
                # RFC 5256 section 3 (1) (A): of several with one Message-ID only the first has it.
                self._nodes.setdefault(identifier, at)

    def add(self, at: int) -> None:
        """One message."""
        references = self._messages.references[at]
        # A million identifiers would take 20 ms to go all at once.
        self._messages.references[at] = ()
        parents = self.parents
        self.steps += 1 + len(references)
        self._walk = _MOST_WALKED
        last = -1
        for identifier in references:
            node = self._nodes.get(identifier)
            if node is None:
                node = self._nodes[identifier] = len(parents)
                parents.append(-1)
                self._trees.append(node)
            # (A): an existing link stays as it is.
            if last >= 0 and parents[node] < 0:
                self._link(last, node)
            last = node
        # (B): the last reference is the parent, whatever others said.
        if parents[at] == last:
            return
        if parents[at] >= 0:
            parents[at] = -1
            self._broken.add(self._tree(at))
        if last >= 0:
            self._link(last, at)

    def _link(self, parent: int, child: int) -> None:
        """Make the link, but no loop; the child has no parent yet."""
        if parent == child:
            return
        of_parent, of_child = self._tree(parent), self._tree(child)
        if of_parent == of_child:
            # The root of a whole tree is above everything in it: no need to walk there, which may be far.
            if of_child not in self._broken:
                return
            parents = self.parents
            above = parents[parent]
            while above >= 0:
                if above == child or not self._walk:
                    return
                self._walk -= 1
                self.steps += 1
                above = parents[above]
        else:
            self._trees[of_child] = of_parent
            if of_child in self._broken:
                self._broken.add(of_parent)
        self.parents[child] = parent

    def _tree(self, node: int) -> int:
        trees = self._trees
        while trees[node] != node:
            # Halving the way for those who come after.
            trees[node] = trees[trees[node]]
            node = trees[node]
            self.steps += 1
        return node


def _pruned(
    parents: Sequence[int], order: Sequence[int]
) -> Generator[None, None, tuple[list[int], dict[int, list[int]]]]:
    """Steps 2 and 3: the trees without dummies but those that hold two or more messages together at the top.

    :param order: the messages by date, so that children come in order.
    """
    count = len(order)
    children: dict[int, list[int]] = {}
    # For each dummy, what its children become the children of: the nearest message above it, or the topmost dummy.
    adopting = [-1] * len(parents)
    roots: list[int] = []
    steps = 0
    for at in order:
        parent = parents[at]
        if parent < 0:
            roots.append(at)
            continue
        way = []
        while parent >= count and adopting[parent] < 0:
            way.append(parent)
            if parents[parent] < 0:
                break
            parent = parents[parent]
        if parent >= count and adopting[parent] >= 0:
            parent = adopting[parent]
        for dummy in way:
            adopting[dummy] = parent
        children.setdefault(parent, []).append(at)
        steps += 1 + len(way)
        if steps > _STEPS:
            steps = 0
            yield
    for dummy in [node for node in children if node >= count]:
        if len(children[dummy]) > 1:
            roots.append(dummy)
        else:
            # RFC 5256 section 3 (3): an only child takes the place of the dummy at the top.
            roots.append(children.pop(dummy)[0])
    return roots, children


class _Merging:
    """Steps 5 and 6: threads with the same subject become one, and everything is put in order.

    :ivar roots: in order, once ``merge`` is through.
    """

    def __init__(
        self,
        messages: ThreadMembers,
        roots: list[int],
        children: dict[int, list[int]],
        ranks: list[int],
    ) -> None:
        self.roots = roots
        self._messages = messages
        self._children = children
        self._ranks = ranks
        self._count = len(messages.sent)
        self._changed: dict[int, None] = {}
        self._removed: set[int] = set()

    def _is_dummy(self, node: int) -> bool:
        return node >= self._count

    def _is_reply(self, node: int) -> bool:
        return node < self._count and self._messages.replies[node]

    def _subject(self, root: int) -> str:
        """The thread's subject: of its first message."""
        at = self._children[root][0] if root >= self._count else root
        return self._messages.subjects[at]

    def merge(self) -> Generator[None, None, None]:
        """Do it."""
        table: dict[str, int] = {}
        for start in range(0, len(self.roots), _STEPS):
            for root in self.roots[start : start + _STEPS]:
                self._populate(table, root, self._subject(root))
            yield
        added: list[int] = []
        for start in range(0, len(self.roots), _STEPS):
            for root in self.roots[start : start + _STEPS]:
                if root in self._removed:
                    continue
                subject = self._subject(root)
                if subject and table[subject] != root:
                    dummy = self._join(root, table[subject])
                    if dummy is not None:
                        table[subject] = dummy
                        added.append(dummy)
            yield
        ranks, children = self._ranks, self._children
        by_rank: Callable[[int], int] = ranks.__getitem__
        steps = 0
        for parent in self._changed:
            if parent in children:
                children[parent] = yield from sort_in_steps(children[parent], by_rank)
                if self._is_dummy(parent):
                    ranks[parent] = ranks[children[parent][0]]
                steps += len(children[parent])
            if steps > _STEPS:
                steps = 0
                yield
        yield
        self.roots = [root for root in self.roots + added if root not in self._removed]
        self.roots = yield from sort_in_steps(self.roots, by_rank)

    def _populate(self, table: dict[str, int], root: int, subject: str) -> None:
        """Step 5 (B): the message that speaks for a subject."""
        if not subject:
            return
        known = table.get(subject)
        if known is None or (
            not self._is_dummy(known)
            and (self._is_dummy(root) or (self._is_reply(known) and not self._is_reply(root)))
        ):
            table[subject] = root

    def _join(self, root: int, known: int) -> int | None:
        """Step 5 (C): merge a thread with the one in the table; a new dummy if that takes its place."""
        children = self._children
        self._removed.add(root)
        if self._is_dummy(known):
            # A dummy's children join those of the other, a message joins them itself.
            children[known] += children.pop(root) if self._is_dummy(root) else [root]
            self._changed[known] = None
            return None
        if self._is_reply(root) and not self._is_reply(known):
            children.setdefault(known, []).append(root)
            self._changed[known] = None
            return None
        dummy = len(self._ranks)
        self._ranks.append(0)
        children[dummy] = [known, root]
        self._removed.add(known)
        self._changed[dummy] = None
        return dummy
