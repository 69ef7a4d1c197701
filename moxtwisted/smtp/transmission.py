"""One message over a client connection: what is sent in which order, and what became of each recipient. Pure.

::

    job = Transmission(machine, envelope, tls=True)
    octets = job.start()              # MAIL, RCPT ... (and DATA), pipelined where the server allows it
    octets = job.replied(event)       # for each reply that the machine gives
    job.body_due                      # now the message goes out: through job.encode(block), then job.finish()
    job.done, job.results             # a RecipientResult for each recipient, in order

Each result has an ``Outcome``: accepted, refused, later, or unknown where the server may have taken the message without saying so.
A message that the server cannot carry is not begun: the recipients get the reply that the RFCs name for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from attrs import define, frozen

from moxtwisted.address import Path
from moxtwisted.smtp.body import BodyWriter
from moxtwisted.smtp.client import ClientMachine, Replied
from moxtwisted.smtp.clientcommands import Command, bdat, end_of_data, mail, plain, rcpt
from moxtwisted.smtp.envelope import NO_MAIL_PARAMETERS, MailParameters, Recipient
from moxtwisted.smtp.replies import Reply

__all__ = ["Envelope", "Outcome", "RecipientResult", "Transmission"]


@frozen
class Envelope:
    """What is sent, and to whom.

    :ivar reverse_path: the sender; the null path for a DSN.
    :ivar recipients: at least one.
    :ivar parameters: ``size`` is filled in by the agent where the source knows it; ``body`` says what the message has in it.
    """

    reverse_path: Path
    recipients: Sequence[Recipient]
    parameters: MailParameters = NO_MAIL_PARAMETERS


class Outcome(Enum):
    """What a sender has to know of one recipient.

    ``ACCEPTED``: the server said 2yz to the message; it is its duty now.
    ``REFUSED``: the server said 5yz, or cannot carry the message at all: it goes back to the sender.
    ``LATER``: it was not taken, and may be next time: 4yz, no connection, no SMTP, no TLS.
    ``UNKNOWN``: the whole message went out, and no reply came that can be believed: to try again may double it.
    """

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LATER = "later"
    UNKNOWN = "unknown"


@frozen
class RecipientResult:
    """What became of one recipient.

    :ivar reply: the reply that decided; what we found ourselves has the same form.
    :ivar stage: the verb that it answers (``"MAIL"``, ``"RCPT"``, ``"DATA"``, ``"."`` for the message itself, ``"BDAT"``, ``""``
        for the greeting ...), or ``"CONNECT"``, ``"TLS"``, ``"LOCAL"`` for what we found ourselves.
    :ivar uncertain: the message went out, and the connection was lost before the reply (or what came was none): it may have arrived.
    :ivar dsn: whether the next server took over the duty to report (RFC 3461 section 5.2.2).
    """

    recipient: Recipient
    reply: Reply
    stage: str
    uncertain: bool = False
    dsn: bool = False

    @property
    def delivered(self) -> bool:
        """Whether the next server is responsible now: nothing but 2yz says so."""
        return 200 <= self.reply.code < 300

    @property
    def outcome(self) -> Outcome:
        """In one word."""
        if self.delivered:
            return Outcome.ACCEPTED
        if self.uncertain:
            return Outcome.UNKNOWN
        return Outcome.REFUSED if self.reply.code >= 500 else Outcome.LATER


#: Which reply stands for what the server cannot carry.
_NO_SMTPUTF8 = Reply(
    550, "5.6.7", "the next server does not take internationalized addresses (SMTPUTF8)"
)  # RFC 6531 section 3.5
_NO_REQUIRETLS = Reply(550, "5.7.30", "REQUIRETLS support required")  # RFC 8689 section 4.2.1
_NO_TLS = Reply(550, "5.7.10", "encryption needed")
_NO_8BIT = Reply(550, "5.6.3", "the next server does not take 8-bit messages")  # RFC 6152 section 3
_NO_BINARY = Reply(550, "5.6.3", "the next server does not take binary messages")  # RFC 3030 section 3
_TOO_BIG = Reply(552, "5.3.4", "message is larger than the next server takes")  # RFC 1870 section 6.1
_NO_HOLD = Reply(550, "5.5.4", "the next server cannot hold messages")


@define
class _Fate:
    recipient: Recipient
    reply: Reply | None = None
    stage: str = ""
    accepted: bool = False
    uncertain: bool = False


class Transmission:
    """One transaction.

    :ivar body_due: the message is to be sent now.
    :ivar chunked: with BDAT: blocks are passed to ``chunk`` instead of ``encode``.
    :ivar done: no reply is due any more and every recipient has its result.
    :ivar spent: RSET was refused: the connection must not carry another transaction.
    """

    def __init__(
        self,
        machine: ClientMachine,
        envelope: Envelope,
        *,
        tls: bool,
        lmtp: bool = False,
        prefer_chunking: bool = False,
    ) -> None:
        self._machine = machine
        self._envelope = envelope
        self._tls = tls
        self._lmtp = lmtp
        self._fates = [_Fate(r) for r in envelope.recipients]
        self._answered = 0  # RCPT replies so far
        self._waiting: list[_Fate] = []  # LMTP and PRDR: those whose reply after the message is due
        self._each = False  # PRDR: whether 353 came; the reply for all comes last
        self._writer = BodyWriter()
        self._final: Command | None = None  # the one that ends the message
        binary = envelope.parameters.body == "BINARYMIME"
        self.chunked = binary or (prefer_chunking and "CHUNKING" in machine.extensions)
        self._data_sent = False
        self._body_sent = False
        self._mail_refused = False
        self._cleaning = False  # whether nothing but the reply to RSET is due
        self.body_due = False
        self.done = False
        self.spent = False

    @property
    def results(self) -> list[RecipientResult]:
        """What became of the recipients, as far as it is known."""
        dsn = "DSN" in self._machine.extensions
        return [
            RecipientResult(f.recipient, f.reply, f.stage, f.uncertain, dsn and f.reply.positive)
            for f in self._fates
            if f.reply is not None
        ]

    def obstacle(self) -> Reply | None:
        """Why this server cannot carry the message at all, or None."""
        offered, p = self._machine.extensions, self._envelope.parameters
        paths = [self._envelope.reverse_path, *(r.path for r in self._envelope.recipients)]
        if "SMTPUTF8" not in offered and (
            p.smtputf8 or any(x.address and x.address.needs_smtputf8 for x in paths)
        ):
            return _NO_SMTPUTF8
        # RFC 8689 section 5: for a report (null sender) the requirement is dropped rather than the report.
        if p.require_tls and not self._envelope.reverse_path.is_null:
            if not self._tls:
                return _NO_TLS
            if "REQUIRETLS" not in offered:
                return _NO_REQUIRETLS
        if p.body == "BINARYMIME" and not ("BINARYMIME" in offered and "CHUNKING" in offered):
            return _NO_BINARY
        if p.body == "8BITMIME" and "8BITMIME" not in offered:
            return _NO_8BIT
        if (p.hold_for_seconds is not None or p.hold_until is not None) and "FUTURERELEASE" not in offered:
            return _NO_HOLD
        limit = offered.get("SIZE", "")
        if p.size is not None and limit.isdigit() and len(limit) <= 20 and 0 < int(limit) < p.size:
            return _TOO_BIG
        return None

    def start(self) -> bytes:
        """The first octets; none when the server cannot carry the message: then it is ``done``."""
        obstacle = self.obstacle()
        if obstacle is not None:
            self.abandon(obstacle, "LOCAL")
            return b""
        machine, p = self._machine, self._envelope.parameters
        first = mail(self._envelope.reverse_path, p, machine.extensions)
        if not machine.pipelining:
            return machine.send(first)
        commands = [first, *(self._rcpt(f) for f in self._fates)]
        if not self.chunked:
            # RFC 2920 section 3.1: DATA may be the last of a group.
            commands.append(plain("DATA"))
            self._data_sent = True
        return machine.send(*commands)

    def _rcpt(self, fate: _Fate) -> Command:
        r, p = fate.recipient, self._envelope.parameters
        return rcpt(r.path, r.parameters, self._machine.extensions, smtputf8=p.smtputf8)

    def replied(self, event: Replied) -> bytes:
        """Take a reply of this transaction.

        :return: what is to be sent next; then look at ``body_due`` and ``done``.
        """
        verb, reply = event.command.verb, event.reply
        if verb == "BDAT" and event.command is not self._final:
            return self._on_chunk(reply, verb)
        step = _STEPS.get(verb, Transmission._on_body)
        return step(self, reply, verb)

    def _on_mail(self, reply: Reply, verb: str) -> bytes:
        if not reply.positive:
            self._mail_refused = True
            self._settle(reply, verb)
        if self._machine.pipelining:
            return b""
        if self._mail_refused:
            self.done = True
            return b""
        return self._machine.send(self._rcpt(self._fates[0]))

    def _on_rcpt(self, reply: Reply, verb: str) -> bytes:
        fate = self._fates[self._answered]
        self._answered += 1
        if reply.positive:
            fate.accepted = True
        elif fate.reply is None:
            fate.reply, fate.stage = reply, verb
        if self._answered < len(self._fates):
            return (
                b""
                if self._machine.pipelining
                else self._machine.send(self._rcpt(self._fates[self._answered]))
            )
        if self._data_sent:
            return b""
        if self._mail_refused or not any(f.accepted for f in self._fates):
            # Nobody to send to: leave the transaction as clean as we found it.
            return self._clean_up()
        if self.chunked:
            self.body_due = True
            return b""
        self._data_sent = True
        return self._machine.send(plain("DATA"))

    def _on_data(self, reply: Reply, verb: str) -> bytes:
        if reply.code == 354 and any(f.accepted for f in self._fates) and not self._mail_refused:
            self.body_due = True
            return b""
        if reply.code == 354:
            # RFC 2920 section 3.1: DATA was accepted without a recipient; an empty message ends it.
            self._body_sent = True
            self._waiting = []
            return self._machine.send(end_of_data(b".\r\n"))
        self._settle(reply, verb)
        return self._clean_up()

    def _clean_up(self) -> bytes:
        self._cleaning = True
        return self._machine.send(plain("RSET"))

    def _on_rset(self, reply: Reply, verb: str) -> bytes:
        self.done, self.spent = True, not reply.positive
        return b""

    def _on_chunk(self, reply: Reply, verb: str) -> bytes:
        if not reply.positive:
            self._settle(reply, verb)  # a chunk was refused: the transaction failed (RFC 3030 section 2)
            self.body_due = False
        return b""

    def _on_body(self, reply: Reply, verb: str) -> bytes:
        if reply.code == 353 and self._prdr_replies() and not self._each:
            # draft-hall-prdr: a reply for each recipient follows, in the order of RCPT, and one for all.
            self._each, self._waiting = True, [f for f in self._fates if f.accepted]
        elif (self._lmtp or self._each) and self._waiting:
            fate = self._waiting.pop(0)
            if fate.reply is None:
                fate.reply, fate.stage = reply, verb
        else:
            self._settle_all(reply, verb)
        if not self._waiting and not self._machine.outstanding:
            if verb == "BDAT" and not any(f.reply is not None and f.reply.positive for f in self._fates):
                # RFC 3030 section 2: what state a BDAT that failed leaves behind is not known.
                return self._clean_up()
            self.done = True
        return b""

    @property
    def failed(self) -> bool:
        """Whether a chunk was refused: nothing of the message is to be sent any more."""
        return all(f.reply is not None for f in self._fates)

    # -- the message -----------------------------------------------------------------------------------------------------

    def encode(self, block: bytes) -> bytes:
        """A block of the message as it goes out after DATA."""
        return self._writer.feed(block)

    def finish(self) -> bytes:
        """The end of the message."""
        self.body_due, self._body_sent = False, True
        self._final = end_of_data(self._writer.finish(), self._await_replies(), self._prdr_replies())
        return self._machine.send(self._final)

    def chunk(self, block: bytes, *, last: bool) -> bytes:
        """A block as a BDAT chunk. Without PIPELINING the reply has to be awaited before the next."""
        return self.begin_chunk(len(block), last=last) + block

    def begin_chunk(self, octets: int, *, last: bool) -> bytes:
        """The command of a chunk of so many octets, which follow it."""
        if not last:
            return self._machine.send(bdat(octets, last=False))
        self.body_due, self._body_sent = False, True
        self._final = bdat(octets, last=True, replies=self._await_replies(), more=self._prdr_replies())
        return self._machine.send(self._final)

    def _await_replies(self) -> int:
        if not self._lmtp:
            return 1
        # RFC 2033 section 4.2: a reply for each recipient that was accepted, in their order.
        self._waiting = [f for f in self._fates if f.accepted]
        return len(self._waiting)

    def _prdr_replies(self) -> int:
        """How many replies may follow a 353; none when we did not ask for that."""
        if self._lmtp or not self._envelope.parameters.prdr or "PRDR" not in self._machine.extensions:
            return 0
        accepted = sum(f.accepted for f in self._fates)
        return accepted + 1 if accepted > 1 else 0

    # -- ends ------------------------------------------------------------------------------------------------------------

    def _settle_all(self, reply: Reply, stage: str) -> None:
        """The reply for all, which may be the only one."""
        if self._each and not reply.positive:
            # It took nothing after all: what was said to single recipients does not count.
            for fate in self._fates:
                if fate.accepted and fate.reply is not None and fate.reply.positive:
                    fate.reply, fate.stage = reply, stage
        self._settle(reply, stage)

    def _settle(self, reply: Reply, stage: str) -> None:
        for fate in self._fates:
            if fate.reply is None:
                fate.reply, fate.stage = reply, stage

    def abandon(self, reply: Reply, stage: str, *, doubtful: bool = False) -> None:
        """Nothing more can be sent: those without a result get this one, and with PRDR those whose result was not confirmed.

        :param doubtful: the server is out of step, so that what it said may have been about other commands: what it said to single
            recipients does not count, of the envelope before the message went out, and of the message after it.
        """
        if doubtful:
            for fate in self._fates:
                if fate.accepted or not self._body_sent:
                    fate.reply = None
        before = [fate.reply for fate in self._fates]
        self._settle_all(reply, stage)
        for fate, was in zip(self._fates, before, strict=True):
            fate.uncertain = self._body_sent and fate.accepted and fate.reply is not was
        self.done = True

    @property
    def shared_end(self) -> bool:
        """Whether the message was answered with a reply for each of several recipients."""
        return self._each or (self._final is not None and self._final.replies > 1)

    @property
    def uncertain(self) -> bool:
        """Whether the whole message went out and its reply is missing."""
        return self._body_sent and not self.done and not self._cleaning


_STEPS: dict[str, Callable[[Transmission, Reply, str], bytes]] = {
    "MAIL": Transmission._on_mail,  # noqa: SLF001  (same module)
    "RCPT": Transmission._on_rcpt,  # noqa: SLF001
    "DATA": Transmission._on_data,  # noqa: SLF001
    "RSET": Transmission._on_rset,  # noqa: SLF001
}
