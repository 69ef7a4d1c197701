"""Sockets to listen on: TCP with IPv4 and IPv6 side by side, and unix sockets that survive a crash.

::

    port = listen_tcp(reactor, "::", 25, factory)          # CannotListenError says why, in words
    port = listen_unix(reactor, Path("/run/moxmail/lmtp"), factory)
    adopt_link(reactor, descriptor, protocol)              # one end of a pair, to another process of ours

Twisted's own ``listenTCP`` on ``::`` takes IPv4 as well, after which ``0.0.0.0`` cannot be had; and a unix socket
that a killed process left behind stays in the way. And Twisted sends nothing before the reactor came round to it: two changes
of what epoll looks at and one more turn for each reply. Here what is written goes out at once, if nothing waits before it.

And Linux acknowledges what is not answered only after 40 ms, for which a client waits that sends the end of a command, a literal's
line end say, by itself (Nagle's algorithm). Python's imaplib does: 22 APPENDs a second. Here they are acknowledged at once; but not
what was the last that a client has to say before it is answered, if the protocol knows (``at_work``): its answer acknowledges it.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK
from typing import Any, Final, cast

from attrs import define, frozen
from twisted.internet import tcp, unix
from twisted.internet._newtls import startTLS
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, ISSLTransport
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.sendmsg import SCM_RIGHTS, recvmsg
from zope.interface import implementer

from moxtwisted.transport.carrying import ICarrier

__all__ = [
    "Carrier",
    "adopt_connection",
    "adopt_link",
    "detach",
    "divert",
    "listen_problem",
    "listen_tcp",
    "listen_unix",
]

_log = Logger()

#: Connections that the kernel holds for us while we are busy; it has an upper bound of its own (somaxconn).
BACKLOG: Final = 1024
_REASONS: Final = {
    errno.EADDRINUSE: "another program listens there",
    errno.EADDRNOTAVAIL: "this machine does not have the address",
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
}

#: There is nothing to be read yet.
_NOT_NOW: Final = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)
#: None where the system has no such thing.
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
#: So many octets are given to a socket at once, which mostly takes them; with Twisted's 128 KiB each piece of a long answer
#: came back to the reactor six times.
_SEND_OCTETS: Final = 1 << 20
#: So many are read at once of what another process of ours says.
_LINK_OCTETS: Final = 1 << 18
#: Connections that are taken before others have their turn.
_ACCEPTED_AT_ONCE: Final = 32


class _Promptly(FileDescriptor):
    """How a prompt connection sends octets, under TLS if there is any.

    :ivar prompt_writes: how often octets went out at once.
    """

    prompt_writes = 0

    def write(self, data: bytes) -> None:
        """Send what the socket takes now, buffer the rest."""
        if (
            # A producer is told to go on when the reactor finds the buffer empty, one that pushes only if it waits.
            (self.producer is None or (self.streamingProducer and not self.producerPaused))
            and not self._tempDataBuffer
            and not self.dataBuffer
            and self.connected
            and not self._writeDisconnected
            and data
        ):
            sent = self.writeSomeData(data)
            self.prompt_writes += 1
            if sent == len(data):
                return
            # An error will come again when the reactor tries, which knows what to do then.
            data = data[sent:] if isinstance(sent, int) else data
        FileDescriptor.write(self, data)


class _PromptConnection(tcp.Server):
    """A connection that sends at once what is written, if nothing waits before it; and acknowledges what it does not answer.

    :ivar prompt_writes: how often octets went out at once.
    """

    prompt_writes = 0
    SEND_LIMIT = _SEND_OCTETS

    def write(self, data: bytes) -> None:
        """Through TLS, if it was started."""
        if self.TLS:
            super().write(data)  # type: ignore[no-untyped-call]  # Twisted's has no types
        else:
            _Promptly.write(cast("Any", self), data)

    def _dataReceived(self, data: bytes | None) -> Any:
        sent = self.prompt_writes
        result = super()._dataReceived(data)
        # A full read has more behind it, whose acknowledgement says both.
        if (
            sent == self.prompt_writes
            and _QUICKACK is not None
            and data
            and len(data) < self.bufferSize
            and not getattr(self.protocol, "at_work", False)
        ):
            # The client may be gone, and its socket with it.
            with suppress(OSError, AttributeError):
                self.socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        return result

    def startTLS(self, ctx: Any, normal: bool = True) -> None:
        """The octets of TLS go out promptly too."""
        startTLS(self, ctx, normal, _Promptly)


class _PromptPipe(unix.Server):
    """One end of a pair of unix sockets that sends at once what is written; without descriptors."""

    prompt_writes = 0
    SEND_LIMIT = _SEND_OCTETS
    write = _Promptly.write
    doRead = tcp.Server.doRead  # type: ignore[assignment]  # as Twisted has it
    writeSomeData = tcp.Server.writeSomeData


class _PromptLink(unix.Server):
    """One end of a pair of unix sockets that sends at once what is written, and descriptors with it.

    :ivar prompt_writes: how often octets went out at once.
    """

    prompt_writes = 0
    SEND_LIMIT = _SEND_OCTETS
    # A message that a receiver hands over is larger than Twisted's 64 KiB only if it is large.
    bufferSize = _LINK_OCTETS

    def write(self, data: bytes) -> None:
        """Send what the socket takes now, buffer the rest."""
        _Promptly.write(cast("Any", self), data)

    @property
    def waiting_descriptors(self) -> Sequence[int]:
        """Those that were not sent yet."""
        queue: list[int] = self._sendmsgQueue
        return queue

    def send_with(self, descriptors: Sequence[int], data: bytes) -> None:
        """Send octets and descriptors, which come with the first of them, or earlier; they are closed then.

        :param data: has at least as many octets.
        """
        if not self.connected or self.disconnecting:
            for descriptor in descriptors:
                os.close(descriptor)
            return
        self._sendmsgQueue.extend(descriptors)
        self.write(data)

    def doRead(self) -> Any:
        """Receive. A descriptor that there was no room for ends the connection: the next one would be taken for it."""
        try:
            data, ancillary, flags = recvmsg(self.socket, self.bufferSize)
        except OSError as e:
            return None if e.errno in _NOT_NOW else CONNECTION_LOST
        for level, kind, descriptors in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SCM_RIGHTS):
                self._ancillaryLevelSOLSOCKETTypeSCMRIGHTS(descriptors)  # type: ignore[no-untyped-call]  # Twisted's
        if flags & socket.MSG_CTRUNC:
            return CONNECTION_LOST
        return self._dataReceived(data)

    def writeSomeData(self, data: Any) -> Any:
        """Send; descriptors that are sent are closed here."""
        waiting = self._sendmsgQueue[:]
        result = super().writeSomeData(data)  # type: ignore[no-untyped-call]  # Twisted's
        for descriptor in waiting[: len(waiting) - len(self._sendmsgQueue)]:
            os.close(descriptor)
        return result

    def connectionLost(self, reason: Any) -> None:
        """Descriptors that were not sent are closed."""
        while self._sendmsgQueue:
            os.close(self._sendmsgQueue.pop())
        super().connectionLost(reason)


def adopt_link(reactor: Any, descriptor: int, protocol: Any) -> None:
    """Connect a protocol with one end of a pair of unix sockets.

    The transport has ``send_with(descriptors, data)`` besides. :param descriptor: is duplicated; not blocking.
    """
    factory = Factory.forProtocol(lambda: protocol)
    factory.noisy = False
    _PromptLink._fromConnectedSocket(  # type: ignore[no-untyped-call]  # noqa: SLF001 - reactors know Twisted's own only
        descriptor, factory, reactor
    )


def adopt_connection(reactor: Any, descriptor: int, factory: IProtocolFactory) -> Any:
    """Connect a factory's protocol with a TCP connection that another process took; it is as those of ``listen_tcp``.

    :param descriptor: is duplicated; not blocking.
    :return: the transport; None when the factory makes no protocol.
    :raises OSError: when the connection is gone.
    """
    with socket.socket(fileno=os.dup(descriptor)) as taken:
        family = taken.family
        taken.getpeername()
    make: Any = _PromptConnection._fromConnectedSocket  # noqa: SLF001 - as above
    return make(descriptor, family, factory, reactor)


@frozen
class _Given:
    """A factory of a protocol that is there, and keeps the factory that it has."""

    protocol: Any

    def buildProtocol(self, address: Any) -> Any:
        """The protocol."""
        return self.protocol


def detach(transport: Any) -> tuple[int, bytes] | None:
    """Take a connection in clear away from the reactor. It is not shut down: neither its client nor its protocol, which is forgotten, is
    told anything.

    :return: the socket, not blocking, the caller's now; and the octets that were written and did not leave. None: this is no TCP connection
        in clear, or it is at its end.
    """
    if not _is_tcp(transport) or transport.TLS or not transport.connected or transport.disconnecting:
        return None
    transport.stopReading()
    transport.stopWriting()
    waiting = bytes(transport.dataBuffer[transport.offset :]) + b"".join(transport._tempDataBuffer)  # noqa: SLF001 - see adopt_link
    transport.producer = None
    transport.connected, transport.disconnected = 0, 1
    # As Twisted's own: the reactor may have more to tell it in this turn.
    transport.doRead = transport.doWrite = lambda: None
    transport.protocol = Protocol()
    descriptor: int = transport.socket.detach()
    del transport.socket, transport.fileno
    return descriptor, waiting


def _is_tcp(transport: Any) -> bool:
    return isinstance(transport, tcp.Server) and not isinstance(transport, unix.Server)


@implementer(ICarrier)
@define(eq=False)
class Carrier:
    """Connections from process to process."""

    _reactor: Any

    def carries(self, transport: Any) -> bool:
        """See ``ICarrier``: those of TCP, and under TLS all."""
        return _is_tcp(transport) or ISSLTransport.providedBy(transport)

    def detach(self, transport: Any) -> tuple[int, bytes] | None:
        """See ``ICarrier``."""
        return detach(transport)

    def pair(self, protocol: Any) -> int:
        """See ``ICarrier``."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.adopt(ours.detach(), protocol)
        return theirs.detach()

    def adopt(self, descriptor: int, protocol: Any) -> None:
        """See ``ICarrier``."""
        with socket.socket(fileno=descriptor) as taken:
            taken.setblocking(False)
            given: Any = _Given(protocol)
            if taken.family == socket.AF_UNIX:
                make: Any = _PromptPipe._fromConnectedSocket  # noqa: SLF001 - as above
                make(taken.fileno(), given, self._reactor)
            else:
                adopt_connection(self._reactor, taken.fileno(), given)


def divert(port: Any, take: Callable[[socket.socket], bool]) -> None:
    """Let somebody else have the connections of a port of ``listen_tcp``.

    :param take: called with each, not blocking, which it then owns; False: it does not want it, and the port's own factory gets it.
    """

    def accept() -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                taken, _ = port.socket.accept()
            except BlockingIOError:
                return
            except OSError:
                # No descriptors left, say, which Twisted knows how to bear.
                tcp.Port.doRead(port)
                return
            taken.setblocking(False)
            try:
                if not take(taken):
                    # It may be gone already.
                    with taken, suppress(OSError):
                        adopt_connection(port.reactor, taken.fileno(), port.factory)
            except Exception:  # noqa: BLE001 - a boundary: whatever is wrong with one connection, the port serves others
                _log.failure("a connection could not be served")
                taken.close()

    port.doRead = accept  # the reactor asks the object each time


def listen_problem(error: BaseException) -> str:
    """Why there is no listening, in plain words."""
    number = getattr(error, "errno", None)
    return _REASONS.get(number, os.strerror(number)) if isinstance(number, int) else str(error)


def listen_tcp(reactor: Any, ip: str, port: int, factory: IProtocolFactory) -> IListeningPort:
    """Listen at an address.

    :param reactor: with ``adoptStreamPort``.
    :param ip: ``0.0.0.0`` is all of IPv4, ``::`` all of IPv6 and nothing else.
    :param port: 0 for any that is free; ``getHost()`` of the result tells which.
    :raise CannotListenError: when the address is taken, not ours or not allowed.
    """
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as bound:
        try:
            # Connections of a former process in TIME_WAIT do not keep us from starting again.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind((ip, port))
            bound.listen(BACKLOG)
        except OSError as e:
            raise CannotListenError(ip, port, OSError(e.errno, listen_problem(e))) from e
        # The reactor takes a duplicate of the descriptor.
        adopted: IListeningPort = reactor.adoptStreamPort(bound.fileno(), family, factory)
        if isinstance(adopted, tcp.Port):
            adopted.transport = _PromptConnection
        return adopted


def listen_unix(reactor: Any, path: Path, factory: IProtocolFactory, mode: int = 0o660) -> IListeningPort:
    """Listen at a unix socket, in place of one that is there.

    Only for the server that owns the data directory: whoever left a socket there is gone.

    :param mode: who may connect.
    :raise CannotListenError: when it cannot be made.
    """
    with suppress(FileNotFoundError):
        if S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listening: IListeningPort = reactor.listenUNIX(str(path), factory, mode=mode)
    return listening
