"""Who may be sent the reports that a DMARC record asks for (RFC 7489 section 7.1).

::

    for destination in await check_destinations(resolver, "example.com", record.aggregate):
        destination.allowed, destination.uris

A stranger's address is taken only when the stranger says so, at ``example.com._report._dmarc.<the stranger's domain>``:
otherwise a record could turn the
reports of the world against somebody.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from moxtwisted.dns.answers import IResolver, NoAnswerError
from moxtwisted.dns.names import BadNameError, normalise
from moxtwisted.mailauth.dmarc.record import DMARCSyntaxError, ReportURI, is_dmarc, parse_record
from moxtwisted.mailauth.publicsuffix import organizational_domain

__all__ = ["Destination", "check_destinations"]


@frozen
class Destination:
    """What was found for one address.

    :ivar wanted: as the record has it.
    :ivar host: the domain of the address; empty when it is no mailto URI.
    :ivar allowed: whether reports may go there.
    :ivar uris: where to: the address, or those that the host names instead.
    :ivar temporary: the DNS did not answer; reports wait.
    :ivar why: a sentence about it.
    """

    wanted: ReportURI
    host: str
    allowed: bool
    uris: tuple[ReportURI, ...]
    why: str
    temporary: bool = False


async def check_destinations(
    resolver: IResolver, domain: str, uris: Sequence[ReportURI], *, failure: bool = False
) -> tuple[Destination, ...]:
    """Look at each address of a record.

    :param domain: where the record is, A-labels in lower case.
    :param uris: those of ``rua`` or ``ruf``.
    :param failure: whether they are those of ``ruf``.
    """
    return tuple([await _check(resolver, domain, uri, failure=failure) for uri in uris])


def _host(uri: ReportURI) -> str:
    try:
        return normalise(uri.address.rpartition("@")[2]) if uri.address else ""
    except BadNameError:
        return ""


async def _check(resolver: IResolver, domain: str, uri: ReportURI, *, failure: bool) -> Destination:
    host = _host(uri)
    if not host:
        return Destination(uri, "", allowed=False, uris=(), why="not an address for mail")
    if organizational_domain(host) == organizational_domain(domain):
        return Destination(uri, host, allowed=True, uris=(uri,), why="the domain's own")
    name = f"{domain}._report._dmarc.{host}"
    try:
        answer = await resolver.lookup(name, "TXT")
    except NoAnswerError as e:
        return Destination(uri, host, allowed=False, uris=(), why=e.detail, temporary=True)
    for text in filter(is_dmarc, answer.records):
        try:
            record = parse_record(text.decode("utf-8", "replace"), for_reports=True)
        except DMARCSyntaxError:
            continue
        # RFC 7489 section 7.1, step 8: the host may name other addresses; one elsewhere makes all of them void.
        instead = record.failure if failure else record.aggregate
        if any(_host(other) != host for other in instead):
            return Destination(uri, host, allowed=False, uris=(), why=f"{name} names an address elsewhere")
        return Destination(uri, host, allowed=True, uris=instead or (uri,), why=f"allowed by {name}")
    return Destination(uri, host, allowed=False, uris=(), why=f"no DMARC record at {name}")
