"""Who decides on log-ins beside us, as ``[authentication.authority]`` says."""

from __future__ import annotations

from typing import Any

from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema import Authentication
from moxtwisted.server.authority import PASSING, Elsewhere

__all__ = ["make_elsewhere", "offered_mechanisms"]


def offered_mechanisms(authentication: Authentication) -> tuple[str, ...]:
    """SASL mechanisms on offer: with an authority only those that it can be asked about."""
    wanted = authentication.mechanisms + (("CRAM-MD5",) if authentication.cram_md5 else ())
    return wanted if authentication.authority is None else tuple(m for m in wanted if m in PASSING)


def make_elsewhere(loaded: LoadedConfig, reactor: Any) -> Elsewhere | None:
    """None: nobody but us. :raises OSError, ValueError: when a file is not as it should be (``check_start`` said so)."""
    authority = loaded.static.authentication.authority
    if authority is None:
        return None
    from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool

    from moxtwisted.server.fuse import Fuse
    from moxtwisted.server.nauthilus import Nauthilus, NauthilusSettings, authorization

    credentials = ""
    if authority.credentials_file:
        credentials = authorization(loaded.resolve(authority.credentials_file).read_text("utf-8"))
    policy = BrowserLikePolicyForHTTPS()
    if authority.ca_file:
        policy = BrowserLikePolicyForHTTPS(trustRoot=_trusted(loaded.resolve(authority.ca_file).read_bytes()))
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = 16
    agent = Agent(reactor, policy, connectTimeout=authority.seconds, pool=pool)
    settings = NauthilusSettings(url=authority.url, authorization=credentials, seconds=authority.seconds)
    fuse = Fuse(reactor, authority.failures_before_pause, authority.pause_seconds)
    return Elsewhere(Nauthilus(settings, agent, reactor, fuse), authority.mode, authority.when_unavailable)


def _trusted(pem: bytes) -> Any:
    from twisted.internet.ssl import Certificate, trustRootFromCertificates

    end = b"-----END CERTIFICATE-----"
    blocks = [block + end for block in pem.split(end)[:-1]]
    return trustRootFromCertificates([Certificate.loadPEM(block) for block in blocks])
