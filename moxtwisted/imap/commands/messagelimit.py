r"""MESSAGELIMIT (RFC 9738): how many messages one command may be about, and what is said when there were more.

The limit that is announced is what clients should keep to; a higher one is enforced, so that those who never heard of it do
not find their large mailbox cut off (RFC 9738 section 4.2 proposes that). What is enforced takes the newest messages and names the
oldest of them, behind which a client goes on::

    C: 03 FETCH 10000:14589 (UID FLAGS)
    S: * 13590 FETCH (FLAGS () UID 23221)
    S: ...
    S: 03 OK [MESSAGELIMIT 1000 23221] only the newest messages, go on with older ones
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final

from attrs import frozen

from moxtwisted.imap.commands.matching import Matching
from moxtwisted.imap.connection import Answer, Connection, RefusalError
from moxtwisted.imap.wire.searchkeys import SearchKey

__all__ = ["Cut", "concluded", "concluding", "cut_search", "newest", "newest_of", "refuse_more"]

_Ranges = Sequence[tuple[int, int]]

# What begins so was done for the other messages.
_SOME_ARE_GONE: Final = (b"NO [EXPUNGEISSUED]", b"NO [MODIFIED ")


@frozen
class Cut:
    """A command that is about fewer messages than it asked for.

    :ivar most: how many.
    :ivar lowest: the lowest UID among them.
    """

    most: int
    lowest: int

    @property
    def code(self) -> bytes:
        """The response code without brackets."""
        return b"MESSAGELIMIT %d %d" % (self.most, self.lowest)


def _most(connection: Connection) -> int:
    """How many messages a command may be about; 0 for any number."""
    if "MESSAGELIMIT" not in connection.offered:
        return 0
    limits = connection.settings.limits
    return max(limits.messages, limits.messages_enforced)


def newest(connection: Connection, ranges: _Ranges) -> tuple[_Ranges, Cut | None]:
    """The newest of the messages at these positions of the view, as many as a command may be about."""
    most = _most(connection)
    if not most or sum(stop - start for start, stop in ranges) <= most:
        return ranges, None
    kept: list[tuple[int, int]] = []
    room = most
    # RFC 9738 section 3.1: from the highest UID to the lowest.
    for start, stop in reversed(ranges):
        kept.append((max(start, stop - room), stop))
        room -= stop - kept[-1][0]
        if not room:
            break
    kept.reverse()
    return kept, Cut(most, connection.box.view.uids[kept[0][0]])


def newest_of(connection: Connection, uids: Sequence[int]) -> tuple[Sequence[int], Cut | None]:
    """The same of UIDs, ascending."""
    most = _most(connection)
    if not most or len(uids) <= most:
        return uids, None
    return uids[-most:], Cut(most, uids[-most])


def cut_search(connection: Connection, matching: Matching, key: SearchKey) -> Cut | None:
    """Have a search look at no more messages than it may.

    RFC 9738 section 3.1: it is the messages looked at that count, not those that match.
    """
    most = _most(connection)
    lowest = matching.keep_newest(key, most) if most else None
    return None if lowest is None else Cut(most, lowest)


def refuse_more(connection: Connection, count: int) -> None:
    """Refuse to do all or nothing to so many messages.

    :raise RefusalError: NO with MESSAGELIMIT.
    """
    most = _most(connection)
    if most and count > most:
        raise RefusalError(f"more than {most} messages, and nothing was done", f"MESSAGELIMIT {most}")


def concluded(connection: Connection, cut: Cut | None, answer: Answer, name: str) -> Answer:
    """The tagged response of a command that was perhaps cut short.

    :param answer: what it would have been otherwise.
    """
    if cut is None:
        return answer
    if answer is not None and answer.startswith(b"NO ") and not answer.startswith(_SOME_ARE_GONE):
        return answer
    if answer is None or not answer.startswith((b"OK [", b"NO [")):
        return b"OK [%b] %b of the newest messages only" % (cut.code, name.encode("ascii"))
    # Section 3.1: with EXPUNGEISSUED, which stays in the tagged response, this goes into an untagged NO, and the command is OK.
    connection.out.append(b"* NO [%b] the newest messages only\r\n" % cut.code)
    return b"OK" + answer[2:]


def concluding(
    connection: Connection, cut: Cut | None, pieces: Generator[bytes, None, Answer], name: str
) -> Generator[bytes, None, Answer]:
    """The same for a command that is answered in pieces."""
    return pieces if cut is None else _concluding(connection, cut, pieces, name)


def _concluding(
    connection: Connection, cut: Cut, pieces: Generator[bytes, None, Answer], name: str
) -> Generator[bytes, None, Answer]:
    return concluded(connection, cut, (yield from pieces), name)
