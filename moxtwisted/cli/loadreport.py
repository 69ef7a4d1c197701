"""What the load commands print: a line while they run, a report at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from moxtwisted.cli.output import counted
from moxtwisted.load.percentiles import PERCENTILES, RELATIVE_ERROR
from moxtwisted.load.tally import STAGES

if TYPE_CHECKING:
    from moxtwisted.load.source import Figures, LoadSource

__all__ = ["Pace", "sink_lines", "source_line", "source_lines"]

_COLUMNS: Final = ("min", "mean", *(f"p{percent:g}" for percent in PERCENTILES), "max")
#: From here on the program itself may be what is measured.
_BUSY: Final = 0.9


class Pace:
    """How many a second it is now: over the last second or so, not since the begin."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def __call__(self, now: float, count: int) -> float:
        """So many it is at this moment."""
        seen = self._seen
        seen.append((now, count))
        while len(seen) > 2 and now - seen[1][0] >= 1.0:
            del seen[0]
        since, before = seen[0]
        return (count - before) / (now - since) if now > since else 0.0


def source_line(source: LoadSource, pace: Pace) -> str:
    """What a source does right now."""
    tally, settings = source.tally, source.settings
    done = f"{tally.settled:,}" + (f" / {settings.messages:,}" if settings.messages else "") + " messages"
    stage = tally.stages["response" if settings.rate is not None else "message"]
    words = [done, f"{pace(source.seconds, tally.settled):,.0f}/s"]
    if stage.count:
        words.append(f"p50 {_ms(stage.percentile(50))} ms, p99 {_ms(stage.percentile(99))} ms")
    words += [
        f"{number:,} {word}"
        for number, word in ((tally.partly, "partly"), (tally.refused, "refused"), (tally.failed, "failed"))
        if number
    ]
    if tally.failed and tally.errors:
        words[-1] += f" ({_plain(tally.errors.most_common(1)[0][0])})"
    if source.overdue:
        words.append(f"{source.overdue:,} overdue")
    return ", ".join(words)


def _ms(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def source_lines(figures: Figures, cpu_seconds: float, rate: float | None) -> Iterator[str]:
    """The report of a source, for people."""
    tally = figures.tally
    per_second = f"{figures.rate:,.1f} a second, {_megabytes(tally.octets, figures.seconds)} MB/s"
    yield f"{counted(tally.accepted, 'message')} taken in {figures.seconds:.2f} s: {per_second}"
    yield (
        f"  delivered {tally.delivered:,}, partly {tally.partly:,}, refused {tally.refused:,}, failed {tally.failed:,}"
        + (f", cut off {figures.cut_off:,}" if figures.cut_off else "")
        + f"; recipients {tally.recipients:,}, refused {tally.recipients_refused:,}; connections {tally.connections:,}"
    )
    if figures.ended != "done":
        yield f"  {figures.ended}"
    for version, count in tally.tls.most_common():
        yield f"  {count:,} connections with {version}"
    table = list(_latencies(figures))
    if table:
        yield ""
        yield from table
    if table and rate is not None:
        yield "message is the service time; response counts from when a message was due, and so has the waiting in it;"
        yield "late is how much of that this program waited by itself (its timer counts milliseconds)"
    yield ""
    yield from _replies(figures.as_json())
    # where nothing was taken, nothing was measured
    if tally.accepted and figures.seconds > 0 and cpu_seconds / figures.seconds > _BUSY:
        yield (
            f"this program took {cpu_seconds / figures.seconds:.0%} of a processor: it may be what was measured. "
            "Run several of them at once for more load"
        )


def _megabytes(octets: int, seconds: float) -> str:
    return f"{octets / seconds / 1e6:,.1f}" if seconds > 0 else "0.0"


def _latencies(figures: Figures) -> Iterator[str]:
    stages = figures.tally.stages
    rows = [["ms", "count", *_COLUMNS]]
    for name in STAGES:
        if name in stages and stages[name].count:
            summary = stages[name].summary()
            rows.append([name, f"{summary['count']:,}", *(_ms(summary[column]) for column in _COLUMNS)])
    if len(rows) == 1:
        return
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        yield "  ".join(cells)
    yield f"(percentiles are at most {RELATIVE_ERROR:.1%} too large, never too small)"


def _replies(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts["replies"]:
        yield "replies:"
    for reply in facts["replies"]:
        first = f"  {reply['first']}" if "first" in reply else ""
        yield f"  {reply['command']:<9} {reply['code']}  {reply['count']:>10,}{_plain(first)}"
    if facts["errors"]:
        yield "errors:"
        for kind, count in facts["errors"].items():
            yield f"  {_plain(kind)}  {count:,}"


def _plain(text: str) -> str:
    """What a terminal would act on does not reach it."""
    return "".join(c if c.isprintable() else "?" for c in text)


def sink_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The report of a sink, for people."""
    messages, sessions = facts["messages"], facts["sessions"]
    yield (
        f"{counted(messages['accepted'], 'message')} taken in {facts['seconds']:.2f} s: "
        f"{facts['messages_per_second']:,.1f} a second, {_megabytes(facts['octets'], facts['seconds'])} MB/s"
    )
    yield (
        f"  refused {messages['refused']:,}, broken off {messages['broken_off']:,}; recipients {facts['recipients']:,}; "
        f"sessions {sessions['all']:,}, at most {sessions['most_open']:,} at once; "
        f"with TLS {facts['tls']:,}, logged in {facts['authenticated']:,}"
    )
    for command, count in facts["refusals"].items():
        yield f"  {command} refused {count:,} times"
    for run in facts["runs"]:
        missing = ", ".join(map(str, run["first_missing"]))
        more = f" ({missing}{', …' if run['missing'] > len(run['first_missing']) else ''})" if missing else ""
        total = f" of {run['total']:,}" if run["total"] else ""
        yield f"  run {run['run']}: {run['received']:,}{total} came, {run['missing']:,} missing{more}, {run['doubled']:,} doubled"
    if facts["unnumbered"]:
        yield f"  {counted(facts['unnumbered'], 'message')} without a number"
    if facts["untracked"]:
        yield f"  {facts['untracked']:,} with numbers beyond what is remembered"
