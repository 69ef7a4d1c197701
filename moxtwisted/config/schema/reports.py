"""``dmarc_reports`` and ``tls_reports`` of domains, ``host_tls_reports`` of ``mox.conf``: where reports of other servers come in."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from moxtwisted.config.schema.structure import ConfigStruct

_ADDRESS = (
    "The address, at one of the domains; it belongs to nobody, nobody logs in with it, and it may be that of several kinds and domains. "
    "It must be in the DNS: "
)


class DMARCReports(ConfigStruct, frozen=True, kw_only=True):
    """Where others report how mail fared that uses the domain in From (DMARC aggregate reports). A report that can be read, about a
    domain here, in mail whose own DMARC passes, is taken unless its sender is known for junk; ``moxmail reports dmarc`` shows it. Other
    mail to the address is judged as everywhere."""

    address: Annotated[
        str,
        Meta(
            min_length=1,
            description=_ADDRESS + "moxmail domain records shows how.",
            examples=["dmarcreports@example.org"],
        ),
    ]
    account: Annotated[str, Meta(min_length=1, description="The account that gets them.", examples=["alice"])]
    mailbox: Annotated[str, Meta(min_length=1, description="Mailbox in it; made when it is not there.")] = (
        "DMARC"
    )


class TLSReports(ConfigStruct, frozen=True, kw_only=True):
    """Where others report whether TLS worked with mail for the domain (TLSRPT). A report that can be read, about a domain here, in mail
    with a DKIM signature of its sender, is taken unless the sender is known for junk; ``moxmail reports tls`` shows it. Other mail to
    the address is judged as everywhere."""

    address: Annotated[
        str,
        Meta(
            min_length=1,
            description=_ADDRESS + "moxmail domain records shows how.",
            examples=["tlsreports@example.org"],
        ),
    ]
    account: Annotated[str, Meta(min_length=1, description="The account that gets them.", examples=["alice"])]
    mailbox: Annotated[str, Meta(min_length=1, description="Mailbox in it; made when it is not there.")] = (
        "TLSRPT"
    )


class HostTLSReports(ConfigStruct, frozen=True, kw_only=True):
    """Where others report whether TLS worked with this machine (TLSRPT), as with a domain's tls_reports. The address is at the
    hostname, which needs not be a domain of domains.conf."""

    localpart: Annotated[str, Meta(min_length=1, description="What stands before the @ of the address.")] = (
        "tlsreports"
    )
    account: Annotated[str, Meta(min_length=1, description="The account that gets them.", examples=["alice"])]
    mailbox: Annotated[str, Meta(min_length=1, description="Mailbox in it; made when it is not there.")] = (
        "TLSRPT"
    )
