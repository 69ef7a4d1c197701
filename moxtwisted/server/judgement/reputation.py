"""What an account's past says of a sender: the first property that has any past decides.

::

    standing = reputation(account.reputation, Question("INBOX", sender, known_addresses, now))
    standing.method, standing.junk, standing.conclusive, standing.why
    # Reason.MSGFROMFULL, False, True, "2 earlier messages from bob@example.com were not junk"

``ROWS`` is the table: how a past is looked for, how far back, how many messages of it, and how it is weighed. Counted is only mail
that was destined for the same mailbox and that somebody called junk or not junk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import compress
from typing import Final, Literal

from attrs import define, field, frozen

from moxtwisted.server.judgement.reasons import Reason
from moxtwisted.store.interfaces import IReputation, PastMessage, ReputationKind, Sender
from moxtwisted.store.senders import networks

__all__ = ["ROWS", "UNKNOWN", "Question", "Row", "Standing", "reputation"]

_DAY: Final = 86400
_YEAR: Final = 365 * _DAY

_Written = Literal["address", "domain", "organization"]
_Asked = tuple[ReputationKind, str, bool]
_WRITTEN: Final[tuple[_Written, ...]] = ("address", "domain", "organization")
_OTHERS: Final[tuple[ReputationKind, ...]] = ("spf-address", "spf-domain", "helo", "ip1", "ip2", "ip3")


@frozen
class Standing:
    """What the past says.

    :ivar method: by what it was found.
    :ivar junk: whether the past was junk; None: it was mixed, or there is none.
    :ivar conclusive: whether that decides.
    :ivar why: a sentence without its full stop.
    """

    method: Reason
    junk: bool | None = None
    conclusive: bool = False
    why: str = ""


UNKNOWN: Final = Standing(Reason.NONE, why="nothing is known of the sender")


@define
class Question:
    """Who is asked about.

    :ivar origin: the mailbox that the message is destined for.
    :ivar now: seconds since 1970.
    """

    origin: str
    sender: Sender
    now: float
    _keys: dict[ReputationKind, str] = field(init=False)
    _past: frozenset[_Asked] | None = field(default=None, init=False)
    _written: frozenset[tuple[_Written, str]] = field(default=frozenset(), init=False)

    def __attrs_post_init__(self) -> None:
        sender = self.sender
        around = networks(sender.ip) or ("", "", "")
        self._keys = {
            "address": _address(sender.localpart, sender.domain),
            "domain": sender.domain,
            "organization": sender.organizational_domain,
            "spf-address": _address(sender.spf_localpart, sender.spf_domain),
            "spf-domain": sender.spf_domain,
            "helo": sender.helo_domain,
            "ip1": around[0],
            "ip2": around[1],
            "ip3": around[2],
        }

    def keys(self, kind: ReputationKind) -> tuple[str, ...]:
        """What is looked for; nothing when the sender has no such property."""
        if kind == "dkim":
            return self.sender.dkim_domains
        key = self._keys[kind]
        return (key,) if key else ()

    def has_past(self, known: IReputation, kind: ReputationKind, key: str, validated: bool) -> bool:
        """Whether it is worth asking for."""
        # Most mail comes from people who wrote before.
        if kind == "address":
            return True
        past = self._past if self._past is not None else self._glance(known)
        return (kind, key, validated) in past

    def wrote(self, known: IReputation, kind: _Written, key: str) -> bool:
        """Whether the account ever wrote there."""
        if self._past is None:
            self._glance(known)
        return (kind, key) in self._written

    def strange(self, known: IReputation) -> bool:
        """Whether there is nothing of anything but, perhaps, the address."""
        past = self._past if self._past is not None else self._glance(known)
        return not past and not self._written

    def _glance(self, known: IReputation) -> frozenset[_Asked]:
        """Find out in one go what there is anything of, since mostly it is little or nothing."""
        written = [(kind, key) for kind in _WRITTEN if (key := self._keys[kind])]
        of_from: list[_Asked] = [(kind, key, True) for kind, key in written if kind != "address"]
        asked = of_from + [(kind, key, False) for kind in _OTHERS if (key := self._keys[kind])]
        asked += [("dkim", key, False) for key in self.sender.dkim_domains]
        if not self.sender.validated:
            asked += [(kind, key, False) for kind, key, _ in of_from]
        past, correspondence = known.glance(self.origin, asked, written)
        self._past = frozenset(compress(asked, past))
        self._written = frozenset(compress(written, correspondence))
        return self._past


def _address(localpart: str, domain: str) -> str:
    return f"{localpart}@{domain}" if localpart and domain else ""


Weigh = Callable[[IReputation, Question, "Row"], Standing | None]


@frozen
class Row:
    """One step.

    :ivar method: what a standing found here is called.
    :ivar kind: of the key.
    :ivar seconds: how far back the past counts.
    :ivar limit: of messages looked at.
    :ivar weigh: makes the standing; None: there is no past.
    """

    method: Reason
    kind: ReputationKind
    seconds: int
    limit: int
    weigh: Weigh

    def past(
        self,
        known: IReputation,
        question: Question,
        *,
        validated: bool = False,
        limit: int = 0,
        key: str = "",
        kind: ReputationKind | None = None,
    ) -> Sequence[PastMessage]:
        """The messages of this row; none when the sender has no such property.

        :param validated: whether From was; counts for kinds of From only.
        """
        kind = kind or self.kind
        if not key:
            keys = question.keys(kind)
            if not keys:
                return ()
            key = keys[0]
        if not question.has_past(known, kind, key, validated):
            return ()
        since = int(question.now) - self.seconds
        state = validated if kind in _WRITTEN else None
        found: Sequence[PastMessage] = known.past(
            question.origin, kind, key, state, since, limit or self.limit
        )
        return found


def _many(number: int) -> str:
    return "1 earlier message" if number == 1 else f"{number} earlier messages"


def _last_are_junk(past: Sequence[PastMessage]) -> bool:
    """The newest is junk, and so is the one before, if there is one."""
    return past[0].junk and (len(past) == 1 or past[1].junk)


def _by_author(known: IReputation, question: Question, row: Row) -> Standing | None:
    validated = question.sender.validated
    past = row.past(known, question, validated=validated)
    if not past:
        return _by_impersonated(known, question, row)
    junk = _last_are_junk(past)
    what = "were junk" if junk else "were not all junk" if any(m.junk for m in past) else "were not junk"
    why = f"{_many(len(past))} from {question.keys(row.kind)[0]} {what}" + _proof(validated)
    return Standing(row.method, junk, validated, why)


def _by_impersonated(known: IReputation, question: Question, row: Row) -> Standing | None:
    """From is not proved, but was for earlier mail: somebody else may write in that name."""
    if question.sender.validated:
        return None
    past = row.past(known, question, validated=True, limit=2)
    if not past:
        return None
    why = f"From is not proved, as it was for {_many(len(past))} from {question.keys(row.kind)[0]}"
    return Standing(row.method, True, _last_are_junk(past), why)


def _proof(validated: bool) -> str:
    return "" if validated else ", and From is not proved"


def _by_correspondence(known: IReputation, question: Question, row: Row) -> Standing | None:
    kind: _Written = row.kind  # type: ignore[assignment]  # rows of this weight have one of the three
    since = int(question.now) - row.seconds
    for key in question.keys(kind):
        if question.wrote(known, kind, key) and known.wrote_to(kind, key, since):
            return Standing(row.method, False, True, f"the account wrote to {key}")
    return None


def _by_domain(known: IReputation, question: Question, row: Row) -> Standing | None:
    validated = question.sender.validated
    past = row.past(known, question, validated=validated)
    if not past:
        return _by_impersonated(known, question, row)
    good = sum(not m.junk for m in past)
    why = f"{good} of {_many(len(past))} from {question.keys(row.kind)[0]} not junk" + _proof(validated)
    if 100 * good > 80 * len(past):
        return Standing(row.method, False, True, why)
    if good == 0:
        # One bad user is not yet a bad domain.
        return Standing(row.method, True, len({m.localpart for m in past}) >= 3, why)
    return Standing(row.method, None, False, why)


def _by_identities(known: IReputation, question: Question, row: Row) -> Standing | None:
    parts: list[tuple[str, float]] = []
    total = 0
    for key, past in _identities(known, question, row):
        if past:
            parts.append((key, sum(m.junk for m in past) / len(past)))
            total = max(total, len(past))
    if not parts:
        return None
    good = [key for key, share in parts if share < 0.1]
    bad = [key for key, share in parts if share > 0.9]
    if good and not bad:
        return Standing(row.method, False, True, f"earlier mail with {', '.join(good)} was not junk")
    if bad and not good:
        return Standing(row.method, True, total > 1, f"earlier mail with {', '.join(bad)} was junk")
    mixed = ", ".join(f"{key} ({share:.0%} junk)" for key, share in parts)
    return Standing(row.method, None, False, f"earlier mail does not say enough of {mixed}")


def _identities(
    known: IReputation, question: Question, row: Row
) -> Iterator[tuple[str, Sequence[PastMessage]]]:
    """The past of each domain that signed, and that of the nearest SPF identity that has one."""
    for domain in question.sender.dkim_domains:
        yield f"DKIM {domain}", row.past(known, question, key=domain)
    spf: tuple[ReputationKind, ...] = ("spf-address", "spf-domain", "helo")
    for kind in spf:
        past = row.past(known, question, kind=kind)
        if past:
            yield f"SPF {question.keys(kind)[0]}", past
            return


def _by_network(known: IReputation, question: Question, row: Row, *, enough: int) -> Standing | None:
    past = row.past(known, question)
    if not past:
        return None
    share = sum(m.junk for m in past) / len(past)
    junk = False if share < 0.25 else True if share > 0.75 else None
    conclusive = len(past) >= enough and (share <= 0.1 or share >= 0.9)
    why = f"{share:.0%} of {_many(len(past))} from {question.keys(row.kind)[0]} junk"
    return Standing(row.method, junk, conclusive, why)


#: Highest first.
ROWS: Final[tuple[Row, ...]] = (
    Row(Reason.MSGFROMFULL, "address", 3 * _YEAR, 2, _by_author),
    Row(Reason.MSGTOFULL, "address", 3 * _YEAR, 0, _by_correspondence),
    Row(Reason.MSGFROMDOMAIN, "domain", 2 * _YEAR, 20, _by_domain),
    Row(Reason.MSGTODOMAIN, "domain", 2 * _YEAR, 0, _by_correspondence),
    Row(Reason.MSGFROMORGDOMAIN, "organization", 2 * _YEAR, 20, _by_domain),
    Row(Reason.MSGTOORGDOMAIN, "organization", 2 * _YEAR, 0, _by_correspondence),
    Row(Reason.DKIMSPF, "dkim", 182 * _DAY, 50, _by_identities),
    Row(Reason.IP1, "ip1", 91 * _DAY, 50, partial(_by_network, enough=2)),
    Row(Reason.IP2, "ip2", 91 * _DAY, 50, partial(_by_network, enough=5)),
    Row(Reason.IP3, "ip3", 91 * _DAY, 50, partial(_by_network, enough=10)),
)


def reputation(known: IReputation, question: Question) -> Standing:
    """Go through the rows."""
    first, *others = ROWS
    standing = first.weigh(known, question, first)
    if standing is not None:
        return standing
    if question.strange(known):
        return UNKNOWN
    for row in others:
        standing = row.weigh(known, question, row)
        if standing is not None:
            return standing
    return UNKNOWN
