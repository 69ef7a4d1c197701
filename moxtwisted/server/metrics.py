"""Counters of what happens, fed by the events of the log, whatever is written of these.

::

    metrics = Metrics()
    globalLogPublisher.addObserver(metrics)
    log.warn("second opinion: ...", second_opinion="dkim")      # somewhere
    metrics.text({})            # b'moxmail_second_opinion_differs_total{method="dkim"} 1.0\\n...', for Prometheus

An event counts when it has the fields of a counter; so nothing that logs knows of metrics, and a counter cannot say what the log
does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import frozen
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

__all__ = ["COUNTED_FIELDS", "Counter", "Metrics"]

#: Different sets of labels of one counter; the rest shares ``other``.
_MAX_SERIES: Final = 500
_METHODS: Final = ("iprev", "spf", "dkim", "arc", "dmarc")


@frozen(eq=False)
class Counter:
    """Something that is counted.

    :ivar name: without ``moxmail_`` and ``_total``.
    :ivar meaning: a sentence for whoever reads it.
    :ivar labels: their names.
    """

    name: str
    meaning: str
    labels: tuple[str, ...]


_VERIFIED: Final = Counter("verified", "Results of checks of messages from others.", ("method", "result"))
_DIFFERS: Final = Counter(
    "second_opinion_differs", "Failures of SPF or DKIM that another library did not share.", ("method",)
)
_DECISIONS: Final = Counter(
    "decisions", "What became of messages from others, for each recipient.", ("decision", "reason")
)
_EFFECTS: Final = Counter(
    "effects", "What was done about messages from others, beside decisions.", ("effect", "what")
)
_FAILURES: Final = Counter("failures", "Exceptions that ended a session, a task or a callback.", ("package",))


def _methods(event: LogEvent) -> list[tuple[str, ...]]:
    return [(method, str(event[method])) for method in _METHODS if event.get(method) is not None]


def _decision(event: LogEvent) -> list[tuple[str, ...]]:
    return [(str(event["decision"]), str(event.get("reason", "")))]


def _effect(event: LogEvent) -> list[tuple[str, ...]]:
    return [(str(event["effect"]), str(event.get("what", "")))]


def _second_opinion(event: LogEvent) -> list[tuple[str, ...]]:
    return [(str(event["second_opinion"]),)]


#: An event that has the field counts for the counter, with these labels.
_COUNTED: Final[tuple[tuple[str, Counter, Callable[[LogEvent], list[tuple[str, ...]]]], ...]] = (
    ("dmarc", _VERIFIED, _methods),
    ("decision", _DECISIONS, _decision),
    ("effect", _EFFECTS, _effect),
    ("second_opinion", _DIFFERS, _second_opinion),
)
COUNTED_FIELDS: Final = frozenset([field for field, _, _ in _COUNTED])
"""Names of fields: an event that has none of them is not counted here."""


@implementer(ILogObserver)
class Metrics:
    """Counts events.

    :ivar counts: by counter and the values of its labels.
    """

    def __init__(self) -> None:
        self.counts: dict[Counter, dict[tuple[str, ...], int]] = {}

    def __call__(self, event: LogEvent) -> None:
        """Count an event; never raises."""
        for field, counter, read in _COUNTED:
            if field in event:
                for values in read(event):
                    self._count(counter, values)

    def _count(self, counter: Counter, values: tuple[str, ...]) -> None:
        series = self.counts.setdefault(counter, {})
        if values not in series and len(series) >= _MAX_SERIES:
            values = ("other",) * len(values)
        series[values] = series.get(values, 0) + 1

    def text(self, failures: Mapping[str, int]) -> bytes:
        """All of them in the text format of Prometheus.

        :param failures: by package, as ``FailureCounter`` has them.
        """
        # It takes a tenth of a second to import, and few ask.
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        counts: dict[Counter, dict[tuple[str, ...], int]] = {**self.counts}
        counts[_FAILURES] = {(package,): n for package, n in failures.items()}
        for _, counter, _ in _COUNTED:
            counts.setdefault(counter, {})
        registry.register(_Collected(counts))
        octets: bytes = generate_latest(registry)
        return octets


class _Collected:
    """What the library asks."""

    def __init__(self, counts: Mapping[Counter, Mapping[tuple[str, ...], int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Any]:
        """Families of metrics."""
        from prometheus_client.core import CounterMetricFamily

        for counter, series in self._counts.items():
            family = CounterMetricFamily(f"moxmail_{counter.name}", counter.meaning, labels=counter.labels)
            for values, number in sorted(series.items()):
                family.add_metric(values, number)
            yield family
