"""The Twisted client of IMAP: connects, starts TLS, logs in, and carries out commands.

::

    tls = ClientTLS(optionsForClientTLS("mail.example.org"), implicit=True)
    settings = ClientSettings(tls=tls, credentials=Credentials("alice", "secret"))
    client = await connect(reactor, TCP4ClientEndpoint(reactor, "mail.example.org", 993), settings)
    await client.select("INBOX", examine=True)
    for message in await client.fetch([1, 2, 3], ["FLAGS", "ENVELOPE"]):
        print(message.uid, message.envelope.subject)
    await client.close()

The commands are the methods of ``moxtwisted.imap.client.mailboxcommands``, ``messagecommands``,
``accountcommands`` and ``filtercommands``. Several may
be under way at the same time. What the server tells unasked goes to the callback given to ``connect``, as a ``Notice``; its last one is
``SessionLost``, when the connection ends otherwise than by ``close`` or ``abort``.

Large messages pass through: ``fetch_each`` with ``sinks`` hands the octets on as they come, and reads on when the sink is
ready; ``append`` takes a source. A server that sends what cannot be understood, or too much of it, or nothing for too long,
is hung up on.

Who no longer wants to wait for a command may cancel it, as any Deferred. Its answer could not be told from another one's then, so the
connection is closed: other commands under way fail with ``ConnectionFailedError``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from moxtwisted.errors import MailError
from moxtwisted.imap.client.filtercommands import FilterCommands
from moxtwisted.imap.client.machine import BodyStarted, Client, Completed
from moxtwisted.imap.client.mailboxcommands import MailboxCommands
from moxtwisted.imap.client.messagecommands import MessageCommands
from moxtwisted.imap.client.notices import Notice, SessionLost
from moxtwisted.imap.client.protocol import ClientConnection, ClientSettings, ClientTimeouts, ClientTLS, Run
from moxtwisted.imap.client.requests import Request, of_command
from moxtwisted.imap.client.session import (
    BodySink,
    CommandRefusedError,
    ConnectionFailedError,
    MessageSource,
)
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.sasl.client import PREFERENCE, ClientError, ClientExchange, Credentials, choose
from moxtwisted.transport.agent import SoleFactory, in_time

__all__ = ["ClientSettings", "ClientTLS", "ClientTimeouts", "IMAPClient", "IdleSession", "connect"]

_log = Logger()

STREAM_OCTETS: Final = 64 * 1024
"""Sections larger than this go to a sink in pieces, when there are sinks."""
_CLEAR_MECHANISMS: Final = ("PLAIN", "LOGIN")
"""Whoever listens learns the secret."""


class IdleSession:
    """IDLE, until ``done``, or until another command is given, which ends it too."""

    def __init__(self, connection: ClientConnection, finished: Deferred[Completed], run: Run) -> None:
        self._connection = connection
        self._run = run
        self._outcome: Failure | None = None
        self._over = False
        self._waiting: list[Deferred[None]] = []
        finished.addCallbacks(self._completed, self._failed)

    def _completed(self, done: Completed) -> None:
        self._connection.answered(done)
        self._end()

    def _failed(self, failure: Failure) -> None:
        self._outcome = failure
        self._end()

    def _end(self) -> None:
        self._over = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def ended(self) -> None:
        """Wait until it is over. Who no longer wants to wait for that may cancel it; IDLE goes on.

        :raise MailError: as of ``done``.
        """
        if not self._over:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting
        if self._outcome is not None:
            self._outcome.raiseException()

    async def done(self) -> None:
        """End it; nothing to do when it is over.

        :raise CommandRefusedError: the server ended it with NO or BAD.
        :raise ConnectionFailedError: the connection was lost.
        """
        if not self._over:
            self._run.seconds = self._connection.settings.timeouts.answer
            self._connection.expect(self._run.seconds)
            self._connection.machine.done()
            self._connection.flush()
        try:
            await self.ended()
        except CancelledError:
            self._connection.drop("cancelled")
            raise


class IMAPClient(MailboxCommands, MessageCommands, FilterCommands):
    """A session with a server, opened by ``connect``.

    :ivar machine: for what has no method here.
    :ivar greeting: the server's first words.
    """

    def __init__(
        self, connection: ClientConnection, settings: ClientSettings, heard: Callable[[Notice], None] | None
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._heard = heard
        self.machine = connection.machine
        self.greeting: r.StatusResponse | None = None
        connection.heard = lambda response: self.others([response])
        connection.answered = lambda done: self.others(done.responses, done)

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server announced last, in upper case."""
        return self.machine.capabilities

    @property
    def utf8(self) -> bool:
        """Whether IMAP4rev2 or UTF8=ACCEPT was enabled."""
        return self.machine.utf8

    @property
    def encrypted(self) -> bool:
        """Whether the connection has TLS."""
        return self._connection.encrypted

    @property
    def alive(self) -> bool:
        """Whether commands can be given."""
        return not self._connection.lost

    def told(self, heard: Notice) -> None:
        """The server has told something."""
        if self._heard is None:
            return
        try:
            self._heard(heard)
        except Exception:  # noqa: BLE001  (the program's: no reason to fail a command that was carried out)
            _log.failure("IMAP client: a notice could not be heard")

    def _start(self, request: Request, run: Run, *, deliver: bool = False) -> Deferred[Completed]:
        connection = self._connection
        if connection.lost:
            raise ConnectionFailedError(connection.lost)

        def cancelled(_: Deferred[Completed]) -> None:
            # Nobody knows what of it the server has done, and its answer would be another command's. What else was under way fails.
            connection.runs.pop(tag, None)
            connection.drop("cancelled")

        run.done = Deferred(cancelled)
        # RFC 2177 section 3: nothing else may be said before DONE.
        self.machine.done()
        tag = self.machine.request(
            request, deliver=deliver, stream_octets=STREAM_OCTETS if run.sinks is not None else None
        )
        connection.runs[tag] = run
        if run.seconds is not None:
            connection.expect(run.seconds)
        connection.flush()
        connection.pump()
        return run.done

    async def execute(
        self,
        request: Request,
        *,
        each: Callable[[r.Response], Awaitable[None] | None] | None = None,
        sinks: Callable[[BodyStarted], BodySink | None] | None = None,
        sources: Sequence[MessageSource] = (),
        seconds: float | None = None,
    ) -> Completed:
        """See ``Session.execute``."""
        patience = self._settings.timeouts.answer if seconds is None else seconds
        run = Run(request.word, Deferred(), each, sinks, list(sources), seconds=patience)
        return await self._start(request, run, deliver=each is not None)

    async def idle(self) -> IdleSession:
        """Hear of changes as they happen (RFC 2177). Servers log idle clients out after half an hour: end it before, and begin anew.

        Any other command ends it, too; ``ended`` of what is returned waits for that, and for the loss of the connection.
        """
        # Until it is granted the server owes us an answer; afterwards it may say nothing for as long as it likes.
        run = Run("IDLE", Deferred(), granted=Deferred(), seconds=self._settings.timeouts.answer)
        finished = self._start(of_command(c.Idle(b"")), run)
        granted = run.granted

        def over(result: Completed | Failure) -> Completed | Failure | None:
            if granted is None or granted.called:
                return result
            if isinstance(result, Failure):
                # Refused: the waiting for the grant ends with the refusal.
                granted.errback(result)
                return None
            # Another command has ended it before it was granted.
            granted.callback(None)
            return result

        finished.addBoth(over)
        if granted is not None:
            try:
                await granted
            except CancelledError:
                finished.addErrback(lambda _: None)
                self._connection.drop("cancelled")
                raise
        run.seconds = None
        return IdleSession(self._connection, finished, run)

    # -- opening -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Greeting, TLS, log-in, compression and what is to be enabled, as the settings say.

        :raise MailError: one of them failed; the connection is closed.
        """
        try:
            await self._open()
        except BaseException:
            self._connection.drop("could not be opened")
            raise
        self._connection.gone = lambda why: self.told(SessionLost(why))

    async def _open(self) -> None:
        tls, settings = self._settings.tls, self._settings
        if tls is not None and tls.implicit:
            await self._connection.start_tls(tls)
        self._connection.expect(settings.timeouts.greeting)
        self._connection.pump()
        self.greeting = await self._connection.greeting
        if self.greeting.code is not None and self.greeting.code.name == "ALERT":
            self.others([self.greeting])
        if self.greeting.condition not in {"OK", "PREAUTH"}:
            raise ConnectionFailedError(f"the server says: {self.greeting.text[:500]}")
        if not self.capabilities:
            await self.capability()
        if tls is not None and not tls.implicit:
            await self._starttls(tls)
        if settings.credentials is not None and self.greeting.condition != "PREAUTH":
            await self.login(settings.credentials)
        if settings.compress and self.offers("COMPRESS=DEFLATE"):
            # RFC 4978 section 3: refused, it is done by another layer, or not at all, and that is all.
            with suppress(CommandRefusedError):
                await self.compress()
        wanted = [
            name
            for name in settings.enable
            if self.offers(name.upper(), *(("QRESYNC",) if name.upper() == "CONDSTORE" else ()))
        ]
        if wanted and self.offers("ENABLE", "IMAP4REV2"):
            await self.enable(*wanted)

    async def _starttls(self, tls: ClientTLS) -> None:
        greeting = self.greeting
        # RFC 9051 section 11.1: after PREAUTH there is no STARTTLS; somebody between us may have said it for that reason.
        if greeting is not None and greeting.condition == "PREAUTH" and tls.required:
            raise ConnectionFailedError("the server logged us in before TLS")
        if not self.offers("STARTTLS"):
            if tls.required:
                raise ConnectionFailedError("the server does not offer TLS")
            return
        try:
            await self.execute(of_command(c.StartTLS(b"")))
        except CommandRefusedError:
            if tls.required:
                raise
            return
        await self._connection.start_tls(tls)
        await self.capability()

    async def login(self, credentials: Credentials) -> None:
        """Log in by the best way that the server offers; ask for its capabilities again.

        :raise CommandRefusedError: wrong credentials.
        :raise ConnectionFailedError: there is no way that is safe.
        """
        bindings = {name: values[0] for name, values in self._connection.bindings.items() if values}
        names = {name[5:] for name in self.capabilities if name.startswith("AUTH=")}
        safe = self.encrypted or self._settings.allow_clear_password
        if not safe:
            names.difference_update(_CLEAR_MECHANISMS)
        if self._settings.exchange is not None:
            exchange = self._settings.exchange(names, bindings)
        else:
            # Without a password there is the key that TLS has proved (RFC 4422 appendix A).
            preference = (*PREFERENCE, *_CLEAR_MECHANISMS) if credentials.password else ("EXTERNAL",)
            exchange = choose(
                names, credentials, self._settings.entropy, bindings=bindings, preference=preference
            )
        if exchange is not None:
            done = await self._authenticate(exchange)
        elif safe and not self.offers("LOGINDISABLED"):
            done = await self.execute(
                of_command(c.Login(b"", credentials.username, credentials.password)),
            )
        else:
            raise ConnectionFailedError("the server offers no way to log in that is safe")
        told = any(isinstance(one, r.Capabilities) for one in done.responses)
        self.others(one for one in done.responses if not isinstance(one, r.Capabilities))
        if not told and (done.status.code is None or done.status.code.name != "CAPABILITY"):
            await self.capability()

    async def _authenticate(self, exchange: ClientExchange) -> Completed:
        """One SASL exchange (RFC 9051 section 6.2.2)."""
        broken: list[ClientError] = []

        async def challenged(octets: bytes) -> bytes | None:
            in_thread = self._settings.in_thread
            if broken:
                # RFC 9051 section 6.2.2: what was cancelled is answered with BAD, and not gone on with.
                raise ConnectionFailedError(f"log-in: {broken[0]}")
            try:
                return exchange.step(octets) if in_thread is None else await in_thread(exchange.step, octets)
            except ClientError as error:
                broken.append(error)
                return None

        initial = exchange.start() if self.offers("SASL-IR", "IMAP4REV2") else None
        run = Run("AUTHENTICATE", Deferred(), challenged=challenged)
        run.seconds = self._settings.timeouts.answer
        try:
            request = of_command(c.Authenticate(b"", exchange.mechanism, initial))
            done = await self._start(request, run)
            exchange.finish()
        except CommandRefusedError:
            if broken:
                raise ConnectionFailedError(f"log-in: {broken[0]}") from None
            raise
        except ClientError as error:
            self._connection.drop(f"log-in: {error}")
            raise ConnectionFailedError(f"log-in: {error}") from None
        return done

    async def close(self) -> None:
        """Log out and close the connection; whatever comes of that, it is closed."""
        self._connection.gone = None
        if self.alive:
            with suppress(MailError):
                await self.logout()
        await self._connection.close()

    def abort(self, why: str = "aborted") -> None:
        """Hang up at once; commands under way fail. ``close`` waits until the connection is gone."""
        self._connection.gone = None
        self._connection.drop(why)


async def _made(clock: Any, connecting: Deferred[Any], seconds: float) -> None:
    """Wait for the connection of an endpoint.

    :raise ConnectionFailedError: there is none, or not in time.
    :raise CancelledError: who waits was cancelled.
    """
    try:
        await in_time(clock, connecting, seconds)
    except (MailError, CancelledError):
        raise
    except Exception as error:
        raise ConnectionFailedError(f"cannot be made: {error}"[:500]) from error


async def connect(
    clock: Any,
    endpoint: IStreamClientEndpoint,
    settings: ClientSettings,
    heard: Callable[[Notice], None] | None = None,
) -> IMAPClient:
    """Connect and open a session.

    :param clock: the reactor.
    :param heard: is told what the server tells unasked. What it raises is logged.
    :raise MailError: ``ConnectionFailedError``, ``CommandRefusedError``.
    :raise CancelledError: what waits for it was cancelled; the connection is closed.
    """
    connection = ClientConnection(clock, settings, Client(settings.limits))
    with SoleFactory(connection) as factory:
        await _made(clock, endpoint.connect(factory), settings.timeouts.connect)
    client = IMAPClient(connection, settings, heard)
    await client.open()
    return client
