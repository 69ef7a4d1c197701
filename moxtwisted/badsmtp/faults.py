"""What becomes of a reply that goes wrong: octets, pauses between them, and how it ends. No I/O here.

::

    >>> plan = spoil(b"250 OK\\r\\n", "cut")
    >>> [step.octets for step in plan.steps], plan.ending
    ([b'250'], <Ending.CLOSE: 'close'>)

Whoever has the connection waits for the ``pause_seconds`` of each step, writes its octets, and does what ``ending`` says. The steps
may be made while they are taken: some replies never end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from types import MappingProxyType

from attrs import frozen

__all__ = ["DESCRIPTIONS", "STALL_SECONDS", "Ending", "Plan", "Step", "spoil"]

#: What "never" is: longer than RFC 5321 section 4.5.3.2 has any client wait (ten minutes).
STALL_SECONDS = 3600

#: What an overlong line has; RFC 5321 section 4.5.3.1.5 allows 512 octets.
LONG_OCTETS = 16384

#: How many lines "many" has, and how many "continued" has before even we get tired.
MANY_LINES = 1000

#: In how many pieces a reply drips.
DROPS = 10_000

#: The largest number that counts.
LARGEST_NUMBER = 20_000


class Ending(Enum):
    """What comes behind the octets."""

    GO_ON = "go on"
    CLOSE = "close"
    RESET = "reset"


@frozen
class Step:
    """Octets and the wait before them."""

    pause_seconds: float
    octets: bytes


@frozen
class Plan:
    """How a spoilt reply goes out."""

    steps: Iterable[Step]
    ending: Ending = Ending.GO_ON


def spoil(reply: bytes, fault: str, number: int | None = None) -> Plan:
    """How a reply goes out with a fault.

    :param reply: the octets as they would be without, CRLF included.
    :param fault: one of ``DESCRIPTIONS``.
    :param number: of the fault; None: its standard.
    :raise KeyError: there is no such fault.
    """
    return _FAULTS[fault](reply, None if number is None else min(number, LARGEST_NUMBER))


def _once(octets: bytes, ending: Ending = Ending.GO_ON) -> Plan:
    return Plan((Step(0, octets),), ending)


def _head(reply: bytes) -> tuple[bytes, bytes]:
    """The code (or tag) of the last line, and its text without CRLF."""
    line = reply.rstrip(b"\r\n").rpartition(b"\n")[2]
    return line[:3], line[4:]


def _stall(reply: bytes, number: int | None) -> Plan:
    if number is None:
        return Plan((Step(STALL_SECONDS, b""),), Ending.CLOSE)
    return Plan((Step(min(number, STALL_SECONDS), reply),))


def _drip(reply: bytes, number: int | None) -> Plan:
    octets = len(reply) // DROPS + 1
    pause = (10 if number is None else number) * octets / max(1, len(reply))
    return Plan(Step(pause, reply[at : at + octets]) for at in range(0, len(reply), octets))


def _split(reply: bytes, number: int | None) -> Plan:
    half = len(reply) // 2
    return Plan((Step(0, reply[:half]), Step(1 if number is None else number, reply[half:])))


def _cut(reply: bytes, number: int | None) -> Plan:
    octets = len(reply.rstrip(b"\r\n")) // 2 if number is None else number
    return _once(reply[: min(octets, len(reply) - 2)], Ending.CLOSE)


def _codes(reply: bytes, number: int | None) -> Plan:
    # RFC 5321 section 4.2.1: every line of a reply has the same code.
    code, text = _head(reply)
    other = b"%03d" % (550 if number is None else number)
    return _once(code + b"-" + text + b"\r\n" + other + b" " + text + b"\r\n")


def _eightbit(reply: bytes, number: int | None) -> Plan:
    code, text = _head(reply)
    return _once(code + b" " + text + b" \xe9\xff\xfe\x80\xc3\r\n")


def _long(reply: bytes, number: int | None) -> Plan:
    code, text = _head(reply)
    octets = LONG_OCTETS if number is None else number
    line = code + b" " + text + b" "
    return _once(line + b"x" * max(0, octets - len(line) - 2) + b"\r\n")


def _many(reply: bytes, number: int | None) -> Plan:
    code, text = _head(reply)
    count = MANY_LINES if number is None else number
    return _once((code + b"-" + text + b"\r\n") * max(0, count - 1) + code + b" " + text + b"\r\n")


def _continued(reply: bytes, number: int | None) -> Plan:
    code, text = _head(reply)
    line = code + b"-" + text + b"\r\n"
    pause = 1 if number is None else number

    def steps() -> Iterator[Step]:
        yield Step(0, line)
        for _ in range(STALL_SECONDS):
            yield Step(pause, line)

    return Plan(steps(), Ending.CLOSE)


def _inject(reply: bytes, number: int | None) -> Plan:
    # Behind STARTTLS: a reply in clear that a careless client takes for the first one under TLS (CVE-2021-33515 and its kin).
    return _once(reply + b"250-injected.invalid\r\n250 AUTH PLAIN LOGIN\r\n")


_FAULTS: Mapping[str, Callable[[bytes, int | None], Plan]] = MappingProxyType(
    {
        "stall": _stall,
        "drip": _drip,
        "split": _split,
        "cut": _cut,
        "close": lambda reply, number: _once(b"", Ending.CLOSE),
        "closeafter": lambda reply, number: _once(reply, Ending.CLOSE),
        "midway": lambda reply, number: _once(reply, Ending.CLOSE),
        "reset": lambda reply, number: _once(b"", Ending.RESET),
        "barelf": lambda reply, number: _once(reply.replace(b"\r\n", b"\n")),
        "codes": _codes,
        "eightbit": _eightbit,
        "long": _long,
        "garbage": lambda reply, number: _once(b"\x15\x03\x01 ?! lorem ipsum\r\n"),
        "twice": lambda reply, number: _once(reply * 2),
        "empty": lambda reply, number: _once(b"\r\n"),
        "nul": lambda reply, number: _once(reply[:4] + b"\0" + reply[4:]),
        "many": _many,
        "continued": _continued,
        "inject": _inject,
    }
)

#: Fault to what a client sees, for the documentation and for those who ask.
DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "stall": "no reply for N seconds; without a number never (an hour, then the connection is closed)",
        "drip": "the reply comes octet by octet, over N seconds (10)",
        "split": "the reply comes in two pieces, N seconds (1) apart",
        "cut": "the first half of the reply (or N octets of it), then the connection is closed",
        "close": "the connection is closed without a reply",
        "closeafter": "the reply, then the connection is closed",
        "midway": "behind DATA and BDAT: the connection is reset in the middle of the message; else as closeafter",
        "reset": "the connection is reset (TCP RST) without a reply",
        "barelf": "the reply's lines end with LF alone",
        "codes": "a reply of two lines with two codes: the right one, then N (550)",
        "eightbit": "octets beyond ASCII that are no UTF-8 in the reply's text",
        "long": "a reply line of N octets (16384)",
        "garbage": "octets that are no reply",
        "twice": "the reply twice, so that a careless client takes the second one for the answer to its next command",
        "empty": "an empty line instead of a reply",
        "nul": "a NUL behind the code",
        "many": "a reply of N lines (1000)",
        "continued": "a reply whose last line never comes: a line every N seconds (1)",
        "inject": "further reply lines behind the reply, in the same segment; at STARTTLS they come in clear before the handshake",
    }
)
