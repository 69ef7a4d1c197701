"""What listeners do with their certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema import Listener, ListenerTLS
from moxtwisted.server.certificates.contexts import TLSProfile
from moxtwisted.server.certificates.files import CertificateFiles
from moxtwisted.server.certificates.store import CertificateStore
from moxtwisted.smtp.protocol import ServerTLS as SMTPServerTLS

if TYPE_CHECKING:
    from moxtwisted.imap.protocol import ServerTLS as IMAPServerTLS

__all__ = ["ListenerCertificates", "inbound_tls"]


def inbound_tls(listener: Listener, certificates: CertificateStore | None) -> SMTPServerTLS | None:
    """How port 25 of a listener does TLS; None: it does not.

    :param certificates: its own, loaded.
    """
    tls, smtp = listener.tls, listener.smtp
    if tls is None or smtp is None or certificates is None or smtp.starttls == "none":
        return None
    profile = TLSProfile.inbound(
        minimum_version=tls.minimum_version, session_tickets=smtp.tls_session_tickets
    )
    return SMTPServerTLS(certificates.server(profile))


class ListenerCertificates:
    """The certificates of a listener, and what its services do with them, once they were loaded."""

    def __init__(self, listener: Listener, loaded: LoadedConfig, clock: IReactorTime) -> None:
        self._listener = listener
        self._tls = listener.tls
        self.certificates: CertificateStore | None = None
        if listener.tls is not None:
            resolve = loaded.resolve
            self.certificates = CertificateStore(
                tuple(
                    CertificateFiles(str(resolve(pair.certificate)), str(resolve(pair.key)))
                    for pair in listener.tls.certificates
                ),
                clock,
            )

    def inbound(self) -> SMTPServerTLS | None:
        """For port 25."""
        return inbound_tls(self._listener, self.certificates)

    def smtp(self, *, implicit: bool) -> SMTPServerTLS | None:
        """For submission and LMTP."""
        if self._tls is None or self.certificates is None:
            return None
        return SMTPServerTLS(self.certificates.server(self._for_users(self._tls)), implicit)

    def imap(self, *, implicit: bool) -> IMAPServerTLS | None:
        """For IMAP."""
        from moxtwisted.imap.protocol import ServerTLS as IMAPServerTLS

        if self._tls is None or self.certificates is None:
            return None
        return IMAPServerTLS(self.certificates.server(self._for_users(self._tls)), implicit)

    @staticmethod
    def _for_users(tls: ListenerTLS) -> TLSProfile:
        return TLSProfile(
            minimum_version=tls.minimum_version, request_client_certificate=tls.client_certificates
        )
