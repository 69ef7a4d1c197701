"""Messages in transfer: dot-unstuffing, the end of DATA, and lone CR and LF, on whole blocks instead of lines.

A ``BodyReader`` takes what arrives after DATA, in any cuts, and gives the message back in blocks::

    >>> reader = BodyReader(BareLineEnds.NORMALISE)
    >>> reader.feed(b"Subject: x\\r\\n\\r\\n..dot\\r\\n.\\r\\nQUIT\\r\\n")
    b'Subject: x\\r\\n\\r\\n.dot\\r\\n'
    >>> reader.done, reader.rest
    (True, b'QUIT\\r\\n')

The message ends with CRLF.CRLF and with nothing else. A dot between other things that some server may take for line ends (a
lone LF, a lone CR, NUL) is how SMTP smuggling hides a second message; it raises ``Smuggling``, whatever the settings are.
Lone LFs elsewhere become CRLF (or raise), so that no later hop sees another end than we did.

Costs per octet come down to four C loops: the search for CRLF-dot, the split into lines, the join, the comparison.
"""

from __future__ import annotations

import re

from moxtwisted.smtp.settings import BareLineEnds

__all__ = ["BodyReader", "BodyWriter", "ChunkReader", "Smuggling"]

#: What a careless server may take for the end: a dot alone between any line ends, and NULs that some of them drop.
_LONE_DOT = re.compile(rb"[\r\n\x00]\.[\r\n\x00]")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BARE_CR = re.compile(rb"\r(?!\n)")
#: An end of block that could belong to a line end, a stuffed dot or the end of data.
_UNDECIDED = re.compile(rb"(?:\r?\n|\r|\x00)?(?:\.\r?)?\Z")


class Smuggling(Exception):  # noqa: N818  (named after what it is)
    """The message has a lone CR or LF where none may be."""


def _undecided(block: bytes) -> int:
    """How many octets at the end of a block have to wait for what follows: 0 to 4, the longest being CR LF dot CR."""
    match = _UNDECIDED.search(block[-4:])
    return 0 if match is None else len(match[0])


def _is_clean(block: bytes, held: bytes, bare: BareLineEnds) -> bool:
    """Whether every CR and LF of the block is part of a CRLF; no CRLF is cut by its ends.

    :param held: what follows the block and is to be looked at next time: here it only tells what stands behind a dot.

    :raise Smuggling: at a lone dot that is no line of its own, or with ``BareLineEnds.REFUSE`` at any lone CR or LF.
    """
    lines = block.splitlines()
    if block.endswith((b"\n", b"\r")):
        lines.append(b"")
    clean = b"\r\n".join(lines) == block
    if clean and 0 not in block and not (held and block.endswith(b".")):
        return True
    if not clean and bare is BareLineEnds.REFUSE:
        raise Smuggling
    whole = block + held
    for match in _LONE_DOT.finditer(whole):
        at = match.start()
        # A dot alone on a proper line ends DATA, so it can be met here only in BDAT, where it is content.
        if at < len(block) and (at == 0 or whole[at - 1 : at + 4] != b"\r\n.\r\n"):
            raise Smuggling
    return clean


class BodyReader:
    """Reads the octets after DATA.

    :ivar done: whether the end of data was read.
    :ivar rest: what came behind it: the next commands.
    """

    __slots__ = ("_bare", "_skip", "_tail", "done", "rest")

    def __init__(self, bare: BareLineEnds) -> None:
        self._bare = bare
        # RFC 5321 section 4.1.1.4: the CRLF of the DATA line counts, so that a dot on the first line is seen.
        self._tail = b"\r\n"
        self._skip = 2
        self.done = False
        self.rest = b""

    def feed(self, octets: bytes) -> bytes:
        """The next octets; up to four are held back until it is known what they are.

        :return: octets of the message, dots unstuffed, possibly none.
        :raise Smuggling: see the module.
        """
        block = self._tail + octets
        # Several times faster than find; mostly no line begins with a dot but the last.
        end = block.rfind(b"\r\n.")
        stuffed = end >= 0 and (block[end + 3 : end + 5] != b"\r\n" or block.rfind(b"\r\n.", 0, end) >= 0)
        if stuffed:
            end = block.find(b"\r\n.\r\n")
        if end >= 0:
            self.done, self.rest, self._tail = True, block[end + 5 :], b""
            block = block[: end + 2]
        else:
            hold = _undecided(block)
            self._tail = block[len(block) - hold :]
            if hold:
                block = block[:-hold]
        if not block:
            return block
        clean = _is_clean(block, self._tail, self._bare)
        if stuffed:
            block = block.replace(b"\r\n.", b"\r\n")
        if not clean:
            block = _BARE_LF.sub(b"\r\n", block)
        if self._skip:
            block, self._skip = block[self._skip :], 0
        return block


class ChunkReader:
    """Reads a message that comes by BDAT: no dots are stuffed and nothing ends it, but lone LFs are treated alike.

    What one chunk held back comes with the next, or from ``finish``.
    """

    __slots__ = ("_bare", "_skip", "_tail")

    def __init__(self, bare: BareLineEnds) -> None:
        self._bare = bare
        self._tail = b"\r\n"
        self._skip = 2

    def feed(self, octets: bytes) -> bytes:
        """The next octets of the message; some of them may be held back until more is known.

        :raise Smuggling: see the module.
        """
        block = self._tail + octets
        hold = _undecided(block)
        self._tail = block[len(block) - hold :]
        return self._clean(block[:-hold] if hold else block)

    def finish(self) -> bytes:
        """What was held back, at the end of the message.

        :raise Smuggling: see the module.
        """
        block, self._tail = self._tail, b""
        return self._clean(block)

    def _clean(self, block: bytes) -> bytes:
        if not block:
            return block
        if not _is_clean(block, self._tail, self._bare):
            block = _BARE_LF.sub(b"\r\n", block)
        if self._skip:
            block, self._skip = block[self._skip :], 0
        return block


class BodyWriter:
    """Makes the octets that go out after DATA: line ends CRLF, dots stuffed, the end of data::

        >>> writer = BodyWriter()
        >>> writer.feed(b"a\\n.b\\r\\n") + writer.finish()
        b'a\\r\\n..b\\r\\n.\\r\\n'

    A lone LF becomes CRLF. A lone CR becomes a space: RFC 5321 section 2.3.8 lets nobody send one, and as a line end it
    could make a header field out of text.
    """

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the end of what was sent, at most two octets: CRLF, a CR that is undecided, or another octet

    def feed(self, octets: bytes) -> bytes:
        """Octets of the message, in any cuts, to octets to send."""
        if not octets:
            return b""
        tail = self._tail
        held = tail == b"\r"
        block = tail + octets
        hold = block.endswith(b"\r")
        if hold:
            block = block[:-1]
        lines = block.splitlines()
        if block.endswith((b"\n", b"\r")):
            lines.append(b"")
        if b"\r\n".join(lines) != block:
            block = _BARE_LF.sub(b"\r\n", _BARE_CR.sub(b" ", block))
        sent = 0 if held else len(tail)
        self._tail = b"\r" if hold else (b"\r\n" if block.endswith(b"\r\n") else block[-1:])
        return block.replace(b"\r\n.", b"\r\n..")[sent:]

    def finish(self) -> bytes:
        """What ends the message: a missing line end, and the dot."""
        if self._tail == b"\r\n":
            return b".\r\n"
        return b" \r\n.\r\n" if self._tail == b"\r" else b"\r\n.\r\n"
