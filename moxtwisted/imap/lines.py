r"""FETCH responses of many messages that tell only what is in memory: numbers, flags, mod-sequences.

::

    message_lines(b"* %d FETCH (", [1, 2], Told(uids=[4, 7], flags=[seen, none]))
    -> b"* 1 FETCH (UID 4 FLAGS (\\Seen))\r\n* 2 FETCH (UID 7 FLAGS ())\r\n"

Formatting each line takes 0.18 µs, putting the texts that they have in common and the texts that they have not into one list and
joining that a third of it.

Lines of very many messages are made when their turn to go out comes: among output there may stand an iterator of ``bytes``, a ``Piece``
like others. What it tells is what was true when it was made, whatever happens meanwhile::

    in_pieces(render, 100_000, what)                # [an iterator that calls render(what, 0, 1024), render(what, 1024, 2048), …]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from attrs import frozen

from moxtwisted.imap.wire.decimals import decimals
from moxtwisted.message.flags import MessageFlags

__all__ = ["MANY", "Piece", "Told", "expunged_lines", "flat", "in_pieces", "message_lines", "render_flags"]

_T = TypeVar("_T")

#: From so many messages on it is worth it.
MANY = 32
#: Messages that one piece of octets tells of; it goes out at once if it has no more than 64 KiB.
_MESSAGES_A_PIECE = 1024

Piece = bytes | Iterator[bytes]
"""Output: octets, or an iterator of them where there are so many that they go out one after the other."""


def in_pieces(render: Callable[[_T, int, int], bytes], count: int, what: _T, step: int = 0) -> list[Piece]:
    """Output about so many messages.

    :param render: ``render(what, start, stop)`` gives the octets about some of them, from 0.
    :param step: how many at a time; 0: as is usual.
    """
    step = step or _MESSAGES_A_PIECE
    if count <= step:
        return [render(what, 0, count)] if count else []
    return [(render(what, start, min(start + step, count)) for start in range(0, count, step))]


def flat(output: Iterable[Piece]) -> Iterator[bytes]:
    """All octets of it, one after the other."""
    for piece in output:
        if isinstance(piece, bytes):
            yield piece
        else:
            yield from piece


def render_flags(flags: MessageFlags) -> bytes:
    r"""Flags as in a FETCH response, ``(\Seen $Forwarded)``."""
    return ("(" + " ".join(flags.names) + ")").encode("ascii", "replace")


@frozen(eq=False)
class Told:
    """What is told of messages, in this order; all sequences run in parallel, None is not told.

    :ivar uids: ascending.
    """

    uids: Sequence[int] | None = None
    flags: Sequence[MessageFlags] | None = None
    modseqs: Sequence[int] | None = None

    def part(self, start: int, stop: int) -> Told:
        """The same of some of the messages."""
        uids, flags, modseqs = self.uids, self.flags, self.modseqs
        return Told(
            uids[start:stop] if uids is not None else None,
            flags[start:stop] if flags is not None else None,
            modseqs[start:stop] if modseqs is not None else None,
        )


def message_lines(head: bytes, numbers: Sequence[int], told: Told) -> bytes:
    """One untagged response for each message.

    :param head: how each begins, with ``%d`` for the number.
    :param numbers: ascending, at least one.
    """
    start, text = head.decode("ascii").split("%d")
    # A line is made of texts and, where None stands, of the next of the columns.
    line: list[str | None] = [None]
    columns: list[Iterable[str]] = [decimals(numbers)]
    if told.uids is not None:
        line += [text + "UID ", None]
        columns.append(decimals(told.uids))
        text = " "
    if told.flags is not None:
        behind = ")\r\n" + start if told.modseqs is None else " "
        texts = {f: f"{text}FLAGS {render_flags(f).decode('ascii')}{behind}" for f in set(told.flags)}
        if len(texts) == 1:
            line += texts.values()
        else:
            line.append(None)
            columns.append(map(texts.__getitem__, told.flags))
        text = ""
    if told.modseqs is not None:
        line += [text + "MODSEQ (", None, "))\r\n" + start]
        columns.append(map(str, told.modseqs))
    elif told.flags is None:
        line.append(")\r\n" + start)
    return _filled(start, line, columns, len(numbers))


def expunged_lines(numbers: Sequence[int]) -> bytes:
    """EXPUNGE responses, the last of these numbers first.

    :param numbers: ascending, at least one.
    """
    return ("* " + " EXPUNGE\r\n* ".join(decimals(numbers)[::-1]) + " EXPUNGE\r\n").encode("ascii")


def _filled(start: str, line: list[str | None], columns: Sequence[Iterable[str]], count: int) -> bytes:
    """All lines; each ends with the beginning of the next."""
    texts = [text or "" for text in line] * count
    places = [place for place, text in enumerate(line) if text is None]
    for place, column in zip(places, columns, strict=True):
        texts[place :: len(line)] = column
    texts[0] = start + texts[0]
    texts[-1] = texts[-1].removesuffix(start)
    return "".join(texts).encode("ascii")
