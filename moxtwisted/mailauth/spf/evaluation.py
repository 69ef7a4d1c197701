"""What an SPF record comes to for a client: check_host() of RFC 7208 section 4.

::

    evaluator = Evaluator(resolver, clock, receiver="mx.example.org")
    result = await evaluator.check_mail_from(ip, "alice@example.com", helo="client.example.com")
    if result.verdict is Verdict.FAIL:
        ...result.explanation, result.mechanism, result.chain

Every answer is a value, errors of the DNS and of the record included (TEMPERROR, PERMERROR, with ``problem``). All work is bounded: by the
limits of the standard, by a time for the whole, and by the size of a record.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine, Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Protocol

import idna
from attrs import define, field, frozen

from moxtwisted.dns.answers import Answer, IResolver, NoAnswerError, Security
from moxtwisted.mailauth.authres import MethodResult, Property, shortened
from moxtwisted.mailauth.spf.macros import MacroString, SPFSyntaxError, parse_explanation
from moxtwisted.mailauth.spf.record import (
    Exchangers,
    Exists,
    Hosts,
    Include,
    Mechanism,
    Qualifier,
    Record,
    Reverse,
    is_spf,
    parse_record,
)

__all__ = ["Evaluator", "IClock", "Identity", "Limits", "SPFResult", "Step", "Verdict"]

IPAddress = IPv4Address | IPv6Address
Checking = Coroutine[Any, Any, "SPFResult"]

# RFC 1035 section 2.3.4: labels of 1 to 63 octets, 253 characters with their dots; of printable ASCII, as far as we are concerned.
_NAME = re.compile(r"(?=.{1,253}\Z)[ -\-/-~]{1,63}(?:\.[ -\-/-~]{1,63})*\Z")
_MAX_EXPLANATION_CHARACTERS = 500
_MAX_TTL_SECONDS = 86_400
# RFC 7208 section 7.2: what these stand for is not the same in the next message of a client.
_PASSING = frozenset("slt")


class IClock(Protocol):
    """What tells the time."""

    def seconds(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z."""


class Verdict(Enum):
    """RFC 7208 section 2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"

    __hash__ = object.__hash__  # Enum's is written in Python


class Identity(Enum):
    """RFC 7208 sections 2.3 and 2.4: whose name was checked."""

    HELO = "helo"
    MAIL_FROM = "mailfrom"


_VERDICTS = {
    Qualifier.PASS: Verdict.PASS,
    Qualifier.FAIL: Verdict.FAIL,
    Qualifier.SOFTFAIL: Verdict.SOFTFAIL,
    Qualifier.NEUTRAL: Verdict.NEUTRAL,
}


@frozen
class Limits:
    """Where an evaluation ends.

    :ivar terms: mechanisms and modifiers that ask the DNS (RFC 7208 section 4.6.4).
    :ivar void_lookups: answers without records, among those that the record asks for.
    :ivar exchangers: hosts of one mx.
    :ivar reverse_names: names of the client that ptr and %{p} look at; the others are not seen.
    :ivar seconds: for the whole; RFC 7208 section 4.6.4 wants at least 20.
    """

    terms: int = 10
    void_lookups: int = 2
    exchangers: int = 10
    reverse_names: int = 10
    seconds: float = 20.0


@frozen
class Step:
    """A record that had a part in the verdict.

    :ivar domain: whose.
    :ivar record: its text; empty when there was none.
    :ivar term: the term that decided, as written; empty when none did.
    """

    domain: str
    record: str
    term: str


@frozen
class SPFResult:
    """What was found.

    :ivar verdict: the result of check_host().
    :ivar identity: which name was checked.
    :ivar domain: that name, as A-labels.
    :ivar sender: the sender with ``postmaster`` where it had no local part.
    :ivar ip: the client; an IPv4 address where it came as one mapped to IPv6.
    :ivar helo: what the client calls itself.
    :ivar mechanism: the term that matched, without its qualifier; ``default`` when none did, empty when no record was evaluated.
    :ivar explanation: for FAIL, what the domain's owner wants the sender to be told, ASCII; else empty. Written by strangers.
    :ivar problem: what is wrong, for TEMPERROR and PERMERROR.
    :ivar chain: from the domain's own record to the one that decided.
    :ivar terms: how many terms asked the DNS.
    :ivar void_lookups: how many answers had no records.
    :ivar security: SECURE only if every answer was.
    :ivar ttl_seconds: how long it holds for other messages of this client whose sender has another local part, by the answers of the
        DNS; 0 where it depends on the local part or on the time, and for TEMPERROR.
    :ivar written: what ``received_spf`` made of it, by receiver and whether in UTF-8: the same client often has more from the same sender.
    """

    verdict: Verdict
    identity: Identity
    domain: str
    sender: str
    ip: IPAddress
    helo: str
    mechanism: str = ""
    explanation: str = ""
    problem: str = ""
    chain: tuple[Step, ...] = ()
    terms: int = 0
    void_lookups: int = 0
    security: Security = Security.INDETERMINATE
    ttl_seconds: int = field(default=0, eq=False)
    written: dict[tuple[str, bool], bytes] = field(factory=dict, init=False, eq=False, repr=False)
    _told: MethodResult | None = field(default=None, init=False, eq=False, repr=False)

    def method_result(self) -> MethodResult:
        """What Authentication-Results says of it (RFC 8601 section 2.7.2)."""
        told = self._told
        if told is None:
            # The same for all messages of a client from one sender, as long as it holds.
            helo = self.identity is Identity.HELO
            who = Property("smtp", "helo", self.domain) if helo else Property("smtp", "mailfrom", self.sender)
            told = MethodResult("spf", self.verdict._value_, shortened(self.problem), (who,))
            object.__setattr__(self, "_told", told)
        return told


class _RecordError(Exception):
    """The record cannot be evaluated: permerror."""


class _LookupError(Exception):
    """The DNS does not answer: temperror."""


class _NoTargetError(Exception):
    """A term has no name to ask for: it does not match."""


def _to_ascii(domain: str) -> str:
    """A domain in A-labels and lower case (RFC 8616 section 4); what cannot be converted becomes empty."""
    domain = domain.rstrip(".") if not domain.endswith("..") else domain
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain[:1000], uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError):
        return ""


def _well_formed(name: str) -> bool:
    """Whether it can be asked for."""
    return _NAME.match(name) is not None


def _can_have_record(domain: str) -> bool:
    """RFC 7208 section 4.3: well-formed, of several labels, no address literal."""
    return "." in domain and _well_formed(domain) and "[" not in domain


def _contains(addresses: Sequence[str], ip: IPAddress, prefix: int) -> bool:
    # Addresses are read when their text alone does not tell.
    if str(ip) in addresses:
        return True
    shift = ip.max_prefixlen - prefix
    wanted = int(ip) >> shift
    return any(int(ip_address(text)) >> shift == wanted for text in addresses)


@define
class _Run:
    """One evaluation."""

    resolver: IResolver
    clock: IClock
    limits: Limits
    receiver: str
    ip: IPAddress
    local_part: str
    sender_domain: str
    helo: str
    deadline: float
    stack: list[Step] = field(factory=list)
    terms: int = 0
    void_lookups: int = 0
    secure: bool = True
    ttl: int = _MAX_TTL_SECONDS
    reverse_names: tuple[str, ...] | None = None

    @property
    def rrtype(self) -> str:
        return "A" if isinstance(self.ip, IPv4Address) else "AAAA"

    async def ask(self, name: str, rrtype: str, *, void: bool = True) -> Answer:
        """An answer; ``void`` says whether an empty one counts."""
        if self.clock.seconds() > self.deadline:
            # RFC 7208 section 4.6.4: a limit of time ends in temperror.
            self.ttl = 0
            raise _LookupError(f"no verdict within {self.limits.seconds:g} seconds")
        try:
            answer = await self.resolver.lookup(name, rrtype)
        except NoAnswerError as e:
            self.ttl = 0
            raise _LookupError(e.detail) from e
        self.ttl = min(self.ttl, answer.ttl_seconds)
        self.secure = self.secure and answer.security is Security.SECURE
        if void and not answer.records:
            self.void_lookups += 1
            if self.void_lookups > self.limits.void_lookups:
                raise _RecordError(f"more than {self.limits.void_lookups} lookups without an answer")
        return answer

    def deciding(self) -> Step:
        """The step whose term decided; those before it are redirections."""
        for step in self.stack:
            if not step.term.startswith("redirect="):
                return step
        return self.stack[-1]

    def count(self) -> None:
        """RFC 7208 section 4.6.4: one more term that asks the DNS."""
        self.terms += 1
        if self.terms > self.limits.terms:
            raise _RecordError(f"more than {self.limits.terms} terms that need the DNS")

    async def record(self, domain: str) -> Record | None:
        """RFC 7208 sections 4.4 and 4.5: the record of a domain."""
        answer = await self.ask(domain, "TXT", void=False)
        found = [text for text in answer.records if is_spf(text)]
        if not found:
            return None
        if len(found) > 1:
            raise _RecordError(f"{domain} has {len(found)} SPF records")
        text = found[0].decode("ascii", "backslashreplace")
        self.stack[-1] = Step(domain, text, "")
        if not found[0].isascii():
            # RFC 7208 section 3.1: records are ASCII.
            raise _RecordError(f"the record of {domain} is not ASCII")
        try:
            return parse_record(text)
        except SPFSyntaxError as e:
            self.stack[-1] = Step(domain, text, e.term)
            raise _RecordError(f"{domain}: {e.detail}" + (f" in {e.term[:80]}" if e.term else "")) from e

    async def check(self, domain: str) -> Verdict:
        """RFC 7208 section 4: check_host(); leaves the steps to a verdict other than NONE on the stack."""
        self.stack.append(Step(domain, "", ""))
        if not _can_have_record(domain):
            return Verdict.NONE
        record = await self.record(domain)
        if record is None:
            return Verdict.NONE
        at = len(self.stack) - 1
        for directive in record.directives:
            covers = directive.covers(self.ip)
            if covers is False:
                continue
            self.stack[at] = Step(domain, record.text, directive.text)
            if covers or await self.matches(directive, domain):
                return _VERDICTS[directive.qualifier]
            del self.stack[at + 1 :]
        if record.redirect is not None:
            self.stack[at] = Step(domain, record.text, f"redirect={record.redirect.text}")
            self.count()
            try:
                target = await self.target(record.redirect, domain)
            except _NoTargetError:
                target = None
            if target is not None:
                verdict = await self.check(target)
                if verdict is Verdict.NONE:
                    # RFC 7208 section 6.1: a redirection to nothing is an error.
                    raise _RecordError(f"{target}, where redirect= points at, has no SPF record")
                return verdict
        self.stack[at] = Step(domain, record.text, "")
        return Verdict.NEUTRAL

    async def matches(self, directive: Mechanism, domain: str) -> bool:
        """RFC 7208 section 5: whether a mechanism that needs the DNS matches."""
        self.count()
        try:
            return await self.asks(directive, domain)
        except _NoTargetError:
            return False

    async def asks(self, directive: Mechanism, domain: str) -> bool:
        """The mechanisms that need the DNS."""
        match directive:
            case Include(target=spec):
                return await self.includes(await self.target(spec, domain))
            case Hosts(target=spec):
                name = await self.target(spec, domain)
                return await self.is_host(name, directive.prefix4, directive.prefix6)
            case Exchangers(target=spec):
                return await self.is_exchanger(directive, await self.target(spec, domain))
            case Exists(target=spec):
                # RFC 7208 section 5.7: A, whatever the client's address is.
                return bool((await self.ask(self.name(await self.target(spec, domain)), "A")).records)
            case Reverse(target=spec):
                wanted = (await self.target(spec, domain)).lower().rstrip(".")
                return any(name == wanted or name.endswith("." + wanted) for name in await self.validated())
        raise TypeError(directive)

    async def includes(self, target: str) -> bool:
        """RFC 7208 section 5.2: what the verdict on another domain means for a mechanism."""
        verdict = await self.check(target)
        if verdict is Verdict.NONE:
            raise _RecordError(f"{target}, which is included, has no SPF record")
        return verdict is Verdict.PASS

    async def is_host(self, name: str, prefix4: int, prefix6: int) -> bool:
        """Whether the client has an address of that name, as far as the prefix goes."""
        answer = await self.ask(self.name(name), self.rrtype)
        return _contains(answer.records, self.ip, prefix4 if isinstance(self.ip, IPv4Address) else prefix6)

    async def is_exchanger(self, directive: Exchangers, target: str) -> bool:
        """RFC 7208 section 5.4."""
        exchangers = (await self.ask(self.name(target), "MX")).records
        if len(exchangers) > self.limits.exchangers:
            raise _RecordError(f"{target} has more than {self.limits.exchangers} MX records")
        for mx in sorted(exchangers, key=lambda mx: (mx.preference, mx.exchange)):
            # RFC 7505 section 3: the name of a null MX has no addresses.
            if _well_formed(mx.exchange) and await self.is_host(
                mx.exchange, directive.prefix4, directive.prefix6
            ):
                return True
        return False

    async def validated(self) -> tuple[str, ...]:
        """RFC 7208 section 5.5: the names of the client's address that lead back to it; none when the DNS does not answer.

        We do not count their empty answers: the names are the client's, and it could make a permerror of any record with ptr.
        """
        if self.reverse_names is None:
            self.reverse_names = ()
            found = []
            try:
                names = (await self.ask(self.ip.reverse_pointer, "PTR")).records
            except _LookupError:
                return ()
            for name in names[: self.limits.reverse_names]:
                try:
                    if _well_formed(name):
                        answer = await self.ask(name, self.rrtype, void=False)
                        if _contains(answer.records, self.ip, self.ip.max_prefixlen):
                            found.append(name.lower())
                except _LookupError:
                    continue
            self.reverse_names = tuple(found)
        return self.reverse_names

    @staticmethod
    def name(target: str) -> str:
        """A name that may be asked for (RFC 7208 section 4.8 leaves open what others come to; we do not match)."""
        target = target.removesuffix(".")
        if not _well_formed(target):
            raise _NoTargetError
        # RFC 1035 section 5.1: the resolver takes names in presentation form.
        return target.replace("\\", "\\\\")

    async def target(self, spec: MacroString | None, domain: str) -> str:
        """RFC 7208 section 4.8: the name that a term points at."""
        if spec is None:
            return domain
        expanded = await self.expand(spec, domain)
        if len(expanded) > 253:
            # RFC 7208 section 7.3: labels go from the left until it fits.
            expanded = expanded[-254:].partition(".")[2]
        return expanded.removesuffix(".")

    async def expand(self, spec: MacroString, domain: str) -> str:
        """RFC 7208 section 7: the text with its macros replaced."""
        if not spec.letters:
            return spec.expand(str)
        if spec.letters & _PASSING:
            self.ttl = 0
        if not self.local_part.isascii() and spec.letters & {"s", "l"}:
            # RFC 8616 section 4: such terms do not match anything.
            raise _NoTargetError
        reverse = await self.reverse_name(domain) if "p" in spec.letters else "unknown"
        return spec.expand(lambda letter: reverse if letter == "p" else self.value(letter, domain))

    def value(self, letter: str, domain: str) -> str:
        """RFC 7208 section 7.2: what a letter stands for."""
        match letter:
            case "s":
                return f"{self.local_part}@{self.sender_domain}"
            case "l":
                return self.local_part
            case "o":
                return self.sender_domain
            case "d":
                return domain
            case "i":
                four = self.ip.version == 4
                return str(self.ip) if four else ".".join(self.ip.exploded.replace(":", "").upper())
            case "v":
                return "in-addr" if self.ip.version == 4 else "ip6"
            case "h":
                return self.helo
            case "c":
                return str(self.ip)
            case "r":
                return self.receiver
            case _:
                return str(int(self.clock.seconds()))

    async def reverse_name(self, domain: str) -> str:
        """RFC 7208 section 7.3: the domain itself, else a name below it, else any, else ``unknown``."""
        names = await self.validated()
        domain = domain.lower()
        if domain in names:
            return domain
        below = next((name for name in names if name.endswith("." + domain)), None)
        return below or (names[0] if names else "unknown")

    async def explanation(self) -> str:
        """RFC 7208 section 6.2: the text of the record that decided; whatever is wrong with it, there is none."""
        # An include that fails does not match, so the record that decided is found by redirections alone.
        step = self.deciding()
        record = parse_record(step.record)
        if record.explanation is None:
            return ""
        try:
            target = self.name(await self.target(record.explanation, step.domain))
            texts = (await self.ask(target, "TXT", void=False)).records
            if len(texts) != 1:
                return ""
            text = await self.expand(parse_explanation(texts[0].decode("ascii")), step.domain)
        except (_LookupError, _NoTargetError, _RecordError, SPFSyntaxError, UnicodeDecodeError):
            return ""
        printable = text.isascii() and text.isprintable()
        return text[:_MAX_EXPLANATION_CHARACTERS] if printable else ""


@frozen
class Evaluator:
    """Checks clients against the records of domains.

    :ivar resolver: who is asked.
    :ivar clock: for the limit of time and the macro %{t}.
    :ivar receiver: the name of this host, for the macro %{r}.
    :ivar limits: where an evaluation ends.
    """

    resolver: IResolver
    clock: IClock
    receiver: str = "unknown"
    limits: Limits = Limits()

    def check_mail_from(self, ip: IPAddress, mail_from: str, helo: str) -> Checking:
        """Check the sender of the envelope.

        :param ip: the client's address.
        :param mail_from: the reverse-path without its angles, U-labels or A-labels; empty for ``<>``.
        :param helo: what the client said in HELO or EHLO.
        """
        local_part, at, domain = mail_from.rpartition("@")
        if not at and not domain:
            # RFC 7208 section 2.4: an empty reverse-path is checked as postmaster at the HELO name.
            domain = helo
        return self._check(Identity.MAIL_FROM, ip, local_part, domain, helo)

    def check_helo(self, ip: IPAddress, helo: str) -> Checking:
        """Check what the client calls itself (RFC 7208 section 2.3)."""
        return self._check(Identity.HELO, ip, "", helo, helo)

    async def _check(
        self, identity: Identity, ip: IPAddress, local_part: str, domain: str, helo: str
    ) -> SPFResult:
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            # RFC 7208 section 5: a mapped address is the IPv4 address it stands for.
            ip = ip.ipv4_mapped
        domain = _to_ascii(domain)
        # RFC 7208 section 4.3: postmaster, where there is no local part.
        local_part = local_part or "postmaster"
        run = _Run(
            self.resolver, self.clock, self.limits, self.receiver, ip, local_part, domain, helo,
            self.clock.seconds() + self.limits.seconds,
        )  # fmt: skip
        explanation = problem = ""
        try:
            verdict = await run.check(domain)
            if verdict is Verdict.FAIL:
                explanation = await run.explanation()
        except _LookupError as e:
            verdict, problem = Verdict.TEMPERROR, str(e)
        except _RecordError as e:
            verdict, problem = Verdict.PERMERROR, str(e)
        mechanism = ""
        if not problem and verdict is not Verdict.NONE:
            mechanism = run.deciding().term or "default"
        return SPFResult(
            verdict, identity, domain, f"{local_part}@{domain}", ip, helo, mechanism, explanation, problem,
            tuple(run.stack) if verdict is not Verdict.NONE else (), run.terms, run.void_lookups,
            Security.SECURE if run.secure and run.stack[0].record else Security.INSECURE,
            run.ttl,
        )  # fmt: skip
