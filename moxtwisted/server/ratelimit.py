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
from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from attrs import Attribute, define, field, frozen, validators
from twisted.internet.interfaces import IReactorTime

__all__ = [
    "AuthenticationLimits",
    "ConnectionLimiter",
    "ConnectionLimits",
    "Refusal",
    "SlidingWindowLimiter",
    "Window",
    "classes",
]

Key = tuple[int, int]
"""A network: which family and class (1 to 3 for IPv4, 4 to 6 for IPv6), and the leading bits of the address."""

Triple = tuple[int, int, int]

_MAPPED = b"\0" * 10 + b"\xff\xff"


def classes(ip: str) -> tuple[Key, Key, Key] | None:
    """The three networks an address lies in, narrowest first.

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
    bits = int.from_bytes(octets)
    if len(octets) == 4:
        return (1, bits), (2, bits >> 6), (3, bits >> 11)
    return (4, bits >> 64), (5, bits >> 80), (6, bits >> 96)


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
        family, networks = (socket.AF_INET6, self._v6) if ":" in ip else (socket.AF_INET, self._v4)
        try:
            octets = socket.inet_pton(family, ip.partition("%")[0])
        except (OSError, ValueError):
            return False
        if family == socket.AF_INET6 and octets.startswith(_MAPPED):
            octets, networks = octets[12:], self._v4
        bits = int.from_bytes(octets)
        return any(bits >> shift == prefix for shift, prefix in networks)


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
    current: int = 0
    before: int = 0

    def at(self, index: int) -> None:
        if index != self.index:
            self.before = self.current if index == self.index + 1 else 0
            self.current = 0
            self.index = index


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
        self._counts: tuple[OrderedDict[Key, _Count], ...] = tuple(OrderedDict() for _ in windows)

    def __len__(self) -> int:
        """How many counters are kept."""
        return sum(len(counts) for counts in self._counts)

    def allows(self, ip: str, amount: int = 1) -> bool:
        """Whether ``amount`` more events from this address would stay within every limit; counts nothing.

        An address that cannot be read is always allowed.
        """
        keys = classes(ip)
        return keys is None or self._allows(keys, amount, self._clock.seconds())

    def _allows(self, keys: tuple[Key, Key, Key], amount: int, now: float) -> bool:
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

    def add(self, ip: str, amount: int = 1) -> None:
        """Count events, whether they are within the limits or not."""
        keys = classes(ip)
        if keys is not None:
            self._add(keys, amount, self._clock.seconds())

    def _add(self, keys: tuple[Key, Key, Key], amount: int, now: float) -> None:
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

    def take(self, ip: str, amount: int = 1) -> bool:
        """Count ``amount`` events if they are within every limit.

        :return: whether they were. Refused ones are not counted, so a busy peer gets in again as time passes.
        """
        keys = classes(ip)
        if keys is None:
            return True
        now = self._clock.seconds()
        if not self._allows(keys, amount, now):
            return False
        self._add(keys, amount, now)
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

    :ivar kind: ``"rate"`` or ``"simultaneous"``, for logs and metrics.
    :ivar text: for the peer.
    """

    kind: str
    text: str


_RATE = Refusal("rate", "connection rate from your ip or network too high")
_SIMULTANEOUS = Refusal("simultaneous", "too many open connections from your ip or network")


class ConnectionLimiter:
    """Admits connections by rate and number; one object for all listeners that shall share the limits.

    :param limits: the limits.
    :param clock: gives the time.
    :param max_networks: see ``SlidingWindowLimiter``; open connections are counted exactly beside it.
    """

    def __init__(self, limits: ConnectionLimits, clock: IReactorTime, *, max_networks: int = 100_000) -> None:
        self._limits = limits
        self._rate = SlidingWindowLimiter(limits.windows(), clock, max_networks=max_networks)
        self._open: dict[Key, int] = {}
        self._exempt = Networks(limits.exempt)

    def admit(self, ip: str) -> Refusal | None:
        """A peer connected.

        :return: ``None`` when it may stay, and then ``release`` must be called once when it is gone; else why not.
        """
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

    def release(self, ip: str) -> None:
        """An admitted connection is gone."""
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
