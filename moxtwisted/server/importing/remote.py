"""The other server: its address, how it is reached, and what an import may do.

::

    source = Source.parse("imaps://alice@old.example/")
    source.name                                  # "alice@old.example:993", under which the store remembers what was fetched
    client = await source.connect(reactor, "secret", Options())
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec
from attrs import frozen
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.internet.threads import deferToThread

from moxtwisted.errors import MailError
from moxtwisted.imap.agent import ClientSettings, ClientTimeouts, ClientTLS, IMAPClient, connect
from moxtwisted.imap.wire.responses import ResponseLimits
from moxtwisted.sasl.client import Credentials

__all__ = ["Options", "Source"]

#: What one response of the other server may take in memory; bodies pass through.
_LIMITS: Final = ResponseLimits(line_octets=16 * 2**20, literal_octets=16 * 2**20, response_octets=32 * 2**20)
_PORTS: Final = {"imaps": 993, "imap": 143}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an import may do; JSON carries it.

    :ivar connections: how many at the same time.
    :ivar delete: whether to remove here what was fetched once and is gone there.
    :ivar dry_run: only look.
    :ivar only: names there; none for all.
    :ivar skip: names there.
    :ivar verify: whether the certificate must be right.
    :ivar tls: whether there must be TLS.
    :ivar trust: PEM certificates of authorities instead of the system's; empty for those.
    """

    connections: int = 4
    delete: bool = False
    dry_run: bool = False
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    verify: bool = True
    tls: bool = True
    trust: str = ""

    @classmethod
    def of(cls, values: Any) -> Options:
        """From what JSON carried. :raise MailError:"""
        try:
            options = msgspec.convert(values, cls)
        except msgspec.ValidationError as e:
            raise MailError(f"import: {e}") from e
        if not 1 <= options.connections <= 32:
            raise MailError("import: 1 to 32 connections")
        return options


@frozen
class Source:
    """An account on another server."""

    username: str
    host: str
    port: int
    implicit_tls: bool

    @property
    def name(self) -> str:
        """Under which the store remembers it: the same for TLS from the start and for STARTTLS at their usual ports."""
        port = _PORTS["imaps"] if self.port in _PORTS.values() else self.port
        return f"{self.username}@{self.host}:{port}"

    @classmethod
    def parse(cls, url: str) -> Source:
        """From ``imaps://user@host[:port]/``, or ``imap://`` for STARTTLS.

        :raise MailError:
        """
        wrong = MailError("imaps://USER@HOST[:PORT]/ expected, or imap:// for STARTTLS")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # Brackets that are none of an IPv6 address, or a port that is no number or above 65535.
            raise wrong from None
        host = parts.hostname
        if parts.scheme not in _PORTS or not host or not parts.username or port == 0:
            raise wrong
        if not host.isprintable() or " " in host:
            raise wrong
        if parts.password is not None:
            raise MailError("a password does not belong on a command line, where everybody can see it")
        if parts.path not in {"", "/"} or parts.query or parts.fragment:
            raise MailError("nothing is expected behind the host: all mailboxes are fetched")
        return cls(unquote(parts.username), host, port or _PORTS[parts.scheme], parts.scheme == "imaps")

    async def connect(self, reactor: Any, password: str, options: Options) -> IMAPClient:
        """Log in.

        :raise MailError:
        """
        settings = ClientSettings(
            tls=ClientTLS(self._creator(options), implicit=self.implicit_tls, required=options.tls)
            if self.implicit_tls or options.tls
            else None,
            credentials=Credentials(self.username, password),
            allow_clear_password=not options.tls,
            in_thread=deferToThread,
            limits=_LIMITS,
            timeouts=ClientTimeouts(answer=300.0),
        )
        endpoint = HostnameEndpoint(reactor, self.host, self.port)
        try:
            return await connect(reactor, endpoint, settings)
        except MailError as e:
            e.detail += self._advice(e.detail)
            e.public_text = e.public_text.replace(
                "the IMAP server", f"the IMAP server {self.host}:{self.port}"
            )
            raise

    def _advice(self, detail: str) -> str:
        """What to do about an error of TLS, which OpenSSL does not say."""
        if "certificate verify failed" in detail:
            return " (where it is one's own: --trust FILE names a certificate to be trusted)"
        if "wrong version number" in detail and self.implicit_tls:
            return f" (port {self.port} does not begin with TLS: imap:// instead of imaps://, perhaps)"
        if ("non-clean fashion" in detail or "in time" in detail) and not self.implicit_tls:
            return f" (port {self.port} may begin with TLS: imaps:// instead of imap://, then)"
        return ""

    def _creator(self, options: Options) -> Any:
        if not options.verify:
            return CertificateOptions(verify=False)
        if options.trust and not _pems(options.trust):
            raise MailError("certificates that shall be trusted: there is none in the file (PEM expected)")
        try:
            trust = (
                trustRootFromCertificates([Certificate.loadPEM(pem) for pem in _pems(options.trust)])
                if options.trust
                else None
            )
        except Exception as e:
            raise MailError(f"certificates that shall be trusted: {e}") from e
        try:
            return optionsForClientTLS(self.host, trustRoot=trust)
        except ValueError as e:
            raise MailError(f"{self.host}: no name of a host ({e})") from e


def _pems(text: str) -> list[bytes]:
    end = "-----END CERTIFICATE-----"
    return [(piece + end).strip().encode() for piece in text.split(end) if "BEGIN CERTIFICATE" in piece]
