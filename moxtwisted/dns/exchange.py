"""One question put to the servers until one answers: a machine without clock and sockets.

::

    exchange = Exchange(Question("example.org", 15), upstreams, policy, entropy)
    step = exchange.start()                       # Send(upstream, octets, stream=False, wait_seconds=2.0)
    step = exchange.receive(datagram)             # None: that was not our answer, go on waiting
    step = exchange.timed_out()                   # the next Send, or Failed
    step = exchange.receive(octets)               # Done(message)

What makes an answer ours is RFC 5452 section 9.1: server and port (the caller sees to these: each query has a socket of its own,
connected), id, question; besides, the letters of the name in the case that was asked, and the cookie (RFC 7873). Too many wrong ones
are an attempt to forge, and the question is put again by TCP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, field, frozen

from moxtwisted.dns.message import AD, CD, EDNS, RD, Message, MessageError, Question, parse, query
from moxtwisted.dns.names import to_wire
from moxtwisted.dns.servers import ServerAddress

__all__ = ["AskPolicy", "Done", "Exchange", "Failed", "Send", "Step", "Upstream"]

_FORMERR, _SERVFAIL, _NXDOMAIN, _NOTIMP, _REFUSED, _BADVERS, _BADCOOKIE = 1, 2, 3, 4, 5, 16, 23

# Datagrams that look forged, after which the question is put by TCP (RFC 5452 section 9.3 wants attempts counted).
_SUSPICIOUS: Final = 3
# Sends in one exchange, whatever happens: bounds what a server that always asks for another try can do.
_MAX_SENDS: Final = 24
# Exchanges after which a server that did not answer gets another chance to be asked first.
_MAX_RESTS: Final = 100

Entropy = Callable[[int], bytes]


@define
class Upstream:
    """A server, and what was learnt of it.

    :ivar edns: None: not known; False: it refuses queries with OPT.
    :ivar keeps_case: False: it does not give letters back as they were.
    :ivar failures: how often in a row it did not answer; those with fewer are asked first.
    :ivar rests: how often others were asked before it because of that.
    """

    address: ServerAddress
    edns: bool | None = None
    keeps_case: bool = True
    client_cookie: bytes = b""
    server_cookie: bytes = b""
    failures: int = 0
    rests: int = 0


@frozen
class AskPolicy:
    """How it is asked.

    :ivar dnssec_ok: ask for signatures.
    :ivar checking_disabled: ask for what does not validate too, because we judge ourselves (RFC 6840 section 5.9).
    :ivar want_ad: say that the AD bit is understood (RFC 6840 section 5.7).
    """

    dnssec_ok: bool = False
    checking_disabled: bool = False
    want_ad: bool = False
    try_seconds: float = 2.0
    rounds: int = 2


@frozen
class Send:
    """Put these octets to the server (by TCP if ``stream``; the length in front is the caller's), and wait."""

    upstream: Upstream
    octets: bytes
    stream: bool
    wait_seconds: float


@frozen
class Done:
    """The answer; its code is NOERROR or NXDOMAIN."""

    message: Message
    upstream: Upstream
    stream: bool


@frozen
class Failed:
    """Nobody had an answer; why the last one had none."""

    detail: str


Step = Send | Done | Failed


@define
class Exchange:
    """The machine; ``start`` first, then ``receive``, ``timed_out`` or ``broken`` for each ``Send``."""

    question: Question
    upstreams: Sequence[Upstream]
    policy: AskPolicy
    entropy: Entropy
    _turns: list[Upstream] = field(init=False, factory=list)
    _turn: int = field(init=False, default=-1)
    _sends: int = field(init=False, default=0)
    _suspicious: int = field(init=False, default=0)
    _detail: str = field(init=False, default="no server")
    _sent: bytes = field(init=False, default=b"")
    _stream: bool = field(init=False, default=False)
    _edns: bool = field(init=False, default=True)

    def start(self) -> Step:
        """The first thing to send."""
        ordered = sorted(self.upstreams, key=lambda upstream: min(upstream.failures, 5))
        for upstream in ordered[1:]:
            if upstream.failures:
                upstream.rests += 1
            if upstream.rests >= _MAX_RESTS:
                upstream.failures = upstream.rests = 0
        self._turns = ordered * self.policy.rounds
        return self._next()

    def timed_out(self) -> Step:
        """Nothing came in time."""
        self._upstream.failures += 1
        # It may have been replaced, by one that can more.
        self._upstream.edns = None
        # RFC 7873 section 5.4: a cookie of a server that was started again may be why it keeps silent.
        self._upstream.server_cookie = b""
        return self._next("time-out")

    def broken(self, detail: str) -> Step:
        """The server cannot be reached, or hung up."""
        self._upstream.failures += 1
        return self._next(detail)

    def receive(self, octets: bytes) -> Step | None:
        """Judge what came; None: it is not the answer, go on waiting (the time that is left)."""
        name = self.question.name
        end = 12 + len(to_wire(name))
        try:
            message = parse(octets, (self._sent[12:end], name))
        except MessageError as e:
            return self._wrong(f"nonsense: {e}")
        if not message.is_response or message.ident != int.from_bytes(self._sent[:2], "big"):
            return self._wrong("answer to another query")
        upstream = self._upstream
        asked = self._sent[12 : end + 4]
        if message.question != asked:
            # RFC 1035 section 4.1.1: a server that cannot read a query need not give its question back.
            if not message.question and message.rcode in {_FORMERR, _NOTIMP}:
                return self._refused(message)
            if message.question.lower() != asked.lower():
                return self._wrong("answer to another question")
            if not self._stream:
                # A forger who does not see the query, or a server that does not keep the case: TCP tells.
                return self._again(stream=True)
            upstream.keeps_case = False
        if not self._cookie_fits(message):
            return self._wrong("answer without our cookie")
        upstream.failures = 0
        if message.truncated and not self._stream:
            return self._again(stream=True)
        if message.rcode in {0, _NXDOMAIN}:
            if self._edns and upstream.edns is None and message.edns:
                upstream.edns = True
            if message.truncated:
                return self._next("truncated answer by TCP")
            return Done(message, upstream, self._stream)
        return self._refused(message)

    @property
    def _upstream(self) -> Upstream:
        return self._turns[self._turn]

    def _next(self, detail: str = "") -> Step:
        """The next server, or the end."""
        self._detail = f"{self._upstream.address}: {detail}" if detail else self._detail
        self._turn += 1
        self._suspicious = 0
        if self._turn >= len(self._turns):
            return Failed(self._detail)
        self._edns = self._upstream.edns is not False
        return self._again(stream=False)

    def _again(self, *, stream: bool) -> Step:
        """Put the question to the server of this turn, with a new id and new letters."""
        self._sends += 1
        if self._sends > _MAX_SENDS:
            return Failed("too many tries")
        self._stream = stream
        upstream, policy = self._upstream, self.policy
        if len(upstream.client_cookie) != 8:
            # RFC 7873 section 4.1: one for each server, so that servers cannot recognise us together.
            upstream.client_cookie = self.entropy(8)
        edns = None
        if self._edns:
            edns = EDNS(dnssec_ok=policy.dnssec_ok, cookie=upstream.client_cookie + upstream.server_cookie)
        flags = RD | (CD if policy.checking_disabled else 0) | (AD if policy.want_ad else 0)
        dice = self.entropy(2 + len(to_wire(self.question.name)))
        self._sent = query(
            self.question,
            int.from_bytes(dice[:2], "big"),
            flags=flags,
            edns=edns,
            case=dice[2:] if upstream.keeps_case else b"",
        )
        wait = policy.try_seconds * 2 ** (self._turn // max(len(self.upstreams), 1))
        return Send(upstream, self._sent, stream, wait)

    def _wrong(self, detail: str) -> Step | None:
        """Something came that is not our answer."""
        if self._stream:
            return self._next(detail)
        self._suspicious += 1
        if self._suspicious >= _SUSPICIOUS:
            return self._again(stream=True)
        return None

    def _cookie_fits(self, message: Message) -> bool:
        """RFC 7873 section 5.3: a cookie must begin with ours; where the server is known to have them, there must be one."""
        if not self._edns:
            return True
        upstream = self._upstream
        if not message.cookie:
            # By TCP the address is proved; then the server has cookies no longer.
            if self._stream:
                upstream.server_cookie = b""
            return not upstream.server_cookie
        client, server = message.cookie[:8], message.cookie[8:]
        if client != upstream.client_cookie:
            return False
        if 8 <= len(server) <= 32:
            upstream.server_cookie = server
        return True

    def _refused(self, message: Message) -> Step:
        """A code that says no: without OPT if that may be why, else the next server."""
        code = message.rcode
        if code == _BADCOOKIE and not self._stream:
            # RFC 7873 section 5.3: once more with the cookie that came; by TCP, where no cookie is needed.
            return self._again(stream=True)
        # RFC 6891 section 7: a server without EDNS says FORMERR; some say NOTIMP, and one that wants another version BADVERS.
        # Without OPT there are no signatures: where we are to validate, such a server is of no use.
        without = code == _BADVERS or (code in {_FORMERR, _NOTIMP} and not message.edns)
        if self._edns and without and not self.policy.dnssec_ok:
            self._edns = False
            if self._upstream.edns is None:
                self._upstream.edns = False
            return self._again(stream=self._stream)
        names = {_SERVFAIL: "SERVFAIL", _REFUSED: "REFUSED", _FORMERR: "FORMERR", _NOTIMP: "NOTIMP"}
        return self._next(names.get(code, f"code {code}"))
