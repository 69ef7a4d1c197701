"""Whether mail may use a domain in From, and what is to be done if not (RFC 7489 section 6.6).

::

    result = await Evaluator(resolver, entropy).evaluate(
        "example.com", Authenticated(spf_domain="bounces.example.net", dkim_domains=("news.example.com",))
    )
    result.verdict           # Verdict.PASS
    result.dkim_aligned      # ("news.example.com",)
    result.disposition       # Policy.NONE: nothing is to be done
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from attrs import field, frozen

from moxtwisted.dns.answers import IResolver, NoAnswerError, Security
from moxtwisted.dns.names import BadNameError, normalise
from moxtwisted.mailauth.authres import MethodResult, Property, shortened
from moxtwisted.mailauth.dmarc.discovery import Discovery, Found
from moxtwisted.mailauth.dmarc.record import Alignment, DMARCRecord, Policy

__all__ = ["Authenticated", "DMARCResult", "Evaluator", "Verdict"]

# A message has few signatures that count; the verifier of DKIM has its own limit.
_MAX_DKIM_DOMAINS = 50


class Verdict(Enum):
    """RFC 7489 section 11.2: the results of the method dmarc."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@frozen
class Authenticated:
    """What SPF and DKIM found.

    :ivar spf_domain: the domain that passed SPF as sender of the envelope (RFC 7489 section 4.1); empty when none did.
    :ivar dkim_domains: the domains (d=) of signatures that passed.
    :ivar temporary: whether some of it could not be checked now, so that a failure may be none.
    """

    spf_domain: str = ""
    dkim_domains: tuple[str, ...] = ()
    temporary: bool = False


@frozen
class DMARCResult:
    """What was found.

    :ivar verdict: the result.
    :ivar disposition: what the owner wants done with this message, after the sample was drawn; NONE unless the verdict is FAIL.
    :ivar requested: the policy for this domain, before; None without a record.
    :ivar why: a sentence about it, for logs and header fields.
    :ivar domain: the domain of From, as A-labels.
    :ivar organizational_domain: of that.
    :ivar record_domain: whose record holds; empty without one.
    :ivar record: what it says.
    :ivar spf_aligned: whether the domain that passed SPF is aligned.
    :ivar dkim_aligned: the domains of valid signatures that are.
    :ivar sampled_out: whether the percentage (or the testing flag) made the policy milder.
    :ivar security: SECURE if the record, or that there is none, was proved.
    :ivar ttl_seconds: how long it holds for other messages for which the same passed, by the answers of the DNS; 0 where a sample was
        drawn or other names were asked for, and for TEMPERROR.
    """

    verdict: Verdict
    disposition: Policy
    requested: Policy | None
    why: str
    domain: str
    organizational_domain: str = ""
    record_domain: str = ""
    record: DMARCRecord | None = None
    spf_aligned: bool = False
    dkim_aligned: tuple[str, ...] = ()
    sampled_out: bool = False
    security: Security = Security.INDETERMINATE
    ttl_seconds: int = field(default=0, eq=False)
    _told: MethodResult | None = field(default=None, init=False, eq=False, repr=False)

    def method_result(self, *notes: str) -> MethodResult:
        """What Authentication-Results says of it (RFC 7489 section 11.2).

        :param notes: what else people are told.
        """
        if notes:
            return self._tell(notes)
        told = self._told
        if told is None:
            # The same for all messages of a domain, as long as it holds.
            told = self._tell(())
            object.__setattr__(self, "_told", told)
        return told

    def _tell(self, further: tuple[str, ...]) -> MethodResult:
        properties = [Property("header", "from", self.domain)]
        notes = []
        if self.requested is not None:
            # RFC 7489 section 11.1 leaves the policy to comments; its successor registers policy.dmarc: what is to be applied.
            properties.append(Property("policy", "dmarc", self.disposition.value))
            notes.append(f"p={self.requested.value}")
        if self.sampled_out:
            notes.append("sampled out")
        reason = "" if self.verdict in (Verdict.PASS, Verdict.NONE) else shortened(self.why)
        comment = ", ".join((*notes, *further))
        return MethodResult("dmarc", self.verdict.value, reason, tuple(properties), comment)


@frozen
class Evaluator:
    """Evaluates messages.

    :ivar resolver: who is asked.
    :ivar entropy: gives that many random octets; draws the sample of ``pct``.
    :ivar discovery: how records are found; by the public suffix list if not given.
    """

    resolver: IResolver
    entropy: Callable[[int], bytes]
    discovery: Discovery | None = None

    async def evaluate(self, from_domain: str, found: Authenticated) -> DMARCResult:
        """The result for a message whose From has one address.

        :param from_domain: U-labels or A-labels.
        """
        try:
            # RFC 8616 section 6: U-labels become A-labels first.
            domain = normalise(from_domain)
        except BadNameError as e:
            return DMARCResult(Verdict.PERMERROR, Policy.NONE, None, f"From: {e.detail}", from_domain[:255])
        discovery = self.discovery or Discovery(self.resolver)
        try:
            policy = await discovery.find(domain)
            if policy.record is None:
                verdict = Verdict.PERMERROR if policy.problem else Verdict.NONE
                why = policy.problem or f"{domain} has no DMARC record"
                return DMARCResult(
                    verdict,
                    Policy.NONE,
                    None,
                    why,
                    domain,
                    policy.organizational_domain,
                    security=policy.security,
                    ttl_seconds=policy.ttl_seconds,
                )
            return await self._judge(domain, policy, policy.record, found, discovery)
        except NoAnswerError as e:
            # RFC 7489 section 6.6.2: no policy can be applied while the DNS does not answer.
            return DMARCResult(Verdict.TEMPERROR, Policy.NONE, None, e.detail, domain)

    async def _judge(
        self, domain: str, policy: Found, record: DMARCRecord, found: Authenticated, discovery: Discovery
    ) -> DMARCResult:
        organizational = policy.organizational_domain

        async def aligned(name: str, mode: Alignment) -> bool:
            """RFC 7489 sections 3.1.1 and 3.1.2."""
            try:
                name = normalise(name)
            except BadNameError:
                return False
            if name == domain or mode is Alignment.STRICT:
                return name == domain
            if not (name.endswith("." + organizational) or name == organizational):
                return False
            return await discovery.organizational(name) == organizational

        name = found.spf_domain
        spf = name == domain or (bool(name) and await aligned(name, record.spf_alignment))
        dkim = tuple(
            [
                name
                for name in found.dkim_domains[:_MAX_DKIM_DOMAINS]
                if name == domain or await aligned(name, record.dkim_alignment)
            ]
        )
        # Where the tree is walked, the organizations of other names have answers of their own.
        ttl = 0 if found.temporary or discovery.tree_walk else policy.ttl_seconds
        requested = record.policy or Policy.NONE
        if domain != policy.domain:
            ttl = 0 if record.nonexistent_policy is not None else ttl
            requested = await self._requested(domain, record)
        verdict, disposition, sampled_out = Verdict.PASS, Policy.NONE, False
        if spf or dkim:
            what = [f"DKIM passed for {name}" for name in dkim]
            what += [f"SPF passed for {found.spf_domain}"] if spf else []
            why = " and ".join(what[:3]) + (", which is aligned" if len(what) == 1 else ", which are aligned")
        elif found.temporary:
            verdict, why = (
                Verdict.TEMPERROR,
                "SPF or DKIM could not be checked now, and nothing else is aligned",
            )
        else:
            verdict, ttl = Verdict.FAIL, ttl if record.percent >= 100 else 0
            sampled_out = self._left_out(record, discovery)
            disposition = requested.milder if sampled_out else requested
            why = _reason(domain, policy.domain, requested, found)
        return DMARCResult(
            verdict, disposition, requested, why, domain, organizational, policy.domain, record, spf, dkim,
            sampled_out, policy.security, ttl,
        )  # fmt: skip

    async def _requested(self, domain: str, record: DMARCRecord) -> Policy:
        """RFC 7489 section 6.3 and RFC 9091 section 3.2: the policy that is for a domain below that of the record."""
        below = record.subdomain_policy or record.policy or Policy.NONE
        nonexistent = record.nonexistent_policy
        if nonexistent is None or nonexistent is below or await self._exists(domain):
            return below
        return nonexistent

    async def _exists(self, domain: str) -> bool:
        """RFC 9091 section 2.7: a domain that has neither A, AAAA nor MX does not exist."""
        for rrtype in ("MX", "A", "AAAA"):
            answer = await self.resolver.lookup(domain, rrtype)
            if answer.records:
                return True
            if not answer.exists:
                return False
        return False

    def _left_out(self, record: DMARCRecord, discovery: Discovery) -> bool:
        """RFC 7489 section 6.6.4: whether the policy is not for this message."""
        if discovery.tree_walk:
            # The successor has no pct, but t=y: one step milder.
            return record.testing
        if record.percent >= 100:
            return False
        # 32 bits: one in a hundred is off by less than 1e-7.
        return int.from_bytes(self.entropy(4)) % 100 >= record.percent


def _reason(domain: str, record_domain: str, requested: Policy, found: Authenticated) -> str:
    passed = [*found.dkim_domains[:3], *([found.spf_domain] if found.spf_domain else [])]
    what = (
        f"{', '.join(passed)} passed and is not aligned with {domain}"
        if passed
        else "neither SPF nor DKIM passed"
    )
    return f"{what}; the policy of {record_domain} is {requested.value}"
