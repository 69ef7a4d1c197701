"""What accounts, their addresses and domains want of the judge: the configuration as values.

::

    rules = Rules(accounts={"alice": AccountRules(introbox="Introbox")}, domains={"example.org": DomainRules(dmarc="ignore")})
    rules.of("alice"), rules.strictness("alice", "example.org")      # AccountRules, Strictness

``Rules`` never change; after an edit of ``domains.conf`` new ones are put into the ``RulesHolder``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

from attrs import define, field, frozen

__all__ = [
    "AccountRules",
    "DMARCStrictness",
    "DestinationRules",
    "DomainRules",
    "Pattern",
    "Rules",
    "RulesHolder",
    "Ruleset",
    "SPFStrictness",
    "ServerRules",
    "Strictness",
]

DMARCStrictness = Literal["strict", "enforce", "reject-only", "ignore"]
"""What becomes of mail that fails DMARC. ``enforce``: what its owner wants (reject: refused, quarantine: into the junk mailbox);
``strict``: quarantine is refused as well; ``reject-only``: quarantine is taken for none; ``ignore``: nothing."""

SPFStrictness = Literal["strict", "strangers", "ignore"]
"""What becomes of mail that fails SPF. ``strangers``: refused when the author is not known by From; ``strict``: whoever the author
is; ``ignore``: nothing."""


class Pattern(Protocol):
    """A compiled regular expression whose time is linear in the text (see ``compose.judgement``)."""

    def search(self, text: str, /) -> Any:
        """Something true when a part of the text matches."""


@frozen(kw_only=True)
class Ruleset:
    """For some of an address's mail: which, and what is to be done with it. All conditions that are set must match.

    :ivar smtp_mail_from: on the sender of the envelope, without brackets; in lower case.
    :ivar message_from: on the one address in From, in lower case.
    :ivar verified_domain: A-labels; it, or a domain below, passed SPF or DKIM.
    :ivar headers: (name, value) each in lower case, the value without white space at its ends; all must match a field.
    :ivar forward: the mail is forwarded by somebody the recipient trusts: what only the forwarder is known by does not count.
    :ivar list_allow_domain: A-labels; with SPF or DKIM of this very domain the mail is taken without further questions.
    :ivar accept_rejects_to: mailbox that refused mail goes into, instead of being refused; or empty.
    :ivar mailbox: where the mail goes; empty for that of the address.
    """

    smtp_mail_from: Pattern | None = None
    message_from: Pattern | None = None
    verified_domain: str = ""
    headers: tuple[tuple[Pattern, Pattern], ...] = ()
    forward: bool = False
    list_allow_domain: str = ""
    accept_rejects_to: str = ""
    mailbox: str = ""


@frozen(kw_only=True)
class DestinationRules:
    """What an address wants.

    :ivar rulesets: the first that matches counts.
    :ivar authentication_required: when not empty, mail whose From is not proved is refused with this text.
    :ivar reports: kinds of reports (``dmarc``, ``tls``) that others send to it.
    """

    rulesets: tuple[Ruleset, ...] = ()
    authentication_required: str = ""
    reports: frozenset[str] = frozenset()


@frozen(kw_only=True)
class AccountRules:
    """What an account wants.

    :ivar destinations: by the key of the address, as in ``Recipient.destination``.
    :ivar dmarc: None: as the domain says.
    :ivar spf: likewise.
    :ivar subject_pass_seconds: how long a pass is good; 0: none are given.
    :ivar rejects_mailbox: where refused mail can be looked at; empty: nowhere.
    :ivar keep_rejects: whether it stays there; otherwise it goes by age and number.
    :ivar introbox: where mail of strangers goes instead of INBOX; or empty.
    :ivar junk_mailbox: where mail goes that is to be set aside.
    :ivar junk_filter: whether the content filter is asked.
    :ivar junk_threshold: probability of junk, 0 to 1, above which a message is refused.
    :ivar strict_threshold: the same for those that come in a suspicious way.
    :ivar first_time_delay: whether mail of strangers waits before it is taken.
    :ivar greylisting: None: as the domain says.
    :ivar scanners_off: names of external judges that do not count; None: as the domain says.
    """

    destinations: Mapping[str, DestinationRules] = field(factory=dict)
    dmarc: DMARCStrictness | None = None
    spf: SPFStrictness | None = None
    subject_pass_seconds: float = 43200.0
    rejects_mailbox: str = "Rejects"
    keep_rejects: bool = False
    introbox: str = ""
    junk_mailbox: str = "Junk"
    junk_filter: bool = True
    junk_threshold: float = 0.95
    strict_threshold: float = 0.25
    first_time_delay: bool = True
    greylisting: bool | None = None
    scanners_off: frozenset[str] | None = None


@frozen(kw_only=True)
class DomainRules:
    """What a domain of ours wants for its addresses."""

    dmarc: DMARCStrictness = "enforce"
    spf: SPFStrictness = "strangers"
    greylisting: bool = False
    scanners_off: frozenset[str] = frozenset()


@frozen(kw_only=True)
class ServerRules:
    """What holds for all.

    :ivar first_time_delay_seconds: how long mail of strangers waits.
    :ivar contact: what is said with each refusal, for people: whom to ask; may be empty.
    """

    first_time_delay_seconds: float = 15.0
    contact: str = ""


@frozen
class Strictness:
    """What is to be done about failures of origin and about strangers, and whose word does not count, for one recipient."""

    dmarc: DMARCStrictness = "enforce"
    spf: SPFStrictness = "strangers"
    greylisting: bool = False
    scanners_off: frozenset[str] = frozenset()


_NOTHING_SPECIAL: Final = AccountRules()
_ANY_DOMAIN: Final = DomainRules()
_MOST_KNOWN: Final = 10_000


@frozen
class Rules:
    """All of it; ``domains`` by A-labels."""

    accounts: Mapping[str, AccountRules] = field(factory=dict)
    domains: Mapping[str, DomainRules] = field(factory=dict)
    server: ServerRules = ServerRules()
    # By account and domain: asked for with every message.
    _known: dict[tuple[str, str], Strictness] = field(factory=dict, init=False, eq=False, repr=False)

    def of(self, account: str) -> AccountRules:
        """What an account wants; one that is not known, what everybody wants."""
        return self.accounts.get(account, _NOTHING_SPECIAL)

    def strictness(self, account: str, domain: str) -> Strictness:
        """What holds for mail to an address of this account at this domain: what the account says, else the domain."""
        known = self._known.get((account, domain))
        if known is not None:
            return known
        mine, theirs = self.of(account), self.domains.get(domain, _ANY_DOMAIN)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        found = self._known[account, domain] = Strictness(
            mine.dmarc or theirs.dmarc,
            mine.spf or theirs.spf,
            theirs.greylisting if mine.greylisting is None else mine.greylisting,
            theirs.scanners_off if mine.scanners_off is None else mine.scanners_off,
        )
        return found


@define
class RulesHolder:
    """The rules in force; services keep the holder and ask it for ``current`` each time."""

    current: Rules
