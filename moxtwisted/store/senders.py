"""What is remembered of the sender of a message, as octets beside what was rendered from it, and as keys to find it by.

::

    kept = pack_sender(Sender(localpart="mary", domain="a.example", origin="INBOX"), 1)     # 1: the id of INBOX
    unpack_sender(kept)                         # (Sender(...), 1)
    history_keys(sender, 1)                     # a number for the address, one for the domain, ...
    history_key(1, "domain", False, "a.example")    # that for the domain

A key is a hash of what it stands for, 63 bits of it, so that an account's history is small and of one shape, and a question is one range
of it. An address counts for itself only together with the mailbox that its mail was destined for: a mailing list's tells nothing of
who writes to INBOX.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from moxtwisted.errors import ConsistencyError
from moxtwisted.store.interfaces import ReputationKind, Sender

__all__ = [
    "KINDS_OF_FROM",
    "history_key",
    "history_keys",
    "name_origin",
    "networks",
    "number",
    "pack_sender",
    "unpack_sender",
]

#: Of these only a hash is kept in keys, but all of them beside the message.
_TEXT_CHARACTERS: Final = 512
_MOST_DKIM_DOMAINS: Final = 10
_FIELDS: Final = 9

#: Prefix lengths of the client's networks.
_IPV4: Final = (32, 26, 21)
_IPV6: Final = (64, 48, 32)
KINDS_OF_FROM: Final = frozenset(("address", "domain", "organization"))
_KINDS_OF_IP: Final[dict[str, int]] = {"ip1": 0, "ip2": 1, "ip3": 2}


def number(text: str) -> int:
    """63 bits that stand for a text."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def name_origin(name: str) -> int:
    """What stands for a mailbox that is not there: a negative number made of its canonical name."""
    return -1 - number(name)


# -- beside the message --------------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    # Cut it would be somebody else's.
    return "" if len(text) > _TEXT_CHARACTERS or "\0" in text else text.lower()


def pack_sender(sender: Sender | None, origin: int | str) -> bytes:
    """The octets to keep.

    :param origin: id of the mailbox that the message was destined for, or its canonical name when it is not there.
    """
    if sender is None:
        return b""
    dkim = list(dict.fromkeys(filter(None, map(_text, sender.dkim_domains))))[:_MOST_DKIM_DOMAINS]
    fields = (
        "1" if sender.validated else "",
        str(origin) if isinstance(origin, int) else "",
        "" if isinstance(origin, int) or "\0" in origin else origin,
        *map(
            _text,
            (
                sender.localpart,
                sender.domain,
                sender.organizational_domain,
                f"{sender.spf_localpart}@{sender.spf_domain}" if sender.spf_domain else "",
                sender.helo_domain,
                sender.ip,
            ),
        ),
        *dkim,
    )
    return "\0".join(fields).encode("utf-8", "surrogatepass")


def unpack_sender(kept: bytes) -> tuple[Sender, int | None] | None:
    """The sender, and the id of the mailbox that its message was destined for, if that was there (the sender has no name of it
    then); None when nothing is known.

    :raises ConsistencyError: when the octets are damaged.
    """
    if not kept:
        return None
    try:
        fields = kept.decode("utf-8", "surrogatepass").split("\0")
        validated, origin, name, localpart, domain, organization, spf, helo, ip = fields[:_FIELDS]
        spf_localpart, _, spf_domain = spf.rpartition("@")
        sender = Sender(
            localpart=localpart,
            domain=domain,
            organizational_domain=organization,
            validated=bool(validated),
            dkim_domains=tuple(fields[_FIELDS:]),
            spf_localpart=spf_localpart,
            spf_domain=spf_domain,
            helo_domain=helo,
            ip=ip,
            origin=name,
        )
        return sender, int(origin) if origin else None
    except ValueError as e:
        raise ConsistencyError("what is kept of a sender is damaged") from e


# -- keys ----------------------------------------------------------------------------------------------------------------


@lru_cache(1024)
def networks(ip: str) -> tuple[str, str, str] | None:
    """The networks that an address is known by, as ``ip1``, ``ip2`` and ``ip3``: of IPv4 /32, /26 and /21, of IPv6 /64, /48 and /32.

    :param ip: an address, or an address with a prefix length, which does not matter; None for what is neither.
    """
    try:
        address = ip_address(ip.partition("/")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    value, bits = int(address), address.max_prefixlen
    lengths = _IPV4 if bits == 32 else _IPV6
    first, second, third = (
        f"{type(address)(value >> (bits - length) << (bits - length))}/{length}" for length in lengths
    )
    return first, second, third


# Most mail comes from domains that more of it comes from.
@lru_cache(4096)
def history_key(origin: int, kind: ReputationKind, validated: bool, key: str) -> int:
    """The number by which the history of this is found.

    :param origin: id of a mailbox, or what ``name_origin`` gives.
    :param validated: counts for those of From only.
    :param key: an address, a domain, a network.
    """
    place = _KINDS_OF_IP.get(kind)
    if place is not None:
        found = networks(key)
        key = found[place] if found is not None else key
    return number(f"{origin} {kind} {validated and kind in KINDS_OF_FROM:d} {key}")


def history_keys(sender: Sender, origin: int) -> list[int]:
    """All the numbers by which a message of this sender is found; no two the same."""
    validated = sender.validated
    keys: list[tuple[ReputationKind, str]] = []
    if sender.domain:
        if sender.localpart:
            keys.append(("address", f"{sender.localpart}@{sender.domain}"))
        keys.append(("domain", sender.domain))
        if sender.organizational_domain:
            keys.append(("organization", sender.organizational_domain))
    keys += [("dkim", domain) for domain in sender.dkim_domains]
    if sender.spf_domain:
        keys.append(("spf-address", f"{sender.spf_localpart}@{sender.spf_domain}"))
        keys.append(("spf-domain", sender.spf_domain))
    if sender.helo_domain:
        keys.append(("helo", sender.helo_domain))
    if sender.ip and networks(sender.ip) is not None:
        keys += [(kind, sender.ip) for kind in ("ip1", "ip2", "ip3")]
    return list(dict.fromkeys([history_key(origin, kind, validated, key) for kind, key in keys]))
