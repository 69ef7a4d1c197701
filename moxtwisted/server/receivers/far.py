"""The receiver's side: what takes mail in asks the owner as if it were here.

::

    owner = Owner(reactor)
    adopt_link(reactor, descriptor, owner.link)
    Inbound(room=FarRoom(owner, limited), outcome=lambda: FarOutcome(owner, policy), ...)
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.errors import StoreUnavailableError
from moxtwisted.server.inbound.outcome import IOutcome
from moxtwisted.server.inbound.room import Asked, IRoom
from moxtwisted.server.processes.link import Link
from moxtwisted.server.receivers.shapes import read_answer, write_asked, write_complete
from moxtwisted.server.receivers.words import Word
from moxtwisted.smtp.protocol import SMTPServerFactory, SMTPServerProtocol
from moxtwisted.smtp.replies import Reply

if TYPE_CHECKING:
    from moxtwisted.server.inbound.outcome import Answer, Complete
    from moxtwisted.server.inbound.senderpolicy import SenderPolicy
    from moxtwisted.store.staging import Staged

__all__ = ["FarOutcome", "FarRoom", "HandedFactory", "Owner"]


@define(eq=False)
class Owner:
    """The owner process.

    :ivar splitting: whether it remembers recipients that have to come apart.
    """

    _heard: Callable[[Word, list[Any]], None]
    _lost: Callable[[], None]
    link: Link[Word] = field(init=False)
    splitting: bool = field(default=False, init=False)
    _asked: dict[int, Deferred[tuple[Any, dict[str, str]]]] = field(factory=dict, init=False)
    _numbers: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.link = Link(Word, self._hear, self._gone)

    def ask(
        self, word: Word, *values: Any, descriptor: int = -1
    ) -> tuple[int, Deferred[tuple[Any, dict[str, str]]]]:
        """Ask something; the number of the question, and what fires with the answer and remarks.

        :param descriptor: goes with the question, and is not ours any more.
        """
        self._numbers += 1
        number = self._numbers
        waiting: Deferred[tuple[Any, dict[str, str]]] = Deferred(lambda _: self._forget(number))
        self._asked[number] = waiting
        if not self.link.up:
            self._gone()
        elif descriptor >= 0:
            self.link.say_with(descriptor, word, number, *values)
        else:
            self.link.say(word, number, *values)
        return number, waiting

    def _forget(self, number: int) -> None:
        self._asked.pop(number, None)

    def _hear(self, word: Word, values: list[Any]) -> None:
        if word is Word.ANSWER:
            number, answer, remarks = values
            waiting = self._asked.pop(number, None)
            if waiting is not None:
                waiting.callback((answer, remarks))
        elif word is Word.SPLITTING:
            (self.splitting,) = values
        else:
            self._heard(word, values)

    def _gone(self) -> None:
        asked, self._asked = self._asked, {}
        for waiting in asked.values():
            waiting.errback(StoreUnavailableError("the owner of the accounts is gone"))
        self._lost()


@implementer(IRoom)
@define(eq=False)
class FarRoom:
    """Asks the owner, if it is worth asking: when an account's room has a limit, or the owner remembers who has to come apart."""

    _owner: Owner
    _limited: Callable[[str], bool]

    def refusal(self, asked: Asked) -> Awaitable[Reply | None] | None:
        """See ``IRoom``."""
        if not self._owner.splitting and not any(map(self._limited, asked.accounts)):
            return None
        return self._ask(asked)

    async def _ask(self, asked: Asked) -> Reply | None:
        _, waiting = self._owner.ask(Word.ROOM, write_asked(asked))
        answer = read_answer((await waiting)[0])
        return answer if isinstance(answer, Reply) else None


@implementer(IOutcome)
@define(eq=False)
class FarOutcome:
    """Lets the owner decide.

    :ivar policy: the lists of senders to let in and keep out.
    :ivar has_traps: whether mail for traps may come.
    """

    _owner: Owner
    policy: SenderPolicy | None
    has_traps: bool = True

    async def take_in(self, message: Complete) -> Answer:
        """Hand the message over; the answer comes after the commit."""
        presence, staged = message.presence, message.lease.staged
        handed = cast("Staged", staged).hand_over()
        descriptor = os.dup(handed.descriptor) if handed.descriptor >= 0 else -1
        number, waiting = self._owner.ask(
            Word.TAKE,
            write_complete(message),
            staged.size,
            (handed.chunks, handed.places, handed.secret),
            descriptor=descriptor,
        )

        def left() -> None:
            self._owner.link.say(Word.GONE, number)

        if not presence.here:
            left()
        presence.tell(left)
        try:
            answer, remarks = await waiting
        finally:
            presence.forget(left)
        message.remarks.update(remarks)
        return read_answer(answer)


class _HandedProtocol(SMTPServerProtocol):
    """A connection that the owner took."""

    factory: HandedFactory
    number = 0

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone: the owner counts it."""
        super().connectionLost(reason)
        self.factory.gone(self.number, self.machine.misbehaved)


class HandedFactory(SMTPServerFactory):
    """Makes protocols of connections that the owner took.

    :ivar number: of the connection that the next protocol is for.
    :ivar gone: told of each that ended.
    """

    number = 0
    gone: Callable[[int, bool], None]

    def make_protocol(self) -> SMTPServerProtocol:
        """See ``ListenerFactory``."""
        protocol = _HandedProtocol(self)
        protocol.number = self.number
        return protocol
