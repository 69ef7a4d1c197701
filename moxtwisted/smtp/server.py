"""The server machine: octets in, events out, replies in, octets out; no I/O, no waiting.

One step of a dialogue::

    machine = ServerMachine(settings, utc_now=...)
    wire = machine.send(machine.next_event().reply)          # the greeting
    machine.receive(b"EHLO client.example\\r\\nMAIL FROM:<a@client.example>\\r\\n")
    while (event := machine.next_event()) is not None:
        if isinstance(event, BodyData):
            sink.write(event.octets)
        else:
            wire += machine.send(event.reply)                # or another reply: the machine goes where that leads

``next_event`` returns None when it needs more octets. Every other event waits for its answer first: pipelined commands are
taken one after the other, so that each is judged in the state that the answer before left behind.

Where to bend it: ``offers`` decides what EHLO says, ``replies`` what is said otherwise, and a subclass may override any ``on_verb``
method, ``next_line``, ``on_line``, ``on_unknown``, ``out_of_sequence``, ``check_mail``, ``body_reader``, ``send`` and ``close``.
"""

from __future__ import annotations

from collections.abc import Sequence

from moxtwisted.smtp.commands import Commands, Step
from moxtwisted.smtp.envelope import Recipient, Transaction
from moxtwisted.smtp.events import (
    AuthResponse,
    AuthStart,
    BodyData,
    BodyEnd,
    BodyStart,
    ChunkEnd,
    Event,
    Greeting,
    Hello,
    Mail,
    Rcpt,
    Refused,
    Reset,
    StartTLS,
)
from moxtwisted.smtp.extensions import NOTHING_OFFERED
from moxtwisted.smtp.peer import TLSInfo
from moxtwisted.smtp.replies import RawReply, Reply
from moxtwisted.smtp.settings import Mode
from moxtwisted.smtp.states import COMMAND_STATES, State
from moxtwisted.smtp.transfer import MisuseError

__all__ = ["MisuseError", "ServerMachine"]

#: Codes after which the connection always ends (RFC 5321 sections 3.8 and 4.1.1.10).
_CLOSING = frozenset({221, 421})

#: The states in which lines are read. A set, here as elsewhere: to ask Enum for each of its members in turn takes ten times as long.
_OF_LINES = frozenset((*COMMAND_STATES, State.AUTH))

#: What a class of events leads to, once it is answered.
_SETTLE: dict[type[Event], str] = {
    Greeting: "_settle_greeting",
    Hello: "_settle_hello",
    Reset: "_settle_reset",
    StartTLS: "_settle_starttls",
    AuthStart: "_settle_auth",
    AuthResponse: "_settle_auth",
    Mail: "_settle_mail",
    Rcpt: "_settle_rcpt",
    BodyStart: "_settle_start",
    ChunkEnd: "_settle_chunk",
    BodyEnd: "_settle_end",
    Refused: "_settle_refused",
}


class ServerMachine(Commands):
    """One connection, server side.

    :ivar settings: what the listener may.
    :ivar state: where the dialogue is.
    :ivar transaction: the mail transaction in progress, or None.
    :ivar tls: TLS of the connection, or None.
    :ivar authenticated: whether AUTH succeeded.
    :ivar hello_name: the argument of the last EHLO/HELO/LHLO, empty before.
    :ivar esmtp: whether it was EHLO or LHLO.
    :ivar auth_failures: failed AUTH commands so far.
    """

    # -- events out ------------------------------------------------------------

    def next_event(self) -> Event | BodyData | None:
        """What happened next, or None when more octets are needed (or the connection is closed).

        :raise MisuseError: the event before was not answered.
        """
        if self._pending is not None:
            raise MisuseError(f"{self._pending.verb or 'the greeting'} is not answered yet")
        state = self.state
        event: Step
        if state in _OF_LINES:
            line = self.next_line()
            if isinstance(line, Event):
                event = line
            elif line is None:
                return None
            else:
                event = self._auth_line(line) if state is State.AUTH else self.on_line(line)
        elif state is State.BODY:
            event = self._next_body()
        elif state is State.CHUNK:
            event = self._next_chunk()
        elif state is State.CONNECTED:
            event = Greeting("", self.replies.greeting(self.settings))
        else:
            return None
        if isinstance(event, Event):
            self._pending = event
        return event

    # -- replies in, octets out ------------------------------------------------------------------------------------------

    def send(self, reply: Reply) -> bytes:
        """Answer the last event.

        :return: the octets to send; none for a BDAT command whose chunk is still to come.
        :raise MisuseError: nothing is to be answered.
        """
        event = self._pending
        if event is None:
            raise MisuseError("nothing is to be answered")
        self._pending = None
        if type(event) is BodyStart and event.verb == "BDAT":
            self._settle_chunked_start(reply)
            return b""
        kind = type(event)
        wire = reply.wire()
        if not wire.isascii():
            wire = self._fitting(wire, reply)
        if kind is BodyEnd or (isinstance(event, Refused) and event.body):
            wire *= self._replies_due(event)
        settle = _SETTLE.get(kind)
        if settle is not None:
            # Go where the answer leads.
            getattr(self, settle)(event, reply)
        if reply.close or reply.code in _CLOSING:
            self.state = State.CLOSED
            self._buffer = b""
        return wire

    def send_each(self, replies: Sequence[Reply]) -> bytes:
        """Answer ``BodyEnd`` with one reply per accepted recipient, in their order: in LMTP (RFC 2033 section 4.2), and in SMTP when the
        client asked for it with PRDR.

        :raise MisuseError: the number is not that of the recipients, or this is not the place.
        """
        event = self._pending
        if not isinstance(event, BodyEnd):
            raise MisuseError("one reply is due for each recipient, after the message")
        each = self._announces_each(event.transaction)
        if len(replies) != (len(event.transaction.recipients) if each else self._replies_due(event)):
            raise MisuseError("one reply is due for each recipient, after the message")
        self._pending = None
        wire = b"".join([self._fitting(reply.wire(), reply) for reply in replies])
        if each:
            # draft-hall-prdr: 353, the recipients' replies in the order of RCPT, and one for the whole; that has to be positive
            # when one of them is, and 4yz when one of those that are left may be tried again.
            overall = event.reply
            if not any(r.positive for r in replies):
                overall = next((r for r in replies if r.temporary), replies[0])
            wire = self.replies.each_recipient.wire() + wire + self._fitting(overall.wire(), overall)
        self._settle_end(event, next((r for r in replies if r.positive), replies[0]))
        if any(r.close or r.code in _CLOSING for r in replies):
            self.state = State.CLOSED
        return wire

    def close(self, reply: Reply | None = None) -> bytes:
        """End the dialogue from our side, at any moment: nothing is read any more.

        :return: the octets of the reply.
        """
        self._pending = None
        self.state = State.CLOSED
        self._buffer = b""
        return b"" if reply is None else self._fitting(reply.wire(), reply)

    def tls_started(self, tls: TLSInfo) -> None:
        """The TLS handshake is done. Everything that was said before is forgotten (RFC 3207 section 4.2)."""
        self.tls = tls
        if self.state is State.TLS:
            self.state = State.GREETED
        self.hello_name, self.esmtp, self.authenticated = "", False, False
        self._offer = NOTHING_OFFERED
        self.transaction = None
        self._buffer, self._skipping = b"", False

    def _fitting(self, wire: bytes, reply: Reply) -> bytes:
        """The octets of a reply as this client may have them."""
        if wire.isascii() or isinstance(reply, RawReply):
            return wire
        # RFC 6531 section 3.7.4.2: text beyond ASCII only to a client that said SMTPUTF8.
        transaction = self.transaction
        if transaction is not None and transaction.parameters.smtputf8:
            return wire
        return wire.decode("utf-8", "replace").encode("ascii", "replace")

    def _announces_each(self, transaction: Transaction) -> bool:
        """Whether replies for recipients stand between 353 and one for all; a single recipient has a single reply."""
        prdr = transaction.parameters.prdr and self.settings.mode is not Mode.LMTP
        return prdr and len(transaction.recipients) > 1

    def _replies_due(self, event: Event) -> int:
        if self.settings.mode is not Mode.LMTP or self.transaction is None:
            return 1
        if event.verb == "BDAT" and not self._last_chunk:
            return 1
        return len(self.transaction.recipients)

    def _drop_transaction(self, *, bad: bool) -> None:
        if self.transaction is not None and bad:
            self._bad_transactions += 1
        self.transaction = None
        self._reader = None
        self._body_error = None
        self._body_complete = False
        self.state = State.READY if self.hello_name else State.GREETED

    def _settle_greeting(self, event: Event, reply: Reply) -> None:
        self.state = State.GREETED if reply.positive else State.CLOSED

    def _settle_hello(self, event: Hello, reply: Reply) -> None:
        # RFC 5321 section 4.1.1.1: a refused EHLO changes nothing; an accepted one is also a RSET.
        if reply.positive:
            self.hello_name, self.esmtp = event.name, event.esmtp
            self._offer = self._next_offer if event.esmtp else NOTHING_OFFERED
            self._drop_transaction(bad=True)

    def _settle_reset(self, event: Event, reply: Reply) -> None:
        if reply.positive:
            self._drop_transaction(bad=True)

    def _settle_starttls(self, event: Event, reply: Reply) -> None:
        if reply.positive:
            self.state = State.TLS

    def _settle_auth(self, event: Event, reply: Reply) -> None:
        if reply.code == 334:
            self.state = State.AUTH
            return
        self.state = State.READY
        if reply.positive:
            self.authenticated = True
            self.auth_failures = 0
        else:
            self.auth_failures += 1

    def _settle_mail(self, event: Mail, reply: Reply) -> None:
        if reply.positive:
            self.transaction = Transaction(event.path, event.parameters)
            self.state = State.MAIL
        else:
            self._bad_transactions += 1

    def _settle_rcpt(self, event: Rcpt, reply: Reply) -> None:
        transaction = self._open_transaction()
        if reply.positive:
            transaction.recipients.append(Recipient(event.path, event.parameters))
            self.state = State.RCPT
        else:
            transaction.rejected += 1

    def _settle_start(self, event: Event, reply: Reply) -> None:
        if reply.positive:
            self._begin_body("DATA")

    def _settle_chunked_start(self, reply: Reply) -> None:
        self._begin_body("BDAT")
        if not reply.positive:
            self._body_error = reply

    def _settle_chunk(self, event: Event, reply: Reply) -> None:
        if reply.positive:
            self.state = State.CHUNKS
        else:
            self._drop_transaction(bad=True)

    def _settle_end(self, event: Event, reply: Reply) -> None:
        self._drop_transaction(bad=not reply.positive)
        if reply.positive:
            self._bad_transactions = 0

    def _settle_refused(self, event: Refused, reply: Reply) -> None:
        if 500 <= reply.code <= 504:
            self._bad_commands += 1
        if event.body:
            self._drop_transaction(bad=True)
            return
        if self.state is State.AUTH:
            self.state = State.READY
            self.auth_failures += 1
        elif self.state is State.CHUNK and self._resume is not None:
            self.state = self._resume
        if event.verb == "MAIL":
            self._bad_transactions += 1
        elif event.verb == "RCPT" and self.transaction is not None:
            self.transaction.rejected += 1
