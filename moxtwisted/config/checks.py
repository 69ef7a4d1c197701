"""What the types of single keys cannot say: how the keys of the two files must fit together.

Each function notes what it finds in a ``Problems`` and goes on, so that one run shows everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from typing import Any, TypeVar

from moxtwisted.address import Address, AddressError, canonical_localpart
from moxtwisted.config.reading import Path, Problems, key_text, quoted
from moxtwisted.config.reportchecks import check_host_reports, check_reports
from moxtwisted.config.rulechecks import check_account_rules, check_destination_rules, check_judgement
from moxtwisted.config.scannerchecks import check_scanners, check_url
from moxtwisted.config.schema import (
    Account,
    Authentication,
    Domain,
    DomainsConfig,
    InitialMailboxes,
    Listener,
    StaticConfig,
    Verification,
)
from moxtwisted.config.senderchecks import check_account_senders, check_traps
from moxtwisted.dns.servers import ServerAddress
from moxtwisted.identifiers import (
    Domain as DomainName,
)
from moxtwisted.identifiers import (
    IdentifierError,
    parse_account_name,
    parse_mailbox_name,
    parse_network,
)
from moxtwisted.imap.capabilities import AFTER_LOGIN, CAPABILITIES, OPTIONAL

__all__ = ["check_domains", "check_postmaster", "check_static"]

T = TypeVar("T")
#: Of so many names the nearest is looked for; each costs microseconds, for each mistake.
_MAX_NAMES = 1000
#: As difflib counts, 0 to 1: "exmaple.org" is near to "example.org", "nobody" is not near to "bob".
_NEAR = 0.75
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
# RFC 5322 section 2.2, and what would end a tag of the signature.
_FIELD_NAME = re.compile(r"[!-9<-~]+")
# RFC 6376 section 5.4: Return-Path must not be signed, nor should what others add or take away.
_CHANGING_FIELDS = frozenset(
    ("return-path", "received", "delivered-to", "authentication-results", "received-spf", "dkim-signature")
)
# RFC 8601 section 2.2: a token; hosts and domains have no other characters.
_AUTHSERV_ID = re.compile(r"[A-Za-z0-9._-]{1,255}")
_SERVICES = ("smtp", "submission", "submissions", "imap", "imaps", "lmtp")


def _parsed(parse: Callable[[str], T], text: str, path: Path, expected: str, problems: Problems) -> T | None:
    """What a parser makes of a text, or None after noting its complaint."""
    try:
        return parse(text)
    except IdentifierError as e:
        problems.add(path, f"{quoted(text)} found, {expected} expected: {e.detail}")
    except ValueError:
        problems.add(path, f"{quoted(text)} found, {expected} expected")
    return None


def _nearest(text: str, names: Iterable[str], problems: Problems) -> str:
    """What may have been meant, to end a complaint with."""
    if problems.full:
        return ""
    written = {name.lower(): name for name in islice(names, _MAX_NAMES)}
    near = get_close_matches(text.lower(), written, 1, _NEAR)
    return f", did you mean {quoted(written[near[0]])}?" if near else ""


# -- mox.conf ----------------------------------------------------------------------------------------------


def check_static(config: StaticConfig, problems: Problems) -> None:
    """Note what does not fit together within ``mox.conf``."""
    _parsed(DomainName.parse, config.hostname, ("hostname",), "a domain name", problems)
    for name, listener in config.listeners.items():
        _check_listener(listener, ("listeners", name), problems)
    for i, server in enumerate(config.resolver.servers):
        at = ("resolver", "servers", i)
        _parsed(ServerAddress.parse, server, at, "an IP address as 127.0.0.1 or 127.0.0.1:5353", problems)
    _check_verification(config.verification, problems)
    check_judgement(config.judgement, problems)
    _check_sockets(config, problems)
    for i, network in enumerate(config.bans.never):
        _parsed(parse_network, network, ("bans", "never", i), "a network as 192.0.2.0/24", problems)
    check_scanners(config.scanners, problems)
    _parsed(parse_mailbox_name, config.postmaster.mailbox, ("postmaster", "mailbox"), "a mailbox", problems)
    _check_initial_mailboxes(config.initial_mailboxes, problems)
    mechanisms = config.authentication.mechanisms
    if len(set(mechanisms)) < len(mechanisms):
        problems.add(("authentication", "mechanisms"), "a mechanism found twice, each once expected")
    _check_authority(config.authentication, problems)
    store = config.store
    if store.key_environment and store.key_credential:
        problems.add(("store", "key_credential"), "key_environment found as well, one of them expected")
    if any(part in ("", "..") for part in store.key_credential.split("/")) and store.key_credential:
        problems.add(("store", "key_credential"), "a path found, the name of a credential expected")
    imap = config.limits.imap
    judged = not problems.spoiled(("limits", "imap", "command_octets"))
    if judged and imap.literal_octets > imap.command_octets:
        problems.add(
            ("limits", "imap", "literal_octets"),
            f"{imap.literal_octets} found, at most command_octets ({imap.command_octets}) expected",
        )


def _check_authority(authentication: Authentication, problems: Problems) -> None:
    if authentication.authority is None:
        return
    if not {"PLAIN", "LOGIN"} & set(authentication.mechanisms):
        problems.add(
            ("authentication", "mechanisms"),
            "no PLAIN and no LOGIN found, one expected: the authority needs them",
        )
    url = authentication.authority.url
    at = ("authentication", "authority", "url")
    parts = check_url(url, at, "https://host:port", problems)
    if parts is None:
        return
    if parts.path.strip("/") + parts.query + parts.fragment:
        problems.add(at, f"{quoted(url)} found, https://host:port expected, without a path")
    elif parts.username is not None:
        problems.add(at, "a user name found, none expected: it belongs into credentials_file")
    elif parts.scheme == "http" and parts.hostname != "localhost" and not _is_loopback(parts.hostname or ""):
        problems.add(at, f"{quoted(url)} found, https:// expected: passwords go there")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_verification(verification: Verification, problems: Problems) -> None:
    name = verification.authserv_id
    if name and not _AUTHSERV_ID.fullmatch(name):
        problems.add(("verification", "authserv_id"), f"{quoted(name)} found, a name without spaces expected")
    for i, sealer in enumerate(verification.trusted_arc_sealers):
        at = ("verification", "trusted_arc_sealers", i)
        _parsed(DomainName.parse, sealer, at, "a domain name", problems)


def _check_listener(listener: Listener, path: Path, problems: Problems) -> None:
    for i, ip in enumerate(listener.ips):
        _parsed(ip_address, ip, (*path, "ips", i), "an IP address", problems)
    if len(set(listener.ips)) < len(listener.ips):
        problems.add((*path, "ips"), "an address found twice, each once expected")
    for i, network in enumerate(listener.proxy_protocol_from):
        at = (*path, "proxy_protocol_from", i)
        _parsed(parse_network, network, at, "a network as 192.0.2.0/24", problems)
    if listener.hostname:
        _parsed(DomainName.parse, listener.hostname, (*path, "hostname"), "a domain name", problems)
    if not any(getattr(listener, service) for service in _SERVICES) and not problems.spoiled_below(path):
        problems.add(path, "no service found, one or more of " + ", ".join(_SERVICES) + " expected")
    if listener.tls is None:
        _check_without_tls(listener, path, problems)


def _check_without_tls(listener: Listener, path: Path, problems: Problems) -> None:
    """Services that cannot work without a certificate."""

    def runs(service: str) -> Any:
        settings = getattr(listener, service)
        judged = settings is not None and not problems.spoiled((*path, service, "enabled"))
        return settings if judged and settings.enabled else None

    for service in ("submissions", "imaps"):
        if runs(service) is not None:
            problems.add((*path, "tls"), f"nothing found, a table with certificates for {service} expected")
    for service in ("submission", "imap"):
        settings = runs(service)
        if settings is not None and settings.require_starttls:
            problems.add(
                (*path, "tls"),
                f"nothing found, a table with certificates (or {service}.require_starttls = false) expected",
            )
    if listener.smtp is not None and listener.smtp.enabled and listener.smtp.starttls == "required":
        problems.add((*path, "smtp", "starttls"), '"required" found, and no tls table in the listener')


def _check_sockets(config: StaticConfig, problems: Problems) -> None:
    """No port may be listened on twice."""
    taken: dict[tuple[str, int], Path] = {}
    paths: dict[str, Path] = {}
    for name, listener in config.listeners.items():
        for service in _SERVICES:
            settings = getattr(listener, service)
            if settings is None or not settings.enabled:
                continue
            at: Path = ("listeners", name, service)
            if problems.spoiled((*at, "port")):
                continue
            unix = getattr(settings, "path", "")
            if unix:
                if unix in paths:
                    problems.add(
                        (*at, "path"), f"{quoted(unix)} found, {key_text(paths[unix])} has it already"
                    )
                paths[unix] = at
                continue
            for ip in listener.ips:
                if not _claim(ip, settings.port, at, taken, problems):
                    break


def _claim(ip: str, port: int, at: Path, taken: dict[tuple[str, int], Path], problems: Problems) -> bool:
    """Note that a service wants a port (0 is any that is free); false after noting that another has it."""
    try:
        address = ip_address(ip)
    except ValueError:
        return True
    if port == 0:
        return True
    for rival in _rivals(address, port, taken):
        problems.add((*at, "port"), f"{port} found, {key_text(taken[rival])} has it already on {rival[0]}")
        return False
    taken[str(address), port] = at
    return True


def _rivals(
    address: IPv4Address | IPv6Address, port: int, taken: Iterable[tuple[str, int]]
) -> Iterable[tuple[str, int]]:
    """Sockets that cannot be open at the same time as this one."""
    for text, number in taken:
        other = ip_address(text)
        if number != port or other.version != address.version:
            continue
        if other == address or other.is_unspecified or address.is_unspecified:
            yield text, number


def _check_initial_mailboxes(initial: InitialMailboxes, problems: Problems) -> None:
    path: Path = ("initial_mailboxes", "special_use")
    use = initial.special_use
    named = [
        (use_name, getattr(use, use_name)) for use_name in ("sent", "archive", "trash", "drafts", "junk")
    ]
    seen: dict[str, str] = {"Inbox": "INBOX"}
    for use_name, mailbox in named:
        if not mailbox:
            continue
        name = _parsed(parse_mailbox_name, mailbox, (*path, use_name), "a mailbox", problems)
        if name is not None and name in seen:
            problems.add((*path, use_name), f"{quoted(mailbox)} found, {seen[name]} is that already")
        elif name is not None:
            seen[name] = use_name
    for i, mailbox in enumerate(initial.regular):
        at = ("initial_mailboxes", "regular", i)
        name = _parsed(parse_mailbox_name, mailbox, at, "a mailbox", problems)
        if name is not None and name in seen:
            problems.add(at, f"{quoted(mailbox)} found, that mailbox is made anyway")


# -- domains.conf ------------------------------------------------------------------------------------------


class _Domains:
    """The domains by their ASCII name, and who has which address.

    :ivar owners: key path by (canonical local part, domain); "" is the catch-all.
    :ivar owners_known: false when addresses of an account cannot be read.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Domain] = {}
        self.owners: dict[tuple[str, str], Path] = {}
        self.owners_known = True

    def canonical(self, address: Address) -> tuple[str, str]:
        """The key under which an address is looked up."""
        domain = self.by_name.get(address.domain.ascii, Domain())
        localpart = canonical_localpart(
            address.localpart, domain.localpart_separators, case_sensitive=domain.case_sensitive
        )
        return localpart, address.domain.ascii

    def claim(self, key: tuple[str, str], path: Path, problems: Problems) -> None:
        """Note who has an address; it can be nobody else's."""
        if key in self.owners:
            problems.add(path, f"the same address as {key_text(self.owners[key])} found, another expected")
        else:
            self.owners[key] = path


def check_domains(config: DomainsConfig, problems: Problems) -> None:
    """Note what does not fit together within ``domains.conf``."""
    domains = _Domains()
    for name, domain in config.domains.items():
        path: Path = ("domains", name)
        parsed = _parsed(DomainName.parse, name, path, "a domain name", problems)
        if parsed is not None and parsed.ascii in domains.by_name:
            problems.add(path, "a domain found that is there already in another spelling")
        elif parsed is not None:
            domains.by_name[parsed.ascii] = domain
            check_traps(parsed.ascii, domain, path, problems)
        for i, separator in enumerate(domain.localpart_separators):
            if not separator or "@" in separator or not separator.isprintable() or " " in separator:
                problems.add(
                    (*path, "localpart_separators", i),
                    f'{quoted(separator)} found, a text as "+" or "--" expected',
                )
        _check_selectors(domain, path, problems)
    for name, account in config.accounts.items():
        _check_account(name, account, domains, problems)
    domains.owners_known = not problems.spoiled(("accounts",)) and not any(
        problems.spoiled(("accounts", name, "addresses")) for name in config.accounts
    )
    for name, domain in config.domains.items():
        _check_aliases(name, domain, domains, problems)
    check_reports(config, domains, problems)
    _check_traps_are_free(config, domains, problems)


def _check_traps_are_free(config: DomainsConfig, domains: _Domains, problems: Problems) -> None:
    """Nobody has an address that is a trap."""
    for name, domain in config.domains.items():
        for i, localpart in enumerate(domain.spam_traps):
            try:
                owner = domains.owners.get(domains.canonical(Address.parse(f"{localpart}@{name}")))
            except AddressError:
                continue
            if owner is not None:
                problems.add(
                    ("domains", name, "spam_traps", i),
                    f"{quoted(localpart)} found, an address that nobody has expected: {key_text(owner)} has it",
                )


def _check_selectors(domain: Domain, path: Path, problems: Problems) -> None:
    if not domain.dkim:
        return
    # A server without signatures starts without what reads them.
    from moxtwisted.mailauth.dkim.signature import is_selector

    for selector, settings in domain.dkim.items():
        at = (*path, "dkim", selector)
        if not is_selector(selector):
            problems.add(at, "a name found, one of small letters, digits and - expected, as 2026a")
        for i, header in enumerate(settings.headers):
            if _FIELD_NAME.fullmatch(header) is None or header.lower() in _CHANGING_FIELDS:
                problems.add(
                    (*at, "headers", i),
                    f"{quoted(header)} found, the name of a header field that no server adds on the way expected",
                )


def _check_account(name: str, account: Account, domains: _Domains, problems: Problems) -> None:
    path: Path = ("accounts", name)
    _parsed(parse_account_name, name, path, "the name of an account", problems)
    domain = _parsed(DomainName.parse, account.domain, (*path, "domain"), "a domain name", problems)
    if domain is not None and domain.ascii not in domains.by_name and not problems.spoiled(("domains",)):
        near = _nearest(account.domain, domains.by_name, problems)
        problems.add(
            (*path, "domain"), f"{quoted(account.domain)} found, a domain of this file expected{near}"
        )
    _check_capabilities(account, path, problems)
    _check_junk_flags(account, path, problems)
    check_account_rules(account, path, problems)
    check_account_senders(account, path, problems)
    for fingerprint in account.tls_public_keys:
        at = (*path, "tls_public_keys", fingerprint)
        if _FINGERPRINT.fullmatch(fingerprint) is None:
            problems.add(at, "a name found, a SHA-256 in lower-case hexadecimal (64 digits) expected")
        domains.claim(("TLS key", fingerprint), at, problems)
    for text, destination in account.addresses.items():
        at = (*path, "addresses", text)
        check_destination_rules(destination, at, problems)
        if destination.mailbox != "Inbox":
            _parsed(parse_mailbox_name, destination.mailbox, (*at, "mailbox"), "a mailbox", problems)
        if text.startswith("@"):
            catch = _parsed(DomainName.parse, text[1:], at, "@ and a domain", problems)
            if catch is not None:
                _check_domain_of(catch.ascii, at, domains, problems)
                domains.claim(("", catch.ascii), at, problems)
            continue
        address = _parsed(Address.parse, text, at, "an address", problems)
        if address is not None:
            _check_localpart(address.localpart, address.domain.ascii, at, domains, problems)
            _check_domain_of(address.domain.ascii, at, domains, problems)
            domains.claim(domains.canonical(address), at, problems)
    _check_key_logins(account, path, domains, problems)


def _check_junk_flags(account: Account, path: Path, problems: Problems) -> None:
    flags = account.automatic_junk_flags
    for key in ("junk_mailboxes", "neutral_mailboxes", "not_junk_mailboxes"):
        text = getattr(flags, key)
        try:
            re.compile(text)
        except (re.error, OverflowError, RecursionError) as e:
            problems.add(
                (*path, "automatic_junk_flags", key),
                f"{quoted(text)} found, a regular expression expected: {e}",
            )


def _check_capabilities(account: Account, path: Path, problems: Problems) -> None:
    known = {name.lower(): name for name in (*CAPABILITIES, *OPTIONAL, *AFTER_LOGIN)}
    for i, name in enumerate(account.imap_capabilities_disabled):
        if known.get(name.lower()) != name:
            at = (*path, "imap_capabilities_disabled", i)
            near = known.get(name.lower())
            hint = f", did you mean {quoted(near)}?" if near else _nearest(name, known.values(), problems)
            problems.add(at, f"{quoted(name)} found, an IMAP capability expected{hint}")


def _check_key_logins(account: Account, path: Path, domains: _Domains, problems: Problems) -> None:
    """A key logs in as an address of the account."""
    for fingerprint, key in account.tls_public_keys.items():
        if not key.login:
            continue
        at = (*path, "tls_public_keys", fingerprint, "login")
        address = _parsed(Address.parse, key.login, at, "an address", problems)
        owner = domains.owners.get(domains.canonical(address)) if address is not None else path
        if (owner is None or owner[:2] != path) and not problems.spoiled((*path, "addresses")):
            problems.add(at, f"{quoted(key.login)} found, an address of the account expected")


def _check_domain_of(domain: str, path: Path, domains: _Domains, problems: Problems) -> None:
    if domain not in domains.by_name and not problems.spoiled(("domains",)):
        near = _nearest(domain, domains.by_name, problems)
        problems.add(path, f"an address at {domain} found, at a domain of this file expected{near}")


def _check_localpart(localpart: str, domain: str, path: Path, domains: _Domains, problems: Problems) -> None:
    """An address with a separator could never be reached."""
    for separator in domains.by_name.get(domain, Domain(localpart_separators=())).localpart_separators:
        if separator and separator in localpart[1:]:
            problems.add(path, f"{quoted(separator)} found, which separates suffixes at that domain")


def _check_aliases(name: str, domain: Domain, domains: _Domains, problems: Problems) -> None:
    for localpart, alias in domain.aliases.items():
        path: Path = ("domains", name, "aliases", localpart)
        address = _parsed(
            Address.parse, f"{localpart}@{name}", path, "the local part of an address", problems
        )
        if address is not None:
            _check_localpart(address.localpart, address.domain.ascii, path, domains, problems)
            domains.claim(domains.canonical(address), path, problems)
        for i, text in enumerate(alias.addresses):
            at = (*path, "addresses", i)
            member = _parsed(Address.parse, text, at, "an address", problems)
            if member is None:
                continue
            owner = domains.owners.get(domains.canonical(member))
            if (owner is None or owner[0] != "accounts") and domains.owners_known:
                known = (
                    f"{owned[0]}@{owned[1]}" for owned, who in domains.owners.items() if who[0] == "accounts"
                )
                near = _nearest(text, known, problems)
                problems.add(
                    at, f"{quoted(text)} found, an address of an account of this file expected{near}"
                )


def check_postmaster(static: StaticConfig, domains: DomainsConfig, problems: Problems) -> None:
    """Note when the postmaster, or the account that learns from spam traps or gets the host's reports, is nobody."""
    check_host_reports(static, domains, problems)
    learner = static.senders.spam_trap_account
    if learner and learner not in domains.accounts:
        near = _nearest(learner, domains.accounts, problems)
        problems.add(
            ("senders", "spam_trap_account"),
            f"{quoted(learner)} found, an account of domains.conf expected{near}",
        )
    account = static.postmaster.account
    if account not in domains.accounts:
        near = _nearest(account, domains.accounts, problems)
        problems.add(
            ("postmaster", "account"), f"{quoted(account)} found, an account of domains.conf expected{near}"
        )
