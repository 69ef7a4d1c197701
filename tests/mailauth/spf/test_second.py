"""Our verdicts beside those of pyspf, from the same answers, over records that Hypothesis makes up.

Where the two differ, ``explained`` names the section of the RFC that says why ours is right; any other difference is a failure.
Empty answers are counted by pyspf in more places than RFC 7208 section 4.6.4 has them, so one test lifts that limit for both, and
another keeps it and leaves out the terms where they count differently.
"""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.records import MX
from tests.mailauth.spf.beside import BesideCase, Zone

DOMAINS = ("a.example", "b.example", "c.example", "d.example")
HOSTS = ("h1.a.example", "h2.b.example", "h3.nowhere.example")
ADDRESSES = ("192.0.2.1", "192.0.2.77", "198.51.100.9", "203.0.113.200")
ADDRESSES6 = ("2001:db8::1", "2001:db8:1::77")
CLIENTS = (*ADDRESSES[:3], *ADDRESSES6)

_NAMES = (*HOSTS, "%{d}", "%{l}.%{o}", "%{ir}.%{v}.a.example", "h1.%{d2}", "x.%{dr}.example", "%{h}")
_LENGTHS = st.sampled_from(("", "", "/24", "/0", "/31", "//64", "/24//48"))
_QUALIFIERS = st.sampled_from(("", "", "-", "~", "?", "+"))
_NETWORKS = st.sampled_from(
    ("ip4:192.0.2.0/24", "ip4:198.51.100.9", "ip4:0.0.0.0/0", "ip6:2001:db8::/48", "ip6:2001:db8::1", "IP4:192.0.2.77/31")
)  # fmt: skip
_WRONG = st.sampled_from(
    (
        "ip4:1.2.3",
        "moo",
        "a:nodot",
        "mx/33",
        "include:",
        "all:x",
        "exists",
        "a:%{z}.example",
        "ip6:::1/129",
        "ptr/3",
    )
)


def _dns_terms(kinds: tuple[str, ...], below: tuple[str, ...]) -> st.SearchStrategy[str]:
    plain = st.sampled_from([kind for kind in kinds if kind in {"a", "mx", "ptr"}])
    names = st.sampled_from((*below, *below, *_NAMES))
    pointed = [st.builds("{}:{}".format, st.just(kind), names) for kind in kinds if kind != "include"]
    with_length = st.builds("a:{}{}".format, names, _LENGTHS)
    # Mostly such as end somewhere: a loop is a permerror, and there is little to compare.
    included = st.sampled_from((*below * 12, *DOMAINS, HOSTS[0]))
    including = [st.builds("include:{}".format, included)] if "include" in kinds else []
    return st.one_of(plain, with_length, *pointed, *including)


def _records(kinds: tuple[str, ...], below: tuple[str, ...], *, wrong: bool) -> st.SearchStrategy[bytes]:
    mechanism = st.builds("{}{}".format, _QUALIFIERS, st.one_of(_dns_terms(kinds, below), _NETWORKS))
    if wrong:
        mechanism = st.integers(0, 39).flatmap(lambda n, usual=mechanism: usual if n else _WRONG)  # type: ignore[misc]
    last = st.one_of(
        st.sampled_from(("", " -all", " ~all", " ?all", " all")),
        st.builds(" redirect={}".format, st.sampled_from((*below * 6, *DOMAINS))),
    )
    return st.builds(
        lambda terms, end: f"v=spf1 {' '.join(terms)}{end}".encode(), st.lists(mechanism, max_size=4), last
    )


@st.composite
def zones(draw: st.DrawFn, *kinds: str, errors: bool) -> Zone:
    """Domains with records, hosts with addresses, and names of clients; some that do not answer."""
    found: Zone = {}
    for n, domain in enumerate(DOMAINS):
        records = _records(kinds, DOMAINS[n + 1 :], wrong=errors)
        number = draw(st.sampled_from((1,) * 20 + (0, 2)))
        found[domain, "TXT"] = [draw(records) for _ in range(number)]
        hosts = draw(st.lists(st.sampled_from(HOSTS), max_size=2))
        found[domain, "MX"] = [MX(preference, host) for preference, host in enumerate(hosts)]
    for name in (*DOMAINS, *HOSTS):
        found[name, "A"] = draw(st.lists(st.sampled_from(ADDRESSES), max_size=3, unique=True))
        found[name, "AAAA"] = draw(st.lists(st.sampled_from(ADDRESSES6), max_size=2, unique=True))
    for client in CLIENTS:
        names = draw(st.lists(st.sampled_from((*HOSTS, *DOMAINS)), max_size=2, unique=True))
        found[ip_address(client).reverse_pointer, "PTR"] = list(names)
    if errors:
        for key in draw(st.lists(st.sampled_from(sorted(found)), max_size=2)):
            found[key] = NoAnswerError(*key, "time-out")
    return {key: value for key, value in found.items() if value}


class SecondTests(BesideCase):
    def test_verdicts(self) -> None:
        """Over all mechanisms, errors of records and of the DNS, the verdicts are the same or the difference is the standard's."""

        @given(zones("a", "mx", "ptr", "exists", "include", errors=True), st.sampled_from(CLIENTS))
        @settings(max_examples=200, derandomize=True, database=None)
        def holds(zone: Zone, client: str) -> None:
            self.difference(zone, client, 1000)

        holds()

    def test_void_lookups(self) -> None:
        """With the limit of empty answers, the verdicts are the same."""

        @given(zones("a", "exists", "include", errors=False), st.sampled_from(CLIENTS))
        @settings(max_examples=200, derandomize=True, database=None)
        def holds(zone: Zone, client: str) -> None:
            self.difference(zone, client, 2)

        holds()
