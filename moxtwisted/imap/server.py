r"""An IMAP server without I/O: octets of a client in, octets for it out, and work that somebody else must do.

::

    server = Server(settings, authenticator, Surroundings(clock, os.urandom))
    server.start()                               # the greeting
    server.receive(b"a1 CAPABILITY\r\n")
    while (work := server.next_work()) is not None:
        ...                                      # see below
    transport.write(server.take_output())

``next_work`` carries out the commands that are there, one after the other, and stops at what it cannot do itself:

- ``Run``: await the coroutine; it gives more work or None. Then call ``next_work`` again.
- ``Stream``: send the pieces as fast as the client reads, then call ``streamed()`` and ``next_work`` again. Without pieces it
  only means that others may have their turn.
- ``StartTLS``: start the handshake, then ``tls_started()``.
- ``StartCompression``: compress from now on in both directions, call ``compression_started()``; see ``moxtwisted.imap.compression``.
- ``StopCompression``: compress no more in both directions, call ``compression_stopped()``.
- ``Depart``: hand the connection over with ``departed()``; see ``moxtwisted.imap.departing``. Only with a session that wants it.
- ``Close``: nothing comes any more.

What is in ``take_output`` is to be sent before the work is done. After the end, whoever ended it, call ``lost()``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from moxtwisted.errors import MailError
from moxtwisted.imap.backend import IAuthenticator
from moxtwisted.imap.commands import HANDLERS, Handler
from moxtwisted.imap.commands.append import Appending
from moxtwisted.imap.commands.arrivals import told
from moxtwisted.imap.commands.authentication import cancelled, responded
from moxtwisted.imap.commands.idle import done
from moxtwisted.imap.commands.replace import Replacing
from moxtwisted.imap.commands.uidonly import refuse_numbers
from moxtwisted.imap.connection import RefusalError, Transport, mailbox_name, refused
from moxtwisted.imap.execution import TURN_SECONDS, Execution
from moxtwisted.imap.options import missing
from moxtwisted.imap.preauthentication import IPreauthenticator
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.imap.states import State, refusal
from moxtwisted.imap.view import Findings, IViewObserver
from moxtwisted.imap.wire import parser
from moxtwisted.imap.wire.commands import Append, AppendMessage, Command, Done, Replace
from moxtwisted.imap.work import Close, Depart, Run, StartCompression, StartTLS, StopCompression, Stream, Work
from moxtwisted.sasl.decoys import Decoys

__all__ = [
    "SHUTTING_DOWN",
    "Close",
    "Depart",
    "Run",
    "Server",
    "StartCompression",
    "StartTLS",
    "StopCompression",
    "Stream",
    "Surroundings",
    "Work",
]

SHUTTING_DOWN: Final = "server is shutting down"
"""What BYE says when it is."""

# Output that is collected before it is sent at the latest, in responses.
_RESPONSES_AT_ONCE: Final = 1000


@frozen
class Surroundings:
    """What all connections of a program share.

    :ivar clock: has ``seconds()``, seconds since 1970.
    :ivar entropy: ``entropy(n)`` gives n random octets.
    :ivar decoys: for SASL; without them unknown users get other salts in every connection.
    :ivar handlers: what to do for each command.
    """

    clock: Any
    entropy: Callable[[int], bytes]
    decoys: Decoys | None = None
    handlers: Mapping[type[Command], Handler] = HANDLERS


class Server(Execution):
    """One connection.

    :ivar connection: what the commands share.
    :param transport: what is known of the transport.
    :param changed: called once when an idling client can be told something; then call ``flush_changes``.
    """

    def __init__(
        self,
        settings: ServerSettings,
        authenticator: IAuthenticator,
        surroundings: Surroundings,
        transport: Transport | None = None,
        changed: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(
            settings, authenticator, surroundings.clock, surroundings.entropy, transport or Transport()
        )
        self.connection.decoys = surroundings.decoys
        self.connection.wake = self._wake
        self._handlers = surroundings.handlers
        self._changed = changed
        self._woken = False
        self._first = True
        self._foreseeing = False

    # -- for the protocol --------------------------------------------------------------------------------------
    def start(self, *, preauthenticate: bool = False) -> Work | None:
        """The client connected (with implicit TLS: after the handshake): greet it.

        :param preauthenticate: whether the transport may say who it is: TLS from the first octet with a certificate of the client, or a
            socket that only the operator can open. Not a connection that could begin TLS later.
        """
        authenticator = self.connection.authenticator
        if preauthenticate and IPreauthenticator.providedBy(authenticator):
            self._busy = True
            return Run(self._preauthenticated(authenticator))
        self._greet("OK", "ready")
        return None

    def receive(self, data: bytes) -> None:
        """Octets from the client; they are looked at by ``next_work``."""
        self._reader.receive(data)

    @property
    def busy(self) -> bool:
        """Whether a command is under way that waits for somebody."""
        return self._busy

    @property
    def state(self) -> State:
        """Where the dialogue is."""
        return self.connection.state

    @property
    def logged_out(self) -> bool:
        """Whether the client ended it, with LOGOUT."""
        return self.connection.logged_out

    @property
    def mid_command(self) -> bool:
        """Whether a command or a message has begun to come in and is not complete."""
        return self.connection.appending is not None or self._reader.buffered_octets > 0

    @property
    def pending_octets(self) -> int:
        """Octets that were received and not yet looked at."""
        return self._reader.buffered_octets

    def next_work(self) -> Work | None:
        """Carry out commands until one needs help; None when more octets are needed, or ``busy``.

        What handlers raise besides refusals goes through: log it, and end this connection.
        """
        if self._busy or self._lost:
            return None
        if self._held is not None:
            held, self._held = self._held, None
            self._busy = True
            return held
        seconds = self.connection.clock.seconds
        turn_ends = seconds() + TURN_SECONDS
        while self.connection.state is not State.LOGOUT:
            if self._stopping and not self._between_messages():
                return self._bye(self._stopping)
            if len(self.connection.out) > _RESPONSES_AT_ONCE or seconds() > turn_ends:
                self._busy = True
                return Stream(iter(()))
            event = self._reader.next()
            if event is None:
                return self._in_turns(self._unasked())
            work = self._event(event)
            if work is not None or self.connection.long:
                work = self._in_turns(work)
                if work is not None:
                    return work
        return Close()

    def streamed(self) -> None:
        """The pieces of a ``Stream`` were all pulled."""
        self._busy = self._telling = False

    def tls_started(self, transport: Transport) -> None:
        """The handshake is done (RFC 9051 section 6.2.1: everything said before counts for nothing)."""
        self._busy = False
        self._reader.discard()
        connection = self.connection
        connection.transport = transport
        connection.client_id = None
        connection.forget_capabilities()
        self._first = True

    def compression_started(self) -> None:
        """What comes and goes is compressed now."""
        self._busy = False
        self.connection.compressed = True

    def compression_stopped(self) -> None:
        """It is so no more."""
        self._busy = False

    def flush_changes(self) -> Work | None:
        """Tell a client what changed that idles or said NOTIFY; to be called after ``changed`` was."""
        self._woken = False
        connection = self.connection
        if self._foreseeing:
            # It is told when that is done.
            return None
        listening = connection.notifying is not None or connection.state is State.IDLING
        if listening and not (self._busy or self._quiet) and connection.foreseeing is not None:
            self._busy = self._foreseeing = True
            return Run(self._foreseen_changes())
        if self._busy:
            return self._unasked()
        return self._in_turns(self._unasked())

    async def _foreseen_changes(self) -> Work | None:
        await self.connection.foresee()
        self._busy = self._foreseeing = False
        if self._lost:
            self._logged_in_too_late()
            return None
        return self._in_turns(self._unasked())

    @property
    def _quiet(self) -> bool:
        """Whether nothing may be said now but what is being said."""
        return self._lost or self._telling or self._between_messages()

    def _unasked(self) -> Work | None:
        """What is to be said while no command is under way, but not in the middle of something else."""
        connection = self.connection
        if self._quiet:
            return None
        if connection.notifying is not None:
            # RFC 5465 section 3.1: what NOTIFY asked for, at any time.
            if not self._busy:
                connection.notifying.push()
        elif connection.state is State.IDLING:
            connection.sync(allow_expunge=True)
            connection.tell_news()
        if self._busy:
            return None
        return self._evaluate() or self._tell(Findings())

    def _evaluate(self) -> Work | None:
        """RFC 5267 section 4.3: what changes mean for results that are kept up to date, while the client says nothing."""
        box = self.connection.selected
        observer = None if box is None else box.view.observer
        if observer is None or not observer.pending:
            return None
        self._busy = True
        return Run(self._evaluated(observer))

    async def _evaluated(self, observer: IViewObserver) -> Work | None:
        findings = await observer.evaluate()
        self._busy = False
        if self._lost:
            self._logged_in_too_late()
            return None
        # And what happened meanwhile.
        return self._in_turns(self._tell(findings) or self._unasked())

    def _tell(self, findings: Findings) -> Work | None:
        """Say what was found out, and the data items of new messages: as the client reads, when they are long."""
        connection = self.connection
        if not findings.lines and connection.notifying is None:
            return None
        pieces = told(connection, findings)
        octets, out, seconds = 0, connection.out, connection.clock.seconds
        turn_ends = seconds() + TURN_SECONDS
        for piece in pieces:
            # Most are short, and go out together with what announces them.
            out.append(piece)
            octets += len(piece)
            if octets >= connection.settings.limits.output_piece_octets // 2 or seconds() > turn_ends:
                self._busy = self._telling = True
                return Stream(pieces)
        return None

    def tell_progress(self) -> None:
        """A coroutine of ``Run`` takes long: tell the client that its command is under way."""
        tag, connection = self._under_way, self.connection
        if tag is None or connection.session is None or connection.state is State.LOGOUT:
            return
        if "INPROGRESS" not in connection.offered:
            return
        # RFC 9585 section 4: a tag with a bracket in it cannot stand in a response code.
        quoted = b"NIL" if b"]" in tag else b'"%b"' % tag
        done, goal = connection.progress or (0, 0)
        counts = b"%d %d" % (done, goal) if 0 <= done < goal else b"NIL NIL"
        connection.out.append(b"* OK [INPROGRESS (%b %b)] still at work\r\n" % (quoted, counts))

    def timed_out(self) -> Work:
        """The client was silent for too long."""
        return self._bye("autologout, you were idle for too long")

    def failed(self) -> Work:
        """Something broke that is not the client's fault: nothing more can be said but good-bye."""
        return self._bye("internal error, sorry", "SERVERBUG")

    def shutdown(self, why: str = SHUTTING_DOWN) -> Work | None:
        """The server stops, or the session is to end: now if no command is under way, else after it.

        :param why: what the client is told.
        """
        self._stopping = why
        if self._busy or self._between_messages() or self.connection.state is State.LOGOUT:
            return None
        return self._bye(why)

    def lost(self) -> None:
        """The connection is gone: give back what the session holds."""
        if self._lost:
            return
        self._lost = True
        connection = self.connection
        if isinstance(self._held, Run):
            self._held.coroutine.close()
        self._held = None
        if connection.appending is not None:
            connection.appending.abort()
            connection.appending = None
        connection.leave()
        connection.out.clear()
        connection.state = State.LOGOUT
        self._give_back_session()

    def forget(self) -> None:
        """After ``lost``, when nothing is under way any more: let go of the mail at once. A connection refers to itself in many ways, and
        goes when the collector of such circles comes."""
        self.connection.session = None

    # -- events ------------------------------------------------------------------------------------------------
    def _between_messages(self) -> bool:
        return self.connection.appending is not None

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            if self._changed is not None:
                self._changed()

    def _event(self, event: parser.Event) -> Work | None:
        if isinstance(event, Command):
            self._first = False
            return self._command(event)
        match event:
            case parser.NeedContinuation():
                self.connection.out.append(b"+ go ahead\r\n")
            case parser.AppendChunk(data):
                if self.connection.appending is not None:
                    self.connection.appending.write(data)
            case AppendMessage():
                self._first = False
                return self._announced(event)
            case parser.BadCommand():
                return self._bad_command(event)
            case parser.SaslResponse(data):
                tag, step = responded(self.connection, data)
                return self._run(Command(tag), step)
            case parser.SaslCancelled():
                tag, step = cancelled(self.connection)
                return self._run(Command(tag), step)
            case parser.TooMuch(text):
                return self._bye(text, misbehaved=True)
        return None

    def _command(self, command: Command) -> Work | None:
        connection = self.connection
        # The usual: nothing to look up twice.
        handler = self._handlers.get(type(command))
        why = refusal(type(command), connection.state, connection.offered)
        if handler is None or why is not None:
            if connection.appending is not None:
                connection.appending.abort()
                connection.appending = None
            return self._answered(command, RefusalError(why or "unknown command", kind="BAD").answer())
        try:
            if connection.restricted:
                without = missing(command, connection.offered)
                if without is not None:
                    raise RefusalError(f"{without} is not available now", kind="BAD")
            if connection.uidonly:
                refuse_numbers(command)
            result = handler(connection, command)
        except RefusalError as e:
            return self._finished(command, e.answer())
        except MailError as e:
            return self._finished(command, refused(e).answer())
        if result is None or isinstance(result, bytes):
            return self._finished(command, result)
        if inspect.iscoroutine(result):
            return self._run(command, result)
        return self._stream(command, result)  # type: ignore[arg-type]

    def _announced(self, message: AppendMessage) -> Work | None:
        """A message of APPEND: take it or refuse it, before its octets come."""
        connection = self.connection
        if not message.index:
            connection.appending = None
        try:
            appends = message.replaces is None
            why = refusal(Append if appends else Replace, connection.state, connection.offered)
            if why is not None:
                raise RefusalError(why, kind="BAD")
            if not appends:
                connection.appending = Replacing.of(connection, message)
            elif connection.appending is None:
                connection.appending = Appending(mailbox_name(message.mailbox))
            if message.steps:
                self._busy = True
                return Run(self._prepared(connection.appending, message))
            connection.appending.announced(connection, message)
        except RefusalError as e:
            return self._not_wanted(message, e)
        self._reader.accept_message()
        return None

    async def _prepared(self, appending: Appending, message: AppendMessage) -> Work | None:
        """What stands before a literal has to be done before the client is asked for it."""
        try:
            await appending.carry_out(self.connection, message.steps)
            if not self._lost:
                appending.announced(self.connection, message)
        except (RefusalError, MailError) as e:
            self._busy = False
            why = e if isinstance(e, RefusalError) else refused(e)
            return None if self._lost else self._not_wanted(message, why)
        self._busy = False
        self._reader.accept_message()
        return None

    def _not_wanted(self, message: AppendMessage, why: RefusalError) -> Work | None:
        connection = self.connection
        if connection.appending is not None:
            connection.appending.abort()
            connection.appending = None
        self._reader.refuse_message()
        return self._answered(Command(message.tag), why.answer())

    def _bad_command(self, event: parser.BadCommand) -> Work | None:
        connection = self.connection
        if connection.appending is not None:
            connection.appending.abort()
            connection.appending = None
        if connection.exchange is not None:
            tag, step = cancelled(connection)
            return self._run(Command(tag), step)
        if connection.state is State.IDLING:
            done(connection, Done(event.tag or b"*"))
        condition = event.condition
        if event.code.startswith("BADCHARSET") and "UTF8=ACCEPT" in connection.enabled:
            # RFC 9755 section 3: any charset but UTF-8.
            condition = "BAD"
        if event.saving and condition == "NO":
            # RFC 9051 section 6.4.4.1: a search that fails with NO empties the saved result.
            connection.saved = ()
        answer = RefusalError(event.text, event.code, condition).answer()
        if self._first and event.condition == "BAD":
            # As mox does: what begins so is no IMAP client.
            self._say(event.tag, answer)
            return self._bye("this is an IMAP server", misbehaved=True)
        self._first = False
        return self._answered(Command(event.tag or b"*"), answer)
