"""A name server for tests, over real sockets on the loopback, that says what the test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from twisted.internet import reactor as installed_reactor
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from moxtwisted.dns.servers import ServerAddress

reactor: Any = installed_reactor

#: Gets the query as dnspython reads it, its octets, and whether it came by TCP; gives the octets to send, none or several.
Behaviour = Callable[[dns.message.Message, bytes, bool], Iterable[bytes]]


def reply_to(
    query: dns.message.Message,
    octets: bytes,
    records: Iterable[str] = (),
    *,
    authority: Iterable[str] = (),
    rcode: int = 0,
    flags: int = 0,
) -> bytes:
    """An answer with records as zone files have them; the question is given back octet by octet."""
    reply = dns.message.make_response(query, recursion_available=True, our_payload=4096)
    reply.set_rcode(dns.rcode.Rcode(rcode))
    reply.flags |= flags
    for section, lines in ((reply.answer, records), (reply.authority, authority)):
        for line in lines:
            name, ttl, rrtype, data = line.split(" ", 3)
            rrset = dns.rrset.from_text(name, int(ttl), "IN", rrtype, data)
            if section and section[-1].name == rrset.name and section[-1].rdtype == rrset.rdtype:
                section[-1].update(rrset)
            else:
                section.append(rrset)
    wire = reply.to_wire(max_size=65535)
    end = octets.index(b"\0", 12)
    return wire[:12] + octets[12:end] + wire[end:]


class Zone:
    """Answers from a dictionary of (name, type) to lines; SOA in the authority section for what is not there.

    :ivar soa: that.
    """

    def __init__(self, records: dict[tuple[str, str], list[str]]) -> None:
        self.records = records
        self.soa = ["example. 900 SOA ns.example. h.example. 1 2 3 4 60"]
        self.asked: list[tuple[str, str, bool]] = []

    def __call__(self, query: dns.message.Message, octets: bytes, stream: bool) -> Iterable[bytes]:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        rrtype = question.rdtype.name
        self.asked.append((name, rrtype, stream))
        found = self.records.get((name, rrtype))
        if found is not None:
            return [reply_to(query, octets, found)]
        exists = any(key[0] == name for key in self.records)
        return [reply_to(query, octets, authority=self.soa, rcode=0 if exists else 3)]


class FakeServer:
    """UDP and TCP on one port of the loopback."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.queries: list[bytes] = []
        self.sources: list[tuple[str, int]] = []
        self.connections = 0
        server = self

        class Datagrams(DatagramProtocol):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                server.sources.append(addr)
                for octets in server.answers(datagram, stream=False):
                    self.transport.write(octets, addr)  # type: ignore[union-attr]

        class Connection(Protocol):
            buffer = b""

            def dataReceived(self, data: bytes) -> None:
                self.buffer += data
                if len(self.buffer) > 2 + int.from_bytes(self.buffer[:2], "big") - 1:
                    for octets in server.answers(self.buffer[2:], stream=True):
                        self.transport.write(len(octets).to_bytes(2, "big") + octets)  # type: ignore[union-attr]

            def connectionMade(self) -> None:
                server.connections += 1

        while True:
            self._tcp = reactor.listenTCP(0, Factory.forProtocol(Connection), interface="127.0.0.1")
            try:
                self._udp = reactor.listenUDP(self._tcp.getHost().port, Datagrams(), interface="127.0.0.1")
            except OSError:
                self._tcp.stopListening()
                continue
            break
        self.address = ServerAddress("127.0.0.1", self._tcp.getHost().port)

    def answers(self, octets: bytes, *, stream: bool) -> Iterable[bytes]:
        """Note the query, and ask the test."""
        self.queries.append(octets)
        return self.behave(dns.message.from_wire(octets), octets, stream)

    async def stop(self) -> None:
        """Close the sockets."""
        await self._udp.stopListening()
        await self._tcp.stopListening()
