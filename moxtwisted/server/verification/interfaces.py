"""What the checks of a message's origin found, for whoever judges it.

::

    verified = await verifier.verify(message)         # IVerifier; within its time limit, whatever the DNS does
    verified.dmarc.verdict                             # mailauth.dmarc.evaluation.Verdict.PASS
    verified.from_validated                            # the address in From is the sender's to use
    verified.unconfirmed                               # {"dkim"}: a failure that the second opinion did not share
"""

from __future__ import annotations

from collections.abc import Awaitable
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from zope.interface import Interface

if TYPE_CHECKING:
    # A third of what there is to import at the start, for names alone.
    from moxtwisted.address import Path
    from moxtwisted.mailauth.arc import Chain, SealedResults
    from moxtwisted.mailauth.dkim.verify import Verification
    from moxtwisted.mailauth.dmarc.author import Author
    from moxtwisted.mailauth.dmarc.evaluation import DMARCResult
    from moxtwisted.mailauth.inflow import HashedMessage
    from moxtwisted.mailauth.iprev import IPRevResult
    from moxtwisted.mailauth.spf.evaluation import SPFResult
    from moxtwisted.store.interfaces import IStagedMessage

__all__ = ["ISenderRules", "IVerifier", "SenderTrouble", "Unverified", "Verified"]


@frozen(kw_only=True)
class Unverified:
    """A message whose origin is to be checked.

    :ivar ip: of the client; None when it is on this machine.
    :ivar hello: the name in EHLO or HELO, as it came.
    :ivar reverse_path: the sender of the envelope.
    :ivar hashed: header, signatures and hashes of the body.
    :ivar staged: its octets, for the second opinion.
    :ivar removed_octets: how many of its header are not in these.
    :ivar smtputf8: whether fields may be written in UTF-8.
    :ivar begun: what ``IVerifier.begin`` returned at MAIL FROM; None: it was not asked.
    :ivar session: for the log.
    """

    ip: IPv4Address | IPv6Address | None
    hello: str
    reverse_path: Path
    hashed: HashedMessage
    staged: IStagedMessage
    removed_octets: int = 0
    smtputf8: bool = False
    begun: Any = field(default=None, eq=False, repr=False)
    session: str = ""


@define(kw_only=True)
class Verified:
    """What was found. What could not be asked in time is a temporary error of its method. The verifier fills it in; nobody else changes it.

    :ivar ip: of the client; None when it is on this machine.
    :ivar iprev: reverse DNS; None without an address.
    :ivar spf: of the sender of the envelope, or of the name in EHLO when that is null; None without an address.
    :ivar helo_spf: of the name in EHLO; None without an address or when the name is no domain.
    :ivar dkim: of each signature that was looked at, uppermost first.
    :ivar arc: the chain of seals.
    :ivar author: what From says.
    :ivar dmarc: None when From does not name one domain.
    :ivar sealed: the results that a trusted sealer saw, when its ``arc=pass`` may override a failure of DMARC.
    :ivar unconfirmed: methods (``dkim``, ``spf``) whose failure the second opinion did not share: nothing may be refused
        because of them.
    :ivar organizational_domain: of the domain in From; empty without one.
    :ivar from_validated: whether the address in From was the sender's to use: DMARC passed, or, without a policy, SPF or DKIM
        passed for its domain.
    :ivar trace: header fields to stand above the message: Authentication-Results and Received-SPF, each ended by CRLF.
    """

    ip: IPv4Address | IPv6Address | None = None
    iprev: IPRevResult | None = None
    spf: SPFResult | None = None
    helo_spf: SPFResult | None = None
    dkim: tuple[Verification, ...] = ()
    arc: Chain | None = None
    author: Author
    dmarc: DMARCResult | None = None
    sealed: SealedResults | None = None
    unconfirmed: frozenset[str] = frozenset()
    organizational_domain: str = ""
    from_validated: bool = False
    trace: bytes = b""


class SenderTrouble(Enum):
    """Why a sender's mail cannot be taken, before there is a message."""

    NO_MAIL = "domain of the sender takes no mail"
    UNKNOWN = "domain of the sender cannot be looked up now"


class IVerifier(Interface):
    """Checks origins."""

    def begin(ip: IPv4Address | IPv6Address | None, hello: str, reverse_path: Path) -> Any:
        """MAIL FROM came: start what can be asked already, so that the answers are there when the message is.

        :returns: for ``Unverified.begun``, and for ``ISenderRules``. It has a method ``cancel``: nobody wants to know any more.
        """

    def header_came(hashed: Any) -> None:
        """The header is whole and the body still comes: start to ask for the keys of its signatures.

        :param hashed: the ``MessageHasher``.
        """

    def verify(message: Unverified) -> Awaitable[Verified]:
        """All checks at once; never fails, and ends within its time limit."""


class ISenderRules(Interface):
    """What is asked of senders before their message."""

    def can_receive(reverse_path: Path) -> Awaitable[SenderTrouble | None]:
        """Whether reports could be sent to the domain of the sender."""

    def may_have_recipients(begun: Any) -> Awaitable[bool]:
        """Whether a message may have more than one recipient."""
