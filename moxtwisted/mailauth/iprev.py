"""iprev (RFC 8601 section 3): whether a name of the client's address leads back to the address.

::

    result = await check_iprev(resolver, ip_address("192.0.2.1"))
    result.verdict, result.name        # (Verdict.PASS, "mail.example.com")
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import field, frozen

from moxtwisted.dns.answers import IResolver, NoAnswerError, Security
from moxtwisted.mailauth.authres import MethodResult, Property, shortened

__all__ = ["IPRevResult", "Verdict", "check_iprev"]

# RFC 8601 section 3 has no limit; RFC 7208 section 5.5 looks at ten names for the same question.
MAX_NAMES = 10


class Verdict(Enum):
    """RFC 8601 section 2.7.3."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@frozen
class IPRevResult:
    """What was found.

    :ivar verdict: PASS when a name leads back, FAIL when none does, PERMERROR when the address has no name.
    :ivar ip: the client.
    :ivar name: the name that leads back; for other verdicts empty.
    :ivar names: all that were looked at.
    :ivar problem: why there is no PASS.
    :ivar security: SECURE if both answers were.
    :ivar ttl_seconds: how long PASS holds, by the answers of the DNS; 0 for other verdicts.
    """

    verdict: Verdict
    ip: IPv4Address | IPv6Address
    name: str = ""
    names: tuple[str, ...] = ()
    problem: str = ""
    security: Security = Security.INDETERMINATE
    ttl_seconds: int = field(default=0, eq=False)
    _told: MethodResult | None = field(default=None, init=False, eq=False, repr=False)

    def method_result(self) -> MethodResult:
        """What Authentication-Results says of it (RFC 8601 section 2.7.3)."""
        told = self._told
        if told is None:
            # The same for all messages of a client, as long as it holds.
            properties = (Property("policy", "iprev", str(self.ip)),)
            reason = shortened(self.problem)
            told = MethodResult("iprev", self.verdict._value_, reason, properties, self.name)
            object.__setattr__(self, "_told", told)
        return told


async def check_iprev(resolver: IResolver, ip: IPv4Address | IPv6Address) -> IPRevResult:
    """Look for the names of an address and for the addresses of these.

    :param ip: the client; an IPv4 address mapped to IPv6 is taken as the IPv4 address.
    """
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    try:
        answer = await resolver.lookup(ip.reverse_pointer, "PTR")
    except NoAnswerError as e:
        return IPRevResult(Verdict.TEMPERROR, ip, problem=e.detail)
    names = tuple(sorted(answer.records))[:MAX_NAMES]
    if not names:
        return IPRevResult(Verdict.PERMERROR, ip, problem=f"{ip} has no name", security=answer.security)
    problem = ""
    for name in names:
        try:
            back = await resolver.lookup(name, "A" if isinstance(ip, IPv4Address) else "AAAA")
        except NoAnswerError as e:
            problem = e.detail
            continue
        if str(ip) in back.records or any(ip_address(text) == ip for text in back.records):
            secure = answer.security is Security.SECURE and back.security is Security.SECURE
            security = Security.SECURE if secure else Security.INSECURE
            ttl = min(answer.ttl_seconds, back.ttl_seconds)
            return IPRevResult(Verdict.PASS, ip, name, names, security=security, ttl_seconds=ttl)
    if problem:
        # RFC 8601 section 2.7.3: as long as a name could still lead back, it has not failed.
        return IPRevResult(Verdict.TEMPERROR, ip, names=names, problem=problem)
    return IPRevResult(
        Verdict.FAIL, ip, names=names, problem=f"no name of {ip} leads back to it", security=answer.security
    )
