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

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import frozen
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

__all__ = ["Counter", "Metrics"]

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


@implementer(ILogObserver)
class Metrics:
    """Counts events.

    :ivar counts: by counter and the values of its labels.
    """

    def __init__(self) -> None:
        self.counts: dict[Counter, dict[tuple[str, ...], int]] = {}

    def __call__(self, event: LogEvent) -> None:
        """Count an event; never raises."""
        if "dmarc" in event:
            for method in _METHODS:
                result = event.get(method)
                if result is not None:
                    self._count(_VERIFIED, (method, str(result)))
        if "decision" in event:
            self._count(_DECISIONS, (str(event["decision"]), str(event.get("reason", ""))))
        if "effect" in event:
            self._count(_EFFECTS, (str(event["effect"]), str(event.get("what", ""))))
        if "second_opinion" in event:
            self._count(_DIFFERS, (str(event["second_opinion"]),))

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
        for counter in (_VERIFIED, _DIFFERS, _DECISIONS, _EFFECTS):
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
