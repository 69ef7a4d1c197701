"""Certificates in a process that cannot read their files: it is given what is in them, and new ones as they come.

::

    store = HandedCertificates(reactor)
    store.use(handed)                    # what CertificateStore.handed() gave in the process that can
    creator = store.server(profile)
    ...
    store.use(handed)                    # at any time: connections from now on have the new ones

A receiver of mail is started, or started again, when the server is no longer root, and root's key files can no longer be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from moxtwisted.server.certificates.files import CertificateFiles, make_pair
from moxtwisted.server.certificates.store import DAY, CertificateStore

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

__all__ = ["HandedCertificates"]


class HandedCertificates(CertificateStore):
    """A store that never looks at files.

    :param clock: ``seconds()`` is the time since 1970, as the reactor's.
    :param ticket_seconds: session-ticket keys are renewed after this time (looked at by ``check``). They are this process's
        own: a session is not resumed in another one.
    """

    def __init__(self, clock: IReactorTime, *, ticket_seconds: float = DAY) -> None:
        super().__init__((), clock, ticket_seconds=ticket_seconds)

    def use(self, handed: Sequence[tuple[str, str, bytes, bytes]]) -> None:
        """Use these certificates, for connections from now on.

        :param handed: what ``CertificateStore.handed`` gave; lists for tuples will do.
        :raise ConfigurationError: when one cannot be used, by the names of its files; the old ones stay in use.
        """
        self._adopt(
            self._chosen(
                partial(make_pair, CertificateFiles(certificate, key), certificate_pem, key_pem)
                for certificate, key, certificate_pem, key_pem in handed
            )
        )
        self._tell()

    def load(self) -> None:
        """See that there are certificates.

        :raise ConfigurationError: before the first ``use``.
        """
        self._loaded()

    def check(self) -> bool:
        """Renew the ticket keys if it is time; what is new comes by ``use``.

        :return: False.
        """
        self._renew_tickets_in_time()
        return False
