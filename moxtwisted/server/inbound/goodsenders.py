"""Servers that bring mail from known good senders are not banned for a few messages to spam traps.

A large provider has many customers behind each address: what one of them does must not keep out the others, with whom people here
have exchanged mail before::

    adjust = GoodSenders(lambda ip: bans.welcome(ip, by_mail=True))      # an adjustment of ``decisions.Bench``
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from moxtwisted.server.judgement.interfaces import Decision, Incoming, Recipient
from moxtwisted.server.judgement.reasons import Reason

__all__ = ["GoodSenders"]

_GOOD: Final = frozenset(
    {
        Reason.LIST_ALLOW,
        Reason.MSGFROMFULL,
        Reason.MSGTOFULL,
        Reason.MSGFROMDOMAIN,
        Reason.MSGTODOMAIN,
        Reason.MSGFROMORGDOMAIN,
        Reason.MSGTOORGDOMAIN,
        Reason.DKIMSPF,
        Reason.IP1,
    }
)


@frozen
class GoodSenders:
    """Changes no decision."""

    _welcome: Callable[[str], None]

    def __call__(self, incoming: Incoming, recipient: Recipient, decision: Decision) -> Decision:
        """Take note of the client when its sender is known as good."""
        if decision.accept and decision.reason in _GOOD and incoming.verified.ip is not None:
            self._welcome(incoming.ip)
        return decision
