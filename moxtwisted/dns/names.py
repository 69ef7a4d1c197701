r"""Domain names as the DNS has them: any octets in labels, compared without case.

The form in which the package speaks of a name is presentation form (RFC 1035 section 5.1): lower case, no last dot, A-labels; the
root is ``"."``, and octets that are no printable ASCII are escaped::

    normalise("Münster.Example.")         # "xn--mnster-3ya.example"
    reverse_name("192.0.2.1")             # "1.2.0.192.in-addr.arpa"
    to_wire("mail.example")               # b"\x04mail\x07example\x00"
    parent("mail.example")                # "example"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from moxtwisted.errors import MailError

__all__ = [
    "ROOT",
    "BadNameError",
    "ancestors",
    "from_labels",
    "labels",
    "normalise",
    "parent",
    "reverse_name",
    "to_wire",
    "within",
]

ROOT = "."
# RFC 1035 section 2.3.4: 63 octets in a label, 255 in a name of wire form.
_MAX_LABEL_OCTETS = 63
_MAX_NAME_OCTETS = 255
# Every octet of 255 may be an escape of four characters; U-labels may be a little longer than their A-labels.
_MAX_CHARACTERS = 1100
_PLAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")
_PLAIN_OCTETS = re.compile(_PLAIN.pattern.encode("ascii"))
_ESCAPE = re.compile(r"\\(\d{3}|.)|(.)", re.DOTALL)
_PLAIN_LABEL = re.compile(rb"[a-z0-9_-]+\Z")
_SPECIAL = frozenset(b'."\\;()@$')


class BadNameError(MailError, ValueError):
    """Such a name cannot be in the DNS: an empty label, or one that is too long, or too many."""

    reply_code = 501
    enhanced_code = "5.5.4"
    public_text = "bad domain name"


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """The one form of a name: lower case, A-labels, without the last dot; ``"."`` is the root.

    :raises BadNameError: when it cannot be a name.
    """
    lowered = text.lower()
    if _PLAIN.match(lowered):
        return lowered
    if len(text) > _MAX_CHARACTERS:
        raise BadNameError("name too long")
    if text == ROOT:
        return ROOT
    return from_labels(_split(text))


def _split(text: str) -> list[bytes]:
    """The labels of a name that needs care: escapes, U-labels, or a last dot."""
    found: list[bytearray] = [bytearray()]
    for match in _ESCAPE.finditer(_to_ascii(text)):
        escaped, plain = match.groups()
        if plain == ".":
            found.append(bytearray())
        elif plain is not None:
            found[-1] += plain.encode("ascii")
        elif len(escaped) == 3:
            if int(escaped) > 255:
                raise BadNameError("bad escape in name")
            found[-1].append(int(escaped))
        else:
            found[-1] += escaped.encode("ascii")
    if len(found) > 1 and not found[-1]:
        found.pop()
    return [bytes(label) for label in found]


def _to_ascii(text: str) -> str:
    """U-labels made A-labels (RFC 5891 section 4.4); what is ASCII stays as it is."""
    if text.isascii():
        return text
    import idna

    try:
        # UTS 46 maps case, width and dots, as people type names; a label that is ASCII stays as it is.
        mapped = idna.uts46_remap(text, std3_rules=False, transitional=False).split(".")
        return ".".join(x if x.isascii() else idna.alabel(x).decode("ascii") for x in mapped)
    except (idna.IDNAError, UnicodeError) as e:
        raise BadNameError(f"not an internationalised name: {e}") from e


def from_labels(found: list[bytes]) -> str:
    """The name of these labels, most specific first; without labels the root.

    :raises BadNameError: when it cannot be a name.
    """
    joined = b".".join(found).lower()
    if _PLAIN_OCTETS.match(joined) and joined.count(b".") < len(found):
        return joined.decode("ascii")
    if sum(map(len, found)) + len(found) + 1 > _MAX_NAME_OCTETS:
        raise BadNameError("name longer than 255 octets")
    return ".".join(map(_present, found)) or ROOT


def _present(label: bytes) -> str:
    if not 0 < len(label) <= _MAX_LABEL_OCTETS:
        raise BadNameError("empty label, or one longer than 63 octets")
    label = label.lower()
    if _PLAIN_LABEL.match(label):
        return label.decode("ascii")
    return "".join(
        f"\\{chr(octet)}" if octet in _SPECIAL else chr(octet) if 32 < octet < 127 else f"\\{octet:03d}"
        for octet in label
    )


def labels(name: str) -> list[bytes]:
    """The labels of a normalised name, most specific first; none for the root."""
    if name == ROOT:
        return []
    return _split(name) if "\\" in name else name.encode("ascii").split(b".")


@lru_cache(maxsize=4096)
def to_wire(name: str) -> bytes:
    """A normalised name in wire form, without compression."""
    return b"".join(bytes((len(label),)) + label for label in labels(name)) + b"\0"


def parent(name: str) -> str:
    """The name with one label less; the root is its own."""
    if "\\" in name:
        return from_labels(labels(name)[1:])
    return name.partition(".")[2] or ROOT


def ancestors(name: str) -> Iterator[str]:
    """The name, its parent, and so on to the root."""
    while name != ROOT:
        yield name
        name = parent(name)
    yield ROOT


def within(name: str, zone: str) -> bool:
    """Whether a name is the zone's apex or below it."""
    if zone in {ROOT, name}:
        return True
    if not name.endswith("." + zone):
        return False
    return "\\" not in name or labels(name)[-len(labels(zone)) :] == labels(zone)


def reverse_name(address: str | IPv4Address | IPv6Address) -> str:
    """Where the PTR record of an address is (RFC 1035 section 3.5; RFC 3596 section 2.5).

    :param address: IPv4 or IPv6; a scope (``%eth0``) is left out. An IPv4-mapped address gives the name of the IPv4 address.
    :raises ValueError: when it is no address.
    """
    ip = ip_address(address.partition("%")[0]) if isinstance(address, str) else address
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.reverse_pointer.partition("%")[0]
