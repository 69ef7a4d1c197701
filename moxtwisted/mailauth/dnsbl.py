"""Lists of addresses and names in the DNS, of those to block and of those to let in (RFC 5782).

::

    lists = Lists(resolver, clock, ("bl.example.org", "zen.example.net"))
    found = await lists.check(ip_address("192.0.2.1"))
    found.listed                     # Listing(zone="bl.example.org", codes=("127.0.0.2",), text="seen sending spam")
    await lists.health("bl.example.org")     # Health(zone="bl.example.org", usable=True, problem="")

A list that lists what no list lists (127.0.0.1), or does not list what every list must (127.0.0.2), is not asked: lists that are given up
have been known to list the whole world. Lists are asked one after the other, up to the first that lists the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from attrs import define, field, frozen

from moxtwisted.dns.answers import IResolver, NoAnswerError

__all__ = [
    "Health",
    "IClock",
    "Listing",
    "Lists",
    "Outcome",
    "check_health",
    "check_name",
    "check_zone",
    "query_name",
]

IPAddress = IPv4Address | IPv6Address

#: How long a list that was found to be well, or not, is believed to be so.
HEALTH_SECONDS = 4 * 3600.0
# The DNS did not answer: that says little about the next hour.
_NO_ANSWER_SECONDS = 300.0
_MAX_CODES = 20
_MAX_TEXT_CHARACTERS = 500
_MAX_ZONES = 256

# RFC 5782 section 5: entries that each list has, and those that none may have.
_LISTED4, _UNLISTED4 = ip_address("127.0.0.2"), ip_address("127.0.0.1")
_LISTED6, _UNLISTED6 = ip_address("::ffff:7f00:2"), ip_address("::ffff:7f00:1")


class IClock(Protocol):
    """What tells the time."""

    def seconds(self) -> float:
        """Seconds since some moment."""


@frozen
class Listing:
    """What a list says of a client.

    :ivar zone: the list.
    :ivar codes: its answers, addresses in 127.0.0.0/8; what they mean is up to the list.
    :ivar text: its reason, for the client's owner; written by strangers, one line, may be empty.
    """

    zone: str
    codes: tuple[str, ...]
    text: str = ""


@frozen
class Health:
    """Whether a list can be used.

    :ivar zone: the list.
    :ivar usable: for addresses of IPv4 or of IPv6.
    :ivar problem: what is wrong, or empty.
    :ivar temporary: the DNS did not answer.
    :ivar ipv6: whether it has the test entries of IPv6 (RFC 5782 section 5).
    """

    zone: str
    usable: bool
    problem: str = ""
    temporary: bool = False
    ipv6: bool = False


@frozen
class Outcome:
    """What the lists say together.

    :ivar listed: the first that lists the client, or None.
    :ivar asked: the lists that were asked.
    :ivar skipped: those that were not, or did not answer, and why.
    """

    listed: Listing | None
    asked: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()


def query_name(zone: str, ip: IPAddress) -> str:
    """RFC 5782 sections 2.1 and 2.4: the name to ask a list for."""
    return f"{ip.reverse_pointer.rsplit('.', 2)[0]}.{zone}"


def _unmapped(ip: IPAddress) -> IPAddress:
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip


async def check_zone(resolver: IResolver, zone: str, ip: IPAddress) -> Listing | None:
    """Whether a list has an address.

    :raise NoAnswerError: when the list does not answer, or with something that is no entry.
    """
    return await _entry(resolver, zone, query_name(zone, _unmapped(ip)))


async def check_name(resolver: IResolver, zone: str, domain: str) -> Listing | None:
    """RFC 5782 section 3: whether a list of names has a domain.

    :raise NoAnswerError: when the list does not answer, or with something that is no entry.
    """
    return await _entry(resolver, zone, f"{domain}.{zone}")


async def _entry(resolver: IResolver, zone: str, name: str) -> Listing | None:
    answer = await resolver.lookup(name, "A")
    if not answer.records:
        return None
    codes = tuple(sorted(answer.records))[:_MAX_CODES]
    # RFC 5782 section 2.3: entries are in 127.0.0.0/8. Others come from resolvers that answer everything, and from parked domains;
    # 127.255.255.0/24 is how several lists say that they do not answer this resolver.
    refusals = [code for code in codes if not code.startswith("127.") or code.startswith("127.255.255.")]
    if refusals:
        raise NoAnswerError(name, "A", f"{refusals[0]} is not an entry of a list")
    try:
        texts = (await resolver.lookup(name, "TXT")).records
    except NoAnswerError:
        # RFC 5782 section 2.1: the text is optional.
        texts = ()
    text = b" ".join(sorted(texts)[:4]).decode("ascii", "replace")[:_MAX_TEXT_CHARACTERS]
    return Listing(zone, codes, "".join(c if c.isprintable() else "?" for c in text))


async def check_health(resolver: IResolver, zone: str) -> Health:
    """RFC 5782 section 5: whether a list has its test entries, and not the ones that it must not have."""
    try:
        if await check_zone(resolver, zone, _UNLISTED4) is not None:
            return Health(zone, usable=False, problem="lists 127.0.0.1, which no list may have")
        four = await check_zone(resolver, zone, _LISTED4) is not None
    except NoAnswerError as e:
        return Health(zone, usable=False, problem=e.detail, temporary=True)
    try:
        # The test entries of IPv6 are addresses of IPv4 mapped to IPv6, asked for as IPv6.
        six = await _entry(resolver, zone, query_name(zone, _LISTED6)) is not None
        if six and await _entry(resolver, zone, query_name(zone, _UNLISTED6)) is not None:
            return Health(zone, usable=False, problem="lists ::ffff:127.0.0.1, which no list may have")
    except NoAnswerError as e:
        if not four:
            return Health(zone, usable=False, problem=e.detail, temporary=True)
        six = False
    if not (four or six):
        return Health(zone, usable=False, problem="does not list 127.0.0.2, which every list has")
    return Health(zone, usable=True, ipv6=six)


@define
class Lists:
    """Several lists, asked in order.

    :ivar resolver: who is asked; its time-outs are those of each question.
    :ivar clock: for how long ago the lists were looked at.
    :ivar zones: the lists, A-labels.
    :ivar seconds: how long a check may take; lists left over then are skipped.
    """

    resolver: IResolver
    clock: IClock
    zones: Sequence[str]
    seconds: float = 60.0
    _health: dict[str, tuple[float, Health]] = field(factory=dict, init=False)

    async def health(self, zone: str) -> Health:
        """Whether a list is well; looked at once in four hours."""
        now = self.clock.seconds()
        known = self._health.get(zone)
        if known is not None and now < known[0]:
            return known[1]
        found = await check_health(self.resolver, zone)
        if len(self._health) >= _MAX_ZONES:
            self._health.clear()
        self._health[zone] = (now + (_NO_ANSWER_SECONDS if found.temporary else HEALTH_SECONDS), found)
        return found

    async def check(self, ip: IPAddress) -> Outcome:
        """Ask the lists for a client, up to the first that has it."""
        ip = _unmapped(ip)
        asked: list[str] = []
        skipped: list[tuple[str, str]] = []
        deadline = self.clock.seconds() + self.seconds
        late = f"{self.seconds:g} seconds were over"
        for zone in self.zones:
            if self.clock.seconds() > deadline:
                skipped.append((zone, late))
                continue
            health = await self.health(zone)
            if not health.usable or self.clock.seconds() > deadline:
                skipped.append((zone, health.problem or late))
                continue
            try:
                asked.append(zone)
                listing = await check_zone(self.resolver, zone, ip)
            except NoAnswerError as e:
                skipped.append((zone, e.detail))
                continue
            if listing is not None:
                return Outcome(listing, tuple(asked), tuple(skipped))
        return Outcome(None, tuple(asked), tuple(skipped))
