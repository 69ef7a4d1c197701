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
the oldest command under way (ESEARCH of the one that it names), or at once as ``Data`` when the command was given so; what
arrives while there is none, or during IDLE, is ``Unsolicited`` at once.

Large messages need not be in memory: a request with an ``UploadPart`` makes an ``Upload`` event, after which ``feed`` takes its
octets; a command given with ``stream_octets`` hands large sections out as ``BodyStarted``, ``BodyData`` … and ``BodyEnded``
before their ``Fetched``.
"""

from __future__ import annotations

import binascii
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime

from attrs import define, field

from moxtwisted.imap.client.events import (
    BodyData,
    BodyEnded,
    BodyStarted,
    Challenge,
    ClientEvent,
    Completed,
    Data,
    Failed,
    Greeting,
    Idling,
    NotWritten,
    Unsolicited,
    Upload,
)
from moxtwisted.imap.client.requests import Request, Segment, of_command, outgoing
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.fetchattributes import FetchAttribute
from moxtwisted.imap.wire.request import NonSync, Outgoing
from moxtwisted.imap.wire.responses import ResponseLimits, ResponseReader
from moxtwisted.imap.wire.returnoptions import ReturnOptions
from moxtwisted.imap.wire.searchkeys import SearchKey
from moxtwisted.imap.wire.sequence import SequenceSet

__all__ = [
    "BodyData",
    "BodyEnded",
    "BodyStarted",
    "Challenge",
    "Client",
    "ClientEvent",
    "Completed",
    "Data",
    "Failed",
    "Greeting",
    "Idling",
    "NotWritten",
    "Outgoing",
    "Unsolicited",
    "Upload",
]

MAX_RESPONSES = 2_000_000
"""The most data responses kept for one command; a mailbox may have a million messages."""
MAX_HELD_OCTETS = 512 * 1024 * 1024
"""The most octets of data kept for one command."""
_SHOWN_OCTETS = 40
"""So much of a response that cannot be read is told."""
_INFLATE_OCTETS = 65536
"""So many octets are unpacked at a time (RFC 4978)."""


@define(eq=False)
class _Pending:
    """A command that was given.

    :ivar segments: what is still to be sent.
    :ivar waiting: whether a continuation must come first.
    :ivar upload: how many octets the caller gives next, once there was a continuation if it takes one.
    :ivar granted: whether IDLE is in force.
    :ivar began: whether it was.
    """

    tag: bytes
    request: Request
    deliver: bool = False
    stream_octets: int | None = None
    segments: deque[Segment] = field(factory=deque)
    waiting: bool = False
    upload: int = 0
    responses: list[r.Response] = field(factory=list)
    held_octets: int = 0
    granted: bool = False
    began: bool = False
    ended: bool = False

    @property
    def word(self) -> str:
        """The command."""
        return self.request.word

    @property
    def unsaid(self) -> bool:
        """Whether the server has not let us say all of it."""
        return self.waiting or bool(self.segments) or (self.word == "IDLE" and not self.began)


_AT_ONCE = frozenset(("INPROGRESS", "ALERT"))
"""How far a command has come is news while it is under way only (RFC 9585 section 3), and an alert is for the user, whatever the
command (RFC 9051 section 7.1)."""
_EXCLUSIVE = frozenset(("AUTHENTICATE", "ENABLE", "IDLE", "STARTTLS", "COMPRESS", "UNAUTHENTICATE"))
"""Nothing may be sent behind these until they are answered."""


def _body_event(response: r.LiteralStart | r.LiteralData | r.LiteralEnd, tag: bytes) -> ClientEvent:
    """What is told of a large section, for the command with this tag."""
    if isinstance(response, r.LiteralStart):
        return BodyStarted(tag, response.number, response.uid, response.label, response.size_octets)
    return BodyData(response.octets) if isinstance(response, r.LiteralData) else BodyEnded()


def _answered(response: r.Response, current: Sequence[_Pending]) -> _Pending | None:
    """The command that data belongs to: ESEARCH says it (RFC 9051 section 7.3.4), of all else it is the oldest under way."""
    if isinstance(response, r.EsearchData) and response.tag is not None:
        for pending in current:
            if pending.tag == response.tag:
                return pending
    return current[0] if current else None


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
        self._utf8_messages = False
        self._uploading: _Pending | None = None
        self._inflate: zlib._Decompress | None = None
        self._deflate: zlib._Compress | None = None
        self._packed: deque[bytes] = deque()
        self.capabilities: frozenset[str] = frozenset()

    # -- octets and events ------------------------------------------------------------------------------------------

    @property
    def utf8(self) -> bool:
        """Whether quoted strings and mailbox names are UTF-8 now."""
        return self._reader.utf8

    @property
    def buffered_octets(self) -> int:
        """What was received and not read: must be 0 when TLS starts."""
        return self._reader.buffered_octets + sum(map(len, self._packed))

    @property
    def compressed(self) -> bool:
        """Whether COMPRESS is in use."""
        return self._inflate is not None

    def receive(self, data: bytes) -> None:
        """Take octets from the server."""
        if self._failed:
            return
        if self._inflate is None:
            self._reader.receive(data)
        elif data:
            self._packed.append(data)

    def data_to_send(self) -> bytes:
        """Octets for the server, once."""
        data = b"".join(self._out)
        self._out = []
        if self._deflate is not None and data:
            return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return data

    def _unpack(self) -> bool:
        """Give the reader some more of what came compressed; whether there was any."""
        if self._inflate is None or not self._packed or self._failed:
            return False
        data = self._packed.popleft()
        try:
            plain = self._inflate.decompress(data, _INFLATE_OCTETS)
        except zlib.error as error:
            self._fail(f"what came compressed is damaged: {error}")
            return False
        if self._inflate.unconsumed_tail:
            self._packed.appendleft(self._inflate.unconsumed_tail)
        if self._inflate.eof:
            self._fail("the compressed stream has ended")
            return False
        self._reader.receive(plain)
        return True

    def next_event(self) -> ClientEvent | None:
        """The next event, or ``None``; afterwards there may be octets to send."""
        while not self._events and not self._failed:
            self._reader.stream_octets = self._current[0].stream_octets if self._current else None
            response = self._reader.next()
            if response is not None:
                self._handle(response)
            elif not self._unpack():
                break
        return self._events.popleft() if self._events else None

    # -- commands ---------------------------------------------------------------------------------------------------

    def new_tag(self) -> bytes:
        """A tag that was not used on this connection."""
        self._number += 1
        return b"A%d" % self._number

    def send(self, command: c.Command) -> bytes:
        """Give a command, made with a tag from ``new_tag``; its tag."""
        return self._queue(_Pending(command.tag, of_command(command)))

    def request(self, request: Request, *, deliver: bool = False, stream_octets: int | None = None) -> bytes:
        """Give a command; its tag.

        :param deliver: hand its data over at once, as ``Data``, and keep none.
        :param stream_octets: hand sections larger than this out in pieces.
        """
        return self._queue(_Pending(self.new_tag(), request, deliver, stream_octets))

    def feed(self, octets: bytes) -> int:
        """Give octets of the message that an ``Upload`` asked for.

        :return: how many are still wanted.
        :raise ValueError: more than wanted.
        """
        pending = self._uploading
        if pending is None or len(octets) > pending.upload:
            raise ValueError("more octets than were announced")
        pending.upload -= len(octets)
        self._out.append(octets)
        if pending.upload:
            return pending.upload
        self._uploading = None
        if pending.ended:
            # The server has answered already: what is left of the command would only make it longer.
            self._out.append(b"\r\n")
        else:
            self._go_on(pending)
        self._advance()
        return 0

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

    def search(self, key: SearchKey, *, uid: bool = True, returns: ReturnOptions | None = None) -> bytes:
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
        return self.request(outgoing(mailbox, messages))

    def idle(self) -> bytes:
        """IDLE; its tag."""
        return self.send(c.Idle(self.new_tag()))

    def done(self) -> None:
        """End IDLE, at once or as soon as it is granted."""
        if not self._current or self._current[-1].word != "IDLE":
            return
        pending = self._current[-1]
        if pending.granted:
            pending.granted = False
            pending.ended = True
            self._out.append(b"DONE\r\n")
        elif not pending.ended:
            pending.ended = True
            pending.segments.append(Segment(b"DONE\r\n"))

    def logout(self) -> bytes:
        """LOGOUT; its tag."""
        return self.send(c.Logout(self.new_tag()))

    def starttls(self) -> bytes:
        """STARTTLS; its tag. After OK, start TLS if ``buffered_octets`` is 0, and forget what was announced."""
        return self.send(c.StartTLS(self.new_tag()))

    def tls_started(self) -> None:
        """RFC 9051 section 6.2.1: what was said before TLS does not count."""
        self.capabilities = frozenset()
        self._reader.utf8 = self._utf8_messages = False

    # -- going out --------------------------------------------------------------------------------------------------

    def _literals(self) -> NonSync:
        if "LITERAL+" in self.capabilities:
            return NonSync.ALL
        # RFC 9051 section 7.2.2 and appendix E: IMAP4rev2 includes LITERAL-.
        if self.capabilities & {"LITERAL-", "IMAP4REV2"}:
            return NonSync.SMALL
        return NonSync.NONE

    def _queue(self, pending: _Pending) -> bytes:
        self._waiting.append(pending)
        self._advance()
        return pending.tag

    def _blocked(self) -> bool:
        """Whether the last command sent still has something to say."""
        if self._uploading is not None:
            return True
        if not self._current:
            return False
        last = self._current[-1]
        return bool(last.segments) or last.waiting or last.word in _EXCLUSIVE

    def _advance(self) -> None:
        """Send what may be sent."""
        while self._waiting and self._greeted and not self._failed and not self._blocked():
            pending = self._waiting.popleft()
            how = {"utf8": self.utf8, "utf8_messages": self._utf8_messages}
            try:
                pending.segments.extend(pending.request.segments(pending.tag, self._literals(), **how))
            except (TypeError, ValueError) as e:
                self._events.append(NotWritten(pending.tag, e))
                continue
            self._current.append(pending)
            self._go_on(pending)

    def _go_on(self, pending: _Pending) -> None:
        """Send segments up to the next one that waits for the server or for octets."""
        while pending.segments and not pending.waiting and self._uploading is None:
            segment = pending.segments.popleft()
            self._out.append(segment.octets)
            pending.waiting = segment.waits
            pending.upload = segment.upload_octets
            if not segment.waits:
                self._ask(pending)

    def _ask(self, pending: _Pending) -> None:
        """Ask for the octets that stand next, if any do."""
        if pending.upload:
            self._uploading = pending
            self._events.append(Upload(pending.tag, pending.upload))

    # -- coming in --------------------------------------------------------------------------------------------------

    def _fail(self, reason: str) -> None:
        self._failed = True
        self._events.append(Failed(reason))

    def _handle(self, response: r.Response) -> None:
        if isinstance(response, r.BadResponse):
            line = response.line[:_SHOWN_OCTETS].decode("ascii", "backslashreplace")
            self._fail(f"{response.text}: {line}" if line else response.text)
        elif isinstance(response, (r.LiteralStart, r.LiteralData, r.LiteralEnd)):
            self._events.append(_body_event(response, self._current[0].tag if self._current else b""))
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
        if pending.waiting:
            pending.waiting = False
            self._ask(pending)
            self._go_on(pending)
            self._advance()
        elif pending.word == "IDLE" and not pending.granted:
            pending.began = True
            if pending.segments:
                self._go_on(pending)  # DONE was wanted before IDLE was granted
            elif pending.ended:
                self._fail("continuation after DONE")
            else:
                pending.granted = True
                self._events.append(Idling(pending.tag))
        elif pending.word == "AUTHENTICATE":
            try:
                challenge = binascii.a2b_base64(response.text)
            except binascii.Error:
                self._fail("challenge is not base64")
                return
            self._events.append(Challenge(pending.tag, challenge))
        else:
            self._fail("continuation without a literal")

    def _complete(self, response: r.StatusResponse) -> None:
        for index, pending in enumerate(self._current):
            if pending.tag == response.tag:
                del self._current[index]
                break
        else:
            self._fail("response for a command that was not given")
            return
        pending.ended = True
        self._note(response)
        if response.condition not in {"OK", "NO", "BAD"}:
            self._fail(f"a command was answered with {response.condition}")
            return
        if response.condition == "OK" and not self._changed(pending):
            return
        self._events.append(Completed(pending.tag, response, tuple(pending.responses), not self._current))
        self._advance()

    def _changed(self, pending: _Pending) -> bool:
        """Do what a successful command does to the connection itself; whether it may go on."""
        if pending.unsaid or self._uploading is pending:
            # RFC 9051 section 2.2.1: before its end a command can be refused, and IDLE (RFC 2177 section 3) begins with a continuation.
            self._fail("a command was carried out before it was said")
            return False
        if pending.word == "STARTTLS" and self.buffered_octets:
            # Somebody between us put responses behind the OK, to be taken for what the server says under TLS.
            self._fail("octets in clear behind the answer to STARTTLS")
            return False
        if pending.word == "COMPRESS":
            rest = self._reader.take_rest()
            # RFC 4978 section 3: what follows the OK is compressed, raw (without the header of zlib).
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            self._deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
            if rest:
                self._packed.append(rest)
        elif pending.word == "UNAUTHENTICATE":
            # RFC 8437 section 3: what was enabled no longer is, and compression ends on both sides.
            self._reader.utf8 = self._utf8_messages = False
            self.capabilities = frozenset()
            if self._inflate is not None:
                if self._packed or self._reader.buffered_octets:
                    self._fail("octets behind the answer to UNAUTHENTICATE")
                    return False
                self._inflate = self._deflate = None
        return True

    def _data(self, response: r.Response) -> None:
        self._note(response)
        owner = _answered(response, self._current)
        status = response if isinstance(response, r.StatusResponse) else None
        bye = status is not None and status.condition == "BYE"
        at_once = status is not None and status.code is not None and status.code.name in _AT_ONCE
        # RFC 2177 section 3: what comes before IDLE is granted is no answer to it either, and came before what is told during it.
        if owner is None or owner.word == "IDLE" or at_once or (bye and owner.word != "LOGOUT"):
            self._events.append(Unsolicited(response))
        elif owner.deliver:
            self._events.append(Data(owner.tag, response))
        else:
            owner.held_octets += self._reader.last_octets
            if len(owner.responses) >= MAX_RESPONSES or owner.held_octets > MAX_HELD_OCTETS:
                self._fail("too many responses")
            else:
                owner.responses.append(response)

    def _note(self, response: r.Response) -> None:
        """Keep what changes how we write."""
        if isinstance(response, r.Capabilities):
            self.capabilities = frozenset(response.names)
        elif isinstance(response, r.Enabled):
            self._utf8_messages |= "UTF8=ACCEPT" in response.names
            self._reader.utf8 |= not {"IMAP4REV2", "UTF8=ACCEPT"}.isdisjoint(response.names)
        elif isinstance(response, r.StatusResponse) and response.code is not None:
            value = response.code.value
            if response.code.name == "CAPABILITY" and isinstance(value, tuple):
                self.capabilities = frozenset(value)
