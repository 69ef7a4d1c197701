"""Trace fields: what a connection told about itself, and the header fields that say how a message came here.

RFC 5321 section 4.4: Received at every hop, Return-Path at the last; Delivered-To (RFC 9228) names the recipient.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import define, field

from moxtwisted.address import Path
from moxtwisted.message.received import Hop, received, with_protocol
from moxtwisted.server.delivery import Attempt, Copy
from moxtwisted.server.directory import Delivery
from moxtwisted.smtp.envelope import Transaction
from moxtwisted.smtp.peer import Peer, TLSInfo

__all__ = ["TracedSession", "attempt", "copies", "first_recipients"]

#: Recipients that one line of the log names.
_LOGGED: Final = 10


@define(eq=False)
class TracedSession:
    """What a connection told about itself, for Received and the log."""

    hostname: str
    peer: Peer
    lmtp: bool
    name: str = ""
    esmtp: bool = False
    tls: TLSInfo | None = None
    authenticated: bool = False
    id: str = field(factory=lambda: secrets.token_hex(6))

    def trace(self, transaction: Transaction, now: float, *, show_client: bool = True) -> bytes:
        """The Received field for a message of this connection.

        :param show_client: whether it says who the client is; not for mail of our own users, whose whereabouts are nobody's business.
        """
        recipients = transaction.recipients
        tls = self.tls
        hop = Hop(
            by=self.hostname,
            protocol=with_protocol(
                extended=self.esmtp,
                tls=tls is not None,
                authenticated=self.authenticated,
                smtputf8=transaction.parameters.smtputf8,
                lmtp=self.lmtp,
            ),
            ident=self.id,
            ehlo=(self.name or "unknown") if show_client else None,
            peer_ip=self.peer.ip_text if show_client and self.peer.ip is not None else None,
            tls=f"{tls.version} {tls.cipher}" if tls else "",
            recipient=str(recipients[0].path) if len(recipients) == 1 else None,
        )
        return received(hop, int(now))


def copies(
    reverse_path: Path, deliveries: Mapping[Path, tuple[Delivery, ...]], trace: bytes
) -> Sequence[Copy]:
    """The copies to be made: one for each mailbox, saying for which addresses.

    Return-Path stands first (RFC 5321 section 4.4), Delivered-To (RFC 9228) names the recipients.
    """
    addresses: dict[Delivery, list[Path]] = {}
    for path, found in deliveries.items():
        for delivery in found:
            addresses.setdefault(delivery, []).append(path)
    return_path = b"Return-Path: " + reverse_path.wire(smtputf8=True) + b"\r\n"
    return [
        Copy(
            d.account,
            d.mailbox,
            return_path + b"".join(b"Delivered-To: " + _bare(p) + b"\r\n" for p in paths) + trace,
        )
        for d, paths in addresses.items()
    ]


def attempt(transaction: Transaction, digest: bytes | None = None) -> Attempt:
    """What tells this transaction from others, for ``LocalDelivery``.

    :param digest: SHA-256 of the octets as the client sent them, if those that are delivered differ.
    """
    return Attempt(
        transaction.reverse_path.wire(smtputf8=True),
        frozenset(r.path.wire(smtputf8=True) for r in transaction.recipients),
        digest,
    )


def first_recipients(transaction: Transaction) -> list[str]:
    """The recipients that the log names: a few; their number stands beside."""
    return [str(r.path) for r in transaction.recipients[:_LOGGED]]


def _bare(path: Path) -> bytes:
    return path.address.wire(smtputf8=True) if path.address else b"postmaster"
