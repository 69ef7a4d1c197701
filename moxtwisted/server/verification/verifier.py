"""Where a message really came from: iprev, SPF, DKIM, ARC and DMARC of one message, all at once.

::

    verifier = Verifier(resolver, clock, VerifierSettings("mx.example.org"), os.urandom)
    begun = verifier.begin(ip, "client.example", reverse_path)       # at MAIL FROM
    verified = await verifier.verify(Unverified(ip=ip, ..., hashed=hasher.finish(), staged=staged, begun=begun))

Everything has its time, and all together have one; what could not be found out in it is a temporary error of its method. Nothing is
raised: trouble of ours is a temporary error too, so that nobody is refused for it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.address import Path
from moxtwisted.dns.answers import IResolver, NoAnswerError
from moxtwisted.dns.cache import Cache
from moxtwisted.dns.names import BadNameError, normalise
from moxtwisted.mailauth.arc import Chain, ChainReason, ChainStatus, SealedResults, trusted_results
from moxtwisted.mailauth.arc import validate as validate_arc
from moxtwisted.mailauth.dkim.signature import Signature
from moxtwisted.mailauth.dkim.verify import Pending as PendingSignature
from moxtwisted.mailauth.dkim.verify import Reason, Status, Verification, VerifyRules, examine
from moxtwisted.mailauth.dkim.verify import verify as verify_dkim
from moxtwisted.mailauth.dmarc.author import find_author
from moxtwisted.mailauth.dmarc.discovery import Discovery
from moxtwisted.mailauth.dmarc.evaluation import Authenticated, DMARCResult
from moxtwisted.mailauth.dmarc.evaluation import Evaluator as DMARCEvaluator
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.mailauth.dmarc.record import Policy
from moxtwisted.mailauth.inflow import HashedMessage, MessageHasher
from moxtwisted.mailauth.iprev import IPRevResult, check_iprev
from moxtwisted.mailauth.iprev import Verdict as IPRevVerdict
from moxtwisted.mailauth.publicsuffix import organizational_domain, public_suffix
from moxtwisted.mailauth.spf.evaluation import Evaluator as SPFEvaluator
from moxtwisted.mailauth.spf.evaluation import Identity, Limits, SPFResult
from moxtwisted.mailauth.spf.evaluation import Verdict as SPFVerdict
from moxtwisted.server.verification.fields import trace_fields
from moxtwisted.server.verification.interfaces import IVerifier, Unverified, Verified
from moxtwisted.server.verification.opinion import DMARCQuestion, SecondOpinion
from moxtwisted.server.verification.waiting import Pending

__all__ = ["Begun", "Verifier", "VerifierSettings"]

_log = Logger()

IPAddress = IPv4Address | IPv6Address

#: Results of SPF, iprev and DMARC that are kept for further messages, seconds at most; clients choose the names in them, so not too many.
_MAX_KEPT_SECONDS: Final = 60
_MAX_KEPT: Final = 2000
_MAX_KEPT_OCTETS: Final = 4 * 2**20
_RESULT_OCTETS: Final = 800
#: Of what names three of these, and of the fields that one of them was written to.
_BEGUN_OCTETS: Final = 1200
_NO_CHAIN: Final = Chain(ChainStatus.NONE)
#: Lookups of keys that may be under way before the message is whole.
_MAX_EARLY_KEYS: Final = 5


@frozen(kw_only=True)
class VerifierSettings:
    """What can be chosen.

    :ivar authserv_id: our name in Authentication-Results and Received-SPF.
    :ivar method_seconds: for each method.
    :ivar total_seconds: for all of a message.
    :ivar trusted_sealers: domains whose ARC seals may override a failure of DMARC, A-labels in lower case.
    :ivar tree_walk: find DMARC records as the successor of RFC 7489 does.
    """

    authserv_id: str
    method_seconds: float = 20.0
    total_seconds: float = 30.0
    trusted_sealers: frozenset[str] = frozenset()
    tree_walk: bool = False


@frozen(eq=False)
class Begun:
    """What is asked about a client and its sender; None where there is nothing to ask.

    :ivar sender: the reverse-path as SPF takes it.
    """

    ip: IPAddress | None
    hello: str
    sender: str
    iprev: Pending[IPRevResult] | None = None
    spf: Pending[SPFResult] | None = None
    helo_spf: Pending[SPFResult] | None = None

    def cancel(self) -> None:
        """Ask no more: there will be no message."""
        for pending in (self.iprev, self.spf, self.helo_spf):
            if pending is not None:
                pending.cancel()


def _is_public_suffix(domain: str) -> bool:
    return public_suffix(domain) == domain


@implementer(IVerifier)
@frozen(eq=False)
class Verifier:
    """See ``IVerifier``.

    :ivar resolver: with a cache: most answers are needed more than once.
    :ivar clock: seconds since 1970.
    :ivar entropy: draws the samples of DMARC's ``pct``.
    :ivar in_thread: runs a function in a thread, for the second opinion; None: there is none.
    """

    resolver: IResolver
    clock: IReactorTime
    settings: VerifierSettings
    entropy: Callable[[int], bytes]
    in_thread: Callable[[Callable[[], Any]], Deferred[Any]] | None = None
    rules: VerifyRules = field(factory=lambda: VerifyRules(is_public_suffix=_is_public_suffix))
    _spf: SPFEvaluator = field(init=False)
    _dmarc: DMARCEvaluator = field(init=False)
    _discovery: Discovery = field(init=False)
    # A client seldom has one message only.
    _kept: Cache[Any] = field(init=False, factory=lambda: Cache(_MAX_KEPT, _MAX_KEPT_OCTETS))
    _policies_kept: Cache[DMARCResult] = field(init=False, factory=lambda: Cache(_MAX_KEPT, _MAX_KEPT_OCTETS))
    _opinion: SecondOpinion | None = field(init=False)

    def _evaluator(self, resolver: IResolver) -> SPFEvaluator:
        limits = Limits(seconds=self.settings.method_seconds)
        return SPFEvaluator(resolver, self.clock, self.settings.authserv_id, limits)

    @_spf.default
    def _make_spf(self) -> SPFEvaluator:
        return self._evaluator(self.resolver)

    @_opinion.default
    def _make_opinion(self) -> SecondOpinion | None:
        if self.in_thread is None:
            return None
        return SecondOpinion(self.resolver, self._evaluator, self.clock, self.in_thread)

    @_discovery.default
    def _make_discovery(self) -> Discovery:
        return Discovery(self.resolver, tree_walk=self.settings.tree_walk)

    @_dmarc.default
    def _make_dmarc(self) -> DMARCEvaluator:
        return DMARCEvaluator(
            self.resolver, self.entropy, Discovery(self.resolver, tree_walk=self.settings.tree_walk)
        )

    def _timed(
        self, work: Coroutine[Any, Any, Any], otherwise: Callable[[str], Any], seconds: float | None = None
    ) -> Pending[Any]:
        limit = self.settings.method_seconds if seconds is None else seconds
        return Pending(work, limit, self.clock, otherwise)

    # -- before the message ----------------------------------------------------------------------------------------

    def begin(self, ip: IPAddress | None, hello: str, reverse_path: Path) -> Begun:
        """See ``IVerifier``."""
        address = reverse_path.address
        sender = "" if address is None else f"{address.localpart}@{address.domain.ascii}"
        if ip is None:
            return Begun(ip, hello, sender)
        now = self.clock.seconds()
        # Octets, since the hash of an address is made by Python each time.
        key = (ip.packed, hello, sender)
        kept = self._kept.get(key, now)
        if kept is not None:
            known: Begun = kept[0]
            return known
        begun, left = self._begin(ip, hello, sender, now)
        # What is known by now costs the next message one look instead of three.
        octets = _BEGUN_OCTETS + len(hello) + len(sender)
        self._kept.put(key, begun, octets=octets, now=now, ttl_seconds=left)
        return begun

    def _begin(self, ip: IPAddress, hello: str, sender: str, now: float) -> tuple[Begun, float]:
        """What is asked, and for how many seconds all of it is known."""

        def no_iprev(why: str) -> IPRevResult:
            return IPRevResult(IPRevVerdict.TEMPERROR, ip, problem=why)

        def no_spf(identity: Identity, who: str) -> Callable[[str], SPFResult]:
            return lambda why: SPFResult(
                SPFVerdict.TEMPERROR,
                identity,
                who.rpartition("@")[2] or hello,
                who or f"postmaster@{hello}",
                ip,
                hello,
                problem=why,
            )

        address = ip.packed
        helo_spf, helo_left = None, float(_MAX_KEPT_SECONDS)
        if sender and _is_name(hello):
            helo_spf, helo_left = self._recent(
                ("helo", address, hello),
                lambda: self._spf.check_helo(ip, hello),
                no_spf(Identity.HELO, f"postmaster@{hello}"),
                now,
            )
        local, _, domain = sender.rpartition("@")
        spf: Pending[SPFResult]
        spf, spf_left = self._recent(
            ("mailfrom", address, hello, domain),
            lambda: self._spf.check_mail_from(ip, sender, hello),
            no_spf(Identity.MAIL_FROM, sender),
            now,
        )
        if local and spf.known is not None and spf.known.sender.rpartition("@")[0] != local:
            spf = Pending.of(evolve(spf.known, sender=f"{local}@{spf.known.domain}"))
        iprev, iprev_left = self._recent(
            ("iprev", address), lambda: check_iprev(self.resolver, ip), no_iprev, now
        )
        return Begun(ip, hello, sender, iprev, spf, helo_spf), min(helo_left, spf_left, iprev_left)

    def _recent(
        self,
        key: tuple[Any, ...],
        work: Callable[[], Coroutine[Any, Any, Any]],
        otherwise: Callable[[str], Any],
        now: float,
    ) -> tuple[Pending[Any], float]:
        """What was found for another message of the client, or is asked for now, and how many seconds it holds; 0: not known yet."""
        kept = self._kept.get(key, now)
        if kept is not None:
            return Pending.of(kept[0]), kept[1]
        pending = self._timed(self._keep(key, work()), otherwise)
        return pending, 0.0 if pending.known is None else min(pending.known.ttl_seconds, _MAX_KEPT_SECONDS)

    async def _keep(self, key: tuple[Any, ...], work: Coroutine[Any, Any, Any]) -> Any:
        found = await work
        ttl = min(found.ttl_seconds, _MAX_KEPT_SECONDS)
        octets = sum([len(step.record) for step in found.chain]) if isinstance(found, SPFResult) else 0
        self._kept.put(key, found, octets=_RESULT_OCTETS + octets, now=self.clock.seconds(), ttl_seconds=ttl)
        return found

    def header_came(self, hashed: MessageHasher) -> None:
        """See ``IVerifier``."""
        fields = hashed.fields
        if fields is None:
            return
        for found in hashed.found[:_MAX_EARLY_KEYS]:
            if isinstance(found.signature, Signature):
                self._ask_early(found.signature.query_name)
        author = find_author(fields.header)
        if author.domain:
            self._ask_early(f"_dmarc.{author.domain}")

    def _ask_early(self, name: str) -> None:
        """Have an answer in the cache when it is needed."""

        async def ask() -> bool:
            try:
                await self.resolver.lookup(name, "TXT")
            except NoAnswerError:
                return False
            return True

        self._timed(ask(), lambda why: False)

    # -- the message -----------------------------------------------------------------------------------------------

    async def verify(self, message: Unverified) -> Verified:
        """See ``IVerifier``."""
        try:
            return await self._verify(message)
        except Exception:  # noqa: BLE001 - a boundary: whatever is wrong with us, the message is judged, and not held against
            _log.failure("a message could not be verified")
            author = find_author(message.hashed.header)
            dmarc = _no_dmarc(author.domain, "internal error") if author.domain else None
            return Verified(ip=message.ip, author=author, dmarc=dmarc)

    async def _verify(self, message: Unverified) -> Verified:
        hashed, now = message.hashed, self.clock.seconds()
        deadline = now + self.settings.total_seconds
        begun: Begun = message.begun or self.begin(message.ip, message.hello, message.reverse_path)
        signatures = chain = None
        if hashed.found:
            signatures = self._timed(
                verify_dkim(hashed, self.resolver, now=now, rules=self.rules),
                partial(self._no_dkim, hashed, now),
            )
        names = hashed.header.values
        if b"arc-seal" in names or b"arc-message-signature" in names:
            chain = self._timed(validate_arc(hashed, self.resolver), _no_arc)
        author = find_author(hashed.header)
        iprev, spf, helo_spf = begun.iprev, begun.spf, begun.helo_spf
        verified = Verified(
            ip=message.ip,
            iprev=None if iprev is None else iprev.known or await iprev.result(),
            spf=None if spf is None else spf.known or await spf.result(),
            helo_spf=None if helo_spf is None else helo_spf.known or await helo_spf.result(),
            dkim=() if signatures is None else signatures.known or await signatures.result(),
            arc=_NO_CHAIN if chain is None else await chain.result(),
            author=author,
        )
        if verified.spf is not None and not begun.sender and _is_name(message.hello):
            # RFC 7208 section 2.4: with a null reverse-path both identities are the same name.
            verified.helo_spf = evolve(verified.spf, identity=Identity.HELO)
        if author.domain:
            judged: Pending[Verified] = self._timed(
                self._policies(verified, message),
                partial(_without_policies, verified),
                min(self.settings.method_seconds, deadline - self.clock.seconds()),
            )
            verified = judged.known or await judged.result()
        elif self._opinion is not None:
            verified = await self._opinion.review(verified, message, self._question("", Authenticated()))
        verified.trace = trace_fields(verified, self.settings.authserv_id, smtputf8=message.smtputf8)
        return verified

    def _no_dkim(self, hashed: HashedMessage, now: float, why: str) -> tuple[Verification, ...]:
        examined = [examine(hashed, found, self.rules, now) for found in hashed.found]
        return tuple(
            Verification(Status.TEMPERROR, Reason.DNS, why, found.signature)
            if isinstance(found, PendingSignature)
            else found
            for found in examined
        )

    # -- policies --------------------------------------------------------------------------------------------------

    async def _policies(self, verified: Verified, message: Unverified) -> Verified:
        """DMARC, and what may override it."""
        domain = verified.author.domain
        authenticated = await self._authenticated(verified, domain)
        dmarc = await self._dmarc_of(domain, authenticated)
        sealed = None
        if dmarc.verdict is DMARCVerdict.FAIL and verified.arc is not None:
            sealed = self._sealed(verified.arc, domain)
        validated = dmarc.verdict is DMARCVerdict.PASS
        if dmarc.verdict in (DMARCVerdict.NONE, DMARCVerdict.PERMERROR):
            # Without a policy, what passed counts when it is of the same organization.
            passed = [*authenticated.dkim_domains, authenticated.spf_domain]
            validated = any([name and await self._related(name, domain) for name in passed])
        verified.dmarc, verified.sealed, verified.from_validated = dmarc, sealed, validated
        verified.organizational_domain = dmarc.organizational_domain or organizational_domain(domain)
        if self._opinion is None or not self._opinion.may_differ(verified):
            return verified
        return await self._opinion.review(verified, message, self._question(domain, authenticated))

    async def _dmarc_of(self, domain: str, facts: Authenticated) -> DMARCResult:
        """What DMARC comes to, or what it came to for another message for which the same passed."""
        now = self.clock.seconds()
        key = (domain, facts.spf_domain, facts.dkim_domains, facts.temporary)
        kept = self._policies_kept.get(key, now)
        if kept is not None:
            return kept[0]
        found = await self._dmarc.evaluate(domain, facts)
        octets = _RESULT_OCTETS + len(domain) + len(facts.spf_domain) + sum(map(len, facts.dkim_domains))
        ttl = min(found.ttl_seconds, _MAX_KEPT_SECONDS)
        self._policies_kept.put(key, found, octets=octets, now=now, ttl_seconds=ttl)
        return found

    def _question(self, domain: str, facts: Authenticated) -> DMARCQuestion:
        return DMARCQuestion(
            facts, lambda other: self._dmarc.evaluate(domain, other), lambda name: self._related(name, domain)
        )

    async def _authenticated(self, verified: Verified, domain: str) -> Authenticated:
        """What DMARC is told: RFC 7489 section 6.6.2, step 4 and 5."""
        spf, passed, unknown = verified.spf, [], []
        for found in verified.dkim:
            if found.signature is None:
                continue
            if found.authenticates:
                passed.append(found.signature.domain)
            elif found.status is Status.TEMPERROR:
                unknown.append(found.signature.domain)
        if spf is not None and spf.verdict is SPFVerdict.TEMPERROR:
            unknown.append(spf.domain)
        # What could not be checked matters only where it could have helped: a sender must not get away with a signature whose
        # key is at a server of his that never answers.
        temporary = bool(unknown) and any([await self._related(name, domain) for name in unknown])
        spf_domain = spf.domain if spf is not None and spf.verdict is SPFVerdict.PASS else ""
        return Authenticated(spf_domain, tuple(passed), temporary)

    async def _related(self, name: str, domain: str) -> bool:
        """Whether two names are of one organization, as far as can be told."""
        try:
            one, other = normalise(name), normalise(domain)
            if one == other:
                return True
            return await self._discovery.organizational(one) == await self._discovery.organizational(other)
        except BadNameError:
            return False
        except NoAnswerError:
            # By the public suffixes: a name whose own server does not answer must not become everybody's.
            return organizational_domain(one) == organizational_domain(other)

    def _sealed(self, chain: Chain, domain: str) -> SealedResults | None:
        """RFC 8617 section 7.2.1: what a sealer whom we trust saw, if DMARC passed there for this domain."""
        sealed = trusted_results(chain, self.settings.trusted_sealers)
        if sealed is None or not sealed.dmarc_pass:
            return None
        for result in sealed.results.of("dmarc"):
            seen = result.value("header", "from").rpartition("@")[2]
            if seen and _normal(seen) != domain:
                return None
        return sealed


def _normal(name: str) -> str:
    try:
        return normalise(name)
    except BadNameError:
        return ""


def _is_name(hello: str) -> bool:
    """Whether SPF can be asked for the name of a client: not an address literal, not a bare word."""
    return "." in hello and not hello.startswith("[")


def _without_policies(verified: Verified, why: str) -> Verified:
    """What is left when they were not found out in time."""
    return evolve(
        verified,
        dmarc=_no_dmarc(verified.author.domain, why),
        sealed=None,
        organizational_domain="",
        from_validated=False,
    )


def _no_arc(why: str) -> Chain:
    return Chain(ChainStatus.TEMPERROR, ChainReason.DNS, detail=why)


def _no_dmarc(domain: str, why: str) -> DMARCResult:
    return DMARCResult(DMARCVerdict.TEMPERROR, Policy.NONE, None, why, domain)
