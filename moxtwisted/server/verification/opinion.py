"""The second opinion: a failure that other libraries do not share is not held against the sender.

::

    opinion = SecondOpinion(resolver, spf_evaluator_for, clock, in_thread)
    verified = await opinion.review(verified, message, DMARCQuestion(facts, evaluate, related))
    verified.unconfirmed                  # {"dkim"}: dkimpy finds the signature of the author's domain right
    verified.dmarc.disposition            # Policy.NONE: nothing is to be done for DMARC

pyspf and dkimpy are slow, so they are asked only where a refusal could rest on the answer: SPF that says fail or softfail, and what
could have proved the domain in From when nothing did. They are given the answers of the DNS that we had. When they say nothing (a
message over 200 KB, records that make them fail), our own verdict stands: else anybody could get around a policy by being too
much for them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.dns.answers import Answer, IResolver, NoAnswerError
from moxtwisted.mailauth.dkim.secondopinion import ARITHMETIC, MAX_OCTETS
from moxtwisted.mailauth.dkim.secondopinion import second_opinion as ask_dkimpy
from moxtwisted.mailauth.dkim.verify import Verification, finish_lookups, start_lookups
from moxtwisted.mailauth.dmarc.evaluation import Authenticated, DMARCResult
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.mailauth.dmarc.record import Policy
from moxtwisted.mailauth.inflow import HashedMessage
from moxtwisted.mailauth.spf.evaluation import Evaluator, SPFResult, Verdict
from moxtwisted.mailauth.spf.secondopinion import Recorder
from moxtwisted.mailauth.spf.secondopinion import second_opinion as ask_pyspf
from moxtwisted.server.verification.interfaces import Unverified, Verified
from moxtwisted.server.verification.waiting import Pending
from moxtwisted.store.interfaces import IStagedMessage

__all__ = ["DMARCQuestion", "SecondOpinion", "as_it_came"]

T = TypeVar("T")

_log = Logger()

_BAD: Final = frozenset((Verdict.FAIL, Verdict.SOFTFAIL))
#: Larger messages are given to dkimpy in a thread: it takes 4 ms for these.
_AT_ONCE_OCTETS: Final = 64 * 1024
#: Signatures of the organization in From that dkimpy is given: a sender has one or two, with an algorithm each.
_MAX_SIGNATURES: Final = 2
#: Messages that wait for the one thread, at most; others have no second opinion.
_MAX_WAITING: Final = 8
_SECONDS: Final = 10.0
#: Of the header, in the log.
_EVIDENCE_OCTETS: Final = 1800


def as_it_came(hashed: HashedMessage, staged: IStagedMessage, removed_octets: int) -> bytes:
    """The octets of a message before fields were taken out of its header."""
    header = hashed.header.octets
    return header + staged.read(len(header) - removed_octets, staged.size)


@implementer(IResolver)
@frozen
class _Kept:
    """Answers that are there, for a thread."""

    answers: Mapping[str, Answer | NoAnswerError]

    async def lookup(self, name: str, rrtype: str) -> Answer:
        answer = self.answers.get(name)
        if isinstance(answer, Answer):
            return answer
        raise answer or NoAnswerError(name, rrtype, "not asked before")


def _to_its_end(work: Coroutine[Any, Any, T]) -> T | None:
    """What a coroutine returns that waits for nothing; None when it would wait."""
    try:
        work.send(None)
    except StopIteration as e:
        result: T = e.value
        return result
    work.close()
    return None


@frozen
class DMARCQuestion:
    """What DMARC was asked about a message.

    :ivar facts: what it was told.
    :ivar evaluate: asks it with other facts.
    :ivar related: whether a domain is of the organization in From.
    """

    facts: Authenticated
    evaluate: Callable[[Authenticated], Awaitable[DMARCResult]]
    related: Callable[[str], Awaitable[bool]]


@define(eq=False)
class SecondOpinion:
    """Asks.

    :ivar evaluator: makes an evaluator of SPF with another resolver.
    :ivar in_thread: runs a function in a thread.
    """

    _resolver: IResolver
    _evaluator: Callable[[IResolver], Evaluator]
    _clock: IReactorTime
    _in_thread: Callable[[Callable[[], Any]], Deferred[Any]]
    _lock: DeferredLock = field(factory=DeferredLock, init=False)

    @staticmethod
    def may_differ(verified: Verified) -> bool:
        """Whether anything of it is to be looked at again; mostly all is well."""
        return (
            not verified.from_validated
            or (verified.dmarc is not None and verified.dmarc.disposition is not Policy.NONE)
            or (verified.spf is not None and verified.spf.verdict is not Verdict.PASS)
        )

    async def review(self, verified: Verified, message: Unverified, dmarc: DMARCQuestion) -> Verified:
        """Look again at what a refusal could rest on.

        :param dmarc: what was asked, to be asked again with other facts.
        """
        refusable = verified.dmarc is not None and verified.dmarc.disposition is not Policy.NONE
        spf, theirs = verified.spf, None
        if spf is not None and await self._spf_matters(spf, verified, dmarc, refusable=refusable):
            theirs = await self._limited(self._pyspf(spf, message))
        domains: frozenset[str] = frozenset()
        if not verified.from_validated and verified.author.domain:
            domains = await self._limited(self._dkimpy(message, verified.dkim, dmarc)) or frozenset()
        unconfirmed = set()
        if spf is not None and theirs is not None:
            excused = spf.verdict in _BAD and theirs not in _BAD
            unconfirmed |= {"spf"} if excused or theirs is Verdict.PASS else set()
        if not refusable or verified.dmarc is None:
            unconfirmed |= {"dkim"} if domains else set()
        elif domains or theirs is Verdict.PASS:
            again = await dmarc.evaluate(
                Authenticated(
                    spf.domain if spf is not None and theirs is Verdict.PASS else dmarc.facts.spf_domain,
                    (*dmarc.facts.dkim_domains, *sorted(domains)),
                    dmarc.facts.temporary,
                )
            )
            if again.verdict is not DMARCVerdict.FAIL:
                unconfirmed |= {"dkim"} if again.dkim_aligned else set()
                why = f"{verified.dmarc.why}; a second opinion differs"
                verified = evolve(verified, dmarc=evolve(verified.dmarc, disposition=Policy.NONE, why=why))
        return evolve(verified, unconfirmed=frozenset(unconfirmed)) if unconfirmed else verified

    @staticmethod
    async def _spf_matters(
        spf: SPFResult, verified: Verified, dmarc: DMARCQuestion, *, refusable: bool
    ) -> bool:
        if spf.verdict in _BAD:
            return True
        if spf.verdict in (Verdict.PASS, Verdict.TEMPERROR):
            return False
        if refusable:
            return True
        unproved = verified.author.domain and not verified.from_validated
        return bool(unproved) and spf.verdict is not Verdict.NONE and await dmarc.related(spf.domain)

    async def _limited(self, work: Coroutine[Any, Any, T | None]) -> T | None:
        """What somebody thinks, if he says it in time."""
        pending: Pending[tuple[T | None]] = Pending(_alone(work), _SECONDS, self._clock, lambda _: (None,))
        return (await pending.result())[0]

    # -- SPF -------------------------------------------------------------------------------------------------------

    async def _pyspf(self, ours: SPFResult, message: Unverified) -> Verdict | None:
        """Pyspf's verdict; ours when its own is that of an evaluation that came out differently now."""
        recorder = Recorder(self._resolver)
        evaluator = self._evaluator(recorder)
        address = message.reverse_path.address
        sender = "" if address is None else f"{address.localpart}@{address.domain.ascii}"
        again = await evaluator.check_mail_from(ours.ip, sender, ours.helo)
        if again.verdict is not ours.verdict:
            # The records changed meanwhile: what was wrong a moment ago is not held against anybody.
            return again.verdict
        theirs = await ask_pyspf(again, recorder)
        if theirs is not None and theirs is not ours.verdict:
            _log.warn(
                "second opinion: SPF of {sender} from {peer} is {ours} here, {theirs} to pyspf",
                second_opinion="spf",
                session=message.session,
                sender=ours.sender,
                peer=str(ours.ip),
                hello=ours.helo,
                ours=ours.verdict.value,
                theirs=theirs.value,
                mechanism=again.mechanism,
                problem=again.problem,
                records=" | ".join(f"{step.domain}: {step.record}" for step in again.chain),
            )
        return theirs

    # -- DKIM ------------------------------------------------------------------------------------------------------

    async def _dkimpy(
        self, message: Unverified, verifications: tuple[Verification, ...], dmarc: DMARCQuestion
    ) -> frozenset[str] | None:
        """Of the organization in From, the domains whose signatures dkimpy finds right and we do not."""
        # A signature of somebody else, right or wrong, proves nothing of From.
        ours = [
            found
            if found.reason in ARITHMETIC and found.signature and await dmarc.related(found.signature.domain)
            else evolve(found, reason=None)
            for found in verifications
        ]
        many = [i for i, found in enumerate(ours) if found.reason is not None][_MAX_SIGNATURES:]
        ours = [evolve(found, reason=None) if i in many else found for i, found in enumerate(ours)]
        doubtful = [found for found in ours if found.reason is not None]
        if not doubtful or message.staged.size > MAX_OCTETS:
            return None
        names = [found.signature.query_name for found in doubtful if found.signature is not None]
        answers = await finish_lookups(start_lookups(self._resolver, names))
        octets = as_it_came(message.hashed, message.staged, message.removed_octets)

        def ask() -> frozenset[str] | None:
            return _to_its_end(ask_dkimpy(octets, message.hashed.found, ours, _Kept(answers)))

        domains: frozenset[str] | None = None
        if len(octets) <= _AT_ONCE_OCTETS:
            domains = ask()
        elif len(self._lock.waiting) < _MAX_WAITING:
            domains = await self._lock.run(lambda: self._in_thread(ask))
        for found in doubtful if domains else ():
            if found.signature is not None and domains and found.signature.domain in domains:
                _tell(found, message, answers[found.signature.query_name])
        return domains


async def _alone(work: Coroutine[Any, Any, T]) -> tuple[T]:
    return (await work,)


def _tell(found: Verification, message: Unverified, answer: Answer | NoAnswerError) -> None:
    """Log the evidence: the fields that are signed, the key, both verdicts."""
    signature = found.signature
    if signature is None:
        return
    fields = message.hashed.fields
    names = {b"dkim-signature", *signature.signed_headers}
    concerned = b"".join(raw for raw, name in fields.header.fields if name in names)
    _log.warn(
        "second opinion: DKIM signature of {domain} is {ours} here ({problem}), pass to dkimpy",
        second_opinion="dkim",
        session=message.session,
        domain=signature.domain,
        ours=found.status.value,
        theirs="pass",
        problem=found.reason.value if found.reason is not None else "",
        detail=found.detail,
        query=signature.query_name,
        records=b" | ".join(answer.records) if isinstance(answer, Answer) else answer.detail,
        header=concerned[:_EVIDENCE_OCTETS],
        body_hash=(message.hashed.bodies.digest(signature.body_form) or b"").hex(),
    )
