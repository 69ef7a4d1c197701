"""What BadSMTP says to EHLO: its extensions, in its order, as the client's name wants them.

::

    offers = BadOffers()
    offers.wishes = parse_hello_name("nosize-authplain.example")
    offers.offer(facts).lines          # ("AUTH PLAIN", "8BITMIME", "PIPELINING", ...)

One object belongs to one connection, since wishes do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from moxtwisted.badsmtp.tokens import Wishes
from moxtwisted.smtp.extensions import Extension, Facts, Offers
from moxtwisted.smtp.grammar import MAIL_PARAMETERS

__all__ = ["BadOffers"]

#: The keywords in the order of the EHLO reply.
KEYWORDS = (
    "AUTH",
    "8BITMIME",
    "SIZE",
    "PIPELINING",
    "STARTTLS",
    "CHUNKING",
    "SMTPUTF8",
    "ENHANCEDSTATUSCODES",
)


class _Wished(Extension):
    """One extension, as the wishes have it."""

    def __init__(self, keyword: str, offers: BadOffers) -> None:
        self.keyword = keyword
        self.mail_parameters = MAIL_PARAMETERS.get(keyword, {})
        self._offers = offers

    def offered(self, facts: Facts) -> str | None:
        """The parameters, or None."""
        offers, wishes = self._offers, self._offers.wishes
        if self.keyword in wishes.left_out:
            return None
        if self.keyword == "AUTH":
            return " ".join(wishes.mechanisms) or None
        if self.keyword == "SIZE":
            return str(offers.size_octets)
        if self.keyword == "STARTTLS":
            return "" if facts.tls_available and facts.tls is None else None
        return ""


class _Line(Extension):
    """A line that somebody's own extension wants."""

    def __init__(self, line: str) -> None:
        self.keyword, _, self._parameters = line.partition(" ")

    def offered(self, facts: Facts) -> str | None:
        """What follows the keyword."""
        return self._parameters


class BadOffers(Offers):
    """The offer of one connection.

    :ivar wishes: what the name of the last EHLO asked for.
    :ivar default_octets: what SIZE says when nobody wishes otherwise.
    """

    def __init__(self, default_octets: int, lines: Iterable[str] = ()) -> None:
        """:param lines: further lines of the reply, for extensions of others."""
        super().__init__(())
        self.wishes = Wishes()
        self.default_octets = default_octets
        self._wished = (*(_Wished(keyword, self) for keyword in KEYWORDS), *(_Line(line) for line in lines))

    @property
    def size_octets(self) -> int:
        """The largest message."""
        size = self.wishes.size
        return self.default_octets if size is None else size

    def extensions(self, facts: Facts) -> Sequence[Extension]:
        """All of them; each says itself whether it is offered."""
        return self._wished
