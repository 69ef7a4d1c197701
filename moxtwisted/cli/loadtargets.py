"""Where the load commands connect and listen, and by which TLS.

::

    parse_target("inet:mx.example.org:2525")       # Target(host="mx.example.org", port=2525)
    parse_target("[::1]:25").endpoint(reactor, …)
    parse_target("unix:/run/lmtp.sock")
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from moxtwisted.cli.loadarguments import PASSWORD_VARIABLE
from moxtwisted.cli.passwords import given_password
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    import argparse

    from moxtwisted.smtp.agent import ClientTLS
    from moxtwisted.smtp.protocol import ServerTLS

__all__ = ["Target", "client_tls", "is_ip", "parse_target", "password_for", "server_tls"]


@frozen
class Target:
    """A place.

    :ivar path: of a unix socket, or empty.
    """

    host: str = ""
    port: int = 25
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def client(self, reactor: Any, family: int, seconds: float) -> Any:
        """An endpoint to connect; the name is looked up now, once. Of several addresses the first that answers is used.

        :param family: ``socket.AF_INET``, ``AF_INET6`` or 0.
        :param seconds: to wait for a connection.
        :raise MailError: there is no such name.
        """
        from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint

        if self.path:
            return UNIXClientEndpoint(reactor, self.path, timeout=seconds)
        try:
            found = socket.getaddrinfo(self.host or "localhost", self.port, family, socket.SOCK_STREAM)
        except OSError as e:
            raise MailError(f"{self.host}: {e.strerror}") from e
        kinds: dict[int, Any] = {socket.AF_INET: TCP4ClientEndpoint, socket.AF_INET6: TCP6ClientEndpoint}
        return _FirstThatAnswers(
            [
                kinds[kind](reactor, str(address[0]), self.port, timeout=seconds)
                for kind, *_, address in found
                if kind in kinds
            ]
        )

    def server(self, reactor: Any, family: int, backlog: int) -> Any:
        """An endpoint to listen."""
        from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint

        if self.path:
            return UNIXServerEndpoint(reactor, self.path, backlog=backlog)
        host = self.host
        if host and not is_ip(host):
            try:
                host = str(socket.getaddrinfo(host, self.port, family, socket.SOCK_STREAM)[0][4][0])
            except OSError as e:
                raise MailError(f"{host}: {e.strerror}") from e
        if ":" in host or family == socket.AF_INET6:
            return TCP6ServerEndpoint(reactor, self.port, backlog, host or "::")
        return TCP4ServerEndpoint(reactor, self.port, backlog, host)


class _FirstThatAnswers:
    """An endpoint that is several, until one of them works."""

    def __init__(self, endpoints: list[Any]) -> None:
        self._endpoints = endpoints

    def connect(self, factory: Any) -> Any:
        """Connect to the one that worked, or to each until one does."""
        return self._try(factory, list(self._endpoints))

    def _try(self, factory: Any, left: list[Any]) -> Any:
        endpoint = left.pop(0)
        attempt = endpoint.connect(factory)
        if left:
            attempt.addErrback(self._next, factory, left)
        if len(self._endpoints) > 1:
            attempt.addCallback(self._worked, endpoint)
        return attempt

    def _next(self, failure: Any, factory: Any, left: list[Any]) -> Any:
        from twisted.internet.defer import CancelledError
        from twisted.internet.error import ConnectingCancelledError

        return (
            failure if failure.check(CancelledError, ConnectingCancelledError) else self._try(factory, left)
        )

    def _worked(self, protocol: Any, endpoint: Any) -> Any:
        if len(self._endpoints) > 1:
            self._endpoints = [endpoint]
        return protocol


def is_ip(text: str) -> bool:
    """Whether this is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def parse_target(text: str, *, default_port: int | None = 25) -> Target:
    """``[inet:]HOST[:PORT]``, ``[IPV6]:PORT``, or ``unix:PATH``.

    :param default_port: None = there must be one.
    :raise MailError: it is none of them.
    """
    if text.startswith("unix:"):
        if not text.removeprefix("unix:"):
            raise MailError("unix: wants a path")
        return Target(path=text.removeprefix("unix:"))
    text = text.removeprefix("inet:")
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        port = port.removeprefix(":")
        if not bracket or not is_ip(host):
            raise MailError(f"{text}: an IPv6 address is expected in the brackets")
    elif is_ip(text):
        host, port = text, ""
    else:
        host, colon, port = text.rpartition(":")
        if not colon:
            host, port = text, ""
    if not port and default_port is not None:
        return Target(host, default_port)
    if not port.isdigit() or int(port) > 65535:
        raise MailError(f"{text}: {'a port is expected' if not port else 'no such port'}")
    return Target(host, int(port))


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise MailError(f"{path}: cannot be read: {e.strerror}") from e


def password_for(arguments: argparse.Namespace) -> str:
    """The password of ``--user``: from a file, the environment, standard input or a prompt.

    :raise MailError: there is none.
    """
    return given_password(arguments.password_file, PASSWORD_VARIABLE, f"Password of {arguments.user}: ")


def client_tls(arguments: argparse.Namespace, target: Target) -> ClientTLS | None:
    """TLS of ``--tls`` and the options about it; None without.

    :raise MailError: a file cannot be used.
    """
    if arguments.tls is None:
        return None
    from OpenSSL import SSL, crypto
    from twisted.internet.ssl import (
        Certificate,
        PrivateCertificate,
        optionsForClientTLS,
        trustRootFromCertificates,
    )

    from moxtwisted.smtp.agent import ClientTLS

    name = arguments.tls_name or target.host or "localhost"
    try:
        own = None
        if arguments.certificate:
            own = PrivateCertificate.loadPEM(
                _read(arguments.certificate) + b"\n" + _read(arguments.key or arguments.certificate)
            )
        if arguments.insecure_no_verify:
            creator: Any = _unverified(name, own)
        else:
            trust = None
            if arguments.trust:
                end = b"-----END CERTIFICATE-----"
                pieces = [
                    piece + end
                    for piece in _read(arguments.trust).split(end)
                    if b"BEGIN CERTIFICATE" in piece
                ]
                trust = trustRootFromCertificates([Certificate.loadPEM(piece) for piece in pieces])
            creator = optionsForClientTLS(name, trustRoot=trust, clientCertificate=own)
    except (ValueError, SSL.Error, crypto.Error) as e:
        raise MailError(f"certificates: {e}") from e
    return ClientTLS(creator, implicit=arguments.tls == "implicit", required=arguments.tls != "may")


def _unverified(name: str, own: Any) -> Any:
    """TLS that takes any certificate, and names the server all the same."""
    from OpenSSL import SSL
    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
    from twisted.internet.ssl import CertificateOptions
    from zope.interface import implementer

    pair = {} if own is None else {"privateKey": own.privateKey.original, "certificate": own.original}
    context = CertificateOptions(verify=False, **pair).getContext()

    @implementer(IOpenSSLClientConnectionCreator)
    class Creator:
        def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
            """A connection that says the server's name."""
            connection = SSL.Connection(context, None)
            connection.set_app_data(tlsProtocol)
            if not is_ip(name):
                connection.set_tlsext_host_name(name.encode("idna"))
            return connection

    return Creator()


def server_tls(arguments: argparse.Namespace) -> ServerTLS | None:
    """TLS of a sink; its certificate is made now unless one is given.

    :raise MailError: a file cannot be used.
    """
    if arguments.tls is None:
        return None
    import time

    from OpenSSL import crypto
    from twisted.internet.ssl import PrivateCertificate

    from moxtwisted.server.certificates.selfsigned import self_signed
    from moxtwisted.smtp.protocol import ServerTLS

    if arguments.certificate:
        certificate, key = _read(arguments.certificate), _read(arguments.key or arguments.certificate)
    else:
        certificate, key = self_signed((arguments.hostname, "localhost", "127.0.0.1", "::1"), now=time.time())
    try:
        options = PrivateCertificate.loadPEM(certificate + b"\n" + key).options()
    except (ValueError, crypto.Error) as e:
        raise MailError(f"certificates: {e}") from e
    return ServerTLS(options, implicit=arguments.tls == "implicit")
