"""Addresses as SMTP writes them (RFC 5321 Mailbox and paths), and what a local part means here.

The octets of a path go in with their angle brackets; what comes out is decoded and unquoted::

    path = parse_path(b'<@relay.example:"john doe"@Example.org>', smtputf8=False)
    path.address.localpart      # 'john doe'
    path.address.domain.ascii   # 'example.org'
    path.address.wire()         # b'"john doe"@example.org'
    parse_path(b"<>", smtputf8=False).is_null        # True

Addresses in header fields are another syntax: ``moxtwisted.message.addresslist``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from attrs import frozen

from moxtwisted.identifiers import Domain, DomainError, IdentifierError

__all__ = [
    "MAX_DOMAIN_OCTETS",
    "MAX_LOCALPART_OCTETS",
    "MAX_PATH_OCTETS",
    "Address",
    "AddressError",
    "IPLiteral",
    "Path",
    "canonical_localpart",
    "parse_mailbox",
    "parse_path",
    "path_end",
    "quote_localpart",
]

MAX_LOCALPART_OCTETS = 64  # RFC 5321 section 4.5.3.1.1
MAX_DOMAIN_OCTETS = 255  # RFC 5321 section 4.5.3.1.2
MAX_PATH_OCTETS = 256  # RFC 5321 section 4.5.3.1.3, with the angle brackets

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_PLAIN_ADDRESS = re.compile(
    rf"([{_ATEXT}]+(?:\.[{_ATEXT}]+)*)@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)\Z".encode("ascii")
)
# RFC 6531 section 3.3 adds UTF8-non-ascii to atext and to qtextSMTP; we leave out C1 controls, as RFC 5198 section 2
# does. The classes name what may not stand there: that compiles ten times faster than ranges of all Unicode.
_TEXT_ATOM = r'[^\x00-\x20"(),.:;<>@\[\\\]\x7f-\x9f]+'
_DOT_STRING = re.compile(rf"{_TEXT_ATOM}(?:\.{_TEXT_ATOM})*\Z")
_QUOTED_STRING = re.compile(r'"((?:[^\x00-\x1f"\\\x7f-\x9f]|\\[ -~])*)"')
_QUOTED_PAIR = re.compile(r"\\(.)")
_SOURCE_ROUTE = re.compile(r"@([^@,:\s<>\"]+)(?:,@([^@,:\s<>\"]+))*:")


class AddressError(IdentifierError):
    """The octets are no address, path or address literal; ``detail`` says why."""

    enhanced_code = "5.1.3"  # RFC 3463: bad destination mailbox address syntax; a sender's is 5.1.7
    public_text = "bad address syntax"


@frozen(order=True)
class IPLiteral:
    """An address literal (RFC 5321 section 4.1.3) in place of a domain."""

    ip: IPv4Address | IPv6Address

    def __str__(self) -> str:
        return f"[{self.ip}]" if self.ip.version == 4 else f"[IPv6:{self.ip}]"

    @property
    def ascii(self) -> str:
        """The literal with its brackets, as ``Domain.ascii`` for a name."""
        return str(self)

    @property
    def unicode(self) -> str:
        """The literal with its brackets, as ``Domain.unicode`` for a name."""
        return str(self)

    @classmethod
    def parse(cls, text: str) -> IPLiteral:
        """Read ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]``.

        :raise AddressError: for anything else; no general address literal has ever been registered.
        """
        if not (text.startswith("[") and text.endswith("]")) or len(text) > 64:
            raise AddressError("not an address literal")
        inner = text[1:-1]
        try:
            if inner[:5].lower() == "ipv6:":
                if "%" in inner:
                    raise AddressError("address literal with a zone")
                return cls(IPv6Address(inner[5:]))
            return cls(IPv4Address(inner))
        except AddressValueError as e:
            raise AddressError(f"bad address literal: {e}") from e


def quote_localpart(localpart: str) -> str:
    """A local part as it is written: bare when it is a dot-string, else as quoted string."""
    if localpart.isalnum() or _DOT_STRING.match(localpart):
        return localpart
    return '"' + localpart.replace("\\", "\\\\").replace('"', '\\"') + '"'


@frozen(cache_hash=True)
class Address:
    """A mailbox in the sense of RFC 5321: a local part at a domain.

    Two addresses are equal when their local parts are the same character for character: whether case
    matters is known to the domain alone (RFC 5321 section 2.4); see ``canonical_localpart``.

    :ivar localpart: unquoted text.
    :ivar domain: the domain, or an address literal.
    """

    localpart: str
    domain: Domain | IPLiteral

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address as people write it (no angle brackets), UTF-8 allowed.

        :raise AddressError: when it is none.
        """
        try:
            octets = text.encode("utf-8")
        except UnicodeError as e:
            raise AddressError("not Unicode text") from e
        return parse_mailbox(octets, smtputf8=True)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the local part is beyond ASCII, so that only SMTPUTF8 can carry it (RFC 6531)."""
        return not self.localpart.isascii()

    def wire(self, *, smtputf8: bool = False) -> bytes:
        """The octets for a path, without angle brackets.

        :param smtputf8: write the domain with U-labels; else with A-labels, which every server takes.
        """
        domain = self.domain.unicode if smtputf8 else self.domain.ascii
        return f"{quote_localpart(self.localpart)}@{domain}".encode()

    def __str__(self) -> str:
        return f"{quote_localpart(self.localpart)}@{self.domain.unicode}"


@frozen(cache_hash=True)
class Path:
    """A reverse-path or forward-path.

    :ivar address: whom it names; None for ``<>`` and for ``<postmaster>``.
    :ivar postmaster: whether it is ``<postmaster>`` without a domain (RFC 5321 section 4.1.1.3).
    """

    address: Address | None
    postmaster: bool = False

    @property
    def is_null(self) -> bool:
        """Whether it is ``<>``."""
        return self.address is None and not self.postmaster

    def wire(self, *, smtputf8: bool = False) -> bytes:
        """The octets with angle brackets."""
        if self.address is None:
            return b"<postmaster>" if self.postmaster else b"<>"
        return b"<" + self.address.wire(smtputf8=smtputf8) + b">"

    def __str__(self) -> str:
        if self.address is None:
            return "postmaster" if self.postmaster else ""
        return str(self.address)


_NULL = Path(None)
_POSTMASTER = Path(None, True)


def path_end(octets: bytes, start: int = 0) -> int:
    """Where the path that begins with ``<`` at ``start`` ends: the offset behind its ``>``.

    A ``>`` within a quoted local part does not end it.

    :raise AddressError: when there is no ``<`` at start, or no end.
    """
    if octets[start : start + 1] != b"<":
        raise AddressError("path does not begin with <")
    end = octets.find(b">", start)
    quote = octets.find(b'"', start, end)
    if end >= 0 and quote < 0:
        return end + 1
    i, quoted = start + 1, False
    while i < len(octets):
        c = octets[i]
        if quoted and c == 0x5C:
            i += 1
        elif c == 0x22:
            quoted = not quoted
        elif c == 0x3E and not quoted:
            return i + 1
        i += 1
    raise AddressError("path has no closing >")


def parse_path(octets: bytes, *, smtputf8: bool, max_localpart_octets: int = MAX_LOCALPART_OCTETS) -> Path:
    """Read a reverse-path or forward-path, angle brackets included and nothing besides.

    A source route is checked roughly and dropped (RFC 5321 section 4.1.1.3: ignore it).

    :param octets: the path as it came.
    :param smtputf8: whether the transaction has SMTPUTF8, so that UTF-8 may occur.
    :param max_localpart_octets: 64 by the standard; some senders' VERP needs more.
    :raise AddressError: when it has another form or passes a limit.
    """
    return _parse_path(octets, smtputf8, max_localpart_octets)


# The same few recipients, and many of the same senders; what is no path is not remembered.
@lru_cache(4096)
def _parse_path(octets: bytes, smtputf8: bool, max_localpart_octets: int) -> Path:
    if octets[:1] != b"<" or octets[-1:] != b">" or len(octets) < 2:
        raise AddressError("path is not in angle brackets")
    if len(octets) > MAX_PATH_OCTETS - MAX_LOCALPART_OCTETS + max_localpart_octets:
        raise AddressError("path too long")
    inner = octets[1:-1]
    if not inner:
        return _NULL
    if inner[0] == 0x40:
        try:
            route = _SOURCE_ROUTE.match(inner.decode("utf-8"))
        except UnicodeDecodeError as e:
            raise AddressError("path is not UTF-8") from e
        if route is None:
            raise AddressError("bad source route")
        inner = inner[len(route[0].encode("utf-8")) :]
    if inner.lower() == b"postmaster":
        return _POSTMASTER
    return Path(parse_mailbox(inner, smtputf8=smtputf8, max_localpart_octets=max_localpart_octets))


def parse_mailbox(
    octets: bytes, *, smtputf8: bool, max_localpart_octets: int = MAX_LOCALPART_OCTETS
) -> Address:
    """Read the RFC 5321 Mailbox rule: ``localpart@domain``, ``"quoted"@domain``, ``localpart@[literal]``.

    :raise AddressError: when it has another form or passes a limit.
    """
    if len(octets) > max_localpart_octets + 1 + MAX_DOMAIN_OCTETS:
        raise AddressError("address too long")
    plain = _PLAIN_ADDRESS.match(octets)
    if plain is not None:
        local, domain = plain.groups()
        if len(local) > max_localpart_octets:
            raise AddressError(f"local part longer than {max_localpart_octets} octets")
        return Address(local.decode("ascii"), _parse_domain(domain.decode("ascii")))
    if not smtputf8 and not octets.isascii():
        raise AddressError("address beyond ASCII without SMTPUTF8")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as e:
        raise AddressError("address is not UTF-8") from e
    localpart, rest = _split_localpart(text)
    if len(localpart.encode("utf-8")) > max_localpart_octets:
        raise AddressError(f"local part longer than {max_localpart_octets} octets")
    if rest.startswith("["):
        return Address(localpart, IPLiteral.parse(rest))
    return Address(localpart, _parse_domain(rest))


def _split_localpart(text: str) -> tuple[str, str]:
    """The unquoted local part, and what stands behind the @."""
    if text.startswith('"'):
        quoted = _QUOTED_STRING.match(text)
        if quoted is None:
            raise AddressError("bad quoted string in local part")
        localpart, rest = _QUOTED_PAIR.sub(r"\1", quoted[1]), text[quoted.end() :]
        if not rest.startswith("@"):
            raise AddressError("no @ after the local part")
        return localpart, rest[1:]
    localpart, at, rest = text.partition("@")
    if not at:
        raise AddressError("no @")
    if _DOT_STRING.match(localpart) is None:
        raise AddressError("local part is neither a dot-string nor quoted")
    return localpart, rest


# The same few thousand domains send most mail to us, and ours are fewer.
@lru_cache(4096)
def _parse_domain(text: str) -> Domain:
    try:
        return Domain.parse(text)
    except DomainError as e:
        raise AddressError(e.detail) from e


def canonical_localpart(localpart: str, separators: Sequence[str], *, case_sensitive: bool) -> str:
    """The form in which a local part is looked up among the accounts' addresses.

    It is cut before the first separator and, unless ``case_sensitive``, put into lower case; Unicode
    becomes NFC. A separator in front cuts nothing: ``+tag`` stays ``+tag``.

    :param separators: strings such as ``"+"`` or ``"--"``; the one that stands first in the local part counts.
    """
    cut = len(localpart)
    for separator in separators:
        at = localpart.find(separator, 1) if separator else -1
        if 0 < at < cut:
            cut = at
    canonical = localpart[:cut]
    if not canonical.isascii():
        canonical = unicodedata.normalize("NFC", canonical)
    return canonical if case_sensitive else canonical.lower()
