"""Which ports a BadSMTP server takes, and where they would get in each other's way.

A range has as many ports as it has faults (ten for the waits), but keeps a hundred for itself: a listener on one of the rest would look
as if it were one of them, and BadSMTP refuses that, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from moxtwisted.badsmtp.settings import (
    DELAYS_SECONDS,
    GREETING_FAULTS,
    IMAP_GREETING_FAULTS,
    POP3_GREETING_FAULTS,
    Settings,
)
from moxtwisted.badsmtp.tlsfaults import TLS_FAULTS

__all__ = ["RANGES", "Span", "overlaps", "spans"]

_TLS_PORTS: Final = max(fault.number for fault in TLS_FAULTS) + 1

#: How many ports each range has.
RANGES: Final = {
    "greeting_delay_port_start": len(DELAYS_SECONDS),
    "drop_delay_port_start": len(DELAYS_SECONDS),
    "greeting_fault_port_start": len(GREETING_FAULTS),
    "imap_greeting_fault_port_start": len(IMAP_GREETING_FAULTS),
    "pop3_greeting_fault_port_start": len(POP3_GREETING_FAULTS),
    "tls_fault_port_start": _TLS_PORTS,
    "implicit_tls_fault_port_start": _TLS_PORTS,
}
_RESERVED: Final = 100


@frozen
class Span:
    """Ports of one setting.

    :ivar name: of the setting.
    :ivar count: how many, from ``first`` on.
    """

    name: str
    first: int
    count: int

    @property
    def last(self) -> int:
        """The last of them."""
        return self.first + self.count - 1

    def __str__(self) -> str:
        """As it is shown."""
        return f"{self.name} {self.first}" + (f"-{self.last}" if self.count > 1 else "")


def spans(settings: Settings) -> tuple[Span, ...]:
    """The ports that are given by number, by setting."""
    found = []
    for name in dir(settings):
        if name == "port" or name.endswith(("_port", "_port_start")):
            first = getattr(settings, name)
            if first:
                found.append(Span(name, first, RANGES.get(name, 1)))
    return tuple(found)


def overlaps(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """What is in the way of what: two names of settings (the same twice when it is about one), and what is wrong."""
    found = spans(settings)
    for span in found:
        if span.last > 65535:
            yield span.name, span.name, f"{span.count} ports from {span.first} on are more than there are"
    for i, one in enumerate(found):
        for other in found[i + 1 :]:
            if one.first <= other.last and other.first <= one.last:
                yield one.name, other.name, f"{one} and {other} overlap"
            elif text := _in_reserved(one, other) or _in_reserved(other, one):
                yield one.name, other.name, text


def _in_reserved(range_: Span, single: Span) -> str:
    """Whether a single port is among those that a range keeps for itself without using them."""
    if range_.count == 1 or single.count > 1:
        return ""
    if not range_.last < single.first < range_.first + _RESERVED:
        return ""
    return f"{single} is one of the {_RESERVED} ports that {range_.name} {range_.first} keeps for itself; it uses the first {range_.count}"
