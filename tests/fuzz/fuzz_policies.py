"""Fuzz the records of SPF and DMARC, and the evaluation of both.

The input is lines: the first is the sender, the second what the client calls itself, the others are records ``name text``.
Each verdict is a value, after few questions; the header field stays in its form.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine
from ipaddress import ip_address
from typing import Any

from twisted.internet.task import Clock

from moxtwisted.dns.names import BadNameError, normalise
from moxtwisted.dns.records import MX
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dmarc.discovery import Discovery
from moxtwisted.mailauth.dmarc.evaluation import Authenticated, Evaluator
from moxtwisted.mailauth.spf import evaluation as spf
from moxtwisted.mailauth.spf.trace import received_spf
from tests.fuzz.run import alone
from tests.fuzz.watching import within

_FIELD = re.compile(rb"Received-SPF: [a-z]+(?:[ -~]|\r\n )*\r\n\Z")
#: Ten terms, each with ten hosts or names, and the records themselves.
_MAX_QUESTIONS = 140


def ended(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as e:
        return e.value
    raise RuntimeError("the coroutine waits")


def zone(lines: list[bytes]) -> ZoneResolver:
    """A record for each line; the client and some hosts have addresses and names."""
    resolver = ZoneResolver({("h.example", "A"): ["192.0.2.1"], ("a.example", "MX"): [MX(1, "h.example")]})
    resolver.set("1.2.0.192.in-addr.arpa", "PTR", ["h.example"])
    texts: dict[str, list[bytes]] = {}
    for line in lines[:20]:
        name, _, text = line.partition(b" ")
        try:
            texts.setdefault(normalise(name.decode("utf-8", "replace")), []).append(text)
        except BadNameError:
            continue
    for where, found in texts.items():
        resolver.set(where, "TXT", found)
    return resolver


def evaluate(data: bytes) -> None:
    """Both evaluations of one input."""
    first, second, *rest = [*data.split(b"\n"), b"", b""]
    sender, helo = first.decode("utf-8", "replace"), second.decode("utf-8", "replace")
    resolver = zone(rest)
    result = ended(spf.Evaluator(resolver, Clock()).check_mail_from(ip_address("192.0.2.1"), sender, helo))
    if resolver.lookups > _MAX_QUESTIONS:
        raise RuntimeError(f"{resolver.lookups} questions")
    if not _FIELD.match(received_spf(result, "mx.example")):
        raise RuntimeError("a header field out of its form")
    domain = sender.rpartition("@")[2]
    for tree_walk in (False, True):
        evaluator = Evaluator(resolver, bytes, Discovery(resolver, tree_walk=tree_walk))
        ended(evaluator.evaluate(domain, Authenticated(helo, (domain,))))


def one(data: bytes) -> None:
    """Try one input."""
    # A record that includes itself is evaluated ten times.
    within(30_000 + 1000 * len(data), data, lambda: evaluate(data))


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
