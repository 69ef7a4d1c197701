"""The resolver for Twisted: sockets, timers, and one question for many who ask the same.

::

    settings = ResolverSettings.from_resolv_conf(Path("/etc/resolv.conf").read_text())
    resolver = DNSResolver(reactor, settings, entropy=os.urandom)
    answer = await resolver.lookup("example.org", "MX")

Answers are kept as long as they may be; a lookup of what is kept costs a few microseconds and no task switch. While a query by UDP is
under way it has a socket of its own, whose port the operating system chooses at random (RFC 5452 section 9.2), and which is connected,
so that only the server that was asked is heard. ``settings.queries_per_port`` says how many queries may have it, one after the other;
then ``close`` it at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, Generic, TypeVar, cast

from attrs import define, evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, connectionDone
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.dns.anchors import ROOT_ANCHORS, TrustAnchors
from moxtwisted.dns.answers import Answer, IResolver, NoAnswerError, Security
from moxtwisted.dns.cache import Cache
from moxtwisted.dns.exchange import AskPolicy, Exchange, Failed, Send, Step, Upstream
from moxtwisted.dns.message import Message, Question
from moxtwisted.dns.names import ROOT, BadNameError, normalise
from moxtwisted.dns.records import type_code, type_name
from moxtwisted.dns.resolution import BelievingJudge, Found, Judge, Resolution, TTLLimits, UnjudgingJudge
from moxtwisted.dns.servers import ResolverSettings, ServerAddress
from moxtwisted.dns.timers import Timers
from moxtwisted.dns.validation import TrustChain, Validator

__all__ = ["DNSResolver"]

T = TypeVar("T")

# Different questions that may be under way at once; one more fails.
_MAX_FLYING: Final = 2000
# Sockets at once; the others queue (within their time).
_MAX_EXCHANGES: Final = 256
# RFC 7766 section 8: two octets of length, then the message.
_MAX_STREAM_OCTETS: Final = 2 + 65535
_DATAGRAM_OCTETS: Final = 4096
# A socket is open no longer than it may be for one query that nobody answers, so who looks for open ports finds none that he would not find
# where every query has another; and so many wait for their next query.
_LINE_SECONDS: Final = 2.0
_MAX_IDLE_LINES: Final = 32
# How long it is believed that the servers validate, or do not.
_PROBE_SECONDS: Final = 3600.0
_SOA: Final = 6


@frozen
class _Failure:
    """That no answer could be had, as the cache keeps it."""

    kind: type[NoAnswerError]
    name: str
    rrtype: str
    reason: str

    def error(self) -> NoAnswerError:
        """A fresh exception."""
        return self.kind(self.name, self.rrtype, self.reason)


@define
class _Known:
    """An answer as the cache keeps it.

    :ivar given: as it was given last: who asks again within a second is given the same object.
    """

    given: Answer

    def left(self, seconds: int) -> Answer:
        """The answer with the time that it has left."""
        known = self.given
        if known.ttl_seconds != seconds:
            self.given = Answer(
                known.name,
                known.rrtype,
                known.records,
                known.canonical_name,
                known.exists,
                known.security,
                seconds,
            )
        return self.given


class _Flights(Generic[T]):
    """Work that is under way, by key, and all who wait for it."""

    log = Logger()

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[Deferred[T]]] = {}

    def join(self, key: Hashable, start: Callable[[], Deferred[T]]) -> Deferred[T]:
        """Wait for what is under way, or start it. Who cancels stops waiting; the others still get it."""
        waiters = self._waiting.get(key)
        fresh = waiters is None
        if waiters is None:
            if len(self._waiting) >= _MAX_FLYING:
                raise NoAnswerError("", "", "too many lookups at once")
            waiters = self._waiting[key] = []
        waiter: Deferred[T] = Deferred(waiters.remove)
        waiters.append(waiter)
        if fresh:
            start().addBoth(self._landed, key)
        return waiter

    def _landed(self, result: T | Failure, key: Hashable) -> None:
        """Tell all."""
        waiters = self._waiting.pop(key)
        if isinstance(result, Failure) and not result.check(NoAnswerError):
            self.log.failure("DNS: {key} failed", result, key=key)
        # One who is told may cancel another.
        while waiters:
            waiter = waiters.pop()
            if not isinstance(result, Failure):
                waiter.callback(result)
            elif isinstance(error := result.value, NoAnswerError):
                # A fresh one for each: an exception that is raised twice collects tracebacks.
                waiter.errback(type(error)(error.name, error.rrtype, error.reason))
            else:
                waiter.errback(NoAnswerError("", "", "internal error"))


@implementer(IResolver)
class DNSResolver:
    """A stub resolver with a cache.

    :param reactor: provides IReactorUDP, IReactorTCP and IReactorTime; its clock gives seconds since 1970 (signatures have dates).
    :param entropy: so many random octets, fit for secrets.
    :param anchors: where trust begins, when signatures are checked here.
    """

    def __init__(
        self,
        reactor: Any,
        settings: ResolverSettings,
        *,
        entropy: Callable[[int], bytes],
        anchors: TrustAnchors = ROOT_ANCHORS,
    ) -> None:
        self.settings = settings
        self._reactor, self._entropy = reactor, entropy
        self._upstreams = [Upstream(address) for address in settings.servers]
        self._cache: Cache[_Known | _Failure] = Cache(settings.cache_entries, settings.cache_octets)
        self._flights: _Flights[Answer] = _Flights()
        self._links: _Flights[Any] = _Flights()
        self._judging = (False, 0.0)
        self._chain = TrustChain(anchors)
        self._places = _Places(_MAX_EXCHANGES)
        self._lines = _Lines(reactor, settings.queries_per_port)
        self._timers = Timers(reactor)
        self._may_believe = settings.believes_ad
        self._unjudging = AskPolicy(try_seconds=settings.try_seconds, rounds=settings.rounds)
        self._believing = evolve(self._unjudging, want_ad=True)
        self._validating = evolve(self._unjudging, dnssec_ok=True, checking_disabled=True)
        self._limits = TTLLimits(
            settings.minimum_ttl_seconds, settings.maximum_ttl_seconds, settings.maximum_negative_ttl_seconds
        )

    async def lookup(self, name: str, rrtype: str) -> Answer:
        """See ``IResolver``. A name that cannot be in the DNS does not exist.

        :raises ValueError: when ``rrtype`` is no type.
        """
        code = type_code(rrtype)
        try:
            key = (normalise(name), code)
        except BadNameError:
            return Answer(
                name, rrtype, (), name, exists=False, security=Security.INDETERMINATE, ttl_seconds=0
            )
        kept = self._cache.get(key, self._reactor.seconds())
        if kept is None:
            return await self._flights.join(key, lambda: self._fresh(key))
        known, left = kept
        if isinstance(known, _Failure):
            raise known.error()
        return known.left(int(left))

    def clear(self) -> None:
        """Forget all answers, and what was proved of zones."""
        self._cache.clear()
        self._chain.steps.clear()
        self._judging = (False, 0.0)

    def close(self) -> None:
        """Close the sockets that wait for further queries; others can still be asked."""
        self._lines.close()

    def _fresh(self, key: tuple[str, int]) -> Deferred[Answer]:
        """Find the answer in the time that there is."""
        task = Deferred.fromCoroutine(self._find(key))
        if not task.called:
            self._timers.begin(key, self.settings.total_seconds, task.cancel)
        return task

    async def _find(self, key: tuple[str, int]) -> Answer:
        """Find the answer, and keep it, or keep that there is none."""
        name, rrtype = key[0], type_name(key[1])
        try:
            found = await self._resolve(Question(*key))
        except NoAnswerError as e:
            # A link of a chain may be what failed; the caller knows the name that it asked for.
            failure = _Failure(type(e), name, rrtype, e.reason)
        except CancelledError:
            failure = _Failure(NoAnswerError, name, rrtype, "no answer in time")
        else:
            self._keep(key, found.answer, found.octets, found.answer.ttl_seconds)
            return found.answer
        finally:
            self._timers.end(key)
        self._keep(key, failure, len(failure.reason), self.settings.failure_seconds)
        raise failure.error()

    def _keep(self, key: tuple[str, int], value: Answer | _Failure, octets: int, ttl_seconds: int) -> None:
        known = value if isinstance(value, _Failure) else _Known(value)
        self._cache.put(key, known, octets=octets, now=self._reactor.seconds(), ttl_seconds=ttl_seconds)

    async def _resolve(self, question: Question) -> Found:
        # A server on this machine may be one that only forwards.
        if self._may_believe and await self._servers_judge():
            judge: Judge = BelievingJudge()
            policy = self._believing
        elif self.settings.validate:
            policy = self._validating
            judge = Validator(self._chain, lambda wanted: self._link(wanted, policy), self._reactor.seconds)
        else:
            judge, policy = UnjudgingJudge(), self._unjudging

        return await Resolution(partial(self._ask, policy=policy), judge, self._limits).resolve(question)

    async def _servers_judge(self) -> bool:
        """Whether the AD bit says anything."""
        if not self.settings.validate:
            return True
        judging, until = self._judging
        if self._reactor.seconds() < until:
            return judging
        return cast("bool", await self._links.join("AD", lambda: Deferred.fromCoroutine(self._probe())))

    async def _probe(self) -> bool:
        """Ask for what is signed everywhere: who validates says so."""
        try:
            message = await self._ask(Question(ROOT, _SOA), self._believing)
        except NoAnswerError:
            self._judging = (False, self._reactor.seconds() + self.settings.failure_seconds)
        else:
            self._judging = (message.authentic, self._reactor.seconds() + _PROBE_SECONDS)
        return self._judging[0]

    def _link(self, question: Question, policy: AskPolicy) -> Deferred[Message]:
        """A link of the chain of trust, which many lookups need at once."""
        return self._links.join(
            ("link", question), lambda: Deferred.fromCoroutine(self._ask(question, policy))
        )

    async def _ask(self, question: Question, policy: AskPolicy) -> Message:
        """Put one question to the servers until one answers."""
        exchange = Exchange(question, self._upstreams, policy, self._entropy)
        await self._places.take()
        try:
            step = exchange.start()
            while isinstance(step, Send):
                send = self._by_stream if step.stream else self._by_datagram
                step = await send(step, exchange)
        finally:
            self._places.give_back()
        if isinstance(step, Failed):
            raise NoAnswerError(question.name, type_name(question.code), step.detail)
        return step.message

    async def _by_datagram(self, send: Send, exchange: Exchange) -> Step:
        answered: Deferred[Step] = Deferred()
        try:
            line = self._lines.take(send.upstream.address)
        except (CannotListenError, OSError) as e:
            return exchange.broken(f"no socket: {e}")
        self._timers.begin(answered, send.wait_seconds, partial(_give_up, exchange, answered))
        try:
            line.ask(send.octets, exchange, answered)
            return await answered
        finally:
            self._timers.end(answered)
            self._lines.give_back(line)

    async def _by_stream(self, send: Send, exchange: Exchange) -> Step:
        answered: Deferred[Step] = Deferred()
        address = send.upstream.address
        kind = TCP6ClientEndpoint if ":" in address.address else TCP4ClientEndpoint
        endpoint = kind(self._reactor, address.address, address.port, timeout=send.wait_seconds)
        protocol = _Stream(send, exchange, answered)
        connecting = connectProtocol(endpoint, protocol)
        connecting.addErrback(protocol.unreachable)
        self._timers.begin(answered, send.wait_seconds, partial(_give_up, exchange, answered))
        try:
            return await answered
        finally:
            self._timers.end(answered)
            connecting.cancel()
            protocol.abandon()


def _give_up(exchange: Exchange, answered: Deferred[Step]) -> None:
    """A server's time is up."""
    if not answered.called:
        answered.callback(exchange.timed_out())


class _Places:
    """So many at once; the others wait, and who is there does not make a Deferred to find that out."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._waiting: list[Deferred[None]] = []

    async def take(self) -> None:
        """Wait for a place."""
        if self._free:
            self._free -= 1
            return
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        await turn

    def give_back(self) -> None:
        """Leave it to who waits."""
        if self._waiting:
            self._waiting.pop(0).callback(None)
        else:
            self._free += 1


class _Line(DatagramProtocol):
    """A socket, connected to a server; one query at a time.

    :ivar until: when it is too old for another.
    :ivar left: how many more queries it may have.
    """

    port: Any

    def __init__(self, address: ServerAddress, until: float, left: int) -> None:
        self.address, self.until, self.left = address, until, left
        self._exchange: Exchange | None = None
        self._answered: Deferred[Step] | None = None

    def startProtocol(self) -> None:
        """Twisted has the socket."""
        cast("Any", self.transport).connect(self.address.address, self.address.port)

    def ask(self, octets: bytes, exchange: Exchange, answered: Deferred[Step]) -> None:
        """Put a query."""
        self._exchange, self._answered = exchange, answered
        self.left -= 1
        cast("Any", self.transport).write(octets)

    def done(self) -> None:
        """Nothing is waited for any longer; a socket whose query was not answered is not used again, since the answer may come late."""
        if self._exchange is not None:
            self.left = 0
        self._exchange = self._answered = None

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """Something came from the server's address and port."""
        if self._exchange is None or self._answered is None or self._answered.called:
            # Two answers, or a forged one.
            self.left = 0
        elif (step := self._exchange.receive(datagram)) is None:
            self.left = 0
        else:
            self._exchange = None
            self._answered.callback(step)

    def connectionRefused(self) -> None:
        """Nobody listens there."""
        self.left = 0
        if self._exchange is not None and self._answered is not None and not self._answered.called:
            self._answered.callback(self._exchange.broken("connection refused"))


class _Lines:
    """Sockets that had an answer and may have another query, for a moment."""

    def __init__(self, reactor: Any, queries: int) -> None:
        self._reactor, self._queries = reactor, queries
        self._idle: list[_Line] = []
        self._sweep: Any = None

    def take(self, address: ServerAddress) -> _Line:
        """One for a query."""
        now = self._reactor.seconds()
        idle = self._idle
        while idle:
            line = idle.pop()
            if line.left > 0 and line.until > now and line.address is address:
                return line
            line.port.stopListening()
        line = _Line(address, now + _LINE_SECONDS, self._queries)
        interface = "::" if ":" in address.address else ""
        line.port = self._reactor.listenUDP(0, line, interface=interface, maxPacketSize=_DATAGRAM_OCTETS)
        return line

    def give_back(self, line: _Line) -> None:
        """Its query is over."""
        line.done()
        spent = line.left <= 0 or line.until <= self._reactor.seconds()
        if spent or self._queries == 1 or len(self._idle) >= _MAX_IDLE_LINES:
            line.port.stopListening()
            return
        self._idle.append(line)
        if self._sweep is None:
            self._sweep = self._reactor.callLater(_LINE_SECONDS, self._swept)

    def _swept(self) -> None:
        """Close what is too old."""
        self._sweep = None
        now, idle = self._reactor.seconds(), self._idle
        self._idle = []
        for line in idle:
            if line.left > 0 and line.until > now:
                self._idle.append(line)
            else:
                line.port.stopListening()
        if self._idle:
            wait = max(line.until for line in self._idle) - now
            self._sweep = self._reactor.callLater(wait, self._swept)

    def close(self) -> None:
        """Close all that wait, and let none wait from now on."""
        self._queries = 1
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._idle.pop().port.stopListening()


class _Stream(StreamProtocol):
    """A connection for one query (RFC 7766)."""

    def __init__(self, send: Send, exchange: Exchange, answered: Deferred[Step]) -> None:
        self._send, self._exchange, self._answered = send, exchange, answered
        self._buffer = bytearray()

    def connectionMade(self) -> None:
        """Twisted has the connection."""
        octets = self._send.octets
        cast("Any", self.transport).write(len(octets).to_bytes(2, "big") + octets)

    def dataReceived(self, data: bytes) -> None:
        """More octets; a length, and as many."""
        self._buffer += data[: _MAX_STREAM_OCTETS - len(self._buffer)]
        if len(self._buffer) < 2:
            return
        end = 2 + int.from_bytes(self._buffer[:2], "big")
        if len(self._buffer) >= end and not self._answered.called:
            self.finish(self._exchange.receive(bytes(self._buffer[2:end])))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The server hung up."""
        if not self._answered.called:
            self.finish(self._exchange.broken("connection closed"))

    def unreachable(self, why: Failure) -> None:
        """There is no connection."""
        if not self._answered.called:
            self.finish(self._exchange.broken(why.getErrorMessage()))

    def finish(self, step: Step | None) -> None:
        """Give the next step, once."""
        if step is not None and not self._answered.called:
            self._answered.callback(step)

    def abandon(self) -> None:
        """Nothing more is wanted of this connection."""
        if self.transport is not None:
            cast("Any", self.transport).abortConnection()
