"""The PROXY protocol header, versions 1 and 2: how a load balancer in front tells whom it speaks for.

The header is the first thing on the connection (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt)::

    PROXY TCP4 192.0.2.1 198.51.100.1 35646 25\\r\\n        version 1, at most 107 octets
    0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A 21 11 00 0C ...     version 2, 16 octets and addresses

It is believed only from configured networks: anyone else could claim any address.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import frozen

__all__ = ["ProxyAddresses", "ProxyHeaderError", "parse_proxy_header"]

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1_OCTETS = 107


class ProxyHeaderError(ValueError):
    """What came is no PROXY header, or a longer one than allowed."""


@frozen
class ProxyAddresses:
    """What the header says.

    :ivar source: the client, or None when the proxy speaks for itself (LOCAL, UNKNOWN).
    :ivar octets: the length of the header.
    """

    source: IPv4Address | IPv6Address | None
    source_port: int
    destination: IPv4Address | IPv6Address | None
    destination_port: int
    octets: int


def parse_proxy_header(data: bytes, limit: int) -> ProxyAddresses | None:
    """Read the header at the begin of ``data``.

    :param limit: the most octets a header may have.
    :return: None when more octets are needed.
    :raise ProxyHeaderError: when this is none.
    """
    if _SIGNATURE.startswith(data[:12]):
        return _version_2(data, limit)
    if b"PROXY ".startswith(data[:6]):
        return _version_1(data, min(limit, _V1_OCTETS))
    raise ProxyHeaderError("no PROXY header")


def _version_1(data: bytes, limit: int) -> ProxyAddresses | None:
    end = data.find(b"\r\n", 0, limit)
    if end < 0:
        if len(data) >= limit:
            raise ProxyHeaderError("PROXY header too long")
        return None
    words = data[6:end].split(b" ")
    if words[0] == b"UNKNOWN":
        return ProxyAddresses(None, 0, None, 0, end + 2)
    try:
        family, source, destination, source_port, destination_port = [w.decode("ascii") for w in words]
        if family not in {"TCP4", "TCP6"} or not (source_port.isdigit() and destination_port.isdigit()):
            raise ProxyHeaderError("bad PROXY header")
        ends = ip_address(source), ip_address(destination)
        ports = int(source_port), int(destination_port)
    except ValueError as e:
        raise ProxyHeaderError("bad PROXY header") from e
    if any(ip.version != int(family[3]) for ip in ends) or max(ports) > 65535:
        raise ProxyHeaderError("bad PROXY header")
    return ProxyAddresses(ends[0], ports[0], ends[1], ports[1], end + 2)


def _version_2(data: bytes, limit: int) -> ProxyAddresses | None:
    if len(data) < 16:
        return None
    octets = 16 + int.from_bytes(data[14:16])
    if data[12] >> 4 != 2 or data[12] & 15 > 1 or octets > limit:
        raise ProxyHeaderError("bad PROXY header")
    if len(data) < octets:
        return None
    local, family = data[12] & 15 == 0, data[13] >> 4
    if local or family in {0, 3}:  # for itself, unspecified, or from a unix socket
        return ProxyAddresses(None, 0, None, 0, octets)
    if family not in {1, 2}:
        raise ProxyHeaderError("bad PROXY header")
    width, make = (4, IPv4Address) if family == 1 else (16, IPv6Address)
    body = data[16:octets]
    if len(body) < 2 * width + 4:
        raise ProxyHeaderError("bad PROXY header")
    at = 2 * width
    return ProxyAddresses(
        make(body[:width]),
        int.from_bytes(body[at : at + 2]),
        make(body[width:at]),
        int.from_bytes(body[at + 2 : at + 4]),
        octets,
    )
