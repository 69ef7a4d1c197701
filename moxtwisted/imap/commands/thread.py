r"""THREAD and UID THREAD (RFC 5256): the messages that match, put into threads.

::

    C: a1 THREAD REFERENCES UTF-8 SINCE 5-Mar-2000
    S: * THREAD (2)(3 6 (4 23)(44 7 96))
    S: a1 OK THREAD completed
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

from moxtwisted.imap.commands.matching import Matching
from moxtwisted.imap.commands.messagelimit import concluded, cut_search
from moxtwisted.imap.commands.ordering import load_members, load_subject_members, take_turns
from moxtwisted.imap.commands.search import matches, prepare
from moxtwisted.imap.connection import Answer, Connection, RefusalError
from moxtwisted.imap.wire.commands import Thread
from moxtwisted.imap.wire.sortcriteria import ThreadAlgorithm
from moxtwisted.message.threadtree import Threads, thread_by_references, thread_by_subject

__all__ = ["render_threads", "thread"]

_NODES_AT_ONCE: Final = 5000

_ALGORITHMS: Final[dict[ThreadAlgorithm, tuple[Any, Any]]] = {
    ThreadAlgorithm.ORDEREDSUBJECT: (load_subject_members, thread_by_subject),
    ThreadAlgorithm.REFERENCES: (load_members, thread_by_references),
}


async def thread(connection: Connection, command: Thread) -> Answer:
    """THREAD: search, then make threads of what was found."""
    if f"THREAD={command.algorithm.value}" not in connection.offered:
        raise RefusalError(f"THREAD {command.algorithm.value} is not available now", kind="BAD")
    prepare(connection, command, None)
    matching = Matching(connection)
    cut = cut_search(connection, matching, command.key)
    found = await matches(connection, matching, command.key)
    load, build = _ALGORITHMS[command.algorithm]
    there, members = await load(connection, matching, found)
    threads = await take_turns(connection, build(members))
    # Forgetting all this takes 20 ms, so it is done a part at a time.
    del members, found
    uids = matching.uids
    numbers = [uids[at] for at in there] if command.uid else [at + 1 for at in there]
    text = await take_turns(connection, render_threads(threads, numbers))
    connection.out.append(b"* THREAD %b\r\n" % text if text else b"* THREAD\r\n")
    return concluded(connection, cut, None, "THREAD")


def render_threads(threads: Threads, numbers: Sequence[int]) -> Generator[None, None, bytes]:
    """``1*thread-list`` (RFC 5256 section 5).

    :param numbers: by message, what the client is told.
    """
    children, count = threads.children, len(numbers)
    pieces: list[str] = []
    # What is still to be written, the last one first: a node that opens a list, or the text that closes one.
    todo: list[int | str] = list(reversed(threads.roots))
    steps = 0
    while todo:
        node = todo.pop()
        if isinstance(node, str):
            pieces.append(node)
            continue
        pieces.append("(")
        below: Sequence[int] = (node,)
        while len(below) == 1:
            # One answer to one message, and so on: members of one list.
            node = below[0]
            if node < count:
                pieces.append(f"{numbers[node]} ")
            below = children.get(node, ())
            steps += 1
        if not below:
            pieces[-1] = pieces[-1][:-1] + ")"
        else:
            todo.append(")")
            todo += reversed(below)
        if steps > _NODES_AT_ONCE:
            steps = 0
            yield
    text = "".join(pieces).encode("ascii")
    del pieces
    yield
    return text
