"""Asks a filter over Twisted.

::

    verdict = await ask(endpoint, message, clock, seconds=30.0)     # MilterVerdict; MilterUnavailableError, MilterBrokeOffError

A connection serves one message. The time limit is for all of it.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from moxtwisted.errors import MailError
from moxtwisted.milter.client import MilterClient, MilterMessage, MilterVerdict
from moxtwisted.transport.agent import SoleFactory, hang_up, in_time

__all__ = ["MilterBrokeOffError", "MilterUnavailableError", "ask"]


class MilterUnavailableError(MailError):
    """A filter does not answer, or not as it should; ``detail`` says how."""


class MilterBrokeOffError(MilterUnavailableError):
    """A filter is there and did not come to a verdict about this message: it closed the connection, or broke the protocol."""


class _Conversation(Protocol):
    """One message with one filter."""

    def __init__(self, machine: MilterClient, done: Deferred[MilterVerdict]) -> None:
        self._machine = machine
        self._done: Deferred[MilterVerdict] | None = done

    def connectionMade(self) -> None:
        """Begin."""
        self.transport.write(self._machine.start())  # type: ignore[union-attr]  # there is one now

    def dataReceived(self, data: bytes) -> None:
        """Go on with what it says."""
        try:
            for octets in self._machine.receive(data):
                self.transport.write(octets)  # type: ignore[union-attr]
        except MailError as e:
            self._finish(Failure(MilterBrokeOffError(e.detail)))
        else:
            if self._machine.verdict is not None:
                self._finish(self._machine.verdict)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It ended."""
        self._finish(Failure(MilterBrokeOffError("the filter closed the connection before it decided")))

    def stop(self) -> None:
        """Nobody waits any more."""
        self._done = None
        hang_up(self.transport)

    def _finish(self, result: MilterVerdict | Failure) -> None:
        done, self._done = self._done, None
        if done is not None:
            self.transport.loseConnection()  # type: ignore[union-attr]
            done.callback(result)


async def ask(
    endpoint: IStreamClientEndpoint, message: MilterMessage, clock: IReactorTime, seconds: float
) -> MilterVerdict:
    """Show it a message and wait for its verdict.

    :raises CancelledError: when it was that.
    :raises MilterUnavailableError: when it cannot be reached or takes longer.
    :raises MilterBrokeOffError: when it closes the connection or breaks the protocol.
    """
    done: Deferred[MilterVerdict] = Deferred()
    conversation = _Conversation(MilterClient(message), done)
    decided = False

    async def talk(factory: SoleFactory) -> MilterVerdict:
        await endpoint.connect(factory)
        return await done

    try:
        with SoleFactory(conversation) as factory:
            verdict = await in_time(clock, Deferred.fromCoroutine(talk(factory)), seconds)
        decided = True
    except CancelledError:
        raise
    except TookTooLong:
        raise MilterUnavailableError(f"no verdict within {seconds:g} s") from None
    except MailError:
        raise
    except Exception as e:
        raise MilterUnavailableError(f"it cannot be reached: {e}") from e
    finally:
        if not decided and conversation.transport is not None:
            conversation.stop()
    return verdict
