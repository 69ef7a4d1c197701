"""What a judge is told and what it says; one judgement for each recipient's account.

::

    decision = await judge.judge(incoming, recipient)      # IJudge
    decision.accept, decision.reason                        # False, "junk-content"
    decision.explanation                                    # why, in words, for X-Moxtwisted-Reason and the log
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from zope.interface import Attribute, Interface

from moxtwisted.address import Path
from moxtwisted.message.flags import NO_FLAGS, MessageFlags
from moxtwisted.message.headers import Header
from moxtwisted.server.judgement.author import Author, find_author
from moxtwisted.server.verification.interfaces import Verified
from moxtwisted.smtp.replies import Reply
from moxtwisted.store.interfaces import IStagedMessage

if TYPE_CHECKING:
    # Parsers that few messages need.
    from moxtwisted.mailauth.reports.message import Report

__all__ = [
    "Decision",
    "IContentFilter",
    "IExternalJudge",
    "IJudge",
    "IReportReader",
    "Incoming",
    "JunkScore",
    "Opinion",
    "Recipient",
]


@frozen(kw_only=True)
class Incoming:
    """A message that came in from somebody who did not log in.

    :ivar verified: who sent it.
    :ivar hello: the name in EHLO, as it came.
    :ivar tls: whether it came over TLS.
    :ivar seconds: when it came, since 1970.
    :ivar session: for the log.
    :ivar author: who wrote it, as From says.
    :ivar ip: the client's address as text; empty when it is on this machine.
    """

    reverse_path: Path
    recipients: tuple[Path, ...]
    verified: Verified
    header: Header
    staged: IStagedMessage
    hello: str
    tls: bool
    seconds: float
    session: str = ""
    author: Author = field()
    ip: str = field()

    @author.default
    def _find_author(self) -> Author:
        return find_author(self.header, self.verified.author.domain)

    @ip.default
    def _ip_of_client(self) -> str:
        return str(self.verified.ip) if self.verified.ip is not None else ""


@frozen(kw_only=True)
class Recipient:
    """Whose mail it is.

    :ivar path: the address that it was sent to.
    :ivar account: name of the account.
    :ivar mailbox: where the address's mail goes.
    :ivar alias: whether the address stands for several accounts.
    :ivar destination: key of the address in the account's configuration (``alice@example.org``, ``@example.org``).
    """

    path: Path
    account: str
    mailbox: str
    destination: str
    alias: bool = False


@frozen(kw_only=True)
class Decision:
    """What to do with a message for one recipient.

    :ivar accept: whether it is taken.
    :ivar reason: the word for it; all are in ``moxtwisted.server.judgement.reasons``.
    :ivar explanation: the sentences behind it.
    :ivar mailbox: where it goes when it is taken.
    :ivar reply: the answer when it is not.
    :ivar keep_in_rejects: whether a copy of a refused message is kept for the recipient to see.
    :ivar flags: it gets.
    :ivar delay_seconds: to wait before it is taken.
    :ivar sender: what is remembered of the sender (``store.interfaces.Sender``); None: nothing.
    :ivar overridden: why a DMARC policy was not applied, in the words of RFC 7489 appendix C (``mailing_list``,
        ``forwarded``, ``trusted_forwarder``, ``local_policy``, ``sampled_out``); empty when it was or there was none.
    :ivar report: what the message reports, when it is a report at an address for those; to be kept when it is taken.
    """

    accept: bool
    reason: str
    explanation: str
    mailbox: str
    reply: Reply | None = None
    keep_in_rejects: bool = False
    flags: MessageFlags = NO_FLAGS
    delay_seconds: float = 0.0
    sender: Any = None
    overridden: str = ""
    report: Report | None = None


class IJudge(Interface):
    """Judges messages."""

    def judge(incoming: Incoming, recipient: Recipient) -> Awaitable[Decision]:
        """Whether to take it. What goes wrong here is a temporary refusal, never a permanent one."""


@frozen
class JunkScore:
    """What a content filter says.

    :ivar probability: that it is junk, 0 to 1.
    :ivar significant: whether it has learned enough for its word to count.
    :ivar words: (token, probability of junk, weight), those that weighed most first.
    """

    probability: float
    significant: bool
    words: tuple[tuple[str, float, float], ...] = ()


class IContentFilter(Interface):
    """The junk filter of the accounts."""

    def score(account: str, message: IStagedMessage, header: Header) -> Awaitable[JunkScore | None]:
        """What it thinks; None when the account has no filter."""


class IReportReader(Interface):
    """Reads reports."""

    def read(message: IStagedMessage, kinds: frozenset[str]) -> Awaitable[Report | str]:
        """The report in a message, of the kinds ``dmarc`` and ``tls`` that are wanted, or why it has none."""


@frozen(kw_only=True)
class Opinion:
    """What somebody else thinks of a message.

    :ivar source: who, for logs and the explanation.
    :ivar reply: a refusal, or None.
    :ivar junk: whether it is to be treated as junk (and not refused for it).
    :ivar fields: header fields to add, each ended by CRLF.
    :ivar changes: by the field's place in ``Incoming.header.fields``: what stands there instead, ended by CRLF; empty: nothing.
    :ivar explanation: in words.
    :ivar keep_in_rejects: whether a copy of a refused message is kept for the recipients to see.
    :ivar values: figures, for the log.
    """

    source: str
    reply: Reply | None = None
    junk: bool = False
    fields: bytes = b""
    changes: Mapping[int, bytes] = field(factory=dict)
    explanation: str = ""
    keep_in_rejects: bool = False
    values: Mapping[str, object] = field(factory=dict)


class IExternalJudge(Interface):
    """A program beside us that looks at messages, once for all recipients who want it to: rspamd, clamd, a milter."""

    key = Attribute(
        "str: what accounts and domains that do without it call it, such as ``rspamd``, ``milters.opendkim``"
    )

    def look(incoming: Incoming) -> Awaitable[Opinion | None]:
        """Within its own time limit; None when it has nothing to say. When it does not answer, the operator's configuration
        says what its opinion is."""
