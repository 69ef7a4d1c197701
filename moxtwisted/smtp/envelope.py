"""The envelope: what MAIL and RCPT said, as values.

The parameters of the extensions are decoded (xtext undone, numbers as ``int``); what a command did not say is ``None``
or false. Parameters that a host's own extension added are in ``extra``, keyword in upper case.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from attrs import Factory, define, field, frozen

from moxtwisted.address import Path

__all__ = [
    "NO_MAIL_PARAMETERS",
    "NO_RCPT_PARAMETERS",
    "MailParameters",
    "RcptParameters",
    "Recipient",
    "Transaction",
]

_NOTHING: Mapping[str, str | None] = MappingProxyType({})


@frozen(kw_only=True)
class MailParameters:
    """What followed the reverse-path.

    :ivar size: declared octets (RFC 1870), or None.
    :ivar body: ``"7BIT"``, ``"8BITMIME"`` (RFC 6152) or ``"BINARYMIME"`` (RFC 3030).
    :ivar auth: who submitted the message first (RFC 4954 section 5); ``"<>"`` = unknown, None = not said.
    :ivar smtputf8: SMTPUTF8 (RFC 6531).
    :ivar ret: ``"FULL"`` or ``"HDRS"`` (RFC 3461 section 4.3), or None.
    :ivar envid: envelope identifier, decoded (RFC 3461 section 4.4), or None.
    :ivar require_tls: REQUIRETLS (RFC 8689).
    :ivar prdr: a reply for each recipient is wanted after the message (PRDR, draft-hall-prdr).
    :ivar hold_for_seconds: HOLDFOR (RFC 4865), or None.
    :ivar hold_until: HOLDUNTIL (RFC 4865) with a time zone, or None.
    :ivar extra: parameters of extensions that this package does not know.
    """

    size: int | None = None
    body: str = "7BIT"
    auth: str | None = None
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None
    require_tls: bool = False
    prdr: bool = False
    hold_for_seconds: int | None = None
    hold_until: datetime | None = None
    extra: Mapping[str, str | None] = _NOTHING


@frozen(kw_only=True)
class RcptParameters:
    """What followed the forward-path.

    :ivar notify: ``{"NEVER"}`` or some of ``"SUCCESS"``, ``"FAILURE"``, ``"DELAY"`` (RFC 3461 section 4.1), or None.
    :ivar orcpt: original recipient as (address type, address), decoded (RFC 3461 section 4.2), or None.
    :ivar extra: parameters of extensions that this package does not know.
    """

    notify: frozenset[str] | None = None
    orcpt: tuple[str, str] | None = None
    extra: Mapping[str, str | None] = _NOTHING


NO_MAIL_PARAMETERS = MailParameters()
NO_RCPT_PARAMETERS = RcptParameters()


@frozen
class Recipient:
    """One accepted recipient."""

    path: Path
    parameters: RcptParameters = NO_RCPT_PARAMETERS


@define
class Transaction:
    """A mail transaction in progress: from MAIL to the end of the message.

    :ivar reverse_path: the path of MAIL FROM; ``is_null`` for ``<>``.
    :ivar recipients: those that were accepted, in order; LMTP answers after the message in this order.
    :ivar rejected: how many RCPT commands were refused.
    :ivar octets: octets of the message so far, as given to the sink.
    :ivar chunked: whether the message comes by BDAT (RFC 3030).
    """

    reverse_path: Path
    parameters: MailParameters = NO_MAIL_PARAMETERS
    recipients: list[Recipient] = field(default=Factory(list))
    rejected: int = 0
    octets: int = 0
    chunked: bool = False
