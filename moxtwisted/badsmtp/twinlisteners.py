"""The ports of the IMAP and POP3 twins.

::

    for name, port, factory in twin_listeners(surroundings, contexts):
        service.listen(name, port, factory)

The names are ``imap``, ``imaps``, ``pop3`` and ``pop3s``, and ``imap-greeting-fault-0`` and so on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from moxtwisted.badsmtp import imapfaults, pop3faults
from moxtwisted.badsmtp.grammar import Wish, parse_local_part
from moxtwisted.badsmtp.imaptwin import ImapTwinFactory
from moxtwisted.badsmtp.poptwin import PopTwinFactory
from moxtwisted.badsmtp.settings import IMAP_GREETING_FAULTS, POP3_GREETING_FAULTS
from moxtwisted.badsmtp.surroundings import Surroundings
from moxtwisted.badsmtp.tlsfaults import TLSContexts
from moxtwisted.badsmtp.twinmail import Mailrooms
from moxtwisted.imap.protocol import ServerTLS as ImapTLS
from moxtwisted.pop3.protocol import ServerTLS as PopTLS

__all__ = ["twin_listeners"]


def twin_listeners(surroundings: Surroundings, contexts: TLSContexts) -> Iterator[tuple[str, int, Any]]:
    """Name, port and factory of each that the settings want."""
    settings = surroundings.settings
    ordinary = contexts.ordinary(lambda protocol: "")
    imap = (settings.imap_port, settings.imaps_port, settings.imap_greeting_fault_port_start)
    if any(port is not None for port in imap):
        rooms = Mailrooms(
            surroundings.captured,
            surroundings.clock,
            most_messages=settings.captured_messages,
            octets=settings.captured_octets,
        )
        for name, port in (("imap", settings.imap_port), ("imaps", settings.imaps_port)):
            if port is not None:
                tls = ImapTLS(ordinary, implicit=name == "imaps")
                yield name, port, ImapTwinFactory(surroundings, rooms, tls)
        start = settings.imap_greeting_fault_port_start
        for n, (port, wish) in enumerate(_greetings(start, IMAP_GREETING_FAULTS, imapfaults.DESCRIPTIONS)):
            tls = ImapTLS(ordinary)
            yield f"imap-greeting-fault-{n}", port, ImapTwinFactory(surroundings, rooms, tls, wish)
    for name, port in (("pop3", settings.pop3_port), ("pop3s", settings.pop3s_port)):
        if port is not None:
            yield name, port, PopTwinFactory(surroundings, PopTLS(ordinary, implicit=name == "pop3s"))
    start = settings.pop3_greeting_fault_port_start
    for n, (port, wish) in enumerate(_greetings(start, POP3_GREETING_FAULTS, pop3faults.DESCRIPTIONS)):
        yield f"pop3-greeting-fault-{n}", port, PopTwinFactory(surroundings, PopTLS(ordinary), wish)


def _greetings(
    start: int | None, texts: Sequence[str], faults: Collection[str]
) -> Iterator[tuple[int, Wish | None]]:
    """The ports of a range, with what goes wrong there."""
    if start is not None:
        for n, text in enumerate(texts):
            yield (start + n if start else 0), parse_local_part(text, {"greeting"}, faults)
