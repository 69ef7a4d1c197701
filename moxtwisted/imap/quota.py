"""How much room there is (RFC 9208): what QUOTA asks of the backend.

A backend whose sessions provide ``IQuotaSession`` puts ``QUOTA``, ``QUOTA=RES-STORAGE`` and ``QUOTA=RES-MESSAGE`` among the
``extensions`` of its authenticator.
"""

from __future__ import annotations

from attrs import frozen
from zope.interface import Interface

__all__ = ["IQuotaSession", "Quota"]


@frozen
class Quota:
    """What a quota root has and may have.

    :ivar octets: of all messages together, and ``octets_limit``, None for no limit.
    :ivar messages: how many there are, and ``messages_limit``, None for no limit.
    """

    octets: int
    octets_limit: int | None
    messages: int
    messages_limit: int | None

    @property
    def limited(self) -> bool:
        """Whether anything is."""
        return self.octets_limit is not None or self.messages_limit is not None


class IQuotaSession(Interface):
    """A session that knows limits."""

    def quota_root(mailbox: str) -> str | None:
        """The name of the quota root of a mailbox, which need not exist (RFC 9208 section 4.1.2); None: it has none, or
        the user must not know."""

    def quota(root: str) -> Quota | None:
        """None when there is no such root, or not for this user."""
