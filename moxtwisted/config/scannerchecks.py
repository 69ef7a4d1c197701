"""How the keys about programs beside us must be; see ``moxtwisted.config.checks``."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from moxtwisted.config.reading import Path, Problems, quoted
from moxtwisted.config.schema.domains import DomainsConfig
from moxtwisted.config.schema.scanners import Scanners

__all__ = ["check_scanners", "check_scanners_off", "check_url"]


def check_url(url: str, path: Path, expected: str, problems: Problems) -> SplitResult | None:
    """A URL, in parts; None after noting that it has no host, or a port that cannot be."""
    if problems.spoiled(path):
        return None
    try:
        parts = urlsplit(url)
        good = parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        problems.add(path, f"{quoted(url)} found, {expected} expected, the port from 1 to 65535")
        return None
    return parts


def check_scanners(scanners: Scanners, problems: Problems) -> None:
    """Of ``mox.conf``."""
    at: Path = ("scanners",)
    if scanners.rspamd is not None:
        for key in ("url", "controller_url"):
            if url := getattr(scanners.rspamd, key):
                check_url(url, (*at, "rspamd", key), "http://host:port", problems)
    if scanners.clamd is not None:
        _check_endpoint(scanners.clamd.address, (*at, "clamd", "address"), problems)
    for name, milter in scanners.milters.items():
        _check_endpoint(milter.address, (*at, "milters", name, "address"), problems)


def check_scanners_off(scanners: Scanners, domains: DomainsConfig, problems: Problems) -> None:
    """Milters that somebody does without are there; rspamd and clamd need not be, as everybody knows what is meant."""
    known = {"rspamd", "clamd", *(f"milters.{name}" for name in scanners.milters)}
    for table, all_of in (("domains", domains.domains), ("accounts", domains.accounts)):
        for owner, settings in all_of.items():
            for i, name in enumerate(settings.scanners_off or ()):
                if name not in known:
                    problems.add(
                        (table, owner, "scanners_off", i),
                        f"{quoted(name)} found, a scanner of mox.conf expected",
                    )


def _check_endpoint(address: str, path: Path, problems: Problems) -> None:
    """A path, or host and port."""
    port = address.rpartition(":")[2]
    if not problems.spoiled(path) and not address.startswith("/") and not 0 < int(port) < 65536:
        problems.add(path, f"{quoted(address)} found, host:port expected, the port from 1 to 65535")
