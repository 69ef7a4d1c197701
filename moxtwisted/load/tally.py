"""What a source counts while it runs; bounded, whatever the number of messages.

::

    tally = Tally()
    tally.replied("RCPT", reply, 0.0012)
    tally.error("connect: refused")
    tally.stages["RCPT"].percentile(99)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Final

from attrs import define, field

from moxtwisted.load.percentiles import Histogram
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.transmission import RecipientResult

__all__ = ["STAGES", "Tally"]

#: Stages in the order in which reports show them, with what each is.
STAGES: Final = {
    "connect": "TCP connection",
    "greeting": "from there to the 220",
    "TLS": "handshake",
    "EHLO": "EHLO, LHLO or HELO",
    "STARTTLS": "reply to it",
    "AUTH": "one step of the exchange",
    "MAIL": "reply to MAIL FROM",
    "RCPT": "reply to RCPT TO",
    "DATA": "354",
    ".": "from the final dot to its reply",
    "BDAT": "from the end of a chunk to its reply",
    "RSET": "reply to it",
    "QUIT": "221",
    "message": "service time: from the begin of work on a message to its last reply",
    "late": "how late the source itself began messages for which a session was free; contained in the response time",
    "response": "response time: from when a message should have gone out to its last reply",
}

#: Kinds of errors and sample texts are few; a server that makes up ever new codes does not fill our memory.
_MOST_KINDS: Final = 200
_SAMPLE_OCTETS: Final = 200


@define
class Tally:
    """Counters of a run.

    :ivar replies: by command and code.
    :ivar samples: the first text of each refusal, by command and code.
    :ivar errors: what was no reply, by kind.
    :ivar stages: latencies, see ``STAGES``.
    :ivar connections: how many were made.
    :ivar tls: connections by TLS version and cipher.
    :ivar begun: messages that were begun.
    :ivar delivered: messages that the server took for all recipients.
    :ivar partly: for some.
    :ivar refused: for none, as it said.
    :ivar failed: messages that ended without that.
    :ivar recipients: how many were accepted, with the message.
    :ivar recipients_refused: how many were not.
    :ivar octets: of the messages that were delivered, wholly or partly, without what SMTP adds.
    """

    replies: Counter[tuple[str, int]] = field(factory=Counter)
    samples: dict[tuple[str, int], str] = field(factory=dict)
    errors: Counter[str] = field(factory=Counter)
    stages: defaultdict[str, Histogram] = field(factory=lambda: defaultdict(Histogram))
    connections: int = 0
    tls: Counter[str] = field(factory=Counter)
    begun: int = 0
    delivered: int = 0
    partly: int = 0
    refused: int = 0
    failed: int = 0
    recipients: int = 0
    recipients_refused: int = 0
    octets: int = 0

    @property
    def settled(self) -> int:
        """Messages whose fate is known."""
        return self.delivered + self.partly + self.refused + self.failed

    @property
    def accepted(self) -> int:
        """Messages that the server took for somebody."""
        return self.delivered + self.partly

    def replied(self, stage: str, reply: Reply, seconds: float) -> None:
        """A reply came, so long after the command."""
        self.stages[stage].record(seconds)
        self.counted(stage, reply)

    def counted(self, stage: str, reply: Reply) -> None:
        """A reply came; how long it took says nothing."""
        key = (stage, reply.code)
        if key not in self.replies and len(self.replies) >= _MOST_KINDS:
            key = ("other", 0)
        self.replies[key] += 1
        if reply.code >= 400 and key not in self.samples:
            self.samples[key] = f"{reply.enhanced} {reply.text}".strip()[:_SAMPLE_OCTETS]

    def error(self, kind: str) -> None:
        """Something went wrong that is no reply."""
        if kind not in self.errors and len(self.errors) >= _MOST_KINDS:
            kind = "other"
        self.errors[kind] += 1

    def result(self, results: list[RecipientResult], octets: int) -> None:
        """The server decided on a message."""
        taken = sum(result.reply.positive for result in results)
        self.recipients += taken
        self.recipients_refused += len(results) - taken
        if not taken:
            self.refused += 1
            return
        self.octets += octets
        if taken == len(results):
            self.delivered += 1
        else:
            self.partly += 1

    def add(self, other: Tally) -> None:
        """Take in what another one counted, as of another process."""
        self.replies += other.replies
        self.samples = other.samples | self.samples
        self.errors += other.errors
        self.tls += other.tls
        for stage, histogram in other.stages.items():
            self.stages[stage].add(histogram)
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_json(self) -> dict[str, Any]:
        """All of it for programs: plain values, times in seconds."""
        return {
            "messages": {name: getattr(self, name) for name in _NUMBERS[:5]},
            "recipients": {"accepted": self.recipients, "refused": self.recipients_refused},
            "octets": self.octets,
            "connections": self.connections,
            "tls": dict(self.tls),
            "replies": [
                {"command": stage, "code": code, "count": count}
                | ({"first": self.samples[stage, code]} if (stage, code) in self.samples else {})
                for (stage, code), count in sorted(self.replies.items(), key=_order)
            ],
            "errors": dict(self.errors.most_common()),
            "latency_seconds": {
                stage: self.stages[stage].summary() for stage in STAGES if stage in self.stages
            },
        }


_NUMBERS: Final = (
    "begun", "delivered", "partly", "refused", "failed",
    "recipients", "recipients_refused", "octets", "connections",
)  # fmt: skip
_PLACES: Final = {stage: place for place, stage in enumerate(STAGES)}


def _order(item: tuple[tuple[str, int], int]) -> tuple[int, str, int]:
    (stage, code), _ = item
    return _PLACES.get(stage, len(_PLACES)), stage, code
