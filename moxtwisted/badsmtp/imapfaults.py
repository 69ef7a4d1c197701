r"""What becomes of an IMAP reply that goes wrong. No I/O here.

::

    reply = ImapReply((b"* 2 EXISTS\r\n",), b"a1", b"OK done\r\n")
    spoil_imap(reply, Wish("select", fault="wrongtag"), fresh=7)      # a Plan
    spoil_imap(reply, Wish("select", fault="cut"), fresh=7)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from attrs import evolve, frozen

from moxtwisted.badsmtp.faults import LARGEST_NUMBER, STALL_SECONDS, Ending, Plan, Step, spoil
from moxtwisted.badsmtp.grammar import Wish

__all__ = ["DESCRIPTIONS", "IMAP_VERBS", "REFUSALS", "Framer", "ImapReply", "spoil_imap", "verb_of"]

#: The commands that a wish may name; ``any`` is each of them after log-in.
IMAP_VERBS: Final = frozenset(
    {
        "login", "capability", "noop", "logout", "id", "namespace", "enable", "select", "list", "status", "fetch", "search",
        "store", "expunge", "append", "copy", "move", "idle", "create", "delete", "rename", "subscribe", "close", "unselect", "any",
    }
)  # fmt: skip

_SAME: Mapping[str, str] = MappingProxyType(
    {
        "authenticate": "login",
        "examine": "select",
        "lsub": "list",
        "check": "noop",
        "unsubscribe": "subscribe",
    }
)

#: Faults that are an honest refusal: the command is not carried out.
REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        "no": "NO not today",
        "bad": "BAD what is that",
        "alert": "NO [ALERT] the disk is on fire, tell your user",
        "unavailable": "NO [UNAVAILABLE] a part of the server is away",
        "throttled": "NO [THROTTLED] you ask too much, slow down",
        "inuse": "NO [INUSE] somebody else is at it",
        "overquota": "NO [OVERQUOTA] there is no room",
        "limit": "NO [LIMIT] that is too much",
        "serverbug": "NO [SERVERBUG] we did not expect that",
        "badlogin": "NO [AUTHENTICATIONFAILED] bad user name or password",
        "expired": "NO [EXPIRED] the password is too old",
        "nonexistent": "NO [NONEXISTENT] there is no such thing",
    }
)

_GENERIC: Final = (
    "stall",
    "drip",
    "split",
    "cut",
    "close",
    "closeafter",
    "reset",
    "barelf",
    "twice",
    "garbage",
)
#: Of a response that is long on purpose.
LONGEST_KILOBYTES: Final = 4096
_LITERAL: Final = re.compile(rb"\{(\d+)(\+?)\}\r\n")
_MARK: Final = re.compile(rb"\{(\d{1,12})\+?\}\Z")


def verb_of(name: str) -> str:
    """The verb of a command's name: ``"UID FETCH"`` is ``"fetch"``."""
    word = name.rpartition(" ")[2].lower()
    return _SAME.get(word, word)


class Framer:
    """Cuts what a server says into responses, literals inside."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0

    def feed(self, octets: bytes) -> None:
        """What it said."""
        self._buffer += octets

    def next(self) -> bytes | None:
        """The next response with its line end, or None."""
        buffer = self._buffer
        while True:
            end = buffer.find(b"\r\n", self._at)
            if end < 0:
                return None
            mark = _MARK.search(buffer[max(self._at, end - 20) : end])
            if mark is None:
                break
            self._at = end + 2 + int(mark[1])
        response = bytes(buffer[: end + 2])
        del buffer[: end + 2]
        self._at = 0
        return response

    def rest(self) -> bytes:
        """What is no whole response."""
        octets = bytes(self._buffer)
        self._buffer.clear()
        self._at = 0
        return octets


@frozen
class ImapReply:
    """What answers one command.

    :ivar untagged: whole responses, with their line ends.
    :ivar tag: of the command.
    :ivar status: what follows the tag and the space, with its line end.
    """

    untagged: tuple[bytes, ...]
    tag: bytes
    status: bytes

    def wire(self) -> bytes:
        """As it goes out."""
        return b"".join(self.untagged) + self.tag + b" " + self.status

    def adding(self, *responses: bytes) -> ImapReply:
        """With more untagged responses, without line ends, at the end."""
        return evolve(self, untagged=(*self.untagged, *(one + b"\r\n" for one in responses)))


def _once(reply: ImapReply | bytes, ending: Ending = Ending.GO_ON) -> Plan:
    return Plan((Step(0, reply if isinstance(reply, bytes) else reply.wire()),), ending)


_Fault = Callable[[ImapReply, int | None, int], Plan]


def _inserting(*responses: bytes) -> _Fault:
    """Further responses before the tagged one; ``%d`` in them is the number."""

    def fault(reply: ImapReply, number: int | None, fresh: int) -> Plan:
        given = tuple(one.replace(b"%d", b"%d" % (1 if number is None else number)) for one in responses)
        return _once(reply.adding(*given))

    return fault


def _rewriting(change: Callable[[bytes, int | None, int], bytes]) -> _Fault:
    """Each untagged response changed; one that becomes empty is left out."""

    def fault(reply: ImapReply, number: int | None, fresh: int) -> Plan:
        return _once(evolve(reply, untagged=tuple(change(one, number, fresh) for one in reply.untagged)))

    return fault


def _numbers(pattern: bytes, change: Callable[[int, int | None, int], int]) -> _Fault:
    """The number behind (or, with ``(?=…)``, before) something changed in each untagged response, outside literals."""
    expression = re.compile(pattern)

    def rewrite(response: bytes, number: int | None, fresh: int) -> bytes:
        return expression.sub(lambda m: b"%d" % change(int(m[0]), number, fresh), response, count=1)

    return _rewriting(rewrite)


def _wrong_tag(reply: ImapReply, number: int | None, fresh: int) -> Plan:
    return _once(evolve(reply, tag=b"X" + reply.tag + b"X"))


def _no_tag(reply: ImapReply, number: int | None, fresh: int) -> Plan:
    seconds = STALL_SECONDS if number is None else number
    return Plan((Step(0, b"".join(reply.untagged)), Step(seconds, b"")), Ending.CLOSE)


def _late(reply: ImapReply, number: int | None, fresh: int) -> Plan:
    return _once(reply.tag + b" " + reply.status + b"".join(reply.untagged))


def _unknown(reply: ImapReply, number: int | None, fresh: int) -> Plan:
    untagged = tuple(
        one[:-2] + b" XYZZY=42 AUTH=X-NOBODY XPLUGH\r\n" if one.upper().startswith(b"* CAPABILITY") else one
        for one in reply.untagged
    )
    word, _, text = reply.status.partition(b" ")
    status = reply.status if text.startswith(b"[") else word + b' [XNEVERHEARD 4 ("x" y)] ' + text
    more = (
        b'* XBADSMTP 7 (a "b" NIL {3}\r\nabc)',
        b"* 1 XUNKNOWN",
        b"* OK [XBADSMTP (1 2)] nobody knows this",
    )
    return _once(evolve(reply, untagged=untagged, status=status).adding(*more))


def _literals(change: Callable[[int, int | None], int], *, stalls: bool) -> _Fault:
    """The size of the first literal is not what follows."""

    def fault(reply: ImapReply, number: int | None, fresh: int) -> Plan:
        octets, found = _LITERAL.subn(
            lambda m: b"{%d%b}\r\n" % (change(int(m[1]), number), m[2]), reply.wire(), count=1
        )
        if not (found and stalls):
            return _once(octets)
        return Plan((Step(0, octets), Step(STALL_SECONDS, b"")), Ending.CLOSE)

    return fault


def _odd_case(reply: ImapReply, number: int | None, fresh: int) -> Plan:
    def odd(word: bytes) -> bytes:
        letters = word.decode("latin-1")
        return "".join(c.lower() if i % 2 else c.upper() for i, c in enumerate(letters)).encode("latin-1")

    expression = re.compile(rb"\A\* (?:\d+ )?[A-Za-z]+")
    untagged = tuple(expression.sub(lambda m: odd(m[0]), one) for one in reply.untagged)
    word, space, text = reply.status.partition(b" ")
    return _once(evolve(reply, untagged=untagged, status=odd(word) + space + text))


def _long(reply: ImapReply, number: int | None, fresh: int) -> Plan:
    kilobytes = 1000 if number is None else min(number, LONGEST_KILOBYTES)
    return _once(reply.adding(b"* OK " + b"x" * (kilobytes * 1024)))


def _status(change: Callable[[bytes], bytes]) -> _Fault:
    return lambda reply, number, fresh: _once(evolve(reply, status=change(reply.status)))


def _first_gone(reply: ImapReply, number: int | None, fresh: int) -> Plan:
    start = re.compile(rb"(?i)\* %d FETCH " % (1 if number is None else number))
    return _once(evolve(reply, untagged=tuple(one for one in reply.untagged if not start.match(one))))


_BROKEN: Final = (
    b"* 1 FETCH (FLAGS (\\Seen",
    b'* LIST (\\Noselect "/" "a',
    b"* ( [ ) ]",
    b"*",
    b"* 99999999999999999999 EXISTS",
    b"* 1 FETCH (BODY[] ~)",
)

_FAULTS: Mapping[str, _Fault] = MappingProxyType(
    {
        "wrongtag": _wrong_tag,
        "notag": _no_tag,
        "late": _late,
        "unknown": _unknown,
        "unasked": _inserting(
            b"* 1 FETCH (FLAGS (\\Seen $Unasked))",
            b"* SEARCH 1 2 3",
            b'* LIST () "/" "Unasked"',
            b'* STATUS "Unasked" (MESSAGES 9)',
        ),
        "expunge": _inserting(b"* %d EXPUNGE"),
        "shrink": lambda reply, number, fresh: _once(reply.adding(b"* %d EXISTS" % (number or 0))),
        "grow": lambda reply, number, fresh: _once(reply.adding(b"* %d EXISTS" % (number or 999))),
        "malformed": _inserting(*_BROKEN),
        "literallong": _literals(lambda n, number: n + (1000 if number is None else number), stalls=True),
        "literalshort": _literals(
            lambda n, number: max(0, n - (10 if number is None else number)), stalls=False
        ),
        "literalhuge": _literals(lambda n, number: 4294967295, stalls=True),
        "case": _odd_case,
        "long": _long,
        "eightbit": _inserting(b"* OK \xe9\xff\xfe\x80\xc3", b"* OK nul \0 nul"),
        "badcode": _status(lambda status: b"OK [READ-WRITE " + status.partition(b" ")[2]),
        "notext": _status(lambda status: status.partition(b" ")[0].rstrip() + b"\r\n"),
        "uidvalidity": _numbers(
            rb"(?<=\[UIDVALIDITY )\d+|(?<=UIDVALIDITY )\d+", lambda n, number, fresh: fresh
        ),
        "uidnext": _numbers(rb"(?<=UIDNEXT )\d+", lambda n, number, fresh: 1 if number is None else number),
        "count": _numbers(
            rb"(?<=\A\* )\d+(?= EXISTS)|(?<=MESSAGES )\d+",
            lambda n, number, fresh: n + (7 if number is None else number),
        ),
        "gone": _first_gone,
    }
)


def _short(text: str) -> str:
    """The condition and the code of a refusal."""
    return text.partition("]")[0] + "]" if "]" in text else text.partition(" ")[0]


#: Fault to what a client sees.
DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        **{name: f"{_short(text)}; the command is not carried out" for name, text in REFUSALS.items()},
        "bye": "BYE instead of an answer, and the connection is closed",
        "lost": "the connection is closed before the command is carried out",
        "stall": "no answer for N seconds; without a number never (of IDLE: no +, either)",
        "drip": "the answer comes octet by octet, over N seconds (10)",
        "split": "the answer comes in two pieces, N seconds (1) apart",
        "cut": "the first half of the answer (or N octets of it), then the connection is closed",
        "close": "the command is carried out, and the connection closed without an answer",
        "closeafter": "the answer, then the connection is closed",
        "reset": "the connection is reset (TCP RST) without an answer",
        "barelf": "lines end with LF alone",
        "twice": "the answer twice",
        "garbage": "octets that are no answer",
        "wrongtag": "the answer has a tag that nobody said",
        "notag": "the data, but no tagged answer; after N seconds (never) the connection is closed",
        "late": "the tagged answer first, the data behind it",
        "unknown": "responses, codes and capabilities that nobody has heard of",
        "unasked": "flags, a search result, a mailbox and a status that nobody asked for",
        "expunge": "EXPUNGE of message N (1) before the tagged answer, also where it must not be",
        "shrink": "EXISTS with N (0): fewer messages than before, and no EXPUNGE",
        "grow": "EXISTS with N (999): more messages than there are",
        "malformed": "responses with their brackets open, numbers that are none, and a lone asterisk",
        "literallong": "the first literal is announced N octets (1000) too long; nothing follows",
        "literalshort": "the first literal is announced N octets (10) too short",
        "literalhuge": "the first literal is announced with 4 GB; nothing follows",
        "case": "rEsPoNsE names in mixed case",
        "long": "an untagged response of N kB (1000; 4096 at most)",
        "eightbit": "octets beyond ASCII that are no UTF-8, and a NUL, in a response's text",
        "badcode": "a response code without its end in the tagged answer",
        "notext": "a tagged answer without text",
        "uidvalidity": "SELECT and STATUS tell another UIDVALIDITY each time",
        "uidnext": "SELECT and STATUS tell a UIDNEXT (N, or 1) that is not above all UIDs",
        "count": "SELECT and STATUS tell N (7) more messages than there are",
        "gone": "FETCH does not show message N (1), and says OK",
        "deaf": "IDLE tells nothing of what happens",
        "drop": "IDLE is granted, and the connection closed N seconds (1) later",
        "leave": "IDLE is granted, and BYE said N seconds (1) later",
    }
)


def spoil_imap(reply: ImapReply, wish: Wish, fresh: int) -> Plan:
    """How an answer goes out with a fault.

    :param fresh: a number that no answer before had.
    """
    if wish.fault in _GENERIC:
        return spoil(reply.wire(), wish.fault, wish.number)
    fault = _FAULTS.get(wish.fault)
    number = None if wish.number is None else min(wish.number, LARGEST_NUMBER)
    return _once(reply) if fault is None else fault(reply, number, fresh)
