"""How one connection misbehaves: which wish is due at which reply, and what becomes of the reply then.

::

    conduct = Conduct(session)
    conduct.transaction_begins(path)               # MAIL FROM:<data451@x.example>
    conduct.intercept(event, reply)                # a reply, or a coroutine that takes its time
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from moxtwisted.address import Path
from moxtwisted.badsmtp.faults import Ending, Plan, spoil
from moxtwisted.badsmtp.grammar import TEXTS, Wish, parse_local_part
from moxtwisted.badsmtp.interfaces import Level
from moxtwisted.smtp.envelope import Transaction
from moxtwisted.smtp.events import (
    AuthResponse,
    AuthStart,
    BodyEnd,
    BodyStart,
    ChunkEnd,
    Event,
    Greeting,
    Hello,
    Mail,
    Rcpt,
    Refused,
)
from moxtwisted.smtp.replies import RawReply, Reply

if TYPE_CHECKING:
    from moxtwisted.badsmtp.session import Session

__all__ = ["Conduct", "SpoiltReply"]

#: Wishes of MAIL FROM that are about its own transaction; the others hold until another takes their place.
_OF_TRANSACTION = frozenset({"data", "dend", "bdat"})

#: Faults that are about the message, not about the reply to DATA or BDAT.
_MIDWAY = frozenset({"stall", "midway"})


@frozen
class SpoiltReply(RawReply):
    """What is left to send of a reply that went wrong.

    :ivar shown: all its octets, for the transcript.
    """

    shown: bytes = field(default=b"", kw_only=True)


def wish_of(path: Path) -> Wish | None:
    """What an address asks for; its domain says nothing."""
    return None if path.address is None else parse_local_part(path.address.localpart)


class Conduct:
    """One connection: ``Conduct(session)``."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._remembered: dict[str, Wish] = {}
        self._recipient = 0  # whose reply is due, in LMTP
        self._hung_up = False

    # -- what is wished for ----------------------------------------------------------------------------------------------

    def transaction_begins(self, path: Path) -> None:
        """MAIL FROM: remember what its address asks for."""
        for verb in _OF_TRANSACTION:
            self._remembered.pop(verb, None)
        wish = wish_of(path)
        if wish is not None and wish.verb not in {"mail", "rcpt"}:
            self._remembered[wish.verb] = wish

    def wish_for(self, verb: str) -> Wish | None:
        """What is asked for the answer to a verb."""
        return self._remembered.get(verb) or self._session.machine.wishes.faults.get(verb)

    def refusal_of(self, verb: str) -> Reply | None:
        """The reply of a wish with a code, or None."""
        wish = self.wish_for(verb)
        return self.coded(wish) if wish is not None and wish.code else None

    def midway(self, verb: str) -> Wish | None:
        """What is to happen in the middle of the message that this verb begins, or None."""
        wish = self.wish_for(verb)
        return wish if wish is not None and wish.fault in _MIDWAY else None

    def after_message(self, transaction: Transaction) -> Wish | None:
        """What is asked for the one reply after a message."""
        if transaction.chunked:
            # BadSMTP has the wish for DATA come true at the last BDAT.
            wish = self.wish_for("bdat") or self.wish_for("data")
            if wish is not None and wish.fault not in _MIDWAY:
                return wish
        return self.wish_for("dend") or next(filter(None, self._of_recipients(transaction)), None)

    def outcomes(self, transaction: Transaction) -> list[Reply | None]:
        """In LMTP: for each recipient the reply of its wish, or None."""
        self._recipient = 0
        wishes = [wish or self.wish_for("dend") for wish in self._of_recipients(transaction)]
        return [None if wish is None or not wish.code else self.coded(wish) for wish in wishes]

    def _of_recipients(self, transaction: Transaction) -> list[Wish | None]:
        wishes = [wish_of(recipient.path) for recipient in transaction.recipients]
        return [wish if wish is not None and wish.verb == "dend" else None for wish in wishes]

    def coded(self, wish: Wish) -> Reply:
        """The reply that a wish with a code asks for."""
        enhanced = wish.enhanced if self._session.machine.enhanced_codes else ""
        reply = Reply(wish.code, enhanced, wish.text)
        # A code that is no refusal is a lie: it is said, and nothing is done.
        honest = 400 <= wish.code <= 599 or (wish.verb, wish.code) in {("data", 354), ("quit", 221)}
        return reply if honest else RawReply(554, octets=reply.wire())

    def _wish(self, event: Event, reply: Reply) -> Wish | None:
        """What is asked for the answer to this event."""
        if isinstance(event, Refused | AuthResponse):
            return None  # syntax and sequence come first
        if isinstance(event, Mail | Rcpt):
            if not reply.positive:
                return None  # so do the hooks
            verb, wish = event.verb.lower(), wish_of(event.path)
            return wish if wish is not None and wish.verb == verb else self.wish_for(verb)
        if isinstance(event, BodyEnd):
            if self._session.listener.lmtp:
                at, self._recipient = self._recipient, self._recipient + 1
                return self._of_recipients(event.transaction)[at] or self.wish_for("dend")
            return self.after_message(event.transaction)
        if isinstance(event, Hello):
            return self._session.wishes_of(event.name).faults.get("ehlo")
        return self.wish_for(event.verb.lower())

    # -- what becomes of replies -----------------------------------------------------------------------------------------

    def intercept(self, event: Event, reply: Reply) -> Any:
        """See ``ISMTPInterceptor.intercept``."""
        if isinstance(event, Greeting):
            return self._greet(reply)
        over = isinstance(event, BodyEnd | AuthResponse) or (isinstance(event, Refused) and event.body)
        simulated = None if over else self.simulated(event.verb)
        if simulated is not None:
            return simulated
        if isinstance(event, AuthStart | AuthResponse) and reply.code in {501, 535} and reply.enhanced:
            reply = Reply(reply.code, "", TEXTS[reply.code])
        wish = self._wish(event, reply)
        if wish is not None:
            self.triggered(wish)
            if wish.code:
                reply = self.coded(wish)
        fault = "" if wish is None else wish.fault
        if isinstance(event, BodyStart | ChunkEnd) and fault in _MIDWAY:
            fault = ""
        if self._session.listener.lmtp and isinstance(event, BodyEnd):
            return self._each(reply, fault, None if wish is None else wish.number)
        seconds = self._delay(event)
        if not fault and not seconds:
            return reply
        plan = spoil(reply.wire(), fault, None if wish is None else wish.number) if fault else None
        return self._carry_out(seconds, plan, reply)

    def simulated(self, verb: str) -> Reply | None:
        """What the hooks that simulate errors want to be said."""
        session = self._session
        for simulator in session.surroundings.hooks.error_simulators:
            reply: Reply | None = simulator.fault(verb, session.machine.argument, session)
            if reply is not None:
                session.log(
                    Level.WARN,
                    "SMTP error simulation triggered",
                    error_code=reply.code,
                    trigger=type(simulator).__name__,
                    smtp_stage=verb,
                )
                return reply
        return None

    def triggered(self, wish: Wish) -> None:
        """Write down that a wish comes true."""
        trigger = (
            wish.verb + (f"{wish.code:03d}" if wish.code else "") + (f".{wish.fault}" if wish.fault else "")
        )
        self._session.log(
            Level.WARN,
            "SMTP error simulation triggered",
            error_code=wish.code,
            trigger=trigger,
            smtp_stage=wish.verb,
        )

    def _delay(self, event: Event) -> int:
        """Seconds that the EHLO name wants us to wait before this reply."""
        if isinstance(event, AuthResponse) or (isinstance(event, BodyEnd) and event.verb == "DATA"):
            return 0  # no command
        if isinstance(event, Refused) and event.body:
            return 0
        session = self._session
        wishes = session.wishes_of(event.name) if isinstance(event, Hello) else session.machine.wishes
        if wishes.delay_seconds:
            session.log(
                Level.INFO,
                "SMTP behaviour triggered",
                behaviour="command_delay",
                port=session.listener.port,
                delay_seconds=wishes.delay_seconds,
            )
        return wishes.delay_seconds

    async def _carry_out(self, seconds: float, plan: Plan | None, reply: Reply) -> Reply:
        session = self._session
        await session.pause(seconds)
        if plan is None:
            return reply
        shown = bytearray()
        held = b""
        for step in plan.steps:
            if held:
                session.connection.write(held)
                held = b""
            if step.pause_seconds:
                await session.pause(step.pause_seconds)
            held = step.octets
            if len(shown) < 65536:
                shown += held
        if plan.ending is Ending.RESET:
            session.transcript.event("reset by us")
            session.connection.abort()
        close = plan.ending is not Ending.GO_ON or reply.close or reply.code in {221, 421}
        return SpoiltReply(reply.code, octets=held, close=close, shown=bytes(shown))

    async def _each(self, reply: Reply, fault: str, number: int | None) -> Reply:
        """In LMTP: the reply for one recipient, sent before the next one is thought about."""
        if self._hung_up:
            return SpoiltReply(reply.code, octets=b"", close=True)
        if fault:
            reply = await self._carry_out(0, spoil(reply.wire(), fault, number), reply)
        self._session.connection.write(reply.wire())
        self._hung_up = reply.close or reply.code == 421
        shown = reply.shown if isinstance(reply, SpoiltReply) else reply.wire()
        return SpoiltReply(reply.code, octets=b"", close=reply.close, shown=shown)

    # -- the greeting ----------------------------------------------------------------------------------------------------

    def _greet(self, reply: Reply) -> Any:
        session = self._session
        refusal = session.refusal_at_once()
        if refusal is not None:
            return refusal
        listener = session.listener
        name = session.own_name()
        if (
            not listener.delay_seconds
            and not listener.drop
            and listener.greeting is None
            and isinstance(name, str)
        ):
            return self._greeting(name, reply)
        return self._greet_later(name, reply)

    async def _greet_later(self, name: Any, reply: Reply) -> Reply:
        session = self._session
        listener = session.listener
        if listener.delay_seconds or listener.drop:
            session.log(
                Level.INFO,
                "SMTP behaviour triggered",
                behaviour=_behaviour(listener),
                port=listener.port,
                delay_seconds=listener.delay_seconds,
            )
            await session.pause(listener.delay_seconds)
        if listener.drop:
            if hasattr(name, "close"):
                name.close()
            return RawReply(421, octets=b"", close=True)
        reply = self._greeting(name if isinstance(name, str) else await name, reply)
        wish = listener.greeting
        if wish is None:
            return reply
        self.triggered(wish)
        if wish.code:
            reply = self.coded(wish)
        return await self._carry_out(
            0, spoil(reply.wire(), wish.fault, wish.number) if wish.fault else None, reply
        )

    def _greeting(self, name: str, reply: Reply) -> Reply:
        _, _, rest = reply.text.partition(" ")
        simulated = self.simulated("")
        return Reply(220, "", f"{name} {rest}") if simulated is None else simulated


def _behaviour(listener: Any) -> str:
    """What the log calls what a port does."""
    if listener.drop:
        return "drop_delay" if listener.delay_seconds else "immediate_drop"
    return "greeting_delay"
