"""What belongs into the DNS for a domain, and for this machine.

::

    for record in dns_records(static, "example.org", domains.domains["example.org"], [("2026a", "v=DKIM1;…")]):
        record.line()          # example.org. IN MX 10 mail.example.org.

Only what the server does is there: no MTA-STS and no autoconfiguration as long as nothing of that is served.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from attrs import frozen

from moxtwisted.address import Address
from moxtwisted.config.schema import Domain, StaticConfig
from moxtwisted.identifiers import Domain as DomainName

if TYPE_CHECKING:
    from moxtwisted.config.schema import DMARCReports, TLSReports

__all__ = ["DNSRecord", "dns_records", "txt_strings"]

#: Of the report's message, which mail servers of usual size take.
_REPORT_LIMIT: Final = "10m"
# RFC 7489 section 6.2: comma and ! must be encoded; the rest that stands in local parts without quotes need not be.
_UNESCAPED: Final = "-._~$&'()*+="


@frozen
class DNSRecord:
    """One record.

    :ivar name: A-labels, without the dot at its end.
    :ivar value: as zone files have it.
    :ivar why: a note for people.
    """

    name: str
    type: str
    value: str
    why: str

    def line(self) -> str:
        """For a zone file."""
        return f"{self.name}. IN {self.type} {self.value}"


def txt_strings(text: str) -> str:
    """A TXT record as zone files have it: strings of at most 255 octets (RFC 1035 section 3.3)."""
    return " ".join(f'"{text[i : i + 255]}"' for i in range(0, len(text), 255))


def dns_records(
    static: StaticConfig, name: str, settings: Domain, keys: Sequence[tuple[str, str]]
) -> list[DNSRecord]:
    """Those of a domain, and those of the host that it needs; not the addresses of the host, which nobody here knows.

    :param name: of the domain.
    :param keys: selectors, and texts of their records.
    """
    domain, host = DomainName.parse(name).ascii, DomainName.parse(static.hostname).ascii
    records = [*_dmarc(domain, settings), *_tls(domain, settings.tls_reports)]
    if settings.reports_only:
        # The rest is the business of whoever has its mail.
        return records
    return [
        DNSRecord(domain, "MX", f"10 {host}.", "mail for the domain comes here"),
        *(
            _txt(f"{selector}._domainkey.{domain}", text, "a key that signs its mail (DKIM)")
            for selector, text in keys
        ),
        _txt(domain, _spf(static), "mail of the domain leaves from its mail server (SPF)"),
        *records,
        *_host(static, host, domain),
    ]


def _txt(name: str, text: str, why: str) -> DNSRecord:
    return DNSRecord(name, "TXT", txt_strings(text), why)


def _spf(static: StaticConfig) -> str:
    addresses = [ip_address(ip) for listener in static.listeners.values() for ip in listener.ips]
    terms = [f"ip{ip.version}:{ip}" for ip in dict.fromkeys(addresses) if ip.is_global]
    # RFC 7208 section 8.5: a weak statement, for mail that is forwarded with its sender as it was.
    return " ".join(["v=spf1", *terms, "mx", "~all"])


def _dmarc(domain: str, settings: Domain) -> Iterator[DNSRecord]:
    reports = settings.dmarc_reports
    # RFC 7489 section 6.2: how large a report may be stands behind the address.
    where = f";rua={_mailto(reports.address)}!{_REPORT_LIMIT}" if reports is not None else ""
    why = "others refuse mail that only pretends to be from the domain (DMARC)" + (
        ", and report it" if where else ""
    )
    why += "; p=none for now if other programs send mail of the domain, too"
    yield _txt(f"_dmarc.{domain}", f"v=DMARC1;p=reject{where}", why)
    if reports is not None:
        yield from _foreign(domain, reports)


def _foreign(domain: str, reports: DMARCReports) -> Iterator[DNSRecord]:
    from moxtwisted.mailauth.publicsuffix import organizational_domain

    there = Address.parse(reports.address).domain.ascii
    if organizational_domain(there) != organizational_domain(domain):
        # RFC 7489 section 7.1: another organisation has to agree.
        yield _txt(f"{domain}._report._dmarc.{there}", "v=DMARC1", f"{there} takes reports about {domain}")


def _tls(name: str, reports: TLSReports | None) -> Iterator[DNSRecord]:
    if reports is not None:
        why = "others report whether TLS works with mail for the domain (TLSRPT)"
        yield _txt(f"_smtp._tls.{name}", f"v=TLSRPTv1;rua={_mailto(reports.address)}", why)


def _host(static: StaticConfig, host: str, domain: str) -> Iterator[DNSRecord]:
    if host == domain:
        return
    yield _txt(host, "v=spf1 a -all", "the host speaks for itself, too (SPF)")
    reports = static.host_tls_reports
    if reports is not None:
        address = f"{reports.localpart}@{host}"
        yield _txt(
            f"_smtp._tls.{host}", f"v=TLSRPTv1;rua={_mailto(address)}", "the same of TLS with the host"
        )


def _mailto(text: str) -> str:
    address = Address.parse(text)
    return f"mailto:{quote(address.localpart, safe=_UNESCAPED)}@{address.domain.ascii}"
