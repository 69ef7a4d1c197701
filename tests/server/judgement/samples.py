"""Messages, pasts and sources of facts that tests make up."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from ipaddress import ip_address
from typing import Any, Literal, TypeVar

from attrs import define, evolve, field, frozen
from twisted.internet.defer import succeed
from zope.interface import implementer

from moxtwisted.address import Address, Path
from moxtwisted.mailauth.dkim.signature import Signature
from moxtwisted.mailauth.dkim.verify import Status, Verification
from moxtwisted.mailauth.dmarc.author import Author
from moxtwisted.mailauth.dmarc.evaluation import DMARCResult
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.mailauth.dmarc.record import Policy
from moxtwisted.mailauth.dnsbl import Listing
from moxtwisted.mailauth.iprev import IPRevResult
from moxtwisted.mailauth.iprev import Verdict as IPRevVerdict
from moxtwisted.mailauth.spf.evaluation import Identity, SPFResult
from moxtwisted.mailauth.spf.evaluation import Verdict as SPFVerdict
from moxtwisted.message.headers import Header
from moxtwisted.server.judgement.case import Case
from moxtwisted.server.judgement.interfaces import Incoming, JunkScore, Recipient
from moxtwisted.server.judgement.rules import AccountRules, ServerRules, Strictness
from moxtwisted.server.verification.interfaces import Verified
from moxtwisted.store.interfaces import IReputation, PastMessage, ReputationKind, Sender
from moxtwisted.store.senders import networks

DAY = 86400
YEAR = 365 * DAY
NOW = 1_800_000_000
IP = "192.0.2.1"
FROM = ("address", "domain", "organization")

_T = TypeVar("_T")


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as e:
        result: _T = e.value
        return result
    raise AssertionError("it waits")


def path(text: str) -> Path:
    """A path, ``""`` for the null one."""
    return Path(Address.parse(text) if text else None)


def spf(verdict: SPFVerdict, domain: str = "a.example", identity: Identity = Identity.MAIL_FROM) -> SPFResult:
    """A result of SPF."""
    return SPFResult(verdict, identity, domain, f"mary@{domain}", ip_address(IP), "mx.a.example")


def iprev(verdict: IPRevVerdict) -> IPRevResult:
    """A result of iprev."""
    return IPRevResult(verdict, ip_address(IP), "mx.a.example" if verdict is IPRevVerdict.PASS else "")


def dkim(domain: str, status: Status = Status.PASS) -> Verification:
    """A signature."""
    tags = f"v=1; a=rsa-sha256; d={domain}; s=x; h=from; bh={'A' * 43}=; b=AAAA"
    return Verification(status, signature=Signature.parse(b"DKIM-Signature: " + tags.encode() + b"\r\n"))


def dmarc(
    verdict: DMARCVerdict, disposition: Policy = Policy.NONE, *, sampled_out: bool = False
) -> DMARCResult:
    """A result of DMARC."""
    return DMARCResult(
        verdict, disposition, disposition, "nothing is aligned", "a.example", "a.example", "a.example",
        sampled_out=sampled_out,
    )  # fmt: skip


#: Everything is as it should be.
GOOD = Verified(
    ip=ip_address(IP),
    iprev=iprev(IPRevVerdict.PASS),
    spf=spf(SPFVerdict.PASS),
    helo_spf=spf(SPFVerdict.PASS, "mx.a.example", Identity.HELO),
    dkim=(dkim("a.example"),),
    author=Author("a.example"),
    dmarc=dmarc(DMARCVerdict.PASS),
    organizational_domain="a.example",
    from_validated=True,
)

HEADER = b"From: Mary <mary@a.example>\r\nTo: alice@example.org\r\nSubject: hello\r\nList-Id: <Fans.a.example>\r\n\r\n"


def incoming(verified: Verified = GOOD, **changes: Any) -> Incoming:
    """A message from mary@a.example to alice@example.org."""
    header = changes.pop("header", HEADER)
    message = Incoming(
        reverse_path=path("mary@a.example"),
        recipients=(path("alice@example.org"),),
        verified=verified,
        header=Header.parse(header),
        staged=Staged(),  # type: ignore[arg-type]  # a judge asks for its size only
        hello="mx.a.example",
        tls=True,
        seconds=float(NOW),
    )
    return evolve(message, **changes)


class Staged:
    """What a judge asks of a staged message."""

    size = 1000


ALICE = Recipient(
    path=path("alice@example.org"), account="alice", mailbox="INBOX", destination="alice@example.org"
)


@frozen
class Remembered:
    """A message of the past."""

    sender: Sender
    junk: bool | None
    at: int = NOW - DAY


@implementer(IReputation)
@define
class FakeReputation:
    """An account's memory as a list: slow and obvious.

    :ivar written: (address, domain, organizational domain, when).
    """

    messages: list[Remembered] = field(factory=list)
    written: list[tuple[str, str, str, int]] = field(factory=list)
    asked: int = 0
    glanced: int = 0

    def past(
        self,
        origin: str,
        kind: ReputationKind,
        key: str,
        validated: bool | None,
        since: int,
        limit: int,
    ) -> Sequence[PastMessage]:
        """See ``IReputation``."""
        self.asked += 1
        return self._past(origin, kind, key, validated, since, limit)

    def _past(
        self,
        origin: str,
        kind: ReputationKind,
        key: str,
        validated: bool | None,
        since: int,
        limit: int,
    ) -> Sequence[PastMessage]:
        found = [
            PastMessage(m.junk, m.at, hash(m.sender.localpart))
            for m in self.messages
            if m.junk is not None
            and m.at >= since
            and m.sender.origin == origin
            and (validated is None or m.sender.validated is validated)
            and key in _keys(m.sender, kind)
        ]
        return sorted(found, key=lambda m: -m.at)[:limit]

    def wrote_to(self, kind: Literal["address", "domain", "organization"], key: str, since: int) -> bool:
        """See ``IReputation``."""
        place = ("address", "domain", "organization").index(kind)
        return any(w[place] == key and w[3] >= since for w in self.written)

    def glance(
        self,
        origin: str,
        asked: Sequence[tuple[ReputationKind, str, bool]],
        written: Sequence[tuple[Literal["address", "domain", "organization"], str]],
    ) -> tuple[Sequence[bool], Sequence[bool]]:
        """See ``IReputation``."""
        self.glanced += 1
        past = [
            bool(self._past(origin, kind, key, validated if kind in FROM else None, 0, 1))
            for kind, key, validated in asked
        ]
        return past, [self.wrote_to(kind, key, 0) for kind, key in written]


def _keys(sender: Sender, kind: ReputationKind) -> tuple[str, ...]:
    match kind:
        case "address":
            return (f"{sender.localpart}@{sender.domain}",)
        case "domain":
            return (sender.domain,)
        case "organization":
            return (sender.organizational_domain,)
        case "dkim":
            return sender.dkim_domains
        case "spf-address":
            return (f"{sender.spf_localpart}@{sender.spf_domain}",)
        case "spf-domain":
            return (sender.spf_domain,)
        case "helo":
            return (sender.helo_domain,)
        case _:
            found = networks(sender.ip)
            return (found[int(kind[2]) - 1],) if found is not None else ()


@define
class FakeSources:
    """What a case asks; an exception in the place of a value is raised."""

    rates: bool = True
    member: bool | None = None
    memory: Any = field(factory=FakeReputation)
    key: Any = b"k" * 32
    junk: Any = None
    wobble: float = 0.0
    blocked: Listing | None = None
    allowed: Listing | None = None
    reported: Any = "nothing is there"
    asked: list[str] = field(factory=list)

    def _answer(self, what: str, value: Any) -> Any:
        self.asked.append(what)
        if isinstance(value, Exception):
            raise value
        return value

    def within_rates(self) -> bool:
        """See ``Sources``."""
        return bool(self._answer("rates", self.rates))

    def may_post(self, author: str) -> bool | None:
        """See ``Sources``."""
        return self.member

    def reputation(self) -> Any:
        """See ``Sources``."""
        return self._answer("reputation", self.memory)

    def subject_key(self) -> Awaitable[bytes]:
        """See ``Sources``."""
        return succeed(self._answer("key", self.key))

    def score(self) -> Awaitable[JunkScore | None]:
        """See ``Sources``."""
        return succeed(self._answer("score", self.junk))

    def jitter(self) -> float:
        """See ``Sources``."""
        return self.wobble

    def block_list(self) -> Awaitable[Listing | None]:
        """See ``Sources``."""
        return succeed(self._answer("block", self.blocked))

    def allow_list(self) -> Awaitable[Listing | None]:
        """See ``Sources``."""
        return succeed(self._answer("allow", self.allowed))

    def report(self, kinds: frozenset[str]) -> Awaitable[Any]:
        """See ``Sources``."""
        return succeed(self._answer("report " + " ".join(sorted(kinds)), self.reported))

    def is_ours(self, domain: str) -> bool:
        """See ``Sources``."""
        return domain == "example.org"


def case(message: Incoming | None = None, sources: FakeSources | None = None, **changes: Any) -> Case:
    """A case of alice's."""
    given: dict[str, Any] = {
        "recipient": ALICE, "rules": AccountRules(), "strictness": Strictness(), "server": ServerRules(), **changes,
    }  # fmt: skip
    return Case(incoming=message or incoming(), sources=sources or FakeSources(), **given)
