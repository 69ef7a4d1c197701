"""The ports of the IMAP and POP3 twins.

::

    for name, port, factory in twin_listeners(surroundings, contexts):
        service.listen(name, port, factory)

The names are ``imap``, ``imaps``, ``pop3`` and ``pop3s``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moxtwisted.badsmtp.imaptwin import ImapTwinFactory
from moxtwisted.badsmtp.poptwin import PopTwinFactory
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
    if settings.imap_port is not None or settings.imaps_port is not None:
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
    for name, port in (("pop3", settings.pop3_port), ("pop3s", settings.pop3s_port)):
        if port is not None:
            yield name, port, PopTwinFactory(surroundings, PopTLS(ordinary, implicit=name == "pop3s"))
