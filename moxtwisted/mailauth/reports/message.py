"""A report out of a message.

::

    steps = reading(staged.scanned.root, staged.read, now)
    for _ in steps: ...                                # a millisecond or so each; the report is what the generator returns

    report_of(octets)                                  # the same of a whole message, in one go
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from enum import Enum
from typing import Any, Final

import attrs
import msgspec

from moxtwisted.mailauth.reports.aggregate import AggregateReading, AggregateReport
from moxtwisted.mailauth.reports.attachments import Read, candidates, unpacked
from moxtwisted.mailauth.reports.errors import ReportError
from moxtwisted.mailauth.reports.tls import MAX_TLS_OCTETS, TLSReport, reading_tls
from moxtwisted.message.mime import Part, Scanner

__all__ = ["BOTH", "Kind", "Report", "ReportError", "as_json", "encoded", "kind_of", "reading", "report_of"]

Report = AggregateReport | TLSReport


class Kind(Enum):
    """What a report is about."""

    DMARC = "dmarc"
    TLS = "tls"


BOTH: Final = frozenset(Kind)
#: Members that are made piece by piece, and how many at once.
_LISTS: Final = ("rows", "policies")
_BATCH: Final = 500
#: Addresses of clients are no type that it knows.
_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)
_BOMS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def kind_of(report: Report) -> Kind:
    """What it is about."""
    return Kind.DMARC if isinstance(report, AggregateReport) else Kind.TLS


def reading(root: Part, read: Read, kinds: frozenset[Kind] = BOTH) -> Generator[None, None, Report]:
    """Find the report and read it, in short steps.

    :param root: of the message.
    :param read: gives octets of the message.
    :param kinds: that are wanted.
    :returns: the first report that can be read.
    :raises ReportError: when there is none; why the likeliest part is none.
    """
    problem = ReportError("no part of the message could be a report")
    for number, part in enumerate(candidates(root)):
        try:
            return (yield from _reading(part, read, kinds))
        except ReportError as e:
            if not number:
                problem = e
        yield
    raise problem


def _reading(part: Part, read: Read, kinds: frozenset[Kind]) -> Generator[None, None, Report]:
    pieces = unpacked(part, read)
    first = b""
    for piece in pieces:
        first += piece
        if first.strip():
            break
        if len(first) > MAX_TLS_OCTETS:
            raise ReportError("white space without end")
        yield
    kind = _sniffed(first)
    if kind is None or kind not in kinds:
        raise ReportError("neither XML nor JSON" if kind is None else f"not a report about {_names(kinds)}")
    if kind is Kind.TLS:
        octets = bytearray(first)
        for piece in pieces:
            octets += piece
            if len(octets) > MAX_TLS_OCTETS:
                raise ReportError(f"JSON of more than {MAX_TLS_OCTETS} octets")
            yield
        return (yield from reading_tls(bytes(octets)))
    aggregate = AggregateReading()
    # XML begins at once, whatever stood before it.
    aggregate.feed(first.lstrip())
    for piece in pieces:
        yield
        if piece:
            aggregate.feed(piece)
    return aggregate.finish()


def _sniffed(octets: bytes) -> Kind | None:
    """What the first octets show."""
    if octets.startswith(_BOMS[1:]):
        return Kind.DMARC
    begin = octets.removeprefix(_BOMS[0]).lstrip()[:1]
    return {b"<": Kind.DMARC, b"{": Kind.TLS}.get(begin)


def _names(kinds: frozenset[Kind]) -> str:
    return " or ".join(sorted(kind.name for kind in kinds))


def report_of(octets: bytes, kinds: frozenset[Kind] = BOTH) -> Report:
    """The report in a message.

    :raises ReportError: when there is none.
    """
    scanner = Scanner()
    scanner.feed(octets)
    steps = reading(scanner.finish().root, lambda offset, length: octets[offset : offset + length], kinds)
    while True:
        try:
            next(steps)
        except StopIteration as e:
            report: Report = e.value
            return report


def as_json(report: Report) -> dict[str, Any]:
    """What JSON can carry; its members are the fields of the classes, and ``kind``."""
    found: dict[str, Any] = msgspec.to_builtins(report, enc_hook=str)
    return {"kind": kind_of(report).value, **found}


def encoded(report: Report) -> Iterator[bytes]:
    """The same as the octets of JSON, in pieces that are short in the making, too."""
    rest: dict[str, Any] = {"kind": kind_of(report).value}
    for attribute in attrs.fields(type(report)):
        if attribute.name not in _LISTS:
            rest[attribute.name] = getattr(report, attribute.name)
    listed, items = (
        ("rows", report.rows) if isinstance(report, AggregateReport) else ("policies", report.policies)
    )
    yield _ENCODER.encode(rest).removesuffix(b"}") + b',"%s":[' % listed.encode("ascii")
    for begin in range(0, len(items), _BATCH):
        piece = _ENCODER.encode(items[begin : begin + _BATCH])
        yield (b"," if begin else b"") + piece[1:-1]
    yield b"]}"
