"""Who is here: domains, accounts, addresses and aliases, and which account an address leads to.

A ``Directory`` never changes; when the operator edits ``domains.conf`` a new one is built and put into the
``DirectoryHolder`` that the services look into at each question::

    directory = Directory.build(domains, accounts, Postmaster("alice", "Postmaster"), "mail.example.org")
    match directory.resolve(Path(Address.parse("alice+shop@example.org"))):
        case Recipients(deliveries=deliveries): ...      # one per account; an alias has several
        case Refused(reply_code=code): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, field, frozen

from moxtwisted.address import Address, Path, canonical_localpart
from moxtwisted.identifiers import Domain

__all__ = [
    "AccountEntry",
    "AliasEntry",
    "Delivery",
    "Directory",
    "DirectoryHolder",
    "DomainEntry",
    "KeyEntry",
    "Postmaster",
    "Recipients",
    "Refused",
    "ReportEntry",
]

INBOX = "INBOX"


@frozen
class AliasEntry:
    """An address that stands for several local ones.

    :ivar members: addresses as text.
    :ivar post_public: whether strangers may write to it.
    :ivar allow_message_from: whether members may send as it.
    """

    members: tuple[str, ...]
    post_public: bool = True
    allow_message_from: bool = False


@frozen
class DomainEntry:
    """A domain that mail is taken for; ``aliases`` by local part.

    :ivar traps: local parts that nobody has who should be written to.
    :ivar reports_only: mail for it is another server's; only its addresses for reports are here.
    """

    name: str
    disabled: bool = False
    separators: tuple[str, ...] = ("+",)
    case_sensitive: bool = False
    aliases: Mapping[str, AliasEntry] = field(factory=dict)
    traps: frozenset[str] = frozenset()
    reports_only: bool = False


@frozen
class ReportEntry:
    """An address for reports of other servers; at a domain, or at the name of this machine. Nobody logs in with it, or sends as it.

    :ivar tls: whether those about TLS are among them.
    """

    address: str
    account: str
    mailbox: str
    tls: bool = False


@frozen
class KeyEntry:
    """A TLS client key.

    :ivar login: the address that it logs in as; empty for the first of the account.
    :ivar imap_preauth: whether it needs no command to be logged in to IMAP.
    """

    login: str = ""
    imap_preauth: bool = True


@frozen
class AccountEntry:
    """An account.

    :ivar disabled: when not empty, log-in is refused with this text.
    :ivar quota_octets: room for messages; None is no limit.
    :ivar queue_mailbox: whether it sees over IMAP what waits of its mail.
    :ivar tls_public_keys: keys of TLS clients by the SHA-256 of their SubjectPublicKeyInfo, in hexadecimal.
    :ivar addresses: mailbox by address; ``@domain`` takes what nobody else has there.
    :ivar refusals: by those addresses that take no mail, the answer to RCPT: 421 or 550, a space and a text.
    """

    name: str
    disabled: str = ""
    quota_octets: int | None = None
    imap_capabilities_disabled: frozenset[str] = frozenset()
    queue_mailbox: bool = False
    tls_public_keys: Mapping[str, KeyEntry] = field(factory=dict)
    addresses: Mapping[str, str] = field(factory=dict)
    refusals: Mapping[str, str] = field(factory=dict)


@frozen
class Postmaster:
    """Where mail for postmaster goes when no account has that address."""

    account: str
    mailbox: str


@frozen(order=True)
class Delivery:
    """One copy to be made.

    :ivar destination: key of the address in the account's configuration (``alice@example.org``, ``@example.org``); empty when it
        has none, as for the postmaster. Two that differ in nothing else are the same copy.
    :ivar place: all three.
    """

    account: str
    mailbox: str
    destination: str = field(default="", eq=False)
    place: tuple[str, str, str] = field(init=False, eq=False, repr=False)

    @place.default
    def _all_three(self) -> tuple[str, str, str]:
        return self.account, self.mailbox, self.destination


@frozen
class Recipients:
    """An address that mail is taken for.

    :ivar deliveries: at least one, each account once.
    :ivar public: whether somebody who did not log in may write to it.
    :ivar alias: whether it stands for several addresses.
    """

    deliveries: tuple[Delivery, ...]
    public: bool = True
    alias: bool = field(default=False, eq=False)


@frozen
class Refused:
    """An address that mail is not taken for, and the SMTP answer to it.

    :ivar local: whether the domain is ours (else it is somebody else's: relaying).
    """

    reply_code: int
    enhanced_code: str
    text: str
    local: bool


# RFC 5321 section 4.2.3 and RFC 3463 section 3.2 for the codes.
UNKNOWN_USER = Refused(550, "5.1.1", "no such user here", True)
UNKNOWN_DOMAIN = Refused(550, "5.1.2", "not accepting mail for this domain", False)
DOMAIN_DISABLED = Refused(450, "4.2.1", "recipient domain temporarily disabled", True)

_ANY_DOMAIN = DomainEntry("")
#: Addresses of which is remembered where their mail goes; with a catch-all there are any number.
_MOST_KNOWN = 10_000

_Key = tuple[str, str]  # canonical local part ("" for the catch-all), domain in ASCII


@frozen
class Directory:
    """All of it; make it with ``build``."""

    domains: Mapping[str, DomainEntry]
    accounts: Mapping[str, AccountEntry]
    _destinations: Mapping[_Key, Delivery]
    _aliases: Mapping[_Key, AliasEntry]
    _keys: Mapping[str, str]
    _postmaster: Postmaster | None
    _hostname: str
    _everything: Delivery | None
    _traps: frozenset[_Key] = frozenset()
    _reports: Mapping[_Key, Delivery] = field(factory=dict)
    _tls_reports: frozenset[_Key] = frozenset()
    # Where mail for an address goes: asked for with every message.
    _known: dict[Path, Recipients] = field(factory=dict, init=False, eq=False, repr=False)

    @staticmethod
    def build(
        domains: Iterable[DomainEntry],
        accounts: Iterable[AccountEntry],
        postmaster: Postmaster | None,
        hostname: str,
        everything: Delivery | None = None,
        reports: Iterable[ReportEntry] = (),
    ) -> Directory:
        """Index what the configuration says (which was validated: addresses parse, their domains are there).

        :param everything: takes the mail for every other address in the world (a server for tests).
        :param reports: where reports come in.
        """
        reports = tuple(reports)
        by_name = {Domain.parse(d.name).ascii: d for d in domains}
        by_account = {a.name: a for a in accounts}
        destinations: dict[_Key, Delivery] = {}
        for account in by_account.values():
            for address, mailbox in account.addresses.items():
                destinations[_key(address, by_name)] = Delivery(account.name, mailbox, address)
        aliases = {
            _key(f"{localpart}@{name}", by_name): alias
            for name, domain in by_name.items()
            for localpart, alias in domain.aliases.items()
        }
        keys = {fp: account.name for account in by_account.values() for fp in account.tls_public_keys}
        traps = frozenset(
            _key(f"{localpart}@{name}", by_name)
            for name, domain in by_name.items()
            for localpart in domain.traps
        )
        return Directory(
            by_name,
            by_account,
            destinations,
            aliases,
            keys,
            postmaster,
            hostname,
            everything,
            traps - destinations.keys() - aliases.keys(),
            {
                _canonical_key(Address.parse(r.address), by_name): Delivery(r.account, r.mailbox, r.address)
                for r in reports
            },
            frozenset(_canonical_key(Address.parse(r.address), by_name) for r in reports if r.tls),
        )

    @property
    def postmaster(self) -> str:
        """The address of the server's own postmaster, or empty."""
        return f"postmaster@{self._hostname}" if self._postmaster is not None else ""

    def resolve(self, path: Path) -> Recipients | Refused:
        """Where mail for a forward-path goes: alias, then exact address, then catch-all, then postmaster."""
        known = self._known.get(path)
        if known is not None:
            return known
        found = self._resolve(path)
        if isinstance(found, Recipients):
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[path] = found
        return found

    def _resolve(self, path: Path) -> Recipients | Refused:
        address = path.address
        if address is None:
            # RFC 5321 section 4.1.1.3: "postmaster" without a domain is to be taken.
            return self._to_postmaster()
        if not isinstance(address.domain, Domain):
            return self._otherwise(UNKNOWN_DOMAIN)
        name = address.domain.ascii
        domain = self.domains.get(name)
        postmaster = address.localpart.lower() == "postmaster"
        if domain is None:
            # RFC 5321 section 4.5.1: and at the host's own name, where mail about the server goes.
            if postmaster and name == self._hostname:
                return self._to_postmaster()
            report = self._report(address)
            return Recipients((report,)) if report is not None else self._otherwise(UNKNOWN_DOMAIN)
        if domain.disabled:
            return DOMAIN_DISABLED
        found = self._find(address, domain)
        if found is not None:
            return found
        return self._to_postmaster() if postmaster else self._otherwise(UNKNOWN_USER)

    def takes_tls_reports(self, path: Path | None = None) -> bool:
        """Whether reports about TLS come in at an address, or without one, at any."""
        if path is None or not self._tls_reports:
            return bool(self._tls_reports)
        return path.address is not None and _canonical_key(path.address, self.domains) in self._tls_reports

    def is_ours(self, name: str) -> bool:
        """Whether a name, A-labels, is this machine's, a domain here, or below one."""
        if name == self._hostname:
            return True
        while name:
            if name in self.domains:
                return True
            name = name.partition(".")[2]
        return False

    def account_of_login(self, login: str) -> AccountEntry | None:
        """Whose login name that is: an address of the account, in any spelling that gets mail there, no catch-all."""
        try:
            address = Address.parse(login)
        except ValueError:
            return None
        delivery = self._destination(address, catch_all=False)
        return self.accounts.get(delivery.account) if delivery else None

    def canonical_login(self, login: str) -> str:
        """One form for all the spellings of a login name that lead to one address, whether anybody has it or not; by the
        domain's rules, or the usual ones when it is not ours. What is no address stays as it is."""
        try:
            address = Address.parse(login)
        except ValueError:
            return login
        domain = self.domains.get(address.domain.ascii, _ANY_DOMAIN)
        localpart = canonical_localpart(
            address.localpart, domain.separators, case_sensitive=domain.case_sensitive
        )
        return str(Address(localpart, address.domain))

    def account_of_key(self, fingerprint: str) -> AccountEntry | None:
        """Whose TLS client key that is."""
        return self.accounts.get(self._keys.get(fingerprint, ""))

    def may_send_as(self, account: str, address: Address) -> bool:
        """Whether an account may write this address as the sender: its own ones, its catch-all domains, and aliases
        of which it is a member and which allow it."""
        delivery = self._destination(address, catch_all=True)
        if delivery is not None and delivery.account == account:
            return True
        alias = self._alias(address)
        return (
            alias is not None
            and alias.allow_message_from
            and any(d.account == account for d in self._members(alias))
        )

    def may_post(self, path: Path, author: str) -> bool | None:
        """Whether an author may write to an address that is for members only; None when everybody may.

        :param author: an address, proved to be the author's. All addresses of a member's account are the member's.
        """
        alias = self._alias(path.address) if path.address is not None else None
        if alias is None or alias.post_public:
            return None
        try:
            delivery = self._destination(Address.parse(author), catch_all=True)
        except ValueError:
            return False
        return delivery is not None and any(d.account == delivery.account for d in self._members(alias))

    def sender_domain_disabled(self, address: Address) -> bool:
        """Whether the operator switched the domain of a sender off."""
        domain = self.domains.get(address.domain.ascii)
        return domain is not None and domain.disabled

    def _otherwise(self, refused: Refused) -> Recipients | Refused:
        return Recipients((self._everything,)) if self._everything else refused

    def _to_postmaster(self) -> Recipients | Refused:
        if self._postmaster is None:
            return self._otherwise(UNKNOWN_USER)
        return Recipients((Delivery(self._postmaster.account, self._postmaster.mailbox),))

    def is_trap(self, path: Path) -> bool:
        """Whether it is an address that only those write to who got it by no good way; one that somebody has is none."""
        address = path.address
        if address is None or not isinstance(address.domain, Domain):
            return False
        return bool(self._traps) and self._canonical(address) in self._traps

    def _report(self, address: Address) -> Delivery | None:
        return self._reports.get(_canonical_key(address, self.domains)) if self._reports else None

    def _find(self, address: Address, domain: DomainEntry) -> Recipients | Refused | None:
        report = self._report(address)
        if report is not None:
            return Recipients((report,))
        if domain.reports_only:
            return self._otherwise(UNKNOWN_DOMAIN)
        alias = self._alias(address)
        members = self._members(alias) if alias is not None else ()
        # An alias whose members are all gone is no address: its mail would go nowhere.
        if alias is not None and members:
            return Recipients(members, alias.post_public, alias=True)
        delivery = self._destination(address, catch_all=True)
        if delivery is None:
            return None
        refusal = self.accounts[delivery.account].refusals.get(delivery.destination)
        return _refused(refusal) if refusal else Recipients((delivery,))

    def _canonical(self, address: Address) -> _Key | None:
        domain = self.domains.get(address.domain.ascii)
        if domain is None:
            return None
        localpart = canonical_localpart(
            address.localpart, domain.separators, case_sensitive=domain.case_sensitive
        )
        return localpart, address.domain.ascii

    def _alias(self, address: Address) -> AliasEntry | None:
        key = self._canonical(address)
        return self._aliases.get(key) if key else None

    def _destination(self, address: Address, *, catch_all: bool) -> Delivery | None:
        key = self._canonical(address)
        if key is None:
            return None
        found = self._destinations.get(key)
        return found or (self._destinations.get(("", key[1])) if catch_all else None)

    def _members(self, alias: AliasEntry) -> tuple[Delivery, ...]:
        found: dict[str, Delivery] = {}
        for member in alias.members:
            delivery = self._destination(Address.parse(member), catch_all=True)
            if delivery is not None:
                found.setdefault(delivery.account, delivery)
        return tuple(found.values())


def _refused(words: str) -> Refused:
    """The operator's own answer to RCPT."""
    code, _, text = words.partition(" ")
    # RFC 3463 section 3.3: X.2.1, mailbox disabled.
    return Refused(int(code), f"{code[0]}.2.1", text, True)


def _canonical_key(address: Address, domains: Mapping[str, DomainEntry]) -> _Key:
    """By the rules of its domain, or the usual ones when it is not ours."""
    domain = domains.get(address.domain.ascii, _ANY_DOMAIN)
    localpart = canonical_localpart(
        address.localpart, domain.separators, case_sensitive=domain.case_sensitive
    )
    return localpart, address.domain.ascii


def _key(address: str, domains: Mapping[str, DomainEntry]) -> _Key:
    """The form an address of the configuration is looked up in; ``@domain`` has an empty local part."""
    localpart, _, name = address.rpartition("@")
    ascii_name = Domain.parse(name).ascii
    domain = domains.get(ascii_name)
    if localpart and domain is not None:
        parsed = Address.parse(address)
        localpart = canonical_localpart(
            parsed.localpart, domain.separators, case_sensitive=domain.case_sensitive
        )
    return localpart, ascii_name


@define
class DirectoryHolder:
    """The directory in force; services keep the holder and ask it for ``current`` each time."""

    current: Directory
