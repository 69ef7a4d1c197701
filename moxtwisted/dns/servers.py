"""Who is asked, how patiently, and how much is remembered.

::

    settings = ResolverSettings.from_resolv_conf(Path("/etc/resolv.conf").read_text())
    settings.servers          # (ServerAddress("127.0.0.53", 53),)
    settings.trust_ad         # whether "authentic data" of these servers is believed

A server on the loopback is on this machine, and nobody on the way can set the AD bit: it is believed when it validates. Any other
is believed only where the administrator says so (``options trust-ad``).
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from attrs import frozen

__all__ = ["ResolverSettings", "ServerAddress"]

_PORT = re.compile(r"[0-9]{1,5}\Z")

# resolv.conf(5): MAXNS is 3 there; we take a few more.
_MAX_SERVERS = 8


@frozen(order=True)
class ServerAddress:
    """A resolver: its IP address (IPv6 may have a scope) and port."""

    address: str
    port: int = 53

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Read ``192.0.2.1``, ``192.0.2.1:5353``, ``2001:db8::1`` or ``[2001:db8::1]:5353``.

        :raises ValueError: when it is none of these; names are not resolved.
        """
        text = text.strip()
        host, port = text, ""
        if text.startswith("["):
            host, bracket, port = text[1:].partition("]")
            if not bracket or (port and not port.startswith(":")):
                raise ValueError(f"not an address of a resolver: {text}")
            port = port[1:] if port else "53"
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        else:
            port = "53"
        if not _PORT.match(port) or not 0 < int(port) < 65536:
            raise ValueError(f"not a port: {text}")
        try:
            return cls(str(ip_address(host)), int(port))
        except ValueError as e:
            raise ValueError(f"not an address of a resolver: {text}") from e

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        return ip_address(self.address).is_loopback

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@frozen
class ResolverSettings:
    """Everything that can be chosen; times in seconds.

    :ivar trust_ad: whether the servers' AD bit is believed. None: when all of them are on the loopback.
    :ivar validate: whether signatures are checked here when the AD bit is not believed, or not set.
    :ivar try_seconds: the time for the first answer; each further round over the servers waits twice as long.
    :ivar rounds: how often each server is asked.
    :ivar total_seconds: the time for one lookup with all that belongs to it.
    :ivar failure_seconds: how long it is remembered that no answer could be had (RFC 2308 section 7 allows 5 minutes).
    :ivar queries_per_port: how many queries by UDP may have the same port, one after the other and within two seconds. With more than one
        the resolver has to be closed.
    """

    servers: tuple[ServerAddress, ...] = (ServerAddress("127.0.0.1"),)
    trust_ad: bool | None = None
    validate: bool = True
    try_seconds: float = 2.0
    rounds: int = 2
    total_seconds: float = 20.0
    cache_entries: int = 20_000
    cache_octets: int = 16 * 2**20
    minimum_ttl_seconds: int = 0
    maximum_ttl_seconds: int = 86_400
    # RFC 2308 section 5: one to three hours work well, more than a day is a problem.
    maximum_negative_ttl_seconds: int = 3_600
    failure_seconds: int = 5
    queries_per_port: int = 1

    @property
    def believes_ad(self) -> bool:
        """Whether the AD bit counts."""
        if self.trust_ad is None:
            return all(server.is_loopback for server in self.servers)
        return self.trust_ad

    @classmethod
    def from_resolv_conf(cls, text: str) -> ResolverSettings:
        """What ``/etc/resolv.conf`` says (resolv.conf(5)): servers, ``trust-ad``, ``timeout`` and ``attempts``.

        The rest is for names of hosts. Without servers, the one on this machine is asked, as the manual has it.
        """
        servers: list[ServerAddress] = []
        trust_ad: bool | None = None
        try_seconds, rounds = 2.0, 2
        for line in text.splitlines():
            keyword, *values = line.split("#", 1)[0].split(";", 1)[0].split() or [""]
            if keyword == "nameserver" and values and len(servers) < _MAX_SERVERS:
                try:
                    servers.append(ServerAddress(str(ip_address(values[0]))))
                except ValueError:
                    continue
            elif keyword == "options":
                for option in values:
                    name, _, value = option.partition(":")
                    if name == "trust-ad":
                        trust_ad = True
                    elif name == "timeout" and value.isascii() and value.isdigit():
                        try_seconds = float(min(max(int(value[:4]), 1), 30))
                    elif name == "attempts" and value.isascii() and value.isdigit():
                        rounds = min(max(int(value[:4]), 1), 5)
        return cls(
            servers=tuple(servers) or (ServerAddress("127.0.0.1"),),
            trust_ad=trust_ad,
            try_seconds=try_seconds,
            rounds=rounds,
        )
