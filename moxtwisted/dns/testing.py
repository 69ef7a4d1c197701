"""A resolver over a dictionary, for tests of whatever asks one.

::

    resolver = ZoneResolver({
        ("example.org", "MX"): [MX(10, "mail.example.org")],
        ("mail.example.org", "A"): ["192.0.2.1"],
        ("www.example.org", "CNAME"): ["mail.example.org"],
        ("broken.example.org", "TXT"): NoAnswerError("broken.example.org", "TXT", "SERVFAIL"),
    })
    answer = self.successResultOf(Deferred.fromCoroutine(resolver.lookup("example.org", "MX")))
    resolver.asked        # [("example.org", "MX")]

A name with records, or with names below it, exists (RFC 8020); any other does not. Nothing waits: the coroutine ends at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zope.interface import implementer

from moxtwisted.dns.answers import Answer, IResolver, NoAnswerError, Security
from moxtwisted.dns.names import BadNameError, ancestors, normalise
from moxtwisted.dns.records import type_code, type_name

__all__ = ["ZoneResolver"]

#: Links of CNAME that are followed, as the real resolver has it.
_MAX_LINKS = 8


@implementer(IResolver)
class ZoneResolver:
    """An ``IResolver`` that knows what the test says.

    :param records: by name and type: the records as in ``Answer.records``, or the exception to raise; a type of ``"*"`` is for
        every type asked for at the name.
    :param security: the state of all answers.
    :param ttl_seconds: the TTL of all answers.
    :param insecure: names whose answers are INSECURE whatever ``security`` says.
    :ivar asked: every question so far, normalised, in order; CNAMEs on the way are not counted.
    """

    def __init__(
        self,
        records: Mapping[tuple[str, str], Iterable[Any] | Exception] | None = None,
        *,
        security: Security = Security.INSECURE,
        ttl_seconds: int = 300,
        insecure: Iterable[str] = (),
    ) -> None:
        self.security, self.ttl_seconds = security, ttl_seconds
        self.insecure = {normalise(name) for name in insecure}
        self.asked: list[tuple[str, str]] = []
        self._records: dict[tuple[str, str], tuple[Any, ...] | Exception] = {}
        self._names: dict[str, int] = {}
        for (name, rrtype), found in (records or {}).items():
            self.set(name, rrtype, found)

    @property
    def lookups(self) -> int:
        """How many questions were asked."""
        return len(self.asked)

    def set(self, name: str, rrtype: str, records: Iterable[Any] | Exception) -> None:
        """Put records (or an exception) at a name, in place of what was there."""
        key = (normalise(name), rrtype.upper())
        if key not in self._records:
            for above in ancestors(key[0]):
                self._names[above] = self._names.get(above, 0) + 1
        self._records[key] = records if isinstance(records, Exception) else tuple(records)

    def remove(self, name: str, rrtype: str) -> None:
        """Take the records of a type from a name."""
        key = (normalise(name), rrtype.upper())
        if self._records.pop(key, None) is not None:
            for above in ancestors(key[0]):
                self._names[above] -= 1

    async def lookup(self, name: str, rrtype: str) -> Answer:
        """See ``IResolver``."""
        rrtype = type_name(type_code(rrtype))
        try:
            at = asked = normalise(name)
        except BadNameError:
            return Answer(
                name, rrtype, (), name, exists=False, security=Security.INDETERMINATE, ttl_seconds=0
            )
        self.asked.append((asked, rrtype))
        security = self.security
        for _ in range(_MAX_LINKS + 1):
            if at in self.insecure:
                security = Security.INSECURE
            found = self._records.get((at, rrtype), self._records.get((at, "*"), ()))
            if isinstance(found, Exception):
                raise found
            link = self._records.get((at, "CNAME"), ()) if rrtype != "CNAME" and not found else ()
            if isinstance(link, Exception):
                raise link
            if not link:
                exists = self._names.get(at, 0) > 0
                return Answer(asked, rrtype, found, at, exists, security, self.ttl_seconds)
            at = normalise(str(link[0]))
        raise NoAnswerError(asked, rrtype, "too many CNAME records in a row")
