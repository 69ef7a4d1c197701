"""SPF records (RFC 7208 sections 3 to 6): text to mechanisms and modifiers.

::

    record = parse_record("v=spf1 ip4:192.0.2.0/24 include:_spf.example.net -all")
    record.directives[0]     # Network(qualifier=Qualifier.PASS, text='ip4:192.0.2.0/24', network=IPv4Network('192.0.2.0/24'))
    record.redirect          # None

A record with an error anywhere is wrong as a whole (RFC 7208 section 4.6); ``SPFSyntaxError`` says at which term.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from attrs import frozen

from moxtwisted.mailauth.spf.macros import MacroString, SPFSyntaxError, parse_domain_spec, parse_macro_string

__all__ = [
    "All",
    "Exchangers",
    "Exists",
    "Hosts",
    "Include",
    "Mechanism",
    "Network",
    "Qualifier",
    "Record",
    "Reverse",
    "is_spf",
    "parse_record",
]

# Our own limit. RFC 7208 section 3.4 wants records to fit into 512 octets; the largest in use have four thousand.
MAX_RECORD_CHARACTERS = 16_384
# What is longer is not kept: an attacker's records must not fill the memory.
_MAX_KEPT_CHARACTERS = 2048

_TERM = re.compile(r"[^ ]+")
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=")
_DIRECTIVE = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9_.-]*)([:/]?.*)\Z", re.DOTALL)
_CIDR = re.compile(r"(.*?)(?:/([0-9]*))?(?://([0-9]*))?\Z", re.DOTALL)
_LENGTH = re.compile(r"(?:0|[1-9][0-9]{0,2})\Z")
_QUAD = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}\Z")


class Qualifier(Enum):
    """RFC 7208 section 4.6.2: what a mechanism that matches makes of the message."""

    PASS = "+"  # noqa: S105 - a sign
    FAIL = "-"
    SOFTFAIL = "~"
    NEUTRAL = "?"

    __hash__ = object.__hash__  # Enum's is written in Python


@frozen
class Mechanism:
    """A term that may match.

    :ivar qualifier: the verdict if it does.
    :ivar text: the term without its qualifier, as written.
    """

    qualifier: Qualifier
    text: str

    def covers(self, ip: IPv4Address | IPv6Address) -> bool | None:
        """Whether it matches the client; None: the DNS has to be asked."""
        return None


@frozen
class All(Mechanism):
    """``all``, RFC 7208 section 5.1."""

    def covers(self, ip: IPv4Address | IPv6Address) -> bool:
        """Everybody."""
        return True


@frozen
class Include(Mechanism):
    """``include:…``, RFC 7208 section 5.2."""

    target: MacroString


@frozen
class Hosts(Mechanism):
    """``a``, RFC 7208 section 5.3; ``target`` is None for the domain itself."""

    target: MacroString | None
    prefix4: int = 32
    prefix6: int = 128


@frozen
class Exchangers(Mechanism):
    """``mx``, RFC 7208 section 5.4."""

    target: MacroString | None
    prefix4: int = 32
    prefix6: int = 128


@frozen
class Reverse(Mechanism):
    """``ptr``, RFC 7208 section 5.5; not recommended to anybody."""

    target: MacroString | None


@frozen
class Network(Mechanism):
    """``ip4:…`` and ``ip6:…``, RFC 7208 section 5.6."""

    network: IPv4Network | IPv6Network

    def covers(self, ip: IPv4Address | IPv6Address) -> bool:
        """Those in the network."""
        return ip in self.network


@frozen
class Exists(Mechanism):
    """``exists:…``, RFC 7208 section 5.7."""

    target: MacroString


@frozen
class Record:
    """What a record says.

    :ivar text: the record.
    :ivar directives: its mechanisms, in order.
    :ivar redirect: whose record decides when none matches (RFC 7208 section 6.1).
    :ivar explanation: where a text for the sender is (RFC 7208 section 6.2).
    :ivar modifiers: names and values of the modifiers that nobody knows.
    """

    text: str
    directives: tuple[Mechanism, ...]
    redirect: MacroString | None = None
    explanation: MacroString | None = None
    modifiers: tuple[tuple[str, MacroString], ...] = ()


def is_spf(text: bytes) -> bool:
    """RFC 7208 section 4.5: whether a TXT record is one of SPF."""
    return text[:6].lower() == b"v=spf1" and text[6:7] in {b"", b" "}


def parse_record(text: str) -> Record:
    """The meaning of a record.

    :param text: the strings of the TXT record joined.
    :raise SPFSyntaxError: with the term and its position.
    """
    return _kept(text) if len(text) <= _MAX_KEPT_CHARACTERS else _parse(text)


def _parse(text: str) -> Record:
    if len(text) > MAX_RECORD_CHARACTERS:
        raise SPFSyntaxError(f"the record has more than {MAX_RECORD_CHARACTERS} characters")
    if text[:6].lower() != "v=spf1" or text[6:7] not in {"", " "}:
        raise SPFSyntaxError("the record does not begin with v=spf1", text[:20])
    directives: list[Mechanism] = []
    known: dict[str, MacroString] = {}
    others: list[tuple[str, MacroString]] = []
    for match in _TERM.finditer(text, 6):
        term = match[0]
        try:
            if (modifier := _MODIFIER.match(term)) is None:
                directives.append(_directive(term))
                continue
            name, value = modifier[1].lower(), term[modifier.end() :]
            if name not in {"redirect", "exp"}:
                others.append((name, parse_macro_string(value)))
            elif name in known:
                # RFC 7208 section 6: these two at most once.
                raise SPFSyntaxError(f"{name}= stands there twice")
            else:
                known[name] = parse_domain_spec(value)
        except SPFSyntaxError as e:
            raise SPFSyntaxError(e.detail, term, match.start()) from e
    return Record(text, tuple(directives), known.get("redirect"), known.get("exp"), tuple(others))


_kept = lru_cache(256)(_parse)


def _directive(term: str) -> Mechanism:
    match = _DIRECTIVE.match(term)
    if match is None:
        raise SPFSyntaxError("neither a mechanism nor a modifier")
    sign, name, rest = match.groups()
    qualifier, text = Qualifier(sign or "+"), term[len(sign) :]
    match name.lower():
        case "all" if not rest:
            return All(qualifier, text)
        case "include" | "exists" as kind if rest.startswith(":"):
            target = parse_domain_spec(rest[1:])
            return Include(qualifier, text, target) if kind == "include" else Exists(qualifier, text, target)
        case "ptr" if not rest or rest.startswith(":"):
            return Reverse(qualifier, text, parse_domain_spec(rest[1:]) if rest else None)
        case "ip4" if rest.startswith(":"):
            return Network(qualifier, text, _network4(rest[1:]))
        case "ip6" if rest.startswith(":"):
            return Network(qualifier, text, _network6(rest[1:]))
        case "a" | "mx" as kind:
            found = _dual(rest)
            return Hosts(qualifier, text, *found) if kind == "a" else Exchangers(qualifier, text, *found)
        case "all" | "include" | "exists" | "ptr" | "ip4" | "ip6":
            raise SPFSyntaxError("a mechanism with too much or too little behind it")
        case _:
            # RFC 7208 section 4.6.1: an unknown mechanism is an error, other than an unknown modifier.
            raise SPFSyntaxError("an unknown mechanism")


def _length(text: str | None, maximum: int) -> int:
    if text is None:
        return maximum
    if _LENGTH.match(text) is None or int(text) > maximum:
        raise SPFSyntaxError(f"no length of a prefix: {text[:10]!r}")
    return int(text)


def _dual(rest: str) -> tuple[MacroString | None, int, int]:
    """RFC 7208 section 5.3: an optional domain, an optional length for IPv4 and one for IPv6."""
    match = _CIDR.match(rest)
    if match is None:
        raise SPFSyntaxError("no domain and lengths of prefixes")
    where, four, six = match.groups()
    if where and not where.startswith(":"):
        raise SPFSyntaxError("no domain behind the mechanism")
    return parse_domain_spec(where[1:]) if where else None, _length(four, 32), _length(six, 128)


def _network4(text: str) -> IPv4Network:
    address, slash, length = text.partition("/")
    if _QUAD.match(address) is None:
        raise SPFSyntaxError(f"no IPv4 address: {address[:40]!r}")
    try:
        # RFC 7208 section 5.6: what is right of the prefix does not matter.
        return IPv4Network((IPv4Address(address), _length(length if slash else None, 32)), strict=False)
    except ValueError as e:
        raise (
            e if isinstance(e, SPFSyntaxError) else SPFSyntaxError(f"no IPv4 address: {address[:40]!r}")
        ) from e


def _network6(text: str) -> IPv6Network:
    address, slash, length = text.partition("/")
    try:
        if "%" in address:
            raise SPFSyntaxError("an IPv6 address with a zone")
        return IPv6Network((IPv6Address(address), _length(length if slash else None, 128)), strict=False)
    except ValueError as e:
        raise (
            e if isinstance(e, SPFSyntaxError) else SPFSyntaxError(f"no IPv6 address: {address[:60]!r}")
        ) from e
