"""How the machine of ``moxtwisted.imap.server`` carries commands out: what handlers return becomes output and ``Work``.

The greeting, the tagged response and what follows from it (TLS, compression, another user) are here; reading commands and the side
of the protocol are there.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator
from itertools import chain
from typing import Any, Final

from moxtwisted.errors import MailError
from moxtwisted.imap.backend import IAuthenticator, ISession
from moxtwisted.imap.commands.arrivals import told
from moxtwisted.imap.commands.authentication import log_in
from moxtwisted.imap.connection import Answer, Connection, RefusalError, Transport, refused
from moxtwisted.imap.departing import Departure, Peer
from moxtwisted.imap.settings import Limits, ServerSettings
from moxtwisted.imap.states import State, expunge_allowed
from moxtwisted.imap.view import Findings, IViewObserver
from moxtwisted.imap.wire import parser
from moxtwisted.imap.wire.commands import Command
from moxtwisted.imap.work import Close, Depart, Run, StartCompression, StartTLS, StopCompression, Stream, Work

__all__ = ["TURN_SECONDS", "Execution"]

TURN_SECONDS: Final = 0.025
"""How long commands are carried out before the caller may look after others."""


#: So much of what is told goes out in one piece with the tagged response.
_AT_ONCE_OCTETS: Final = 65536


def _reader_limits(limits: Limits, *, logged_in: bool) -> parser.Limits:
    if logged_in:
        return parser.Limits(
            limits.line_octets, limits.literal_octets, limits.command_octets, literals=limits.literals
        )
    # Nobody needs long literals to log in, and everybody may connect.
    return parser.Limits(
        min(limits.line_octets, 8192),
        min(limits.literal_octets, 4096),
        16384,
        literals=8,
        skip_octets=262144,
    )


class Execution:
    """The state of a connection between its commands.

    :ivar connection: what the commands share.
    :ivar misbehaved: whether we said BYE because the client made too many errors.
    """

    def __init__(
        self,
        settings: ServerSettings,
        authenticator: IAuthenticator,
        clock: Any,
        entropy: Callable[[int], bytes],
        transport: Transport,
    ) -> None:
        self._reader = parser.CommandReader(_reader_limits(settings.limits, logged_in=False))
        self.connection = Connection(settings, authenticator, clock, entropy, transport)
        self.connection.reader = self._reader
        self.misbehaved = False
        self._busy = False
        self._bad = 0
        self._before_login = 0
        self._given_back = False
        self._lost = False
        self._stopping = ""  # what BYE will say
        self._telling = False  # in the middle of a Stream
        self._under_way: bytes | None = None
        self._held: Work | None = None  # what follows when all was said

    # -- the beginning and the end -----------------------------------------------------------------------------
    def take_output(self) -> bytes:
        """Octets for the client, once."""
        connection = self.connection
        out = connection.out
        if not out:
            return b""
        if connection.long:
            return b"".join(connection.take())
        octets = b"".join(out)  # type: ignore[arg-type]  # nothing else is in it then
        out.clear()
        return octets

    def _greet(self, word: str, text: str) -> None:
        connection = self.connection
        name, capabilities = connection.settings.hostname, " ".join(connection.capabilities)
        line = f"* {word} [CAPABILITY {capabilities}] {name} {text}\r\n"
        connection.out.append(line.encode("ascii", "replace"))

    async def _preauthenticated(self, authenticator: Any) -> Work | None:
        connection = self.connection
        try:
            identity = await authenticator.preauthenticate(connection.transport.peer)
            if identity is not None:
                await log_in(connection, identity)
        except MailError as e:
            return self._bye(e.public_text, e.imap_code)
        except RefusalError as e:
            return self._bye(e.text, e.code)
        self._busy = False
        if self._lost:
            self._logged_in_too_late()
        elif identity is None:
            self._greet("OK", "ready")
        else:
            self._reader.limits = _reader_limits(connection.settings.limits, logged_in=True)
            self._greet("PREAUTH", f"logged in as {identity}")
            if connection.departing:
                return self._depart()
        return None

    def _bye(self, text: str, code: str = "", *, misbehaved: bool = False) -> Work:
        connection = self.connection
        self.misbehaved = self.misbehaved or misbehaved
        if connection.state is not State.LOGOUT:
            bracket = f"[{code}] " if code else ""
            connection.out.append(f"* BYE {bracket}{text}\r\n".encode("ascii"))
            connection.state = State.LOGOUT
        self._busy = False
        return Close()

    def _give_back_session(self) -> None:
        self.connection.unnotify()
        self.connection.end_news()
        session = self.connection.session
        if session is not None and not self._given_back:
            self._given_back = True
            session.logout()

    # -- carrying out ------------------------------------------------------------------------------------------
    def _in_turns(self, work: Work | None) -> Work | None:
        """Where very much is to be said before this, have it pulled as the client reads, and others have their turn meanwhile.

        To be called with what the protocol is given, and when no coroutine of this connection is under way.
        """
        connection = self.connection
        if not connection.long:
            return work
        out, seconds = connection.out, connection.clock.seconds
        pieces = connection.take()
        octets = 0
        turn_ends = seconds() + TURN_SECONDS
        for piece in pieces:
            out.append(piece)
            octets += len(piece)
            if octets >= _AT_ONCE_OCTETS or seconds() > turn_ends:
                break
        else:
            return work
        if isinstance(work, Stream):
            return Stream(chain(pieces, work.pieces))
        self._held = work
        self._busy = self._telling = True
        return Stream(pieces)

    def _run(self, command: Command, coroutine: Coroutine[Any, Any, Any]) -> Work:
        self._busy = True
        self._under_way = command.tag
        return Run(self._complete(command, coroutine))

    async def _complete(self, command: Command, coroutine: Coroutine[Any, Any, Any]) -> Work | None:
        try:
            result = await coroutine
        except RefusalError as e:
            result = e.answer()
        except MailError as e:
            result = refused(e).answer()
        self._busy = False
        self._under_way = self.connection.progress = None
        if self._lost:
            self._logged_in_too_late()
            return None
        if result is None or isinstance(result, bytes):
            return self._in_turns(self._finished(command, result))
        return self._in_turns(self._stream(command, result))

    def _logged_in_too_late(self) -> None:
        """The client went while it was being logged in or selecting: give back what came of it."""
        connection = self.connection
        connection.leave()
        connection.out.clear()
        connection.state = State.LOGOUT
        self._give_back_session()

    def _stream(
        self, command: Command, pieces: Generator[bytes, None, Answer], *, last: bool = False
    ) -> Work | None:
        """Pull the first pieces at once: most answers are short, and go out together with their end.

        :param last: as of ``_finished``.
        """
        self._busy = True
        octets = 0
        out, seconds = self.connection.out, self.connection.clock.seconds
        most = self.connection.settings.limits.output_piece_octets // 2
        turn_ends = seconds() + TURN_SECONDS
        try:
            while octets < most and seconds() <= turn_ends:
                piece = next(pieces)
                octets += len(piece)
                out.append(piece)
        except StopIteration as end:
            return self._finished(command, end.value, last=last)
        except RefusalError as e:
            return self._finished(command, e.answer())
        except MailError as e:
            return self._finished(command, refused(e).answer())
        self._telling = True
        return Stream(self._rest(command, pieces))

    def _rest(self, command: Command, pieces: Generator[bytes, None, Answer]) -> Iterator[bytes]:
        try:
            answer = yield from pieces
        except RefusalError as e:
            answer = e.answer()
        except MailError as e:
            answer = refused(e).answer()
        if not self._lost:
            work = self._finished(command, answer, last=True)
            self._busy = True
            yield from self.connection.take()
            if work is not None:
                self.connection.state = State.LOGOUT

    def _finished(
        self, command: Command, answer: Answer, *, last: bool = False, foreseen: bool = False
    ) -> Work | None:
        """Updates of the mailbox, then the tagged response.

        :param last: whether it is to be said now, and nothing more is waited for.
        :param foreseen: whether what expunges mean for results was said already, so far as that takes long.
        """
        self._busy = False
        connection = self.connection
        if connection.selected is not None:
            allow_expunge = expunge_allowed(command)
            if allow_expunge and not (last or foreseen) and connection.foreseeing is not None:
                self._busy = True
                return Run(self._foreseen(command, answer))
            connection.sync(allow_expunge=allow_expunge)
            observer = connection.selected.view.observer
            if observer is not None and observer.pending and not last:
                self._busy = True
                return Run(self._updated(observer, command, answer))
        if connection.news:
            connection.tell_news()
        if answer is None:
            answer = f"OK {command.name} completed".encode("ascii")
        return self._answered(command, answer)

    async def _foreseen(self, command: Command, answer: Answer) -> Work | None:
        """RFC 5267 section 4.3.4: what expunges mean for results goes out before them."""
        await self.connection.foresee()
        self._busy = False
        if self._lost:
            self._logged_in_too_late()
            return None
        return self._in_turns(self._finished(command, answer, foreseen=True))

    async def _updated(self, observer: IViewObserver, command: Command, answer: Answer) -> Work | None:
        """RFC 5267 section 4.3: what the changes mean for results goes out with them."""
        findings = await observer.evaluate()
        self._busy = False
        if self._lost:
            self._logged_in_too_late()
            return None
        return self._in_turns(self._stream(command, self._told(findings, answer), last=True))

    def _told(self, findings: Findings, answer: Answer) -> Generator[bytes, None, Answer]:
        yield from told(self.connection, findings)
        return answer

    def _answered(self, command: Command, answer: bytes) -> Work | None:
        if not answer:
            return None
        self._say(command.tag, answer)
        connection = self.connection
        if answer.startswith(b"BAD"):
            self._bad += 1
            if self._bad > connection.settings.limits.bad_commands:
                return self._bye("too many bad commands", misbehaved=True)
        else:
            self._bad = 0
        if connection.session is None:
            self._before_login += 1
            if self._before_login > connection.settings.limits.commands_before_login:
                return self._bye("log in first", misbehaved=True)
        if connection.starting_compression:
            connection.starting_compression = False
            self._busy = True
            return StartCompression()
        if connection.starting_over:
            return self._start_over()
        if connection.starting_tls:
            connection.starting_tls = False
            self._busy = True
            return StartTLS()
        if connection.login_failures >= connection.settings.limits.login_failures:
            return self._bye("too many failed logins")
        if connection.session is not None and self._reader.limits.literals == 8:
            self._reader.limits = _reader_limits(connection.settings.limits, logged_in=True)
            if connection.departing:
                return self._depart()
        return None

    # -- from process to process -------------------------------------------------------------------------------
    def _depart(self) -> Work | None:
        """The session is with another process, and so shall the connection be."""
        self.connection.departing = False
        if self._stopping:
            # The client is told so instead.
            return None
        self._busy = True
        return Depart(self.take_output())

    def departed(self, output: bytes) -> Departure:
        """The connection leaves; to be called for ``Depart``, and this is the end of the machine.

        :param output: as ``Depart`` had it.
        """
        connection = self.connection
        facts = connection.transport
        # Not the session's end.
        self._lost = self._given_back = True
        connection.state = State.LOGOUT
        return Departure(
            account=connection.mail.account,
            identity=connection.identity,
            output=output,
            input=self._reader.discard(),
            transport=Transport(Peer.of(facts.peer), facts.tls, facts.client_key),
            client_id=connection.client_id,
        )

    def arrived(self, departure: Departure, session: ISession) -> None:
        """The connection begins where it ended elsewhere, with the mail of its user; take the output, and go on with ``next_work``."""
        connection = self.connection
        connection.session, connection.identity = session, departure.identity
        connection.transport, connection.client_id = departure.transport, departure.client_id
        connection.settled = True
        connection.state = State.AUTHENTICATED
        connection.forget_capabilities()
        connection.out.append(departure.output)
        self._reader.limits = _reader_limits(connection.settings.limits, logged_in=True)
        self._reader.receive(departure.input)

    def _start_over(self) -> Work | None:
        """UNAUTHENTICATE: nothing of the session is left but the transport, ID, and what the client has sent since."""
        old = self.connection
        if old.compressed and self._reader.buffered_octets:
            # RFC 8437 section 4.1: what follows must not be compressed.
            return self._bye("compression ends with UNAUTHENTICATE")
        self._give_back_session()
        self._given_back = False
        # RFC 8437 section 4.1: all state of all extensions, also of those that we do not know of here.
        connection = Connection(old.settings, old.authenticator, old.clock, old.entropy, old.transport)
        connection.reader, connection.decoys, connection.wake = old.reader, old.decoys, old.wake
        connection.out, connection.pause, connection.client_id = old.out, old.pause, old.client_id
        connection.can_leave = old.can_leave
        self.connection = connection
        self._before_login = 0
        self._reader.utf8 = False
        self._reader.limits = _reader_limits(connection.settings.limits, logged_in=False)
        if old.compressed:
            self._busy = True
            return StopCompression()
        return None

    def _say(self, tag: bytes | None, answer: bytes) -> None:
        connection = self.connection
        if tag is not None and connection.selected is not None and connection.qresync:
            view = connection.selected.view
            if view.behind and b"[HIGHESTMODSEQ " not in answer:
                connection.tell_complete(view)
        connection.out.append(b"%b %b\r\n" % (tag or b"*", answer))
