"""From ``[resolver]`` of ``mox.conf``, and what the machine says, to the settings of the resolver."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from moxtwisted.config.schema import Resolver
from moxtwisted.dns.servers import ResolverSettings, ServerAddress

__all__ = ["RESOLV_CONF", "resolver_settings"]

RESOLV_CONF = Path("/etc/resolv.conf")

# More is no list of name servers.
_MAX_OCTETS = 65536


def resolver_settings(resolver: Resolver, resolv_conf: Path = RESOLV_CONF) -> ResolverSettings:
    """Whom to ask, and whom to believe.

    :param resolv_conf: read when the configuration names no servers. Without the file, a resolver on this machine is asked.
    """
    trust_ad = True if resolver.trust_ad else None
    if resolver.servers:
        servers = tuple(ServerAddress.parse(text) for text in resolver.servers)
        return ResolverSettings(servers=servers, trust_ad=trust_ad, validate=resolver.validate)
    try:
        with resolv_conf.open(encoding="utf-8", errors="replace") as opened:
            text = opened.read(_MAX_OCTETS)
    except OSError:
        text = ""
    settings = ResolverSettings.from_resolv_conf(text)
    return evolve(settings, trust_ad=trust_ad or settings.trust_ad, validate=resolver.validate)
