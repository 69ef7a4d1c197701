"""Which of an address's rules is for a message, and what origins of it were proved.

::

    verified = VerifiedDomains.of(incoming.verified)
    ruleset = find_ruleset(destination.rulesets, incoming, author, verified)      # the first that matches, or None
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from attrs import frozen

from moxtwisted.address import Address, Path
from moxtwisted.mailauth.spf.evaluation import Identity
from moxtwisted.mailauth.spf.evaluation import Verdict as SPFVerdict
from moxtwisted.message.headers import Header, decode_words, unfold
from moxtwisted.server.judgement.author import Author
from moxtwisted.server.judgement.interfaces import Incoming
from moxtwisted.server.judgement.rules import Pattern, Ruleset
from moxtwisted.server.verification.interfaces import Verified

__all__ = ["VerifiedDomains", "find_ruleset", "path_text"]

#: What patterns look at: their time is linear, in this.
_MAX_VALUE_OCTETS: Final = 4096
_MAX_VALUES: Final = 200
_MAX_DKIM_DOMAINS: Final = 20


@frozen
class VerifiedDomains:
    """Domains, A-labels, that a message provably has something to do with.

    :ivar dkim: signed it.
    :ivar sender: of the envelope, by SPF.
    :ivar sender_localpart: of the sender of the envelope, when ``sender`` is there.
    :ivar helo: the client's name, by SPF.
    """

    dkim: tuple[str, ...] = ()
    sender: str = ""
    sender_localpart: str = ""
    helo: str = ""

    @staticmethod
    def of(verified: Verified, reverse_path: Path) -> VerifiedDomains:
        """From what the checks found."""
        signed = [v.signature.domain for v in verified.dkim if v.signature is not None and v.authenticates]
        dkim = tuple(dict.fromkeys(signed))[:_MAX_DKIM_DOMAINS] if len(signed) > 1 else tuple(signed)
        sender = localpart = helo = ""
        for spf in (verified.spf, verified.helo_spf):
            if spf is None or spf.verdict is not SPFVerdict.PASS:
                continue
            if spf.identity is Identity.HELO:
                helo = spf.domain
            elif reverse_path.address is not None:
                sender, localpart = spf.domain, reverse_path.address.localpart.lower()
        return VerifiedDomains(dkim, sender, localpart, helo)

    def below(self, domain: str) -> bool:
        """Whether one of them is this domain or below it."""
        return any(is_below(name, domain) for name in (self.sender, self.helo, *self.dkim) if name)


def is_below(name: str, domain: str) -> bool:
    """Whether a name is that domain, or lies under it."""
    return name == domain or name.endswith("." + domain)


def path_text(path: Path) -> str:
    """A reverse-path as patterns see it: ``local@domain`` in lower case with A-labels, without quotes; empty for ``<>``."""
    address = path.address
    return _address_text(address) if address is not None else ""


def _address_text(address: Address) -> str:
    return f"{address.localpart}@{address.domain.ascii}".lower()


def find_ruleset(
    rulesets: Iterable[Ruleset], incoming: Incoming, author: Author, domains: VerifiedDomains
) -> Ruleset | None:
    """The first whose conditions all match; one without any matches nothing."""
    for ruleset in rulesets:
        if _matches(ruleset, incoming, author, domains):
            return ruleset
    return None


def _matches(ruleset: Ruleset, incoming: Incoming, author: Author, domains: VerifiedDomains) -> bool:
    sender, message_from, domain = ruleset.smtp_mail_from, ruleset.message_from, ruleset.verified_domain
    if sender is None and message_from is None and not domain and not ruleset.headers:
        return False
    # What costs least comes first.
    if domain and not domains.below(domain):
        return False
    if sender is not None and not sender.search(path_text(incoming.reverse_path)):
        return False
    if message_from is not None and not (author.address and message_from.search(author.address)):
        return False
    return all(_has_field(incoming.header, name, value) for name, value in ruleset.headers)


def _has_field(header: Header, name: Pattern, value: Pattern) -> bool:
    return any(value.search(text) for text in _texts(header, name))


def _texts(header: Header, name: Pattern) -> Iterator[str]:
    left = _MAX_VALUES
    for key, values in header.values.items():
        if not name.search(key.decode("latin-1")):
            continue
        for raw in values:
            if left == 0:
                return
            left -= 1
            yield decode_words(unfold(raw)[:_MAX_VALUE_OCTETS]).strip().lower()
