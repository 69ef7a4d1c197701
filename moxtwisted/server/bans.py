"""Networks that may not connect, over any protocol: banned by the operator, or for what came from there.

One object for the whole server, asked by the ``ConnectionLimiter`` of all listeners before anything else::

    bans = Bans(time.time, clock, BanSettings(), records)
    bans.refusal("192.0.2.7")                                 # None: may come
    bans.report("192.0.2.7", "spam-trap", "trap@example.org")      # the third of a day: banned
    bans.refusal("192.0.2.7")                                 # 'your network is banned here until 2026-01-31T12:00:00Z'
    await bans.add("198.51.100.0/24", "a botnet", 86400)
    await bans.lift("198.51.100.0/24")

Who is banned without the operator
----------------------------------
Each rule counts, per address and the networks around it (``moxtwisted.server.ratelimit``), what it is about; who has more than the
rule allows is banned: the narrowest of the three that has. Each further time within a week after the last ban doubles its
length, up to a week.

``failed-logins``
    Failed log-ins, and those that were refused because there were too many.
``spraying``
    Different login names that failed within an hour. Whether they exist makes no difference, or it would tell.
``spam-trap``
    Mail to addresses that nobody should know; reported by whoever takes mail in.
``protocol-errors``
    Connections that we ended because the client made too many errors.

Who is not
----------
Never this machine, and never what the operator listed. Not a network from which somebody logged in within a week
(``welcome``): behind one address there may be an office, in which one has a wrong password in the telephone; the limits on failed
log-ins still hold for it. Neither are its wider networks. A server that brought mail from senders who are known as good is not banned for
spam traps and errors.

Everything is bounded: bans by ``max_bans`` (those of the operator stay, the others that end first go), counters as in the limiter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Protocol

from attrs import Attribute, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.errors import LimitError, MailError
from moxtwisted.server.ratelimit import (
    IBans,
    Key,
    Networks,
    SlidingWindowLimiter,
    Triple,
    Window,
    address_bits,
    classes,
    network_text,
)
from moxtwisted.store.bans import Ban

__all__ = ["CAUSES", "PRIVATE_NETWORKS", "BanSettings", "Bans", "Rule"]

_log = Logger()

OPERATOR: Final = "operator"
FAILED_LOGINS: Final = "failed-logins"
SPRAYING: Final = "spraying"
SPAM_TRAP: Final = "spam-trap"
PROTOCOL_ERRORS: Final = "protocol-errors"
#: The rules.
CAUSES: Final = (FAILED_LOGINS, SPRAYING, SPAM_TRAP, PROTOCOL_ERRORS)
_ABOUT_LOGINS: Final = frozenset({FAILED_LOGINS, SPRAYING})

_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
#: Private and link-local: where a router or a container's proxy may stand for everybody.
PRIVATE_NETWORKS: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")

#: How long a ban that ended, and a log-in, are remembered, and how long an automatic ban lasts at most, seconds.
WEEK_SECONDS: Final = 7 * 86400
#: Nobody bans more by mistake than this: shorter prefixes are refused.
_SHORTEST_PREFIX: Final = {4: 8, 6: 16}
_WHY_CHARACTERS: Final = 500
#: Different login names, and networks where somebody logged in, that are remembered.
_MAX_REMEMBERED: Final = 30_000


@frozen
class Rule:
    """More events than this, and a network is banned.

    :ivar events: for an address, its network and its wider network.
    :ivar within_seconds: in which they are counted.
    :ivar ban_seconds: how long the first ban lasts; 0: nobody is banned for it.
    """

    events: Triple
    within_seconds: float
    ban_seconds: float


def _default_rules() -> dict[str, Rule]:
    return {
        FAILED_LOGINS: Rule((100, 300, 900), 86400, 8 * 3600),
        SPRAYING: Rule((20, 60, 180), 3600, 8 * 3600),
        SPAM_TRAP: Rule((2, 6, 18), 86400, 86400),
        PROTOCOL_ERRORS: Rule((10, 30, 90), 3600, 3600),
    }


def _check_rules(instance: object, attribute: Attribute[dict[str, Rule]], value: dict[str, Rule]) -> None:
    if set(value) - set(CAUSES):
        raise ValueError(f"rules are: {', '.join(CAUSES)}")


@frozen(kw_only=True)
class BanSettings:
    """Who is banned, and who never.

    :ivar rules: by cause.
    :ivar never: networks that are not banned, beside this machine's own addresses of loopback.
    :ivar max_bans: how many networks are kept.
    """

    rules: dict[str, Rule] = field(factory=_default_rules, validator=_check_rules)
    never: tuple[str, ...] = PRIVATE_NETWORKS
    max_bans: int = 10_000


class IBanRecords(Protocol):
    """Where bans outlive the process (``moxtwisted.store.bans``)."""

    def all(self) -> list[Ban]:
        """What was written."""

    def write(self, bans: list[Ban], gone: Iterable[str]) -> Deferred[None]:
        """Put these and remove those networks."""

    def close(self) -> Deferred[None]:
        """Close the file."""


@implementer(IBans)
class Bans:
    """See the module.

    :param seconds: the time of day, since 1970.
    :param clock: for the counters.
    :param settings: see there.
    :param records: None: nothing outlives the process.
    :ivar observers: functions that get every new ``Ban``: to end connections from there.
    :ivar refused: connections that were refused.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        clock: IReactorTime,
        settings: BanSettings | None = None,
        records: IBanRecords | None = None,
    ) -> None:
        self._settings = settings or BanSettings()
        self._seconds = seconds
        self._records = records
        self._never = Networks((*_LOOPBACK, *self._settings.never))
        self._counters = {
            cause: SlidingWindowLimiter(
                (Window(rule.within_seconds, rule.events),), clock, max_networks=_MAX_REMEMBERED
            )
            for cause, rule in self._settings.rules.items()
            if rule.ban_seconds > 0
        }
        self._clock = clock
        self._bans: dict[str, Ban] = {}
        # (version, bits that do not count) -> the others -> the ban
        self._lengths: dict[tuple[int, int], dict[int, Ban]] = {}
        self._names: OrderedDict[tuple[Key, str], float] = OrderedDict()
        self._welcome: OrderedDict[Key, float] = OrderedDict()
        self._senders: OrderedDict[Key, float] = OrderedDict()
        self.observers: list[Callable[[Ban], None]] = []
        self.refused = 0
        for ban in records.all() if records is not None else ():
            self._enter(ban)
        self._forget(self._outlived())

    def __len__(self) -> int:
        """How many networks are kept, those too whose ban ended lately."""
        return len(self._bans)

    # -- asking --------------------------------------------------------------------------------------------------

    def ban_of(self, ip: str) -> Ban | None:
        """The ban that keeps an address out, the one of the narrowest network; None: there is none."""
        if not self._lengths:
            return None
        found = address_bits(ip)
        if found is None:
            return None
        version, bits = found
        best: Ban | None = None
        narrowest = 128
        for (kind, shift), bans in self._lengths.items():
            if kind != version or shift > narrowest:
                continue
            ban = bans.get(bits >> shift)
            if ban is not None and (ban.ends is None or ban.ends > self._seconds()):
                best, narrowest = ban, shift
        return best if best is not None and ip not in self._never else None

    def refusal(self, ip: str) -> str | None:
        """See ``IBans``."""
        if not self._lengths:
            return None
        ban = self.ban_of(ip)
        if ban is None:
            return None
        self.refused += 1
        _log.debug("refused {peer}: {network} is banned", peer=ip, network=ban.network, cause=ban.cause)
        return "your network is banned here" + (f" until {_time(ban.ends)}" if ban.ends is not None else "")

    def all(self) -> list[Ban]:
        """The bans that hold, the latest first."""
        self._forget(self._outlived())
        now = self._seconds()
        holding = [ban for ban in self._bans.values() if ban.ends is None or ban.ends > now]
        return sorted(holding, key=lambda ban: (-ban.begun, ban.network))

    # -- by the operator -----------------------------------------------------------------------------------------

    def add(self, network: str, why: str, for_seconds: float | None) -> Deferred[Ban]:
        """Ban a network or an address; in place of a ban of just this network.

        :param for_seconds: None: until somebody lifts it.
        :returns: fires when it is on disk.
        :raises MailError: when it is no network, one that is never banned, or too wide a one.
        """
        parsed = _parse(network)
        if str(parsed.network_address) in self._never and str(parsed.broadcast_address) in self._never:
            raise MailError(f"{parsed} is never banned: this machine, or one of bans.never")
        if len(self._bans) >= self._settings.max_bans and not self._make_room():
            raise LimitError(f"{len(self._bans)} networks are banned already; lift some")
        now = int(self._seconds())
        ends = None if for_seconds is None else now + max(1, int(for_seconds))
        ban = Ban(str(parsed), OPERATOR, why[:_WHY_CHARACTERS], now, ends)
        return self._put(ban).addCallback(lambda _: ban)

    def lift(self, network: str) -> Deferred[None]:
        """Take a ban away, and what was counted for the address.

        :raises MailError: when just this network is not banned.
        """
        name = str(_parse(network))
        if name not in {ban.network for ban in self.all()}:
            ban = self.ban_of(name.partition("/")[0])
            hint = f"; it lies in {ban.network}, which is" if ban is not None else ""
            raise MailError(f"{name} is not banned{hint}")
        self._uncount(name)
        return self._forget([name])

    def lift_all(self) -> Deferred[None]:
        """Take all away."""
        for network in self._bans:
            self._uncount(network)
        return self._forget(list(self._bans))

    def _uncount(self, network: str) -> None:
        for counter in self._counters.values():
            counter.forgive(network.partition("/")[0])

    # -- by the rules --------------------------------------------------------------------------------------------

    def report(self, ip: str, cause: str, why: str = "", amount: float = 1) -> None:
        """Count an event, and ban who has too many.

        :param ip: what is no address (the empty name of a unix socket's peer) does not matter.
        :param cause: one of ``CAUSES``.
        :param why: what it was, for people; the one that is too much is shown with the ban.
        :param amount: less than one for what is less bad.
        """
        counter = self._counters.get(cause)
        keys = classes(ip)
        if counter is None or keys is None or ip in self._never or amount <= 0:
            return
        counter.add(ip, amount)
        number = counter.over(ip)
        if number is None or self._is_welcome(keys[number], cause) or self.ban_of(ip) is not None:
            return
        rule = self._settings.rules[cause]
        text = f"more than {rule.events[number]} within {_duration(rule.within_seconds)}"
        self._ban(
            network_text(keys[number]), cause, f"{text}, last: {why}" if why else text, rule.ban_seconds
        )

    def failed_login(self, ip: str, name: str, amount: float = 1) -> None:
        """Somebody failed to log in, or was not allowed to try.

        :param name: as it is looked up, or a digest of it: only whether it is another one matters.
        """
        self.report(ip, FAILED_LOGINS, amount=amount)
        keys = classes(ip)
        if keys is None or SPRAYING not in self._counters or not name:
            return
        now = self._clock.seconds()
        seen = self._names.get((keys[0], name))
        self._names[keys[0], name] = now
        self._names.move_to_end((keys[0], name))
        if len(self._names) > _MAX_REMEMBERED:
            self._names.popitem(last=False)
        if seen is None or now - seen > self._settings.rules[SPRAYING].within_seconds:
            self.report(ip, SPRAYING)

    def welcome(self, ip: str, *, by_mail: bool = False) -> None:
        """Somebody there is one of ours: the rules do not ban the network for a week.

        :param by_mail: somebody who is known as a good sender brought mail; that is no reason to let anybody guess passwords.
        """
        now = self._clock.seconds()
        welcome = self._senders if by_mail else self._welcome
        for key in classes(ip) or ():
            welcome[key] = now
            welcome.move_to_end(key)
        while len(welcome) > _MAX_REMEMBERED:
            welcome.popitem(last=False)

    def _is_welcome(self, key: Key, cause: str) -> bool:
        known = (self._welcome,) if cause in _ABOUT_LOGINS else (self._welcome, self._senders)
        now = self._clock.seconds()
        return any(now - welcome.get(key, -WEEK_SECONDS) < WEEK_SECONDS for welcome in known)

    def _ban(self, network: str, cause: str, why: str, seconds: float) -> None:
        if len(self._bans) >= self._settings.max_bans and not self._make_room():
            _log.warn("{network} is not banned: the operator's bans take all places", network=network)
            return
        now = int(self._seconds())
        before = self._bans.get(network)
        times = before.times + 1 if before is not None else 1
        lasts = min(seconds * 2 ** min(times - 1, 20), max(seconds, WEEK_SECONDS))
        ban = Ban(network, cause, why[:_WHY_CHARACTERS], now, now + int(lasts), times)
        self._put(ban).addErrback(lambda failure: _log.failure("a ban was not written", failure))

    # -- keeping -------------------------------------------------------------------------------------------------

    def _put(self, ban: Ban) -> Deferred[None]:
        self._enter(ban)
        _log.info(
            "banned {network} until {ends}: {cause} {why}",
            network=ban.network,
            ends=_time(ban.ends) if ban.ends is not None else "it is lifted",
            cause=ban.cause,
            why=ban.why,
        )
        for observer in self.observers:
            observer(ban)
        return self._records.write([ban], ()) if self._records is not None else succeed(None)

    def _enter(self, ban: Ban) -> None:
        self._bans[ban.network] = ban
        length, prefix = _place(ban.network)
        self._lengths.setdefault(length, {})[prefix] = ban

    def _forget(self, networks: list[str]) -> Deferred[None]:
        for network in networks:
            del self._bans[network]
            length, prefix = _place(network)
            del self._lengths[length][prefix]
            if not self._lengths[length]:
                del self._lengths[length]
        if not networks or self._records is None:
            return succeed(None)
        return self._records.write([], networks)

    def _outlived(self) -> list[str]:
        """Bans that ended more than a week ago."""
        until = self._seconds() - WEEK_SECONDS
        return [ban.network for ban in self._bans.values() if ban.ends is not None and ban.ends < until]

    def _make_room(self) -> bool:
        """Forget a hundredth of the bans: those that the rules made, first those that end first."""
        by_rule = [ban for ban in self._bans.values() if ban.cause != OPERATOR]
        by_rule.sort(key=lambda ban: ban.ends or 0)
        gone = [ban.network for ban in by_rule[: max(1, self._settings.max_bans // 100)]]
        self._forget(gone).addErrback(lambda failure: _log.failure("bans were not removed", failure))
        return bool(gone)

    def close(self) -> Deferred[None]:
        """Close the file."""
        return self._records.close() if self._records is not None else succeed(None)


def _parse(network: str) -> IPv4Network | IPv6Network:
    """:raises MailError: when it is no network, or too wide a one."""
    try:
        parsed = ip_network(network, strict=False)
    except ValueError as e:
        raise MailError(
            f"{network} is no address and no network, as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64"
        ) from e
    mapped = getattr(parsed.network_address, "ipv4_mapped", None)
    if mapped is not None and parsed.prefixlen >= 96:
        parsed = IPv4Network((mapped, parsed.prefixlen - 96))
    if parsed.prefixlen < _SHORTEST_PREFIX[parsed.version]:
        raise MailError(f"{parsed} is too wide: /{_SHORTEST_PREFIX[parsed.version]} at most")
    return parsed


def _place(network: str) -> tuple[tuple[int, int], int]:
    """Where a ban is looked for."""
    parsed = ip_network(network)
    shift = parsed.max_prefixlen - parsed.prefixlen
    return (parsed.version, shift), int(parsed.network_address) >> shift


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size and seconds % size == 0:
            number = int(seconds // size)
            return f"{number} {unit}" if number > 1 else f"a {unit[:-1]}" if unit != "hours" else "an hour"
    return f"{seconds:g} seconds"
