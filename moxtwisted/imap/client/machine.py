r"""An IMAP client without I/O: commands in, octets out; octets in, events out.

    client = Client()
    client.receive(b"* OK [CAPABILITY IMAP4rev1 LITERAL+] ready\r\n")
    client.next_event()                          # Greeting(response=StatusResponse(...))
    client.login("alice", "secret")              # b"A1", its tag
    transport.write(client.data_to_send())
    client.receive(b"A1 OK hello\r\n")
    client.next_event()                          # Completed(tag=b"A1", status=..., responses=())

Commands may be given at any time. They go out one after the other; a command that must wait for a continuation (a
literal, AUTHENTICATE, IDLE) holds back those behind it. The data that arrives is handed over with the completion of
the oldest command under way; what arrives while there is none, or during IDLE, is ``Unsolicited`` at once.
"""

from __future__ import annotations

import binascii
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from attrs import define, field, frozen

from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.fetchattributes import FetchAttribute
from moxtwisted.imap.wire.request import NonSync, Outgoing, render_append, render_command
from moxtwisted.imap.wire.responses import ResponseLimits, ResponseReader
from moxtwisted.imap.wire.searchkeys import SearchKey
from moxtwisted.imap.wire.sequence import SequenceSet

__all__ = [
    "Challenge",
    "Client",
    "ClientEvent",
    "Completed",
    "Failed",
    "Greeting",
    "Idling",
    "Outgoing",
    "Unsolicited",
]

MAX_RESPONSES = 2_000_000
"""The most data responses kept for one command; a mailbox may have a million messages."""


@frozen
class Greeting:
    """The server's first response: OK, PREAUTH or BYE."""

    response: r.StatusResponse


@frozen
class Completed:
    """A command was answered.

    :ivar status: the tagged response.
    :ivar responses: the data that came before it, in order.
    """

    tag: bytes
    status: r.StatusResponse
    responses: tuple[r.Response, ...]

    @property
    def ok(self) -> bool:
        """Whether the command was carried out."""
        return self.status.condition == "OK"


@frozen
class Unsolicited:
    """Data that no command asked for, or that came during IDLE; BYE too."""

    response: r.Response


@frozen
class Challenge:
    """AUTHENTICATE waits for ``Client.respond``."""

    tag: bytes
    data: bytes = field(repr=False)


@frozen
class Idling:
    """IDLE was granted; ``Client.done`` ends it."""

    tag: bytes


@frozen
class Failed:
    """The server says what cannot be understood, or too much of it; close the connection."""

    reason: str


ClientEvent = Greeting | Completed | Unsolicited | Challenge | Idling | Failed


@define
class _Pending:
    """A command that was given.

    :ivar render: makes the segments when it is its turn, since ENABLE and CAPABILITY change how things are written.
    :ivar segments: what is still to be sent; between two, a continuation must come.
    """

    command: c.Command
    render: Callable[[], list[bytes]]
    segments: deque[bytes] = field(factory=deque)
    responses: list[r.Response] = field(factory=list)
    granted: bool = False


_EXCLUSIVE = (c.Authenticate, c.Enable, c.Idle, c.StartTLS)
"""Nothing may be sent behind these until they are answered."""


class Client:
    """The client's side of one connection.

    :ivar capabilities: what the server announced last, in upper case.
    :ivar utf8: whether IMAP4rev2 or UTF8=ACCEPT was enabled.
    """

    def __init__(self, limits: ResponseLimits | None = None) -> None:
        self._reader = ResponseReader(limits)
        self._out: list[bytes] = []
        self._waiting: deque[_Pending] = deque()
        self._current: deque[_Pending] = deque()
        self._events: deque[ClientEvent] = deque()
        self._number = 0
        self._greeted = False
        self._failed = False
        self.capabilities: frozenset[str] = frozenset()

    # -- octets and events ------------------------------------------------------------------------------------------

    @property
    def utf8(self) -> bool:
        """Whether quoted strings and mailbox names are UTF-8 now."""
        return self._reader.utf8

    @property
    def buffered_octets(self) -> int:
        """What was received and not read: must be 0 when TLS starts."""
        return self._reader.buffered_octets

    def receive(self, data: bytes) -> None:
        """Take octets from the server."""
        self._reader.receive(data)

    def data_to_send(self) -> bytes:
        """Octets for the server, once."""
        data = b"".join(self._out)
        self._out = []
        return data

    def next_event(self) -> ClientEvent | None:
        """The next event, or ``None``; afterwards there may be octets to send."""
        while not self._events and not self._failed:
            response = self._reader.next()
            if response is None:
                return None
            self._handle(response)
        return self._events.popleft() if self._events else None

    # -- commands ---------------------------------------------------------------------------------------------------

    def new_tag(self) -> bytes:
        """A tag that was not used on this connection."""
        self._number += 1
        return b"A%d" % self._number

    def send(self, command: c.Command) -> bytes:
        """Give a command, made with a tag from ``new_tag``; its tag."""
        return self._queue(
            command, lambda: render_command(command, literals=self._literals(), utf8=self.utf8)
        )

    def login(self, username: str, password: str) -> bytes:
        """LOGIN; its tag."""
        return self.send(c.Login(self.new_tag(), username, password))

    def authenticate(self, mechanism: str, initial_response: bytes | None = None) -> bytes:
        """AUTHENTICATE; its tag. Give an initial response only if the server announces SASL-IR (RFC 4959)."""
        return self.send(c.Authenticate(self.new_tag(), mechanism, initial_response))

    def respond(self, data: bytes | None) -> None:
        """Answer a ``Challenge``; ``None`` cancels."""
        self._out.append((b"*" if data is None else binascii.b2a_base64(data, newline=False)) + b"\r\n")

    def select(self, mailbox: str, *, examine: bool = False, condstore: bool = False) -> bytes:
        """SELECT or EXAMINE; its tag."""
        return self.send(c.Select(self.new_tag(), mailbox, examine, condstore))

    def fetch(
        self,
        numbers: SequenceSet,
        attributes: Iterable[FetchAttribute],
        *,
        uid: bool = True,
        changed_since: int | None = None,
    ) -> bytes:
        """FETCH or UID FETCH; its tag."""
        return self.send(c.Fetch(self.new_tag(), numbers, tuple(attributes), changed_since, uid=uid))

    def search(
        self, key: SearchKey, *, uid: bool = True, returns: frozenset[c.SearchReturn] | None = None
    ) -> bytes:
        """SEARCH or UID SEARCH, in UTF-8; its tag."""
        charset = None if self.utf8 else "UTF-8"
        return self.send(c.Search(self.new_tag(), key, returns, charset, uid))

    def store(
        self,
        numbers: SequenceSet,
        mode: c.StoreMode,
        flags: Sequence[str],
        *,
        uid: bool = True,
        silent: bool = False,
    ) -> bytes:
        """STORE or UID STORE; its tag."""
        return self.send(c.Store(self.new_tag(), numbers, mode, tuple(flags), silent, uid=uid))

    def append(
        self, mailbox: str, data: bytes, flags: Sequence[str] = (), received: datetime | None = None
    ) -> bytes:
        """APPEND of one message; its tag."""
        return self.append_many(mailbox, [Outgoing(data, tuple(flags), received)])

    def append_many(self, mailbox: str, messages: Sequence[Outgoing]) -> bytes:
        """APPEND of several messages, for a server with MULTIAPPEND; its tag."""
        tag = self.new_tag()
        return self._queue(
            c.Append(tag, mailbox, ()),
            lambda: render_append(tag, mailbox, messages, literals=self._literals(), utf8=self.utf8),
        )

    def idle(self) -> bytes:
        """IDLE; its tag."""
        return self.send(c.Idle(self.new_tag()))

    def done(self) -> None:
        """End IDLE, at once or as soon as it is granted."""
        if not self._current or not isinstance(self._current[-1].command, c.Idle):
            return
        pending = self._current[-1]
        if pending.granted:
            pending.granted = False
            self._out.append(b"DONE\r\n")
        elif not pending.segments:
            pending.segments.append(b"DONE\r\n")

    def logout(self) -> bytes:
        """LOGOUT; its tag."""
        return self.send(c.Logout(self.new_tag()))

    def starttls(self) -> bytes:
        """STARTTLS; its tag. After OK, start TLS if ``buffered_octets`` is 0, and forget what was announced."""
        return self.send(c.StartTLS(self.new_tag()))

    def tls_started(self) -> None:
        """RFC 9051 section 6.2.1: what was said before TLS does not count."""
        self.capabilities = frozenset()

    # -- going out --------------------------------------------------------------------------------------------------

    def _literals(self) -> NonSync:
        if "LITERAL+" in self.capabilities:
            return NonSync.ALL
        # RFC 9051 section 7.2.2 and appendix E: IMAP4rev2 includes LITERAL-.
        if self.capabilities & {"LITERAL-", "IMAP4REV2"}:
            return NonSync.SMALL
        return NonSync.NONE

    def _queue(self, command: c.Command, render: Callable[[], list[bytes]]) -> bytes:
        self._waiting.append(_Pending(command, render))
        self._advance()
        return command.tag

    def _blocked(self) -> bool:
        """Whether the last command sent still has something to say."""
        if not self._current:
            return False
        last = self._current[-1]
        return bool(last.segments) or isinstance(last.command, _EXCLUSIVE)

    def _advance(self) -> None:
        """Send what may be sent."""
        while self._waiting and self._greeted and not self._blocked():
            pending = self._waiting.popleft()
            pending.segments.extend(pending.render())
            self._out.append(pending.segments.popleft())
            self._current.append(pending)

    # -- coming in --------------------------------------------------------------------------------------------------

    def _fail(self, reason: str) -> None:
        self._failed = True
        self._events.append(Failed(reason))

    def _handle(self, response: r.Response) -> None:
        if isinstance(response, r.BadResponse):
            self._fail(response.text)
        elif not self._greeted:
            self._greeting(response)
        elif isinstance(response, r.Continuation):
            self._continue(response)
        elif isinstance(response, r.StatusResponse) and response.tag is not None:
            self._complete(response)
        else:
            self._data(response)

    def _greeting(self, response: r.Response) -> None:
        if not isinstance(response, r.StatusResponse) or response.tag is not None:
            self._fail("the server's first response is no greeting")
            return
        self._greeted = True
        self._note(response)
        self._events.append(Greeting(response))
        self._advance()

    def _continue(self, response: r.Continuation) -> None:
        if not self._current:
            self._fail("continuation without a command")
            return
        pending = self._current[-1]
        if pending.segments:
            self._out.append(pending.segments.popleft())
            self._advance()
        elif isinstance(pending.command, c.Idle) and not pending.granted:
            pending.granted = True
            self._events.append(Idling(pending.command.tag))
        elif isinstance(pending.command, c.Authenticate):
            try:
                challenge = binascii.a2b_base64(response.text)
            except binascii.Error:
                self._fail("challenge is not base64")
                return
            self._events.append(Challenge(pending.command.tag, challenge))
        else:
            self._fail("continuation without a literal")

    def _complete(self, response: r.StatusResponse) -> None:
        for index, pending in enumerate(self._current):
            if pending.command.tag == response.tag:
                del self._current[index]
                break
        else:
            self._fail("response for a command that was not given")
            return
        self._note(response)
        self._events.append(Completed(pending.command.tag, response, tuple(pending.responses)))
        self._advance()

    def _data(self, response: r.Response) -> None:
        self._note(response)
        oldest = self._current[0] if self._current else None
        bye = isinstance(response, r.StatusResponse) and response.condition == "BYE"
        if oldest is None or oldest.granted or (bye and not isinstance(oldest.command, c.Logout)):
            self._events.append(Unsolicited(response))
        elif len(oldest.responses) >= MAX_RESPONSES:
            self._fail("too many responses")
        else:
            oldest.responses.append(response)

    def _note(self, response: r.Response) -> None:
        """Keep what changes how we write."""
        if isinstance(response, r.Capabilities):
            self.capabilities = frozenset(response.names)
        elif isinstance(response, r.Enabled):
            if {"IMAP4REV2", "UTF8=ACCEPT"} & set(response.names):
                self._reader.utf8 = True
        elif isinstance(response, r.StatusResponse) and response.code is not None:
            value = response.code.value
            if response.code.name == "CAPABILITY" and isinstance(value, tuple):
                self.capabilities = frozenset(value)
