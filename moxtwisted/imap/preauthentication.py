"""Users who are logged in before they said anything (RFC 9051 section 7.1.4, PREAUTH).

An authenticator that also provides ``IPreauthenticator`` is asked once, before the greeting: after the handshake of a connection that began
with TLS and where the client showed a certificate. It is not asked after STARTTLS, where the greeting is out already, nor on a connection
in clear: RFC 9051 section 11.3 warns that PREAUTH there would keep clients from STARTTLS.

::

    S: * PREAUTH [CAPABILITY IMAP4rev2 ...] mail.example.org logged in as alice@example.org
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from zope.interface import Interface

__all__ = ["IPreauthenticator"]


class IPreauthenticator(Interface):
    """Knows users by what the transport says of them."""

    def preauthenticate(peer: Any) -> Awaitable[str | None]:
        """The identity of whoever it is, for ``IAuthenticator.session``; None when they have to log in."""
