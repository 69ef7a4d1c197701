r"""A POP3 server without I/O: octets of a client in, octets for it out, and work that somebody else must do.

::

    server = Server(settings, authenticator, Surroundings(os.urandom, decoys))
    server.start()                               # the greeting
    server.receive(b"USER alice\r\n")
    while (work := server.next_work()) is not None:
        ...                                      # see below
    transport.write(server.take_output())

``next_work`` carries out the commands that are there, one after the other, and stops at what it cannot do itself:

- ``Run``: await the coroutine; it gives more work or None. Then call ``next_work`` again.
- ``Stream``: send the pieces as fast as the client reads, then call ``streamed()`` and ``next_work`` again.
- ``StartTLS``: start the handshake, then ``tls_started()``.
- ``Close``: nothing comes any more.

What is in ``take_output`` is to be sent before the work is done. After the end, whoever ended it, call ``lost()``. Messages that were
marked as deleted are removed by QUIT and by nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

from attrs import frozen

from moxtwisted.errors import MailError
from moxtwisted.pop3 import commands as c
from moxtwisted.pop3.backend import IAuthenticator, IMaildrop
from moxtwisted.pop3.login import LogIn
from moxtwisted.pop3.replies import lines, negative, positive, response_code, stuffed, top
from moxtwisted.pop3.settings import ServerSettings
from moxtwisted.pop3.states import State, allowed
from moxtwisted.pop3.work import Close, Run, StartTLS, Stream, Work
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.sasl.wire import MAX_LINE_OCTETS
from moxtwisted.transport.facts import Transport

__all__ = ["Close", "Run", "Server", "StartTLS", "Stream", "Surroundings", "Transport", "Work"]

#: Each takes ten microseconds or so.
_COMMANDS_OF_A_TURN: Final = 500
_ONLY_DELETED: Final = "that message is marked as deleted"


@frozen
class Surroundings:
    """What all connections of a program share.

    :ivar entropy: ``entropy(n)`` gives n random octets.
    :ivar decoys: for SASL with unknown users; should outlive restarts.
    """

    entropy: Callable[[int], bytes]
    decoys: Decoys


class Server(LogIn):
    """One connection.

    :ivar state: where the dialogue is.
    :ivar quitted: whether the client said QUIT.
    :ivar pause: waits so many seconds, for who guesses passwords; the host sets it.
    """

    def __init__(
        self,
        settings: ServerSettings,
        authenticator: IAuthenticator,
        surroundings: Surroundings,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(settings, authenticator, surroundings, transport or Transport())
        self._buffer = bytearray()
        self._deleted: set[int] = set()
        self._bad_commands = 0
        self._commands = 0
        self._stopping = False
        self.quitted = False
        self._under_way = False  # a coroutine; it gives back the maildrop itself when the connection is gone

    # -- for the protocol ------------------------------------------------------------------------------------------
    def start(self) -> None:
        """The client connected (with implicit TLS: after the handshake): greet it."""
        self.state = State.AUTHORIZATION
        self.say(positive(f"{self.settings.hostname} POP3 ready"))

    def receive(self, data: bytes) -> None:
        """Octets from the client; they are looked at by ``next_work``."""
        if self.state is not State.CLOSED:
            self._buffer += data

    @property
    def pending_octets(self) -> int:
        """Octets that were received and not yet looked at."""
        return len(self._buffer)

    def take_output(self) -> bytes:
        """What is to be sent."""
        out, self._out = self._out, []
        return b"".join(out)

    def next_work(self) -> Work | None:
        """Carry out commands until one needs help; None when more octets are needed, or one is under way.

        When very many came at once, the help is a pause in which others have their turn.
        """
        commands = 0
        while not self.busy:
            if self.state is State.CLOSED:
                return Close()
            if self._stopping:
                return self._end(negative("server is shutting down", "SYS/TEMP"))
            line = self._line()
            if line is None:
                return Close() if self._over() else None
            work = self._carry_out(line)
            if work is not None:
                return work
            commands += 1
            if commands == _COMMANDS_OF_A_TURN and self.pause is not None:
                return self._run(self._breathe(self.pause))
        return None

    async def _breathe(self, pause: Callable[[float], Awaitable[Any]]) -> None:
        await pause(0)

    def streamed(self) -> None:
        """The pieces of a ``Stream`` were all pulled."""
        self.busy = False

    def tls_started(self, transport: Transport) -> None:
        """The handshake is done: what was said before counts for nothing (RFC 2595 section 4)."""
        self.busy = False
        self._buffer.clear()
        self._user = None
        self.transport = transport
        if self.state is State.TLS:
            self.state = State.AUTHORIZATION

    def timed_out(self) -> None:
        """The client was silent for too long. RFC 1939 section 3: nothing is said, and nothing removed."""
        self.state = State.CLOSED

    def failed(self) -> None:
        """Something broke that is not the client's fault."""
        self._end(negative("internal error, sorry", "SYS/TEMP"))

    def shutdown(self) -> Work | None:
        """The server stops: end now if no command is under way, else after it."""
        self._stopping = True
        return None if self.busy or self.state is State.TLS else self.next_work()

    def lost(self) -> None:
        """The connection is gone: give back what the session holds. Nothing is removed."""
        self.state = State.CLOSED
        self._buffer.clear()
        self._out.clear()
        if not self._under_way:
            self._release()

    def _over(self) -> bool:
        return self.state is State.CLOSED

    # -- lines -----------------------------------------------------------------------------------------------------
    def _line(self) -> bytes | None:
        """The next line without its end."""
        limit = self.settings.limits.line_octets
        if self.state is State.EXCHANGE:
            limit = MAX_LINE_OCTETS + 2
        end = self._buffer.find(b"\n", 0, limit)
        if end < 0:
            if len(self._buffer) >= limit:
                self._end(negative("line too long"))
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def _carry_out(self, line: bytes) -> Work | None:
        if self.state is State.EXCHANGE:
            return self._run(self.response(line))
        try:
            command = c.parse(line)
        except c.SyntaxProblem as problem:
            return self._bad(problem)
        if not allowed(command.verb, self.state):
            before = self.state is State.AUTHORIZATION
            return self._bad(c.SyntaxProblem("log in first" if before else "you are logged in", command.verb))
        self._bad_commands = 0
        self._commands += 1
        if self.maildrop is None and self._commands > self.settings.limits.commands_before_login:
            return self._end(negative("too many commands without a log-in"))
        return self.command(command)

    def _bad(self, problem: c.SyntaxProblem) -> Work | None:
        self._bad_commands += 1
        self.say(negative(problem.text))
        if self._bad_commands > self.settings.limits.bad_commands:
            return self._end(negative("too many errors"))
        return None

    # -- commands --------------------------------------------------------------------------------------------------
    def command(self, command: c.Command) -> Work | None:
        """Carry out a command that may be said now: a host may override it for commands of its own."""
        match command:
            case c.UserName(_, name):
                self.user(name)
            case c.Password(_, password):
                return self._run(self.password(password))
            case c.Authenticate():
                return self._run(self.authenticate(command))
            case c.ListMessages(verb, number):
                return self._list(verb, number)
            case c.Retrieve("RETR", number):
                return self._retrieve(number, None)
            case c.Top(_, number, count):
                return self._retrieve(number, count)
            case c.Retrieve(_, number):
                self._delete(number)
            case _:
                return self._plain(command.verb)
        return None

    def _plain(self, verb: str) -> Work | None:
        match verb:
            case "CAPA":
                self.say(positive("capabilities follow"))
                self.say(b"".join(lines(self.capabilities())))
            case "STLS":
                return self._starttls()
            case "STAT":
                left = self._left()
                self.say(positive(f"{len(left)} {sum(self._maildrop().sizes[n - 1] for n in left)}"))
            case "NOOP":
                self.say(positive("still here"))
            case "RSET":
                self._deleted.clear()
                self.say(positive("nothing is marked as deleted"))
            case "QUIT":
                return self._quit()
        return None

    def capabilities(self) -> Sequence[str]:
        """What CAPA lists: RFC 2449 section 6."""
        settings = self.settings
        told = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"]
        if self.plain_allowed():
            told.append("USER")
        mechanisms = self.mechanisms()
        if mechanisms:
            told.append("SASL " + " ".join(mechanisms))
        if self.offers_stls():
            told.append("STLS")
        if settings.expire:
            told.append(f"EXPIRE {settings.expire}")
        if settings.software and self.state is State.TRANSACTION:
            told.append(f"IMPLEMENTATION {settings.software}")
        return told

    def offers_stls(self) -> bool:
        """Whether TLS may begin. RFC 2449 section 5: what is announced before log-in is announced after it, too."""
        return self.settings.offer_stls and not self.transport.tls

    def _starttls(self) -> Work | None:
        if not self.offers_stls():
            self.say(negative("TLS is active" if self.transport.tls else "TLS is not available"))
            return None
        if self._buffer:
            # RFC 2595 section 4: a client says nothing more before the handshake. What stands there could be somebody else's.
            return self._end(negative("nothing may follow STLS before the handshake"))
        self.say(positive("begin TLS"))
        self.state, self.busy = State.TLS, True
        return StartTLS()

    def _maildrop(self) -> IMaildrop:
        if self.maildrop is None:
            raise RuntimeError("nobody is logged in")
        return self.maildrop

    def _left(self) -> list[int]:
        """Numbers of the messages that are not marked as deleted."""
        numbers = range(1, len(self._maildrop().sizes) + 1)
        return [number for number in numbers if number not in self._deleted]

    def _known(self, number: int) -> bool:
        """Whether there is such a message; else it was said that there is none."""
        if not 1 <= number <= len(self._maildrop().sizes):
            self.say(negative("no such message"))
            return False
        if number in self._deleted:
            self.say(negative(_ONLY_DELETED))
            return False
        return True

    def _list(self, verb: str, number: int | None) -> Work | None:
        maildrop = self._maildrop()
        facts: Sequence[Any] = maildrop.sizes if verb == "LIST" else maildrop.identifiers
        if number is not None:
            if self._known(number):
                self.say(positive(f"{number} {facts[number - 1]}"))
            return None
        left = self._left()
        self.say(positive(f"{len(left)} messages"))
        return self._stream(lines(f"{n} {facts[n - 1]}" for n in left))

    def _retrieve(self, number: int, count: int | None) -> Work | None:
        if not self._known(number):
            return None
        body: Any = self._maildrop().body(number)
        if inspect.isawaitable(body):
            return self._run(self._retrieve_later(number, count, body))
        return self._content(number, count, body)

    async def _retrieve_later(self, number: int, count: int | None, body: Any) -> Work | None:
        try:
            found = await body
        except MailError as error:
            self.say(negative(error.public_text, response_code(error)))
            return None
        self.busy = False
        return self._content(number, count, found)

    def _content(self, number: int, count: int | None, body: Any) -> Work | None:
        if body is None:
            self.say(negative("the message is gone", "SYS/PERM"))
            return None
        octets = self.settings.limits.piece_octets
        if count is None:
            self.say(positive(f"{self._maildrop().sizes[number - 1]} octets"))
            return self._stream(stuffed(body, octets))
        self.say(positive("top of message follows"))
        return self._stream(top(body, count, octets))

    def _delete(self, number: int) -> None:
        if self._known(number):
            self._deleted.add(number)
            self.say(positive("marked as deleted"))

    def _quit(self) -> Work | None:
        self.quitted = True
        if self.maildrop is None:
            return self._end(positive("goodbye"))
        return self._run(self._update(self.maildrop))

    async def _update(self, maildrop: IMaildrop) -> Work | None:
        """RFC 1939 section 6: the maildrop is released whether or not all could be removed."""
        try:
            await maildrop.update(frozenset(self._deleted))
        except MailError as error:
            text = "some messages could not be removed"
            answer = negative(text, response_code(error))
        else:
            answer = positive("goodbye")
        self._release()
        self.busy = False
        return self._end(answer)

    # -- work ------------------------------------------------------------------------------------------------------
    def _stream(self, pieces: Iterator[bytes]) -> Work:
        self.busy = True
        return Stream(pieces)

    def _run(self, coroutine: Coroutine[Any, Any, Work | None]) -> Work:
        self.busy = True
        return Run(self._finished(coroutine))

    async def _finished(self, coroutine: Coroutine[Any, Any, Work | None]) -> Work | None:
        self._under_way = True
        try:
            work = await coroutine
        finally:
            self._under_way = False
            if self._over():
                self._release()  # the connection went away meanwhile, or the session ended
        if work is None:
            self.busy = False
        return work

    def _end(self, last: bytes) -> Work:
        self.say(last)
        self.state = State.CLOSED
        self._buffer.clear()
        return Close()
