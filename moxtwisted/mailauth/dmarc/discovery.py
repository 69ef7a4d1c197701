"""Whose DMARC record holds for a domain.

::

    found = await Discovery(resolver).find("news.example.com")
    found.domain                     # "example.com": the record is at _dmarc.example.com
    found.organizational_domain      # "example.com"

Two ways: the domain itself and its organisational domain by the public suffix list (RFC 7489 section 6.6.3, with RFC 9091 for public
suffixes that take part), or a walk up the tree as the successor of RFC 7489 (draft-ietf-dmarc-dmarcbis, section "DNS Tree Walk") has it.
"""

from __future__ import annotations

from functools import lru_cache

from attrs import define, field, frozen

from moxtwisted.dns.answers import Answer, IResolver, Security
from moxtwisted.mailauth.dmarc.record import DMARCRecord, DMARCSyntaxError, is_dmarc, parse_record
from moxtwisted.mailauth.publicsuffix import organizational_domain, public_suffix

__all__ = ["Discovery", "Found"]

# draft-ietf-dmarc-dmarcbis, DNS Tree Walk: a name of eight labels or more is asked itself, and then at seven labels and fewer.
_MAX_WALKED_LABELS = 7
_MAX_TTL_SECONDS = 86_400
# Records up to this size are remembered once they were read.
_REMEMBERED_CHARACTERS = 1024
_remembered = lru_cache(1024)(parse_record)


@frozen
class Found:
    """The record that holds.

    :ivar domain: whose it is; empty when there is none.
    :ivar record: what it says, or None.
    :ivar organizational_domain: of the domain that was asked for.
    :ivar problem: why a record that is there cannot be used, or empty.
    :ivar security: what DNSSEC says of the answers up to it.
    :ivar ttl_seconds: how long these hold.
    """

    domain: str
    record: DMARCRecord | None
    organizational_domain: str
    problem: str = ""
    security: Security = Security.INSECURE
    ttl_seconds: int = field(default=0, eq=False)


@define
class _Looking:
    """The answers so far."""

    resolver: IResolver
    secure: bool = True
    problem: str = ""
    ttl: int = _MAX_TTL_SECONDS

    async def at(self, domain: str) -> DMARCRecord | None:
        """RFC 7489 section 6.6.3: the one record of a domain, if there is one and it can be used."""
        answer: Answer = await self.resolver.lookup(f"_dmarc.{domain}", "TXT")
        self.secure = self.secure and answer.security is Security.SECURE
        self.ttl = min(self.ttl, answer.ttl_seconds)
        texts = [text for text in answer.records if is_dmarc(text)]
        if not texts:
            return None
        if len(texts) > 1:
            self.problem = f"{domain} has {len(texts)} DMARC records"
            return None
        try:
            text = texts[0].decode("utf-8", "replace")
            return _remembered(text) if len(text) <= _REMEMBERED_CHARACTERS else parse_record(text)
        except DMARCSyntaxError as e:
            self.problem = f"{domain}: {e.detail}"
            return None

    def found(self, domain: str, record: DMARCRecord | None, organizational: str) -> Found:
        security = Security.SECURE if self.secure else Security.INSECURE
        return Found(domain if record else "", record, organizational, self.problem, security, self.ttl)


@frozen
class Discovery:
    """Finds records.

    :ivar resolver: who is asked.
    :ivar tree_walk: whether to do as the successor of RFC 7489 has it.
    :ivar public_suffix_domains: the public suffixes that take part in the experiment of RFC 9091; others are not asked.
    """

    resolver: IResolver
    tree_walk: bool = False
    public_suffix_domains: frozenset[str] = frozenset()

    async def find(self, domain: str) -> Found:
        """The record for a domain of From.

        :param domain: A-labels, lower case, without the last dot.
        :raise NoAnswerError: when the DNS does not answer.
        """
        looking = _Looking(self.resolver)
        if self.tree_walk:
            return await self._walk(domain, looking)
        organizational = organizational_domain(domain)
        wanted = [domain] if organizational == domain else [domain, organizational]
        # RFC 9091 section 3.6: after the organisational domain, the public suffix above it.
        if (suffix := public_suffix(domain)) in self.public_suffix_domains and suffix not in wanted:
            wanted.append(suffix)
        for name in wanted:
            record = await looking.at(name)
            if record is not None or looking.problem:
                return looking.found(name, record, organizational)
        return looking.found("", None, organizational)

    async def organizational(self, domain: str) -> str:
        """The organisational domain of a name, by the list or by the tree.

        :raise NoAnswerError: when the tree has to be walked and the DNS does not answer.
        """
        if not self.tree_walk:
            return organizational_domain(domain)
        return (await self._walk(domain, _Looking(self.resolver))).organizational_domain

    async def _walk(self, domain: str, looking: _Looking) -> Found:
        labels = domain.split(".")
        records: list[tuple[str, DMARCRecord]] = []
        problems: list[str] = []
        below = domain
        organizational = ""
        while labels:
            name = ".".join(labels)
            looking.problem = ""
            record = await looking.at(name)
            if looking.problem:
                problems.append(looking.problem)
            if record is not None:
                records.append((name, record))
                if record.psd == "n":
                    organizational = name
                elif record.psd == "y" and name != domain:
                    # The organisational domain is one label below a public suffix.
                    organizational = below
                if record.psd != "u":
                    break
            labels = labels[-_MAX_WALKED_LABELS:] if len(labels) > _MAX_WALKED_LABELS else labels[1:]
            below = _below(domain, labels)
        organizational = organizational or (records[-1][0] if records else domain)
        # The domain's own record, else that of the organisational domain, else that of the public suffix above.
        for name in (domain, organizational, records[-1][0] if records else ""):
            for at, record in records:
                if at == name:
                    looking.problem = ""
                    return looking.found(name, record, organizational)
        looking.problem = problems[0] if problems else ""
        return looking.found("", None, organizational)


def _below(domain: str, labels: list[str]) -> str:
    """A name of one label more than these, towards the domain."""
    return ".".join(domain.split(".")[-(len(labels) + 1) :])
