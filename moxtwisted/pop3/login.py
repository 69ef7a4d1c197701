"""How a client logs in: USER and PASS (RFC 1939 section 7), AUTH (RFC 5034).

It is the part of ``moxtwisted.pop3.server.Server`` before the maildrop.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from moxtwisted.errors import MailError
from moxtwisted.pop3.backend import IAuthenticator, IMaildrop
from moxtwisted.pop3.commands import Authenticate
from moxtwisted.pop3.replies import negative, positive, response_code
from moxtwisted.pop3.settings import ServerSettings
from moxtwisted.pop3.states import State
from moxtwisted.pop3.work import Work
from moxtwisted.sasl.exchange import ServerContext
from moxtwisted.sasl.interfaces import IServerExchange
from moxtwisted.sasl.outcome import Challenge, Failure, Reason, Success
from moxtwisted.sasl.server import SASLPolicy, begin, offered
from moxtwisted.sasl.wire import WireError, decode_response, encode_challenge

if TYPE_CHECKING:
    from moxtwisted.pop3.server import Surroundings, Transport

__all__ = ["LogIn"]

_LONGEST_PAUSE_SECONDS: Final = 30.0


class LogIn:
    """Everything up to the maildrop.

    :ivar busy: whether a command is under way that waits for somebody.
    :ivar maildrop: of the user who is logged in.
    """

    def __init__(
        self,
        settings: ServerSettings,
        authenticator: IAuthenticator,
        surroundings: Surroundings,
        transport: Transport,
    ) -> None:
        self.settings = settings
        self.authenticator = authenticator
        self.surroundings = surroundings
        self.transport = transport
        self.state = State.CONNECTED
        self.pause: Callable[[float], Awaitable[Any]] | None = None
        self.busy = False
        self.maildrop: IMaildrop | None = None
        self.exchange: IServerExchange | None = None
        self._user: str | None = None
        self._failures = 0
        self._out: list[bytes] = []

    def say(self, octets: bytes) -> None:
        """Octets for the client."""
        self._out.append(octets)

    # -- what is on offer ------------------------------------------------------------------------------------------
    def plain_allowed(self) -> bool:
        """Whether a password may be said as it is."""
        return self.transport.tls or self.settings.allow_plain_without_tls

    def mechanisms(self) -> Sequence[str]:
        """The SASL mechanisms on offer on this connection."""
        settings = self.settings
        known = self.authenticator.mechanisms
        wanted = tuple(name for name in known if not settings.mechanisms or name in settings.mechanisms)
        policy = SASLPolicy(wanted, passwords_without_tls=settings.allow_plain_without_tls)
        transport = self.transport
        return offered(
            policy,
            tls=transport.tls,
            bindings=transport.channel_bindings,
            client_key=transport.client_key,
        )

    def begin_exchange(self, mechanism: str) -> IServerExchange | None:
        """The exchange of a mechanism; None when it is not on offer."""
        names = self.mechanisms()
        context = ServerContext(
            self.authenticator.sasl_backend,
            self.surroundings.entropy,
            self.surroundings.decoys,
            self.transport.channel_bindings,
            any(name.endswith("-PLUS") for name in names),
            self.settings.hostname,
        )
        return begin(mechanism, names, context)

    # -- USER and PASS ---------------------------------------------------------------------------------------------
    def user(self, name: str) -> None:
        """USER. Everybody is welcome so far: what PASS says tells nobody whether there is such a user."""
        if not self.plain_allowed():
            self.say(negative("a password needs TLS: say STLS first", "AUTH"))
            return
        self._user = name
        self.say(positive("say PASS now"))

    async def password(self, password: str) -> Work | None:
        """PASS."""
        name, self._user = self._user, None
        if name is None:
            # RFC 1939 section 7: PASS comes right after a USER that succeeded.
            self.say(negative("say USER first"))
            return None
        try:
            identity = await self.authenticator.login(name, password, self.transport.peer)
        except MailError as error:
            return await self._refused(error.public_text, response_code(error))
        if identity is None:
            return await self._refused("bad user name or password", "AUTH")
        return await self.welcome(identity)

    # -- AUTH ------------------------------------------------------------------------------------------------------
    async def authenticate(self, command: Authenticate) -> Work | None:
        """AUTH: the first step of the exchange."""
        exchange = self.begin_exchange(command.mechanism)
        if exchange is None:
            self.say(negative("that mechanism is not on offer"))
            return None
        self.exchange = exchange
        if command.initial is None:
            return await self._step(exchange, None)
        return await self._respond(exchange, command.initial, initial=True)

    async def response(self, line: bytes) -> Work | None:
        """The client's next line within AUTH."""
        exchange = self.exchange
        self.state = State.AUTHORIZATION
        if exchange is None:
            raise RuntimeError("a response without an exchange")
        return await self._respond(exchange, line, initial=False)

    async def _respond(self, exchange: IServerExchange, line: bytes, *, initial: bool) -> Work | None:
        # RFC 5034 section 4: a lone asterisk cancels; what is not base64 is refused.
        try:
            data = decode_response(line, initial=initial)
        except WireError:
            data = None
        if data is None:
            self.exchange = None
            failure = await exchange.abort()
            return await self._refused(failure.public_text, "")
        return await self._step(exchange, data)

    async def _step(self, exchange: IServerExchange, data: bytes | None) -> Work | None:
        try:
            step = await exchange.respond(data)
        except BaseException:
            self.exchange = None
            raise
        if isinstance(step, Challenge):
            if self.state is not State.CLOSED:
                self.state = State.EXCHANGE
                self.say(b"+ %b\r\n" % encode_challenge(step.data))
            return None
        self.exchange = None
        if isinstance(step, Success):
            return await self.welcome(step.login)
        return await self._refused(step.public_text, _code(step))

    # -- the end of it ---------------------------------------------------------------------------------------------
    async def welcome(self, identity: str) -> Work | None:
        """Somebody was authenticated: open the maildrop (RFC 1939 section 4: it is locked until the end)."""
        try:
            found: Any = self.authenticator.maildrop(identity, self.transport.peer)
            maildrop = await found if inspect.isawaitable(found) else found
        except MailError as error:
            self.say(negative(error.public_text, response_code(error)))
            return None
        self.maildrop = maildrop
        if self.state is State.CLOSED:
            return None  # too late: it is released by who awaits us
        self.state = State.TRANSACTION
        self._failures = 0
        self.say(positive(f"{len(maildrop.sizes)} messages"))
        return None

    async def _refused(self, text: str, code: str) -> Work | None:
        """Failing costs time, twice as much each time, and too often the connection."""
        self._failures += 1
        seconds = self.settings.timeouts.login_failure_pause
        if self.pause is not None and seconds > 0:
            await self.pause(min(seconds * 2 ** (self._failures - 1), _LONGEST_PAUSE_SECONDS))
        self.say(negative(text, code))
        if self._failures >= self.settings.limits.login_failures:
            self.state = State.CLOSED
        return None

    def _release(self) -> None:
        maildrop, self.maildrop = self.maildrop, None
        if maildrop is not None:
            maildrop.release()


def _code(failure: Failure) -> str:
    # RFC 3206: AUTH when the credentials are wrong, SYS when it is not the user's fault.
    if failure.reason in {Reason.BAD_PROTOCOL, Reason.ABORTED}:
        return ""
    return "SYS/TEMP" if failure.reason.temporary else "AUTH"
