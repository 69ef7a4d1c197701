"""Our SPF verdict beside pyspf's, from the same answers, and the sections of RFC 7208 by which they differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.spf.evaluation import Evaluator, Limits, SPFResult, Verdict

__all__ = ["BesideCase", "Zone", "explained", "irrelevant"]

Zone = dict[tuple[str, str], list[Any] | Exception]


SENDER = "joe.user@a.example"
HELO = "h1.a.example"


class BesideCase(SynchronousTestCase):
    """Compares the two."""

    def setUp(self) -> None:
        try:
            import spf
        except ImportError as e:
            raise SkipTest("needs pyspf (in the extra [dev])") from e
        self.spf = spf

    @contextmanager
    def answering(self, zone: Zone, void_lookups: int) -> Iterator[None]:
        """Give pyspf the zone, and a limit."""

        def lookup(name: str, rrtype: str, tcp: object = None, timeout: object = None) -> list[Any]:
            found = zone.get((name.lower(), rrtype), [])
            if isinstance(found, Exception):
                self.failed.append((name.lower(), rrtype))
                raise self.spf.TempError("time-out")
            alias = zone.get((name.lower(), "CNAME"), [])
            if alias and not isinstance(alias, Exception):
                return [((name, "CNAME"), alias[0]), *lookup(alias[0], rrtype)]
            as_theirs = {"TXT": lambda text: (text,), "MX": lambda mx: (mx.preference, mx.exchange)}
            return [((name, rrtype), as_theirs.get(rrtype, lambda value: value)(value)) for value in found]

        with (
            patch.object(self.spf, "DNSLookup", lookup),
            patch.object(self.spf, "MAX_VOID_LOOKUPS", void_lookups),
        ):
            yield

    def both(self, zone: Zone, client: str, void_lookups: int, sender: str) -> tuple[SPFResult, str, str]:
        """Our result, their verdict and their reason."""
        self.resolver = ZoneResolver(zone)
        self.failed: list[tuple[str, str]] = []
        evaluator = Evaluator(self.resolver, Clock(), limits=Limits(void_lookups=void_lookups))
        check = (
            evaluator.check_mail_from(ip_address(client), sender, HELO)
            if sender
            else evaluator.check_helo(ip_address(client), HELO)
        )
        ours = self.successResultOf(Deferred.fromCoroutine(check))
        with self.answering(zone, void_lookups):
            query = self.spf.query(i=client, s=sender, h=HELO)
            theirs, _, reason = query.check()
        return ours, theirs, reason

    def difference(self, zone: Zone, client: str, void_lookups: int, sender: str = SENDER) -> str:
        """The section by which the verdicts differ; empty when they are the same. Any other difference fails.

        :param sender: empty for what the client calls itself.
        """
        ours, theirs, reason = self.both(zone, client, void_lookups, sender)
        if ours.verdict.value == theirs:
            return ""
        if theirs == "temperror" and self.failed:
            # They gave up at a question that ours may do without; then an empty answer must make them agree.
            key = self.failed[-1]
            section = irrelevant(zone, key, self.resolver.asked)
            without = {other: value for other, value in zone.items() if other != key}
            if section:
                self.difference(without, client, void_lookups, sender)
        else:
            section = explained(zone, ours, reason, sender)
        if not section:
            self.fail(f"{ours}\n{theirs}: {reason}\n{client} {sender} {zone}")
        return section


def irrelevant(zone: Zone, key: tuple[str, str], asked: list[tuple[str, str]]) -> str:
    """The section of the RFC after which an error at a question does not matter; empty when it does."""
    name, rrtype = key
    if key not in asked:
        # They ask for the hosts of an mx, and for names in macros, before they know whether they need them.
        return "RFC 7208 sections 4.6.2 and 5.4: terms, and the hosts of one, are looked at in order until one matches"
    names = {
        found
        for (_, kind), value in zone.items()
        if kind == "PTR" and isinstance(value, list)
        for found in value
    }
    if rrtype == "PTR" or (rrtype in {"A", "AAAA"} and name in names):
        return "RFC 7208 section 5.5: an error on the way to the client's names makes ptr not match"
    return ""


def explained(zone: Zone, ours: SPFResult, reason: str, sender: str) -> str:
    """The section of the RFC after which ours differs from theirs; empty when none is known."""
    texts = b" ".join(
        text
        for (_, kind), value in zone.items()
        if kind == "TXT" and isinstance(value, list)
        for text in value
    )
    if "Too many DNS lookups" in reason and b"redirect=" in texts and ours.verdict is not Verdict.PERMERROR:
        # They count a redirection before they know whether a mechanism matches.
        return "RFC 7208 section 6.1: a redirection is looked at when no mechanism matches"
    if "trivial recursion" in reason:
        # They refuse the record; we evaluate it, and run into the limit only when the term is reached.
        return "RFC 7208 section 4.6.2: terms are evaluated in order, and an include of the domain itself is no error of syntax"
    aliases = any(kind == "CNAME" for _, kind in zone)
    if "Void lookup limit" in reason and aliases and ours.verdict is not Verdict.PERMERROR:
        # They count the alias and what it stands for.
        return "RFC 7208 section 4.6.4: what counts is a query, and one that meets an alias is one"
    if "@" not in sender and b"%{s}" in texts:
        # They let %{s} be the bare domain.
        return "RFC 7208 section 4.3: postmaster stands for a local part that is missing"
    return ""
