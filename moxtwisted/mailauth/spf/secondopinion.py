"""What pyspf, another evaluator of SPF, makes of the same answers of the DNS.

::

    recorder = Recorder(resolver)
    result = await Evaluator(recorder, clock).check_mail_from(ip, sender, helo)
    if result.verdict is Verdict.FAIL and await second_opinion(result, recorder) is not Verdict.FAIL:
        ...we do not refuse for it, and tell the operator

pyspf does not wait: it is given the answers that are there, and what it misses is asked for before it starts again. It takes about a
millisecond, so it is for those messages that would be refused. The limit of empty answers is left to ours, since pyspf counts
them in more places than RFC 7208 section 4.6.4 does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from attrs import define, field
from zope.interface import implementer

from moxtwisted.dns.answers import Answer, IResolver, NoAnswerError
from moxtwisted.mailauth.spf.evaluation import SPFResult, Verdict

__all__ = ["Recorder", "second_opinion"]

# An evaluation asks for 10 terms with at most 10 hosts each (RFC 7208 section 4.6.4); most need nothing that is not there.
_MAX_ROUNDS = 40
_MAX_ANSWERS = 500
# Of records, over all rounds: 30 ms. Ten records of 500 octets, read ten times, are half of it.
_MAX_OCTETS = 100_000


@implementer(IResolver)
@define
class Recorder:
    """Asks another resolver, and keeps what it said: for one message.

    :ivar resolver: who is asked.
    :ivar answers: by name and type; None where no answer could be had.
    """

    resolver: IResolver
    answers: dict[tuple[str, str], Answer | None] = field(factory=dict)

    async def lookup(self, name: str, rrtype: str) -> Answer:
        """See ``IResolver``."""
        key = (name.lower(), rrtype)
        if len(self.answers) < _MAX_ANSWERS:
            self.answers[key] = None
        answer = await self.resolver.lookup(name, rrtype)
        if key in self.answers:
            self.answers[key] = answer
        return answer


class _MissingError(Exception):
    """pyspf wants an answer that is not there."""

    def __init__(self, name: str, rrtype: str) -> None:
        self.name, self.rrtype = name, rrtype
        super().__init__(name, rrtype)


def _as_pyspf(rrtype: str) -> Callable[[Any], Any]:
    if rrtype == "TXT":
        return lambda text: (text,)
    if rrtype == "MX":
        return lambda mx: (mx.preference, mx.exchange)
    return lambda value: value


@cache
def _library() -> tuple[Any, type[Any]]:
    # It imports much, and is seldom needed.
    import spf

    class Query(spf.query):  # type: ignore[misc]
        """A query that knows what it is told."""

        answers: dict[tuple[str, str], Answer | None]

        def dns(self, name: Any, qtype: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:
            """Called for every question, names without escapes."""
            text = str(name).removesuffix(".").lower()
            if len(text) > 253 or not all(0 < len(label) < 64 for label in text.split(".")):
                return []
            key = (text.replace("\\", "\\\\"), qtype)
            if key not in self.answers:
                raise _MissingError(*key)
            answer = self.answers[key]
            if answer is None:
                raise spf.TempError("no answer")
            return list(map(_as_pyspf(qtype), answer.records))

    return spf, Query


def _octets(recorder: Recorder) -> int:
    """Of the records that a round may go through."""
    texts = [answer for (_, kind), answer in recorder.answers.items() if kind == "TXT" and answer is not None]
    return sum(len(record) for answer in texts for record in answer.records)


async def second_opinion(result: SPFResult, recorder: Recorder) -> Verdict | None:
    """What pyspf says of the same client and sender.

    :param result: ours.
    :param recorder: the resolver that ours was given.
    :return: None when it comes to nothing: it fails, or asks for too much. Then there is no second opinion, which is no agreement.
    """
    _, query_class = _library()
    left = _MAX_OCTETS
    for _ in range(_MAX_ROUNDS):
        left -= _octets(recorder)
        if left < 0:
            return None
        try:
            query = query_class(i=str(result.ip), s=result.sender, h=result.helo)
            query.answers = recorder.answers
            return Verdict(query.check()[0])
        except _MissingError as e:
            key = (e.name, e.rrtype)
            try:
                await recorder.lookup(*key)
            except NoAnswerError:
                continue
            if key not in recorder.answers:
                return None
        except Exception:  # noqa: BLE001 - strangers' records in a stranger's code: whatever it raises, it has no opinion
            return None
    return None
