"""Whether an answer can be believed: the chain of trust from the root to it (RFC 4035 section 5).

::

    chain = TrustChain(ROOT_ANCHORS)                      # kept: what was proved of zones
    judge = Validator(chain, fetch, now=clock.seconds)    # one for each lookup
    verdict = await judge.positive(message, "example.org", 15)
    verdict.security                                      # SECURE, INSECURE, or BogusError was raised

The chain is walked from the top: at each name on the way the DS records say whether it is the apex of a signed zone, and the proof of
their absence whether the zone there is not signed, or whether there is no zone. What was found is kept as long as the records say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from attrs import define, field, frozen

from moxtwisted.dns.anchors import TrustAnchors
from moxtwisted.dns.answers import BogusError, Security
from moxtwisted.dns.cache import Cache
from moxtwisted.dns.denial import Cut, Denial, Proof
from moxtwisted.dns.message import Message, MessageError, Question, decode
from moxtwisted.dns.names import ROOT, ancestors, from_labels, labels, parent, within
from moxtwisted.dns.records import DS, NSEC, NSEC3, type_name
from moxtwisted.dns.resolution import Fetch, Verdict
from moxtwisted.dns.signatures import (
    ALGORITHMS,
    DIGESTS,
    Budget,
    BudgetError,
    SignedSet,
    ZoneKeys,
    matching_keys,
    read_keys,
    seconds_left,
    signed_set,
    verify,
)

__all__ = ["TrustChain", "Validator"]

T = TypeVar("T")

_CNAME, _SOA, _DNAME, _DS, _RRSIG, _NSEC, _DNSKEY, _NSEC3 = 5, 6, 39, 43, 46, 47, 48, 50
_NXDOMAIN: Final = 3

# Records of absence in one answer; a proof needs three.
_MAX_PROOFS: Final = 8
# Those that are looked at: an answer behind a chain of CNAME records has proofs of other zones, too.
_MAX_CANDIDATES: Final = 32
# How long a step of the chain is kept at most, and, when its TTL is nothing, at least: for the lookups that belong together.
_MAX_STEP_SECONDS: Final = 86_400
_MIN_STEP_SECONDS: Final = 5


@frozen
class _Unsigned:
    """From here on nothing is signed."""


@frozen
class _Inside:
    """No zone begins here."""


@frozen
class _Unknown:
    """No trust anchor is above."""


_Step = ZoneKeys | _Unsigned | _Inside
_Trust = ZoneKeys | _Unsigned | _Unknown


@define
class TrustChain:
    """What is known of zones; one for all lookups.

    :ivar steps: by name: the keys of the zone that begins there, that it is not signed, or that none begins there.
    """

    anchors: TrustAnchors
    steps: Cache[_Step] = field(factory=lambda: Cache(10_000, 16 * 2**20))


@define
class Validator:
    """A judge (see ``resolution``) that believes signatures only.

    :ivar now: seconds since 1970.
    """

    chain: TrustChain
    fetch: Fetch
    now: Callable[[], float]
    budget: Budget = field(factory=Budget)

    async def positive(self, message: Message, name: str, code: int) -> Verdict:
        """See ``Judge``."""
        return await self._guarded(self._positive(message, name, code), name, code)

    async def negative(self, message: Message, name: str, code: int) -> Verdict:
        """See ``Judge``."""
        return await self._guarded(self._negative(message, name, code), name, code)

    async def _guarded(self, work: Awaitable[T], name: str, code: int) -> T:
        try:
            return await work
        except (BudgetError, MessageError) as e:
            raise BogusError(name, type_name(code), str(e)) from e

    async def _positive(self, message: Message, name: str, code: int) -> Verdict:
        found = signed_set(message, message.answer, name, code)
        signer = _signer(found.signers, name, code)
        if signer is None:
            if code == _CNAME and (owner := _dname_above(message, name)) is not None:
                return await self._synthesised(message, name, owner)
            return await self._unsigned(name, code, "no signature")
        trust = await self._trust(signer)
        if not isinstance(trust, ZoneKeys) or trust.zone != signer:
            return await self._unsigned(name, code, f"signed by {signer}, which is no zone")
        signature = verify(found, trust, now=self.now(), budget=self.budget)
        if isinstance(signature, str):
            raise BogusError(name, type_name(code), signature)
        verdict = Verdict(Security.SECURE, seconds_left(signature, self.now()))
        own = labels(name)
        if signature.labels < len(own) - (own[:1] == [b"*"]):
            # RFC 4035 section 5.3.4: made from a wildcard, which is right only if nothing closer is there.
            denial = self._denial(message, trust)
            proof = denial.no_closer(name, signature.labels)
            if denial.too_costly or proof is Proof.OPT_OUT:
                return Verdict(Security.INSECURE)
            if proof is Proof.NONE:
                raise BogusError(name, type_name(code), "a wildcard's answer without proof that it applies")
        return verdict

    async def _synthesised(self, message: Message, name: str, owner: str) -> Verdict:
        """RFC 6672 section 5.3.1: the CNAME record that follows from a DNAME record has no signature; the DNAME record has."""
        dnames = message.records(owner, _DNAME).decoded()
        targets = message.records(name, _CNAME).decoded()
        prefix = labels(name)[: len(labels(name)) - len(labels(owner))]
        try:
            expected = from_labels([*prefix, *labels(dnames[0])])
        except ValueError as e:
            raise BogusError(name, "CNAME", "a DNAME record that makes the name too long") from e
        if len(dnames) != 1 or targets != [expected]:
            raise BogusError(name, "CNAME", "does not follow from the DNAME record")
        return await self._positive(message, owner, _DNAME)

    async def _negative(self, message: Message, name: str, code: int) -> Verdict:
        signer = _signer(self._proof_signers(message), name, code)
        if signer is None:
            return await self._unsigned(name, code, "no proof of absence")
        trust = await self._trust(signer)
        if not isinstance(trust, ZoneKeys) or trust.zone != signer:
            return await self._unsigned(name, code, f"signed by {signer}, which is no zone")
        denial = self._denial(message, trust)
        if denial.too_costly:
            return Verdict(Security.INSECURE)
        proof = denial.no_name(name) if message.rcode == _NXDOMAIN else denial.no_type(name, code)
        if proof is Proof.OPT_OUT:
            return Verdict(Security.INSECURE)
        if proof is Proof.NONE:
            return await self._unsigned(name, code, "its absence is not proved")
        return Verdict(Security.SECURE)

    async def _unsigned(self, name: str, code: int, detail: str) -> Verdict:
        """What has no good signature is insecure where the zone is not signed, and bogus elsewhere."""
        # RFC 4035 section 2.4: DS records are the parent's.
        trust = await self._trust(parent(name) if code == _DS else name)
        if isinstance(trust, _Unknown):
            return Verdict(Security.INDETERMINATE)
        if isinstance(trust, _Unsigned):
            return Verdict(Security.INSECURE)
        raise BogusError(name, type_name(code), detail)

    def _proof_signers(self, message: Message) -> list[str]:
        """Who signed the records of absence."""
        found: dict[str, None] = {}
        for record in message.authority[:200]:
            if record.code == _RRSIG:
                signature = decode(message.data, record)
                if signature.type_covered in {_NSEC, _NSEC3}:
                    found[signature.signer] = None
        return list(found)

    def _denial(self, message: Message, keys: ZoneKeys) -> Denial:
        """The records of absence that the zone signed."""
        nsecs: list[tuple[str, NSEC]] = []
        nsec3s: list[tuple[str, NSEC3]] = []
        candidates = [
            record
            for record in message.authority
            if record.code in {_NSEC, _NSEC3} and within(record.name, keys.zone)
        ]
        for record in candidates[:_MAX_CANDIDATES]:
            found = signed_set(message, message.authority, record.name, record.code)
            if len(found.records) != 1 or keys.zone not in found.signers:
                continue
            if len(nsecs) + len(nsec3s) >= _MAX_PROOFS:
                break
            signature = verify(found, keys, now=self.now(), budget=self.budget)
            own = labels(record.name)
            # An NSEC record that a wildcard made proves nothing: its name is not where it claims to be.
            if isinstance(signature, str) or signature.labels != len(own) - (own[:1] == [b"*"]):
                continue
            content = decode(message.data, record)
            if isinstance(content, NSEC):
                nsecs.append((record.name, content))
            else:
                nsec3s.append((record.name, content))
        return Denial(keys.zone, nsecs, nsec3s)

    async def _trust(self, name: str) -> _Trust:
        """The keys of the zone that a name is in, or that it is not signed."""
        path = list(ancestors(name))
        anchors = self.chain.anchors.zones
        begin = next((index for index, above in enumerate(path) if above in anchors), None)
        if begin is None:
            return _Unknown()
        zone: ZoneKeys | None = None
        for at in reversed(path[: begin + 1]):
            kept = self.chain.steps.get(at, self.now())
            if kept is not None:
                step = kept[0]
            else:
                self.budget.spend_fetch()
                step, ttl = await (self._anchor(at) if zone is None else self._descend(zone, at))
                ttl = max(min(ttl, _MAX_STEP_SECONDS), _MIN_STEP_SECONDS)
                octets = 1000 if isinstance(step, ZoneKeys) else 0
                self.chain.steps.put(at, step, octets=octets, now=self.now(), ttl_seconds=ttl)
            if isinstance(step, _Unsigned):
                return step
            if isinstance(step, ZoneKeys):
                zone = step
        return _Unknown() if zone is None else zone

    async def _anchor(self, name: str) -> tuple[_Step, int]:
        return await self._zone(name, self.chain.anchors.zones[name], _MAX_STEP_SECONDS)

    async def _descend(self, zone: ZoneKeys, name: str) -> tuple[_Step, int]:
        """What is at a name, given the keys of the zone above it."""
        message = await self.fetch(Question(name, _DS))
        found = signed_set(message, message.answer, name, _DS)
        if found.records:
            self._verified(found, zone)
            digests: list[DS] = [decode(message.data, record) for record in found.records]
            return await self._zone(name, digests, min(record.ttl for record in found.records))
        alias = signed_set(message, message.answer, name, _CNAME)
        if alias.records:
            # A name with CNAME has no other records, so that no zone begins there.
            if alias.signatures:
                self._verified(alias, zone)
                return _Inside(), alias.records[0].ttl
            if (owner := _dname_above(message, name)) is not None and within(owner, zone.zone):
                dname = signed_set(message, message.answer, owner, _DNAME)
                self._verified(dname, zone)
                return _Inside(), dname.records[0].ttl
            raise BogusError(name, "DS", "an alias without signature")
        denial = self._denial(message, zone)
        ttl = min((record.ttl for record in message.authority), default=0)
        if denial.too_costly:
            return _Unsigned(), ttl
        cut = denial.cut(name)
        if cut is Cut.NONE:
            raise BogusError(name, "DS", f"{zone.zone} is signed, and does not prove what is there")
        return (_Unsigned() if cut is Cut.INSECURE else _Inside()), ttl

    async def _zone(self, name: str, digests: Sequence[DS], ttl: int) -> tuple[_Step, int]:
        """The keys of a zone, of which the parent has digests."""
        usable = [one for one in digests if one.algorithm in ALGORITHMS and one.digest_type in DIGESTS]
        if not usable:
            # RFC 4035 section 5.2: signed in ways that we do not know is as not signed.
            return _Unsigned(), ttl
        self.budget.spend_fetch()
        message = await self.fetch(Question(name, _DNSKEY))
        found = signed_set(message, message.answer, name, _DNSKEY)
        if not found.signatures:
            raise BogusError(
                name,
                "DNSKEY",
                "the servers asked do not pass on signatures (validate = false in [resolver] does without)",
            )
        keys = read_keys(found)
        entry = ZoneKeys(name, matching_keys(name, keys, usable))
        if not entry.keys:
            raise BogusError(name, "DNSKEY", "no key is the one that the zone above names")
        self._verified(found, entry)
        return ZoneKeys(name, keys), min(ttl, *(record.ttl for record in found.records))

    def _verified(self, found: SignedSet, keys: ZoneKeys) -> None:
        signature = verify(found, keys, now=self.now(), budget=self.budget)
        if isinstance(signature, str):
            raise BogusError(found.name, type_name(found.code), signature)


def _signer(signers: Sequence[str], name: str, code: int) -> str | None:
    """RFC 4035 section 5.3.1: the signer must be a zone that the name is in; of DS records, the one above.

    The deepest: behind a chain of CNAME records, an answer has proofs of several zones.
    """
    fitting = [
        signer for signer in signers if within(name, signer) and not (code == _DS and signer == name != ROOT)
    ]
    return max(fitting, key=lambda signer: len(labels(signer)), default=None)


def _dname_above(message: Message, name: str) -> str | None:
    """The owner of a DNAME record that a name is below."""
    owners = (record.name for record in message.answer if record.code == _DNAME)
    return next((owner for owner in owners if owner != name and within(name, owner)), None)
