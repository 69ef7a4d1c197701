"""LOGIN and AUTHENTICATE.

::

    C: a1 AUTHENTICATE SCRAM-SHA-256 biwsbj11c2VyLHI9...
    S: + cj1...
    C: Yz1iaXdz...
    S: + dj1...
    C:
    S: a1 OK [CAPABILITY IMAP4rev2 ...] welcome
"""

from __future__ import annotations

import inspect
from typing import Any

from moxtwisted.errors import MailError
from moxtwisted.imap.backend import IOwnMechanisms, ISession
from moxtwisted.imap.connection import Answer, Connection, Handled, RefusalError, refused
from moxtwisted.imap.departing import IAwaySession
from moxtwisted.imap.states import State
from moxtwisted.imap.wire.commands import Authenticate, Login
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.sasl.exchange import ServerContext
from moxtwisted.sasl.interfaces import IServerExchange
from moxtwisted.sasl.outcome import Challenge, Failure, Reason, Success
from moxtwisted.sasl.server import begin
from moxtwisted.sasl.wire import encode_challenge

__all__ = ["authenticate", "cancelled", "log_in", "login", "responded", "session_of", "stayed"]


def login(connection: Connection, command: Login) -> Handled:
    """LOGIN."""
    if "LOGINDISABLED" in connection.offered:
        # RFC 9051 section 6.2.3; RFC 5530 section 3 has the code.
        raise RefusalError("LOGIN needs TLS", "PRIVACYREQUIRED")
    return _login(connection, command)


async def _login(connection: Connection, command: Login) -> Answer:
    try:
        identity = await connection.authenticator.login(
            command.username, command.password, connection.transport.peer
        )
    except MailError as e:
        await _penalty(connection)
        raise refused(e) from e
    if identity is None:
        await _penalty(connection)
        raise RefusalError("bad user name or password", "AUTHENTICATIONFAILED")
    return await _welcome(connection, identity)


def authenticate(connection: Connection, command: Authenticate) -> Handled:
    """AUTHENTICATE: the first step of the exchange."""
    names = frozenset(name[5:] for name in connection.offered if name.startswith("AUTH="))
    exchange: IServerExchange | None = None
    authenticator: Any = connection.authenticator
    if command.mechanism in names and IOwnMechanisms.providedBy(authenticator):
        exchange = authenticator.begin_exchange(command.mechanism)
    elif command.mechanism in names:
        bindings = connection.transport.channel_bindings
        context = ServerContext(
            connection.authenticator.sasl_backend,
            connection.entropy,
            connection.decoys or Decoys(connection.entropy(32)),
            bindings,
            any(name.endswith("-PLUS") for name in names),
            connection.settings.hostname,
        )
        exchange = begin(command.mechanism, names, context)
    if exchange is None:
        if command.mechanism in connection.authenticator.mechanisms and not connection.transport.tls:
            raise RefusalError("this mechanism needs TLS", "PRIVACYREQUIRED")
        raise RefusalError("mechanism is not on offer", "CANNOT")
    connection.exchange = (command.tag, exchange)
    return _step(connection, command.tag, exchange, command.initial_response)


def responded(connection: Connection, data: bytes) -> tuple[bytes, Any]:
    """The client's next response: the tag of its AUTHENTICATE, and a coroutine."""
    tag, exchange = connection.current_exchange()
    return tag, _step(connection, tag, exchange, data)


def cancelled(connection: Connection) -> tuple[bytes, Any]:
    """The client gave up with ``*``, or sent what is not base64."""
    tag, exchange = connection.current_exchange()
    return tag, _abort(connection, exchange)


async def _abort(connection: Connection, exchange: IServerExchange) -> Answer:
    connection.exchange = None
    failure = await exchange.abort()
    await _penalty(connection)
    # RFC 9051 section 6.2.2: cancelling is answered BAD.
    raise RefusalError(failure.public_text, kind="BAD")


async def _step(connection: Connection, tag: bytes, exchange: IServerExchange, data: bytes | None) -> Answer:
    try:
        step = await exchange.respond(data)
    except BaseException:
        connection.exchange = None
        raise
    if isinstance(step, Challenge):
        connection.out.append(b"+ %b\r\n" % encode_challenge(step.data))
        connection.reader.expect_sasl(tag)
        return b""
    connection.exchange = None
    if isinstance(step, Success):
        return await _welcome(connection, step.login)
    return await _failed(connection, step)


async def _failed(connection: Connection, failure: Failure) -> Answer:
    await _penalty(connection)
    kind = "BAD" if failure.reason in {Reason.BAD_PROTOCOL, Reason.ABORTED} else "NO"
    raise RefusalError(failure.public_text, failure.reason.imap_code, kind)


async def _penalty(connection: Connection) -> None:
    """Failing costs time, twice as much each time, and too often the connection."""
    connection.login_failures += 1
    if connection.pause is not None:
        seconds = connection.settings.timeouts.login_failure_pause
        if seconds > 0:
            await connection.pause(min(seconds * 2 ** (connection.login_failures - 1), 30.0))


async def _welcome(connection: Connection, identity: str) -> Answer:
    await log_in(connection, identity)
    # RFC 9051 section 7.1: the code saves the client a CAPABILITY.
    return f"OK [CAPABILITY {' '.join(connection.capabilities)}] welcome".encode("ascii")


async def session_of(connection: Connection, identity: str) -> Any:
    """The mail of an identity, an ``ISession`` or ``IAwaySession``."""
    session = connection.authenticator.session(identity, connection.transport.peer)
    return await session if inspect.isawaitable(session) else session


async def stayed(session: Any) -> ISession:
    """The mail itself, where a session is to be served here whoever has it."""
    if IAwaySession.providedBy(session):
        session = session.stay()
        if inspect.isawaitable(session):
            session = await session
    mail: ISession = session
    return mail


async def log_in(connection: Connection, identity: str) -> None:
    """Somebody was authenticated: the mail is his now.

    :raise RefusalError: when there is none.
    """
    try:
        session = await session_of(connection, identity)
        if IAwaySession.providedBy(session) and (connection.can_leave is None or not connection.can_leave()):
            session = await stayed(session)
    except MailError as e:
        raise refused(e) from e
    if IAwaySession.providedBy(session):
        # RFC 8437 leads back to before the log-in, which only the process that the client came to can do.
        connection.departing = connection.settled = True
    connection.session = session
    connection.identity = identity
    connection.state = State.AUTHENTICATED
    connection.login_failures = 0
    connection.forget_capabilities()
