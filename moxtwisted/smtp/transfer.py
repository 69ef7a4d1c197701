"""What both kinds of input have in common in the server machine: the buffer, its lines, and messages in transfer.

``moxtwisted.smtp.server.ServerMachine`` builds on this and knows the commands.
"""

from __future__ import annotations

from moxtwisted.smtp.body import BodyReader, ChunkReader, Smuggling
from moxtwisted.smtp.envelope import Transaction
from moxtwisted.smtp.events import BodyData, BodyEnd, ChunkEnd, Event, Refused
from moxtwisted.smtp.grammar import parse_chunk_size
from moxtwisted.smtp.replies import Reply, StandardReplies
from moxtwisted.smtp.settings import ServerSettings
from moxtwisted.smtp.states import State

__all__ = ["MisuseError", "Transfer"]


_RECEIVING = frozenset((State.BODY, State.CHUNK))


class MisuseError(RuntimeError):
    """The caller answered what was not asked, or asked while an answer was due: a fault of the program."""


class Transfer:
    """Octets in, lines and messages out."""

    def __init__(self, settings: ServerSettings, replies: StandardReplies) -> None:
        self.settings = settings
        self.replies = replies
        self.state = State.CONNECTED
        self.transaction: Transaction | None = None
        self._buffer = b""
        self._at = 0
        self._reader: BodyReader | ChunkReader | None = None
        self._body_error: Reply | None = None
        self._body_complete = False
        self._discarded = 0
        self._left = 0  # octets of the BDAT chunk that are still to come
        self._last_chunk = False
        self._skipping = False  # whether the rest of a line that is too long is still to come
        self._resume: State | None = None  # where a BDAT that was out of place returns to

    def receive(self, data: bytes) -> None:
        """Take octets from the peer. The caller bounds how many it gives before it asks for events."""
        if self.state is State.CLOSED:
            return
        if self._skipping:
            end = data.find(b"\n")
            self._skipping = end < 0
            data = data[end + 1 :] if end >= 0 else b""
        self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
        self._at = 0

    @property
    def buffered(self) -> bool:
        """Whether octets are waiting that were not looked at."""
        return self._at < len(self._buffer)

    @property
    def receiving(self) -> bool:
        """Whether a message is in transfer, between its first octet and its last."""
        return self.state in _RECEIVING

    def fail_body(self, reply: Reply) -> None:
        """The host cannot take the message in transfer: read the rest, keep nothing, and answer with this."""
        if self._body_error is None:
            self._body_error = reply

    def next_line(self) -> bytes | Event | None:
        """The next line of the client, without its end; an event for a line that cannot be; None while it is incomplete.

        Override it to see all lines, or to leave some out. What is left of a line that is too long is thrown away.
        """
        buffer, at = self._buffer, self._at
        end = buffer.find(b"\n", at)
        length = (end + 1 if end >= 0 else len(buffer)) - at
        limits = self.settings.limits
        if length > limits.line_octets:
            # RFC 4954 section 4: lines of AUTH may be longer.
            auth = self.state is State.AUTH or buffer[at : at + 5].upper() == b"AUTH "
            if not auth or length > limits.auth_line_octets:
                verb, reply = (
                    ("AUTH", self.replies.auth_too_long) if auth else ("", self.replies.line_too_long)
                )
                self._at, self._skipping = at + length, end < 0
                return Refused(verb, reply)
        if end < 0:
            return None
        self._at = end + 1
        # RFC 5321 section 2.3.8: lines end with CRLF only, and neither CR nor LF stands alone.
        if end == at or buffer.find(b"\r", at, end) != end - 1:
            return Refused("", self.replies.smuggling)
        return buffer[at : end - 1]

    def _open_transaction(self) -> Transaction:
        if self.transaction is None:
            raise MisuseError("no transaction is open")
        return self.transaction

    def body_reader(self) -> BodyReader:
        """What reads the octets after DATA; override it for another idea of where they end."""
        return BodyReader(self.settings.bare_line_ends)

    def _begin_body(self, verb: str) -> None:
        """The host takes the message: what follows is its octets."""
        transaction = self._open_transaction()
        self._body_error, self._discarded = None, 0
        if verb == "DATA":
            self._reader = self.body_reader()
            self.state = State.BODY
            return
        transaction.chunked = True
        # RFC 3030 section 3: every octet of a binary message is kept.
        binary = transaction.parameters.body == "BINARYMIME"
        self._reader = None if binary else ChunkReader(self.settings.bare_line_ends)
        self._resume = None
        self.state = State.CHUNK

    def refuse_chunk(self, argument: bytes, reply: Reply, *, body: bool = False) -> Event | BodyData | None:
        """BDAT cannot be: its octets are read and thrown away, then comes the reply (RFC 3030 section 2).

        :param body: whether the transaction is lost too.
        """
        size = parse_chunk_size(argument)
        if size is None:
            return Refused(
                "BDAT", self.replies.bad_argument.closing()
            )  # where the next command begins is not known
        self._left, self._last_chunk = size
        if self._left > self.settings.limits.discard_octets:
            return Refused("BDAT", reply.closing(), body)
        self._body_error, self._discarded = reply, 0
        self._resume = None if body else self.state
        self.state = State.CHUNK
        return self._next_chunk()

    def _keep(self, octets: bytes) -> bytes:
        """What of these octets goes to the host: nothing any more once the message was refused."""
        if self._body_error is not None:
            self._discarded += len(octets)
            return b""
        transaction = self._open_transaction()
        transaction.octets += len(octets)
        limit = self.settings.size_limit
        if limit and transaction.octets > limit:
            self._body_error = self.replies.too_big
            return b""
        return octets

    def _next_body(self) -> Event | BodyData | None:
        reader = self._reader
        if self._body_complete:
            self._body_complete = False
            return self._end_body("DATA")
        if not isinstance(reader, BodyReader) or self._at >= len(self._buffer):
            return None
        data = self._buffer[self._at :] if self._at else self._buffer
        self._buffer, self._at = b"", 0
        try:
            octets = self._keep(reader.feed(data))
        except Smuggling:
            return Refused("DATA", self.replies.smuggling, body=True)
        if reader.done:
            self._buffer = reader.rest
            if not octets:
                return self._end_body("DATA")
            self._body_complete = True
        elif self._discarded > self.settings.limits.discard_octets:
            return Refused("DATA", self.replies.too_big.closing(), body=True)
        return BodyData(octets) if octets else None

    def _next_chunk(self) -> Event | BodyData | None:
        if self._body_complete:
            self._body_complete = False
            return self._end_chunk()
        data = self._buffer[self._at : self._at + self._left]
        self._at += len(data)
        self._left -= len(data)
        octets, reader = data, self._reader
        if self._body_error is not None:
            octets = b""
        elif isinstance(reader, ChunkReader):
            try:
                octets = reader.feed(data)
                if not self._left and self._last_chunk:
                    octets += reader.finish()
            except Smuggling:
                return Refused("BDAT", self.replies.smuggling, body=True)
        if octets:
            octets = self._keep(octets)
        if self._left:
            return BodyData(octets) if octets else None
        if not octets:
            return self._end_chunk()
        self._body_complete = True
        return BodyData(octets)

    def _end_chunk(self) -> Event:
        error = self._body_error
        if error is not None:
            self._body_error = None
            return Refused("BDAT", error, body=self._resume is None)
        if self._last_chunk:
            return self._end_body("BDAT")
        return ChunkEnd("BDAT", self.replies.chunk_ok)

    def _end_body(self, verb: str) -> Event:
        self._reader = None
        error, self._body_error = self._body_error, None
        if error is not None:
            return Refused(verb, error, body=True)
        return BodyEnd(verb, self.replies.message_ok, self._open_transaction())
