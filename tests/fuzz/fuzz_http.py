"""Fuzz the HTTP site of BadSMTP: requests of any octets, and messages of any shape behind it.

Whatever is sent, nothing is raised or logged as a failure, and no answer is one of ours (500). Whatever a message is, it is told in JSON
that says the same when it is read again, and its HTML comes out without anything that acts or loads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from moxtwisted.http.badsmtp.cleaning import clean
from moxtwisted.http.badsmtp.reading import Reader
from moxtwisted.http.badsmtp.shapes import Detail
from tests.fuzz.run import alone
from tests.fuzz.watching import nothing_failed
from tests.http.badsmtp.harmless import complaints
from tests.http.badsmtp.material import MIXED, Fixture, message


class _Case:
    """Stands in for a test, as far as a fixture needs one."""

    def __init__(self) -> None:
        self.ending: list[Callable[[], Any]] = []

    def addCleanup(self, function: Callable[[], Any]) -> None:
        self.ending.append(function)


def request(octets: bytes) -> None:
    """A request, or several, or none."""
    case: Any = _Case()
    fixture = Fixture(case)
    fixture.keep()
    fixture.keep(MIXED)
    with nothing_failed():
        exchange = fixture.client.send(octets)
        fixture.clock.pump([1] * 3)
        for end in case.ending:
            end()
        fixture.site.stopFactory()
    if b"HTTP/1.1 500 " in exchange.octets:
        raise AssertionError(exchange.octets)


def letter(octets: bytes) -> None:
    """A message."""
    reader, captured = Reader(), message(octets, number=1)
    detail = reader.detail(captured)
    if msgspec.json.decode(msgspec.json.encode(detail), type=Detail) != detail:
        raise AssertionError(detail)
    for part in detail.parts[:20]:
        if reader.part(captured, part.path) is None:
            raise AssertionError(part)
    found = reader.html(captured)
    if found is not None:
        wrong = complaints(clean(*found).document)
        if wrong:
            raise AssertionError(wrong)


def one(data: bytes) -> None:
    """Try one input: an octet for what it is, and the rest."""
    if not data:
        return
    kind, octets = data[0] % 4, data[1:]
    if kind == 0:
        request(octets)
    elif kind == 1:
        request(b"GET /api/" + octets.split(b"\n")[0] + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    elif kind == 2:
        letter(octets)
    else:
        letter(b"Content-Type: text/html; charset=utf-8\r\n\r\n" + octets)


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
