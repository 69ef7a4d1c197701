"""The SMTP ports with TLS, as it should be and as it should not be.

::

    for name, port, factory in tls_listeners(surroundings, contexts):
        service.listen(name, port, factory)

The names are ``tls``, ``starttls``, and for each row of ``moxtwisted.badsmtp.tlsfaults`` ``starttls-expired``, ``tls-expired`` and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from attrs import evolve

from moxtwisted.badsmtp.smtpfactory import BadSMTPFactory
from moxtwisted.badsmtp.surroundings import Listener, Surroundings
from moxtwisted.badsmtp.tlsbehaviour import Behaviour
from moxtwisted.badsmtp.tlsfaults import TLS_FAULTS, TLSContexts, TLSFault
from moxtwisted.smtp.protocol import ServerTLS, SMTPServerFactory, SMTPServerProtocol
from moxtwisted.smtp.replies import Reply

__all__ = ["TLSFaultFactory", "tls_listeners"]

_STARTTLS: Final = re.compile(rb"(?im)^STARTTLS[ \t]*\r?\n")
_UNAVAILABLE: Final = Reply(454, "", "TLS not available due to temporary reason")
#: What is held back of commands that follow STARTTLS; the rest is thrown away.
_HELD_OCTETS: Final = 65536


class _Pipelined(SMTPServerProtocol):
    """Takes what follows STARTTLS in clear for commands said inside TLS, as the servers of CVE-2011-0411 did."""

    _behind = b""

    def dataReceived(self, data: bytes) -> None:
        """Octets from the client."""
        match = None if self.machine.tls is not None or self.machine.receiving else _STARTTLS.search(data)
        if match is not None:
            self._behind = data[match.end() :][:_HELD_OCTETS]
            data = data[: match.end()]
        super().dataReceived(data)

    def handshakeCompleted(self) -> None:
        """TLS is there."""
        super().handshakeCompleted()
        behind, self._behind = self._behind, b""
        if behind:
            super().dataReceived(behind)


class TLSFaultFactory(BadSMTPFactory):
    """The connections of a port where TLS goes wrong: ``TLSFaultFactory(surroundings, listener, tls, fault)``."""

    def __init__(
        self, surroundings: Surroundings, listener: Listener, tls: ServerTLS, fault: TLSFault
    ) -> None:
        stripped = fault.behaviour is Behaviour.STRIPPED
        super().__init__(surroundings, listener, None if stripped else tls)
        self.fault = fault
        if fault.behaviour is Behaviour.REFUSED:
            self.replies = evolve(self.replies, starttls=_UNAVAILABLE)

    def make_machine(self) -> Any:
        """The machine of a new connection."""
        machine = super().make_machine()
        machine.replies = self.replies
        return machine

    def make_protocol(self) -> SMTPServerProtocol:
        """The protocol of a new connection."""
        return _Pipelined(self) if self.fault.behaviour is Behaviour.PIPELINED else super().make_protocol()


def tls_listeners(
    surroundings: Surroundings, contexts: TLSContexts
) -> Iterator[tuple[str, int, SMTPServerFactory]]:
    """Name, port and factory of each that the settings want."""
    settings = surroundings.settings
    for name, port, implicit in (
        ("tls", settings.tls_port, True),
        ("starttls", settings.starttls_port, False),
    ):
        if port is not None:
            tls = ServerTLS(contexts.ordinary(), implicit=implicit)
            yield name, port, BadSMTPFactory(surroundings, Listener(name=name, implicit_tls=implicit), tls)
    ranges = (
        ("starttls", settings.tls_fault_port_start, False),
        ("tls", settings.implicit_tls_fault_port_start, True),
    )
    for prefix, start, implicit in ranges:
        for fault in TLS_FAULTS if start is not None else ():
            if fault.implicit if implicit else fault.starttls:
                name = f"{prefix}-{fault.name}"
                tls = ServerTLS(contexts.creator(fault), implicit=implicit)
                port = start + fault.number if start else 0
                yield (
                    name,
                    port,
                    TLSFaultFactory(surroundings, Listener(name=name, implicit_tls=implicit), tls, fault),
                )
