"""From a question to an ``Answer``: chains of CNAME records, what is not there, and how long all that holds.

::

    resolution = Resolution(fetch, judge, limits)
    found = await resolution.resolve(Question("www.example.org", 1))
    found.answer.canonical_name

``fetch`` puts one question to a server; a *judge* says what DNSSEC makes of a set of records or of its absence. Two are here: one
believes the AD bit of the servers, one does not judge; the one that checks signatures is ``validation.Validator``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from attrs import define, frozen

from moxtwisted.dns.answers import Answer, NoAnswerError, Security
from moxtwisted.dns.message import Message, MessageError, Question, Record, decode
from moxtwisted.dns.names import within
from moxtwisted.dns.records import SOA, type_name

__all__ = [
    "BelievingJudge",
    "Fetch",
    "Found",
    "Judge",
    "Resolution",
    "TTLLimits",
    "UnjudgingJudge",
    "Verdict",
]

_NXDOMAIN: Final = 3
_CNAME: Final = 5
_SOA: Final = 6
_NS: Final = 2
_RECURSION_AVAILABLE: Final = 0x0080

# RFC 1034 section 5.2.2: loops must be found; no honest chain is longer.
_MAX_LINKS: Final = 8
# A server that gives one link at a time makes us ask for each.
_MAX_FETCHES: Final = 6

Fetch = Callable[[Question], Awaitable[Message]]


@frozen
class Verdict:
    """What DNSSEC says of one set of records, and for how many seconds at most it says so (the signature's own end)."""

    security: Security
    ttl_seconds: int = 2**31


_SECURE: Final = Verdict(Security.SECURE)
_INSECURE: Final = Verdict(Security.INSECURE)
_NOT_KNOWN: Final = Verdict(Security.INDETERMINATE)


class Judge(Protocol):
    """Whoever decides on the security state; a bogus answer raises ``BogusError``."""

    async def positive(self, message: Message, name: str, code: int) -> Verdict:
        """The records of a type at a name, which are in the answer section."""

    async def negative(self, message: Message, name: str, code: int) -> Verdict:
        """That there are none; ``message.rcode`` says whether there is the name."""


@frozen
class BelievingJudge:
    """RFC 4035 section 4.9.3: the AD bit of a server that is trusted, over a path that is trusted."""

    async def positive(self, message: Message, name: str, code: int) -> Verdict:
        """As the message says."""
        return _SECURE if message.authentic else _INSECURE

    async def negative(self, message: Message, name: str, code: int) -> Verdict:
        """As the message says."""
        return await self.positive(message, name, code)


@frozen
class UnjudgingJudge:
    """Nobody checks, nobody is believed."""

    async def positive(self, message: Message, name: str, code: int) -> Verdict:
        """Not known."""
        return _NOT_KNOWN

    async def negative(self, message: Message, name: str, code: int) -> Verdict:
        """Not known."""
        return _NOT_KNOWN


@frozen
class TTLLimits:
    """Seconds; what servers say is brought between these.

    :ivar without_soa: of a negative answer that says nothing of it.
    """

    minimum: int = 0
    maximum: int = 86_400
    maximum_negative: int = 3_600
    without_soa: int = 5


@frozen
class Found:
    """An answer, and how large the messages were that it came from (octets)."""

    answer: Answer
    octets: int


@define
class _Course:
    """Where a resolution has come to."""

    at: str
    ttl: int
    security: Security = Security.SECURE
    links: int = 0
    octets: int = 0

    def add(self, verdict: Verdict, ttl: int) -> None:
        """A further part of the answer: the chain is as good as its weakest link, and as durable."""
        self.ttl = min(self.ttl, ttl, verdict.ttl_seconds)
        if self.security is Security.SECURE or verdict.security is Security.INDETERMINATE:
            self.security = verdict.security


@frozen
class Resolution:
    """See the module."""

    fetch: Fetch
    judge: Judge
    limits: TTLLimits = TTLLimits()

    async def resolve(self, question: Question) -> Found:
        """The answer to a question.

        :raises NoAnswerError: also BogusError.
        """
        course = _Course(question.name, self.limits.maximum)
        try:
            for _ in range(_MAX_FETCHES):
                message = await self.fetch(Question(course.at, question.code))
                course.octets += len(message.data)
                found = await self._read(message, question, course)
                if found is not None:
                    return found
        except MessageError as e:
            raise self._error(question, f"nonsense: {e}") from e
        raise self._error(question, "chain of CNAME records without end")

    async def _read(self, message: Message, question: Question, course: _Course) -> Found | None:
        """Follow one message as far as it leads; None when the next name has to be asked for."""
        moved = False
        while True:
            here = message.records(course.at, question.code)
            if here.records:
                course.add(
                    await self.judge.positive(message, course.at, question.code), _least_ttl(here.records)
                )
                return self._found(question, course, tuple(here.decoded()), exists=True)
            links = message.records(course.at, _CNAME)
            if not links.records:
                break
            # RFC 2181 section 10.1: a name has one CNAME record.
            if len(links.records) > 1:
                raise self._error(question, "several CNAME records at a name")
            course.links += 1
            if course.links > _MAX_LINKS:
                raise self._error(question, "too many CNAME records in a row")
            course.add(await self.judge.positive(message, course.at, _CNAME), links.records[0].ttl)
            course.at = links.decoded()[0]
            moved = True
        soa = _soa(message, course.at)
        exists = message.rcode != _NXDOMAIN
        if exists and soa is None:
            if moved:
                return None
            # RFC 2308 section 2.2: NS without SOA is a referral, which is no answer.
            if not message.flags & _RECURSION_AVAILABLE and any(r.code == _NS for r in message.authority):
                raise self._error(question, "the server does not look for others (a referral)")
        verdict = await self.judge.negative(message, course.at, question.code)
        # RFC 2308 section 5: as long as the SOA record and its minimum say; without one it should not be kept, lest servers that
        # ask each other keep it alive for ever. We ask and nobody asks us, and a message makes us ask twice for many names.
        negative = min(soa[0].ttl, soa[1].minimum) if soa else self.limits.without_soa
        ttl = min(negative, self.limits.maximum_negative)
        course.add(verdict, ttl)
        return self._found(question, course, (), exists=exists)

    def _found(self, question: Question, course: _Course, records: tuple[Any, ...], *, exists: bool) -> Found:
        ttl = max(course.ttl, self.limits.minimum)
        answer = Answer(
            question.name,
            type_name(question.code),
            records,
            course.at,
            exists=exists,
            security=course.security,
            ttl_seconds=ttl,
        )
        return Found(answer, course.octets)

    def _error(self, question: Question, detail: str) -> NoAnswerError:
        return NoAnswerError(question.name, type_name(question.code), detail)


def _least_ttl(records: tuple[Record, ...]) -> int:
    # RFC 2181 section 5.2: the TTLs of a set should be one; the least is right when they are not.
    return min([record.ttl for record in records])


def _soa(message: Message, name: str) -> tuple[Record, SOA] | None:
    """The SOA record of a negative answer, if it is of a zone that the name is in."""
    for record in message.authority:
        if record.code == _SOA and within(name, record.name):
            return record, decode(message.data, record)
    return None
