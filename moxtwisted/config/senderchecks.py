"""How the keys about lists of senders and spam traps must fit together; see ``moxtwisted.config.checks``."""

from __future__ import annotations

from moxtwisted.address import Address, AddressError
from moxtwisted.config.reading import Path, Problems, quoted
from moxtwisted.config.schema import Account, Domain

__all__ = ["check_account_senders", "check_traps"]


def check_account_senders(account: Account, path: Path, problems: Problems) -> None:
    """The lists of one account; ``path`` leads to it."""
    if not (account.allow_senders or account.block_senders):
        return
    from moxtwisted.server.inbound.senderlists import parse_entry

    for key in ("allow_senders", "block_senders"):
        for i, entry in enumerate(getattr(account, key)):
            try:
                parse_entry(entry.split() or [""], "")
            except ValueError as e:
                expected = "an address, a domain or a network expected"
                problems.add((*path, key, i), f"{quoted(entry)} found, {expected}: {e}")


def check_traps(name: str, domain: Domain, path: Path, problems: Problems) -> None:
    """The spam traps of one domain, in ASCII; ``path`` leads to it."""
    for i, localpart in enumerate(domain.spam_traps):
        at = (*path, "spam_traps", i)
        try:
            address = Address.parse(f"{localpart}@{name}")
        except AddressError:
            problems.add(at, f"{quoted(localpart)} found, what stands before the @ of an address expected")
            continue
        if address.localpart.lower() == "postmaster":
            # RFC 5321 section 4.5.1: who has no postmaster of his own has that of the server.
            problems.add(at, f"{quoted(localpart)} found, an address that nobody has expected")
        if any(separator in address.localpart for separator in domain.localpart_separators if separator):
            problems.add(at, f"{quoted(localpart)} found, a local part without a suffix expected")
