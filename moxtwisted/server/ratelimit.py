"""Limits by where a peer comes from: its address and the two networks around it.

Somebody with a whole /48 can use a new address for each connection, so every event is counted for three
classes: IPv4 /32, /26, /21 and IPv6 /64, /48, /32, with growing limits::

    limiter = SlidingWindowLimiter(AuthenticationLimits().windows(), clock)
    limiter.allows("192.0.2.1")        # may somebody from here try again?
    limiter.add("192.0.2.1")           # one more failure
    limiter.forgive("192.0.2.1")       # a success: what this address did is forgotten

    connections = ConnectionLimiter(ConnectionLimits(), clock)
    match connections.admit("192.0.2.1"):
        case None: ...                  # later, exactly once: connections.release("192.0.2.1")
        case Refusal(text=text): ...    # 421 text

The window slides by the usual approximation of two counters: the count of the running window plus that of
the one before, weighted by how much of it the last ``seconds`` still cover. Memory is bounded: of each class the
peers that were seen longest ago are forgotten first.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final, Protocol

from attrs import Attribute, define, field, frozen, validators
from twisted.internet.interfaces import IReactorTime
from zope.interface import Interface

__all__ = [
    "AdmittedElsewhere",
    "AuthenticationLimits",
    "ConnectionLimiter",
    "ConnectionLimits",
    "Connections",
    "DeliveryLimiter",
    "DeliveryLimits",
    "IBans",
    "Networks",
    "Refusal",
    "SlidingWindowLimiter",
    "Window",
    "address_bits",
    "classes",
    "network_text",
]

Key = tuple[int, int]
"""A network: which family and class (1 to 3 for IPv4, 4 to 6 for IPv6), and the leading bits of the address."""

Triple = tuple[int, int, int]

_MAPPED = b"\0" * 10 + b"\xff\xff"


#: How many bits of an address do not count for a class.
_SHIFTS: Final = {1: 0, 2: 6, 3: 11, 4: 64, 5: 80, 6: 96}


def address_bits(ip: str) -> tuple[int, int] | None:
    """The version of an address, 4 or 6, and its 32 or 128 bits.

    An IPv4 address in IPv6 clothing (``::ffff:192.0.2.1``) counts as IPv4; a zone (``%eth0``) is cut off.

    :return: ``None`` when the text is no IP address, such as the empty name of a unix-socket peer.
    """
    try:
        if ":" not in ip:
            octets = socket.inet_pton(socket.AF_INET, ip)
        else:
            octets = socket.inet_pton(socket.AF_INET6, ip.partition("%")[0])
            if octets.startswith(_MAPPED):
                octets = octets[12:]
    except (OSError, ValueError):
        return None
    return (4 if len(octets) == 4 else 6), int.from_bytes(octets)


@lru_cache(1024)
def classes(ip: str) -> tuple[Key, Key, Key] | None:
    """The three networks an address lies in, narrowest first; ``None`` as for ``address_bits``."""
    found = address_bits(ip)
    if found is None:
        return None
    version, bits = found
    if version == 4:
        return (1, bits), (2, bits >> 6), (3, bits >> 11)
    return (4, bits >> 64), (5, bits >> 80), (6, bits >> 96)


def network_text(key: Key) -> str:
    """A network as people write it: ``192.0.2.0/26``."""
    number, bits = key
    shift = _SHIFTS[number]
    if number <= 3:
        return f"{IPv4Address(bits << shift)}/{32 - shift}"
    return f"{IPv6Address(bits << shift)}/{128 - shift}"


class Networks:
    """A set of networks that a peer may be in.

    :param networks: as ``127.0.0.0/8`` or ``2001:db8::/32``.
    :raise ValueError: when one of them is none.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._v4: list[tuple[int, int]] = []
        self._v6: list[tuple[int, int]] = []
        for text in networks:
            network = ip_network(text)
            shift = network.max_prefixlen - network.prefixlen
            into = self._v4 if network.version == 4 else self._v6
            into.append((shift, int(network.network_address) >> shift))

    def __contains__(self, ip: str) -> bool:
        found = address_bits(ip)
        if found is None:
            return False
        version, bits = found
        return any(bits >> shift == prefix for shift, prefix in (self._v4 if version == 4 else self._v6))


@frozen
class Window:
    """At most so many events within so many seconds.

    :ivar seconds: length of the window.
    :ivar limits: events for class 1, 2 and 3, the narrowest first.
    """

    seconds: float = field(validator=validators.gt(0))
    limits: Triple


def _check_triple(instance: object, attribute: Attribute[Triple], value: Triple) -> None:
    if len(value) != 3 or not all(isinstance(limit, int) and limit >= 1 for limit in value):
        raise ValueError(f"{attribute.name} takes three whole numbers from 1, one for each class")


@frozen
class AuthenticationLimits:
    """Failed log-ins per class, shared by all protocols (as mox).

    :ivar per_minute: within 60 seconds.
    :ivar per_day: within 24 hours.
    :ivar exempt: networks that are not limited.
    """

    per_minute: Triple = field(default=(10, 30, 90), validator=_check_triple)
    per_day: Triple = field(default=(50, 150, 450), validator=_check_triple)
    exempt: tuple[str, ...] = ()

    def windows(self) -> tuple[Window, ...]:
        """For ``SlidingWindowLimiter``."""
        return Window(60, self.per_minute), Window(86400, self.per_day)


@frozen
class ConnectionLimits:
    """New and simultaneous connections per class (as mox, but for ``exempt``).

    :ivar per_minute: new connections within 60 seconds.
    :ivar simultaneous: open connections.
    :ivar exempt: networks that are not limited; the machine itself, so that a content filter or a webmail on it
        is not locked out.
    """

    per_minute: Triple = field(default=(300, 900, 2700), validator=_check_triple)
    simultaneous: Triple = field(default=(30, 90, 270), validator=_check_triple)
    exempt: tuple[str, ...] = ("127.0.0.0/8", "::1/128")

    def windows(self) -> tuple[Window, ...]:
        """For ``SlidingWindowLimiter``."""
        return (Window(60, self.per_minute),)


@define
class _Count:
    """Events of one network in one window: number of the running window, its count, that of the one before."""

    index: int
    current: float = 0
    before: float = 0

    def at(self, index: int) -> None:
        if index != self.index:
            self.before = self.current if index == self.index + 1 else 0
            self.current = 0
            self.index = index

    def total(self, now: float, seconds: float) -> float:
        index, rest = divmod(now, seconds)
        self.at(int(index))
        return self.current + self.before * (1.0 - rest / seconds)


class SlidingWindowLimiter:
    """Counts events by class over one or more windows.

    :param windows: all of them must allow an event.
    :param clock: gives the time.
    :param max_networks: how many networks are remembered per window; at about 250 octets each.
    """

    def __init__(
        self, windows: Sequence[Window], clock: IReactorTime, *, max_networks: int = 100_000
    ) -> None:
        if max_networks < 3:
            raise ValueError("room for fewer networks than one address has")
        self._clock = clock
        self._max = max_networks
        self._windows = tuple(windows)
        self._counts: tuple[OrderedDict[Hashable, _Count], ...] = tuple(OrderedDict() for _ in windows)

    def __len__(self) -> int:
        """How many counters are kept."""
        return sum(len(counts) for counts in self._counts)

    def allows(self, ip: str, amount: float = 1) -> bool:
        """Whether ``amount`` more events from this address would stay within every limit; counts nothing.

        An address that cannot be read is always allowed.
        """
        keys = classes(ip)
        return keys is None or self.allow_keys(keys, amount, self._clock.seconds())

    def allow_keys(self, keys: Sequence[Hashable], amount: float, now: float) -> bool:
        """As ``allows``, for three keys of any kind, the narrowest first, at a time of the clock."""
        for window, counts in zip(self._windows, self._counts, strict=True):
            if not counts:
                continue
            index, rest = divmod(now, window.seconds)
            weight = 1.0 - rest / window.seconds
            for key, limit in zip(keys, window.limits, strict=True):
                count = counts.get(key)
                if count is None:
                    continue
                count.at(int(index))
                if count.current + count.before * weight + amount > limit:
                    return False
        return True

    def add(self, ip: str, amount: float = 1) -> None:
        """Count events, whether they are within the limits or not."""
        keys = classes(ip)
        if keys is not None:
            self.add_keys(keys, amount, self._clock.seconds())

    def add_keys(self, keys: Sequence[Hashable], amount: float, now: float) -> None:
        """As ``add``, for three keys of any kind."""
        for window, counts in zip(self._windows, self._counts, strict=True):
            index = int(now // window.seconds)
            for key in keys:
                count = counts.get(key)
                if count is None:
                    counts[key] = count = _Count(index)
                    if len(counts) > self._max:
                        counts.popitem(last=False)
                else:
                    count.at(index)
                    counts.move_to_end(key)
                count.current += amount

    def over(self, ip: str) -> int | None:
        """Which class has more than its limit: 0 to 2, the narrowest of them; None when no class has."""
        keys = classes(ip)
        if keys is None:
            return None
        now = self._clock.seconds()
        for number, key in enumerate(keys):
            for window, counts in zip(self._windows, self._counts, strict=True):
                count = counts.get(key)
                if count is not None and count.total(now, window.seconds) > window.limits[number]:
                    return number
        return None

    def take(self, ip: str, amount: float = 1) -> bool:
        """Count ``amount`` events if they are within every limit.

        :return: whether they were. Refused ones are not counted, so a busy peer gets in again as time passes.
        """
        keys = classes(ip)
        if keys is None:
            return True
        now = self._clock.seconds()
        if not self.allow_keys(keys, amount, now):
            return False
        self.add_keys(keys, amount, now)
        return True

    def forgive(self, ip: str) -> None:
        """Forget what this address did, and take it off the counts of the networks around it."""
        keys = classes(ip)
        if keys is None:
            return
        for counts in self._counts:
            own = counts.pop(keys[0], None)
            if own is None:
                continue
            for key in keys[1:]:
                count = counts.get(key)
                if count is None:
                    continue
                # both on the same window, or the shares would be taken off the wrong counter
                own.at(max(own.index, count.index))
                count.at(own.index)
                count.current = max(0, count.current - own.current)
                count.before = max(0, count.before - own.before)


@frozen
class Refusal:
    """Why a connection is not taken.

    :ivar kind: ``"rate"``, ``"simultaneous"`` or ``"banned"``, for logs and metrics.
    :ivar text: for the peer.
    """

    kind: str
    text: str


_RATE = Refusal("rate", "connection rate from your ip or network too high")
_SIMULTANEOUS = Refusal("simultaneous", "too many open connections from your ip or network")


class IBans(Interface):
    """Networks that may not connect (``moxtwisted.server.bans``)."""

    def refusal(ip: str) -> str | None:
        """What a client from there is told; None when it may come."""

    def report(ip: str, cause: str, why: str = "", amount: float = 1) -> None:
        """Somebody there did what should not be done; enough of that, and he is banned."""

    def failed_login(ip: str, name: str, amount: float = 1) -> None:
        """Somebody there failed to log in, or was not allowed to try any more."""

    def welcome(ip: str, *, by_mail: bool = False) -> None:
        """Somebody there is one of ours."""


class Connections(Protocol):
    """Who may connect."""

    def admit(self, ip: str) -> Refusal | None:
        """A peer connected. :return: None when it may stay, and then ``release`` must be called once; else why not."""

    def release(self, ip: str, *, errors: bool = False) -> None:
        """An admitted connection is gone. :param errors: whether we ended it because the client made too many of them."""


class AdmittedElsewhere:
    """For connections that somebody else admitted, and counts."""

    def admit(self, ip: str) -> Refusal | None:
        """It may stay."""
        return None

    def release(self, ip: str, *, errors: bool = False) -> None:
        """Nothing to do."""


class ConnectionLimiter:
    """Admits connections by rate and number; one object for all listeners that shall share the limits.

    :param limits: the limits.
    :param bans: who may not come at all.
    :param clock: gives the time.
    :param max_networks: see ``SlidingWindowLimiter``; open connections are counted exactly beside it.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        clock: IReactorTime,
        *,
        bans: IBans | None = None,
        max_networks: int = 100_000,
    ) -> None:
        self._limits = limits
        self.bans = bans
        self._rate = SlidingWindowLimiter(limits.windows(), clock, max_networks=max_networks)
        self._open: dict[Key, int] = {}
        self._exempt = Networks(limits.exempt)

    def admit(self, ip: str) -> Refusal | None:
        """A peer connected.

        :return: ``None`` when it may stay, and then ``release`` must be called once when it is gone; else why not.
        """
        if self.bans is not None and (banned := self.bans.refusal(ip)) is not None:
            return Refusal("banned", banned)
        keys = classes(ip)
        if keys is None or ip in self._exempt:
            return None
        for key, limit in zip(keys, self._limits.simultaneous, strict=True):
            if self._open.get(key, 0) >= limit:
                return _SIMULTANEOUS
        if not self._rate.take(ip):
            return _RATE
        for key in keys:
            self._open[key] = self._open.get(key, 0) + 1
        return None

    def release(self, ip: str, *, errors: bool = False) -> None:
        """An admitted connection is gone.

        :param errors: whether we ended it because the client made too many of them.
        """
        if errors and self.bans is not None:
            self.bans.report(ip, "protocol-errors", "")
        keys = classes(ip)
        if keys is None or ip in self._exempt:
            return
        for key in keys:
            left = self._open.get(key, 0) - 1
            if left > 0:
                self._open[key] = left
            else:
                self._open.pop(key, None)

    def open_connections(self, ip: str) -> Triple:
        """How many connections are open from this address and the networks around it; exempt peers are not counted."""
        keys = classes(ip)
        if keys is None:
            return 0, 0, 0
        one, two, three = (self._open.get(key, 0) for key in keys)
        return one, two, three


@frozen
class DeliveryLimits:
    """Mail for one account per class of the sending network (the reference's figures).

    :ivar messages_per_minute: within 60 seconds.
    :ivar messages_per_day: within 24 hours.
    :ivar octets_per_minute: the same for their sizes together.
    :ivar octets_per_day: and for a day.
    """

    messages_per_minute: Triple = field(default=(500, 1500, 4500), validator=_check_triple)
    messages_per_day: Triple = field(default=(10_000, 30_000, 90_000), validator=_check_triple)
    octets_per_minute: Triple = field(
        default=(1000 * 10**6, 3000 * 10**6, 9000 * 10**6), validator=_check_triple
    )
    octets_per_day: Triple = field(
        default=(3000 * 10**6, 9000 * 10**6, 27000 * 10**6), validator=_check_triple
    )


class DeliveryLimiter:
    """How much mail an account gets from one network; beyond that it has to wait.

    ::

        limiter = DeliveryLimiter(DeliveryLimits(), clock)
        if limiter.allows("alice", ip, octets): ...     # deliver, and when that is done:
        limiter.add("alice", ip, octets)

    Accounts are counted apart. What was delivered before a restart does not count.

    :param max_networks: how many networks (of an account each) are remembered, for messages and for octets.
    """

    def __init__(self, limits: DeliveryLimits, clock: IReactorTime, *, max_networks: int = 20_000) -> None:
        self._clock = clock
        self._max = max_networks
        self._most_octets = min(*limits.octets_per_minute, *limits.octets_per_day)
        self._windows: tuple[tuple[float, Triple, Triple], ...] = (
            (60.0, limits.messages_per_minute, limits.octets_per_minute),
            (86400.0, limits.messages_per_day, limits.octets_per_day),
        )
        self._delivered: OrderedDict[Hashable, tuple[_Delivered, ...]] = OrderedDict()

    def __len__(self) -> int:
        """How many counters are kept."""
        return 2 * len(self._windows) * len(self._delivered)

    def allows(self, account: str, ip: str, octets: int) -> bool:
        """Whether one more message of this size may be delivered; an address that cannot be read is always allowed.

        A message that is larger than a limit by itself is allowed to who sent nothing else.
        """
        keys = _account_keys(account, ip)
        # Who delivered nothing from its widest network did not from those within.
        if keys is None or keys[-1] not in self._delivered:
            return True
        octets = min(octets, self._most_octets)
        # No window ever has more than what was counted in it and in the one before: mostly that says enough.
        for number, key in enumerate(keys):
            for count, (_, messages, most) in zip(self._delivered.get(key, ()), self._windows, strict=False):
                if (
                    count.messages + count.messages_before >= messages[number]
                    or count.octets + count.octets_before + octets > most[number]
                ):
                    return self._reckoned(keys, octets)
        return True

    def _reckoned(self, keys: tuple[Hashable, ...], octets: int) -> bool:
        """The same with the share of the window before that still counts."""
        now = self._clock.seconds()
        for number, key in enumerate(keys):
            for count, (seconds, messages, most) in zip(
                self._delivered.get(key, ()), self._windows, strict=False
            ):
                index, rest = divmod(now, seconds)
                if count.index != int(index):
                    count.begin(int(index))
                before = 1.0 - rest / seconds
                if count.messages + count.messages_before * before + 1 > messages[number]:
                    return False
                if count.octets + count.octets_before * before + octets > most[number]:
                    return False
        return True

    def add(self, account: str, ip: str, octets: int) -> None:
        """A message was delivered."""
        now, delivered = self._clock.seconds(), self._delivered
        indexes = [int(now // seconds) for seconds, _, _ in self._windows]
        # The widest network is counted last, so that it goes last.
        for key in _account_keys(account, ip) or ():
            counts = delivered.get(key)
            if counts is None:
                delivered[key] = counts = tuple([_Delivered(index) for index in indexes])
                if len(delivered) > self._max:
                    delivered.popitem(last=False)
            else:
                delivered.move_to_end(key)
            for count, index in zip(counts, indexes, strict=True):
                if count.index != index:
                    count.begin(index)
                count.messages += 1
                count.octets += octets


@define
class _Delivered:
    """What came from one network in one window: the number of the running one, messages and octets in it and in the one before."""

    index: int
    messages: int = 0
    octets: int = 0
    messages_before: int = 0
    octets_before: int = 0

    def begin(self, index: int) -> None:
        """Another window runs."""
        follows = index == self.index + 1
        self.messages_before = self.messages if follows else 0
        self.octets_before = self.octets if follows else 0
        self.messages = self.octets = 0
        self.index = index


@lru_cache(4096)
def _account_keys(account: str, ip: str) -> tuple[Hashable, ...] | None:
    keys = classes(ip)
    return None if keys is None else tuple([(account, *key) for key in keys])
