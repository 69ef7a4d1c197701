"""What becomes of a POP3 reply that goes wrong. No I/O here.

::

    reply = PopReply(b"+OK 2 messages", b"1 120\\r\\n2 200\\r\\n")
    spoil_pop3(reply, Wish("list", fault="count"))       # a Plan
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

from moxtwisted.badsmtp.faults import STALL_SECONDS, Ending, Plan, Step, spoil
from moxtwisted.badsmtp.grammar import Wish

__all__ = ["DESCRIPTIONS", "POP3_VERBS", "REFUSALS", "PopReply", "spoil_pop3"]

#: The commands that a wish may name; ``any`` is each of them after log-in.
POP3_VERBS: Final = frozenset(
    {
        "user",
        "pass",
        "auth",
        "stat",
        "list",
        "retr",
        "dele",
        "noop",
        "rset",
        "quit",
        "top",
        "uidl",
        "capa",
        "any",
    }
)

#: Faults that are an honest refusal: the command is not carried out. Text and response code.
REFUSALS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "err": ("no", ""),
        "inuse": ("another session has this maildrop", "IN-USE"),
        "systemp": ("the disk is full, try again later", "SYS/TEMP"),
        "sysperm": ("this maildrop is broken, see a person", "SYS/PERM"),
        "badlogin": ("bad user name or password", "AUTH"),
        "logindelay": ("you were here less than 900 seconds ago", "LOGIN-DELAY"),
    }
)

#: The generic faults of ``moxtwisted.badsmtp.faults`` that make sense here.
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
    "empty",
)


@frozen
class PopReply:
    """A reply.

    :ivar status: the first line, without its end.
    :ivar body: the lines of a reply of several, dots stuffed, without the final dot; None for a reply of one line.
    """

    status: bytes
    body: bytes | None = None

    def wire(self) -> bytes:
        """As it goes out."""
        return self.status + b"\r\n" + (b"" if self.body is None else self.body + b".\r\n")


def _once(octets: bytes, ending: Ending = Ending.GO_ON) -> Plan:
    return Plan((Step(0, octets),), ending)


def _numbers(line: bytes, at: int, change: Callable[[int], int]) -> bytes:
    """The line with its number at this place (0: the first) changed, if there is one."""
    found = list(re.finditer(rb"\b\d+\b", line))
    if at >= len(found):
        return line
    match = found[at]
    return line[: match.start()] + b"%d" % change(int(match[0])) + line[match.end() :]


def _count(reply: PopReply, number: int | None, fresh: str) -> Plan:
    """More messages than there are; of a list, the last line is missing besides."""
    more = 3 if number is None else number
    status = _numbers(reply.status, 0, lambda n: n + more)
    if reply.body is None:
        return _once(status + b"\r\n")
    lines = reply.body.splitlines(keepends=True)
    return _once(PopReply(status, b"".join(lines[:-1])).wire())


def _size(reply: PopReply, number: int | None, fresh: str) -> Plan:
    """Other sizes than there are."""
    more = 1000 if number is None else number
    at = 0 if reply.status.rstrip().endswith(b"octets") else 1
    status = reply.status if reply.body is not None and at else _numbers(reply.status, at, lambda n: n + more)
    body = reply.body
    if body is not None and at:
        body = b"".join(_numbers(line, 1, lambda n: n + more) for line in body.splitlines(keepends=True))
    return _once(PopReply(status, body).wire())


def _identifiers(change: Callable[[bytes, bytes, str], bytes]) -> Callable[[PopReply, int | None, str], Plan]:
    """Each line ``n identifier`` with another identifier."""

    def changed(reply: PopReply, number: int | None, fresh: str) -> Plan:
        if reply.body is None:
            status, n, identifier = (*reply.status.split(b" ", 2), b"", b"")[:3]
            return _once(b"%b %b %b\r\n" % (status, n, change(n, identifier, fresh)))
        lines = [line.partition(b" ") for line in reply.body.split(b"\r\n") if line]
        body = b"".join(b"%b %b\r\n" % (n, change(n, identifier, fresh)) for n, _, identifier in lines)
        return _once(PopReply(reply.status, body).wire())

    return changed


def _half(reply: PopReply, number: int | None, fresh: str) -> Plan:
    """The first half of what there was, and an end as if that were all."""
    if reply.body is None:
        return _once(reply.wire())
    octets = len(reply.body) // 2 if number is None else number
    body = reply.body[:octets]
    return _once(PopReply(reply.status, body + (b"" if body.endswith(b"\n") else b"\r\n")).wire())


def _no_dot(reply: PopReply, number: int | None, fresh: str) -> Plan:
    """Everything but the end; nothing comes after it."""
    octets = reply.status + b"\r\n" + (reply.body or b"")
    seconds = STALL_SECONDS if number is None else number
    return Plan((Step(0, octets), Step(seconds, b"")), Ending.CLOSE)


def _dots(reply: PopReply, number: int | None, fresh: str) -> Plan:
    """Dots are not stuffed: a lone one in the message is its end, and the rest is taken for replies."""
    body = reply.body
    if body is not None:
        body = re.sub(rb"(?m)^\.\.", b".", body)
    return _once(PopReply(reply.status, body).wire())


def _all_dots(reply: PopReply, number: int | None, fresh: str) -> Plan:
    """Every line has a dot more than it should have."""
    body = reply.body
    return _once(PopReply(reply.status, None if body is None else re.sub(rb"(?m)^(?=.)", b".", body)).wire())


def _long(reply: PopReply, number: int | None, fresh: str) -> Plan:
    """The first line has 16384 octets, where 512 are allowed."""
    octets = 16384 if number is None else number
    filler = b" " + b"x" * max(0, octets - len(reply.status) - 3)
    return _once(PopReply(reply.status + filler, reply.body).wire())


def _eight_bit(reply: PopReply, number: int | None, fresh: str) -> Plan:
    return _once(PopReply(reply.status + b" \xe9\xff\xfe\x80\xc3", reply.body).wire())


def _case(reply: PopReply, number: int | None, fresh: str) -> Plan:
    return _once(PopReply(reply.status[:4].lower() + reply.status[4:], reply.body).wire())


_FAULTS: Mapping[str, Callable[[PopReply, int | None, str], Plan]] = MappingProxyType(
    {
        "count": _count,
        "size": _size,
        "change": _identifiers(lambda n, identifier, fresh: fresh.encode("ascii") + b"-" + n),
        "double": _identifiers(lambda n, identifier, fresh: b"the-same-for-all"),
        "longid": _identifiers(lambda n, identifier, fresh: identifier.ljust(200, b"x")),
        "noid": _identifiers(lambda n, identifier, fresh: b""),
        "half": _half,
        "nodot": _no_dot,
        "dots": _dots,
        "moredots": _all_dots,
        "long": _long,
        "eightbit": _eight_bit,
        "case": _case,
    }
)

#: Fault to what a client sees.
DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        **{
            name: f"-ERR{f' [{code}]' if code else ''}; the command is not carried out"
            for name, (_, code) in REFUSALS.items()
        },
        "lost": "the connection is closed before the command is carried out",
        "stall": "no reply for N seconds; without a number never",
        "drip": "the reply comes octet by octet, over N seconds (10)",
        "split": "the reply comes in two pieces, N seconds (1) apart",
        "cut": "the first half of the reply (or N octets of it), then the connection is closed",
        "close": "the command is carried out, and the connection closed without a reply",
        "closeafter": "the reply, then the connection is closed",
        "reset": "the connection is reset (TCP RST) without a reply",
        "barelf": "the reply's lines end with LF alone",
        "twice": "the reply twice",
        "garbage": "octets that are no reply",
        "empty": "an empty line instead of a reply",
        "count": "STAT and LIST tell N (3) more messages than there are, and the last line of a list is missing",
        "size": "STAT, LIST and RETR tell sizes that are N (1000) octets too large",
        "change": "UIDL tells other identifiers in each session",
        "double": "UIDL tells one identifier for all messages",
        "longid": "UIDL tells identifiers of 200 characters",
        "noid": "UIDL tells no identifiers",
        "half": "the first half of a message or list (or N octets of it), ended as if it were all",
        "nodot": "the final dot does not come; after N seconds (never) the connection is closed",
        "dots": "dots at the beginning of lines are not stuffed: a lone one ends the message early",
        "moredots": "every line begins with a dot too many",
        "long": "a first line of N octets (16384)",
        "eightbit": "octets beyond ASCII that are no UTF-8 in the first line",
        "case": "+ok and -err in lower case",
    }
)


def spoil_pop3(reply: PopReply, wish: Wish, fresh: str) -> Plan:
    """How a reply goes out with a fault.

    :param fresh: a word that no other session has.
    :raise KeyError: there is no such fault.
    """
    if wish.fault in _GENERIC:
        return spoil(reply.wire(), wish.fault, wish.number)
    return _FAULTS[wish.fault](reply, wish.number, fresh)
