"""SPF policies and clients, made up from a number: the same number makes the same case, on every machine.

::

    case = policy(4711)
    case.zone[("a.example", "TXT")]     # [b"v=spf1 mx include:c.example ~all"]
    case.client, case.sender            # "192.0.2.77", "joe.user@a.example"
"""

from __future__ import annotations

from ipaddress import ip_address
from random import Random
from typing import Final, NamedTuple

from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.records import MX
from tests.mailauth.spf.beside import HELO, SENDER, Zone

__all__ = ["PolicyCase", "policy"]

DOMAINS: Final = ("a.example", "b.example", "c.example", "d.example", "e.example")
HOSTS: Final = (HELO, "h2.b.example", "h3.nowhere.example", "alias.example")
ADDRESSES: Final = ("192.0.2.1", "192.0.2.77", "198.51.100.9", "203.0.113.200")
ADDRESSES6: Final = ("2001:db8::1", "2001:db8:1::77")
CLIENTS: Final = (*ADDRESSES[:3], *ADDRESSES6)
SENDERS: Final = (SENDER,) * 5 + ("strong-bad+x@a.example", "a.example", "")

_NAMES: Final = (
    *HOSTS, "%{d}", "%{l}.%{o}", "%{ir}.%{v}.a.example", "h1.%{d2}", "x.%{dr}.example", "%{h}", "%{s}", "%{l1r-}.%{d}",
    "%{i}.%{o1}.example", "no.such.example",
)  # fmt: skip
_LENGTHS: Final = ("", "", "", "/24", "/0", "/31", "/32", "//64", "/24//48", "//0")
_QUALIFIERS: Final = ("", "", "", "-", "~", "?", "+")
_NETWORKS: Final = (
    "ip4:192.0.2.0/24", "ip4:198.51.100.9", "ip4:0.0.0.0/0", "ip6:2001:db8::/48", "ip6:2001:db8::1", "IP4:192.0.2.77/31",
    "ip6:::/0", "ip4:203.0.113.0/25",
)  # fmt: skip
_WRONG: Final = (
    "ip4:1.2.3", "moo", "a:nodot", "mx/33", "include:", "all:x", "exists", "a:%{z}.example", "ip6:::1/129", "ptr/3",
    "ip4:192.0.2.1/", "a:/24", "include", "exists:", "redirect", "ip4", "a//129", "mx:%", "a:b..example", "ip4:2001:db8::1",
    "%{d}", "=x", "a=b", "exp=", "redirect=",
)  # fmt: skip
_MODIFIERS: Final = ("", "", "", "", " exp=explain.a.example", " other=%{d}", " x=1")


class PolicyCase(NamedTuple):
    """What is asked.

    :ivar sender: of the envelope; empty: the name in HELO is checked.
    :ivar void_lookups: the limit of empty answers.
    """

    zone: Zone
    client: str
    sender: str
    void_lookups: int


class _Maker:
    def __init__(self, number: int) -> None:
        self.random = Random(number)
        # With the limit of empty answers only terms that pyspf counts as the standard does.
        self.void = number % 4 == 0
        kinds = ("a", "exists", "include") if self.void else ("a", "mx", "ptr", "exists", "include")
        self.kinds = kinds
        self.errors = not self.void

    def term(self, below: tuple[str, ...]) -> str:
        random = self.random
        dice = random.random()
        if self.errors and dice < 0.015:
            return random.choice(_WRONG)
        qualifier = random.choice(_QUALIFIERS)
        if dice < 0.35:
            return qualifier + random.choice(_NETWORKS)
        kind = random.choice(self.kinds)
        if kind == "include":
            return f"{qualifier}include:{random.choice((*below * 12, random.choice(DOMAINS), HOSTS[1]))}"
        if kind == "exists":
            return f"{qualifier}exists:{random.choice((*below, *_NAMES))}"
        name = random.choice(("", "", *(":" + name for name in (*below, *_NAMES))))
        length = random.choice(_LENGTHS) if kind in ("a", "mx") and not self.void else ""
        return f"{qualifier}{kind}{name}{length}"

    def record(self, below: tuple[str, ...]) -> bytes:
        random = self.random
        terms = [self.term(below) for _ in range(random.choice((0, 1, 1, 2, 2, 3, 3, 4, 5)))]
        last = random.choice((" -all", " ~all", " ?all", " all", "", "", "redirect"))
        if last == "redirect":
            last = f" redirect={random.choice((*below * 6, random.choice(DOMAINS)))}"
        version = "v=spf1"
        if self.errors and random.random() < 0.01:
            version = random.choice(("V=SPF1", "v=spf10", "v=spf2.0/pra", "v=spf1x", " v=spf1"))
        return f"{version} {' '.join(terms)}{last}{random.choice(_MODIFIERS)}".encode()

    def zone(self) -> Zone:
        random = self.random
        found: Zone = {}
        for n, domain in enumerate((*DOMAINS, HELO)):
            below = DOMAINS[n + 1 :] or (HELO,)
            number = random.choice((1,) * 30 + (0, 2))
            found[domain, "TXT"] = [self.record(below) for _ in range(number)]
            if random.random() < 0.2:
                found[domain, "TXT"] = [b"something else", *found[domain, "TXT"]]  # type: ignore[misc]
            hosts = random.sample(HOSTS, random.randrange(3))
            found[domain, "MX"] = [MX(preference, host) for preference, host in enumerate(hosts)]
        for name in (*DOMAINS, *HOSTS):
            found[name, "A"] = random.sample(ADDRESSES, random.randrange(4))
            found[name, "AAAA"] = random.sample(ADDRESSES6, random.randrange(3))
        for client in CLIENTS:
            found[ip_address(client).reverse_pointer, "PTR"] = random.sample(
                (*HOSTS, *DOMAINS), random.randrange(3)
            )
        if random.random() < 0.4:
            del found["alias.example", "A"], found["alias.example", "AAAA"]
            found["alias.example", "CNAME"] = [random.choice((*DOMAINS, HELO, "nowhere.example"))]
        found["explain.a.example", "TXT"] = [b"%{i} is not one of %{d}"]
        if self.errors:
            for key in random.sample(
                sorted(key for key in found if key[1] != "CNAME"), random.choice((0, 0, 1, 2))
            ):
                found[key] = NoAnswerError(*key, "time-out")
        return {key: value for key, value in found.items() if value}


def policy(number: int) -> PolicyCase:
    """A case."""
    maker = _Maker(number)
    client, sender = maker.random.choice(CLIENTS), maker.random.choice(SENDERS)
    return PolicyCase(maker.zone(), client, sender, 2 if maker.void else 1000)
